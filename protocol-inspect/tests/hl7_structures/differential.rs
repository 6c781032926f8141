//! The same messages before hl7apy: where it says something else than we do, the disagreement is listed with its reason.
//! hl7apy reads a few hundred messages a second with two processes, so that all of them take less than a minute.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use protocol_inspect::hl7::grammar::Usage;

use super::synthetic::{Synthetic, structures};
use super::{strict, verdict};

/// What is known to differ: version, name of the case, a word of what hl7apy says, and why we disagree.
const KNOWN: &str = include_str!("hl7apy.tsv");

#[test]
fn hl7apy_agrees_or_the_disagreement_is_known() {
    let cases = cases();
    let said = hl7apy(&cases);
    let policy = strict();
    let known: Vec<Known> = KNOWN.lines().skip(1).map(Known::read).collect();
    let mut used = vec![0_usize; known.len()];
    let (mut agreed, mut new) = (0, Vec::new());
    for (name, message) in &cases {
        let ours = verdict(message.as_bytes(), &policy).is_ok();
        let theirs = said
            .get(name)
            .unwrap_or_else(|| panic!("nothing of {name}"));
        if ours == (theirs == "accept") {
            agreed += 1;
        } else if let Some(at) = known.iter().position(|k| k.explains(name, theirs)) {
            used[at] += 1;
        } else {
            let ours = if ours { "accept" } else { "refuse" };
            new.push(format!("{name}\twe {ours}\t{theirs}"));
        }
    }
    println!(
        "{} cases, {agreed} agreed, {} known to differ",
        cases.len(),
        used.iter().sum::<usize>()
    );
    assert!(
        new.is_empty(),
        "{} of {}\n{}",
        new.len(),
        cases.len(),
        new.join("\n")
    );
    assert!(agreed * 10 > cases.len() * 8, "{agreed} of {}", cases.len());
    let idle = known.iter().zip(&used).filter(|(_, used)| **used == 0);
    let idle: Vec<&str> = idle.map(|(known, _)| known.line).collect();
    assert!(idle.is_empty(), "no longer true:\n{}", idle.join("\n"));
}

/// A line of `hl7apy.tsv`.
struct Known {
    line: &'static str,
    name: &'static str,
    says: &'static str,
}

impl Known {
    fn read(line: &'static str) -> Self {
        let parts: Vec<&str> = line.split('\t').collect();
        let [name, says, reason] = parts[..] else {
            panic!("not three columns: {line}");
        };
        assert!(!reason.is_empty(), "no reason: {line}");
        Self { line, name, says }
    }

    /// `*` stands for any run of characters, in the name only.
    fn explains(&self, name: &str, theirs: &str) -> bool {
        let mut rest = name;
        let mut pieces = self.name.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(behind) = rest.strip_prefix(first) else {
            return false;
        };
        rest = behind;
        for piece in pieces {
            let Some(at) = rest.find(piece) else {
                return false;
            };
            rest = &rest[at + piece.len()..];
        }
        (rest.is_empty() || self.name.ends_with('*')) && theirs.contains(self.says)
    }
}

/// The least message of each structure, and the same without one of its segments or required fields.
fn cases() -> Vec<(String, String)> {
    let mut out = Vec::new();
    // hl7apy has no 2.7.1.
    let messages = structures()
        .filter(|(version, _)| version.name() != "2.7.1")
        .filter_map(|(v, s)| Synthetic::least(v, s));
    for (ordinal, message) in messages.enumerate() {
        let title = message.title().replace(' ', "/");
        let mut case = |kind: &str, message: &Synthetic| {
            let text = String::from_utf8(message.bytes()).unwrap();
            out.push((format!("{title}/{kind}"), text));
        };
        case("least", &message);
        if ordinal % 2 == 0 && message.lines.len() > 2 {
            let mut less = message.clone();
            less.lines.remove(1 + ordinal % (message.lines.len() - 1));
            case("segment", &less);
        } else if let Some((line, number)) = required(&message, ordinal) {
            let mut less = message.clone();
            less.lines[line].set(number, "");
            case("field", &less);
        }
    }
    out
}

/// Some required field behind the header.
fn required(message: &Synthetic, ordinal: usize) -> Option<(usize, usize)> {
    let lines = message.lines.iter().enumerate().skip(1);
    let all: Vec<(usize, usize)> = lines
        .flat_map(|(line, own)| {
            let fields = own.grammar(message.version).into_iter();
            let fields = fields.flat_map(|segment| segment.fields().iter());
            let numbered = fields.zip(1..);
            let required = numbered.filter(|(field, _)| field.usage == Usage::Required);
            required.map(move |(_, number)| (line, number))
        })
        .collect();
    all.get(ordinal % all.len().max(1)).copied()
}

/// What hl7apy says of each case.
fn hl7apy(cases: &[(String, String)]) -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = root.join("target/peers/bin/python");
    assert!(python.exists(), "hl7apy is missing: please run tests/setup");
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hl7apy.txt");
    let lines = cases.iter().map(|(name, text)| format!("{name}\t{text}\n"));
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let output = Command::new(python)
        .arg(root.join("tests/peers/hl7apy_judge.py"))
        .arg(file)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "run tests/setup?\n{errors}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().filter_map(|line| line.split_once('\t'));
    lines.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}
