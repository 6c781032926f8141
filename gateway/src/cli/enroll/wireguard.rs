//! A configuration for the WireGuard apps: a key is made here, shown once as text or as a code, and kept nowhere.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::cli::context::{Context, strange};
use crate::cli::device::Described;
use crate::cli::{CliError, Exit};
use crate::control::message::{EnrolRequest, EnrolResponse, Request, Response};
use crate::enrol::message::{Gateway, Place};
use crate::enrol::wireguard::configuration;
use crate::setup::secret;

/// A device that gets a ready configuration.
#[derive(Debug, Args)]
pub(in crate::cli) struct Wireguard {
    #[command(flatten)]
    device: Described,
    /// Write the configuration into this new file (0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print a code that the WireGuard apps of telephones read
    #[arg(long)]
    qr: bool,
}

impl Wireguard {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut_slice())
            .map_err(|_| CliError::new(Exit::Failure, "the system has no random numbers"))?;
        let private = secret::private_key(random);
        // Before the device is known: a file that cannot be is the end of it.
        let file = self.out.as_ref().map(|path| {
            let mut options = std::fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600).open(path)
        });
        let file = file.transpose()?;
        let (out, qr) = (self.out, self.qr);
        let request = self.device.request(secret::public_key(&private));
        let added = add(context, &request);
        if let (Err(_), Some(path)) = (&added, &out) {
            std::fs::remove_file(path)?;
        }
        let place = added?;
        let text = Zeroizing::new(configuration(&place, Some(&secret::key_line(&private))));
        if let Some(mut file) = file {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        if context.json {
            let shown = out.is_none().then(|| text.as_str());
            context.print_json(&Shown {
                place: &place,
                configuration: shown,
            })?;
            return Ok(Exit::Ok);
        }
        if qr {
            context.print(&code(&text)?)?;
        }
        match &out {
            Some(path) => context.print(&format!(
                "device {} is {}; its configuration is in {}\n",
                place.device,
                place.standing.as_str(),
                path.display()
            ))?,
            None if qr => context.print(&format!(
                "device {} is {}; this is shown once\n",
                place.device,
                place.standing.as_str()
            ))?,
            None => context.print(&text)?,
        }
        Ok(Exit::Ok)
    }
}

fn add(context: &mut Context<'_>, request: &Request) -> Result<Place, CliError> {
    let Response::Added { devices } = context.ask(request)? else {
        return Err(strange());
    };
    let added = devices.into_iter().next().ok_or_else(strange)?;
    let gateway = context.ask(&Request::Enrol(EnrolRequest::Gateway {
        device: added.device.clone(),
    }))?;
    let Response::Enrol(EnrolResponse::Gateway {
        public_key,
        endpoint,
        networks,
        mtu,
    }) = gateway
    else {
        return Err(strange());
    };
    Ok(Place {
        device: added.device,
        standing: added.standing,
        addresses: added.addresses,
        gateway: Gateway {
            public_key,
            endpoint,
            networks,
            mtu,
        },
    })
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    place: &'a Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    configuration: Option<&'a str>,
}

/// Dark on light, whatever the colours of the terminal are.
fn code(text: &str) -> Result<String, CliError> {
    let code = QrCode::new(text.as_bytes()).map_err(|error| {
        let why = format!("the configuration does not fit into a code: {error}");
        CliError::new(Exit::Failure, why)
    })?;
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Light)
        .light_color(Dense1x2::Dark)
        .build();
    Ok(format!("{drawn}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_has_a_border_and_holds_the_longest_configuration() {
        let drawn = code(&"x".repeat(1200)).unwrap();
        let widths: std::collections::BTreeSet<usize> =
            drawn.lines().map(|line| line.chars().count()).collect();
        assert_eq!(widths.len(), 1, "every line has the same width");
        assert!(code(&"x".repeat(5000)).is_err());
    }
}
