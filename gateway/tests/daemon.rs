//! The real gateway in namespaces of its own: it becomes ready, its workers die and come back, it dies and comes back.
//!
//! The test runs itself again inside `unshare`, so that it needs no root and leaves nothing behind.

#![allow(clippy::disallowed_methods, reason = "tests measure time")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests fail with them"
)]

mod world;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use world::*;

//= C4
//= C8
#[test]
fn the_gateway_lives_through_the_death_of_its_processes() {
    if std::env::var_os(INSIDE).is_none() {
        return again("the_gateway_lives_through_the_death_of_its_processes");
    }
    prepare();
    let mut gateway = Gateway::start();
    let status = status();
    assert_eq!(status["gateway"], "test");
    assert_eq!(status["table"], "as-planned");
    assert_eq!(status["journal"], "writable");
    assert!(!lazaret(&["run"]).status.success(), "there is one already");

    let table = table();
    for worker in ["tunnel-wireguard", "relay-hl7", "relay-dicom", "audit"] {
        let before = pid_of(worker).unwrap();
        kill(before, rustix::process::Signal::KILL);
        until(worker, || {
            pid_of(worker).is_some_and(|pid| pid != before && restarts_of(worker) == 1)
        });
        assert_eq!(self::table(), table, "the table stays");
    }
    until("the journal is writable again", || {
        self::status()["journal"] == "writable"
    });

    // A worker that cannot be started leaves no process behind, and comes when it can.
    let (key, away) = ("/run/conf/wireguard.key", "/run/conf/away");
    std::fs::rename(key, away).unwrap();
    kill(
        pid_of("tunnel-wireguard").unwrap(),
        rustix::process::Signal::KILL,
    );
    until("attempts fail", || restarts_of("tunnel-wireguard") >= 4);
    assert_eq!(children(gateway.pid()).len(), 5);
    std::fs::rename(away, key).unwrap();
    until("it comes back", || pid_of("tunnel-wireguard").is_some());

    let workers: Vec<i32> = children(gateway.pid());
    assert_eq!(workers.len(), 6);
    gateway.end(rustix::process::Signal::KILL);
    until("orphans end by themselves", || {
        workers.iter().all(|pid| is_gone(*pid))
    });
    assert_eq!(
        self::table(),
        table,
        "rules stay when all processes are dead"
    );
    assert_eq!(lazaret(&["status"]).status.code(), Some(6));

    // Over stale sockets, an old table and a journal without an end.
    let mut gateway = Gateway::start();
    assert_eq!(self::status()["table"], "as-planned");
    let ended = gateway.end(rustix::process::Signal::TERM);
    assert_eq!(ended.code(), Some(0));
    let verify = lazaret(&["audit", "verify"]);
    assert!(verify.status.success(), "{}", said(&verify));
    let journal = journal();
    assert!(journal.matches("\"worker-died\"").count() >= 7);
    for (event, times) in [("\"gateway-started\"", 2), ("\"gateway-stopped\"", 1)] {
        assert_eq!(journal.matches(event).count(), times, "{event}");
    }
}

//= C4
#[test]
fn a_policy_is_applied_whole_or_not_and_undone_unless_confirmed() {
    if std::env::var_os(INSIDE).is_none() {
        return again("a_policy_is_applied_whole_or_not_and_undone_unless_confirmed");
    }
    prepare();
    let mut gateway = Gateway::start();
    let (before, table) = (status()["config"].clone(), table());

    write(&format!("{CONFIG}[rule.broken"));
    let wrong = lazaret(&["apply"]);
    assert_eq!(wrong.status.code(), Some(3), "{}", said(&wrong));
    assert_eq!(
        (&status()["config"], self::table()),
        (&before, table.clone())
    );

    write(&format!("{CONFIG}{RULE}"));
    let applied = lazaret(&["apply", "--confirm", "2s"]);
    assert!(applied.status.success(), "{}", said(&applied));
    assert!(self::table().contains("3389"));
    assert_eq!(lazaret(&["apply"]).status.code(), Some(2), "one at a time");
    assert_eq!(diff(), 0);
    // The files may break meanwhile: what was in force comes back all the same.
    write("broken");
    until("nobody confirmed", || status()["config"] == before);
    assert_eq!(self::table(), table);
    assert_eq!(status()["confirm_seconds"], Value::Null);
    assert_eq!(lazaret(&["confirm"]).status.code(), Some(7));
    write(&format!("{CONFIG}{RULE}"));
    assert_eq!(diff(), 1, "the files are not what is in force");

    let applied = lazaret(&["apply", "--confirm", "1m"]);
    assert!(applied.status.success(), "{}", said(&applied));
    assert!(lazaret(&["confirm"]).status.success());
    assert!(self::table().contains("3389"));

    // Quarantine is there at once, outlives a reload, and ends with release.
    assert!(lazaret(&["device", "quarantine", "ecg"]).status.success());
    assert!(quarantine().contains("10.64.0.1"));
    write(CONFIG);
    kill(gateway.pid(), rustix::process::Signal::HUP);
    until("SIGHUP applies", || status()["config"] == before);
    assert!(quarantine().contains("10.64.0.1"));
    assert!(lazaret(&["device", "release", "ecg"]).status.success());
    assert!(!quarantine().contains("10.64.0.1"));
    assert_eq!(self::table(), table);
    assert_eq!(gateway.end(rustix::process::Signal::TERM).code(), Some(0));
}

const PKI: &str = r#"
[pki]
server_names = ["gw.example.org"]
"#;

/// What the command did with a request of openssl for a device.
fn certify(device: &str, name: &str) -> Output {
    let words = format!(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /run/{name}.key -out /run/{name}.csr -subj /CN={device}"
    );
    let made = run(Command::new("openssl").args(words.split(' ')));
    assert!(made.status.success(), "{}", said(&made));
    let (csr, out) = (format!("/run/{name}.csr"), format!("/run/{name}.crt"));
    lazaret(&["cert", "renew", device, "--csr", &csr, "--out", &out])
}

//= C8
#[test]
fn the_certification_authority_outlives_its_process() {
    if std::env::var_os(INSIDE).is_none() {
        return again("the_certification_authority_outlives_its_process");
    }
    prepare();
    write(&format!("{CONFIG}{RULE}{PKI}"));
    let mut gateway = Gateway::start();
    until("the signer answers", || {
        lazaret(&["ca", "status"]).status.success()
    });
    let early = certify("ecg", "early");
    assert!(said(&early).contains("ca init"), "{}", said(&early));
    let made = lazaret(&["ca", "init", "--why", "first day"]);
    assert!(made.status.success(), "{}", said(&made));
    assert_eq!(lazaret(&["ca", "init"]).status.code(), Some(2));
    let authority = || json(&["ca", "status"])["authorities"][0]["id"].clone();
    let first = authority();

    let good = certify("ecg", "first");
    assert!(good.status.success(), "{}", said(&good));
    assert_eq!(
        certify("nobody", "x").status.code(),
        Some(1),
        "no such device"
    );
    assert!(lazaret(&["device", "quarantine", "ecg"]).status.success());
    assert_eq!(certify("ecg", "x").status.code(), Some(5), "not active");
    assert!(lazaret(&["device", "release", "ecg"]).status.success());
    let listener = lazaret(&["cert", "renew", "--listener", "enrol"]);
    assert!(listener.status.success(), "{}", said(&listener));
    export("ca.pem", &["ca", "export"]);
    let words = "verify -CAfile /run/ca.pem -purpose sslclient /run/first.crt";
    let verified = || run(Command::new("openssl").args(words.split(' ')));
    assert!(verified().status.success(), "{}", said(&verified()));

    the_signer_dies();
    assert_eq!(authority(), first);
    a_revoked_device_loses_its_certificates();
    let rotated = lazaret(&["ca", "rotate", "--why", "a new year"]);
    assert!(rotated.status.success(), "{}", said(&rotated));
    assert_eq!(authorities(), 2);
    assert_ne!(authority(), first);

    // The table [pki] can come and go while the gateway runs.
    let everybody = children(gateway.pid()).len();
    write(&format!("{CONFIG}{RULE}"));
    assert!(lazaret(&["apply"]).status.success());
    assert_eq!(lazaret(&["ca", "status"]).status.code(), Some(2));
    until("the signer is gone", || {
        children(gateway.pid()).len() + 1 == everybody
    });
    write(&format!("{CONFIG}{RULE}{PKI}lifetime = \"90s\"\n"));
    assert!(lazaret(&["apply"]).status.success());
    until("the signer answers again", || {
        lazaret(&["ca", "status"]).status.success()
    });
    assert_eq!(authorities(), 2);
    assert_eq!(gateway.end(rustix::process::Signal::TERM).code(), Some(0));

    the_journal_tells_of_the_authority();
}

/// It comes back with what it knew; nobody else notices.
fn the_signer_dies() {
    let table = table();
    let others = ["tunnel-wireguard", "relay-hl7", "relay-dicom", "audit"].map(pid_of);
    let before = pid_of("signer").unwrap();
    let sandbox = std::fs::read_to_string(format!("/proc/{before}/status")).unwrap();
    assert!(sandbox.contains("Seccomp:\t2"), "{sandbox}");
    kill(before, rustix::process::Signal::KILL);
    until("the signer is started again", || {
        pid_of("signer").is_some_and(|pid| pid != before)
            && lazaret(&["ca", "status"]).status.success()
    });
    assert_eq!(self::table(), table);
    let same = ["tunnel-wireguard", "relay-hl7", "relay-dicom", "audit"].map(pid_of);
    assert_eq!(same, others);
}

/// With its key.
fn a_revoked_device_loses_its_certificates() {
    let revoked = || json(&["ca", "status"])["revoked"].as_u64();
    assert_eq!(revoked(), Some(0));
    assert!(
        lazaret(&["device", "revoke", "ecg", "--why", "lost"])
            .status
            .success()
    );
    until("its certificate is revoked", || revoked() == Some(1));
    export("crl.pem", &["ca", "export", "--crl"]);
    let words = "verify -crl_check -CRLfile /run/crl.pem -CAfile /run/ca.pem /run/first.crt";
    let checked = run(Command::new("openssl").args(words.split(' ')));
    assert!(
        said(&checked).contains("certificate revoked"),
        "{}",
        said(&checked)
    );
}

fn authorities() -> usize {
    json(&["ca", "status"])["authorities"]
        .as_array()
        .unwrap()
        .len()
}

fn the_journal_tells_of_the_authority() {
    let journal = journal();
    let told = |words: &[&str]| {
        let all = |line: &&str| words.iter().all(|word| line.contains(word));
        assert!(
            journal.lines().any(|line| all(&line)),
            "{words:?} in {journal}"
        );
    };
    told(&["\"authority\"", "ca init", "first day", "done"]);
    told(&[
        "\"authority\"",
        "issue",
        "ecg",
        "there is no certification authority",
    ]);
    told(&["\"authority\"", "revoke", "the device is revoked"]);
    told(&["\"authority\"", "ca rotate", "a new year"]);
    told(&["worker-died", "signer"]);
}

/// Writes what a command prints into a file in `/run`.
fn export(name: &str, arguments: &[&str]) {
    let output = lazaret(arguments);
    assert!(output.status.success(), "{}", said(&output));
    std::fs::write(Path::new("/run").join(name), output.stdout).unwrap();
}

//= C9
#[test]
fn what_the_kernel_does_not_take_is_tried_again() {
    if std::env::var_os(INSIDE).is_none() {
        return again("what_the_kernel_does_not_take_is_tried_again");
    }
    prepare();
    let mut gateway = Gateway::start();
    let revoke = || lazaret(&["device", "revoke", "ecg", "--why", "lost"]);
    let first = revoke();
    assert!(first.status.success(), "{}", said(&first));
    let wanted = table();
    assert!(lazaret(&["device", "release", "ecg"]).status.success());
    assert_ne!(table(), wanted);
    let shell = |line: &str| {
        let done = run(Command::new("sh").args(["-ec", line]));
        assert!(done.status.success(), "{}", said(&done));
    };
    // The kernel cannot be read back, so that nothing new can be trusted.
    shell("mount --bind /bin/false /usr/sbin/nft");
    let second = revoke();
    assert!(!second.status.success(), "{}", said(&second));
    let standing = || json(&["device", "show", "ecg"])["devices"][0]["standing"].clone();
    assert_eq!(standing(), "revoked", "it is decided all the same");
    shell("umount /usr/sbin/nft");
    until("the table follows", || table() == wanted);
    assert_eq!(standing(), "revoked");
    gateway.end(rustix::process::Signal::TERM);
}
