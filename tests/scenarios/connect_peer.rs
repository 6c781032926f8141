//! Our client and a server that is not ours, good and bad; and what a dissector that is not ours makes of both tunnels.

use std::net::SocketAddr;

use e2e::{
    Behaviour, ClinicFile, Clinician, Lab, Place, Process, Sink, peer_program, peer_script, text,
    wait,
};
use rustix::process::Signal;

use super::connect::{echo, gateway, open, wait_for_route};
use super::quic;

const INSIDE: &str = "10.20.0.5";

fn server(lab: &Lab, mode: &str) -> Process {
    let (python, script) = (peer_program("python"), peer_script("connect_ip_server.py"));
    let listen = gateway().to_string();
    let (cert, key) = (quic::file(lab, "server.pem"), quic::file(lab, "server.key"));
    let line = [
        &python,
        &script,
        "--listen",
        &listen,
        "--cert",
        &cert,
        "--key",
        &key,
        "--tun",
        "ts0",
        "--address",
        INSIDE,
        "--mode",
        mode,
    ];
    let mut process = lab.start(Place::Gateway, &format!("server-{mode}"), &line);
    process.wait_for_output("listening");
    process
}

fn desk<'a>(lab: &'a Lab, more: &str) -> Clinician<'a> {
    let lines = format!("interface = \"clinic0\"\n{more}");
    let file = ClinicFile::write(&quic::folder(lab), "desk-7", gateway(), &lines);
    Clinician::start(lab, Place::Home2, &file, &[])
}

#[test]
fn our_client_works_with_a_server_of_others() {
    Lab::run(|lab| {
        quic::certificates(lab, &["server"]);
        let mut server = server(lab, "good");
        let inside: SocketAddr = (INSIDE.parse::<std::net::IpAddr>().unwrap(), 7).into();
        let _echo = Sink::listen(lab, Place::Gateway, inside, Behaviour::Echo);
        let desk = desk(lab, "");
        let connected = desk.wait("connected");
        // It knows no hybrid key exchange.
        assert_eq!(connected["post_quantum"], false, "{connected}");
        assert!(!text(&connected, "key_exchange").is_empty(), "{connected}");
        server.wait_for_output("request connect-ip /.well-known/masque/ip/%2A/%2A/");
        wait_for_route(lab, INSIDE);
        let mut stream = desk.tcp(inside).unwrap();
        echo(&mut stream, b"hello");
        let bytes: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        echo(&mut stream, &bytes);
        drop(stream);
        assert_eq!(desk.stop().code(), Some(0));
        server.wait_for_output("closed 0x100");

        // Where it is required there is no tunnel.
        let file = "post_quantum = \"required\"";
        let file = ClinicFile::write(&quic::folder(lab), "desk-7", gateway(), file);
        let said = file.once(lab, Place::Home2, &[]);
        assert_eq!(said.code, 5, "{}", said.all());
        assert!(said.all().contains("post_quantum"), "{}", said.all());
    });
}

/// A server that is not what it seems: this machine keeps its other traffic, and says what is wrong.
#[test]
fn a_bad_server_gets_no_other_traffic() {
    Lab::run(|lab| {
        quic::certificates(lab, &["server"]);
        for (mode, event, word) in [
            ("wide", "route-left-out", "no other side"),
            ("halves", "route-left-out", "too wide"),
            ("lan", "route-left-out", "network already"),
            ("endless", "lost", "all the time"),
            ("skipped", "lost", "broke the rules"),
            ("malformed", "lost", "broke the rules"),
            ("silent", "lost", "no tunnel in time"),
            ("mute", "lost", "no tunnel in time"),
        ] {
            let server = server(lab, mode);
            let desk = desk(lab, "");
            let told = desk.wait_for(event, |one| text(one, "why").contains(word));
            assert!(!told.is_null());
            for address in ["192.0.2.1", "198.51.100.70", "10.99.0.1"] {
                let way = lab
                    .output(Place::Home2, &["ip", "route", "get", address])
                    .ok();
                assert!(way.out.contains("eth0"), "{mode}: {}", way.out);
            }
            let own = lab.output(Place::Home2, &["ip", "-o", "addr", "show", "clinic0"]);
            assert!(!own.out.contains("198.51.100"), "{mode}: {}", own.out);
            assert_eq!(desk.stop().code(), Some(0));
            drop(server);
            wait::for_true("its interface is gone", wait::SOON, || {
                lab.output(Place::Gateway, &["ip", "link", "show", "ts0"])
                    .code
                    != 0
            });
        }
    });
}

/// tshark reads the handshake and what is said on the connection, with the keys that the other client wrote down.
#[test]
fn a_dissector_of_others_finds_nothing_malformed() {
    Lab::run(|lab| {
        // A capture on the same machine sees trains of packets as one.
        let clinic = open(lab, "segmentation_offload = false");
        let (capture, keys) = (lab.directory().join("quic.pcap"), quic::file(lab, "keys"));
        let path = capture.display().to_string();
        let (python, script) = (peer_program("python"), peer_script("capture.py"));
        let line = [&python, &script, "wan0", &path, "65535"];
        let mut watch = lab.start(Place::Gateway, "capture", &line.map(AsRef::as_ref));
        watch.wait_for_output("listening");
        let mut client = quic::connect(lab, "desk-7", &["--keylog", &keys]);
        client.wait_for_output("service his-results");
        let mut his = quic::mllp(lab);
        let message = e2e::hl7::oru_from("DESK|HOME", "D1");
        assert_eq!(his.exchange(&message).code, "AA");
        client.signal(Signal::TERM);
        let _ = client.wait_for_end();
        watch.signal(Signal::INT);
        let _ = watch.wait_for_end();
        assert_eq!(clinic.his.wait_for(1).len(), 1);

        let retry = dissect(lab, &path, "", "quic.long.packet_type == 3");
        assert_eq!(retry.len(), 1, "{retry:?}");
        assert!(!dissect(lab, &path, "", "tls.handshake.type == 1").is_empty());
        // The client begins anew after the retry, with other secrets than the dissector looks for.
        let after = format!("{path}.after");
        let number = retry[0].split_whitespace().next().unwrap();
        let later = format!("frame.number > {number}");
        let line = ["tshark", "-n", "-r", &path, "-Y", &later, "-w", &after];
        let _ = lab.output(Place::Gateway, &line).ok();
        for (filter, what) in [
            ("tls.handshake.type == 13", "a request for a certificate"),
            ("http3.settings", "settings"),
            ("http3.frame_type == 1", "the request"),
            ("quic.frame_type in {0x30, 0x31}", "packets"),
        ] {
            let found = dissect(lab, &after, &keys, filter);
            assert!(!found.is_empty(), "{what}");
        }
        for file in [&path, &after] {
            let malformed = dissect(lab, file, &keys, "_ws.malformed");
            assert!(malformed.is_empty(), "{malformed:#?}");
        }
    });
}

/// The lines of a capture that a filter lets through.
fn dissect(lab: &Lab, capture: &str, keys: &str, filter: &str) -> Vec<String> {
    let keys = format!("tls.keylog_file:{keys}");
    let line = [
        "tshark",
        "-n",
        "-r",
        capture,
        "-o",
        &keys,
        "-d",
        "udp.port==443,quic",
        "-Y",
        filter,
    ];
    let said = lab.output(Place::Gateway, &line).ok();
    said.out.lines().map(str::to_owned).collect()
}
