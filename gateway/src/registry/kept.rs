//! Who is enrolled, for commands that only look: read from the snapshot, which nobody needs a gateway for.

use std::path::Path;

use jiff::Timestamp;
use lazaret_config::Enrolled;

use super::known::Known;
use super::snapshot::{self, RegistryError};
use crate::flow::{DeviceName, Standing};

/// Those who stand in no file and are let in at a time, or wait for it. Nobody when there was never a registry.
///
/// # Errors
/// When there is a snapshot, and it cannot be read or understood.
pub fn kept(
    state_dir: &Path,
    now: Timestamp,
) -> Result<Vec<(DeviceName, Enrolled)>, RegistryError> {
    let snapshot = snapshot::read(state_dir)?.unwrap_or_default();
    let over = |known: &Known| known.expires.is_some_and(|expires| expires <= now);
    let here = |known: &Known| {
        known.is_here()
            && match known.standing {
                Standing::Active | Standing::Quarantined | Standing::Pending => !over(known),
                Standing::Revoked | Standing::Expired => false,
            }
    };
    let devices = snapshot.devices.into_iter();
    let all = devices.filter(|(_, known)| here(known));
    Ok(all
        .filter_map(|(name, known)| Some((name, known.enrolled(now)?)))
        .collect())
}
