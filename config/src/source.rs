//! Reads the files of a configuration directory. This, `secret.rs` and `certificate.rs` are the only places that read files.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::error::ConfigErrors;
use crate::language::Language;
use crate::problem::{Fault, Place, Problems};
use crate::table::gateway::{RUNTIME_DIR, STATE_DIR};

/// One file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it was read, for messages and origins.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

/// Reads `lazaret.toml` and then `conf.d/*.toml` in the order of their names.
///
/// # Errors
/// When a file cannot be read, is too long or is not UTF-8; all such files are named.
pub fn sources(dir: &Path) -> Result<Vec<Source>, ConfigErrors> {
    let mut paths = vec![dir.join(MAIN)];
    let parts = dir.join(PARTS);
    match parts_in(&parts) {
        Ok(found) => paths.extend(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            let message = format!("cannot read the directory {}: {error}", parts.display());
            return Err(ConfigErrors::without_place(message));
        }
    }
    let mut sources = Vec::new();
    let mut failed = Vec::new();
    for path in paths {
        match read(&path) {
            Ok(source) => sources.push(source),
            Err(mut errors) => failed.append(&mut errors),
        }
    }
    let total = failed.len();
    failed.truncate(ConfigErrors::MAX);
    match ConfigErrors::new(failed, total) {
        Some(errors) => Err(errors),
        None => Ok(sources),
    }
}

/// Where the control socket is: `[gateway] runtime_dir`, also when the rest of the configuration is broken or missing.
#[must_use]
pub fn runtime_dir(dir: &Path) -> PathBuf {
    let written = gateway_text(dir, "runtime_dir").filter(|path| path.is_absolute());
    written.unwrap_or_else(|| RUNTIME_DIR.into())
}

/// Where the gateway keeps its state: `[gateway] state_dir`, also when the rest of the configuration is broken or missing.
#[must_use]
pub fn state_dir(dir: &Path) -> PathBuf {
    let written = gateway_text(dir, "state_dir").filter(|path| path.is_absolute());
    written.unwrap_or_else(|| STATE_DIR.into())
}

/// Where the key of the patients' hashes is, as far as it can be told without a right configuration.
#[must_use]
pub fn patient_key_file(dir: &Path) -> Option<PathBuf> {
    gateway_text(dir, "patient_key_file").map(|file| dir.join(file))
}

/// The language of people: `[gateway] language`, also when the rest of the configuration is broken or missing.
#[must_use]
pub fn language(dir: &Path) -> Language {
    let written = gateway_text(dir, "language");
    let written = written.and_then(|text| text.to_str()?.parse().ok());
    written.unwrap_or_default()
}

/// A text of `[gateway]`, as it is written.
fn gateway_text(dir: &Path, key: &str) -> Option<PathBuf> {
    let text = read(&dir.join(MAIN)).ok()?.text;
    let (root, _) = DeTable::parse_recoverable(&text);
    let gateway = root.get_ref().get("gateway")?;
    let value = gateway.get_ref().as_table()?.get(key)?;
    value.get_ref().as_str().map(PathBuf::from)
}

fn parts_in(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|end| end == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Reads one file.
pub(crate) fn read(path: &Path) -> Result<Source, Vec<crate::error::ConfigError>> {
    let failed = |why: &dyn std::fmt::Display| {
        let message = format!("cannot read {}: {why}", path.display());
        ConfigErrors::without_place(message).errors().to_vec()
    };
    // Opening a pipe would wait for a writer, perhaps for ever.
    let meta = fs::metadata(path).map_err(|error| failed(&error))?;
    if !meta.is_file() {
        return Err(failed(&"it is not a regular file"));
    }
    let file = fs::File::open(path).map_err(|error| failed(&error))?;
    let mut bytes = Vec::new();
    let read = file.take(LONGEST).read_to_end(&mut bytes);
    read.map_err(|error| failed(&error))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) >= LONGEST {
        return Err(failed(&"it is longer than 64 MiB"));
    }
    let path = path.to_owned();
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source { path, text }),
        Err(error) => {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let problems = Problems::default();
            let place = Place {
                file: 0,
                start,
                end: start.saturating_add(1),
            };
            problems.report(Fault::new("the file is not UTF-8").at(place));
            let errors = problems.into_errors(&[Source { path, text }]);
            Err(errors.map_or_else(Vec::new, |errors| errors.errors().to_vec()))
        }
    }
}

/// The file that every configuration has.
const MAIN: &str = "lazaret.toml";
/// The directory of the others.
const PARTS: &str = "conf.d";
/// Longest file in bytes.
const LONGEST: u64 = 64 << 20;
