//! A gateway and its devices in memory, without sockets.
#![allow(
    unreachable_pub,
    missing_docs,
    reason = "a module of one test, not of a library"
)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use lazaret::tunnel::message::{Peer, TunnelEvent};
use lazaret::tunnel::noise::Boring;
use lazaret::tunnel::peer::Path;
use lazaret::tunnel::wireguard::{Endpoint, Output};
use zeroize::Zeroizing;

pub struct Gateway {
    pub endpoint: Endpoint<Boring>,
    pub now: Instant,
}

#[derive(Debug, Default)]
pub struct Got {
    pub datagrams: Vec<(Vec<u8>, Path)>,
    pub packets: Vec<Vec<u8>>,
}

impl Got {
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty() && self.packets.is_empty()
    }
}

impl From<Output> for Got {
    fn from(out: Output) -> Self {
        Self {
            datagrams: out
                .datagrams
                .iter()
                .map(|(d, p)| (d.to_vec(), *p))
                .collect(),
            packets: out.packets.iter().map(|(p, ())| p.to_vec()).collect(),
        }
    }
}

impl Gateway {
    pub fn new(peers: Vec<Peer>) -> Self {
        Self::seeded(peers, 1)
    }

    pub fn seeded(peers: Vec<Peer>, seed: u8) -> Self {
        let now = Instant::now();
        let noise = Boring::new(Zeroizing::new([42; 32]));
        let mtu = u16::try_from(MTU).unwrap();
        Self {
            endpoint: Endpoint::new(noise, peers, mtu, [seed; 32], now),
            now,
        }
    }

    pub fn later(&mut self, milliseconds: u64) -> &mut Self {
        self.now += Duration::from_millis(milliseconds);
        self
    }

    pub fn receive(&mut self, datagram: &[u8], from: &str) -> Got {
        let mut out = Output::default();
        self.endpoint
            .receive(datagram, path(from), self.now, &mut out);
        out.into()
    }

    pub fn send(&mut self, packet: &[u8]) -> Vec<(Vec<u8>, Path)> {
        let mut out = Output::default();
        self.endpoint.send(packet, self.now, &mut out);
        Got::from(out).datagrams
    }

    pub fn tick(&mut self) -> Got {
        let mut out = Output::default();
        self.now += Duration::from_millis(250);
        self.endpoint.tick(self.now, &mut out);
        out.into()
    }

    pub fn events(&mut self) -> Vec<TunnelEvent> {
        std::iter::from_fn(|| self.endpoint.poll_event()).collect()
    }

    pub fn endpoint_of_device(&self) -> Option<SocketAddr> {
        self.endpoint.views().next().unwrap().endpoint
    }
}

pub struct Device {
    pub tunn: Tunn,
    pub public: PublicKey,
}

impl Device {
    pub fn new(number: u8, preshared_key: Option<[u8; 32]>) -> Self {
        let gateway = PublicKey::from(&StaticSecret::from([42; 32]));
        Self {
            tunn: Tunn::new(secret(number), gateway, preshared_key, None, 1, None),
            public: PublicKey::from(&secret(number)),
        }
    }

    pub fn peer(&self, device: &str, allowed: &[&str]) -> Peer {
        let prefix = |text: &&str| match text.parse::<IpAddr>() {
            Ok(address) => address.into(),
            Err(_) => text.parse().unwrap(),
        };
        Peer {
            device: name(device),
            public_key: self.public.to_bytes(),
            preshared_key: None,
            allowed: allowed.iter().map(prefix).collect(),
            endpoint: None,
            keepalive: 0,
        }
    }

    pub fn handshake(&mut self, gateway: &mut Gateway, from: &str) {
        let answers = gateway.receive(&self.initiate(), from).datagrams;
        let confirmation = self.answer(&answers[0].0).unwrap();
        assert!(gateway.receive(&confirmation, from).packets.is_empty());
    }

    pub fn initiate(&mut self) -> Vec<u8> {
        let mut space = [0; 148];
        match self.tunn.format_handshake_initiation(&mut space, true) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    pub fn answer(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut space = [0; 148];
        match self.tunn.decapsulate(None, datagram, &mut space) {
            TunnResult::WriteToNetwork(datagram) => Some(datagram.to_vec()),
            _ => None,
        }
    }

    pub fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut space = vec![0; packet.len() + 148];
        match self.tunn.encapsulate(packet, &mut space) {
            TunnResult::WriteToNetwork(datagram) => datagram.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    pub fn open(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut space = vec![0; datagram.len() + 148];
        match self.tunn.decapsulate(None, datagram, &mut space) {
            TunnResult::WriteToTunnelV4(packet, _) => Some(packet.to_vec()),
            TunnResult::WriteToTunnelV6(packet, _) => Some(packet.to_vec()),
            _ => None,
        }
    }
}

/// A gateway and its only device, with a session.
pub fn connected() -> (Gateway, Device) {
    let mut device = Device::new(1, None);
    let mut gateway = Gateway::new(vec![device.peer("ecg", &[DEVICE_4, DEVICE_6])]);
    device.handshake(&mut gateway, HOME);
    gateway.later(1000);
    (gateway, device)
}

pub fn packet(source: &str, destination: &str, payload: usize) -> Vec<u8> {
    let mut packet = match (source.parse().unwrap(), destination.parse().unwrap()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(payload + 20).unwrap().to_be_bytes();
            let head = [0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 253, 0, 0];
            [&head[..], &source.octets(), &destination.octets()].concat()
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let length = u16::try_from(payload).unwrap().to_be_bytes();
            let head = [0x60, 0, 0, 0, length[0], length[1], 253, 64];
            [&head[..], &source.octets(), &destination.octets()].concat()
        }
        _ => panic!("mixed families"),
    };
    packet.extend((0..payload).map(|i| (i % 251) as u8));
    packet
}

pub fn secret(number: u8) -> StaticSecret {
    StaticSecret::from([number; 32])
}

pub fn name(text: &str) -> lazaret::flow::DeviceName {
    text.parse().unwrap()
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub fn path(text: &str) -> Path {
    Path {
        remote: address(text),
        local: Some("198.51.100.1".parse().unwrap()),
    }
}

pub const MTU: usize = 1420;
pub const HOME: &str = "192.0.2.1:51820";
pub const AWAY: &str = "203.0.113.7:4711";
pub const GATEWAY_4: &str = "10.64.255.254";
pub const GATEWAY_6: &str = "fd64::fffe";
pub const DEVICE_4: &str = "10.64.0.1";
pub const DEVICE_6: &str = "fd64::1";
