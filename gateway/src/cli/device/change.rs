//! What changes devices: asks the daemon and says what it did.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{Context, Request, Response, Standing, strange};
use crate::cli::apply::done;
use crate::cli::table::Table;
use crate::cli::units::parse_long_period;
use crate::cli::{CliError, Exit};
use crate::cli::{ca, cert};
use crate::control::message::{Added, NewDevice};
use crate::flow::DeviceName;
use crate::pki::request as pki;
use crate::registry::csv;

/// Whose standing to change, and why.
#[derive(Debug, Args)]
pub(in crate::cli) struct Change {
    /// Its name
    device: DeviceName,
    #[command(flatten)]
    why: Why,
}

/// Why something is done.
#[derive(Debug, Args)]
pub(in crate::cli) struct Why {
    /// Why, for the journal
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(in crate::cli) why: String,
}

/// A device to be made known.
#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    #[command(flatten)]
    device: Described,
    /// Its WireGuard public key
    #[arg(long, value_name = "KEY", required_unless_present = "csr")]
    wireguard: Option<String>,
    /// Instead, the request for a certificate that it made (PKCS#10, in PEM), answered at once;
    /// who reaches the gateway brings it without you: lazaret enroll token create
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with_all = ["wireguard", "pending"])]
    csr: Option<PathBuf>,
    /// Where its certificate goes
    #[arg(long, value_name = "FILE", requires = "csr")]
    out: Option<PathBuf>,
}

/// What is said of a device beside its key.
#[derive(Debug, Args)]
pub(in crate::cli) struct Described {
    /// Its name
    name: DeviceName,
    /// Its role; may be given several times
    #[arg(long = "role", value_name = "NAME", required = true)]
    roles: Vec<String>,
    /// Its tunnel address, one of each family; without it the gateway gives one
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// The serial number on its label
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
    /// A patient of its own, as `lazaret patient hash` says; may be given several times
    #[arg(long = "patient", value_name = "HASH")]
    patients: Vec<String>,
    /// MSH-3 and MSH-4 that are its own, as in ECG^CARDIO
    #[arg(long, value_name = "SENDER")]
    hl7_sender: Option<String>,
    /// The AE title that is its own
    #[arg(long, value_name = "TITLE")]
    ae_title: Option<String>,
    /// Its last day (2027-03-31), or when it is no longer let in (2027-03-31T12:00:00Z)
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// Let it in only when it is approved
    #[arg(long)]
    pending: bool,
    #[command(flatten)]
    why: Why,
}

/// Another key for a device.
#[derive(Debug, Args)]
pub(in crate::cli) struct Rotate {
    /// Its name
    device: DeviceName,
    /// Its WireGuard public key from now on
    #[arg(long, value_name = "KEY")]
    wireguard: String,
    /// So long the key before is taken too (90s, 10m, 24h, 7d); 0 is not at all
    #[arg(long, value_name = "TIME", value_parser = parse_long_period, default_value = "24h")]
    overlap: Duration,
    #[command(flatten)]
    why: Why,
}

/// Another end for a device.
#[derive(Debug, Args)]
#[group(id = "end", required = true, multiple = false, args = ["expires", "never"])]
pub(in crate::cli) struct Extend {
    /// Its name
    device: DeviceName,
    /// Its last day (2027-03-31), or when it is no longer let in (2027-03-31T12:00:00Z)
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// It stays for good
    #[arg(long)]
    never: bool,
    #[command(flatten)]
    why: Why,
}

/// A device that nobody wants to see any more.
#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// Its name
    device: DeviceName,
    #[command(flatten)]
    why: Why,
}

/// A list of devices to be made known.
#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// A list with the columns name, roles, wireguard and, if wanted, addresses, serial, patients,
    /// hl7_sender, ae_title, expires; - reads the standard input
    file: PathBuf,
    /// Let them in only when they are approved
    #[arg(long)]
    pending: bool,
    #[command(flatten)]
    why: Why,
}

impl Change {
    pub(super) fn run(
        self,
        context: &mut Context<'_>,
        standing: Standing,
        approve: bool,
    ) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Standing {
            device: self.device,
            standing,
            why: self.why.why,
            approve,
        })?;
        done(context, &response)
    }
}

impl Described {
    /// With this key, asked of the daemon.
    pub(in crate::cli) fn request(self, wireguard: String) -> Request {
        self.known_by(wireguard, None)
    }

    fn known_by(self, wireguard: String, certificate: Option<String>) -> Request {
        let device = NewDevice {
            line: None,
            name: self.name.to_string(),
            roles: self.roles,
            wireguard,
            certificate,
            addresses: self.addresses,
            serial: self.serial,
            patients: self.patients,
            hl7_sender: self.hl7_sender,
            ae_title: self.ae_title,
            expires: self.expires,
            pending: self.pending,
        };
        Request::AddDevices {
            devices: vec![device],
            imported: false,
            why: self.why.why,
        }
    }
}

impl Add {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let (Some(file), Some(out)) = (&self.csr, &self.out) else {
            let key = self.wireguard.unwrap_or_default();
            let response = context.ask(&self.device.request(key))?;
            return added(context, &response);
        };
        let csr = ca::read(file)?;
        let (name, why) = (self.device.name.clone(), self.device.why.why.clone());
        let key = pki::Request::read(csr.as_bytes()).and_then(|request| request.of(&name));
        let key = key.map_err(|error| {
            let text = format!("{}: {error}", file.display());
            CliError::new(Exit::Usage, text)
        })?;
        let fingerprint = key.fingerprint().to_string();
        let request = self.device.known_by(String::new(), Some(fingerprint));
        let response = context.ask(&request)?;
        let Response::Added { .. } = &response else {
            return Err(strange());
        };
        let told = cert::issue(context, name.clone(), csr, why, out).map_err(|error| {
            let error = error.to_string();
            let text = format!(
                "device {name} is known now, but has no certificate yet: {}; try `lazaret cert renew {name} --csr {}`",
                error.strip_prefix("lazaret: ").unwrap_or(&error),
                file.display()
            );
            CliError::new(Exit::Failure, text)
        })?;
        let exit = added(context, &response)?;
        if !context.json {
            context.print(&told)?;
        }
        Ok(exit)
    }
}

impl Rotate {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Rotate {
            device: self.device,
            wireguard: self.wireguard,
            overlap_seconds: self.overlap.as_secs(),
            why: self.why.why,
        })?;
        done(context, &response)
    }
}

impl Extend {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Extend {
            device: self.device,
            expires: self.expires.filter(|_| !self.never),
            why: self.why.why,
        })?;
        done(context, &response)
    }
}

impl Remove {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Remove {
            device: self.device,
            why: self.why.why,
        })?;
        done(context, &response)
    }
}

impl Import {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let text = self.read()?;
        let mut devices = csv::devices(&text).map_err(|wrong| {
            let mut lines: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            lines.push("nothing was imported".to_owned());
            CliError::new(Exit::Usage, lines.join("\n"))
        })?;
        for device in &mut devices {
            device.pending |= self.pending;
        }
        if devices.is_empty() {
            return Err(CliError::new(Exit::Usage, "there is no device in the list"));
        }
        let response = context.ask(&Request::AddDevices {
            devices,
            imported: true,
            why: self.why.why,
        })?;
        added(context, &response)
    }

    fn read(&self) -> Result<String, CliError> {
        let failed = |error: std::io::Error| {
            let why = format!("cannot read {}: {error}", self.file.display());
            CliError::new(Exit::Failure, why)
        };
        let mut text = String::new();
        let read = if self.file.as_os_str() == "-" {
            std::io::stdin()
                .lock()
                .take(MAX_LIST)
                .read_to_string(&mut text)
        } else {
            let file = std::fs::File::open(&self.file).map_err(failed)?;
            file.take(MAX_LIST).read_to_string(&mut text)
        };
        let read = read.map_err(failed)?;
        if u64::try_from(read).unwrap_or(u64::MAX) >= MAX_LIST {
            return Err(CliError::new(Exit::Usage, "the list is longer than 4 MiB"));
        }
        Ok(text)
    }
}

fn added(context: &mut Context<'_>, response: &Response) -> Result<Exit, CliError> {
    let Response::Added { devices } = response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(response)?;
    } else {
        context.print(&render(devices))?;
    }
    Ok(Exit::Ok)
}

fn render(devices: &[Added]) -> String {
    let mut table = Table::new(&["DEVICE", "STANDING", "ADDRESSES"]);
    for device in devices {
        let addresses: Vec<String> = device.addresses.iter().map(ToString::to_string).collect();
        table.row([
            device.device.as_str(),
            device.standing.as_str(),
            &addresses.join(","),
        ]);
    }
    table.render()
}

/// Longest list.
//= C7
const MAX_LIST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_shown_with_its_addresses() {
        let one = |name: &str, standing| Added {
            device: name.parse().unwrap(),
            addresses: vec!["10.64.1.1".parse().unwrap(), "fd64::1".parse().unwrap()],
            standing,
        };
        let text = render(&[
            one("ecg-1", Standing::Active),
            one("ecg-22", Standing::Pending),
        ]);
        insta::assert_snapshot!(text);
    }
}
