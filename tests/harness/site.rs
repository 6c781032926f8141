//! The configuration of a scenario: a template in which `"{NAME}"` stands for the public key of device NAME.
//!
//! In: the template. Out: `lazaret.toml` and the keys of gateway and devices, made anew for each world.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::Lab;

/// A configuration directory and the keys that belong to it.
#[derive(Clone)]
pub struct Site {
    root: PathBuf,
}

impl Site {
    /// The site of most scenarios, `tests/sites/standard.toml`.
    pub fn standard(lab: &Lab) -> Self {
        Self::new(lab, include_str!("../sites/standard.toml"))
    }

    /// A site of one's own.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn new(lab: &Lab, template: &str) -> Self {
        let site = Self {
            root: lab.folder("site"),
        };
        for folder in [site.directory(), site.root.join("keys")] {
            std::fs::create_dir_all(folder).unwrap();
        }
        site.make_keys(GATEWAY);
        std::fs::copy(
            site.key_file(GATEWAY),
            site.directory().join("wireguard.key"),
        )
        .unwrap();
        site.write(template);
        site
    }

    /// The configuration directory.
    pub fn directory(&self) -> PathBuf {
        self.root.join("etc")
    }

    /// `state_dir`.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// `runtime_dir`.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Everything that the gateway may write to is below.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Changes the configuration on disk; the gateway learns of it by `lazaret apply`.
    ///
    /// # Panics
    /// When `from` does not occur.
    #[track_caller]
    pub fn replace(&self, from: &str, to: &str) {
        let template = self.template();
        assert!(
            template.contains(from),
            "the site does not contain {from:?}"
        );
        self.write(&template.replace(from, to));
    }

    /// Adds to the configuration on disk.
    pub fn append(&self, text: &str) {
        self.write(&format!("{}\n{text}", self.template()));
    }

    /// Replaces the configuration on disk.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, template: &str) {
        let mut text = template.to_owned();
        for (name, path) in [("state_dir", self.state()), ("runtime_dir", self.runtime())] {
            std::fs::create_dir_all(&path).unwrap();
            text = text.replace(&format!("{{{name}}}"), &path.display().to_string());
        }
        for device in placeholders(&text) {
            self.make_keys(&device);
            let key = format!("\"{}\"", self.public_key(&device));
            text = text.replace(&format!("\"{{{device}}}\""), &key);
        }
        std::fs::write(self.root.join("template.toml"), template).unwrap();
        std::fs::write(self.directory().join("lazaret.toml"), text).unwrap();
    }

    /// The template as it is now.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn template(&self) -> String {
        std::fs::read_to_string(self.root.join("template.toml")).unwrap()
    }

    /// The file with the private key of a device, whether the site knows it or not.
    pub fn key_file(&self, device: &str) -> PathBuf {
        self.make_keys(device);
        self.root.join("keys").join(device)
    }

    /// The public key of a device.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn public_key(&self, device: &str) -> String {
        self.make_keys(device);
        let file = self.root.join("keys").join(format!("{device}.pub"));
        std::fs::read_to_string(file).unwrap()
    }

    /// The public key of the gateway.
    pub fn gateway_key(&self) -> String {
        self.public_key(GATEWAY)
    }

    /// The tunnel addresses that the site gives to a device.
    pub fn addresses(&self, device: &str) -> Vec<IpAddr> {
        let template = self.template();
        let heading = format!("[device.{device}]");
        let entry = template.split_once(&heading).map_or("", |(_, rest)| rest);
        let entry = entry.split("\n[").next().unwrap_or_default();
        let line = entry.lines().find(|line| line.starts_with("addresses"));
        let quoted = line.unwrap_or_default().split('"').skip(1).step_by(2);
        quoted.filter_map(|address| address.parse().ok()).collect()
    }

    fn make_keys(&self, name: &str) {
        let private = self.root.join("keys").join(name);
        if private.exists() {
            return;
        }
        let key = wg(&["genkey"], "");
        std::fs::write(&private, &key).unwrap();
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(
            private.with_file_name(format!("{name}.pub")),
            wg(&["pubkey"], &key),
        )
        .unwrap();
    }
}

const GATEWAY: &str = "the-gateway";

/// Words of the form `"{word}"`.
fn placeholders(text: &str) -> BTreeSet<String> {
    let after = text.split("\"{").skip(1);
    after
        .filter_map(|rest| rest.split_once("}\""))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn wg(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new("wg")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("wg, which tests/setup installs");
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
