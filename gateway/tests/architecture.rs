//! Holds the walls that ARCHITECTURE.md draws, by reading the sources.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Which rooms (or words) a room may import. A new arrow is drawn here and in ARCHITECTURE.md in one commit.
const ARROWS: [(&str, &[&str]); 28] = [
    ("flow", &[]),
    ("words", &[]),
    ("own", &[]),
    ("systemd", &[]),
    ("channel", &[]),
    ("tunnel", &["flow", "channel"]),
    ("key_exchange", &["pki::foreign", "pki::message"]),
    ("route", &[]),
    ("masque", &[]),
    ("pace", &["masque"]),
    (
        "quic",
        &[
            "flow",
            "channel",
            "tunnel",
            "key_exchange",
            "masque",
            "pace",
            "pki",
        ],
    ),
    ("segment", &["flow", "channel", "route"]),
    ("inspect", &["flow", "channel", "words"]),
    ("forward", &["flow", "channel", "words", "inspect"]),
    ("audit", &["flow", "channel", "words"]),
    ("registry", &["flow", "channel", "control::message"]),
    ("behaviour", &["flow", "control::message"]),
    ("keystore", &["flow", "channel"]),
    ("pki", &["flow", "channel", "keystore::message"]),
    ("enrol", &["flow", "channel", "words", "pki"]),
    ("control", &["flow", "channel", "words", "pki::message"]),
    (
        "connect",
        &["words", "masque", "pace", "tunnel", "key_exchange", "route"],
    ),
    ("update", &["own", "systemd"]),
    ("doctor", &["control::message"]),
    (
        "daemon",
        &[
            "flow",
            "words",
            "channel",
            "tunnel",
            "quic",
            "segment",
            "inspect",
            "forward",
            "audit",
            "registry",
            "behaviour",
            "keystore",
            "pki",
            "enrol",
            "control",
        ],
    ),
    ("setup", &["flow", "own", "systemd", "tunnel", "daemon"]),
    (
        "cli",
        &[
            "flow", "words", "own", "channel", "tunnel", "segment", "inspect", "forward", "audit",
            "registry", "pki", "enrol", "control", "daemon", "setup", "connect", "update",
            "doctor", "systemd",
        ],
    ),
    ("lib", &[]),
];
/// Words that only these folders or files may use.
const PRIVATE: [(&str, &[&str]); 14] = [
    (
        "cryptoki",
        &[
            "gateway/src/keystore/token.rs",
            "gateway/src/keystore/worker.rs",
        ],
    ),
    ("landlock", &["gateway/src/daemon/confine.rs"]),
    ("smoltcp", &["gateway/src/connect/stack.rs"]),
    (
        "ureq",
        &["gateway/src/update/https.rs", "gateway/src/enrol/client.rs"],
    ),
    ("hyper", &["gateway/src/enrol/"]),
    (
        "rustls",
        &[
            "gateway/src/update/",
            "gateway/src/pki/",
            "gateway/src/enrol/",
            "gateway/src/connect/",
            "gateway/src/key_exchange.rs",
            "gateway/src/quic/tls.rs",
            "gateway/src/quic/tests.rs",
        ],
    ),
    (
        "quinn",
        &[
            "gateway/src/key_exchange.rs",
            "gateway/src/quic/",
            "gateway/src/connect/",
            "gateway/src/pace/",
        ],
    ),
    (
        "quinn_proto",
        &[
            "gateway/src/key_exchange.rs",
            "gateway/src/pace/controller.rs",
        ],
    ),
    ("rcgen", &["gateway/src/pki/", "gateway/src/quic/tests.rs"]),
    ("x509_cert", &["gateway/src/pki/"]),
    (
        "rustables",
        &[
            "gateway/src/segment/nft.rs",
            "gateway/src/segment/dynset.rs",
        ],
    ),
    (
        "sqlx",
        &[
            "gateway/src/registry/store/",
            "gateway/src/registry/task.rs",
        ],
    ),
    ("boringtun", &["gateway/src/tunnel/"]),
    (
        "protocol_inspect",
        &[
            "gateway/src/inspect/",
            "gateway/src/forward/",
            "gateway/src/cli/",
            "gateway/src/daemon/",
        ],
    ),
];
/// What the inspectors and the schema must not reach: they are functions of their arguments.
const IMPURE: [&str; 9] = [
    "std::net",
    "std::fs",
    "std::thread",
    "std::env",
    "std::process",
    "Instant::now",
    "SystemTime::now",
    "tokio",
    "lazaret",
];
const LONGEST_FILE: usize = 600;

#[test]
fn rooms_import_only_what_the_architecture_allows() {
    let mut wrong = Vec::new();
    for (path, code) in sources("gateway/src") {
        let room = room(&path);
        if room == "main" {
            let only_cli =
                code.matches("lazaret::").count() == code.matches("lazaret::cli").count();
            if !only_cli {
                wrong.push(format!("{path}: may use `lazaret::cli` alone"));
            }
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!(
                "{path}: the room `{room}` has no arrows in tests/architecture.rs"
            ));
            continue;
        };
        for import in imports(&code) {
            let inside = |name: &str| import == name || import.starts_with(&format!("{name}::"));
            if !inside(&room) && !allowed.iter().any(|name| inside(name)) {
                wrong.push(format!("{path}: `{room}` may not import `crate::{import}`"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn some_crates_have_one_user() {
    let mut wrong = Vec::new();
    for (path, code) in sources("gateway/src") {
        for (word, users) in PRIVATE {
            if has_word(&code, word) && !users.iter().any(|user| path.starts_with(user)) {
                wrong.push(format!("{path}: `{word}` belongs to {}", users.join(", ")));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_inspectors_are_pure() {
    let mut wrong = Vec::new();
    for (path, code) in sources("protocol-inspect/src") {
        let code = flatten_std(&code);
        for word in IMPURE {
            if has_word(&code, word) {
                wrong.push(format!("{path}: an inspector may not use `{word}`"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_doctor_judges_what_others_read() {
    let mut wrong = Vec::new();
    for (path, code) in sources("gateway/src/doctor") {
        let code = flatten_std(&code);
        for word in IMPURE.into_iter().filter(|word| *word != "lazaret") {
            if has_word(&code, word) {
                wrong.push(format!("{path}: a judgement may not use `{word}`"));
            }
        }
    }
    report(&wrong);
}

#[test]
fn proofs_without_an_inspector_are_for_tests_alone() {
    let manifest = fs::read_to_string(root().join("gateway/Cargo.toml")).unwrap();
    let (shipped, _) = manifest.split_once("[dev-dependencies]").unwrap();
    assert!(
        !shipped.contains("testing"),
        "gateway/Cargo.toml turns on `protocol-inspect/testing` for the product"
    );
}

#[test]
fn files_stay_small() {
    let mut wrong = Vec::new();
    for folder in [
        "gateway/src",
        "gateway/tests",
        "config/src",
        "protocol-inspect/src",
    ] {
        for path in files(&root().join(folder)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            let generated = path.components().any(|part| part.as_os_str() == "data");
            if lines > LONGEST_FILE && !generated {
                wrong.push(format!(
                    "{}: {lines} lines, at most {LONGEST_FILE}",
                    path.display()
                ));
            }
        }
    }
    report(&wrong);
}

#[test]
fn the_reader_of_sources_sees_what_it_should() {
    let code = code(
        "use crate::{flow::Side, a::{b, c}};\n// crate::no\nlet x = crate::d::E; //! crate::no",
    );
    assert_eq!(
        imports(&code),
        ["a::b", "a::c", "d::E", "flow::Side"]
            .map(str::to_owned)
            .into()
    );
    assert!(has_word(
        &flatten_std("use std::{fmt, io, net::IpAddr};"),
        "std::net"
    ));
    assert!(has_word("tokio::spawn", "tokio") && !has_word("protokio", "tokio"));
}

fn report(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "the architecture is broken:\n  {}\n",
        wrong.join("\n  ")
    );
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Paths from the top of the project, and code without comments.
fn sources(folder: &str) -> Vec<(String, String)> {
    let found = files(&root().join(folder));
    assert!(!found.is_empty(), "no sources in {folder}");
    let read = |path: PathBuf| {
        let name = path
            .strip_prefix(root())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        (name, code(&fs::read_to_string(&path).unwrap()))
    };
    found.into_iter().map(read).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn code(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split_once("//").map_or(line, |(before, _)| before));
    lines.collect::<Vec<_>>().join("\n")
}

fn room(path: &str) -> String {
    let inside = path.strip_prefix("gateway/src/").unwrap();
    let first = inside.split('/').next().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// `room::item` for every `crate::…`, with groups taken apart.
fn imports(code: &str) -> BTreeSet<String> {
    code.match_indices("crate::")
        .flat_map(|(at, word)| expand(&code[at + word.len()..]))
        .collect()
}

/// The first two segments of a path, for each branch of its groups.
fn expand(path: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect::<String>()
    };
    if let Some(group) = path.strip_prefix('{') {
        return branches(group)
            .iter()
            .flat_map(|branch| expand(branch))
            .collect();
    }
    let first = name(path);
    let Some(rest) = path[first.len()..].strip_prefix("::") else {
        return vec![first];
    };
    let seconds = rest.strip_prefix('{').map_or(vec![rest], branches);
    seconds
        .iter()
        .map(|second| format!("{first}::{}", name(second)))
        .collect()
}

/// The branches of a group whose opening brace was taken.
fn branches(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(group[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|branch| !branch.is_empty());
    found
}

/// `use std::{net::X, io}` as `std::net std::io`.
fn flatten_std(code: &str) -> String {
    let groups = code
        .match_indices("std::{")
        .flat_map(|(at, word)| branches(&code[at + word.len()..]));
    let flat = groups
        .map(|branch| format!(" std::{branch}"))
        .collect::<String>();
    format!("{code}\n{flat}")
}

fn has_word(code: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        !part(code[..at].chars().next_back()) && !part(code[at + word.len()..].chars().next())
    })
}
