//! The public samples, and what CORPUS.md says of them: each row is our verdict, and the peers' beside it.
//!
//! `LAZARET_CORPUS` names the folder (default `../shared/corpus` beside the project); without it there is nothing to judge.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use protocol_inspect::hl7::{Profile, inspect_offline};

const TABLE: &str = include_str!("CORPUS.md");

#[test]
fn the_verdicts_on_the_corpus_are_those_of_the_table() {
    let root = std::env::var_os("LAZARET_CORPUS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus"),
        PathBuf::from,
    );
    let Ok(entries) = std::fs::read_dir(root.join("hl7")) else {
        println!("no corpus at {}: set LAZARET_CORPUS", root.display());
        return;
    };
    let mut said = BTreeMap::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|e| e != "hl7") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).unwrap();
        let verdicts = [Profile::standard(), Profile::strict()].map(|profile| {
            let reports = inspect_offline(&bytes, false, &profile);
            let refusal = reports.iter().find_map(|r| r.refusal.as_ref());
            refusal.map_or_else(
                || "accept".to_owned(),
                |r| format!("{}: {}", r.location, r.detail),
            )
        });
        said.insert(name, verdicts);
    }
    let listed: BTreeMap<String, [String; 2]> = rows().map(|row| (row.name, row.ours)).collect();
    let differ: Vec<String> = said
        .iter()
        .filter(|(name, verdicts)| listed.get(*name) != Some(verdicts))
        .map(|(name, [standard, strict])| format!("| {name} | {standard} | {strict} |"))
        .collect();
    assert!(
        differ.is_empty(),
        "not as in CORPUS.md:\n{}",
        differ.join("\n")
    );
    assert_eq!(said.len(), listed.len());
}

/// Whoever refuses what all others take is wrong until shown otherwise.
#[test]
fn what_all_peers_accept_the_standard_profile_accepts() {
    let mut agreed = 0;
    for row in rows().filter(|row| row.peers.iter().all(|said| said == "accept")) {
        assert_eq!(row.ours[0], "accept", "{}", row.name);
        agreed += 1;
    }
    assert!(agreed > 5, "{agreed}");
}

/// What is wrong in a message, and what only a rule is against, are counted apart.
#[test]
fn refusals_by_rule_are_told_from_faults() {
    let rows: Vec<Row> = rows().filter(|row| row.ours[0] != "accept").collect();
    let by_rule = |row: &&Row| row.ours[0].ends_with("the rule lists no `hosts`");
    assert_eq!(rows.iter().filter(by_rule).count(), 2);
    let faulty: Vec<&Row> = rows.iter().filter(|row| !by_rule(row)).collect();
    assert_eq!(faulty.len(), 15);
    // The last two are the strict readers.
    let strict_reader = |row: &&&Row| row.peers[1..].iter().any(|said| said == "accept");
    let accepted: Vec<&str> = faulty
        .iter()
        .filter(strict_reader)
        .map(|row| row.name.as_str())
        .collect();
    assert!(accepted.is_empty(), "{accepted:?}");
}

struct Row {
    name: String,
    ours: [String; 2],
    peers: [String; 3],
}

/// The rows of the table: name, standard, strict, hl7apy with good will, hl7apy strict, hl7types strict.
fn rows() -> impl Iterator<Item = Row> {
    TABLE.lines().filter_map(|line| {
        let cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
        let [_, name, standard, strict, a, b, c, _] = <[String; 8]>::try_from(cells).ok()?;
        let numbered = name.starts_with("00");
        numbered.then_some(Row {
            name,
            ours: [standard, strict],
            peers: [a, b, c],
        })
    })
}
