//! The machine of a clinician: its key is made on it and stays there.
//!
//! Key and certificate are one file, which is replaced as a whole, so that they always belong together.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::ca::read;
use crate::cli::context::Context;
use crate::cli::{CliError, Exit};
use crate::enrol::client::{Gateway, recognise};
use crate::enrol::token::Token;
use crate::flow::Clock;
use crate::pki::own::{Kept, Life, OwnKey, device, life};
use crate::pki::pem;

/// A first certificate.
#[derive(Debug, Args)]
pub(in crate::cli) struct Request {
    /// Where the gateway enrols devices, as in `https://gateway.example.org:8443`
    url: String,
    /// The token
    token: Token,
    /// Where key and certificate are kept; made if it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The certificate of the gateway's authority, if the token does not know it
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// How the machine is called, if the token does not say it
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The serial number on its label, if the token asks for it
    #[arg(long, value_name = "TEXT")]
    serial: Option<String>,
}

/// The next certificate.
#[derive(Debug, Args)]
pub(in crate::cli) struct Renew {
    /// Where key and certificate are kept
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Renew even if it is not time yet
    #[arg(long)]
    now: bool,
}

/// What is remembered beside key and certificate.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    url: String,
}

#[derive(Serialize)]
struct Report<'a> {
    device: String,
    file: &'a Path,
    renewed: bool,
    ends: Timestamp,
    renew_at: Timestamp,
}

impl Request {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if !self.url.starts_with("https://") {
            return Err(CliError::new(
                Exit::Usage,
                "the address begins with https://",
            ));
        }
        let file = self.out.join(DEVICE);
        if file.exists() {
            let why = format!(
                "this machine is enrolled already: {} is there; `lazaret enroll renew` renews it",
                file.display()
            );
            return Err(CliError::new(Exit::Usage, why));
        }
        let mut directory = std::fs::DirBuilder::new();
        directory.recursive(true).mode(0o700).create(&self.out)?;
        let known = match &self.ca {
            Some(path) => pem::all(&read(path)?, pem::CERTIFICATE)?,
            None => recognise(&self.url, &self.token)?,
        };
        let gateway = Gateway::new(&self.url, &known, None);
        let authorities = gateway.authorities()?;
        let key = self.key()?;
        let request = key.request(self.name.as_deref(), self.serial.as_deref())?;
        let certificate = gateway.enroll(&self.token, &request)?;
        let (text, life) = key.keep(&certificate, &authorities)?;
        let remembered = serde_json::to_string(&Remembered { url: self.url })?;
        replace(&self.out, REMEMBERED, &remembered)?;
        replace(&self.out, AUTHORITIES, &in_pem(&authorities))?;
        replace(&self.out, DEVICE, &text)?;
        std::fs::remove_file(self.out.join(WAITING))?;
        report(context, &file, &certificate, life, true)
    }

    /// The key is kept before the token is used by it: whoever does not hear the answer, or cannot keep it, asks again
    /// with the same key.
    fn key(&self) -> Result<OwnKey, CliError> {
        let file = self.out.join(WAITING);
        if file.exists() {
            return Ok(OwnKey::read(&Zeroizing::new(read(&file)?))?);
        }
        let key = OwnKey::generate()?;
        replace(&self.out, WAITING, &key.text())?;
        Ok(key)
    }
}

impl Renew {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let file = self.directory.join(DEVICE);
        let kept = Kept::read(&Zeroizing::new(read(&file)?))?;
        let before = life(kept.certificate()?)?;
        let wall = crate::daemon::SystemClock.wall();
        if wall < before.renew_at && !self.now {
            return report(context, &file, kept.certificate()?, before, false);
        }
        let Remembered { url } = serde_json::from_str(&read(&self.directory.join(REMEMBERED))?)?;
        let known = pem::all(&read(&self.directory.join(AUTHORITIES))?, pem::CERTIFICATE)?;
        let gateway = Gateway::new(&url, &known, Some(&kept));
        // After a rotation the next authority is known before the old one ends.
        let authorities = gateway.authorities()?;
        replace(&self.directory, AUTHORITIES, &in_pem(&authorities))?;
        let key = OwnKey::generate()?;
        let certificate = gateway.renew(&key.request(None, None)?)?;
        let (text, life) = key.keep(&certificate, &authorities)?;
        replace(&self.directory, DEVICE, &text)?;
        report(context, &file, &certificate, life, true)
    }
}

fn report(
    context: &mut Context<'_>,
    file: &Path,
    certificate: &[u8],
    life: Life,
    renewed: bool,
) -> Result<Exit, CliError> {
    let device = device(certificate).unwrap_or_default();
    let ends = life.validity.not_after;
    if context.json {
        context.print_json(&Report {
            device,
            file,
            renewed,
            ends,
            renew_at: life.renew_at,
        })?;
        return Ok(Exit::Ok);
    }
    let what = if renewed {
        format!(
            "this machine is device {device}; key and certificate are in {}",
            file.display()
        )
    } else {
        format!("the certificate of device {device} is not renewed yet")
    };
    let text = format!(
        "{what}\nit ends at {ends} and is renewed from {} on: lazaret enroll renew DIR\n",
        life.renew_at
    );
    context.print(&text)?;
    Ok(Exit::Ok)
}

fn in_pem(all: &[Vec<u8>]) -> String {
    let all = all.iter();
    all.map(|der| pem::encode(pem::CERTIFICATE, der)).collect()
}

/// The new file is whole before it has its name, and is for its owner alone before it has a byte.
fn replace(directory: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let new = directory.join(format!("{name}.new"));
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, directory.join(name))?;
    std::fs::File::open(directory)?.sync_all()
}

/// Key, certificate, and those above it.
const DEVICE: &str = "device.pem";
/// A key that has no certificate yet.
const WAITING: &str = "waiting.key";
/// Whom the gateway is known by.
const AUTHORITIES: &str = "ca.pem";
const REMEMBERED: &str = "enrolment.json";
