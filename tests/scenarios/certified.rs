//! The whole life of a device with a certificate: by its token, before it is approved, through the tunnel, over a
//! renewal, and out; with a client that is not ours. And whoever shows a certificate that is nobody's here.

use std::time::{Duration, Instant};

use e2e::desk::{Desk, PATIENCE};
use e2e::hl7::{self, Client};
use e2e::{Clinic, Gateway, Lab, Place, Process, peer_program, peer_script, text, wait, wan4};
use rustix::process::Signal;
use serde_json::Value;

/// Within which a decision is in force.
const LIMIT: Duration = Duration::from_secs(2);

fn desk(lab: &Lab) -> Desk<'_> {
    Desk::new(lab, Place::Home2, "desk-9")
}

fn own(lab: &Lab) -> String {
    desk(lab).own().display().to_string()
}

fn says(client: &Process, text: &str) {
    wait::for_true(text, PATIENCE, || client.output().contains(text));
}

/// It was not let in, and went.
fn turned_away(mut client: Process) {
    let _ = wait::until("the end of a client", PATIENCE, || client.ended());
    assert!(!client.output().contains("status"), "{}", client.output());
}

fn shown(gateway: &Gateway<'_>) -> Value {
    gateway.json(&["device", "show", "desk-9"])["devices"][0].clone()
}

fn tunnels(gateway: &Gateway<'_>) -> Vec<Value> {
    let shown = gateway.json(&["session", "list"]);
    shown["tunnels"].as_array().cloned().unwrap_or_default()
}

/// Who waits to be approved has a certificate, may renew it, and reaches nothing else.
fn pending_reaches_nothing(clinic: &Clinic<'_>) {
    let lab = clinic.lab;
    assert_eq!(text(&shown(&clinic.gateway), "standing"), "pending");
    turned_away(desk(lab).client("early", &own(lab), &["--tun", "tq0"]));
    let refused = clinic.gateway.wait_for_record("session-refused", |_| true);
    assert_eq!(text(&refused, "device"), "desk-9", "{refused}");
    assert_eq!(text(&refused, "why"), "the device is not approved yet");
    let _ = desk(lab).renew(&["--now"]).ok();
}

/// Another key, the same address, the same connection inside; the certificate before is good for as long as it says.
fn a_renewal_loses_nothing(lab: &Lab, gateway: &Gateway<'_>, tunnel: &Process, his: &mut Client) {
    let before = std::fs::read(own(lab)).unwrap();
    let _ = desk(lab).renew(&["--now"]).ok();
    let after = std::fs::read(own(lab)).unwrap();
    assert_ne!(after, before, "another key");
    assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C2")).code, "AA");
    let begun = || -> Vec<String> {
        let records = gateway.journal().into_iter();
        let begun = records.filter(|record| text(record, "event") == "session-began");
        begun
            .map(|record| text(&record, "certificate").to_owned())
            .collect()
    };
    for (count, shown) in [(2, &after), (3, &before), (4, &after)] {
        std::fs::write(own(lab), shown).unwrap();
        tunnel.signal(Signal::USR2);
        wait::for_true("another session", PATIENCE, || begun().len() == count);
        wait::for_true("the end of the one before", PATIENCE, || {
            let said = tunnel.output();
            said.matches("closed 0x100 the device came again").count() == count - 1
        });
        let control = format!("C{}", count + 1);
        let answer = his.exchange(&hl7::oru_from("DESK|NINE", &control));
        assert_eq!(answer.code, "AA", "{control}");
    }
    let shown = begun();
    assert_eq!((&shown[0], &shown[1]), (&shown[2], &shown[3]));
    assert_ne!(shown[0], shown[1]);
    assert_eq!(tunnels(gateway).len(), 1);
}

//= C3
//= C5
//= C9
#[test]
fn a_certificate_lives_from_its_token_to_its_revocation() {
    Lab::run(|lab| {
        let clinic = Clinic::open_for_desks(lab, "");
        let said = desk(lab).enrol(&clinic.gateway, "DESK^NINE", &[]).ok();
        assert!(said.out.contains("desk-9"), "{}", said.out);
        pending_reaches_nothing(&clinic);

        let _ = clinic
            .gateway
            .lazaret(&["device", "approve", "desk-9"])
            .ok();
        // At once: the first attempt after the command is let in.
        let tunnel = desk(lab).connect();
        for line in [
            "address 10.65.200.1/32",
            "service his-results 10.20.2.10 6 2575 2575",
        ] {
            says(&tunnel, line);
        }
        let known = shown(&clinic.gateway);
        assert_eq!(known["addresses"], serde_json::json!(["10.65.200.1"]));
        let mut his = desk(lab).mllp().unwrap();
        assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C1")).code, "AA");
        assert_eq!(his.exchange(&hl7::oru_from("ECG|CARDIO", "C0")).code, "AR");
        assert_eq!(clinic.his.wait_for(1).len(), 1);
        a_renewal_loses_nothing(lab, &clinic.gateway, &tunnel, &mut his);

        // Quarantine ends what is under way; the tunnel itself stays, and carries nothing.
        let _ = clinic
            .gateway
            .lazaret(&["device", "quarantine", "desk-9"])
            .ok();
        wait::for_true("no connection", wait::SOON, || {
            clinic.gateway.status()["sessions"] == 0
        });
        let _ = clinic
            .gateway
            .lazaret(&["device", "release", "desk-9"])
            .ok();
        let mut his = desk(lab).mllp().unwrap();
        assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C6")).code, "AA");

        let begun = Instant::now();
        let revoke = ["device", "revoke", "desk-9", "--why", "lost"];
        let _ = clinic.gateway.lazaret(&revoke).ok();
        says(&tunnel, "closed 0x10b");
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        wait::for_true("no tunnel", wait::SOON, || {
            tunnels(&clinic.gateway).is_empty()
        });
        let record = clinic
            .gateway
            .wait_for_record("device-standing", |r| text(r, "after") == "revoked");
        assert_eq!(
            (text(&record, "device"), text(&record, "why")),
            ("desk-9", "lost")
        );
        clinic
            .gateway
            .wait_for_record("enrolment", |r| text(r, "what") == "renewed");
        assert_ne!(
            desk(lab).renew(&["--now"]).code,
            0,
            "who is revoked does not renew"
        );

        let Clinic {
            gateway, site, his, ..
        } = clinic;
        let received = his.received().len();
        let _ = gateway.stop();
        let gateway = Gateway::start(lab, &site);
        turned_away(desk(lab).client("late", &own(lab), &["--tun", "tq1"]));
        assert!(tunnels(&gateway).is_empty());
        assert_eq!((received, his.received().len()), (6, 6));
    });
}

fn forge(clinic: &Clinic<'_>, kind: &str) -> String {
    let lab = clinic.lab;
    let keys = std::fs::read_dir(clinic.site.state().join("pki")).unwrap();
    let mut keys = keys.map(|file| file.unwrap().path().display().to_string());
    let key = keys.find(|file| file.ends_with(".key") && file.contains("/ca-"));
    let folder = lab.folder("certificates");
    let (script, python) = (peer_script("certificates.py"), peer_program("python"));
    let (ca, out) = (
        folder.join("ca.pem").display().to_string(),
        folder.display().to_string(),
    );
    let key = key.unwrap();
    let line = [&*python, &*script, "forge", kind, "desk-9", &key, &ca, &out];
    let _ = lab.output(Place::Home2, &line).ok();
    let read = |end| std::fs::read_to_string(folder.join(format!("{kind}.{end}"))).unwrap();
    let file = folder.join(format!("{kind}.both"));
    std::fs::write(&file, read("key") + &read("pem")).unwrap();
    file.display().to_string()
}

/// Those who show a certificate that is nobody's here, by source.
fn strangers(clinic: &Clinic<'_>) -> Vec<Value> {
    let all = clinic.gateway.json(&["device", "list", "--unknown"]);
    let all = all["strangers"].as_array().cloned().unwrap_or_default();
    all.into_iter()
        .filter(|one| text(one, "what") == "certificate")
        .collect()
}

//= C5
//= C8
#[test]
fn certificates_of_others_are_counted_by_their_source() {
    Lab::run(|lab| {
        let clinic = Clinic::open_for_desks(lab, "");
        // Of a device of ours, only not let in: nobody strange.
        let _ = desk(lab).enrol(&clinic.gateway, "DESK^NINE", &[]).ok();
        turned_away(desk(lab).client("early", &own(lab), &[]));
        let foreign = forge(&clinic, "foreign");
        for name in ["first", "second"] {
            turned_away(desk(lab).client(name, &foreign, &[]));
        }
        let source = Place::Home2.outside().0.to_string();
        wait::for_true("a stranger at the tunnel", wait::SOON, || {
            strangers(&clinic).iter().any(|one| one["amount"] == 2)
        });
        // The same one at the other door.
        let url = format!("https://{}:8443/.well-known/est/cacerts", wan4().ip());
        let line = ["curl", "-sk", "--cert", &foreign, "--key", &foreign, &url];
        let refused = lab.output(Place::Home2, &line);
        assert_ne!(refused.code, 0, "{}", refused.all());
        let one = wait::until("a stranger at the service", wait::SOON, || {
            strangers(&clinic)
                .into_iter()
                .find(|one| one["amount"] == 3)
        });
        assert_eq!(text(&one, "source"), source, "{one}");
        assert_eq!(text(&one, "value").len(), 64, "{one}");
        assert_eq!(strangers(&clinic).len(), 1);
        let imitated = forge(&clinic, "imitated");
        turned_away(desk(lab).client("imitated", &imitated, &[]));
        wait::for_true("another stranger", wait::SOON, || {
            strangers(&clinic).len() == 2
        });
    });
}

/// A request of a machine that reaches nobody, signed with `openssl`.
fn request(lab: &Lab, name: &str) -> String {
    let path = |kind: &str| {
        let file = lab.directory().join(format!("{name}.{kind}"));
        file.display().to_string()
    };
    let (key, csr, subject) = (path("key"), path("csr"), format!("/CN={name}"));
    let make = ["openssl", "req", "-new", "-newkey", "ec", "-nodes"];
    let curve = ["-pkeyopt", "ec_paramgen_curve:P-256"];
    let files = ["-keyout", &key, "-out", &csr, "-subj", &subject];
    let line = [&make[..], &curve, &files].concat();
    let _ = lab.output(Place::Home2, &line).ok();
    csr
}

/// An operator brings the request of a machine; its key is one device's, as if it had come by itself.
//= C5
#[test]
fn an_operator_brings_a_request() {
    Lab::run(|lab| {
        let clinic = Clinic::open_for_desks(lab, "");
        let csr = request(lab, "desk-8");
        let out = lab.directory().join("desk-8.pem");
        let file = out.display().to_string();
        let add = |name: &str, more: &[&str]| {
            let words = ["device", "add", name, "--role", "ecg-home"];
            let sender = ["--hl7-sender", "DESK^EIGHT"];
            clinic
                .gateway
                .lazaret(&[&words[..], &sender, more].concat())
        };
        assert_eq!(add("desk-8", &["--csr", &csr]).code, 2, "without a file");
        let foreign = add("desk-7", &["--csr", &csr, "--out", &file]);
        assert_eq!(foreign.code, 2, "{}", foreign.all());
        assert!(!out.exists());
        let said = add("desk-8", &["--csr", &csr, "--out", &file]).ok();
        assert!(said.out.contains("holds until"), "{}", said.all());
        let certificate = std::fs::read_to_string(&out).unwrap();
        assert!(certificate.contains("BEGIN CERTIFICATE"));
        let shown = clinic.gateway.json(&["device", "show", "desk-8"]);
        let known = &shown["devices"][0];
        assert_eq!(text(known, "standing"), "active");
        let address = known["addresses"][0].as_str().unwrap_or_default();
        assert!(address.starts_with("10.65.200."), "{known}");
        let listed = clinic.gateway.json(&["cert", "list", "--device", "desk-8"]);
        let listed = listed["certificates"].as_array().map(Vec::len);
        assert_eq!(listed, Some(1));
        // The same request without a name in it is the same key.
        let nobody = request(lab, "desk-6");
        let key = lab.directory().join("desk-8.key").display().to_string();
        let line = ["openssl", "req", "-new", "-key", &key, "-out", &nobody];
        let _ = lab
            .output(Place::Home2, &[&line[..], &["-subj", "/"]].concat())
            .ok();
        let taken = add("desk-6", &["--csr", &nobody, "--out", &file]);
        assert_ne!(taken.code, 0, "{}", taken.all());
        assert!(taken.err.contains("the same key"), "{}", taken.err);
        assert_eq!(std::fs::read_to_string(&out).unwrap(), certificate);
    });
}
