//! Files of clients as data: those that are refused, each with its message and its nearest accepted twin, and the example.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what goes wrong in a test must fail it, in its helpers too"
)]

use std::fs;
use std::path::{Path, PathBuf};

use lazaret_config::{Client, Source};

/// `bad_client/NAME.toml` is refused with `bad_client/NAME.txt`; with the line after `#= ` instead of the one before it is accepted.
/// What a file does not say is as in `GOOD`. `UPDATE=1` writes the messages anew.
#[test]
fn bad_files_are_refused_and_their_twins_accepted() {
    let mut wrong = Vec::new();
    let bad = files("toml");
    assert!(bad.len() >= 12, "only {} bad files", bad.len());
    for path in bad {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let expected = path.with_extension("txt");
        match read(&name, &complete(&text)) {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(shown) => {
                if std::env::var_os("UPDATE").is_some() {
                    fs::write(&expected, &shown).unwrap();
                }
                if fs::read_to_string(&expected).unwrap_or_default() != shown {
                    wrong.push(format!("{name}: another message:\n{shown}"));
                }
            }
        }
        if let Err(shown) = read(&name, &complete(&twin(&text))) {
            wrong.push(format!("{name}: the twin is refused:\n{shown}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for path in files("txt") {
        assert!(path.with_extension("toml").exists(), "{}", path.display());
    }
}

#[test]
fn the_example_loads() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/connect/clinic.toml");
    let client = Client::load(&example).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((client.gateway.port, client.forwards.len()), (443, 2));
    assert_eq!(client.name, client.gateway.host);
    assert_eq!(client.forwards[1].port, Some(3389));
    let own = example.with_file_name("machine/device.pem");
    assert_eq!((&client.certificate, &client.key), (&own, &own));
    assert!(client.post_quantum_required && client.interface.is_none());
    assert!(Client::load(&example.with_file_name("none.toml")).is_err());
}

const GOOD: [(&str, &str); 5] = [
    ("schema", "1"),
    ("gateway", "\"gateway.example.org\""),
    ("ca", "\"ca.pem\""),
    ("certificate", "\"me.pem\""),
    ("key", "\"me.key\""),
];

/// `Exec` as the Desktop Entry Specification wants it: what is reserved stands between double quotes, and of that
/// what is reserved there has a backslash before it.
#[test]
fn the_desktop_example_can_be_started_by_any_desktop() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/connect/lazaret-connect.desktop");
    let text = fs::read_to_string(path).unwrap();
    let exec = text.lines().find_map(|line| line.strip_prefix("Exec="));
    let exec = exec.unwrap();
    assert!(exec.contains("lazaret connect "), "{exec}");
    assert!(is_quoted(exec), "{exec}");
    assert!(!is_quoted(
        "sh -c 'exec lazaret connect \"$HOME/clinic.toml\"'"
    ));
    assert!(!is_quoted("sh -c \"a") && !is_quoted("a && b") && is_quoted("a \"&& b\" %f"));
}

fn is_quoted(exec: &str) -> bool {
    let parts: Vec<&str> = exec.split('"').collect();
    let plain = |part: &&str| {
        !part.contains([
            '\'', '\\', '>', '<', '~', '|', '&', ';', '$', '*', '?', '#', '(', ')', '`',
        ])
    };
    let quoted = |part: &&str| !part.contains(['`', '$', '\\']);
    let odd = parts.iter().skip(1).step_by(2).all(quoted);
    parts.len() % 2 == 1 && odd && parts.iter().step_by(2).all(plain)
}

/// The file, and after it every key of `GOOD` that it does not mention.
fn complete(text: &str) -> String {
    let mut whole = text.to_owned();
    for (key, value) in GOOD {
        if !text.lines().any(|line| {
            line.trim_start_matches("# ")
                .starts_with(&format!("{key} "))
        }) {
            whole.push_str(&format!("{key} = {value}\n"));
        }
    }
    whole
}

fn twin(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("#= ") {
            Some(better) => {
                lines.pop();
                lines.push(better);
            }
            None => lines.push(line),
        }
    }
    lines.join("\n") + "\n"
}

fn read(name: &str, text: &str) -> Result<Client, String> {
    let source = Source {
        path: format!("{name}.toml").into(),
        text: text.to_owned(),
    };
    Client::from_source(source).map_err(|errors| format!("{errors}\n"))
}

fn files(extension: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_client");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = entries
        .filter(|path| path.extension().is_some_and(|end| end == extension))
        .collect();
    found.sort();
    found
}
