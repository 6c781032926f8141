//! Devices that stand in no file, as the daemon knows them.
//!
//! In: what the daemon says of its devices. Out: the configuration with them. Without the daemon, the files alone.

use lazaret_config::{Config, Credential, DeviceName, Enrolled};

use crate::cli::context::Context;
use crate::control::message::{DeviceStatus, Request, Response};

/// The files, with those who are enrolled if the daemon can be asked.
pub(super) fn with_enrolled(context: &Context<'_>, config: Config) -> Config {
    let Ok(Response::Devices { devices }) = context.ask(&Request::Devices { device: None }) else {
        return config;
    };
    merge(&config, &devices)
}

fn merge(config: &Config, devices: &[DeviceStatus]) -> Config {
    let enrolled: Vec<(&DeviceName, Enrolled)> = devices
        .iter()
        .filter_map(|device| Some((&device.device, of(device)?)))
        .collect();
    config.with_enrolled(enrolled).0
}

fn of(device: &DeviceStatus) -> Option<Enrolled> {
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
