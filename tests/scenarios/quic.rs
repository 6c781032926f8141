//! The tunnel for certificates, with a client that is not ours: CONNECT-IP made of aioquic, capsules written in the test.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use e2e::hl7::{self, Client};
use e2e::{Clinic, HIS, Lab, Output, Place, Process, peer_program, peer_script, text, wait, wan4};
use rustix::process::Signal;
use serde_json::Value;

/// Within which whoever is revoked is out.
const LIMIT: Duration = Duration::from_secs(2);
pub(super) const NAME: &str = "gateway.example.org";
const SITE: &str = r#"
[tunnel.quic]
listen = "[::]:443"
interface = "lz-quic"
networks = ["10.65.0.0/16", "fd65::/64"]

[pki]
server_names = ["gateway.example.org"]

[device.desk-7]
certificate = true
addresses = ["10.65.0.7", "fd65::7"]
roles = ["ecg-home"]
hl7_sender = "DESK^HOME"

[device.desk-8]
certificate = true
addresses = ["10.65.0.8"]
roles = ["ecg-home"]
hl7_sender = "DESK^TWO"
"#;

fn open(lab: &Lab) -> Clinic<'_> {
    open_with(lab, "")
}

/// With one more line in the table of the tunnel, and an authority.
fn open_with<'a>(lab: &'a Lab, line: &str) -> Clinic<'a> {
    let clinic = Clinic::open_with(lab, |site| {
        site.append(&SITE.replace("[pki]", &format!("{line}\n[pki]")));
    });
    let ca = clinic.gateway.authority();
    std::fs::write(folder(lab).join("ca.pem"), ca).unwrap();
    clinic
}

/// Where the devices keep their keys.
pub(super) fn folder(lab: &Lab) -> PathBuf {
    lab.folder("certificates")
}

pub(super) fn file(lab: &Lab, name: &str) -> String {
    folder(lab).join(name).display().to_string()
}

pub(super) fn certificates(lab: &Lab, arguments: &[&str]) {
    let (python, script) = (peer_program("python"), peer_script("certificates.py"));
    let folder = folder(lab).display().to_string();
    let mut line = vec![python.as_str(), &script];
    line.extend(arguments);
    line.push(&folder);
    let _ = lab.output(Place::Home2, &line).ok();
}

/// A key, and the certificate that the gateway issues for it.
pub(super) fn enrol(clinic: &Clinic<'_>, device: &str) {
    certificates(clinic.lab, &["request", device]);
    let csr = file(clinic.lab, &format!("{device}.csr"));
    let out = file(clinic.lab, &format!("{device}.pem"));
    let line = ["cert", "renew", device, "--csr", &csr, "--out", &out];
    let _ = clinic.gateway.lazaret(&line).ok();
}

/// A certificate as an attacker would like to have it; some are signed with the key of the authority itself.
pub(super) fn forge(clinic: &Clinic<'_>, kind: &str) {
    let pki = clinic.site.state().join("pki");
    let files = std::fs::read_dir(pki).unwrap();
    let mut keys = files.map(|file| file.unwrap().path().display().to_string());
    let key = keys.find(|file| file.ends_with(".key") && file.contains("/ca-"));
    let ca = file(clinic.lab, "ca.pem");
    certificates(clinic.lab, &["forge", kind, "desk-7", &key.unwrap(), &ca]);
}

/// Starts a client that shows a certificate of the folder, or none.
fn client(lab: &Lab, certificate: Option<&str>, more: &[&str]) -> Process {
    let mut command = lab.command(Place::Home2, peer_program("python"));
    let server = SocketAddr::new(wan4().ip(), 443).to_string();
    command.arg(peer_script("connect_ip.py"));
    command.args(["--server", &server, "--name", NAME]);
    command.args(["--ca", &file(lab, "ca.pem")]);
    if let Some(name) = certificate {
        command.args(["--cert", &file(lab, &format!("{name}.pem"))]);
        command.args(["--key", &file(lab, &format!("{name}.key"))]);
    }
    command.args(more);
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("connect-ip-{number}-{}", certificate.unwrap_or("nobody"));
    Process::start(&name, lab.directory(), command)
}

/// A client with a TUN that has its addresses.
pub(super) fn connect(lab: &Lab, device: &str, more: &[&str]) -> Process {
    let mut all = vec!["--tun", "tq0"];
    all.extend(more);
    let mut process = client(lab, Some(device), &all);
    process.wait_for_output("up");
    process
}

/// A connection of the client's machine to the HIS: through its TUN, since no other way leads there.
pub(super) fn mllp(lab: &Lab) -> Client {
    let stream = lab.inside(Place::Home2, || {
        TcpStream::connect_timeout(&(HIS, 2575).into(), wait::SOON)
    });
    Client::new(stream.expect("a connection through the tunnel"))
}

pub(super) fn tunnels(clinic: &Clinic<'_>) -> Vec<Value> {
    let shown = clinic.gateway.json(&["session", "list"]);
    shown["tunnels"].as_array().cloned().unwrap_or_default()
}

//= C1
//= C5
//= C9
#[test]
fn a_client_of_others_works_as_if_on_site() {
    Lab::run(|lab| {
        let clinic = open(lab);
        enrol(&clinic, "desk-7");
        let mut desk = connect(lab, "desk-7", &["--spoof", "10.64.0.1"]);
        for line in [
            "handshake h3 full",
            "settings 1 1",
            "status 200 ?1",
            "address 10.65.0.7/32",
            "address fd65::7/128",
            "route 10.20.2.10-10.20.2.10 0",
            "service his-results 10.20.2.10 6 2575 2575",
        ] {
            desk.wait_for_output(line);
        }
        let said = desk.output();
        // What it may not use is not advertised.
        assert!(!said.contains("10.20.1.10"), "{said}");
        let began = clinic.gateway.wait_for_record("session-began", |_| true);
        assert_eq!(text(&began, "device"), "desk-7", "{began}");
        // aioquic knows no other than classical ones.
        assert_eq!(text(&began, "key_exchange"), "secp256r1", "{began}");
        let spoofed = clinic.gateway.wait_for_record("source-spoofed", |_| true);
        assert_eq!(text(&spoofed, "device"), "desk-7", "{spoofed}");
        // Three datagrams, and one packet in the stream.
        wait::for_true("all spoofed packets are counted", wait::SOON, || {
            tunnels(&clinic).iter().any(|one| one["spoofed"] == 4)
        });

        let mut his = mllp(lab);
        assert_eq!(his.exchange(&hl7::oru_from("DESK|HOME", "Q1")).code, "AA");
        assert_eq!(his.exchange(&hl7::oru_from("ECG|CARDIO", "Q2")).code, "AR");
        assert_eq!(clinic.his.wait_for(1).len(), 1);
        // Larger than any datagram of the path at first: over the stream.
        let large = hl7::large_oru("Q3", 200_000);
        let large = String::from_utf8(large)
            .unwrap()
            .replace("ECG|CARDIO", "DESK|HOME");
        assert_eq!(his.exchange(large.as_bytes()).code, "AA");

        desk.signal(Signal::USR1);
        desk.wait_for_output("pong");
        assert_eq!(his.exchange(&hl7::oru_from("DESK|HOME", "Q4")).code, "AA");
        let shown = tunnels(&clinic);
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!(text(&shown[0], "key_exchange"), "secp256r1");
        let listed = clinic.gateway.lazaret(&["session", "list"]).ok();
        assert!(listed.out.contains("desk-7"), "{}", listed.out);

        let begun = Instant::now();
        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "desk-7", "--why", "lost"])
            .ok();
        desk.wait_for_output("closed 0x10b");
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        let ended = clinic.gateway.wait_for_record("session-ended", |_| true);
        assert!(ended["received"].as_u64().unwrap() > 200_000, "{ended}");
        let mut again = client(lab, Some("desk-7"), &[]);
        again.wait_for_output("closed");
        assert!(!again.output().contains("status"), "{}", again.output());
        // Its certificates are revoked with it, a little later.
        clinic.gateway.wait_for_record("session-refused", |record| {
            let reasons = ["the certificate is revoked", "the device is revoked"];
            reasons.contains(&text(record, "why"))
        });
    });
}

/// Each that is refused beside the one that is not.
//= C5
//= C8
//= C9
#[test]
fn who_is_not_believed_stays_out() {
    Lab::run(|lab| {
        let clinic = open(lab);
        enrol(&clinic, "desk-7");
        enrol(&clinic, "desk-8");
        for kind in ["foreign", "imitated", "expired", "server", "unnamed"] {
            forge(&clinic, kind);
        }
        for (certificate, why) in [
            (None, "there was no certificate"),
            (
                Some("foreign"),
                "the certificate is not of the gateway's authority",
            ),
            (
                Some("imitated"),
                "a signature of the certificate or the handshake is wrong",
            ),
            (
                Some("expired"),
                "the certificate is expired or not valid yet",
            ),
            (Some("server"), "the certificate is for another use"),
            (Some("unnamed"), "the certificate is not one of a device"),
        ] {
            let mut refused = client(lab, certificate, &["--tun", "tq0"]);
            let _ = refused.wait_for_end();
            let said = refused.output();
            assert!(!said.contains("status"), "{certificate:?}: {said}");
            let record = clinic
                .gateway
                .wait_for_record("session-refused", |record| text(record, "why") == why);
            assert_eq!(record["times"], 1, "{record}");
        }
        assert!(tunnels(&clinic).is_empty());
        let mut other = client(lab, Some("desk-8"), &["--protocol", "connect-udp"]);
        other.wait_for_output("status 501");
        for garbage in ["capsule", "frame"] {
            let mut broken = client(lab, Some("desk-8"), &["--garbage", garbage]);
            broken.wait_for_output("closed");
        }

        // The twin of all of them, and what becomes of it when its certificate alone is revoked.
        let mut desk = connect(lab, "desk-7", &[]);
        assert_eq!(
            mllp(lab).exchange(&hl7::oru_from("DESK|HOME", "W1")).code,
            "AA"
        );
        let began = clinic
            .gateway
            .wait_for_record("session-began", |record| text(record, "device") == "desk-7");
        let begun = Instant::now();
        let serial = text(&began, "certificate").to_owned();
        let _ = clinic.gateway.lazaret(&["cert", "revoke", &serial]).ok();
        desk.wait_for_output("closed 0x10b");
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
        let mut again = client(lab, Some("desk-7"), &[]);
        let _ = again.wait_for_end();
        clinic.gateway.wait_for_record("session-refused", |record| {
            text(record, "why") == "the certificate is revoked"
        });
        let said: Output = clinic.gateway.lazaret(&["audit", "verify"]).ok();
        assert!(!said.out.is_empty());
    });
}

#[test]
fn without_a_post_quantum_key_exchange_nobody_comes_in_where_it_is_required() {
    Lab::run(|lab| {
        let clinic = open_with(lab, "post_quantum = \"required\"");
        enrol(&clinic, "desk-7");
        let mut classical = client(lab, Some("desk-7"), &[]);
        let _ = classical.wait_for_end();
        assert!(
            !classical.output().contains("handshake"),
            "{}",
            classical.output()
        );
        clinic.gateway.wait_for_record("session-refused", |record| {
            text(record, "why") == "no key exchange that both ends offer"
        });
    });
}

/// What is not inspected is listed, recorded and cut in the same way, and its client is told when it ends.
//= C9
#[test]
fn a_console_is_used_by_certificate() {
    Lab::run(|lab| {
        let clinic = open(lab);
        clinic.site.append(
            "[rule.desk]\nfrom = [\"device:desk-7\"]\nto = [\"console\"]\nuntil = 2099-12-31\n",
        );
        let _ = clinic.gateway.lazaret(&["apply"]).ok();
        let to: SocketAddr = (e2e::CONSOLE, 22).into();
        let _console = e2e::Sink::listen(lab, Place::Hospital, to, e2e::Behaviour::Echo);
        enrol(&clinic, "desk-7");
        let mut desk = connect(lab, "desk-7", &[]);
        desk.wait_for_output("service console 10.20.0.5 6 22 22 for ");
        let said = desk.output();
        let left = said
            .split("service console 10.20.0.5 6 22 22 for ")
            .nth(1)
            .unwrap();
        let left: u64 = left.lines().next().unwrap().parse().unwrap();
        assert!(left > 1_000_000_000, "{left}");
        let mut shell = lab
            .inside(Place::Home2, || TcpStream::connect_timeout(&to, wait::SOON))
            .expect("a connection through the tunnel");
        shell.set_read_timeout(Some(wait::SOON)).unwrap();
        let mut echo = || {
            let mut back = [0; 1_000];
            shell
                .write_all(&[7; 1_000])
                .and_then(|()| shell.read_exact(&mut back))
        };
        echo().unwrap();
        let shown = clinic.gateway.json(&["session", "list"]);
        let session = &shown["consoles"][0];
        assert_eq!(
            (text(session, "device"), text(session, "service")),
            ("desk-7", "console")
        );
        assert!(session["received"].as_u64().unwrap() >= 1_000, "{session}");
        let begun = Instant::now();
        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "desk-7", "--why", "lost"])
            .ok();
        clinic
            .gateway
            .wait_for_record("console-ended", |record| text(record, "why") == "revoked");
        assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    });
}
