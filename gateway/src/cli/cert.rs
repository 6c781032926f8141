//! `lazaret cert list|renew|revoke`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::ca::{day, left, read};
use super::context::{Context, strange};
use super::table::Table;
use super::units::{counted, parse_long_period};
use super::{CliError, Exit};
use crate::control::message::{Request, Response};
use crate::control::pki::{PkiRequest, PkiResponse};
use crate::flow::DeviceName;
use crate::pki::message::{CertificateStatus, Holder, Listener, Reason, Serial, Which};

/// Subcommands of `cert`.
#[derive(Debug, Subcommand)]
pub(super) enum Cert {
    /// Certificates of devices and listeners, those that end first at the top
    List(List),
    /// Give a device the next certificate, or a listener a new one
    Renew(Renew),
    /// Revoke one certificate, or all of a device
    Revoke(Revoke),
}

/// Arguments of `cert list`.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only of this device
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceName>,
    /// Only those that end within this time (30d, 12h)
    #[arg(long, value_name = "TIME", value_parser = parse_long_period)]
    expiring: Option<Duration>,
    /// Also revoked ones and those that have ended
    #[arg(long)]
    all: bool,
}

/// Arguments of `cert renew`.
#[derive(Debug, Args)]
pub(super) struct Renew {
    /// The device
    #[arg(required_unless_present = "listener", requires = "csr")]
    device: Option<DeviceName>,
    /// The request that the device made (PKCS#10, in PEM)
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// A listener of the gateway instead
    #[arg(long, value_name = "LISTENER", conflicts_with_all = ["device", "csr"])]
    listener: Option<ListenerWord>,
    /// Where the certificate goes; by default it is printed
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Why, for the journal
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    why: String,
}

/// Arguments of `cert revoke`.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The serial number, as `cert list` shows it
    #[arg(required_unless_present = "device")]
    serial: Option<Serial>,
    /// All certificates of this device instead
    #[arg(long, value_name = "DEVICE", conflicts_with = "serial")]
    device: Option<DeviceName>,
    /// For the list of revoked certificates
    #[arg(long, value_name = "REASON", default_value = "unspecified")]
    reason: ReasonWord,
    /// Why, for the journal
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    why: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ListenerWord {
    Enrol,
    Quic,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReasonWord {
    Unspecified,
    KeyCompromise,
    Superseded,
    CessationOfOperation,
    PrivilegeWithdrawn,
}

impl Cert {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::List(list) => list.run(context),
            Self::Renew(renew) => renew.run(context),
            Self::Revoke(revoke) => revoke.run(context),
        }
    }
}

impl List {
    fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let response = context.ask(&Request::Pki(PkiRequest::Certificates))?;
        let Response::Pki(PkiResponse::Certificates { now, certificates }) = response else {
            return Err(strange());
        };
        let mut chosen: Vec<CertificateStatus> = certificates
            .into_iter()
            .filter(|one| self.wants(one, now))
            .collect();
        chosen.sort_by(|a, b| {
            let order = |one: &CertificateStatus| (one.validity.not_after, one.serial);
            order(a).cmp(&order(b))
        });
        if context.json {
            context.print_json(&Response::Pki(PkiResponse::Certificates {
                now,
                certificates: chosen,
            }))?;
        } else {
            context.print(&render(&chosen, now))?;
        }
        Ok(Exit::Ok)
    }

    fn wants(&self, one: &CertificateStatus, now: Timestamp) -> bool {
        let of_device = self
            .device
            .as_ref()
            .is_none_or(|device| one.holder == Holder::Device(device.clone()));
        let end = one.validity.not_after;
        let ends = self
            .expiring
            .is_none_or(|time| now.checked_add(time).is_ok_and(|soon| end <= soon));
        let holds = one.revoked.is_none() && end >= now;
        of_device && ends && (self.all || holds)
    }
}

impl Renew {
    fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let why = self.why;
        let wanted = match (self.listener, self.device, self.csr) {
            (Some(listener), _, _) => PkiRequest::Server {
                listener: listener.into(),
                why,
            },
            (None, Some(device), Some(csr)) => PkiRequest::Issue {
                device,
                csr: read(&csr)?,
                why,
            },
            (None, _, _) => {
                let text = "name a device and its request (--csr FILE), or --listener";
                return Err(CliError::new(Exit::Usage, text));
            }
        };
        let response = context.ask(&Request::Pki(wanted))?;
        let Response::Pki(PkiResponse::Certificate {
            serial,
            validity,
            renew_at,
            certificate,
        }) = &response
        else {
            return Err(strange());
        };
        if let Some(path) = &self.out {
            fs::write(path, certificate)?;
        }
        if context.json {
            context.print_json(&response)?;
        } else if self.out.is_some() || self.listener.is_some() {
            context.print(&until(*serial, validity.not_after, *renew_at))?;
        } else {
            context.print(certificate)?;
        }
        Ok(Exit::Ok)
    }
}

/// Has a request of an active device signed, and says until when the certificate holds that is in the file then.
pub(super) fn issue(
    context: &mut Context<'_>,
    device: DeviceName,
    csr: String,
    why: String,
    out: &Path,
) -> Result<String, CliError> {
    let response = context.ask(&Request::Pki(PkiRequest::Issue { device, csr, why }))?;
    let Response::Pki(PkiResponse::Certificate {
        serial,
        validity,
        renew_at,
        certificate,
    }) = &response
    else {
        return Err(strange());
    };
    fs::write(out, certificate)?;
    Ok(until(*serial, validity.not_after, *renew_at))
}

fn until(serial: Serial, end: Timestamp, renewal: Timestamp) -> String {
    let (end, renewal) = (day(end), day(renewal));
    format!("certificate {serial} holds until {end}; renew it after {renewal}\n")
}

impl Revoke {
    fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let which = match (self.serial, self.device) {
            (Some(serial), _) => Which::Serial(serial),
            (None, Some(device)) => Which::Devices(vec![device]),
            (None, None) => {
                let text = "name a serial number, or --device";
                return Err(CliError::new(Exit::Usage, text));
            }
        };
        let response = context.ask(&Request::Pki(PkiRequest::Revoke {
            which,
            reason: self.reason.into(),
            why: self.why,
        }))?;
        let Response::Pki(PkiResponse::Revoked { serials }) = &response else {
            return Err(strange());
        };
        if context.json {
            context.print_json(&response)?;
        } else if serials.is_empty() {
            context.print("nothing was left to revoke\n")?;
        } else {
            let many = counted(serials.len(), "certificate");
            context.print(&format!("{many} revoked\n"))?;
        }
        Ok(Exit::Ok)
    }
}

impl From<ListenerWord> for Listener {
    fn from(word: ListenerWord) -> Self {
        match word {
            ListenerWord::Enrol => Self::Enrol,
            ListenerWord::Quic => Self::Quic,
        }
    }
}

impl From<ReasonWord> for Reason {
    fn from(word: ReasonWord) -> Self {
        match word {
            ReasonWord::Unspecified => Self::Unspecified,
            ReasonWord::KeyCompromise => Self::KeyCompromise,
            ReasonWord::Superseded => Self::Superseded,
            ReasonWord::CessationOfOperation => Self::CessationOfOperation,
            ReasonWord::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
        }
    }
}

fn render(certificates: &[CertificateStatus], now: Timestamp) -> String {
    let mut table = Table::new(&["SERIAL", "HOLDER", "ENDS", "LEFT", "RENEWAL", "STATE"]);
    for one in certificates {
        let state = match one.revoked {
            Some(revocation) => format!("revoked {}", day(revocation.at)),
            None if one.validity.not_after < now => "ended".to_owned(),
            None if one.renew_at <= now => "renewal is due".to_owned(),
            None => "holds".to_owned(),
        };
        table.row([
            one.serial.to_string(),
            one.holder.to_string(),
            day(one.validity.not_after),
            left(one.validity.not_after, now),
            day(one.renew_at),
            state,
        ]);
    }
    if certificates.is_empty() {
        return "no certificates\n".to_owned();
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::message::{AuthorityId, Fingerprint, Revocation, Validity};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn certificates() -> Vec<CertificateStatus> {
        let holds = CertificateStatus {
            serial: Serial::new([0x51; 16]),
            holder: Holder::Device("ecg-0042".parse().unwrap()),
            authority: AuthorityId([0xa1; 6]),
            key: Fingerprint([7; 32]),
            validity: Validity {
                not_before: at("2026-03-01T11:55:00Z"),
                not_after: at("2026-03-31T12:00:00Z"),
            },
            renew_at: at("2026-03-21T03:00:00Z"),
            revoked: None,
        };
        let mut revoked = holds.clone();
        revoked.revoked = Some(Revocation {
            at: at("2026-03-05T00:00:00Z"),
            reason: Reason::KeyCompromise,
        });
        let mut listener = holds.clone();
        listener.holder = Holder::Server(Listener::Enrol);
        vec![holds, revoked, listener]
    }

    #[test]
    fn certificates_are_shown() {
        let days = [
            "2026-03-10T00:00:00Z",
            "2026-03-25T00:00:00Z",
            "2026-04-01T00:00:00Z",
        ];
        let mut texts = days.map(|now| render(&certificates(), at(now))).to_vec();
        texts.push(render(&[], at(days[0])));
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn json_is_stable() {
        let response = Response::Pki(PkiResponse::Certificates {
            now: at("2026-03-10T00:00:00Z"),
            certificates: certificates(),
        });
        insta::assert_snapshot!(serde_json::to_string_pretty(&response).unwrap());
    }

    #[test]
    fn the_list_is_chosen() {
        let chosen = |device: Option<&str>, expiring, all, now| {
            let list = List {
                device: device.map(|name| name.parse().unwrap()),
                expiring,
                all,
            };
            let wanted = |one: &CertificateStatus| list.wants(one, at(now));
            certificates().iter().map(wanted).collect::<Vec<_>>()
        };
        let now = "2026-03-10T00:00:00Z";
        let days = |days: u64| Some(Duration::from_hours(24 * days));
        assert_eq!(chosen(None, None, false, now), [true, false, true]);
        assert_eq!(chosen(None, None, true, now), [true; 3]);
        assert_eq!(
            chosen(Some("ecg-0042"), None, false, now),
            [true, false, false]
        );
        assert_eq!(chosen(Some("us"), None, true, now), [false; 3]);
        assert_eq!(chosen(None, days(21), true, now), [false; 3]);
        assert_eq!(chosen(None, days(22), true, now), [true; 3]);
        assert_eq!(
            chosen(None, None, false, "2026-04-01T00:00:00Z"),
            [false; 3]
        );
    }
}
