//! What passes a tunnel and what does not.

use proptest::prelude::*;

use super::*;
use crate::masque::icmp::{self, Told};
use crate::masque::packet::{self, Dropped, Gate};

/// A packet of UDP, for IPv4 with a right checksum.
fn packet(source: &str, destination: &str, payload: usize) -> Vec<u8> {
    use std::net::IpAddr::{V4, V6};
    let length = u16::try_from(payload).unwrap();
    match (source.parse().unwrap(), destination.parse().unwrap()) {
        (V4(source), V4(destination)) => {
            let [high, low] = (length + 20).to_be_bytes();
            let mut packet = vec![0x45, 0, high, low, 0, 1, 0x40, 0, 64, 17, 0, 0];
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet::write_header_checksum(&mut packet, 20);
            packet.resize(20 + payload, 0xaa);
            packet
        }
        (V6(source), V6(destination)) => {
            let [high, low] = length.to_be_bytes();
            let mut packet = vec![0x60, 0, 0, 0, high, low, 17, 64];
            packet.extend(source.octets());
            packet.extend(destination.octets());
            packet.resize(40 + payload, 0xaa);
            packet
        }
        _ => panic!("mixed families"),
    }
}

fn gate() -> Gate {
    Gate {
        peer: vec![net("10.65.0.7/32"), net("fd65::7/128")],
        routes: vec![
            route("10.20.0.0", "10.20.0.255", 0),
            route("fd20::", "fd20::ff", 0),
            route("169.254.0.0", "169.254.0.9", 0),
            route("224.0.0.0", "224.0.0.9", 0),
        ],
    }
}

#[test]
fn the_peer_speaks_for_itself_to_where_it_may() {
    for (source, destination, verdict) in [
        ("10.65.0.7", "10.20.0.1", None),
        ("fd65::7", "fd20::1", None),
        ("10.65.0.8", "10.20.0.1", Some(Dropped::Source)),
        ("fd65::8", "fd20::1", Some(Dropped::Source)),
        ("10.20.0.1", "10.20.0.1", Some(Dropped::Source)),
        ("127.0.0.1", "10.20.0.1", Some(Dropped::Source)),
        ("10.65.0.7", "10.21.0.1", Some(Dropped::Destination)),
        ("fd65::7", "fd21::1", Some(Dropped::Destination)),
        ("10.65.0.7", "169.254.0.1", Some(Dropped::Link)),
        ("10.65.0.7", "224.0.0.1", Some(Dropped::Link)),
        ("10.65.0.7", "127.0.0.1", Some(Dropped::Link)),
        ("fd65::7", "fe80::1", Some(Dropped::Link)),
        ("fd65::7", "ff02::1", Some(Dropped::Link)),
    ] {
        let dropped = gate().from_peer(&packet(source, destination, 8)).err();
        assert_eq!(dropped, verdict, "{source} to {destination}");
    }
}

#[test]
fn padding_is_seen_and_lies_are_refused() {
    let good = packet("10.65.0.7", "10.20.0.1", 8);
    let padded = [&good[..], &[0; 4]].concat();
    assert_eq!(gate().from_peer(&padded).unwrap().length, 28);
    for cut in 0..good.len() {
        assert_eq!(gate().from_peer(&good[..cut]), Err(Dropped::Malformed));
    }
    for (at, byte) in [(0, 0x44), (0, 0x4f), (0, 0x55), (10, 0), (3, 19)] {
        let mut bad = good.clone();
        bad[at] ^= good[at] ^ byte;
        assert_eq!(gate().from_peer(&bad), Err(Dropped::Malformed), "{at}");
    }
    let six = packet("fd65::7", "fd20::1", 8);
    assert!(gate().from_peer(&six).is_ok());
    for cut in 0..six.len() {
        assert_eq!(gate().from_peer(&six[..cut]), Err(Dropped::Malformed));
    }
    //= RFC 2675 2
    for (next, verdict) in [(0, Some(Dropped::Malformed)), (59, None)] {
        let mut empty = six[..40].to_vec();
        empty[4..7].copy_from_slice(&[0, 0, next]);
        assert_eq!(gate().from_peer(&empty).err(), verdict, "{next}");
    }
}

#[test]
fn the_peer_hears_what_is_for_it_one_hop_later() {
    for (source, destination, hops, mtu, verdict) in [
        ("10.20.0.1", "10.65.0.7", 64, 1500, None),
        ("fd20::1", "fd65::7", 64, 1500, None),
        ("10.20.0.1", "10.65.0.7", 2, 1500, None),
        ("10.20.0.1", "10.65.0.7", 1, 1500, Some(Dropped::Hops)),
        ("fd20::1", "fd65::7", 0, 1500, Some(Dropped::Hops)),
        (
            "10.20.0.1",
            "10.65.0.8",
            64,
            1500,
            Some(Dropped::Destination),
        ),
        ("10.20.0.1", "10.65.0.7", 64, 120, None),
        ("10.20.0.1", "10.65.0.7", 64, 119, Some(Dropped::TooBig)),
        ("169.254.0.1", "10.65.0.7", 64, 1500, Some(Dropped::Link)),
        ("fe80::1", "fd65::7", 64, 1500, Some(Dropped::Link)),
    ] {
        let mut bytes = packet(source, destination, 100);
        let at = if bytes[0] == 0x45 { 8 } else { 7 };
        bytes[at] = hops;
        if at == 8 {
            packet::write_header_checksum(&mut bytes, 20);
        }
        let before = bytes.clone();
        let passed = gate().to_peer(&mut bytes, mtu);
        assert_eq!(passed.err(), verdict, "{source} to {destination}");
        if verdict.is_none() {
            assert_eq!(packet::head(&bytes).unwrap().hops, hops - 1);
            assert_eq!(bytes[12..], before[12..], "nothing else changes");
        } else {
            assert_eq!(bytes, before);
        }
    }
}

#[test]
fn a_client_sends_as_itself_and_takes_what_is_for_it() {
    for (source, destination, length, verdict) in [
        ("10.65.0.7", "10.20.0.1", 100, None),
        ("fd65::7", "fd20::1", 100, None),
        ("10.65.0.8", "10.20.0.1", 100, Some(Dropped::Source)),
        ("10.65.0.7", "10.21.0.1", 100, Some(Dropped::Destination)),
        ("10.65.0.7", "10.20.0.1", 101, Some(Dropped::TooBig)),
    ] {
        let mut bytes = packet(
            source,
            destination,
            length - if source.contains(':') { 40 } else { 20 },
        );
        let left = gate().leaves(&mut bytes, 100);
        assert_eq!(left.err(), verdict, "{source} to {destination}");
        let hops = if verdict.is_none() { 63 } else { 64 };
        assert_eq!(packet::head(&bytes).unwrap().hops, hops);
    }
    for (source, destination, protocol, verdict) in [
        ("10.20.0.1", "10.65.0.7", 17, None),
        ("10.21.0.1", "10.65.0.7", 17, Some(Dropped::Source)),
        ("10.21.0.1", "10.65.0.7", 1, None),
        ("10.20.0.1", "10.65.0.8", 17, Some(Dropped::Destination)),
        ("127.0.0.1", "10.65.0.7", 17, Some(Dropped::Link)),
    ] {
        let mut bytes = packet(source, destination, 8);
        bytes[9] = protocol;
        packet::write_header_checksum(&mut bytes, 20);
        assert_eq!(
            gate().arrives(&bytes).err(),
            verdict,
            "{source} to {destination}"
        );
    }
}

/// The checksum over the message, with the pseudo-header of IPv6, is all ones.
fn is_sound(answer: &[u8]) -> bool {
    let head = packet::head(answer).unwrap();
    let pseudo = if head.source.is_ipv4() {
        Vec::new()
    } else {
        let length = u32::try_from(head.length - 40).unwrap();
        [&answer[8..40], &length.to_be_bytes(), &[0, 0, 0, 58]].concat()
    };
    packet::sum(&[&pseudo, &answer[head.header..head.length]].concat()) == 0xffff
}

#[test]
fn senders_are_told_once_and_rightly() {
    let four = packet("10.20.0.1", "10.65.0.7", 1400);
    let six = packet("fd20::1", "fd65::7", 1400);
    let (ours_4, ours_6) = ("10.65.0.1".parse().unwrap(), "fd65::1".parse().unwrap());
    for (told, kind_4, kind_6) in [
        (Told::TooBig(1280), [3, 4, 5, 0], [2, 0, 5, 0]),
        (Told::HopsUsedUp, [11, 0, 0, 0], [3, 0, 0, 0]),
        (Told::Prohibited, [3, 13, 0, 0], [1, 1, 0, 0]),
    ] {
        let answer = icmp::answer(&four, told, ours_4).unwrap();
        let head = packet::head(&answer).unwrap();
        assert_eq!(
            (head.source, head.destination),
            (ours_4, "10.20.0.1".parse().unwrap())
        );
        assert_eq!((head.protocol, head.length, answer.len()), (1, 576, 576));
        assert_eq!([answer[20], answer[21], answer[26], answer[27]], kind_4);
        assert!(is_sound(&answer) && answer[28..] == four[..548]);
        assert_eq!(
            icmp::answer(&answer, told, ours_4),
            None,
            "no error about an error"
        );

        let answer = icmp::answer(&six, told, ours_6).unwrap();
        let head = packet::head(&answer).unwrap();
        assert_eq!(
            (head.source, head.destination),
            (ours_6, "fd20::1".parse().unwrap())
        );
        assert_eq!((head.protocol, head.length, answer.len()), (58, 1280, 1280));
        assert_eq!([answer[40], answer[41], answer[46], answer[47]], kind_6);
        assert!(is_sound(&answer) && answer[48..] == six[..1232]);
        assert_eq!(icmp::answer(&answer, told, ours_6), None);
    }
}

#[test]
fn some_are_told_nothing() {
    let ours = "10.65.0.1".parse().unwrap();
    let told = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = packet("10.20.0.1", "10.65.0.7", 40);
        change(&mut bytes);
        packet::write_header_checksum(&mut bytes, 20);
        icmp::answer(&bytes, Told::TooBig(1280), ours).is_some()
    };
    assert!(told(&|_| {}), "the twin");
    assert!(!told(&|bytes| bytes[6] = 0), "it may be fragmented");
    assert!(!told(&|bytes| bytes[7] = 1), "a later fragment");
    assert!(!told(&|bytes| (bytes[9], bytes[20]) = (1, 3)), "an error");
    assert!(told(&|bytes| (bytes[9], bytes[20]) = (1, 8)), "an echo");
    assert!(
        !told(&|bytes| bytes[12..16].copy_from_slice(&[224, 0, 0, 1])),
        "from many"
    );
    assert!(
        !told(&|bytes| bytes[12..16].copy_from_slice(&[0; 4])),
        "from nobody"
    );
    let six = packet("fd20::1", "fd65::7", 40);
    let ours_6 = "fd65::1".parse().unwrap();
    let told = |bytes: &[u8]| icmp::answer(bytes, Told::HopsUsedUp, ours_6).is_some();
    assert!(told(&six));
    assert_eq!(
        icmp::answer(&six, Told::HopsUsedUp, ours),
        None,
        "another family"
    );
    let mut fragment = six;
    fragment[6] = 44;
    fragment[42..44].copy_from_slice(&[0, 1]);
    assert!(told(&fragment), "the first fragment");
    fragment[42..44].copy_from_slice(&[0, 8]);
    assert!(!told(&fragment), "a later one");
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..120), first in prop_oneof![Just(0x45_u8), Just(0x46), Just(0x60)]) {
        let mut bytes = bytes;
        if let Some(byte) = bytes.first_mut() {
            *byte = first;
        }
        let _ = gate().from_peer(&bytes);
        for told in [Told::TooBig(1280), Told::HopsUsedUp, Told::Prohibited] {
            let _ = icmp::answer(&bytes, told, "10.65.0.1".parse().unwrap());
            let _ = icmp::answer(&bytes, told, "fd65::1".parse().unwrap());
        }
        let _ = gate().to_peer(&mut bytes, 1280);
    }
}
