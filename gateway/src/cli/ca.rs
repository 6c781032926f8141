//! `lazaret ca init|rotate|status|export`.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::context::{Context, strange};
use super::table::Table;
use super::units::{count, period};
use super::{CliError, Exit};
use crate::control::message::{Request, Response};
use crate::control::pki::{PkiRequest, PkiResponse};
use crate::pki::message::{AuthorityStatus, OneAuthority, Place, Way};

/// Subcommands of `ca`.
#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    /// Make the certification authority of this gateway
    Init(Init),
    /// Make the next authority; the old one is trusted for the overlap
    Rotate(Rotate),
    /// Show the authorities, and how long they last
    Status,
    /// Print the certificates of the authorities, or what is revoked
    Export {
        /// The lists of revoked certificates instead
        #[arg(long)]
        crl: bool,
    },
}

/// Arguments of `ca init`.
#[derive(Debug, Args)]
pub(super) struct Init {
    #[command(flatten)]
    how: How,
}

/// Arguments of `ca rotate`.
#[derive(Debug, Args)]
pub(super) struct Rotate {
    #[command(flatten)]
    how: How,
    /// Trust the old authority no more from now on, because its key may be known; devices must be enrolled anew
    // A request changes nothing yet: the old authority ends with the certificate that answers it.
    #[arg(long, conflicts_with = "csr")]
    now: bool,
}

/// How an authority is made.
#[derive(Debug, Args)]
struct How {
    /// Make a key, and a request that the hospital's root signs
    #[arg(long, value_name = "FILE", conflicts_with = "certificate")]
    csr: Option<PathBuf>,
    /// Take the certificate that the hospital's root signed, and those above it
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Why, for the journal
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    why: String,
}

impl Ca {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        match self {
            Self::Init(Init { how }) => how.run(context, false, false),
            Self::Rotate(Rotate { how, now }) => how.run(context, true, now),
            Self::Status => {
                let response = context.ask(&Request::Pki(PkiRequest::Status))?;
                show(context, &response)
            }
            Self::Export { crl } => export(context, crl),
        }
    }
}

impl How {
    fn run(self, context: &mut Context<'_>, rotate: bool, now: bool) -> Result<Exit, CliError> {
        let way = match (&self.csr, &self.certificate) {
            (Some(_), _) => Way::Request,
            (None, Some(path)) => Way::Certificate(read(path)?),
            (None, None) => Way::Root,
        };
        let response = context.ask(&Request::Pki(PkiRequest::NewAuthority {
            rotate,
            way,
            now,
            why: self.why,
        }))?;
        let (Response::Pki(PkiResponse::Request { csr }), Some(path)) = (&response, &self.csr)
        else {
            return show(context, &response);
        };
        fs::write(path, csr)?;
        if context.json {
            context.print_json(&response)?;
        } else {
            let path = path.display();
            context.print(&format!(
                "the request is in {path}: let the hospital's root sign it, then `lazaret ca init --certificate FILE`\n"
            ))?;
        }
        Ok(Exit::Ok)
    }
}

/// A small text from a file.
pub(super) fn read(path: &Path) -> Result<String, CliError> {
    let failed = |why: String| {
        let text = format!("cannot read {}: {why}", path.display());
        CliError::new(Exit::Failure, text)
    };
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(LONGEST).read_to_string(&mut text))
        .map_err(|error| failed(error.to_string()))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) >= LONGEST {
        return Err(failed(format!("it has more than {LONGEST} bytes")));
    }
    Ok(text)
}

fn show(context: &mut Context<'_>, response: &Response) -> Result<Exit, CliError> {
    let Response::Pki(PkiResponse::Authorities { now, status }) = response else {
        return Err(strange());
    };
    if context.json {
        context.print_json(response)?;
    } else {
        context.print(&render(status, *now))?;
    }
    Ok(Exit::Ok)
}

fn export(context: &mut Context<'_>, crl: bool) -> Result<Exit, CliError> {
    let wanted = if crl {
        PkiRequest::Lists
    } else {
        PkiRequest::Status
    };
    let response = context.ask(&Request::Pki(wanted))?;
    if context.json {
        context.print_json(&response)?;
        return Ok(Exit::Ok);
    }
    let text: String = if let Response::Pki(PkiResponse::Lists { lists }) = response {
        lists.concat()
    } else if let Response::Pki(PkiResponse::Authorities { status, .. }) = response {
        let all = status.authorities.into_iter();
        all.map(|one| one.certificate).collect()
    } else {
        return Err(strange());
    };
    context.print(&text)?;
    Ok(Exit::Ok)
}

fn render(status: &AuthorityStatus, now: Timestamp) -> String {
    let mut table = Table::new(&["AUTHORITY", "KEY", "PLACE", "KIND", "ENDS", "LEFT", "STATE"]);
    for one in &status.authorities {
        table.row([
            one.id.to_string(),
            one.algorithm.as_str().to_owned(),
            place(one),
            if one.root { "root" } else { "intermediate" }.to_owned(),
            day(one.validity.not_after),
            left(one.validity.not_after, now),
            state(one, now),
        ]);
    }
    let mut text = if status.authorities.is_empty() {
        "there is no certification authority yet: lazaret ca init\n".to_owned()
    } else {
        table.render()
    };
    if let Some(waiting) = status.waiting {
        text.push_str(&format!(
            "the request of {waiting} waits for its certificate: lazaret ca init --certificate FILE\n"
        ));
    }
    let (all, revoked) = (count(status.certificates), count(status.revoked));
    text.push_str(&format!(
        "{all} certificates hold, {revoked} of them revoked\n"
    ));
    text
}

/// Where the private key is.
fn place(one: &OneAuthority) -> String {
    let token = |place: &Place| format!("token {}", place.token);
    one.place.as_ref().map_or_else(|| "file".to_owned(), token)
}

fn state(one: &OneAuthority, now: Timestamp) -> String {
    match one.trusted_until {
        None if one.validity.not_after < now => "ended".to_owned(),
        None => "issues".to_owned(),
        Some(until) => format!("trusted until {}", day(until)),
    }
}

/// A day of UTC.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// How long until then.
pub(super) fn left(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.duration_since(now).as_secs();
    u64::try_from(seconds).map_or_else(|_| "ended".to_owned(), period)
}

/// A chain of certificates, or a request.
const LONGEST: u64 = 48 << 10;

#[cfg(test)]
mod tests {
    use lazaret_config::KeyAlgorithm;

    use super::*;
    use crate::pki::message::{AuthorityId, Validity};

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn status() -> AuthorityStatus {
        let newest = OneAuthority {
            id: AuthorityId([0xa1; 6]),
            algorithm: KeyAlgorithm::EcdsaP256,
            place: Some(Place {
                token: "hospital".to_owned(),
                key: "lazaret-ca-00000000000000a1".to_owned().try_into().unwrap(),
            }),
            root: true,
            validity: Validity {
                not_before: at("2026-03-01T11:55:00Z"),
                not_after: at("2036-02-27T12:00:00Z"),
            },
            trusted_until: None,
            certificate: "-----BEGIN CERTIFICATE-----\n…\n".to_owned(),
        };
        let old = OneAuthority {
            id: AuthorityId([0xb2; 6]),
            algorithm: KeyAlgorithm::Ed25519,
            root: false,
            place: None,
            trusted_until: Some(at("2026-05-28T12:00:00Z")),
            ..newest.clone()
        };
        AuthorityStatus {
            authorities: vec![newest, old],
            waiting: Some(AuthorityId([0xc3; 6])),
            certificates: 10_312,
            revoked: 7,
        }
    }

    #[test]
    fn authorities_are_shown() {
        let now = at("2026-03-01T12:00:00Z");
        let texts = [
            render(&status(), now),
            render(&AuthorityStatus::default(), now),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }

    #[test]
    fn json_is_stable() {
        let response = Response::Pki(PkiResponse::Authorities {
            now: at("2026-03-01T12:00:00Z"),
            status: status(),
        });
        insta::assert_snapshot!(serde_json::to_string_pretty(&response).unwrap());
    }
}
