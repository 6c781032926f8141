//! `lazaret device list|show|quarantine|release|revoke`.

use clap::{Args, Subcommand};

use super::apply::done;
use super::context::{Context, strange};
use super::table::Table;
use super::units::{ago, bytes, count};
use super::{CliError, Exit};
use crate::control::message::{DeviceStatus, Request, Response, Standing};
use crate::flow::DeviceName;

/// Subcommands of `device`.
#[derive(Debug, Subcommand)]
pub(super) enum Device {
    /// All devices and how they fare
    List,
    /// One device
    Show {
        /// Its name
        device: DeviceName,
    },
    /// Let nothing of a device pass; its tunnel stays up
    Quarantine(Change),
    /// Let a quarantined or revoked device do again what the rules say
    Release(Change),
    /// Refuse the key of a device
    Revoke(Change),
}

/// Whose standing to change, and why.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// Its name
    device: DeviceName,
    /// Why, for the journal
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    why: String,
}

impl Device {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::List => show(context, None),
            Self::Show { device } => show(context, Some(device)),
            Self::Quarantine(change) => change.run(context, Standing::Quarantined),
            Self::Release(change) => change.run(context, Standing::Active),
            Self::Revoke(change) => change.run(context, Standing::Revoked),
        }
    }
}

impl Change {
    fn run(self, context: &mut Context<'_>, standing: Standing) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Standing {
            device: self.device,
            standing,
            why: self.why,
        })?;
        done(context, &response)
    }
}

fn show(context: &mut Context<'_>, device: Option<DeviceName>) -> Result<Exit, CliError> {
    let one = device.is_some();
    let response = context.ask(&Request::Devices { device })?;
    let Response::Devices { devices } = &response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(&response)?;
    } else if one {
        let text: String = devices.iter().map(render_one).collect();
        context.print(&text)?;
    } else {
        context.print(&render_all(devices))?;
    }
    Ok(Exit::Ok)
}

fn render_all(devices: &[DeviceStatus]) -> String {
    let mut table = Table::new(&[
        "DEVICE",
        "STANDING",
        "ADDRESSES",
        "ROLES",
        "HANDSHAKE",
        "RECEIVED",
        "SENT",
        "SESSIONS",
    ])
    .right(&[5, 6, 7]);
    for device in devices {
        table.row([
            device.device.to_string(),
            word(device.standing).to_owned(),
            joined(&device.addresses),
            device.roles.join(","),
            handshake(device),
            bytes(device.received),
            bytes(device.sent),
            count(device.sessions),
        ]);
    }
    table.render()
}

fn render_one(device: &DeviceStatus) -> String {
    let mut table = Table::default();
    let standing = match device.why.as_str() {
        "" => word(device.standing).to_owned(),
        why => format!("{}: {why}", word(device.standing)),
    };
    let identity = match &device.via {
        Some(router) => format!("by address only, behind {router}"),
        None => "by its key".to_owned(),
    };
    table.row(["device", device.device.as_str()]);
    table.row(["standing", &standing]);
    table.row(["identified", &identity]);
    table.row(["addresses", &joined(&device.addresses)]);
    table.row(["roles", &device.roles.join(", ")]);
    if device.via.is_none() {
        let endpoint = device
            .endpoint
            .map_or("unknown".to_owned(), |e| e.to_string());
        table.row(["endpoint", &endpoint]);
        table.row(["handshake", &ago(device.handshake_seconds)]);
        table.row(["received", &bytes(device.received)]);
        table.row(["sent", &bytes(device.sent)]);
    }
    table.row(["sessions", &count(device.sessions)]);
    table.row(["defined in", &device.origin]);
    table.render()
}

/// Behind a router there is no handshake of one's own.
fn handshake(device: &DeviceStatus) -> String {
    match &device.via {
        Some(router) => format!("via {router}"),
        None => ago(device.handshake_seconds),
    }
}

/// A standing as it is written everywhere.
pub(super) fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Active => "active",
        Standing::Quarantined => "quarantined",
        Standing::Revoked => "revoked",
    }
}

fn joined(addresses: &[std::net::IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Vec<DeviceStatus> {
        let ecg = DeviceStatus {
            device: "ecg-0042".parse().unwrap(),
            standing: Standing::Active,
            why: String::new(),
            addresses: vec!["10.64.0.1".parse().unwrap(), "fd64::1".parse().unwrap()],
            roles: vec!["ecg-home".to_owned()],
            via: None,
            endpoint: Some("198.51.100.7:41234".parse().unwrap()),
            handshake_seconds: Some(185),
            received: 1_234_567,
            sent: 90_112,
            sessions: 1,
            origin: "/etc/lazaret/lazaret.toml:31".to_owned(),
        };
        let quarantined = DeviceStatus {
            device: "us-07".parse().unwrap(),
            standing: Standing::Quarantined,
            why: "lost".to_owned(),
            endpoint: None,
            handshake_seconds: None,
            ..ecg.clone()
        };
        let behind = DeviceStatus {
            device: "ct-1".parse().unwrap(),
            via: Some("clinic-router".parse().unwrap()),
            ..ecg.clone()
        };
        vec![ecg, quarantined, behind]
    }

    #[test]
    fn devices_are_shown() {
        let each: Vec<String> = devices().iter().map(render_one).collect();
        insta::assert_snapshot!(format!("{}\n{}", render_all(&devices()), each.join("\n")));
    }

    #[test]
    fn json_is_stable() {
        let response = Response::Devices { devices: devices() };
        insta::assert_snapshot!(serde_json::to_string_pretty(&response).unwrap());
    }
}
