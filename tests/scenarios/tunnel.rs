//! The tunnel against an independent implementation and a dishonest network.

use std::time::Duration;

use e2e::tunnel::{Middle, knock};
use e2e::{Clinic, Device, Gateway, Lab, Place, Site, hl7, text, wait, wan4, wan6};

#[test]
fn a_device_connects_over_both_families_and_roams() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let exchange = |control: &str| {
            let mut client = clinic.ecg.mllp(clinic.his.address());
            assert_eq!(client.exchange(&hl7::oru(control)).code, "AA");
        };
        exchange("V4");
        // The same connection survives a new outer address and a change of the family.
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("R0")).code, "AA");
        clinic.ecg.roam();
        assert_eq!(client.exchange(&hl7::oru("R1")).code, "AA");
        clinic.ecg.dial(wan6());
        assert_eq!(client.exchange(&hl7::oru("R2")).code, "AA");
        exchange("V6");
        let shown = clinic.gateway.json(&["device", "show", "ecg-0042"]);
        let endpoint = text(&shown["devices"][0], "endpoint");
        assert!(endpoint.starts_with("[2001:db8:1:"), "{endpoint}");
        clinic
            .gateway
            .wait_for_record("tunnel-up", |record| text(record, "device") == "ecg-0042");
    });
}

#[test]
fn an_unknown_key_gets_no_answer() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let stranger = Device::prepare(lab, &site, "stranger", Place::Home2);
        stranger.dial(wan4());
        let known = Device::connect(lab, &site, "ecg-0042", Place::Home1);
        gateway.wait_for_record("handshakes-refused", |_| true);
        assert_eq!(stranger.handshake(), 0);
        assert!(known.handshake() > 0);
        assert_eq!(gateway.status()["devices"]["connected"], 1);
    });
}

#[test]
fn replayed_cut_and_changed_datagrams_do_nothing() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let gateway = Gateway::start(lab, &site);
        let his = e2e::His::start(lab);
        let middle = Middle::start(lab);
        let ecg = Device::prepare(lab, &site, "ecg-0042", Place::Home1);
        ecg.dial(middle.address());
        ecg.wait_for_handshake();
        let mut client = ecg.mllp(his.address());
        assert_eq!(client.exchange(&hl7::oru("M0")).code, "AA");

        let received = || {
            gateway.json(&["device", "show", "ecg-0042"])["devices"][0]["received"]
                .as_u64()
                .unwrap()
        };
        let before = received();
        let (initiations, data) = (middle.recorded(1), middle.recorded(4));
        assert!(!initiations.is_empty() && data.len() > 2);
        let mut hostile: Vec<Vec<u8>> = Vec::new();
        for datagram in initiations.iter().chain(data.iter().rev().take(10)) {
            hostile.push(datagram.clone());
            for length in [0, 1, 3, 4, 15, 16, 31, 32, datagram.len() - 1] {
                hostile.push(datagram[..length.min(datagram.len())].to_vec());
            }
            for bit in 0..datagram.len() * 8 {
                if bit % 37 == 0 {
                    let mut changed = datagram.clone();
                    changed[bit / 8] ^= 1 << (bit % 8);
                    hostile.push(changed);
                }
            }
        }
        for first in 0..=255 {
            hostile.push(vec![first; 148]);
        }
        for datagram in &hostile {
            middle.inject(datagram);
        }
        // A message of the device comes through after all of that, and only it was counted.
        assert_eq!(client.exchange(&hl7::oru("M1")).code, "AA");
        assert_eq!(his.wait_for(2).len(), 2);
        let grown = received() - before;
        assert!(grown < 4000, "replayed packets were counted: {grown} bytes");
        assert_eq!(gateway.workers().len(), 4);
        assert_eq!(gateway.status()["workers"][0]["restarts"], 0);
    });
}

#[test]
fn strangers_learn_nothing() {
    Lab::run(|lab| {
        let site = Site::standard(lab);
        let _gateway = Gateway::start(lab, &site);
        let middle = Middle::start(lab);
        let ecg = Device::prepare(lab, &site, "ecg-0042", Place::Home1);
        ecg.dial(middle.address());
        ecg.wait_for_handshake();
        let initiation = &middle.recorded(1)[0];
        let mut changed = initiation.clone();
        changed[100] ^= 1;
        // Replayed from elsewhere, changed, too short, no message at all: silence.
        for datagram in [
            initiation.as_slice(),
            &changed,
            &initiation[..100],
            b"hello",
            &[0xff; 1400],
        ] {
            let answer = knock(lab, Place::Home2, datagram, Duration::from_millis(300));
            assert_eq!(answer, None, "{} bytes were answered", datagram.len());
        }
    });
}

#[test]
fn a_flood_of_handshakes_harms_nobody() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let tunnel = clinic.gateway.workers()["tunnel-wireguard"];
        let (before, _) = e2e::memory(tunnel);
        let socket = lab.inside(Place::Home2, || {
            std::net::UdpSocket::bind("0.0.0.0:0").unwrap()
        });
        socket.connect(wan4()).unwrap();
        let mut datagram = [0_u8; 148];
        datagram[0] = 1;
        for number in 0..20_000_u32 {
            datagram[4..8].copy_from_slice(&number.to_le_bytes());
            let _ = socket.send(&datagram);
        }
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("F")).code, "AA");
        let (after, _) = e2e::memory(tunnel);
        assert!(
            after < before + (16 << 10),
            "grew from {before} to {after} KiB"
        );
    });
}

/// The tools that operators know work on the running gateway; what contradicts the policy is refused.
#[test]
fn wg_shows_and_sets() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let wg = |line: &[&str]| {
            let mut all = vec!["wg"];
            all.extend(line);
            lab.output(Place::Gateway, &all)
        };
        let key = clinic.site.public_key("ecg-0042");
        let shown = wg(&["show", "lz-wg"]).ok();
        assert!(shown.out.contains(&format!("peer: {key}")), "{}", shown.out);
        assert!(shown.out.contains("listening port: 51820"), "{}", shown.out);
        assert!(shown.out.contains("latest handshake"), "{}", shown.out);
        let dump = wg(&["show", "lz-wg", "dump"]).ok();
        assert_eq!(dump.out.lines().count(), 5, "{}", dump.out);

        let _ = wg(&["set", "lz-wg", "peer", &key, "persistent-keepalive", "21"]).ok();
        let keepalive = wg(&["show", "lz-wg", "persistent-keepalive"]).ok();
        assert!(
            keepalive.out.contains(&format!("{key}\t21")),
            "{}",
            keepalive.out
        );
        clinic.gateway.wait_for_record("peer-changed", |record| {
            text(record, "device") == "ecg-0042"
        });

        let stranger = clinic.site.public_key("stranger");
        for line in [
            [
                "set",
                "lz-wg",
                "peer",
                &stranger,
                "allowed-ips",
                "10.64.9.9/32",
            ],
            ["set", "lz-wg", "peer", &key, "allowed-ips", "0.0.0.0/0"],
        ] {
            assert_ne!(wg(&line).code, 0, "{line:?}");
        }
        assert_ne!(wg(&["set", "lz-wg", "peer", &key, "remove"]).code, 0);
        clinic
            .gateway
            .wait_for_record("peer-change-refused", |_| true);
        let mut client = clinic.ecg.mllp(clinic.his.address());
        assert_eq!(client.exchange(&hl7::oru("W")).code, "AA");
    });
}

#[test]
fn devices_come_back_after_a_restart_of_the_gateway() {
    Lab::run(|lab| {
        let Clinic {
            site,
            gateway,
            his,
            ecg,
            ..
        } = Clinic::open(lab);
        assert!(gateway.stop().success());
        let _gateway = Gateway::start(lab, &site);
        // Nobody touches the device: wireguard-go shakes hands again by itself.
        wait::for_true("traffic", Duration::from_secs(30), || {
            let Ok(stream) = ecg.tcp(his.address()) else {
                return false;
            };
            hl7::Client::new(stream).exchange(&hl7::oru("B1")).code == "AA"
        });
    });
}
