//! Devices that stand in no file, beside those that do.
//!
//! In: the registry's snapshot in the state directory or, for who may not read that, what the daemon says of its devices.
//! Out: the configuration with them, and who could not be in it. When neither answers it is said that they are missing.

use lazaret_config::{Config, Contradiction, Credential, DeviceName, Enrolled};

use crate::cli::context::Context;
use crate::control::message::{DeviceStatus, Request, Response, Standing};
use crate::flow::Clock;
use crate::registry;

/// Those who are let in or wait for it, or why it cannot be said who they are.
pub(super) struct Beside(Result<Vec<(DeviceName, Enrolled)>, String>);

impl Beside {
    /// As the registry of this gateway knows them.
    pub(super) fn of(context: &Context<'_>, config: &Config) -> Self {
        let now = crate::daemon::SystemClock.wall();
        let failed = match registry::kept(&config.gateway.state_dir, now) {
            Ok(all) => return Self(Ok(all)),
            Err(error) => error,
        };
        match context.ask(&Request::Devices { device: None }) {
            Ok(Response::Devices { devices }) => {
                let devices = devices.iter();
                let here = devices.filter(|one| is_here(one.standing));
                Self(Ok(here
                    .filter_map(|one| Some((one.device.clone(), enrolled(one)?)))
                    .collect()))
            }
            Ok(_) | Err(_) => Self(Err(failed.to_string())),
        }
    }

    /// The files with them; and those whom the files contradict.
    pub(super) fn merge(&self, config: &Config) -> (Config, Vec<(DeviceName, Contradiction)>) {
        let all = self.0.iter().flatten();
        config.with_enrolled(all.map(|(name, one)| (name, one.clone())))
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }

    /// Why nobody can say who they are.
    pub(super) fn missing(&self) -> Option<&str> {
        self.0.as_ref().err().map(String::as_str)
    }
}

/// As in the registry: who is revoked or expired has nothing any more.
fn is_here(standing: Standing) -> bool {
    match standing {
        Standing::Active | Standing::Quarantined | Standing::Pending => true,
        Standing::Revoked | Standing::Expired => false,
    }
}

fn enrolled(device: &DeviceStatus) -> Option<Enrolled> {
    let known = device.known.as_deref();
    let known = known.filter(|known| known.origin != "file")?;
    let credential = match known.keys.iter().find(|key| key.until.is_none()) {
        Some(key) => Credential::wireguard(Enrolled::public_key_of(&key.wireguard).ok()?),
        None if known.keys.is_empty() && !known.certificates.is_empty() => Credential::Certificate,
        None => return None,
    };
    let sender = known.hl7_sender.as_deref();
    Some(Enrolled {
        origin: "enrolled",
        credential,
        addresses: device.addresses.clone(),
        roles: device
            .roles
            .iter()
            .filter_map(|role| role.parse().ok())
            .collect(),
        hl7_sender: sender.and_then(|sender| Enrolled::hl7_sender_of(sender).ok()),
        ae_title: known.ae_title.clone(),
        patients: Vec::new(),
    })
}

#[cfg(test)]
impl Beside {
    pub(super) fn these(all: Result<Vec<(DeviceName, Enrolled)>, String>) -> Self {
        Self(all)
    }
}
