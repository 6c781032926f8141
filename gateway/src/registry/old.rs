//! The registry of version 0.1: standings in `registry.json`. It is read once and kept under another name.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::snapshot::{RegistryError, failed, parse, read_file};
use crate::flow::{DeviceName, Standing};

/// How a device stood, since when and why.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) standing: Standing,
    pub(super) why: String,
    pub(super) since: Timestamp,
}

/// The standings of version 0.1, if there are any.
pub(super) fn read(directory: &Path) -> Result<BTreeMap<DeviceName, Entry>, RegistryError> {
    let path = directory.join(FILE);
    let Some(json) = read_file(&path)? else {
        return Ok(BTreeMap::new());
    };
    let stored: Stored = parse(&path, &json)?;
    Ok(stored.devices)
}

/// Nobody reads it again.
pub(super) fn put_away(directory: &Path) -> Result<(), RegistryError> {
    let path = directory.join(FILE);
    match std::fs::rename(&path, directory.join("registry.json.imported")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(failed("rename", &path)(error))
        }
        _ => Ok(()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[expect(dead_code, reason = "read before")]
    version: u64,
    devices: BTreeMap<DeviceName, Entry>,
}

const FILE: &str = "registry.json";
