//! A client and a server, byte for byte.

use proptest::prelude::*;

use super::*;
use crate::masque::client::{self, REQUEST};
use crate::masque::fields::{Response, Status};
use crate::masque::{MAX_PACKET, Transmit, server};

/// Two sessions and the streams between them, cut into pieces of one length.
pub(super) struct Pair {
    pub(super) client: client::Session,
    pub(super) server: server::Session,
    pub(super) heard: Vec<server::Event>,
    pub(super) told: Vec<client::Event>,
    piece: usize,
}

impl Pair {
    pub(super) fn new(datagrams: bool, piece: usize) -> Self {
        Self {
            client: client::Session::new("gateway.example", datagrams),
            server: server::Session::new(datagrams),
            heard: Vec::new(),
            told: Vec::new(),
            piece,
        }
    }

    /// Carries everything until nobody has anything to say.
    pub(super) fn carry(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(transmit) = self.client.poll_transmit() {
                quiet = false;
                let server = &mut self.server;
                deliver(transmit, 2, self.piece, |stream, bytes, fin| {
                    server.receive(stream, bytes, fin).unwrap();
                });
            }
            while let Some(transmit) = self.server.poll_transmit() {
                quiet = false;
                let client = &mut self.client;
                deliver(transmit, 3, self.piece, |stream, bytes, fin| {
                    client.receive(stream, bytes, fin).unwrap();
                });
            }
            self.heard
                .extend(std::iter::from_fn(|| self.server.poll_event()));
            self.told
                .extend(std::iter::from_fn(|| self.client.poll_event()));
            if quiet {
                return;
            }
        }
    }

    pub(super) fn open(datagrams: bool, piece: usize) -> Self {
        let mut pair = Self::new(datagrams, piece);
        pair.carry();
        let authority = "gateway.example".to_owned();
        assert_eq!(pair.heard, [server::Event::Request { authority }]);
        pair.heard.clear();
        pair.server.accept(grant());
        pair.carry();
        pair
    }
}

fn deliver(
    transmit: Transmit,
    control: u64,
    piece: usize,
    mut receive: impl FnMut(u64, &[u8], bool),
) {
    let (stream, bytes, fin) = match transmit {
        Transmit::Control(bytes) => (control, bytes, false),
        Transmit::Request { stream, bytes, fin } => (stream, bytes, fin),
        Transmit::Stop { .. } => return,
    };
    bytes
        .chunks(piece)
        .for_each(|piece| receive(stream, piece, false));
    if fin {
        receive(stream, &[], true);
    }
}

#[test]
fn a_tunnel_is_granted_and_told() {
    for piece in [1, 7, 4096] {
        let pair = Pair::open(true, piece);
        let told = [
            client::Event::Open,
            client::Event::Addresses(grant().addresses),
            client::Event::Routes(vec![
                Route::all(net("10.20.1.10/32")),
                Route::all(net("fd20::/64")),
            ]),
            client::Event::Services(grant().services),
        ];
        assert_eq!(pair.told, told);
        assert!(pair.server.is_open() && pair.heard.is_empty());
        assert_eq!(pair.server.head(), Some(&[0, 0][..]));
        assert_eq!(pair.client.head(), Some(&[0, 0][..]));
    }
}

#[test]
fn a_tunnel_is_refused_with_a_reason() {
    let mut pair = Pair::new(true, 3);
    pair.carry();
    pair.server.refuse(Status(403), "outside hours");
    pair.carry();
    let response = Response {
        status: Status(403),
        details: Some("outside hours".to_owned()),
    };
    assert_eq!(pair.told, [client::Event::Refused(response)]);
    assert!(!pair.server.is_open() && pair.server.head().is_none());
    // The decision is made once.
    pair.server.accept(grant());
    assert!(!pair.server.is_open());
}

#[test]
fn packets_pass_in_datagrams_and_in_the_stream() {
    let mut pair = Pair::open(true, 100);
    pair.told.clear();
    let long = vec![0x45; MAX_PACKET];
    let datagram = [&[0, 0][..], &long].concat();
    assert_eq!(pair.server.datagram(&datagram), Ok(Some(&long[..])));
    assert_eq!(pair.client.datagram(&datagram), Ok(Some(&long[..])));
    // Another stream, another context: for nobody.
    assert_eq!(pair.server.datagram(&[1, 0, 0x45]), Ok(None));
    assert_eq!(pair.server.datagram(&[0, 2, 0x45]), Ok(None));
    assert!(pair.server.datagram(&[0]).is_err());
    assert!(pair.client.datagram(&[]).is_err());
    assert!(pair.server.send_packet(&long) && pair.client.send_packet(&long));
    assert!(
        !pair.server.send_packet(&vec![0; MAX_PACKET + 1]),
        "too long"
    );
    pair.carry();
    assert_eq!(pair.heard, [server::Event::Packet(long.clone())]);
    assert_eq!(pair.told, [client::Event::Packet(long)]);
}

#[test]
fn without_datagrams_everything_goes_through_the_stream() {
    let mut pair = Pair::new(true, 100);
    // The client says that it takes none.
    pair.server = server::Session::new(false);
    let control = [&[0][..], &frame(4, &[])].concat();
    pair.server.receive(2, &control, false).unwrap();
    let request = crate::masque::exchange::headers(&crate::masque::fields::connect_ip("a"));
    pair.server.receive(0, &request, false).unwrap();
    pair.server.accept(grant());
    assert_eq!(pair.server.head(), None);
    assert!(pair.server.send_packet(&[0x45; 1280]));
}

#[test]
fn what_waits_is_bounded() {
    let mut pair = Pair::open(true, 4096);
    let packet = [0x45; 1280];
    let sent = (0..1000)
        .filter(|_| pair.server.send_packet(&packet))
        .count();
    assert!((40..52).contains(&sent), "{sent}");
    pair.carry();
    assert!(pair.server.send_packet(&packet));
}

#[test]
fn what_is_granted_changes_and_ends() {
    let mut pair = Pair::open(true, 5);
    pair.told.clear();
    let less = Grant {
        addresses: vec![net("10.65.0.7/32")],
        ..Grant::default()
    };
    pair.server.update(less);
    pair.server.go_away();
    pair.carry();
    let told = [
        client::Event::Addresses(vec![net("10.65.0.7/32")]),
        client::Event::Routes(vec![]),
        client::Event::Services(vec![]),
        client::Event::GoingAway,
    ];
    assert_eq!(pair.told.len(), 4);
    assert!(told.iter().all(|event| pair.told.contains(event)));
    pair.told.clear();
    pair.server.close();
    pair.carry();
    assert_eq!(pair.told, [client::Event::Ended]);
    assert!(!pair.server.is_open() && pair.heard.is_empty());
}

#[test]
fn the_client_ends_the_tunnel() {
    let mut pair = Pair::open(true, 5);
    pair.told.clear();
    pair.client.close();
    pair.carry();
    assert_eq!(pair.heard, [server::Event::Ended]);
    assert_eq!(pair.told, []);
    // A reset does the same.
    let mut pair = Pair::open(true, 5);
    pair.server.reset(REQUEST).unwrap();
    pair.client.reset(REQUEST).unwrap();
    assert_eq!(pair.server.poll_event(), Some(server::Event::Ended));
    assert_eq!(pair.client.poll_event(), Some(client::Event::Ended));
    assert!(!pair.client.send_packet(&[0x45]) && !pair.server.send_packet(&[0x45]));
}

proptest! {
    #[test]
    fn a_server_survives_any_bytes(
        chunks in proptest::collection::vec(
            (prop_oneof![Just(0_u64), Just(2), Just(6), Just(10), Just(4)],
             proptest::collection::vec(any::<u8>(), 0..40)), 0..30)
    ) {
        let mut pair = Pair::open(true, 4096);
        for (stream, bytes) in chunks {
            if pair.server.receive(stream, &bytes, false).is_err() {
                break;
            }
            let _ = pair.server.datagram(&bytes);
            while pair.server.poll_transmit().is_some() {}
            while pair.server.poll_event().is_some() {}
        }
    }

    #[test]
    fn a_client_survives_any_bytes(
        chunks in proptest::collection::vec(
            (prop_oneof![Just(0_u64), Just(3), Just(7), Just(11)],
             proptest::collection::vec(any::<u8>(), 0..40)), 0..30)
    ) {
        let mut pair = Pair::open(true, 4096);
        for (stream, bytes) in chunks {
            if pair.client.receive(stream, &bytes, false).is_err() {
                break;
            }
            let _ = pair.client.datagram(&bytes);
            while pair.client.poll_transmit().is_some() {}
            while pair.client.poll_event().is_some() {}
        }
    }
}
