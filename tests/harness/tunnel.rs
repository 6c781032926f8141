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
                let _ = upstream.send(datagram);
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
                    let _ = back_front.send_to(datagram, device);
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

    /// Sends a datagram to the gateway.
    pub fn inject(&self, datagram: &[u8]) {
        // An ICMP error of an earlier one is reported here; it says nothing about this one.
        let _ = self.upstream.send(datagram);
    }
}

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
