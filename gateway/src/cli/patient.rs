//! `lazaret patient hash`: what belongs into `patients` of a device.
//!
//! In: identifiers on the standard input, so that they are in no history and no list of processes. Out: their hashes.
//! Needs the key file, but neither the daemon nor a configuration that is otherwise right:
//! a rule that binds patients is wrong until they are listed.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Args, Subcommand};
use protocol_inspect::hl7::patient_hash;
use serde::Serialize;

use super::context::Context;
use super::{CliError, Exit};

/// Subcommands of `patient`.
#[derive(Debug, Subcommand)]
pub(super) enum Patient {
    /// Read identifiers from the standard input, one a line; print the hash of each
    Hash(Hash),
}

/// Who gave the identifiers.
#[derive(Debug, Args)]
pub(super) struct Hash {
    /// The assigning authority as it stands in PID-3.4: NORD, or NORD&1.2.250.1&ISO
    #[arg(
        long,
        value_name = "AUTHORITY",
        default_value = "",
        hide_default_value = true
    )]
    authority: String,
}

/// What is printed; also the JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Hashes {
    patients: Vec<String>,
}

impl Patient {
    pub(super) fn run(self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        let Self::Hash(hash) = self;
        let authority = authority(&hash.authority)?;
        let key = key(context)?;
        let input = io::stdin();
        if input.is_terminal() {
            let mut terminal = io::stderr();
            writeln!(terminal, "one identifier a line; end with Control-D")?;
        }
        let hashes = hashes(input.lock(), key.as_bytes(), authority)?;
        if context.json {
            context.print_json(&hashes)?;
        } else {
            for hash in &hashes.patients {
                context.print(&format!("{hash}\n"))?;
            }
        }
        Ok(Exit::Ok)
    }
}

/// Namespace, universal ID and type.
fn authority(text: &str) -> Result<[&str; 3], CliError> {
    let mut parts = text.split('&');
    let three = std::array::from_fn(|_| parts.next().unwrap_or_default());
    if parts.next().is_some() || !is_plain(text) {
        let usage = "an authority is NAMESPACE, or NAMESPACE&UNIVERSAL-ID&TYPE, as in PID-3.4";
        return Err(CliError::new(Exit::Usage, usage));
    }
    Ok(three)
}

fn key(context: &Context<'_>) -> Result<lazaret_config::Key, CliError> {
    let directory = &context.config_dir;
    let Some(file) = lazaret_config::patient_key_file(directory) else {
        let text = format!(
            "[gateway] in {} names no `patient_key_file`",
            directory.join("lazaret.toml").display()
        );
        return Err(CliError::new(Exit::Configuration, text));
    };
    lazaret_config::read_key(&file).map_err(|error| CliError::from(error).with(Exit::Configuration))
}

fn hashes(input: impl BufRead, key: &[u8], authority: [&str; 3]) -> Result<Hashes, CliError> {
    let mut patients = Vec::new();
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        let identifier = line.strip_suffix('\r').unwrap_or(&line);
        if identifier.is_empty() {
            continue;
        }
        if !is_plain(identifier) {
            let text = format!(
                "line {} has a blank at an end, or a control character",
                number.saturating_add(1)
            );
            return Err(CliError::new(Exit::Usage, text));
        }
        let hash = patient_hash(key, authority, identifier);
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        patients.push(format!("hmac:{digits}"));
    }
    if patients.is_empty() {
        let text = "there is no identifier on the standard input";
        return Err(CliError::new(Exit::Usage, text));
    }
    Ok(Hashes { patients })
}

/// Blanks count in a message, so one that nobody sees would make a hash that never fits.
fn is_plain(text: &str) -> bool {
    text.trim() == text && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NORD: [&str; 3] = ["NORD", "", ""];

    #[test]
    fn each_line_is_an_identifier() {
        let read = |text: &str| hashes(text.as_bytes(), b"key", NORD).unwrap().patients;
        let two = read("4711\r\n\nO'NE 2\n");
        assert_eq!(two.len(), 2);
        assert_eq!(two[0], read("4711")[0]);
        assert_ne!(two[0], two[1]);
        assert!(two.iter().all(|hash| hash.len() == 5 + 64));
        let other = hashes("4711".as_bytes(), b"another", NORD).unwrap();
        assert_ne!(two[0], other.patients[0]);
    }

    #[test]
    fn what_is_no_identifier_is_misuse_and_not_shown() {
        for text in ["", "\n\n", "4711 \n", "\t4711", "4711\n47\u{7}11"] {
            let error = hashes(text.as_bytes(), b"key", NORD).unwrap_err();
            assert_eq!(error.exit, Exit::Usage, "{text:?}");
            assert!(!error.to_string().contains("47"), "{error}");
        }
    }

    #[test]
    fn an_authority_has_up_to_three_parts() {
        assert_eq!(authority("").unwrap(), ["", "", ""]);
        assert_eq!(authority("NORD").unwrap(), NORD);
        assert_eq!(
            authority("NORD&1.2.250.1&ISO").unwrap(),
            ["NORD", "1.2.250.1", "ISO"]
        );
        for bad in ["a&b&c&d", "NORD ", " "] {
            assert_eq!(authority(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
    }
}
