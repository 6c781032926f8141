//! `[secrets]` of a file that is imported: the keys, passwords and files that come with a configuration.
//!
//! Whatever is wrong here is said without the value.

use std::collections::BTreeMap;

use toml::de::DeValue;

use crate::import::{FILE_KEYS, Secrets};
use crate::problem::{At, Fault};
use crate::secret::{Hidden, Key, decode};
use crate::section::{Field, Keys, Section, Text, wrong_type};

pub(crate) const KEYS: Keys = Keys {
    table: "[secrets]",
    known: &["wireguard_private_key", "admin_password", "files"],
    later: &[],
};

/// A private key in base64.
struct PrivateKey(Key);

/// The password of the console.
#[derive(Clone)]
pub(crate) struct AdminPassword(pub(crate) Hidden);

/// The name of a file beside the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FileName(pub(crate) String);

/// What is in a file.
struct Contents(Hidden);

/// Reads the table; `private_key_file` is what `[tunnel.wireguard]` calls its key.
pub(crate) fn read(
    section: &Section<'_>,
    private_key_file: Option<&str>,
    named: &[String],
) -> Secrets {
    let wireguard: Option<At<PrivateKey>> = section.optional("wireguard_private_key");
    let password: Option<At<AdminPassword>> = section.optional("admin_password");
    let mut files = BTreeMap::new();
    let brought = section
        .map::<FileName, Contents>("files")
        .unwrap_or_default();
    if brought.len() > MAX_FILES {
        section.report(
            "files",
            Fault::new(format!("at most {MAX_FILES} files")).secret(),
        );
    }
    for (name, contents) in brought {
        if wireguard.is_some() && private_key_file == Some(name.value.0.as_str()) {
            let fault = Fault::new("the private key of the tunnel is here twice");
            let help = "leave out `wireguard_private_key` or this file";
            section.problems().report(fault.help(help).at(name.place));
        } else if !named.contains(&name.value.0) {
            let fault = Fault::new("no key of the configuration names this file")
                .help(format!("files are named by {FILE_KEYS}"))
                .maybe(
                    section
                        .problems()
                        .did_you_mean(&name.value.0, named.iter().map(String::as_str)),
                );
            section.problems().report(fault.at(name.place));
        }
        files.insert(name.value.0, contents.value.0);
    }
    if wireguard.is_some() && private_key_file.is_none_or(|file| FileName::parse(file).is_err()) {
        let fault = Fault::new("the key needs a place beside the configuration")
            .help("write `private_key_file = \"wireguard.key\"` in [tunnel.wireguard]");
        section.report("wireguard_private_key", fault.secret());
    }
    Secrets {
        wireguard_private_key: wireguard.map(|at| at.value.0),
        admin_password: password.map(|At { value, .. }| value.0),
        files,
    }
}

impl Field for PrivateKey {
    const WHAT: &'static str = "a private key: 44 characters of base64, as `wg genkey` makes it";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type::<Self>(value).secret())?;
        decode(text.trim_ascii().as_bytes())
            .map(Self)
            .map_err(|_| Fault::new(format!("not {}", Self::WHAT)).secret())
    }
}

impl Field for AdminPassword {
    const WHAT: &'static str = "a password";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type::<Self>(value).secret())?;
        if (SHORTEST_PASSWORD..=LONGEST_PASSWORD).contains(&text.len())
            && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        {
            return Ok(Self(Hidden::new(text)));
        }
        let help = format!(
            "{SHORTEST_PASSWORD} to {LONGEST_PASSWORD} ASCII letters, digits, signs and spaces, which every keyboard and terminal has"
        );
        Err(Fault::new("not a password for the console")
            .help(help)
            .secret())
    }
}

impl Text for FileName {
    const WHAT: &'static str = "the name of a file beside the configuration";
    fn parse(text: &str) -> Result<Self, Fault> {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let toml = text.to_ascii_lowercase().ends_with(".toml");
        if (1..=64).contains(&text.len())
            && text.bytes().all(good)
            && !text.starts_with('.')
            && !toml
        {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                Fault::new("not the name of a file beside the configuration")
                    .help("1 to 64 ASCII letters, digits, `-`, `_` and `.`, not first; not .toml"),
            )
        }
    }
}

impl Field for Contents {
    const WHAT: &'static str = "the contents of a file, between \"\"\" and \"\"\"";
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        let text = value
            .as_str()
            .ok_or_else(|| wrong_type::<Self>(value).secret())?;
        if text.is_empty() || text.len() > LONGEST_FILE {
            let message = format!("a file has 1 to {LONGEST_FILE} bytes");
            return Err(Fault::new(message).secret());
        }
        Ok(Self(Hidden::new(text)))
    }
}

/// Least bytes of a password: there is no second factor at the console.
const SHORTEST_PASSWORD: usize = 12;
/// Most bytes of a password. //= C7
const LONGEST_PASSWORD: usize = 128;
/// Most bytes of one file. //= C7
const LONGEST_FILE: usize = 64 << 10;
/// Most files. //= C7
const MAX_FILES: usize = 256;
