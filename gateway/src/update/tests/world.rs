//! A machine in a folder: an image that runs, an ESP, partitions that are files, and an installer of ours.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::update::keys::tests::{pair, pem};
use crate::update::machine::Places;
use crate::update::manifest::tests::UUID;
use crate::update::source::{Folder, Source};
use crate::update::{Offer, UpdateError, Updater};

pub(super) struct World {
    pub(super) root: TempDir,
    pub(super) updater: Updater,
}

/// What the machine's installer does.
pub(super) enum Installer {
    /// What it should.
    Good,
    /// Dies after so many of its three writes.
    DiesAfter(usize),
    /// Writes something else into the entry.
    Garbles,
}

impl World {
    /// Version 1 runs, nothing else is installed.
    pub(super) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut places = Places::under(root.path());
        let script = root.path().join("installer");
        places.installer = vec!["/bin/sh".into(), script.into()];
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let release = "IMAGE_ID=lazaret\nIMAGE_VERSION=1\nVARIANT_ID=vm\n";
        write(&places.os_release, release);
        write(&places.keys, &pem(&pair(1)));
        write(&places.entries.join("lazaret_1.efi"), "one");
        for label in ["lazaret_1", "lazaret_1_verity", "_empty", "lazaret-data"] {
            write(&places.labels.join(label), "slot");
        }
        let updater = Updater {
            places,
            wall: "2026-11-22T02:00:00Z".to_owned(),
        };
        let world = Self { root, updater };
        world.installer(&Installer::Good);
        world
    }

    pub(super) fn places(&self) -> &Places {
        &self.updater.places
    }

    pub(super) fn installer(&self, what: &Installer) {
        let places = self.places();
        let from = places.downloads();
        let (from, labels, entries) = (
            from.display(),
            places.labels.display(),
            places.entries.display(),
        );
        let dies = |after| match what {
            Installer::DiesAfter(writes) if *writes == after => "echo power is gone >&2; exit 9",
            Installer::Good | Installer::DiesAfter(_) | Installer::Garbles => ":",
        };
        let garbled = match what {
            Installer::Garbles => format!("echo x >> {entries}/lazaret_$v+3-0.efi"),
            Installer::Good | Installer::DiesAfter(_) => ":".to_owned(),
        };
        let script = format!(
            "#!/bin/sh\nset -e\nv=$(basename {from}/lazaret_*.efi .efi); v=${{v#lazaret_}}\n{}\n\
             cat {from}/lazaret_$v.root-verity.*.raw > {labels}/lazaret_${{v}}_verity; echo slack >> {labels}/lazaret_${{v}}_verity\n{}\n\
             cat {from}/lazaret_$v.root.*.raw > {labels}/lazaret_$v; echo slack >> {labels}/lazaret_$v\n{}\n\
             cat {from}/lazaret_$v.efi > {entries}/lazaret_$v+3-0.efi\n{garbled}\n{}\n",
            dies(0),
            dies(1),
            dies(2),
            dies(3)
        );
        fs::write(self.root.path().join("installer"), script).unwrap();
    }

    /// A release in a folder, signed by our key.
    pub(super) fn release(&self, version: &str) -> Release {
        Release::new(self.root.path(), version)
    }

    pub(super) fn apply(&self, source: &mut dyn Source) -> Result<Offer, UpdateError> {
        self.updater.apply(source, |_, _, _| {})
    }

    /// The names on the ESP.
    pub(super) fn entries(&self) -> Vec<String> {
        names(&self.places().entries)
    }

    /// From now on this runs.
    pub(super) fn runs(&self, version: &str) {
        let release = format!("IMAGE_ID=lazaret\nIMAGE_VERSION={version}\nVARIANT_ID=vm\n");
        fs::write(&self.places().os_release, release).unwrap();
    }

    pub(super) fn rename_entry(&self, from: &str, to: &str) {
        let entries = &self.places().entries;
        fs::rename(entries.join(from), entries.join(to)).unwrap();
    }
}

pub(super) struct Release {
    pub(super) folder: PathBuf,
    pub(super) manifest: Value,
}

impl Release {
    fn new(root: &Path, version: &str) -> Self {
        let folder = root.join(format!("release-{version}"));
        fs::create_dir_all(&folder).unwrap();
        let files = [
            ("uki", format!("lazaret_{version}.efi"), 300_000),
            (
                "root",
                format!("lazaret_{version}.root.{UUID}.raw"),
                700_001,
            ),
            (
                "root-verity",
                format!("lazaret_{version}.root-verity.{UUID}.raw"),
                50_000,
            ),
        ];
        let files = files.map(|(role, name, size)| {
            let bytes = content(&name, size);
            fs::write(folder.join(&name), &bytes).unwrap();
            json!({"role": role, "name": name, "size": size, "sha256": digest(&bytes)})
        });
        let manifest = json!({
            "product": "lazaret", "flavour": "vm", "version": version, "created": "2026-11-22", "files": files,
        });
        let release = Self { folder, manifest };
        release.sign(1);
        release
    }

    /// Writes the manifest as it is now, signed by the key of this seed.
    pub(super) fn sign(&self, seed: u8) {
        let bytes = self.manifest.to_string().into_bytes();
        fs::write(self.folder.join("manifest.json"), &bytes).unwrap();
        let signature = pair(seed).sign(&bytes);
        fs::write(self.folder.join("manifest.json.sig"), signature).unwrap();
    }

    pub(super) fn name(&self, role: &str) -> String {
        let files = self.manifest["files"].as_array().unwrap();
        let file = files.iter().find(|file| file["role"] == role).unwrap();
        file["name"].as_str().unwrap().to_owned()
    }

    pub(super) fn path(&self, role: &str) -> PathBuf {
        self.folder.join(self.name(role))
    }

    pub(super) fn source(&self) -> Folder {
        Folder(self.folder.clone())
    }
}

/// Bytes that differ from file to file and from place to place.
fn content(name: &str, size: usize) -> Vec<u8> {
    let next = |state: u32| state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    let seed = name
        .bytes()
        .fold(7, |seed: u32, byte| next(seed ^ u32::from(byte)));
    let states = std::iter::successors(Some(seed), |state| Some(next(*state)));
    states
        .take(size)
        .map(|state| state.to_be_bytes()[0])
        .collect()
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The name of a refusal.
pub(super) fn code<T>(result: Result<T, UpdateError>) -> &'static str {
    match result {
        Ok(_) => "taken",
        Err(UpdateError::Refused(refusal)) => refusal.code(),
        Err(UpdateError::Fetch(_)) => "fetch",
        Err(UpdateError::Store(_)) => "store",
        Err(UpdateError::Machine(_)) => "machine",
    }
}
