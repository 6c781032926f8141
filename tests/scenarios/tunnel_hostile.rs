//! A device that is who it says, and sends what no device should: its key is right, the packets inside are not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use e2e::{Behaviour, CONSOLE, Clinic, Lab, PACS, Place, Sink, Watch, hl7, memory, text, wait};

/// Lengths, header lengths, versions and fragments that are not true. None leaves the tunnel as something else.
//= C7
#[test]
fn absurd_inner_packets_do_nothing() {
    let own4 = Ipv4Addr::new(10, 64, 0, 1);
    let own6: Ipv6Addr = "fd64::1".parse().unwrap();
    let to4: Ipv4Addr = "10.20.1.10".parse().unwrap();
    let to6: Ipv6Addr = "fd20::5".parse().unwrap();
    let mut packets = Vec::new();
    for length in [0, 1, 5, 19, 20, 21, 27, 29, 1000, 0x7fff, 0xffff] {
        let mut packet = udp4(own4, to4);
        packet[2..4].copy_from_slice(&u16::to_be_bytes(length));
        packets.push(packet);
        let mut packet = udp6(own6, to6);
        packet[4..6].copy_from_slice(&u16::to_be_bytes(length));
        packets.push(packet);
    }
    for first in [0x40, 0x41, 0x44, 0x46, 0x4f, 0x00, 0x50, 0x70, 0xf5, 0xff] {
        let mut packet = udp4(own4, to4);
        packet[0] = first;
        packets.push(packet);
    }
    for cut in [20, 21, 24, 27] {
        packets.push(udp4(own4, to4)[..cut].to_vec());
        packets.push(udp6(own6, to6)[..cut + 20].to_vec());
    }
    // Fragments that overlap, that never end, that reach beyond 65,535.
    for (offset, more) in [(0, true), (1, true), (0x1fff, false), (0x1fff, true)] {
        let mut packet = udp4(own4, to4);
        packet[6..8].copy_from_slice(&u16::to_be_bytes(offset | if more { 0x2000 } else { 0 }));
        packets.push(packet);
    }
    // TCP with a header longer than the packet, all flags, port 0; ICMP errors that quote nothing.
    for (protocol, body) in [
        (6_u8, vec![0xff; 20]),
        (6, vec![0; 20]),
        (6, vec![0; 3]),
        (1, vec![3, 4, 0, 0]),
        (1, vec![5, 1, 0, 0, 10, 64, 0, 3]),
        (41, udp6(own6, to6)),
        (4, udp4(own4, to4)),
        (255, vec![0xaa; 1300]),
    ] {
        packets.push(ipv4(own4, to4, protocol, &body));
        packets.push(ipv6(own6, to6, protocol, &body));
    }
    // Extension headers of IPv6: hop by hop that runs over the end, a routing header, a chain.
    for next in [0_u8, 43, 44, 60] {
        packets.push(ipv6(own6, to6, next, &[next, 0xff, 0, 0, 0, 0, 0, 0]));
        packets.push(ipv6(
            own6,
            to6,
            next,
            &[next, 0, 0, 0, 0, 0, 0, 0].repeat(100),
        ));
    }
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let bystander = clinic.bystander();
        let mut other = bystander.mllp(clinic.his.address());
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B0")).code, "AA");
        let before = clinic.gateway.workers();
        let (used, _) = memory(before["tunnel-wireguard"]);
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        for _ in 0..20 {
            clinic.ecg.inject(&packets);
        }
        // The same device and another one work on.
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("I"))
                .code,
            "AA"
        );
        assert_eq!(other.exchange(&hl7::oru_from("ECG|WARD3", "B1")).code, "AA");
        let seen = watch.stop();
        assert_eq!(seen.packets_to(PACS), 0);
        assert_eq!(seen.packets_to(to6.into()), 0);
        assert_eq!(clinic.gateway.workers(), before, "a worker was restarted");
        let (now, _) = memory(before["tunnel-wireguard"]);
        assert!(now < used + (8 << 10), "grew from {used} to {now} KiB");
    });
}

/// Source addresses of others, of nobody, of the gateway, of the hospital, of no unicast: reported, and nowhere seen.
//= C5
#[test]
fn spoofed_sources_of_both_families_are_dropped_and_reported() {
    Lab::run(|lab| {
        let clinic = Clinic::open(lab);
        let desk = e2e::Device::connect(lab, &clinic.site, "desk-1", Place::Clinician);
        let console6: IpAddr = "fd20::5".parse().unwrap();
        let four = Sink::listen(lab, Place::Hospital, (CONSOLE, 22).into(), Behaviour::Echo);
        let six = Sink::listen(
            lab,
            Place::Hospital,
            (console6, 3389).into(),
            Behaviour::Echo,
        );
        let watch = Watch::start(lab, Place::Hospital, "eth0");
        let at_desk = Watch::start(lab, Place::Clinician, "wg1");
        let mut packets = Vec::new();
        let fours = [
            "10.64.0.3",
            "10.64.255.254",
            "10.20.0.5",
            "10.20.0.1",
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.51.100.10",
            "10.64.255.255",
        ];
        for source in fours.map(|address| address.parse::<Ipv4Addr>().unwrap()) {
            for to in [[10, 20, 0, 5], [10, 64, 0, 3], [10, 64, 255, 254]] {
                packets.push(ipv4(source, to.into(), 6, &syn(22)));
            }
        }
        let sixes = [
            "fd64::3",
            "fd64::ffff",
            "fd20::5",
            "fd20::1",
            "::1",
            "::",
            "ff02::1",
            "fe80::1",
            "::ffff:10.64.0.3",
        ];
        for source in sixes.map(|address| address.parse::<Ipv6Addr>().unwrap()) {
            for to in ["fd20::5", "fd64::3", "fd64::ffff"] {
                packets.push(ipv6(source, to.parse().unwrap(), 6, &syn(3389)));
            }
        }
        let spoofed = u64::try_from(packets.len()).unwrap();
        clinic.ecg.inject(&packets);
        wait::for_true("all are reported", wait::SOON, || {
            reported(&clinic.gateway.journal()) >= spoofed
        });
        assert!(four.received().is_empty() && six.received().is_empty());
        let (seen, at_desk) = (watch.stop(), at_desk.stop());
        for address in [CONSOLE, console6] {
            assert_eq!(seen.packets_to(address), 0, "{address}");
        }
        for source in fours.iter().chain(&sixes) {
            let source: IpAddr = source.parse().unwrap();
            assert!(
                desk.addresses().contains(&source) || at_desk.packets_from(source) == 0,
                "{source}"
            );
        }
        // The twin: the device whose addresses were abused reaches both.
        for to in [(CONSOLE, 22), (console6, 3389)] {
            assert!(desk.tcp(to.into()).is_ok());
        }
        assert_eq!(
            clinic
                .ecg
                .mllp(clinic.his.address())
                .exchange(&hl7::oru("S"))
                .code,
            "AA"
        );
    });
}

/// How many packets with a foreign source the journal tells of.
fn reported(records: &[serde_json::Value]) -> u64 {
    let spoofed = records
        .iter()
        .filter(|record| text(record, "event") == "source-spoofed");
    spoofed
        .filter_map(|record| record["packets"].as_u64())
        .sum()
}

pub(super) fn udp4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    ipv4(from, to, 17, &[0x30, 0x39, 0, 104, 0, 8, 0, 0])
}

pub(super) fn udp6(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    ipv6(from, to, 17, &[0x30, 0x39, 0, 104, 0, 8, 0, 0])
}

/// The first segment of a TCP connection; nobody on the way to a refusal looks at its checksum.
fn syn(port: u16) -> Vec<u8> {
    let mut head = vec![
        0x30, 0x39, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0,
    ];
    head[2..4].copy_from_slice(&port.to_be_bytes());
    head
}

pub(super) fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap().to_be_bytes();
    let mut packet = vec![
        0x45, 0, length[0], length[1], 0, 1, 0, 0, 64, protocol, 0, 0,
    ];
    packet.extend(from.octets().into_iter().chain(to.octets()));
    let sum: u32 = packet
        .chunks(2)
        .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])))
        .sum();
    let folded = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    packet[10..12].copy_from_slice(&folded.to_be_bytes());
    packet.extend(body);
    packet
}

pub(super) fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], next, 64];
    packet.extend(from.octets().into_iter().chain(to.octets()));
    packet.extend(body);
    packet
}
