//! Key files: there, regular, private, and with a key inside.

use std::path::Path;

use crate::document::Document;
use crate::excerpt::mask;
use crate::field::basic::FilePath;
use crate::problem::{At, Fault, Problems};
use crate::secret::{KeyFileError, read_key};

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
        if let Err(fault) = readable(dir, at) {
            problems.report(fault.at(at.place));
        }
    }
}

/// The key is read and forgotten: who needs it reads it again.
fn readable(dir: &Path, at: &At<FilePath>) -> Result<(), Fault> {
    let path = dir.join(&at.value.0);
    // Somebody may have written the key where its file is asked for.
    let shown = dir.join(mask(&at.value.0.display().to_string()));
    let shown = shown.display();
    read_key(&path).map(drop).map_err(|error| match &error {
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
