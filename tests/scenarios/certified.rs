//! The whole life of a device with a certificate: by its token, before it is approved, through the tunnel, over a
//! renewal, and out; with a client that is not ours. And whoever shows a certificate that is nobody's here.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client};
use e2e::{
    Clinic, Gateway, HIS, Lab, Place, Process, Said, machine, peer_program, peer_script, text,
    wait, wan4,
};
use rustix::process::Signal;
use serde_json::Value;

/// Within which a decision is in force.
const LIMIT: Duration = Duration::from_secs(2);
const NAME: &str = "gateway.example.org";

fn open(lab: &Lab) -> Clinic<'_> {
    let outside = wan4().ip();
    let tables = format!(
        "[tunnel.quic]\nlisten = \"[::]:443\"\ninterface = \"lz-quic\"\nnetworks = [\"10.65.0.0/16\", \"fd65::/64\"]\n\
         [pki]\nserver_names = [\"{NAME}\", \"{outside}\"]\n\
         [enrol]\naddresses = [\"10.64.200.0/24\", \"10.65.200.0/24\"]\nlisten = \"{outside}:8443\"\n"
    );
    let clinic = Clinic::open_with(lab, |site| site.append(&tables));
    let _ = clinic.gateway.lazaret(&["ca", "init"]).ok();
    let ca = clinic.gateway.lazaret(&["ca", "export"]).ok();
    std::fs::write(lab.folder("certificates").join("ca.pem"), ca.out).unwrap();
    clinic
}

/// Where the machine keeps its key.
fn folder(lab: &Lab) -> PathBuf {
    lab.folder("machine")
}

/// The command on the machine of the clinician.
fn desk(lab: &Lab, arguments: &[&str]) -> Said {
    machine(lab, Place::Home2, arguments)
}

fn token(clinic: &Clinic<'_>) -> String {
    let line = "enroll token create --role ecg-home --device desk-9 --hl7-sender DESK^NINE";
    let made = (clinic.gateway).json(&line.split(' ').collect::<Vec<_>>());
    text(&made, "token").to_owned()
}

fn request(clinic: &Clinic<'_>) -> Said {
    let (url, token) = (format!("https://{}:8443", wan4().ip()), token(clinic));
    let out = folder(clinic.lab).display().to_string();
    // Whoever has just made an authority waits for the listener to show its certificate.
    wait::until("an enrolled machine", wait::SOON, || {
        let said = desk(
            clinic.lab,
            &["enroll", "request", &url, &token, "--out", &out],
        );
        (said.code == 0).then_some(said)
    })
}

fn renew(lab: &Lab) -> Said {
    let out = folder(lab).display().to_string();
    desk(lab, &["enroll", "renew", &out, "--now"])
}

/// A client that shows what is in a file: key and certificates.
fn client(lab: &Lab, name: &str, file: &str, more: &[&str]) -> Process {
    let mut command = lab.command(Place::Home2, peer_program("python"));
    let server = SocketAddr::new(wan4().ip(), 443).to_string();
    let ca = lab.folder("certificates").join("ca.pem");
    command.arg(peer_script("connect_ip.py"));
    command.args(["--server", &server, "--name", NAME, "--ca"]);
    command.arg(ca).args(["--cert", file, "--key", file]);
    command.args(more);
    Process::start(name, lab.directory(), command)
}

fn own(lab: &Lab) -> String {
    folder(lab).join("device.pem").display().to_string()
}

fn mllp(lab: &Lab) -> Client {
    let stream = lab.inside(Place::Home2, || {
        TcpStream::connect_timeout(&(HIS, 2575).into(), wait::SOON)
    });
    Client::new(stream.expect("a connection through the tunnel"))
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
    let mut early = client(lab, "early", &own(lab), &["--tun", "tq0"]);
    let _ = early.wait_for_end();
    assert!(!early.output().contains("status"), "{}", early.output());
    let refused = clinic.gateway.wait_for_record("session-refused", |_| true);
    assert_eq!(text(&refused, "device"), "desk-9", "{refused}");
    assert_eq!(text(&refused, "why"), "the device may not come in");
    let _ = renew(lab).ok();
}

/// Another key, the same address, the same connection inside; the certificate before is good for as long as it says.
fn a_renewal_loses_nothing(
    lab: &Lab,
    gateway: &Gateway<'_>,
    tunnel: &mut Process,
    his: &mut Client,
) {
    let before = std::fs::read(own(lab)).unwrap();
    let _ = renew(lab).ok();
    assert_ne!(std::fs::read(own(lab)).unwrap(), before, "another key");
    assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C2")).code, "AA");
    let sessions = || {
        gateway
            .journal()
            .into_iter()
            .filter(|r| text(r, "event") == "session-began")
    };
    tunnel.signal(Signal::USR2);
    wait::for_true("a second session", wait::SOON, || sessions().count() == 2);
    tunnel.wait_for_output("closed 0x100 the device came again");
    assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C3")).code, "AA");
    let certificates: Vec<String> = sessions()
        .map(|record| text(&record, "certificate").to_owned())
        .collect();
    assert_ne!(certificates[0], certificates[1]);

    let old = folder(lab).join("before.pem");
    std::fs::write(&old, before).unwrap();
    let mut again = client(lab, "before", &old.display().to_string(), &[]);
    again.wait_for_output("address 10.65.200.1/32");
    tunnel.signal(Signal::USR2);
    again.wait_for_output("closed 0x100 the device came again");
    wait::for_true("a fourth session", wait::SOON, || sessions().count() == 4);
    assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C4")).code, "AA");
}

//= C3
//= C5
//= C9
#[test]
fn a_certificate_lives_from_its_token_to_its_revocation() {
    Lab::run(|lab| {
        let clinic = open(lab);
        let said = request(&clinic).ok();
        assert!(said.out.contains("desk-9"), "{}", said.out);
        pending_reaches_nothing(&clinic);

        let _ = clinic
            .gateway
            .lazaret(&["device", "approve", "desk-9"])
            .ok();
        // At once: the first attempt after the command is let in.
        let mut tunnel = client(lab, "tunnel", &own(lab), &["--tun", "tq0"]);
        tunnel.wait_for_output("up");
        for line in [
            "address 10.65.200.1/32",
            "service his-results 10.20.2.10 6 2575 2575",
        ] {
            tunnel.wait_for_output(line);
        }
        let known = shown(&clinic.gateway);
        assert_eq!(known["addresses"], serde_json::json!(["10.65.200.1"]));
        let mut his = mllp(lab);
        assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C1")).code, "AA");
        assert_eq!(his.exchange(&hl7::oru_from("ECG|CARDIO", "C0")).code, "AR");
        assert_eq!(clinic.his.wait_for(1).len(), 1);
        a_renewal_loses_nothing(lab, &clinic.gateway, &mut tunnel, &mut his);

        // Quarantine ends what is under way; the tunnel itself stays, and carries nothing.
        let _ = clinic
            .gateway
            .lazaret(&["device", "quarantine", "desk-9"])
            .ok();
        wait::for_true("no connection", LIMIT, || {
            clinic.gateway.status()["sessions"] == 0
        });
        let _ = clinic
            .gateway
            .lazaret(&["device", "release", "desk-9"])
            .ok();
        let mut his = mllp(lab);
        assert_eq!(his.exchange(&hl7::oru_from("DESK|NINE", "C5")).code, "AA");

        let begun = Instant::now();
        let revoke = ["device", "revoke", "desk-9", "--why", "lost"];
        let _ = clinic.gateway.lazaret(&revoke).ok();
        tunnel.wait_for_output("closed 0x10b");
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        wait::for_true("no tunnel", LIMIT, || tunnels(&clinic.gateway).is_empty());
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
        assert_ne!(renew(lab).code, 0, "who is revoked does not renew");

        let Clinic {
            gateway, site, his, ..
        } = clinic;
        let received = his.received().len();
        let _ = gateway.stop();
        let gateway = Gateway::start(lab, &site);
        let mut late = client(lab, "late", &own(lab), &["--tun", "tq1"]);
        let _ = late.wait_for_end();
        assert!(!late.output().contains("status"), "{}", late.output());
        assert!(tunnels(&gateway).is_empty());
        assert_eq!((received, his.received().len()), (5, 5));
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
        let clinic = open(lab);
        // Of a device of ours, only not let in: nobody strange.
        let _ = request(&clinic).ok();
        let mut early = client(lab, "early", &own(lab), &[]);
        let _ = early.wait_for_end();
        let foreign = forge(&clinic, "foreign");
        for name in ["first", "second"] {
            let mut refused = client(lab, name, &foreign, &[]);
            let _ = refused.wait_for_end();
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
        let mut refused = client(lab, "imitated", &imitated, &[]);
        let _ = refused.wait_for_end();
        wait::for_true("another stranger", wait::SOON, || {
            strangers(&clinic).len() == 2
        });
    });
}
