//! What goes onto the stick: the configuration without secrets, or what support needs.
//!
//! Neither has keys, passwords, patient data or message contents.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::CommandFactory;

use super::{child, network_now};
use crate::cli::{Cli, CliError, Exit, setup};
use crate::setup::places::{MAIN, write_new};
use crate::setup::stick::{self, Mounted};
use crate::setup::{self as machine, Places};

/// Writes the configuration onto the stick, which must have none.
pub(super) fn export(places: &Places) -> Result<String, CliError> {
    let sources = lazaret_config::sources(&places.config())?;
    let mounted = writable(places)?;
    let texts: Vec<String> = sources
        .iter()
        .map(|source| source.text.trim_end().to_owned() + "\n")
        .collect();
    export_to(mounted.directory(), &texts.join("\n"))?;
    Ok(format!(
        "the configuration is on the stick as {MAIN}, without secrets\n"
    ))
}

fn export_to(directory: &Path, text: &str) -> Result<(), CliError> {
    let path = directory.join(MAIN);
    if path.exists() {
        let why = format!("there is a {MAIN} on the stick; it is not replaced");
        return Err(CliError::new(Exit::Denied, why));
    }
    Ok(write_new(&path, text.as_bytes(), 0o600)?)
}

/// Writes what support needs onto the stick.
pub(super) fn onto_stick(places: &Places, config: &Path) -> Result<String, CliError> {
    let mounted = writable(places)?;
    let directory = mounted.directory().join(DIRECTORY);
    fs::create_dir_all(&directory)?;
    let names = bundle(places, config, &directory)?;
    Ok(format!(
        "{DIRECTORY} on the stick has {}\n",
        names.join(", ")
    ))
}

/// Writes each part as far as it can be had; says which there are.
fn bundle(places: &Places, config: &Path, directory: &Path) -> Result<Vec<String>, CliError> {
    let mut written = Vec::new();
    let mut keep = |name: &str, contents: &[u8]| -> Result<(), CliError> {
        write_new(&directory.join(name), contents, 0o600)?;
        written.push(name.to_owned());
        Ok(())
    };
    let root = Cli::command();
    for (name, words) in PARTS {
        if words
            .first()
            .is_none_or(|word| root.find_subcommand(word).is_none())
        {
            continue;
        }
        let own = [
            "lazaret".into(),
            "--config".into(),
            config.as_os_str().to_owned(),
            "--json".into(),
        ];
        let words = words.iter().map(OsString::from);
        let mut out = Vec::new();
        // What is wrong with the gateway is what support wants to see; no part is kept for that.
        crate::cli::invoke(own.into_iter().chain(words), &mut out, false);
        keep(name, &out)?;
    }
    if let Some(report) = machine::report(places) {
        keep("setup.txt", setup::render(&report).as_bytes())?;
    }
    keep("network.txt", network_now(places).as_bytes())?;
    if places.is_running() {
        let log = child("journalctl")
            .args([
                "--no-pager",
                "--quiet",
                "--boot",
                "--lines=20000",
                "--unit=lazaret*",
            ])
            .output();
        if let Ok(log) = log {
            keep("log.txt", &log.stdout)?;
        }
    }
    Ok(written)
}

fn writable(places: &Places) -> Result<Mounted, CliError> {
    let device = stick::find(places)?.ok_or(stick::StickError::None)?;
    Ok(Mounted::new(places, &device)?.writable()?)
}

/// Where it is on the stick.
const DIRECTORY: &str = "lazaret-support";
/// What the command itself can say. Those that this version does not have are left out.
const PARTS: [(&str, &[&str]); 5] = [
    ("version.json", &["version"]),
    ("status.json", &["status"]),
    ("doctor.json", &["doctor"]),
    ("sessions.json", &["session", "list"]),
    ("update.json", &["update", "status"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_has_its_parts_and_no_secrets() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::new(root.path(), Path::new("/etc/lazaret"));
        let text = machine::import::tests::full();
        machine::import(&places, Path::new("x"), &text).unwrap();
        let directory = root.path().join("stick");
        fs::create_dir(&directory).unwrap();
        let names = bundle(&places, &places.config(), &directory).unwrap();
        assert!(
            names.contains(&"version.json".to_owned()) && names.contains(&"network.txt".to_owned())
        );
        for name in names {
            let text = fs::read_to_string(directory.join(name)).unwrap();
            assert!(
                !text.contains("horse") && !text.contains("dwdtCnMYpX08"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_export_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        export_to(dir.path(), "schema = 1\n").unwrap();
        assert_eq!(export_to(dir.path(), "x").unwrap_err().exit, Exit::Denied);
        assert_eq!(
            fs::read_to_string(dir.path().join(MAIN)).unwrap(),
            "schema = 1\n"
        );
    }
}
