//! `lazaret connect` against the gateway itself: local ports without privileges, an interface, and what is left of both.

use std::io::{Read, Write};
use std::net::SocketAddr;

use e2e::hl7::{self, Client};
use e2e::{
    Archive, Archiving, Behaviour, CONSOLE, Clinic, ClinicFile, Clinician, HIS, Lab, Output, PACS,
    Place, Sink, text, wait, wan4,
};
use serde_json::Value;

use super::quic;

pub(super) const SITE: &str = r#"
[tunnel.quic]
listen = "[::]:443"
interface = "lz-quic"
networks = ["10.65.0.0/16", "fd65::/64"]
POLICY

[pki]
server_names = ["gateway.example.org"]

[device.desk-7]
certificate = true
addresses = ["10.65.0.7", "fd65::7"]
roles = ["ecg-home", "radiologist"]
hl7_sender = "DESK^HOME"
ae_title = "DESK7"

[service.media]
address = "10.20.0.5"
ports = ["udp/5004", "tcp/8080"]

[rule.media]
from = ["role:radiologist"]
to = ["media"]
"#;

/// A gateway with an authority, and the certificate of `desk-7`.
pub(super) fn open<'a>(lab: &'a Lab, line: &str) -> Clinic<'a> {
    let clinic = Clinic::open_with(lab, |site| site.append(&SITE.replace("POLICY", line)));
    let ca = clinic.gateway.authority();
    std::fs::write(quic::folder(lab).join("ca.pem"), ca).unwrap();
    quic::enrol(&clinic, "desk-7");
    clinic
}

pub(super) fn gateway() -> SocketAddr {
    SocketAddr::new(wan4().ip(), 443)
}

pub(super) fn clinic_file(lab: &Lab, more: &str) -> ClinicFile {
    ClinicFile::write(&quic::folder(lab), "desk-7", gateway(), more)
}

/// Sends bytes and hears them again.
pub(super) fn echo(stream: &mut std::net::TcpStream, bytes: &[u8]) {
    let mut writer = stream.try_clone().unwrap();
    let mut heard = vec![0; bytes.len()];
    std::thread::scope(|scope| {
        scope.spawn(|| writer.write_all(bytes).unwrap());
        stream.read_exact(&mut heard).unwrap();
    });
    assert!(heard == bytes, "other bytes came back");
}

fn names(services: &Value) -> Vec<&str> {
    let all = services["services"].as_array().unwrap();
    let mut names: Vec<&str> = all.iter().map(|one| text(one, "name")).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What `ip` says of routes, addresses and links of the desk.
fn network(lab: &Lab) -> Vec<String> {
    let show = |what: &[&str]| {
        let mut line = vec!["ip", "-o"];
        line.extend(what);
        lab.output(Place::Home2, &line).ok().out
    };
    vec![
        show(&["-4", "route", "show", "table", "all"]),
        show(&["-6", "route", "show", "table", "all"]),
        show(&["addr", "show"]).replace(char::is_whitespace, " "),
    ]
}

//= C1
#[test]
fn a_clinician_without_privileges_works_over_local_ports() {
    Lab::run(|lab| {
        let clinic = open(lab, "");
        let pacs = Archive::start(lab, Archiving::Pynetdicom);
        let console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let file = clinic_file(lab, "forward = [\"127.0.0.1:12575=his-results\"]");
        let before = network(lab);
        let desk = Clinician::start(
            lab,
            Place::Home2,
            &file,
            &[
                "--forward",
                "127.0.0.1:11112=pacs",
                "--forward",
                "127.0.0.1:10022=console:22",
            ],
        );
        let connected = desk.wait("connected");
        // Preferred is enough between our own ends.
        assert_eq!(connected["post_quantum"], true, "{connected}");
        let services = desk.wait("services");
        assert_eq!(
            names(&services),
            [
                "console",
                "console-six",
                "his-results",
                "his-six",
                "media",
                "pacs"
            ]
        );
        let address = desk.wait("addresses");
        assert_eq!(address["addresses"][0], "10.65.0.7/32", "{address}");

        let mut his = Client::new(desk.tcp(local(12575)).unwrap());
        assert_eq!(his.exchange(&hl7::oru_from("DESK|HOME", "N1")).code, "AA");
        assert_eq!(his.exchange(&hl7::oru_from("ECG|CARDIO", "N2")).code, "AR");
        assert_eq!(clinic.his.wait_for(1).len(), 1);
        let said = echoscu(&desk, "DESK7");
        assert_eq!(said.code, 0, "{}", said.all());
        wait::for_true("the PACS was asked", wait::SOON, || {
            !pacs.asked().is_empty()
        });
        let stolen = echoscu(&desk, "US07");
        assert_ne!(stolen.code, 0, "{}", stolen.all());

        let mut shell = desk.tcp(local(10022)).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        echo(&mut shell, b"ls\n");
        echo(&mut shell, &bytes);
        assert_eq!(console.open(), 1);

        // Nothing of the machine changed, and others see who it is.
        assert_eq!(network(lab), before);
        let shown = quic::tunnels(&clinic);
        assert_eq!(
            text(&shown[0], "key_exchange"),
            "X25519MLKEM768",
            "{shown:?}"
        );
        let began = clinic.gateway.wait_for_record("session-began", |_| true);
        assert_eq!(text(&began, "key_exchange"), "X25519MLKEM768", "{began}");
        let listed = clinic.gateway.lazaret(&["session", "list"]).ok();
        assert!(listed.out.contains("desk-7"), "{}", listed.out);

        let _ = clinic
            .gateway
            .lazaret(&["device", "revoke", "desk-7", "--why", "lost"])
            .ok();
        let refused = desk.wait("refused");
        assert!(refused["retry"].as_u64().unwrap() >= 150, "{refused}");
        assert_eq!(desk.stop().code(), Some(0));
    });
}

#[test]
fn an_interface_leads_to_what_the_gateway_names_and_nowhere_else() {
    Lab::run(|lab| {
        let clinic = open(lab, "post_quantum = \"required\"");
        let console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let before = network(lab);
        let file = clinic_file(lab, "interface = \"clinic0\"\npost_quantum = \"required\"");
        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        desk.wait("interface");
        wait_for_route(lab, "10.20.0.5");
        let routes = routes_of_interface(lab);
        for address in ["10.20.0.5", "10.20.2.10", "10.20.1.10"] {
            assert!(routes.iter().any(|route| route == address), "{routes:?}");
        }
        // Nothing wider than an address, and the way to everything else stays.
        assert!(
            routes.iter().all(|route| !route.contains('/')),
            "{routes:?}"
        );
        let other = lab
            .output(Place::Home2, &["ip", "route", "get", "10.20.0.6"])
            .ok();
        assert!(other.out.contains("eth0"), "{}", other.out);

        let mut his = Client::new(desk.tcp((HIS, 2575).into()).unwrap());
        assert_eq!(his.exchange(&hl7::oru_from("DESK|HOME", "T1")).code, "AA");
        let mut shell = desk.tcp((CONSOLE, 22).into()).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        echo(&mut shell, &bytes);
        assert_eq!(console.open(), 1);
        let shown = quic::tunnels(&clinic);
        assert_eq!(
            text(&shown[0], "key_exchange"),
            "X25519MLKEM768",
            "{shown:?}"
        );
        // The path carries more than the least of all paths.
        wait::for_true("the interface has the MTU of the path", wait::SOON, || {
            mtu(lab) > 1280
        });
        echo(&mut shell, &bytes);

        // A second one waits for no interface of the first.
        assert_eq!(desk.stop().code(), Some(0));
        assert_eq!(network(lab), before);

        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        wait_for_route(lab, "10.20.0.5");
        let _ = desk.tcp((CONSOLE, 22).into()).unwrap();
        desk.kill9();
        wait::for_true("nothing is left", wait::SOON, || network(lab) == before);
        // The gateway takes it back at once.
        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        wait_for_route(lab, "10.20.0.5");
        let _ = desk.tcp((CONSOLE, 22).into()).unwrap();
        drop(desk);
        let ended = clinic.gateway.wait_for_record("session-ended", |record| {
            text(record, "why") == "the device came again"
        });
        assert_eq!(text(&ended, "device"), "desk-7");
    });
}

/// Where IPv6 is turned off, the interface has what is left.
#[test]
fn a_machine_without_ipv6_has_its_interface() {
    Lab::run(|lab| {
        let _clinic = open(lab, "");
        let _console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        for which in ["all", "default"] {
            let key = format!("net.ipv6.conf.{which}.disable_ipv6=1");
            let _ = lab.output(Place::Home2, &["sysctl", "-qw", &key]).ok();
        }
        let file = clinic_file(lab, "interface = \"clinic0\"");
        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        wait_for_route(lab, "10.20.0.5");
        let mut shell = desk.tcp((CONSOLE, 22).into()).unwrap();
        echo(&mut shell, b"hello");
        let left = desk.wait_for("route-left-out", |event| {
            text(event, "route") == "fd65::7/128"
        });
        assert_eq!(text(&left, "why"), "IPv6 is turned off on this machine");
    });
}

/// The least that a path of IPv6 carries, from the first packet on: what fits no datagram goes over the stream.
#[test]
fn a_path_of_1280_bytes_is_enough() {
    Lab::run(|lab| {
        let _clinic = open(lab, "");
        let _console = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let narrow = ["ip", "link", "set", "eth0", "mtu", "1280"];
        let _ = lab.output(Place::Home2, &narrow).ok();
        let file = clinic_file(lab, "interface = \"clinic0\"");
        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        wait_for_route(lab, "10.20.0.5");
        let mut shell = desk.tcp((CONSOLE, 22).into()).unwrap();
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        echo(&mut shell, &bytes);
        assert_eq!(mtu(lab), 1280);
        assert_eq!(desk.count("lost") + desk.count("refused"), 0);
    });
}

/// A file may limit what the gateway says; the machine's own networks limit it anyway.
#[test]
fn a_machine_takes_only_what_is_right_for_it() {
    Lab::run(|lab| {
        let _clinic = open(lab, "");
        // A network of this machine where the PACS is, and a route of somebody where the HIS is.
        for line in [
            &[
                "ip", "link", "add", "lan7", "type", "veth", "peer", "name", "lan8",
            ][..],
            &["ip", "link", "set", "lan8", "up"],
            &["ip", "addr", "add", "10.20.1.1/24", "dev", "lan7"],
            &["ip", "link", "set", "lan7", "up"],
            &["ip", "route", "add", "10.20.2.10/32", "dev", "lan7"],
        ] {
            let _ = lab.output(Place::Home2, line).ok();
        }
        let before = network(lab);
        let file = clinic_file(lab, "interface = \"clinic0\"");
        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        wait_for_route(lab, "10.20.0.5");
        for (route, word) in [
            ("10.20.1.10/32", "network already"),
            ("10.20.2.10/32", "another way"),
        ] {
            let left = desk.wait_for("route-left-out", |event| text(event, "route") == route);
            assert!(text(&left, "why").contains(word), "{left}");
        }
        let way = lab
            .output(Place::Home2, &["ip", "route", "get", &PACS.to_string()])
            .ok();
        assert!(way.out.contains("lan7"), "{}", way.out);
        assert_eq!(desk.stop().code(), Some(0));
        assert_eq!(network(lab), before);

        let file = clinic_file(
            lab,
            "interface = \"clinic0\"\nnetworks = [\"10.20.1.0/24\"]",
        );
        let desk = Clinician::start(lab, Place::Home2, &file, &[]);
        wait_for_route(lab, "10.20.1.10");
        let left = desk.wait_for("route-left-out", |event| {
            text(event, "route") == "10.20.0.5/32"
        });
        assert!(text(&left, "why").contains("networks"), "{left}");
        assert_eq!(routes_of_interface(lab), ["10.20.1.10"]);
    });
}

/// DCMTK `echoscu` to the local port of the PACS.
fn echoscu(desk: &Clinician<'_>, calling: &str) -> Output {
    let line = "/usr/bin/echoscu -aec PACS1 127.0.0.1 11112 -aet";
    let mut line: Vec<&str> = line.split(' ').collect();
    line.push(calling);
    desk.run(&line)
}

fn local(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

fn routes_of_interface(lab: &Lab) -> Vec<String> {
    let said = lab.output(
        Place::Home2,
        &["ip", "-4", "route", "show", "dev", "clinic0"],
    );
    let first = said
        .out
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    first.map(str::to_owned).collect()
}

pub(super) fn wait_for_route(lab: &Lab, to: &str) {
    wait::for_true(&format!("a route to {to}"), wait::SOON, || {
        routes_of_interface(lab).iter().any(|route| route == to)
    });
}

fn mtu(lab: &Lab) -> u32 {
    let said = lab
        .output(Place::Home2, &["ip", "-o", "link", "show", "clinic0"])
        .ok();
    let mut words = said
        .out
        .split_whitespace()
        .skip_while(|word| *word != "mtu");
    words.nth(1).and_then(|word| word.parse().ok()).unwrap()
}
