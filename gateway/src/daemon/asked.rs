//! What an operator asked for, as it goes on record.

use crate::control::message::{KillTarget, Request, UpdateAction};
use crate::flow::DeviceName;

pub(super) fn name(request: &Request) -> (String, String) {
    let (command, about) = match request {
        Request::Apply {
            confirm_seconds: None,
            ..
        } => ("apply", String::new()),
        Request::Apply {
            confirm_seconds: Some(seconds),
            ..
        } => ("apply", format!("confirm within {seconds} s")),
        Request::Rollback {
            number,
            confirm_seconds,
            ..
        } => (
            "rollback",
            match confirm_seconds {
                Some(seconds) => format!("to version {number}, confirm within {seconds} s"),
                None => format!("to version {number}"),
            },
        ),
        Request::Approve { digest } => ("approve", digest.chars().take(LONGEST_DIGEST).collect()),
        Request::History => ("history", String::new()),
        Request::Version { .. } => ("history show", String::new()),
        Request::Confirm => ("confirm", String::new()),
        Request::Standing {
            device, standing, ..
        } => (standing.as_str(), device.to_string()),
        Request::AddDevices {
            devices,
            imported: true,
            ..
        } => ("device import", format!("{} devices", devices.len())),
        Request::AddDevices { devices, .. } => {
            let names = devices.iter().filter_map(|d| d.name.parse().ok());
            let names: Vec<String> = names.map(|name: DeviceName| name.to_string()).collect();
            ("device add", names.join(", "))
        }
        Request::Rotate { device, .. } => ("device rotate", device.to_string()),
        Request::Extend { device, .. } => ("device extend", device.to_string()),
        Request::Remove { device, .. } => ("device remove", device.to_string()),
        Request::Strangers => ("device list --unknown", String::new()),
        Request::Story { device } => ("device show", device.to_string()),
        Request::Backup { path } => ("registry backup", path.display().to_string()),
        Request::Adopt { .. } => ("registry adopt", String::new()),
        Request::Kill { target } => ("session kill", killed(target)),
        Request::Status => ("status", String::new()),
        Request::Devices { .. } => ("device list", String::new()),
        Request::Sessions => ("session list", String::new()),
        Request::Denied => ("flow denied", String::new()),
        Request::Probe => ("probe", String::new()),
        Request::BreakGlass(_) => ("break-glass", String::new()),
        Request::Pki(_) => ("pki", String::new()),
        Request::Enrol(_) => ("enroll", String::new()),
        Request::Behaviour(_) => ("alerts", String::new()),
        Request::Drain {
            timeout_seconds: Some(seconds),
        } => ("drain", format!("within {seconds} s")),
        Request::Drain {
            timeout_seconds: None,
        } => ("drain", "no longer".to_owned()),
        Request::Updated {
            action, from, to, ..
        } => (
            match action {
                UpdateAction::Apply => "update apply",
                UpdateAction::Rollback => "update rollback",
            },
            match to {
                Some(to) => format!("from version {from} to {to}"),
                None => format!("from version {from}"),
            },
        ),
    };
    (command.to_owned(), about)
}

fn killed(target: &KillTarget) -> String {
    match target {
        KillTarget::Connection(id) => id.to_string(),
        KillTarget::Device(device) => device.to_string(),
        KillTarget::Console { device, service } => format!("{device}/{service}"),
    }
}

/// SHA-256 in hex.
const LONGEST_DIGEST: usize = 64;
