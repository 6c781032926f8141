//! A file that is imported: an ordinary `lazaret.toml` and one table `[secrets]`.
//!
//! In: its text. Out: the text without secrets, and the secrets; or what is wrong with file, line and column.
//! Knows nothing of sticks and directories: who imports writes the secrets into files, and checks the rest as ever.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::document;
use crate::error::ConfigErrors;
use crate::problem::{Fault, Problems};
use crate::secret::{Hidden, Key};
use crate::section::{Field, Section, place};
use crate::source::Source;
use crate::table::secrets::{self, AdminPassword};

/// A file to import, in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct ImportFile {
    /// What goes into force: the file without `[secrets]` and the comments in it.
    pub text: String,
    /// The same with spaces in the place of `[secrets]`, so that what is wrong is where it was written.
    pub source: Source,
    /// What was taken out.
    pub secrets: Secrets,
    /// The files beside the configuration that it names, whether it brings them or not.
    pub files: BTreeSet<PathBuf>,
    /// The file of these that holds the private key of the tunnel.
    pub private_key_file: Option<PathBuf>,
}

/// `[secrets]`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Secrets {
    /// The gateway's private key, for `private_key_file` of `[tunnel.wireguard]`.
    pub wireguard_private_key: Option<Key>,
    /// The password of the console.
    pub admin_password: Option<Hidden>,
    /// Files beside the configuration, by their names.
    pub files: BTreeMap<String, Hidden>,
}

impl ImportFile {
    /// Takes a file apart; `path` is for messages.
    ///
    /// # Errors
    /// When it is not TOML, or something is wrong with `[secrets]`. The rest is not judged.
    pub fn read(path: &Path, text: &str) -> Result<Self, ConfigErrors> {
        let whole = Source {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let problems = Problems::default();
        let mut read = None;
        document::parse(0, &whole, &problems, |root| {
            read = Some(take_apart(root, &whole, &problems));
        });
        // What is shown of the lines must not have a secret in it.
        let shown = match &read {
            Some(file) => file.source.clone(),
            None => Source {
                text: blank_from_secrets(text),
                path: whole.path,
            },
        };
        if let Some(errors) = problems.into_errors(&[shown]) {
            return Err(errors);
        }
        read.ok_or_else(|| ConfigErrors::without_place("the file is empty".to_owned()))
    }

    /// Whether there is anything in it that only an import may see.
    #[must_use]
    pub fn has_secrets(&self) -> bool {
        self.text != self.source.text
    }
}

/// Whether a text can be the password of the console; the message never has anything of it.
///
/// # Errors
/// What a password must be.
pub fn check_password(text: &str) -> Result<Hidden, String> {
    match AdminPassword::read(&DeValue::String(text.into())) {
        Ok(AdminPassword(hidden)) => Ok(hidden),
        Err(fault) => Err(fault.help.unwrap_or(fault.message)),
    }
}

fn take_apart(root: &DeTable<'_>, whole: &Source, problems: &Problems) -> ImportFile {
    let (names, private_key) = named_files(root);
    let mut secrets = Secrets::default();
    let (text, blank) = without_secrets(root, &whole.text);
    if let Some((name, value)) = root.get_key_value("secrets") {
        let header = place(0, name);
        match value.get_ref().as_table() {
            Some(table) => {
                let title = "[secrets]".to_owned();
                let section = Section::new(title, header, table, &secrets::KEYS, problems);
                secrets = secrets::read(&section, private_key.as_deref(), &names);
            }
            None => problems.report(
                Fault::new("expected the table [secrets]")
                    .secret()
                    .at(header),
            ),
        }
        if !is_same_but_secrets(&whole.text, &text) {
            let fault = Fault::new("the secrets cannot be taken out of this file");
            let help = "write `[secrets]` as the last table of the file";
            problems.report(fault.help(help).at(header));
        }
    }
    ImportFile {
        text,
        source: Source {
            path: whole.path.clone(),
            text: blank,
        },
        secrets,
        files: names.iter().filter_map(|name| beside(name)).collect(),
        private_key_file: private_key.as_deref().and_then(beside),
    }
}

/// The files that the configuration names, as far as it can be told, and that of the private key.
fn named_files(root: &DeTable<'_>) -> (Vec<String>, Option<String>) {
    let table = |table: &DeTable<'_>, key: &str| -> Option<String> {
        Some(table.get(key)?.get_ref().as_str()?.to_owned())
    };
    let inner = |key: &str| root.get(key).and_then(|value| value.get_ref().as_table());
    let wireguard = inner("tunnel")
        .and_then(|tunnel| tunnel.get("wireguard"))
        .and_then(|value| value.get_ref().as_table());
    let private_key = wireguard.and_then(|wireguard| table(wireguard, "private_key_file"));
    let patient_key = inner("gateway").and_then(|gateway| table(gateway, "patient_key_file"));
    let root_file = inner("appliance").and_then(|appliance| table(appliance, "hospital_root"));
    let devices = inner("device")
        .into_iter()
        .flat_map(|devices| devices.values());
    let preshared =
        devices.filter_map(|device| table(device.get_ref().as_table()?, "preshared_key_file"));
    let names = private_key
        .iter()
        .cloned()
        .chain(patient_key)
        .chain(root_file)
        .chain(preshared)
        .collect();
    (names, private_key)
}

/// A path inside of the configuration directory; `None` for one that leads elsewhere.
fn beside(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let normal = |part: Component<'_>| matches!(part, Component::Normal(_));
    (path.components().all(normal) && !name.is_empty()).then(|| path.to_owned())
}

/// The text without the lines of `[secrets]`, and the text with spaces in their place.
fn without_secrets(root: &DeTable<'_>, text: &str) -> (String, String) {
    let mut left = String::with_capacity(text.len());
    let mut blank = String::with_capacity(text.len());
    let mut from = 0;
    for cut in secret_lines(root, text) {
        let before = text.get(from..cut.start).unwrap_or_default();
        let inside = text.get(cut.clone()).unwrap_or_default();
        left.push_str(before);
        blank.push_str(before);
        blank.push_str(&spaces(inside));
        from = cut.end;
    }
    let rest = text.get(from..).unwrap_or_default();
    left.push_str(rest);
    blank.push_str(rest);
    (left, blank)
}

/// The text with spaces from the first line that speaks of secrets, for when it is no TOML.
fn blank_from_secrets(text: &str) -> String {
    let first = text.find("secrets").unwrap_or(text.len());
    let begin = text.get(..first).and_then(|before| before.rfind('\n'));
    let begin = begin.map_or(0, |at| at.saturating_add(1));
    let (before, rest) = match first {
        none if none == text.len() => (text, ""),
        _ => text.split_at(begin),
    };
    format!("{before}{}", spaces(rest))
}

/// As many bytes and lines of nothing.
fn spaces(text: &str) -> String {
    let blank = |b| if b == b'\n' { '\n' } else { ' ' };
    text.bytes().map(blank).collect()
}

/// The lines from each secret key or header to the next that is not.
fn secret_lines(root: &DeTable<'_>, text: &str) -> Vec<Range<usize>> {
    let mut begins: Vec<(usize, bool)> = Vec::new();
    let mut tables = vec![(root, false, true)];
    while let Some((table, secret, top)) = tables.pop() {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let secret = secret || (top && name == "secrets");
            begins.push((key.span().start, secret));
            if let Some(inner) = value.get_ref().as_table() {
                tables.push((inner, secret, false));
            }
            for element in value.get_ref().as_array().into_iter().flatten() {
                if let Some(inner) = element.get_ref().as_table() {
                    begins.push((element.span().start, secret));
                    tables.push((inner, secret, false));
                }
            }
        }
    }
    begins.sort_unstable();
    let line_of = |byte: usize| {
        let before = text.get(..byte).unwrap_or_default();
        before.rfind('\n').map_or(0, |at| at.saturating_add(1))
    };
    let mut cuts: Vec<Range<usize>> = Vec::new();
    let mut open: Option<usize> = None;
    for (byte, secret) in begins {
        match (open, secret) {
            (None, true) => open = Some(line_of(byte)),
            (Some(start), false) => {
                cuts.push(start..line_of(byte));
                open = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }
    cuts.extend(open.map(|start| start..text.len()));
    cuts
}

/// Whether one text says all that the other does but its secrets.
fn is_same_but_secrets(whole: &str, left: &str) -> bool {
    let (Ok(mut whole), Ok(left)) = (whole.parse::<toml::Table>(), left.parse::<toml::Table>())
    else {
        return false;
    };
    whole.remove("secrets");
    whole == left
}

/// The keys that name files, for messages.
pub(crate) const FILE_KEYS: &str =
    "`private_key_file`, `patient_key_file`, `preshared_key_file` and `hospital_root`";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "aFiEC1rdOSD8G/y+rgmvawrIkFQyJlygWGYebd/qM+s=";
    const BASE: &str = "schema = 1\n[tunnel.wireguard]\nprivate_key_file = \"wg.key\"\n";
    const DEVICE: &str = "[device.a]\npreshared_key_file = \"a.psk\"\n";

    fn read(text: &str) -> Result<ImportFile, String> {
        ImportFile::read(Path::new("stick"), text).map_err(|errors| errors.to_string())
    }

    #[test]
    fn takes_secrets_out_wherever_they_stand() {
        let secrets = format!(
            "[secrets] # mine\nwireguard_private_key = \"{KEY}\"\n# admin_password = 'an older one'\nadmin_password = 'correct horse'\n"
        );
        let files = "[secrets.files]\n\"a.psk\" = \"\"\"\n[device.no]\nline\n\"\"\"\n";
        let inline = format!(
            "secrets = {{ wireguard_private_key = \"{KEY}\", admin_password = 'correct horse', files = {{ \"a.psk\" = \"[device.no]\\nline\\n\" }} }}\n"
        );
        let dotted = format!(
            "secrets.wireguard_private_key = \"{KEY}\"\nsecrets.admin_password = 'correct horse'\nsecrets.files.\"a.psk\" = \"[device.no]\\nline\\n\"\n"
        );
        for text in [
            format!("{BASE}{DEVICE}{secrets}{files}"),
            format!("{BASE}{secrets}{files}{DEVICE}"),
            format!("{BASE}{secrets}{DEVICE}{files}"),
            format!("{files}{BASE}{DEVICE}{secrets}").replacen("schema = 1\n", "", 1),
            format!("{inline}{BASE}{DEVICE}"),
            format!("{dotted}{BASE}{DEVICE}"),
        ] {
            let file = read(&text).unwrap();
            assert!(file.has_secrets(), "{text}");
            let left = format!("{BASE}{DEVICE}");
            assert!(
                left.contains(&file.text) || file.text == left,
                "{}",
                file.text
            );
            for leak in [KEY, "horse", "older", "line", "secrets"] {
                assert!(
                    !file.text.contains(leak) && !file.source.text.contains(leak),
                    "{text}"
                );
            }
            assert_eq!(text.lines().count(), file.source.text.lines().count());
            assert_eq!(file.source.text.find("[device.a]"), text.find("[device.a]"));
            let secrets = &file.secrets;
            assert!(secrets.wireguard_private_key.is_some());
            let password = secrets.admin_password.as_ref().unwrap();
            assert_eq!(password.as_bytes(), b"correct horse");
            assert_eq!(secrets.files["a.psk"].as_bytes(), b"[device.no]\nline\n");
            assert_eq!(file.files.len(), 2);
            assert_eq!(file.private_key_file.as_deref(), Some(Path::new("wg.key")));
        }
        let plain = format!("{BASE}{DEVICE}");
        let file = read(&plain).unwrap();
        assert!(!file.has_secrets());
        assert_eq!((file.text, file.secrets), (plain, Secrets::default()));
    }

    #[test]
    fn says_what_is_wrong_without_the_value() {
        for (table, told) in [
            (
                "admin_password = 'tooshort'",
                "stick:5:18: not a password for the console",
            ),
            (
                "admin_password = 'correct hörse battery'",
                "stick:5:18: not a password",
            ),
            (
                "admin_password = 4711471147114711",
                "stick:5:18: expected a password, found an integer",
            ),
            (
                "wireguard_private_key = 'correct horse'",
                "stick:5:25: not a private key",
            ),
            (
                "password = 'correct horse'",
                "stick:5:1: unknown key `password` in [secrets]",
            ),
            ("files = 'correct horse'", "stick:5:9: expected a table"),
            (
                "files = { 'b.psk' = 'correct horse' }",
                "stick:5:11: no key of the configuration names this file",
            ),
            (
                "files = { 'lazaret.toml' = 'correct horse' }",
                "stick:5:11: not the name of a file",
            ),
            (
                "files = { '../x' = 'correct horse' }",
                "stick:5:11: not the name of a file",
            ),
            (
                "files = { 'wg.key' = '' }",
                "stick:5:22: a file has 1 to 65536 bytes",
            ),
            ("admin_password = 'correct horse", "stick:5:32: not TOML"),
            (
                "files = { 'wg.key' = 'correct horse' }\nwireguard_private_key = 'aFiEC1rdOSD8G/y+rgmvawrIkFQyJlygWGYebd/qM+s='",
                "stick:5:11: the private key of the tunnel is here twice",
            ),
        ] {
            let shown = read(&format!("{BASE}[secrets]\n{table}\n")).unwrap_err();
            assert!(shown.starts_with(told), "{shown}");
            for leak in ["tooshort", "horse", "hörse", "4711", "G/y+rgmvawr"] {
                assert!(!shown.contains(leak), "{shown}");
            }
        }
        let nowhere = format!("[secrets]\nwireguard_private_key = '{KEY}'\n");
        assert!(
            read(&nowhere)
                .unwrap_err()
                .contains("the key needs a place beside")
        );
        assert!(
            read("secrets = 'correct horse'")
                .unwrap_err()
                .starts_with("stick:1:1: expected the table")
        );
        assert!(check_password("correct horse").is_ok());
        assert!(
            check_password("tooshort")
                .unwrap_err()
                .starts_with("12 to 128")
        );
    }

    #[test]
    fn bombs_are_only_errors() {
        for text in [
            format!("x = {}", "[".repeat(1 << 20)),
            format!("x = {}", "{a=".repeat(1 << 18)),
            format!("{} = 1", vec!["a"; 1 << 18].join(".")),
            format!("[{}]", vec!["a"; 1 << 18].join(".")),
            format!("secrets.{} = 1", vec!["a"; 1 << 18].join(".")),
            "[[a]]\n".repeat(1 << 16),
            "\u{0}".repeat(1 << 20),
            "\"\"\"".repeat(1 << 18),
            format!(
                "[secrets]\n{}",
                (0..50_000).map(|n| format!("k{n}=1\n")).collect::<String>()
            ),
            format!(
                "[secrets.files]\n{}",
                (0..50_000).map(|n| format!("k{n}=1\n")).collect::<String>()
            ),
        ] {
            let shown = read(&text).err().unwrap_or_default();
            assert!(shown.len() < 20_000, "{}", &shown[..1000]);
        }
    }
}
