//! A machine in a folder: an image that runs, an ESP, partitions that are files, and an installer of ours.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::update::disk::Knowledge;
use crate::update::keys::tests::{pair, pem};
use crate::update::machine::Places;
use crate::update::manifest::tests::UUID;
use crate::update::source::{Folder, Source};
use crate::update::{Offer, UpdateError, Updater};

pub(super) struct World {
    pub(super) machine: Machine,
    pub(super) updater: Updater,
}

/// What the kernel and udev say of a machine with the disk `vda`, whose partitions are files.
pub(in crate::update) struct Machine(TempDir);

impl Machine {
    /// Version 1 runs from `vda3`, whose hash tree is `vda2`; `vda4` and `vda5` are free.
    pub(in crate::update) fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        let names = [
            "esp",
            "lazaret_1_verity",
            "lazaret_1",
            "_empty",
            "_empty",
            "lazaret-data",
        ];
        machine.disk("vda", 254, &names);
        machine.write("sys/block/dm-0/dm/name", "root\n");
        machine.write("sys/block/dm-0/dm/uuid", "CRYPT-VERITY-4f-root\n");
        // Not the root, though verified.
        machine.write("sys/block/dm-1/dm/name", "other\n");
        machine.write("sys/block/dm-1/dm/uuid", "CRYPT-VERITY-5f-other\n");
        machine.slave("vda", "vda2");
        machine.slave("vda", "vda3");
        machine.write("proc/self/mountinfo", "");
        machine.mount("254:1", "/efi");
        machine
    }

    pub(in crate::update) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(in crate::update) fn known(&self) -> Knowledge {
        Knowledge::under(self.path())
    }

    pub(in crate::update) fn dev(&self, name: &str) -> PathBuf {
        self.path().join("dev").join(name)
    }

    pub(in crate::update) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }

    /// A disk with partitions of these names.
    pub(in crate::update) fn disk(&self, disk: &str, major: u32, names: &[&str]) {
        let at = format!("sys/devices/{disk}");
        self.write(&format!("{at}/dev"), &format!("{major}:0\n"));
        for (name, number) in names.iter().zip(1..) {
            let part = format!("{at}/{disk}{number}");
            self.write(&format!("{part}/partition"), &format!("{number}\n"));
            self.write(&format!("{part}/dev"), &format!("{major}:{number}\n"));
            self.label(&format!("{major}:{number}"), name);
            self.write(&format!("dev/{disk}{number}"), "slot");
        }
    }

    /// What udev says of a partition.
    pub(in crate::update) fn label(&self, numbers: &str, name: &str) {
        let entry = format!("E:ID_PART_ENTRY_SCHEME=gpt\nE:ID_PART_ENTRY_NAME={name}\n");
        self.write(&format!("run/udev/data/b{numbers}"), &entry);
    }

    /// The root lies on this partition.
    pub(in crate::update) fn slave(&self, disk: &str, name: &str) {
        let slaves = self.path().join("sys/block/dm-0/slaves");
        fs::create_dir_all(&slaves).unwrap();
        let to = format!("../../../devices/{disk}/{name}");
        std::os::unix::fs::symlink(to, slaves.join(name)).unwrap();
    }

    /// Mounted over what was mounted there before.
    pub(in crate::update) fn mount(&self, numbers: &str, place: &str) {
        let path = self.path().join("proc/self/mountinfo");
        let mut text = fs::read_to_string(&path).unwrap();
        text.push_str(&format!("36 29 {numbers} / {place} rw - vfat /dev/x rw\n"));
        fs::write(path, text).unwrap();
    }
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
        let machine = Machine::new();
        let mut places = Places::under(machine.path());
        let script = machine.path().join("installer");
        places.installer = vec!["/bin/sh".into(), script.into()];
        let write = |path: &Path, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let release = "IMAGE_ID=lazaret\nIMAGE_VERSION=1\nVARIANT_ID=vm\n";
        write(&places.os_release, release);
        write(&places.keys, &pem(&pair(1)));
        write(&places.entries.join("lazaret_1.efi"), "one");
        let updater = Updater {
            places,
            wall: "2026-11-22T02:00:00Z".to_owned(),
        };
        let world = Self { machine, updater };
        world.installer(&Installer::Good);
        world
    }

    pub(super) fn places(&self) -> &Places {
        &self.updater.places
    }

    pub(super) fn installer(&self, what: &Installer) {
        let places = self.places();
        let from = places.downloads();
        let (from, root, entries) = (
            from.display(),
            self.machine.path().display(),
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
            "#!/bin/sh\nset -e\n. {from}/../install.env; v=$VERSION\n{}\n\
             cat {from}/lazaret_$v.root-verity.*.raw > {root}/dev/vda4; echo slack >> {root}/dev/vda4\n\
             echo E:ID_PART_ENTRY_NAME=lazaret_${{v}}_verity > {root}/run/udev/data/b254:4\n{}\n\
             cat {from}/lazaret_$v.root.*.raw > {root}/dev/vda5; echo slack >> {root}/dev/vda5\n\
             echo E:ID_PART_ENTRY_NAME=lazaret_$v > {root}/run/udev/data/b254:5\n{}\n\
             cat {from}/lazaret_$v.efi > {entries}/lazaret_$v+3-0.efi\n{garbled}\n{}\n",
            dies(0),
            dies(1),
            dies(2),
            dies(3)
        );
        fs::write(self.machine.path().join("installer"), script).unwrap();
    }

    /// A release in a folder, signed by our key.
    pub(super) fn release(&self, version: &str) -> Release {
        Release::new(self.machine.path(), version)
    }

    pub(super) fn apply(&self, source: &mut dyn Source) -> Result<Offer, UpdateError> {
        self.updater.apply(source, |_, _, _| {}, || true)
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
