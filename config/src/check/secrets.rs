//! Key files: there, regular, private, and with a key inside.

use std::path::Path;
use std::sync::Arc;

use crate::document::Document;
use crate::excerpt::mask;
use crate::field::basic::FilePath;
use crate::model::PatientKey;
use crate::problem::{At, Fault, Problems};
use crate::secret::{Key, KeyFileError, read_key};

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
    let path = dir.join(&at.value.0);
    // Somebody may have written the key where its file is asked for.
    let shown = dir.join(mask(&at.value.0.display().to_string()));
    let shown = shown.display();
    read_key(&path).map_err(|error| match &error {
        KeyFileError::Read(cause) => {
            Fault::new(format!("{error} {shown}: {cause}")).help("`wg genkey` makes a key")
        }
        KeyFileError::Exposed { .. } => {
            Fault::new(error.to_string()).help(format!("chmod 600 {shown}"))
        }
        KeyFileError::NotRegular => Fault::new(error.to_string()),
        KeyFileError::NotAKey => Fault::new(error.to_string()).help("`wg genkey` makes a key"),
    })
}
