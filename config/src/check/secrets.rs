//! Key files: there, regular, private, and with a key inside.

use std::path::{Component, Path};
use std::sync::Arc;

use crate::certificate::read_certificates;
use crate::document::Document;
use crate::excerpt::mask;
use crate::field::basic::FilePath;
use crate::model::PatientKey;
use crate::problem::{At, Fault, Problems};
use crate::secret::{Key, KeyFileError, read_key, read_password};
use crate::table::pki::RawPki;

pub(super) fn check(document: &Document, dir: &Path, problems: &Problems) {
    let gateway = document
        .wireguard
        .iter()
        .filter_map(|wireguard| wireguard.private_key_file.as_ref());
    let devices = document
        .devices
        .values()
        .filter_map(|device| device.preshared_key_file.as_ref());
    for at in gateway.chain(devices) {
        // The key is forgotten: who needs it reads it again.
        if let Err(fault) = readable(dir, at) {
            problems.report(fault.at(at.place));
        }
    }
    registry(document, dir, problems);
    if let Some(raw) = &document.pki {
        pki(raw, document, dir, problems);
    }
}

/// The PIN of a token, and what its maker's library may open.
fn pki(raw: &RawPki, document: &Document, dir: &Path, problems: &Problems) {
    if let Some(at) = &raw.pin_file
        && let Err(error) = read_password(&dir.join(&at.value.0))
    {
        problems.report(fault(&error, dir, at, "write the PIN into it").at(at.place));
    }
    let state = document.gateway.as_ref().map(|one| one.state_dir.as_path());
    for at in &raw.paths {
        let path = &at.value.0;
        let wide = path.components().count() < LEAST_DEPTH
            || path.components().any(|part| part == Component::ParentDir);
        let holds = dir.starts_with(path);
        let inside = state.is_some_and(|state| state.starts_with(path) || path.starts_with(state));
        if wide || holds || inside {
            let fault = Fault::new("a maker's library may not open this");
            let help = "name the file or folder that it needs: not one at the top, without `..`, and none with files of the gateway";
            problems.report(fault.help(help).at(at.place));
        }
    }
}

/// The files that go with the registry's database.
fn registry(document: &Document, dir: &Path, problems: &Problems) {
    let registry = &document.registry;
    if let Some(at) = &registry.password_file
        && let Err(error) = read_password(&dir.join(&at.value.0))
    {
        problems.report(fault(&error, dir, at, "write the password into it").at(at.place));
    }
    if let Some(at) = &registry.ca_file
        && let Err(error) = read_certificates(&dir.join(&at.value.0))
    {
        problems.report(Fault::new(error.to_string()).at(at.place));
    }
}

/// The key of the patients' hashes, which the policies of relays are made with.
pub(crate) fn patient_key(
    document: &Document,
    dir: &Path,
    problems: &Problems,
) -> Option<PatientKey> {
    let at = document.patient_key_file.as_ref()?;
    match readable(dir, at) {
        Ok(key) => Some(PatientKey {
            file: dir.join(&at.value.0),
            key: Arc::new(key),
        }),
        Err(fault) => {
            problems.report(fault.at(at.place));
            None
        }
    }
}

fn readable(dir: &Path, at: &At<FilePath>) -> Result<Key, Fault> {
    read_key(&dir.join(&at.value.0))
        .map_err(|error| fault(&error, dir, at, "`wg genkey` makes a key"))
}

fn fault(error: &KeyFileError, dir: &Path, at: &At<FilePath>, help: &str) -> Fault {
    // Somebody may have written the key where its file is asked for.
    let shown = dir.join(mask(&at.value.0.display().to_string()));
    let shown = shown.display();
    match error {
        KeyFileError::Read(cause) => Fault::new(format!("{error} {shown}: {cause}")).help(help),
        KeyFileError::Exposed { .. } => {
            Fault::new(error.to_string()).help(format!("chmod 600 {shown}"))
        }
        KeyFileError::NotRegular => Fault::new(error.to_string()),
        KeyFileError::NotAKey | KeyFileError::NotAPassword => {
            Fault::new(error.to_string()).help(help)
        }
    }
}

/// The root and two names.
const LEAST_DEPTH: usize = 3;
