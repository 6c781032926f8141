//! A dishonest middle of the internet: passes datagrams between a device and the gateway, keeps them, and sends
//! them again, whole or changed.
//!
//! Knows nothing of WireGuard but the first byte, the type of a message.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::device::wan4;
use crate::lab::{Lab, Place};

/// A UDP relay in the internet.
pub struct Middle {
    address: SocketAddr,
    upstream: UdpSocket,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    from_device: Vec<Vec<u8>>,
    from_gateway: Vec<Vec<u8>>,
    device: Option<SocketAddr>,
    tampers: bool,
    tampered: usize,
}

impl Middle {
    /// Listens on the router of the first home.
    ///
    /// # Panics
    /// When the sockets cannot be opened.
    pub fn start(lab: &Lab) -> Self {
        let (front, upstream) = lab.inside(Place::Internet, || {
            let front = UdpSocket::bind("198.51.100.1:0").unwrap();
            let upstream = UdpSocket::bind("0.0.0.0:0").unwrap();
            upstream.connect(wan4()).unwrap();
            (front, upstream)
        });
        let state: Arc<Mutex<State>> = Arc::default();
        let middle = Self {
            address: front.local_addr().unwrap(),
            upstream: upstream.try_clone().unwrap(),
            state: state.clone(),
        };
        let (back, back_front, back_state) = (
            upstream.try_clone().unwrap(),
            front.try_clone().unwrap(),
            state.clone(),
        );
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            loop {
                let Ok((length, from)) = front.recv_from(&mut buffer) else {
                    continue;
                };
                let datagram = buffer.get(..length).unwrap_or_default();
                let mut state = state.lock().unwrap();
                state.device = Some(from);
                state.from_device.push(datagram.to_vec());
                let _ = upstream.send(&state.passed_on(datagram));
            }
        });
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            loop {
                let Ok(length) = back.recv(&mut buffer) else {
                    continue;
                };
                let datagram = buffer.get(..length).unwrap_or_default();
                let mut state = back_state.lock().unwrap();
                state.from_gateway.push(datagram.to_vec());
                if let Some(device) = state.device {
                    let _ = back_front.send_to(&state.passed_on(datagram), device);
                }
            }
        });
        middle
    }

    /// Where devices dial it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Datagrams of the device so far of this type: 1 initiation, 2 response, 3 cookie, 4 data.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn recorded(&self, kind: u8) -> Vec<Vec<u8>> {
        let state = self.state.lock().unwrap();
        let of_kind = |datagram: &&Vec<u8>| datagram.first() == Some(&kind);
        state.from_device.iter().filter(of_kind).cloned().collect()
    }

    /// How many datagrams the gateway sent so far, of any type.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn answers(&self) -> usize {
        self.state.lock().unwrap().from_gateway.len()
    }

    /// From now on, one bit of every datagram that carries a packet is turned, in both directions; or no more.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn tamper(&self, tampers: bool) {
        self.state.lock().unwrap().tampers = tampers;
    }

    /// How many datagrams were changed so far.
    ///
    /// # Panics
    /// When a thread of it panicked.
    pub fn tampered(&self) -> usize {
        self.state.lock().unwrap().tampered
    }

    /// Sends a datagram to the gateway.
    pub fn inject(&self, datagram: &[u8]) {
        // An ICMP error of an earlier one is reported here; it says nothing about this one.
        let _ = self.upstream.send(datagram);
    }
}

impl State {
    /// A datagram as it is, or with another bit turned each time: first in the text, then in the head before it.
    fn passed_on(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut passed = datagram.to_vec();
        if self.tampers && datagram.first() == Some(&DATA) && datagram.len() > EMPTY {
            let length = passed.len();
            let at = (DATA_HEAD + self.tampered * 41) % length;
            if let Some(byte) = passed.get_mut(at) {
                *byte ^= 1 << (self.tampered % 8);
            }
            self.tampered += 1;
        }
        passed
    }
}

/// The type of a datagram that carries a packet, and the bytes before its text.
const DATA: u8 = 4;
const DATA_HEAD: usize = 16;
/// A datagram that only keeps the tunnel alive.
const EMPTY: usize = 32;

/// Sends a datagram to the gateway from a place of its own and waits for anything that comes back.
///
/// # Panics
/// When the socket cannot be opened.
pub fn knock(lab: &Lab, place: Place, datagram: &[u8], limit: Duration) -> Option<Vec<u8>> {
    let socket = lab.inside(place, || UdpSocket::bind("0.0.0.0:0").unwrap());
    socket.connect(wan4()).unwrap();
    socket.set_read_timeout(Some(limit)).unwrap();
    let _ = socket.send(datagram);
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer).ok()?;
    buffer.truncate(length);
    Some(buffer)
}
