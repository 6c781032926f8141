//! Devices that stand in no file: added while the gateway runs, contained like any other, known without the database.

use std::time::{Duration, Instant};

use e2e::hl7::{self, Reply};
use e2e::{Clinic, Device, Gateway, Lab, Place, text, wait};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(2);

fn open(lab: &Lab) -> Clinic<'_> {
    Clinic::open_with(lab, |site| {
        site.append("[enrol]\naddresses = [\"10.64.200.0/24\"]\n");
    })
}

/// The arguments that add a device which may send results.
fn add(clinic: &Clinic<'_>, name: &str, more: &[&str]) -> Vec<String> {
    let key = clinic.site.public_key(name);
    let line = [
        "device",
        "add",
        name,
        "--role",
        "ecg-home",
        "--wireguard",
        key.trim(),
    ];
    let line = line.into_iter().chain(["--hl7-sender", "ECG^CARDIO"]);
    line.chain(more.iter().copied())
        .map(str::to_owned)
        .collect()
}

fn said(clinic: &Clinic<'_>, arguments: &[String]) -> Value {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    clinic.gateway.json(&arguments)
}

fn standing(gateway: &Gateway<'_>, device: &str) -> String {
    let shown = gateway.json(&["device", "show", device]);
    text(&shown["devices"][0], "standing").to_owned()
}

/// What became of a device, in single words.
fn story(gateway: &Gateway<'_>, device: &str) -> Vec<String> {
    let shown = gateway.json(&["device", "show", device]);
    let lines = shown["story"].as_array().cloned().unwrap_or_default();
    lines
        .iter()
        .map(|line| text(line, "what").to_owned())
        .collect()
}

/// The tunnel of a device that was added, with the addresses that it was given.
fn device<'a>(clinic: &Clinic<'a>, name: &str, added: &Value) -> Device<'a> {
    let device = Device::prepare(clinic.lab, &clinic.site, name, Place::Home2);
    let given = added["devices"][0]["addresses"].as_array().unwrap();
    assert!(!given.is_empty(), "{added}");
    for address in given {
        device.add_address(address.as_str().unwrap().parse().unwrap());
    }
    device.dial(e2e::wan4());
    device
}

/// Whoever is not known is not answered, but counted by its source.
fn counted_as_a_stranger(clinic: &Clinic<'_>, name: &str) {
    let key = clinic.site.public_key(name);
    wait::until("a stranger", wait::SOON, || {
        let list = clinic.gateway.json(&["device", "list", "--unknown"]);
        let all = list["strangers"].as_array()?.clone();
        let is_it = |one: &Value| text(one, "what") == "key" && text(one, "value") == key.trim();
        all.iter().any(is_it).then_some(())
    });
}

fn its_key_is_nobodys_again(clinic: &Clinic<'_>, name: &str) {
    let mut again = add(clinic, name, &[]);
    again[2] = "home-8".to_owned();
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let refused = clinic.gateway.lazaret(&again);
    assert_eq!(refused.code, 2, "{}", refused.all());
    let why = format!("{name} has or had the same key");
    assert!(refused.err.contains(&why), "{}", refused.err);
}

//= C3
//= C9
#[test]
fn a_device_added_at_run_time_lives_as_one_of_the_files() {
    Lab::run(|lab| {
        let clinic = open(lab);
        let added = said(
            &clinic,
            &add(&clinic, "home-7", &["--pending", "--why", "trial"]),
        );
        assert_eq!(text(&added["devices"][0], "standing"), "pending", "{added}");
        // Pending is as unknown; it is let in without a restart.
        assert_eq!(standing(&clinic.gateway, "home-7"), "pending");
        let home = device(&clinic, "home-7", &added);
        clinic
            .gateway
            .wait_for_record("handshakes-refused", |_| true);
        assert_eq!(home.handshake(), 0);
        counted_as_a_stranger(&clinic, "home-7");
        let _ = clinic
            .gateway
            .lazaret(&["device", "approve", "home-7"])
            .ok();
        home.wait_for_handshake();
        let mut client = home.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("R0")).code, "AA");

        wait::until("what was seen of it", wait::SOON, || {
            let shown = clinic.gateway.json(&["device", "show", "home-7"]);
            let seen = shown["devices"][0]["inventory"]["seen"].as_array()?.clone();
            let has = |what: &str, value: &str| {
                let mut all = seen.iter();
                all.any(|one| text(one, "what") == what && text(one, "value") == value)
            };
            (has("message", "ORU^R01") && has("software", "ECG")).then_some(())
        });
        let _ = clinic
            .gateway
            .lazaret(&["device", "quarantine", "home-7"])
            .ok();
        wait::until("no session", wait::SOON, || {
            (clinic.gateway.status()["sessions"] == 0).then_some(())
        });
        let _ = clinic
            .gateway
            .lazaret(&["device", "release", "home-7"])
            .ok();
        let mut client = home.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("R1")).code, "AA");

        let begun = Instant::now();
        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "home-7", "--why", "lost"])
            .ok();
        let sent = client.send(&hl7::frame(&hl7::oru("R2")));
        let reply = client.reply(Duration::from_millis(500));
        assert!(
            sent.is_err() || !matches!(&reply, Reply::Answer(answer) if answer.code == "AA"),
            "a revoked device was served"
        );
        wait::for_true("no session", LIMIT * 2, || {
            let over = clinic.gateway.status()["sessions"] == 0;
            assert!(over || begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
            over
        });
        wait::until("the whole story", wait::SOON, || {
            let words = ["added", "approved", "quarantined", "released", "revoked"];
            (story(&clinic.gateway, "home-7") == words).then_some(())
        });
        let record = clinic
            .gateway
            .wait_for_record("device", |record| text(record, "device") == "home-7");
        assert_eq!(
            (text(&record, "what"), text(&record, "why")),
            ("added", "trial")
        );
        its_key_is_nobodys_again(&clinic, "home-7");
        assert_eq!(clinic.his.received().len(), 2);
    });
}

//= C5
#[test]
fn a_key_is_changed_without_losing_a_message() {
    Lab::run(|lab| {
        let clinic = open(lab);
        let added = said(&clinic, &add(&clinic, "home-7", &[]));
        let old = device(&clinic, "home-7", &added);
        old.wait_for_handshake();
        let mut client = old.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("K0")).code, "AA");
        let key = clinic.site.public_key("home-7-new");
        let rotate = |overlap: &str| {
            let line = ["device", "rotate", "home-7", "--wireguard", key.trim()];
            let line: Vec<&str> = line.into_iter().chain(["--overlap", overlap]).collect();
            clinic.gateway.lazaret(&line)
        };
        let _ = rotate("4s").ok();
        let rotated = Instant::now();
        // The session under the old key goes on.
        assert_eq!(client.exchange(&hl7::oru("K1")).code, "AA");
        drop((client, old));
        let new = device(&clinic, "home-7-new", &added);
        new.wait_for_handshake();
        let mut client = new.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("K2")).code, "AA");
        wait::until("the end of the old key", wait::SOON, || {
            let shown = clinic.gateway.json(&["device", "show", "home-7"]);
            let keys = shown["devices"][0]["known"]["keys"].as_array()?.len();
            assert_eq!(keys, 2);
            (rotated.elapsed() > Duration::from_secs(5)).then_some(())
        });
        assert_eq!(client.exchange(&hl7::oru("K3")).code, "AA");
        assert_eq!(rotate("0").code, 2, "its own key is no other key");
        assert_eq!(story(&clinic.gateway, "home-7"), ["added", "rotated"]);
    });
}

//= C9
#[test]
fn the_data_plane_goes_on_without_the_database() {
    Lab::run(|lab| {
        let clinic = open(lab);
        let added = said(&clinic, &add(&clinic, "home-7", &[]));
        let home = device(&clinic, "home-7", &added);
        home.wait_for_handshake();
        let mut client = home.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("D0")).code, "AA");

        let database = clinic.site.state().join("registry.db");
        let away = clinic.site.state().join("away");
        std::fs::rename(&database, &away).unwrap();
        let trouble = |gateway: &Gateway<'_>| gateway.status()["registry"]["trouble"].clone();
        wait::until("an alarm", wait::SOON, || {
            let told = trouble(&clinic.gateway);
            told.as_str()?.contains("gone").then_some(())
        });
        clinic.gateway.wait_for_record("registry-trouble", |_| true);
        assert_eq!(client.exchange(&hl7::oru("D1")).code, "AA");
        // Nobody new can be added, nothing is made anew, but a revocation holds, and over a restart too.
        let refused = clinic.gateway.lazaret(
            &add(&clinic, "home-8", &[])
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        );
        assert_eq!(refused.code, 1, "{}", refused.all());
        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "ecg-0042"])
            .ok();
        assert!(!database.exists());
        let Clinic {
            gateway,
            site,
            his,
            ecg,
            ..
        } = clinic;
        drop((client, ecg));
        assert!(gateway.stop().success());
        let gateway = Gateway::start(lab, &site);
        assert_eq!(standing(&gateway, "ecg-0042"), "revoked");
        assert!(!database.exists());
        home.dial(e2e::wan4());
        home.wait_for_handshake();
        let mut client = home.mllp(his.address());
        assert_eq!(client.exchange(&hl7::oru("D2")).code, "AA");

        // It comes back, and learns what it missed.
        std::fs::rename(&away, &database).unwrap();
        wait::until("the database again", wait::SOON, || {
            (trouble(&gateway).is_null() && story(&gateway, "ecg-0042") == ["revoked"])
                .then_some(())
        });
        assert_eq!(client.exchange(&hl7::oru("D3")).code, "AA");
    });
}

#[test]
fn a_list_is_imported_as_a_whole_or_not_at_all() {
    Lab::run(|lab| {
        let clinic = open(lab);
        let file = clinic.site.root().join("list.csv");
        let key = |name: &str| clinic.site.public_key(name).trim().to_owned();
        let import = || {
            clinic
                .gateway
                .lazaret(&["device", "import", &file.display().to_string()])
        };
        let list = |rows: &[String]| {
            let header = "name,roles,wireguard,hl7_sender,serial\n";
            std::fs::write(&file, format!("{header}{}\n", rows.join("\n"))).unwrap();
        };
        let good = [
            format!("h-1,ecg-home,{},ECG^H1,SN-1", key("h-1")),
            format!("h-2,ecg-home,{},ECG^H2,SN-2", key("h-2")),
        ];
        let bad = [
            good[0].clone(),
            good[1].clone(),
            format!("h-3,ecg-hme,{},ECG^H3,SN-3", key("h-3")),
            format!("h-4,ecg-home,{},ECG^H4,SN-4", key("ecg-0042")),
            format!("h-5,ecg-home,{},,SN-5", key("h-5")),
        ];
        list(&bad);
        let refused = import();
        assert_eq!(refused.code, 2, "{}", refused.all());
        for told in [
            "line 4: there is no role `ecg-hme`",
            "line 5: device ecg-0042 has the same key",
            "line 6: rule ecg-results binds `hl7_sender`",
            "nothing was imported",
        ] {
            assert!(refused.err.contains(told), "{told}: {}", refused.err);
        }
        let names = || {
            let shown = clinic
                .gateway
                .json(&["device", "list", "--origin", "imported"]);
            shown["devices"].as_array().map_or(0, Vec::len)
        };
        assert_eq!(names(), 0);
        list(&good);
        let _ = import().ok();
        assert_eq!(names(), 2);
        assert_eq!(import().code, 2, "imported twice");
        assert_eq!(names(), 2);
    });
}

/// How long a region takes is printed, not judged: the machines that run this differ.
#[test]
fn ten_thousand_devices_are_imported_listed_and_changed() {
    Lab::run(|lab| {
        let clinic = Clinic::open_with(lab, |site| {
            site.append("[enrol]\naddresses = [\"10.64.64.0/18\"]\n");
        });
        let alphabet: Vec<char> = ('A'..='Z').collect();
        let letter = |number: usize, place: u32| alphabet[number / 26_usize.pow(place) % 26];
        let rows = (0..10_000).map(|number| {
            let own: String = (0..4).map(|place| letter(number, place)).collect();
            let key = format!("{own}{}E=", "x".repeat(38));
            format!("d-{number},ecg-home,{key},ECG^H{number},SN-{number}\n")
        });
        let list: String = rows.collect();
        let file = clinic.site.root().join("list.csv");
        std::fs::write(
            &file,
            format!("name,roles,wireguard,hl7_sender,serial\n{list}"),
        )
        .unwrap();
        let timed = |what: &str, arguments: &[&str]| {
            let begun = Instant::now();
            let said = clinic.gateway.lazaret(arguments).ok();
            println!("{what}: {:?}", begun.elapsed());
            said
        };
        let path = file.display().to_string();
        let _ = timed("import", &["device", "import", &path]);
        let listed = timed("list", &["device", "list"]);
        assert_eq!(listed.out.lines().count(), 10_005);
        let filtered = timed("list imported", &["device", "list", "--origin", "imported"]);
        assert_eq!(filtered.out.lines().count(), 10_001);
        let _ = timed("check", &["check"]);
        let _ = timed("revoke", &["device", "revoke", "d-77"]);
        let _ = timed("release", &["device", "release", "d-77"]);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("T0")).code, "AA");
        let state = std::fs::metadata(clinic.site.state().join("registry.snapshot.json"));
        println!("snapshot: {} bytes", state.unwrap().len());
    });
}
