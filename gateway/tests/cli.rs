//! The binary as an operator calls it: results, exit codes, and that nothing is touched.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lazaret::control::message::{Failure, Request, Response};
use lazaret::control::server;

/// A configuration directory with everything below one temporary directory.
struct Site {
    directory: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        site.write(&site.path("etc"), CLINIC);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a configuration into a directory, with a key and with this site's places.
    fn write(&self, directory: &Path, text: &str) {
        std::fs::create_dir_all(directory).unwrap();
        let places = format!(
            "name = \"clinic-1\"\nstate_dir = {:?}\nruntime_dir = {:?}\n",
            self.path("state"),
            self.path("run")
        );
        let text = text.replace("name = \"clinic-1\"\n", &places);
        std::fs::write(directory.join("lazaret.toml"), text).unwrap();
        let key = directory.join("wireguard.key");
        std::fs::write(&key, format!("{}E=\n", "A".repeat(42))).unwrap();
        std::fs::set_permissions(key, Permissions::from_mode(0o600)).unwrap();
    }

    fn run(&self, arguments: &str) -> Ran {
        // Not a child of this process: the gateway obeys none of its own.
        let output = Command::new("sh")
            .args(["-c", r#""$0" "$@"; exit $?"#])
            .arg(env!("CARGO_BIN_EXE_lazaret"))
            .arg("--config")
            .arg(self.path("etc"))
            .args(arguments.split(' '))
            .current_dir(self.directory.path())
            .output()
            .unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// With something on the standard input.
    fn feed(&self, arguments: &str, input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lazaret"))
            .arg("--config")
            .arg(self.path("etc"))
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not listen is told by what it says.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A daemon that gives one answer.
    fn daemon(&self, response: Response) -> std::thread::JoinHandle<Request> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let listener = {
            let _inside = runtime.enter();
            server::bind(&self.path("run")).unwrap()
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (request, _) = server::read_request(&mut stream, &[]).await.unwrap();
                server::respond(&mut stream, &response).await.unwrap();
                request
            })
        })
    }
}

const CLINIC: &str = include_str!("clinic/lazaret.toml");

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

#[test]
fn check_says_what_is_there_and_touches_nothing() {
    let site = Site::new();
    let before = (files(site.directory.path()), files(&site.path("etc")));
    let ran = site.run("check");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(
        ran.out
            .contains("4 devices (1 identified by address only), 3 services, 3 rules"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("5 policy tests hold"), "{}", ran.out);
    let json: serde_json::Value = serde_json::from_str(&site.run("--json check").out).unwrap();
    assert_eq!((&json["v"], &json["devices"]), (&1.into(), &4.into()));
    assert_eq!(
        before,
        (files(site.directory.path()), files(&site.path("etc")))
    );
}

#[test]
fn check_refuses_what_is_wrong() {
    let site = Site::new();
    site.write(
        &site.path("etc"),
        &CLINIC.replace("roles = [\"ecg-home\"]", "rolls = [\"ecg-home\"]"),
    );
    let ran = site.run("check");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(
        ran.err.contains("lazaret.toml:") && ran.err.contains("roles"),
        "{}",
        ran.err
    );
    site.write(
        &site.path("etc"),
        &CLINIC.replace(
            "allow = [\"his-results#ORU^R01\"]",
            "allow = [\"his-results#ORU^R30\"]",
        ),
    );
    let ran = site.run("check");
    assert_eq!((ran.code, ran.out.as_str()), (4, ""));
    assert!(ran.err.contains("1 policy test failed"), "{}", ran.err);
}

#[test]
fn explain_answers_by_exit_code_too() {
    let site = Site::new();
    let allowed = site.run("explain ecg-0042 his-results --message ORU^R01");
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(
        allowed
            .out
            .starts_with("ALLOWED  ecg-0042 → his-results#ORU^R01\n")
    );
    assert!(allowed.out.contains("ecg-results (") && allowed.out.contains("lazaret.toml:"));
    let denied = site.run("explain ecg-0042 pacs --dimse C-STORE");
    assert_eq!(denied.code, 5);
    assert!(
        denied.out.contains("DENIED") && denied.out.contains("dicom = { allow = [\"C-STORE\"] }")
    );
    // What is suggested is right, and allows it.
    let denied = site.run("explain ct-1 pacs --dimse C-FIND");
    let rule = denied.out.split("This would allow it:").nth(1).unwrap();
    let with_rule = CLINIC.replace("[[test]]", &format!("{rule}\n[[test]]"));
    site.write(&site.path("etc"), &with_rule);
    assert_eq!(
        site.run("explain ct-1 pacs --dimse C-FIND").code,
        0,
        "{rule}"
    );
    assert_eq!(site.run("explain nobody pacs").code, 2);
}

#[test]
fn explain_adds_the_live_standing() {
    let site = Site::new();
    let device = serde_json::json!({
        "device": "ecg-0042", "standing": "quarantined", "why": "lost", "addresses": ["10.64.0.1"],
        "roles": [], "via": null, "endpoint": null, "handshake_seconds": null, "received": 0,
        "sent": 0, "sessions": 0, "origin": ""
    });
    let device = serde_json::from_value(device).unwrap();
    let daemon = site.daemon(Response::Devices {
        devices: vec![device],
    });
    let ran = site.run("explain ecg-0042 his-results");
    assert_eq!(ran.code, 5);
    assert!(ran.out.contains("the device is quarantined"), "{}", ran.out);
    daemon.join().unwrap();
}

#[test]
fn without_a_daemon_the_code_says_so() {
    let site = Site::new();
    for command in [
        "status",
        "apply",
        "confirm",
        "device list",
        "session list",
        "flow denied",
    ] {
        let ran = site.run(command);
        assert_eq!((ran.code, ran.out.as_str()), (6, ""), "{command}");
        assert_eq!(
            ran.err.matches("cannot reach the gateway").count(),
            1,
            "{}",
            ran.err
        );
    }
}

#[test]
fn what_the_daemon_says_is_shown_or_fails() {
    let site = Site::new();
    let changes = vec!["rule consoles removed".to_owned()];
    let daemon = site.daemon(Response::Applied {
        changes,
        confirm_seconds: Some(600),
    });
    let ran = site.run("apply --confirm 10m");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_eq!(
        daemon.join().unwrap(),
        Request::Apply {
            confirm_seconds: Some(600),
            why: String::new(),
            signature: None,
        }
    );

    for (kind, command, code) in [
        (Failure::Configuration, "apply", 3),
        (Failure::PolicyTest, "apply", 4),
        (Failure::Denied, "status", 5),
        (Failure::Unknown, "device show ecg-9", 1),
        (Failure::Unknown, "confirm", 7),
    ] {
        let daemon = site.daemon(Response::Failed {
            kind,
            why: "because".to_owned(),
        });
        let ran = site.run(command);
        assert_eq!(
            (ran.code, ran.out.as_str(), ran.err.as_str()),
            (code, "", "lazaret: because\n")
        );
        daemon.join().unwrap();
    }
}

#[test]
fn diff_compares_with_what_is_in_force() {
    let site = Site::new();
    assert_eq!(site.run("diff").code, 1);
    site.write(&site.path("state/applied"), CLINIC);
    assert_eq!(site.run("diff").out, "no difference\n");
    site.write(
        &site.path("etc"),
        &CLINIC.replace("send = [\"ORU^R01\"]", "send = [\"ORU^R01\", \"ORU^R30\"]"),
    );
    let ran = site.run("diff");
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (
            0,
            "~ rule ecg-results: hl7\n\necg-0042\n  gains  his-results#ORU^R30\n"
        )
    );
}

#[test]
fn inspect_judges_files() {
    let site = Site::new();
    let good = "MSH|^~\\&|ECG|CARDIO|HIS|CHU|20261121225617||ORU^R01^ORU_R01|1|P|2.5\rPID|1||4711\rOBR|1||1|1|||2026||||||||||||||||||F\rOBX|1|ST|1||x||||||F\r";
    std::fs::write(site.path("good.hl7"), good).unwrap();
    std::fs::write(site.path("bad.hl7"), "PID|1\r").unwrap();
    let ran = site.run("inspect hl7 good.hl7");
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = site.run("--json inspect hl7 good.hl7 bad.hl7");
    assert_eq!((ran.code, ran.err.as_str()), (5, ""));
    let lines: Vec<serde_json::Value> = ran
        .out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["verdict"], &lines[1]["verdict"]),
        (&"accept".into(), &"refuse".into())
    );
    assert!(lines[1]["reason"].is_string() && lines[0]["reason"].is_null());
    std::fs::write(site.path("bad.dcm"), [0; 200]).unwrap();
    assert_eq!(site.run("inspect dicom bad.dcm").code, 5);
    let ran = site.run("inspect hl7 missing.hl7 good.hl7");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("missing.hl7") && ran.out.contains("good.hl7"));
}

#[test]
fn audit_reads_without_a_daemon() {
    let site = Site::new();
    assert_eq!(site.run("audit verify").code, 1);
    let options = lazaret::audit::journal::Options {
        gateway: "clinic-1".to_owned(),
        directory: site.path("state/audit"),
        rotate_size: 1 << 20,
        keep: 0,
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let mut journal = lazaret::audit::journal::Journal::open(options, now).unwrap();
    journal
        .write(&[(now, lazaret::audit::event::Event::GatewayStopped)], now)
        .unwrap();
    journal.sync().unwrap();
    let ran = site.run("audit verify");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.starts_with("WHOLE  2 records in 1 file, 1 to 2, "),
        "{}",
        ran.out
    );
    assert_eq!(
        site.run("audit tail -n 1").out,
        "1970-01-01 00:00:00.000Z  gateway-stopped\n"
    );
    let json = site.run("--json audit tail").out;
    assert_eq!(
        json,
        std::fs::read_to_string(site.path("state/audit/journal-000001.jsonl")).unwrap()
    );
    std::fs::write(
        site.path("state/audit/journal-000001.jsonl"),
        json.replace("stopped", "started"),
    )
    .unwrap();
    let ran = site.run("audit verify");
    assert_eq!(ran.code, 1);
    assert!(
        ran.out
            .contains("journal-000001.jsonl:2       2  the record was changed"),
        "{}",
        ran.out
    );
}

#[test]
fn small_things() {
    let site = Site::new();
    assert_eq!(
        site.run("version").out,
        format!("lazaret {}\n", env!("CARGO_PKG_VERSION"))
    );
    for shell in ["bash", "zsh", "fish"] {
        let ran = site.run(&format!("completion {shell}"));
        assert!(ran.code == 0 && ran.out.contains("quarantine"), "{shell}");
    }
    assert_eq!(site.run("frobnicate").code, 2);
    assert_eq!(site.run("--help").code, 0);
}

/// The way of an operator: name a key, hash identifiers, list them, bind them.
#[test]
fn patients_are_hashed_and_bound_without_being_shown() {
    let site = Site::new();
    let line = "patient hash --authority NORD";
    let ran = site.feed(line, "4711\n");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("patient_key_file"), "{}", ran.err);

    let bound = CLINIC
        .replace(
            "name = \"clinic-1\"\n",
            "name = \"clinic-1\"\npatient_key_file = \"patient.key\"\n",
        )
        .replace("\"2.5.1\"] }", "\"2.5.1\"], bind_patient = true }");
    site.write(&site.path("etc"), &bound);
    let ran = site.feed(line, "4711\n");
    assert_eq!((ran.code, ran.out.as_str()), (3, ""));
    assert!(ran.err.contains("cannot read the key file"), "{}", ran.err);

    let key = site.path("etc").join("patient.key");
    std::fs::copy(site.path("etc").join("wireguard.key"), &key).unwrap();
    let ran = site.run("check");
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.err.contains("has no `patients`"), "{}", ran.err);
    // The hashes are to be had although the configuration is not complete.
    let ran = site.feed(line, "4711\n4712\n");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let hashes: Vec<&str> = ran.out.lines().collect();
    assert_eq!(hashes.len(), 2, "{}", ran.out);
    let json = site.feed(&format!("--json {line}"), "4711\n4712\n").out;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["patients"], serde_json::json!(hashes));
    assert_ne!(site.feed("patient hash", "4711\n").out.trim(), hashes[0]);

    let listed = format!("hl7_sender = \"ECG^CARDIO\"\npatients = {hashes:?}\n");
    let complete = bound.replace("hl7_sender = \"ECG^CARDIO\"\n", &listed);
    site.write(&site.path("etc"), &complete);
    let ran = site.run("check");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let ran = site.run("explain ecg-0042 his-results");
    assert!(
        ran.out.contains("of the device's patients only"),
        "{}",
        ran.out
    );

    let ran = site.feed(line, "4711 \n");
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert!(!ran.err.contains("4711"), "{}", ran.err);
}

/// What is wrong with the file of a client, or on the line, is said once and has its exit code.
#[test]
fn a_client_that_cannot_begin_says_why() {
    let site = Site::new();
    let folder = site.directory.path();
    let file = |more: &str| {
        let text = format!(
            "schema = 1\ngateway = \"127.0.0.1:9\"\nca = \"ca.pem\"\ncertificate = \"me.pem\"\n{more}\n"
        );
        std::fs::write(folder.join("clinic.toml"), text).unwrap();
    };
    for (more, arguments, code, said) in [
        ("", "", 3, "lazaret: ca.pem: "),
        ("", " --forward 127.0.0.1:9=pacs", 3, "lazaret: ca.pem: "),
        (
            "forward = [\"127.0.0.1:9=pacs\"]",
            " --forward 127.0.0.1:9=console",
            2,
            "lazaret: 127.0.0.1:9 is to lead to two services",
        ),
        (
            "interface = \"lazaret0\"",
            " --forward 127.0.0.1:9=pacs",
            2,
            "lazaret: the file asks for an interface",
        ),
        ("interfaces = \"lazaret0\"", "", 3, "clinic.toml:5:1: "),
    ] {
        file(more);
        let ran = site.run(&format!("connect --once clinic.toml{arguments}"));
        assert_eq!(ran.code, code, "{more}{arguments}: {ran:?}");
        assert!(ran.err.starts_with(said), "{more}{arguments}: {ran:?}");
    }
}
