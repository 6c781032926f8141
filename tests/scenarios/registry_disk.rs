//! What can befall the disk of the registry's database: no room, no writing, bytes of somebody else. The gateway says
//! so, goes on with what it knows, contains who must be contained, and makes nothing in the place of what is there.

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use e2e::hl7;
use e2e::{Clinic, Gateway, Lab, text, wait};

/// Runs a command of the machine.
fn run(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).status();
    assert!(done.unwrap().success(), "{program} {arguments:?}");
}

fn tmpfs(path: &Path, size: &str) {
    std::fs::create_dir_all(path).unwrap();
    let (options, path) = (format!("size={size},mode=0700"), path.display().to_string());
    run("mount", &["-t", "tmpfs", "-o", &options, "lab", &path]);
}

/// A list of devices that may send results, written beside the site.
fn list(clinic: &Clinic<'_>, count: u32) -> String {
    let file = clinic.site.root().join("list.csv");
    let mut text = "name,roles,wireguard,hl7_sender\n".to_owned();
    for number in 0..count {
        // 32 bytes in base64, of which the first three tell who it is.
        let key = format!("{number:04}{}E=", "x".repeat(38));
        writeln!(text, "h-{number},ecg-home,{key},ECG^H{number}").unwrap();
    }
    std::fs::write(&file, text).unwrap();
    file.display().to_string()
}

fn trouble(gateway: &Gateway<'_>, wanted: &str) {
    wait::until(wanted, wait::SOON, || {
        let told = gateway.status()["registry"]["trouble"].clone();
        told.as_str()?.contains(wanted).then_some(())
    });
}

fn well(gateway: &Gateway<'_>) {
    wait::for_true("the registry in its database", wait::SOON, || {
        gateway.status()["registry"]["trouble"].is_null()
    });
}

fn imported(gateway: &Gateway<'_>) -> usize {
    let shown = gateway.json(&["device", "list", "--origin", "imported"]);
    shown["devices"].as_array().map_or(0, Vec::len)
}

fn story(gateway: &Gateway<'_>, device: &str) -> Vec<String> {
    let shown = gateway.json(&["device", "show", device]);
    let lines = shown["story"].as_array().cloned().unwrap_or_default();
    let words = lines.iter().map(|line| text(line, "what").to_owned());
    words.collect()
}

fn standing(gateway: &Gateway<'_>, device: &str) -> String {
    let shown = gateway.json(&["device", "show", device]);
    text(&shown["devices"][0], "standing").to_owned()
}

/// The journal has a disk of its own; all else of the state has one of four mebibytes, which is full.
//= C9
#[test]
fn a_full_disk_of_the_registry_stops_nobody() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.append("[enrol]\naddresses = [\"10.64.200.0/22\"]\n");
            tmpfs(&site.state(), "4m");
            tmpfs(&site.state().join("audit"), "64m");
        });
        let other = clinic.bystander();
        let mut client = other.mllp(clinic.his.address());
        assert_eq!(
            client.exchange(&hl7::oru_from("ECG|WARD3", "F0")).code,
            "AA"
        );
        well(&clinic.gateway);
        let list = list(&clinic, 400);
        let import = || clinic.gateway.lazaret(&["device", "import", &list]);
        let filler = clinic.site.state().join("filler");
        let _ = std::fs::write(&filler, vec![0; 4 << 20]);
        let refused = import();
        assert_eq!(refused.code, 1, "{}", refused.all());
        let why = "there is no room for the registry's database";
        assert!(refused.err.contains(why), "{}", refused.err);
        let told = |record: &serde_json::Value| text(record, "why").contains(why);
        clinic.gateway.wait_for_record("registry-trouble", told);
        assert_eq!(
            client.exchange(&hl7::oru_from("ECG|WARD3", "F1")).code,
            "AA"
        );
        // Whatever can be written, who is lost is not let in any more.
        let _ = std::fs::write(clinic.site.state().join("more"), vec![0; 4 << 20]);
        let said = clinic.gateway.lazaret(&["device", "revoke", "ecg-0042"]);
        assert_eq!(
            standing(&clinic.gateway, "ecg-0042"),
            "revoked",
            "{}",
            said.all()
        );
        assert_eq!(
            client.exchange(&hl7::oru_from("ECG|WARD3", "F2")).code,
            "AA"
        );
        std::fs::remove_file(&filler).unwrap();
        std::fs::remove_file(clinic.site.state().join("more")).unwrap();
        well(&clinic.gateway);
        assert_eq!(imported(&clinic.gateway), 0, "a part of a list");
        wait::for_true("the revocation in the database", wait::SOON, || {
            story(&clinic.gateway, "ecg-0042") == ["revoked"]
        });
        let _ = import().ok();
        assert_eq!(imported(&clinic.gateway), 400);
        assert_eq!(
            client.exchange(&hl7::oru_from("ECG|WARD3", "F3")).code,
            "AA"
        );
    });
}

/// The file is mounted over itself, read-only: no right of root helps.
#[test]
fn a_database_that_cannot_be_written_stops_nobody() {
    Lab::run(|lab| {
        let mut clinic = Clinic::open(lab);
        well(&clinic.gateway);
        let other = clinic.bystander();
        let database = clinic.site.state().join("registry.db");
        let path = database.display().to_string();
        restarted(lab, &mut clinic, || {
            run("mount", &["--bind", &path, &path]);
            run("mount", &["-o", "remount,bind,ro", &path]);
        });
        let before = std::fs::read(&database).unwrap();
        trouble(&clinic.gateway, "the registry's database cannot be written");
        other.wait_for_handshake();
        let mut client = other.mllp(clinic.his.address());
        assert_eq!(
            client.exchange(&hl7::oru_from("ECG|WARD3", "R0")).code,
            "AA"
        );
        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "ecg-0042"])
            .ok();
        assert_eq!(standing(&clinic.gateway, "ecg-0042"), "revoked");
        assert_eq!(
            client.exchange(&hl7::oru_from("ECG|WARD3", "R1")).code,
            "AA"
        );
        assert_eq!(std::fs::read(&database).unwrap(), before);
        // The gateway has a mount of its own until it is started anew.
        restarted(lab, &mut clinic, || run("umount", &["--lazy", &path]));
        well(&clinic.gateway);
        wait::for_true("the revocation in the database", wait::SOON, || {
            story(&clinic.gateway, "ecg-0042") == ["revoked"]
        });
    });
}

/// Garbage, half of a database, nothing: each is told, stays as it is, and is put aside when an operator says so.
#[test]
fn a_damaged_database_stops_nobody_and_stays() {
    Lab::run(|lab| {
        let mut clinic = Clinic::open(lab);
        well(&clinic.gateway);
        let other = clinic.bystander();
        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "ecg-0042"])
            .ok();
        wait::for_true("the revocation in the database", wait::SOON, || {
            story(&clinic.gateway, "ecg-0042") == ["revoked"]
        });
        let database = clinic.site.state().join("registry.db");
        let garbage = b"not a database at all, but long enough to be looked at".repeat(200);
        let mut number = 0;
        for (what, why) in [
            ("garbage", "damaged"),
            ("half", "the registry's "),
            ("nothing", "not in the database"),
        ] {
            let mut bad = Vec::new();
            restarted(lab, &mut clinic, || {
                let whole = std::fs::read(&database).unwrap();
                bad = match what {
                    "garbage" => garbage.clone(),
                    "half" => whole[..whole.len() / 2].to_vec(),
                    _ => Vec::new(),
                };
                std::fs::write(&database, &bad).unwrap();
                for suffix in ["-wal", "-shm"] {
                    let _none = std::fs::remove_file(format!("{}{suffix}", database.display()));
                }
            });
            trouble(&clinic.gateway, why);
            assert_eq!(standing(&clinic.gateway, "ecg-0042"), "revoked", "{what}");
            other.wait_for_handshake();
            let mut client = other.mllp(clinic.his.address());
            number += 1;
            assert_eq!(
                client
                    .exchange(&hl7::oru_from("ECG|WARD3", &format!("C{number}")))
                    .code,
                "AA"
            );
            // SQLite writes its own header into an empty file, and nothing else.
            if what != "nothing" {
                assert_eq!(std::fs::read(&database).unwrap(), bad, "{what}");
            }
            let _ = clinic.gateway.lazaret(&["registry", "adopt"]).ok();
            well(&clinic.gateway);
            assert_eq!(standing(&clinic.gateway, "ecg-0042"), "revoked", "{what}");
            if what == "garbage" {
                let aside = database.with_file_name("registry.db.damaged");
                assert_eq!(std::fs::read(aside).unwrap(), bad, "{what}");
            }
        }
    });
}

/// Stops the gateway, does something, and starts it again.
fn restarted<'a>(lab: &'a Lab, clinic: &mut Clinic<'a>, what: impl FnOnce()) {
    clinic.gateway.kill9(clinic.gateway.pid());
    let _ = clinic.gateway.wait_for_end();
    what();
    clinic.gateway = Gateway::start(lab, &clinic.site);
}
