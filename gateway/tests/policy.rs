//! Policies over time: history, rollback, trials that a crash ends, two persons, signatures.

#![allow(clippy::disallowed_methods, reason = "tests measure time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail with them"
)]

mod world;

use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::Value;
use world::*;

fn with_rule() -> String {
    format!("{CONFIG}{RULE}")
}

fn consoles() -> bool {
    table().contains("3389")
}

fn succeeds(arguments: &[&str]) {
    let output = lazaret(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
}

fn fails(arguments: &[&str], code: i32, why: &str) {
    failed(&lazaret(arguments), code, why);
}

fn failed(output: &Output, code: i32, why: &str) {
    let shown = said(output);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    assert!(shown.contains(why), "{shown}");
}

fn crash(gateway: &mut Gateway) -> Gateway {
    gateway.end(Signal::KILL);
    Gateway::start()
}

/// How, of which, by whom, in the order of the history.
fn history() -> Vec<String> {
    let list = json(&["history"]);
    let versions = list["versions"].as_array().unwrap();
    assert_eq!(list["damaged"], Value::Array(Vec::new()));
    let one = |version: &Value| {
        let how = version["how"].as_str().unwrap();
        let of = version["of"].as_u64().map(|of| format!(" {of}"));
        format!("{how}{}", of.unwrap_or_default())
    };
    versions.iter().map(one).collect()
}

fn told(events: &[(&str, usize)]) {
    for (event, times) in events {
        let event = format!("\"event\":\"{event}\"");
        let count = || journal().matches(&event).count();
        until(&event, || count() >= *times);
        assert_eq!(count(), *times, "{event}");
    }
}

//= C4
#[test]
fn a_rollback_stays_after_a_restart_until_the_files_change() {
    if std::env::var_os(INSIDE).is_none() {
        return again("a_rollback_stays_after_a_restart_until_the_files_change");
    }
    prepare();
    let mut gateway = Gateway::start();
    let first = status()["config"].clone();
    write(&with_rule());
    succeeds(&["apply", "--why", "consoles for the ward"]);
    assert!(consoles());
    assert_eq!(status()["policy"]["version"], 2);
    fails(&["rollback", "7"], 1, "there is no version 7");
    assert_eq!(
        json(&["diff", "--from", "1"])["changes"]
            .as_array()
            .unwrap()
            .len(),
        1
    );

    succeeds(&["rollback", "1", "--why", "it was a mistake"]);
    assert!(!consoles());
    let alarm = lazaret(&["status"]);
    failed(
        &alarm,
        8,
        "ALARM: the files are not what is in force: version 1 is",
    );
    assert_eq!(diff(), 1);
    gateway = crash(&mut gateway);
    assert!(!consoles());
    assert_eq!(status()["config"], first);
    failed(&lazaret(&["status"]), 8, "version 1");
    assert_eq!(history(), ["start", "apply", "rollback 1"]);
    let shown = lazaret(&["history", "show", "2"]);
    for word in ["consoles for the ward", "+ rule consoles", "gains"] {
        assert!(said(&shown).contains(word), "{}", said(&shown));
    }

    // Other files win at a start, and an apply at any time.
    write(&format!("{}\n# again\n", with_rule()));
    gateway = crash(&mut gateway);
    assert!(consoles());
    succeeds(&["status"]);
    succeeds(&["rollback", "1"]);
    succeeds(&["apply"]);
    gateway = crash(&mut gateway);
    assert!(consoles());
    succeeds(&["status"]);
    let all = [
        "start",
        "apply",
        "rollback 1",
        "start",
        "rollback 1",
        "apply",
    ];
    assert_eq!(history(), all);
    assert_eq!(gateway.end(Signal::TERM).code(), Some(0));
    let without = lazaret(&["history"]);
    assert!(
        said(&without).contains("it was a mistake"),
        "{}",
        said(&without)
    );
    told(&[
        ("policy-rolled-back", 2),
        ("policy-applied", 2),
        ("policy-held", 1),
    ]);
}

//= C4
#[test]
fn a_trial_that_a_crash_ends_is_undone() {
    if std::env::var_os(INSIDE).is_none() {
        return again("a_trial_that_a_crash_ends_is_undone");
    }
    prepare();
    let mut gateway = Gateway::start();
    write(&with_rule());
    succeeds(&["apply", "--confirm", "10m"]);
    assert!(consoles());
    succeeds(&["status"]);
    gateway = crash(&mut gateway);
    assert!(!consoles());
    failed(&lazaret(&["status"]), 8, "version 1");
    gateway = crash(&mut gateway);
    assert!(!consoles());
    succeeds(&["apply", "--confirm", "10m"]);
    succeeds(&["confirm"]);
    gateway = crash(&mut gateway);
    assert!(consoles());
    succeeds(&["status"]);

    // A rollback on trial: the files are in force again, and then the version is.
    succeeds(&["rollback", "1", "--confirm", "10m"]);
    assert!(!consoles());
    gateway = crash(&mut gateway);
    assert!(consoles());
    succeeds(&["status"]);
    succeeds(&["rollback", "1", "--confirm", "1s"]);
    until("nobody confirmed", consoles);
    succeeds(&["status"]);
    succeeds(&["rollback", "1", "--confirm", "10m"]);
    succeeds(&["confirm"]);
    gateway = crash(&mut gateway);
    assert!(!consoles());

    // Nobody confirms it and nobody restarts: the same as a crash.
    succeeds(&["apply", "--confirm", "1s"]);
    until("nobody confirmed", || !consoles());
    failed(
        &lazaret(&["status"]),
        8,
        "the files are not what is in force",
    );
    gateway = crash(&mut gateway);
    assert!(!consoles());
    told(&[("policy-confirmed", 2), ("policy-undone", 2)]);

    // What is pinned and damaged is not replaced by something else.
    gateway.end(Signal::KILL);
    let pinned = std::fs::read_to_string("/run/state/pinned.json").unwrap();
    let version = serde_json::from_str::<Value>(&pinned).unwrap()["version"].clone();
    let file = format!("/run/state/history/{version}/files/lazaret.toml");
    std::fs::write(&file, with_rule()).unwrap();
    fails(&["run"], 1, "its files are not those that were in force");
}

/// A version as the gateway would have written it, whatever its tests say.
fn plant(number: u64, text: &str) {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for part in [&b"/run/conf/lazaret.toml"[..], text.as_bytes()] {
        hash.update(u64::try_from(part.len()).unwrap().to_be_bytes());
        hash.update(part);
    }
    let digest: String = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
    let folder = format!("/run/state/history/{number}");
    std::fs::create_dir_all(format!("{folder}/files")).unwrap();
    std::fs::write(format!("{folder}/files/lazaret.toml"), text).unwrap();
    let record = format!(
        r#"{{"format":1,"number":{number},"digest":"{digest}","at":"2026-01-01T00:00:00Z","by":{{"uid":0,"name":"root"}},"how":"apply"}}"#
    );
    std::fs::write(format!("{folder}/record.json"), record).unwrap();
}

const FAILING: &str = r#"
[[test]]
from = "device:ecg"
deny = ["his#ORU^R01"]
"#;

#[test]
fn no_way_puts_a_policy_into_force_whose_tests_fail() {
    if std::env::var_os(INSIDE).is_none() {
        return again("no_way_puts_a_policy_into_force_whose_tests_fail");
    }
    prepare();
    let mut gateway = Gateway::start();
    let (before, rules) = (status()["config"].clone(), table());
    plant(2, &format!("{CONFIG}{FAILING}"));
    plant(3, CONFIG);
    for arguments in [
        &["rollback", "2"][..],
        &["rollback", "2", "--confirm", "1m"],
    ] {
        fails(arguments, 4, "1 policy test failed");
    }
    succeeds(&["rollback", "3"]);
    write(&format!("{CONFIG}{FAILING}"));
    for arguments in [&["apply"][..], &["apply", "--confirm", "1m"]] {
        fails(arguments, 4, "1 policy test failed");
    }
    kill(gateway.pid(), Signal::HUP);
    until("SIGHUP is refused", || {
        journal().matches("policy-refused").count() >= 5
    });
    assert_eq!((&status()["config"], table()), (&before, rules));
    assert_eq!(gateway.end(Signal::TERM).code(), Some(0));
    fails(&["run"], 4, "1 policy test failed");
    // Damage is told and skipped, and what is beside it still shown.
    std::fs::write("/run/state/history/2/record.json", "{").unwrap();
    let listed = lazaret(&["history"]);
    failed(
        &listed,
        1,
        "skipped: /run/state/history/2/record.json is damaged",
    );
    assert!(said(&listed).contains("rollback to 3"));
}

const TWO: &str = r#"
[policy]
approvals = 2
operators = [1001, 1002]
"#;

/// The command of a user; the program lies where everybody may execute it.
fn of(user: u32, arguments: &[&str]) -> Output {
    let user = user.to_string();
    let program = [
        "--clear-groups",
        "/run/bin/lazaret",
        "--config",
        "/run/conf",
    ];
    run(Command::new("setpriv")
        .args(["--reuid", &user, "--regid", &user])
        .args(program)
        .args(arguments))
}

/// The digest of what is proposed.
fn proposed() -> String {
    let status = status();
    let digest = status["policy"]["proposal"]["digest"].as_str();
    digest.expect("a proposal").to_owned()
}

#[test]
fn another_person_approves_exactly_what_was_proposed() {
    if std::env::var_os(INSIDE).is_none() {
        return again_with_users("another_person_approves_exactly_what_was_proposed");
    }
    prepare();
    let more = "mkdir -p -m 755 /run/lazaret /run/bin; cp $0 /run/bin/lazaret; chmod 755 /run/bin/lazaret /run/conf";
    assert!(
        run(Command::new("sh").args(["-ec", more, LAZARET]))
            .status
            .success()
    );
    let mut gateway = Gateway::start();
    failed(&of(1001, &["status"]), 6, "cannot reach");
    // One person may ask for a second one, and is then one of two.
    write(&format!("{CONFIG}{TWO}"));
    succeeds(&["apply"]);
    assert!(of(1001, &["status"]).status.success());
    failed(
        &of(1001, &["device", "quarantine", "ecg"]),
        5,
        "policies only",
    );
    failed(&of(1003, &["status"]), 5, "may not control");

    let wanted = format!("{}{TWO}", with_rule());
    write(&wanted);
    succeeds(&["apply", "--why", "consoles"]);
    assert!(!consoles());
    let digest = proposed();
    fails(&["approve", &digest], 5, "another operator must approve");
    failed(&of(1001, &["approve", "000000000000"]), 5, "what waits");
    kill(gateway.pid(), Signal::HUP);
    until("SIGHUP is refused", || {
        journal().contains("a signal puts nothing into force")
    });
    assert!(!consoles());
    // The files changed: nobody gets what nobody proposed.
    write(&format!("{wanted}\n# more\n"));
    failed(
        &of(1001, &["approve", &digest]),
        5,
        "the files were changed since",
    );
    assert!(!consoles());
    write(&wanted);
    let approved = of(1001, &["approve", &digest[..12]]);
    assert!(approved.status.success(), "{}", said(&approved));
    assert!(consoles());
    failed(&of(1002, &["approve", &digest]), 5, "nothing waits");

    // Less agreement needs as much agreement, and so does an earlier policy.
    assert!(of(1001, &["rollback", "1"]).status.success());
    assert!(consoles());
    let digest = proposed();
    failed(&of(1001, &["approve", &digest]), 5, "another operator");
    // Changed files do not come by a restart; proposals do not outlive it.
    write(CONFIG);
    gateway = crash(&mut gateway);
    assert!(consoles());
    failed(&lazaret(&["status"]), 8, "the files have not the approval");
    fails(&["approve", &digest], 5, "nothing waits");
    assert!(
        of(1001, &["rollback", "1", "--confirm", "10m"])
            .status
            .success()
    );
    let confirmed = of(1002, &["approve", &proposed()]);
    assert!(confirmed.status.success(), "{}", said(&confirmed));
    assert!(!consoles());
    // A crash undoes it: two are needed again.
    gateway = crash(&mut gateway);
    assert!(consoles());

    // What needs a restart waits for it, with the word of two.
    let other = format!("{}{TWO}", with_rule()).replace("lz-wg", "lz-wg2");
    write(&other);
    gateway = crash(&mut gateway);
    assert_eq!(status()["interface"], "lz-wg");
    assert!(of(1001, &["apply"]).status.success());
    let admitted = of(1002, &["approve", &proposed()]);
    assert!(
        said(&admitted).contains("when the gateway is restarted"),
        "{}",
        said(&admitted)
    );
    gateway = crash(&mut gateway);
    assert_eq!(status()["interface"], "lz-wg2");
    succeeds(&["status"]);
    assert_eq!(gateway.end(Signal::TERM).code(), Some(0));
    told(&[("policy-proposed", 4), ("policy-admitted", 1)]);
}

fn ssh_keygen(line: &str) {
    let output = run(Command::new("ssh-keygen")
        .args(
            line.split(' ')
                .map(|word| if word == "''" { "" } else { word }),
        )
        .current_dir("/run"));
    assert!(output.status.success(), "{}", said(&output));
}

/// A signature under what is in the files.
fn sign(key: &str) {
    let statement = lazaret(&["check", "--statement"]);
    assert!(statement.status.success(), "{}", said(&statement));
    let _there_may_be_none = std::fs::remove_file("/run/statement.sig");
    std::fs::write("/run/statement", statement.stdout).unwrap();
    ssh_keygen(&format!("-q -Y sign -n lazaret-policy -f {key} statement"));
}

#[test]
fn what_must_be_signed_comes_into_force_with_its_signature_alone() {
    if std::env::var_os(INSIDE).is_none() {
        return again("what_must_be_signed_comes_into_force_with_its_signature_alone");
    }
    prepare();
    for key in ["chief", "stranger"] {
        ssh_keygen(&format!("-q -t ed25519 -N '' -C '' -f {key}"));
    }
    let public = std::fs::read_to_string("/run/chief.pub").unwrap();
    let policy = format!(
        "\n[policy]\nsignature = \"required\"\nsigners = [\"chief@example.org {}\"]\n",
        public.trim()
    );
    let signed = format!("{CONFIG}{policy}");
    // Nothing was ever signed: closed.
    write(&signed);
    fails(&["run"], 5, "it must be signed");
    write(CONFIG);
    let mut gateway = Gateway::start();
    write(&signed);
    fails(&["apply"], 5, "it must be signed");
    sign("stranger");
    fails(
        &["apply", "--signature", "/run/statement.sig"],
        5,
        "none of the signers",
    );
    sign("chief");
    succeeds(&["apply", "--signature", "/run/statement.sig"]);
    let signer = |number: usize| json(&["history"])["versions"][number]["signer"].clone();
    assert_eq!(signer(1), "chief@example.org");
    // The signature of one policy is none of another.
    write(&format!("{}{policy}", with_rule()));
    fails(
        &["apply", "--signature", "/run/statement.sig"],
        5,
        "not of this policy",
    );
    fails(&["rollback", "1"], 5, "it must be signed");
    gateway = crash(&mut gateway);
    assert!(!consoles());
    failed(
        &lazaret(&["status"]),
        8,
        "the files have not the approval or the signature",
    );
    sign("chief");
    succeeds(&["apply", "--signature", "/run/statement.sig"]);
    assert!(consoles());
    gateway = crash(&mut gateway);
    assert!(consoles());
    succeeds(&["status"]);
    // What was signed may come back.
    succeeds(&["rollback", "2"]);
    assert!(!consoles());
    gateway = crash(&mut gateway);
    assert!(!consoles());
    assert_eq!(gateway.end(Signal::TERM).code(), Some(0));
    assert!(journal().contains("\"signer\":\"chief@example.org\""));
}
