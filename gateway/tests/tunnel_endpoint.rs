//! The endpoint against raw boringtun peers, in memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    clippy::cloned_ref_to_slice_refs,
    reason = "a test may fail loudly and needs a first instant"
)]

mod tunnel_memory;

use boringtun::noise::rate_limiter::RateLimiter;
use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::PublicKey;
use lazaret::tunnel::message::{Peer, TunnelEvent};
use lazaret::tunnel::peer::Change;
use proptest::prelude::*;
use tunnel_memory::*;

#[test]
fn packets_of_both_families_pass_both_ways() {
    let (mut gateway, mut device) = connected();
    for (ours, theirs) in [(GATEWAY_4, DEVICE_4), (GATEWAY_6, DEVICE_6)] {
        for length in [0, 1, 15, 16, 17, 500, 1380] {
            let up = packet(theirs, ours, length);
            assert_eq!(
                gateway.receive(&device.seal(&up), HOME).packets,
                [up.clone()]
            );
            let down = packet(ours, theirs, length);
            let sent = gateway.send(&down);
            assert_eq!(sent.len(), 1);
            assert_eq!(sent[0].1, path(HOME), "answered on the path of the peer");
            assert_eq!(device.open(&sent[0].0), Some(down.clone()));
            let sealed = sent[0].0.len() - 32;
            assert!(
                sealed % 16 == 0 || sealed == MTU.max(down.len()),
                "padded: {sealed}"
            );
        }
    }
    let full = packet(GATEWAY_4, DEVICE_4, MTU - 20);
    assert_eq!(
        gateway.send(&full)[0].0.len(),
        MTU + 32,
        "padding stays below the MTU"
    );
    let status = gateway.endpoint.status(gateway.now).remove(0);
    assert_eq!(status.endpoint, Some(address(HOME)));
    assert!(status.received > 4000 && status.sent > 5000 && status.handshake_seconds == Some(1));
    assert_eq!(
        gateway.events(),
        [TunnelEvent::Up {
            device: name("ecg")
        }]
    );
    assert_eq!(gateway.endpoint.drops(), Default::default());
}

#[test]
fn what_waited_for_the_session_goes_first() {
    let mut device = Device::new(1, None);
    let peer = Peer {
        endpoint: Some(address(HOME)),
        ..device.peer("ecg", &[DEVICE_4])
    };
    let mut gateway = Gateway::new(vec![peer]);
    let packets: Vec<_> = (1..=3).map(|n| packet(GATEWAY_4, DEVICE_4, n)).collect();
    let initiations: Vec<_> = packets
        .iter()
        .flat_map(|packet| gateway.send(packet))
        .collect();
    assert_eq!(initiations.len(), 1);
    let response = device.answer(&initiations[0].0).unwrap();
    let sent = gateway.receive(&response, HOME).datagrams;
    let opened: Vec<_> = sent
        .iter()
        .filter_map(|(datagram, _)| device.open(datagram))
        .collect();
    assert_eq!(opened, packets);
}

#[test]
fn replays_flips_and_cuts_are_refused() {
    let mut device = Device::new(1, None);
    let mut gateway = Gateway::new(vec![device.peer("ecg", &[DEVICE_4])]);
    let initiation = device.initiate();
    // The last 16 bytes are the second MAC, which counts under load only.
    for byte in 0..initiation.len() - 16 {
        let mut flipped = initiation.clone();
        flipped[byte] ^= 1 << (byte % 8);
        assert!(
            gateway.later(60).receive(&flipped, HOME).is_empty(),
            "byte {byte}"
        );
    }
    for length in 0..initiation.len() {
        assert!(
            gateway
                .later(60)
                .receive(&initiation[..length], HOME)
                .is_empty(),
            "cut {length}"
        );
    }
    let answers = gateway.later(60).receive(&initiation, HOME).datagrams;
    assert!(
        gateway.later(60).receive(&initiation, HOME).is_empty(),
        "replayed initiation"
    );
    let keepalive = device.answer(&answers[0].0).unwrap();
    assert!(gateway.receive(&keepalive, HOME).is_empty());

    let plain = packet(DEVICE_4, GATEWAY_4, 33);
    let sealed = device.seal(&plain);
    for byte in 0..sealed.len() {
        for bit in 0..8 {
            let mut flipped = sealed.clone();
            flipped[byte] ^= 1 << bit;
            assert!(
                gateway.receive(&flipped, AWAY).is_empty(),
                "byte {byte} bit {bit}"
            );
        }
    }
    for length in 0..sealed.len() {
        assert!(
            gateway.receive(&sealed[..length], AWAY).is_empty(),
            "cut {length}"
        );
    }
    assert_eq!(
        gateway.endpoint_of_device(),
        Some(address(HOME)),
        "forgeries do not move a peer"
    );
    assert_eq!(gateway.receive(&sealed, HOME).packets, [plain]);
    assert!(gateway.receive(&sealed, HOME).is_empty(), "replayed data");
    let long = vec![4; 9217];
    assert!(gateway.receive(&long, HOME).is_empty());
}

#[test]
fn strangers_and_their_sessions_are_dropped_and_told() {
    let (mut gateway, _) = connected();
    gateway.events();
    let mut stranger = Device::new(9, None);
    assert!(gateway.receive(&stranger.initiate(), AWAY).is_empty());
    let mut data = vec![4, 0, 0, 0, 9, 9, 9, 9];
    data.extend([0; 24]);
    assert!(gateway.receive(&data, AWAY).is_empty());
    let drops = gateway.endpoint.drops();
    assert_eq!(
        (
            drops.unknown_key,
            drops.unknown_session,
            drops.before_a_peer()
        ),
        (1, 1, 2)
    );
    gateway.tick();
    assert_eq!(gateway.events(), [TunnelEvent::Refused { handshakes: 1 }]);
    // For another gateway: the first MAC is wrong.
    let mut lost = Device::new(1, None);
    lost.tunn = Tunn::new(secret(1), PublicKey::from(&secret(77)), None, None, 1, None);
    assert!(gateway.receive(&lost.initiate(), AWAY).is_empty());
    assert_eq!(gateway.endpoint.drops().mac, 1);
}

//= C5
#[test]
fn the_source_must_be_the_peers_own_by_the_most_specific_prefix() {
    let (mut router, mut device) = (Device::new(1, None), Device::new(2, None));
    let mut gateway = Gateway::new(vec![
        router.peer("router", &["10.0.0.0/8", "fd64::/16"]),
        device.peer("device", &["10.1.2.3", "fd64::7"]),
    ]);
    router.handshake(&mut gateway, HOME);
    device.handshake(&mut gateway, AWAY);
    gateway.events();
    let cases = [
        ("10.1.2.4", true, false),
        ("10.1.2.3", false, true),
        ("192.0.2.1", false, false),
        ("fd64::8", true, false),
        ("fd64::7", false, true),
        ("2001:db8::1", false, false),
    ];
    for (source, of_router, of_device) in cases {
        let target = if source.contains(':') {
            GATEWAY_6
        } else {
            GATEWAY_4
        };
        let up = packet(source, target, 9);
        let passed = gateway.receive(&router.seal(&up), HOME).packets.len();
        assert_eq!(passed, usize::from(of_router), "{source} of the router");
        let passed = gateway.receive(&device.seal(&up), AWAY).packets.len();
        assert_eq!(passed, usize::from(of_device), "{source} of the device");
        let down = gateway.send(&packet(target, source, 9));
        let to = down.first().map(|(_, path)| path.remote);
        let expected = [(of_router, HOME), (of_device, AWAY)]
            .into_iter()
            .find(|(is, _)| *is);
        assert_eq!(to, expected.map(|(_, at)| address(at)), "to {source}");
    }
    assert_eq!(gateway.endpoint.drops().spoofed, 8);
    gateway.later(1000).tick();
    let mut events = gateway.events();
    events.sort_by_key(|event| format!("{event:?}"));
    let spoofed = |device, packets| TunnelEvent::Spoofed {
        device: name(device),
        packets,
    };
    assert_eq!(events, [spoofed("device", 4), spoofed("router", 4)]);
    gateway.receive(&device.seal(&packet("10.9.9.9", GATEWAY_4, 0)), AWAY);
    gateway.later(500).tick();
    assert!(gateway.events().is_empty(), "one event a second");
    gateway.later(500).tick();
    assert_eq!(gateway.events(), [spoofed("device", 1)]);
}

#[test]
fn absurd_inner_packets_end_here() {
    let (mut gateway, mut device) = connected();
    let good = packet(DEVICE_4, GATEWAY_4, 20);
    let with = |at: usize, bytes: &[u8]| {
        let mut packet = good.clone();
        packet[at..at + bytes.len()].copy_from_slice(bytes);
        packet
    };
    let mut absurd: Vec<Vec<u8>> = [0u16, 5, 19, 41, u16::MAX]
        .map(|l| with(2, &l.to_be_bytes()))
        .into();
    absurd.extend([
        with(0, &[0x44]),
        with(0, &[0x4f]),
        with(0, &[0x05]),
        with(0, &[0x75]),
    ]);
    absurd.extend([vec![0x45], vec![0x60], vec![0; 16], good[..19].to_vec()]);
    absurd.extend([
        packet(DEVICE_6, GATEWAY_6, 9)[..48].to_vec(),
        vec![0x60; 39],
    ]);
    for packet in &absurd {
        assert!(
            gateway.receive(&device.seal(packet), HOME).is_empty(),
            "{packet:02x?}"
        );
    }
    assert_eq!(gateway.endpoint.drops().not_ip, absurd.len() as u64);
    assert_eq!(
        gateway.receive(&device.seal(&good), HOME).packets,
        [good.clone()]
    );
    for packet in absurd
        .iter()
        .chain([&Vec::new(), &packet(GATEWAY_4, "10.9.9.9", 3)])
    {
        assert!(gateway.send(packet).is_empty(), "{packet:02x?}");
    }
    assert_eq!(gateway.endpoint.drops().unroutable, absurd.len() as u64 + 2);
}

#[test]
fn a_peer_moves_with_authentic_data_only() {
    let (mut gateway, mut device) = connected();
    let reach = |gateway: &mut Gateway| gateway.send(&packet(GATEWAY_4, DEVICE_4, 1))[0].1;
    gateway.receive(&device.seal(&packet(DEVICE_4, GATEWAY_4, 1)), AWAY);
    assert_eq!(reach(&mut gateway), path(AWAY));
    gateway.receive(&device.seal(&[]), HOME);
    assert_eq!(reach(&mut gateway), path(HOME), "a keepalive moves too");
    gateway.receive(&device.seal(&packet("10.9.9.9", GATEWAY_4, 1)), AWAY);
    assert_eq!(
        reach(&mut gateway),
        path(AWAY),
        "whose key it is decides, not what is inside"
    );

    let initiation = device.initiate();
    let answers = gateway.later(1000).receive(&initiation, HOME).datagrams;
    assert_eq!(
        answers[0].1,
        path(HOME),
        "the answer goes where the question came from"
    );
    assert_eq!(
        reach(&mut gateway),
        path(AWAY),
        "an initiation may be a replay"
    );
    let confirmation = device.answer(&answers[0].0).unwrap();
    gateway.receive(&confirmation, HOME);
    assert_eq!(
        reach(&mut gateway),
        path(HOME),
        "the use of its session is not"
    );
}

#[test]
fn a_cookie_reply_does_not_move_a_peer() {
    let mut device = Device::new(1, None);
    let peer = Peer {
        endpoint: Some(address(HOME)),
        ..device.peer("ecg", &[DEVICE_4])
    };
    let mut gateway = Gateway::new(vec![peer]);
    let initiation = gateway.send(&packet(GATEWAY_4, DEVICE_4, 1)).remove(0).0;
    let limiter = RateLimiter::new(&device.public, 0);
    let mut space = [0; 148];
    let challenged = limiter.verify_packet(Some(address(HOME).ip()), &initiation, &mut space);
    let Err(TunnResult::WriteToNetwork(cookie)) = challenged else {
        panic!("no cookie")
    };
    assert!(gateway.receive(cookie, AWAY).is_empty());
    assert_eq!(gateway.endpoint.drops().refused, 0, "the cookie was right");
    assert_eq!(gateway.endpoint_of_device(), Some(address(HOME)));
    cookie[40] ^= 1;
    gateway.receive(cookie, AWAY);
    assert_eq!(gateway.endpoint.drops().refused, 1);
    let response = device.answer(&initiation).unwrap();
    assert!(!gateway.receive(&response, AWAY).datagrams.is_empty());
    assert_eq!(
        gateway.endpoint_of_device(),
        Some(address(AWAY)),
        "a right response does"
    );
}

#[test]
fn a_flood_from_one_source_must_prove_its_address() {
    let mut flooder = Device::new(9, None);
    let mut device = Device::new(1, None);
    let mut gateway = Gateway::new(vec![device.peer("ecg", &[DEVICE_4])]);
    let answers: Vec<usize> = (0..20)
        .map(|_| {
            gateway
                .receive(&flooder.initiate(), HOME)
                .datagrams
                .iter()
                .map(|d| d.0.len())
                .sum()
        })
        .collect();
    assert_eq!(answers[..5], [0; 5]);
    assert!(
        answers[5..].iter().all(|length| *length == 64),
        "{answers:?}"
    );
    // Another source is not concerned.
    let mut other = Device::new(1, None);
    assert_eq!(
        gateway.receive(&other.initiate(), AWAY).datagrams[0]
            .0
            .len(),
        92
    );
    // A device at the flooded source proves itself and gets in.
    let cookie = gateway
        .receive(&device.initiate(), HOME)
        .datagrams
        .remove(0)
        .0;
    assert!(device.answer(&cookie).is_none());
    let answers = gateway.receive(&device.initiate(), HOME).datagrams;
    assert_eq!(answers[0].0.len(), 92);
    gateway.tick();
    assert_eq!(gateway.events(), [TunnelEvent::Refused { handshakes: 21 }]);
}

#[test]
fn a_preshared_key_changes_live() {
    let (mut gateway, mut device) = connected();
    gateway.events();
    let key = device.public.to_bytes();
    let change = Change {
        preshared_key: Some(Some([7; 32])),
        ..Change::default()
    };
    assert_eq!(
        gateway.endpoint.change(&key, change, gateway.now),
        ["preshared_key"]
    );
    assert!(
        gateway
            .endpoint
            .change(&key, change, gateway.now)
            .is_empty(),
        "as it was"
    );
    assert_eq!(
        gateway.events(),
        [TunnelEvent::Down {
            device: name("ecg")
        }]
    );
    let up = packet(DEVICE_4, GATEWAY_4, 1);
    assert!(
        gateway.receive(&device.seal(&up), HOME).is_empty(),
        "the old session is gone"
    );
    let answer = gateway
        .later(1000)
        .receive(&device.initiate(), HOME)
        .datagrams
        .remove(0)
        .0;
    assert!(
        device.answer(&answer).is_none(),
        "without the key there is no session"
    );
    let mut device = Device::new(1, Some([7; 32]));
    device.handshake(gateway.later(1000), HOME);
    assert_eq!(
        gateway.receive(&device.seal(&up), HOME).packets,
        [up.clone()]
    );
    // The policy as it was does not undo it; a new policy does.
    let same = device.peer("ecg", &[DEVICE_4, DEVICE_6]);
    gateway
        .endpoint
        .replace_peers(vec![same.clone()], gateway.now);
    assert_eq!(gateway.receive(&device.seal(&up), HOME).packets.len(), 1);
    let other = Peer {
        preshared_key: Some([8; 32]),
        ..same
    };
    gateway.endpoint.replace_peers(vec![other], gateway.now);
    assert!(gateway.receive(&device.seal(&up), HOME).is_empty());
}

//= C9
#[test]
fn a_new_list_cuts_the_absent_and_keeps_the_others() {
    let (mut first, mut second) = (Device::new(1, None), Device::new(2, None));
    let mut gateway = Gateway::new(vec![
        first.peer("one", &["10.0.0.1"]),
        second.peer("two", &["10.0.0.2"]),
    ]);
    first.handshake(&mut gateway, HOME);
    second.handshake(&mut gateway, AWAY);
    gateway.events();
    let passes = |gateway: &mut Gateway, device: &mut Device, source: &str| {
        gateway
            .receive(&device.seal(&packet(source, GATEWAY_4, 1)), HOME)
            .packets
            .len()
            == 1
    };
    // Another address for the first, the second is gone.
    gateway
        .endpoint
        .replace_peers(vec![first.peer("one", &["10.0.0.9"])], gateway.now);
    assert_eq!(
        gateway.events(),
        [TunnelEvent::Down {
            device: name("two")
        }]
    );
    assert!(passes(&mut gateway, &mut first, "10.0.0.9"));
    assert!(!passes(&mut gateway, &mut first, "10.0.0.1"));
    assert!(!passes(&mut gateway, &mut second, "10.0.0.2"));
    assert!(gateway.send(&packet(GATEWAY_4, "10.0.0.2", 1)).is_empty());
    assert!(
        gateway
            .later(1000)
            .receive(&second.initiate(), AWAY)
            .is_empty()
    );
    // The key of the first goes to another device: its session does not.
    gateway
        .endpoint
        .replace_peers(vec![first.peer("three", &["10.0.0.9"])], gateway.now);
    assert_eq!(
        gateway.events(),
        [TunnelEvent::Down {
            device: name("one")
        }]
    );
    assert!(!passes(&mut gateway, &mut first, "10.0.0.9"));
    let mut first = Device::new(1, None);
    first.handshake(gateway.later(1000), HOME);
    assert!(passes(&mut gateway, &mut first, "10.0.0.9"));
    assert_eq!(
        gateway.events(),
        [TunnelEvent::Up {
            device: name("three")
        }]
    );
}

#[test]
fn session_indices_tell_nothing() {
    let indices = |seed: u8| -> Vec<u32> {
        let mut devices: Vec<_> = (1..=4).map(|n| Device::new(n, None)).collect();
        let peers = devices.iter().map(|d| d.peer("d", &[])).collect();
        let mut gateway = Gateway::seeded(peers, seed);
        let answers = devices.iter_mut().map(|device| {
            let answer = gateway
                .later(1000)
                .receive(&device.initiate(), HOME)
                .datagrams
                .remove(0)
                .0;
            u32::from_le_bytes(answer[4..8].try_into().unwrap()) >> 8
        });
        answers.collect()
    };
    let (some, others) = (indices(1), indices(2));
    assert_ne!(some, others);
    let mut all = [some, others].concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 8);
    assert!(all.iter().any(|index| *index > 1 << 20), "{all:?}");
}

proptest! {
    #[test]
    fn no_datagram_harms(kind in 0u8..6, own in any::<bool>(), rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (mut gateway, mut device) = connected();
        let ours = u32::from_le_bytes(device.seal(&[])[4..8].try_into().unwrap());
        for length in [0, 28, 60, 88, 144] {
            let mut datagram = vec![kind, 0, 0, 0];
            datagram.extend(rest.iter().copied().chain(std::iter::repeat(0)).take(length));
            if own && length > 0 {
                let at = if kind == 2 { 8 } else { 4 };
                datagram[at..at + 4].copy_from_slice(&ours.to_le_bytes());
            }
            prop_assert!(gateway.receive(&datagram, AWAY).is_empty());
        }
        gateway.send(&rest);
        let up = packet(DEVICE_4, GATEWAY_4, 5);
        prop_assert_eq!(gateway.receive(&device.seal(&up), HOME).packets, [up]);
    }
}

//= C5
#[test]
fn a_device_with_two_keys_has_its_address_by_the_one_that_shook_hands_last() {
    let (mut old, mut new) = (Device::new(1, None), Device::new(2, None));
    let both = |old: &Device, new: &Device| {
        let allowed = &["10.0.0.1"];
        vec![old.peer("one", allowed), new.peer("one", allowed)]
    };
    let mut gateway = Gateway::new(both(&old, &new));
    let up = packet("10.0.0.1", GATEWAY_4, 1);
    let down = packet(GATEWAY_4, "10.0.0.1", 1);
    old.handshake(&mut gateway, HOME);
    assert_eq!(gateway.receive(&old.seal(&up), HOME).packets.len(), 1);
    // The policy is made anew for another reason: who speaks goes on.
    let list = both(&old, &new);
    gateway.endpoint.replace_peers(list, gateway.now);
    assert_eq!(gateway.receive(&old.seal(&up), HOME).packets.len(), 1);
    assert_eq!(gateway.send(&down)[0].1.remote, HOME.parse().unwrap());
    new.handshake(gateway.later(1000), AWAY);
    assert_eq!(gateway.receive(&new.seal(&up), AWAY).packets.len(), 1);
    assert_eq!(gateway.send(&down)[0].1.remote, AWAY.parse().unwrap());
    // The overlap is over: the old key is nobody's.
    let list = vec![new.peer("one", &["10.0.0.1"])];
    gateway.endpoint.replace_peers(list, gateway.now);
    assert!(gateway.receive(&old.seal(&up), HOME).is_empty());
    assert_eq!(gateway.receive(&new.seal(&up), AWAY).packets.len(), 1);
    // Another device never takes it over, whatever it shakes.
    let mut other = Device::new(3, None);
    let list = vec![
        new.peer("one", &["10.0.0.1"]),
        other.peer("two", &["10.0.0.2"]),
    ];
    gateway.endpoint.replace_peers(list, gateway.now);
    other.handshake(gateway.later(1000), HOME);
    assert!(gateway.receive(&other.seal(&up), HOME).packets.is_empty());
    assert_eq!(gateway.send(&down)[0].1.remote, AWAY.parse().unwrap());
}
