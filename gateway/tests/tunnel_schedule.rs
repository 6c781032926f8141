//! When the endpoint speaks, with a noise library that does nothing and a clock that is ours.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and needs a first instant"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use lazaret::tunnel::message::{Peer, TunnelEvent};
use lazaret::tunnel::noise::{Noise, NoisePeer, Opened, Sealed, Ticked, Verified};
use lazaret::tunnel::peer::{Change, Path};
use lazaret::tunnel::wireguard::{Endpoint, Output};
use zeroize::Zeroizing;

#[test]
fn every_peer_has_its_turn_every_250_ms() {
    let mut world = World::new((0..1000).map(|n| peer(n, 0)).collect());
    let mut last = vec![0; 1000];
    // Calls come late at times.
    let steps = [50, 50, 50, 47, 50, 50, 53, 50, 120, 50, 300, 50, 50, 50];
    for step in steps.into_iter().cycle().take(200) {
        world.pass(step);
        for (number, ticks) in world.heard.borrow().ticks.iter() {
            let behind = world.milliseconds - ticks.last().copied().unwrap_or(0);
            assert!(behind <= 250.max(step), "peer {number} {behind} ms behind");
            last[*number] = ticks.len();
        }
        world
            .heard
            .borrow_mut()
            .ticks
            .values_mut()
            .for_each(|ticks| {
                ticks.drain(..ticks.len().saturating_sub(1));
            });
    }
    assert!(last.iter().all(|ticks| *ticks > 0), "nobody is skipped");
}

#[test]
fn a_silent_peer_with_keepalive_is_called_for_ever_and_not_in_step() {
    let mut world = World::new((0..40).map(|n| peer(n, 25)).collect());
    world.heard.borrow_mut().is_expired = true;
    world.pass_all(Duration::from_secs(3600));
    let heard = world.heard.borrow();
    for number in 0..40 {
        let calls = &heard.initiations[&number];
        let gaps: Vec<u64> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(calls[0] < 6000, "{calls:?}");
        assert!(*calls.last().unwrap() > 3_500_000, "for ever: {calls:?}");
        assert!(gaps.iter().all(|gap| *gap < 62_000), "{gaps:?}");
        assert!(
            gaps[8..].iter().all(|gap| *gap >= 15_000),
            "backs off: {gaps:?}"
        );
    }
    let mut firsts: Vec<_> = heard.initiations.values().map(|calls| calls[5]).collect();
    firsts.sort_unstable();
    firsts.dedup();
    assert!(firsts.len() > 20, "in step: {firsts:?}");
}

#[test]
fn a_silent_peer_without_keepalive_or_place_is_left_alone() {
    let nowhere = Peer {
        endpoint: None,
        ..peer(1, 25)
    };
    let mut world = World::new(vec![peer(0, 0), nowhere]);
    world.heard.borrow_mut().is_expired = true;
    world.pass_all(Duration::from_secs(600));
    assert!(world.heard.borrow().initiations.is_empty());
    assert_eq!(world.sent, 0);
}

#[test]
fn keepalives_come_after_silence_and_can_be_changed() {
    let mut world = World::new(vec![peer(0, 25)]);
    world.pass_all(Duration::from_secs(20));
    assert_eq!(
        world.heard.borrow().initiations[&0].len(),
        1,
        "a first handshake of its own accord"
    );
    world.heard.borrow_mut().is_established = true;
    let keepalives = |world: &World| world.heard.borrow().keepalives;
    world.pass_all(Duration::from_secs(250));
    assert_eq!(keepalives(&world), 10);
    for _ in 0..25 {
        world.receive_data(1);
        world.pass_all(Duration::from_secs(10));
    }
    assert_eq!(keepalives(&world), 10, "what the peer says is no silence");
    let change = Change {
        keepalive: Some(5),
        ..Change::default()
    };
    assert_eq!(
        world.endpoint.change(&[0; 32], change, world.now()),
        ["persistent_keepalive_interval"]
    );
    world.pass_all(Duration::from_millis(500));
    assert_eq!(keepalives(&world), 11, "at once");
    world.pass_all(Duration::from_secs(50));
    assert!((20..=21).contains(&keepalives(&world)));
    assert_eq!(world.heard.borrow().made, 1, "the session is kept");
}

#[test]
fn a_session_that_expired_is_told_once() {
    let mut world = World::new(vec![peer(0, 0)]);
    world.heard.borrow_mut().is_established = true;
    world.heard.borrow_mut().reply = Some(92);
    world.receive(
        &[
            &[2, 0, 0, 0, 0, 0, 0, 0][..],
            &world.session().to_le_bytes(),
            &[0; 80],
        ]
        .concat(),
    );
    world.pass_all(Duration::from_secs(5));
    world.heard.borrow_mut().is_established = false;
    world.pass_all(Duration::from_secs(5));
    let device = "d0".parse().unwrap();
    let events: Vec<_> = std::iter::from_fn(|| world.endpoint.poll_event()).collect();
    let [up, down] = [
        TunnelEvent::Up { device },
        TunnelEvent::Down {
            device: "d0".parse().unwrap(),
        },
    ];
    assert_eq!(events, [up, down]);
}

#[test]
fn counters_at_their_end_do_not_reach_the_library() {
    let mut world = World::new(vec![peer(0, 0)]);
    let limit = u64::MAX - (1 << 13);
    for (counter, reaches) in [
        (0, 1),
        (limit - 1, 2),
        (limit, 2),
        (u64::MAX - 1024, 2),
        (u64::MAX, 2),
    ] {
        world.receive_data(counter);
        assert_eq!(world.heard.borrow().opened, reaches, "{counter}");
    }
}

#[test]
fn ten_thousand_peers_are_replaced_at_once_and_keep_what_they_had() {
    let peers: Vec<_> = (0..10_000).map(|n| peer(n, 0)).collect();
    let mut world = World::new(peers.clone());
    let start = Instant::now();
    world
        .endpoint
        .replace_peers(peers[..9_999].to_vec(), world.now());
    world.endpoint.replace_peers(peers, world.now());
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(world.heard.borrow().made, 10_001);
    assert_eq!(world.endpoint.views().count(), 10_000);
}

/// What the library was asked.
#[derive(Default)]
struct Heard {
    milliseconds: u64,
    ticks: BTreeMap<usize, Vec<u64>>,
    initiations: BTreeMap<usize, Vec<u64>>,
    keepalives: usize,
    opened: usize,
    made: usize,
    session: u32,
    is_expired: bool,
    is_established: bool,
    reply: Option<usize>,
}

struct Silent(Rc<RefCell<Heard>>);
struct SilentPeer(Rc<RefCell<Heard>>, usize);

impl Noise for Silent {
    type Peer = SilentPeer;
    fn peer(&self, key: &[u8; 32], _: Option<&[u8; 32]>, index: u32) -> SilentPeer {
        self.0.borrow_mut().made += 1;
        self.0.borrow_mut().session = index << 8;
        SilentPeer(
            Rc::clone(&self.0),
            usize::from(u16::from_le_bytes([key[0], key[1]])),
        )
    }
    fn verify(&self, _: &[u8], _: IpAddr, _: bool, _: &mut [u8]) -> Verified {
        Verified::Right
    }
    fn initiator(&self, _: &[u8]) -> Option<[u8; 32]> {
        None
    }
    fn private_key(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new([0; 32])
    }
}

impl NoisePeer for SilentPeer {
    fn open(&mut self, _: &[u8], _: &mut [u8]) -> Opened {
        let mut heard = self.0.borrow_mut();
        heard.opened += 1;
        heard.reply.map_or(Opened::Nothing, Opened::Reply)
    }
    fn seal(&mut self, packet: &[u8], _: &mut [u8]) -> Sealed {
        self.0.borrow_mut().keepalives += usize::from(packet.is_empty());
        Sealed::Datagram(packet.len() + 32)
    }
    fn seal_queued(&mut self, _: &mut [u8]) -> Sealed {
        Sealed::Nothing
    }
    fn initiate(&mut self, _: bool, _: &mut [u8]) -> Sealed {
        let mut heard = self.0.borrow_mut();
        let now = heard.milliseconds;
        heard.initiations.entry(self.1).or_default().push(now);
        Sealed::Datagram(148)
    }
    fn tick(&mut self, _: &mut [u8]) -> Ticked {
        let mut heard = self.0.borrow_mut();
        let now = heard.milliseconds;
        heard.ticks.entry(self.1).or_default().push(now);
        if heard.is_expired {
            Ticked::Expired
        } else {
            Ticked::Nothing
        }
    }
    fn established(&self) -> bool {
        self.0.borrow().is_established
    }
}

struct World {
    endpoint: Endpoint<Silent>,
    heard: Rc<RefCell<Heard>>,
    start: Instant,
    milliseconds: u64,
    sent: usize,
}

impl World {
    fn new(peers: Vec<Peer>) -> Self {
        let heard = Rc::new(RefCell::new(Heard::default()));
        let start = Instant::now();
        Self {
            endpoint: Endpoint::new(Silent(Rc::clone(&heard)), peers, 1420, [5; 32], start),
            heard,
            start,
            milliseconds: 0,
            sent: 0,
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.milliseconds)
    }

    fn pass(&mut self, milliseconds: u64) {
        self.milliseconds += milliseconds;
        self.heard.borrow_mut().milliseconds = self.milliseconds;
        let mut out = Output::default();
        self.endpoint.tick(self.now(), &mut out);
        self.sent += out.datagrams.len();
    }

    fn pass_all(&mut self, duration: Duration) {
        for _ in 0..duration.as_millis() / 50 {
            self.pass(50);
        }
    }

    fn session(&self) -> u32 {
        self.heard.borrow().session
    }

    fn receive(&mut self, datagram: &[u8]) {
        let path = Path {
            remote: place(),
            local: None,
        };
        let now = self.now();
        self.endpoint
            .receive(datagram, path, now, &mut Output::default());
    }

    fn receive_data(&mut self, counter: u64) {
        let head = [
            &[4, 0, 0, 0][..],
            &self.session().to_le_bytes(),
            &counter.to_le_bytes(),
        ];
        self.receive(&[&head.concat()[..], &[0; 16]].concat());
    }
}

fn peer(number: u16, keepalive: u16) -> Peer {
    let mut public_key = [0; 32];
    public_key[..2].copy_from_slice(&number.to_le_bytes());
    Peer {
        device: format!("d{number}").parse().unwrap(),
        public_key,
        preshared_key: None,
        allowed: vec![
            format!("10.64.{}.{}/32", number >> 8, number & 255)
                .parse()
                .unwrap(),
        ],
        endpoint: Some(place()),
        keepalive,
    }
}

fn place() -> SocketAddr {
    "192.0.2.1:51820".parse().unwrap()
}
