//! A path that is not ideal: a relay of datagrams in the device's network, with delay, loss and a narrow place.

use std::collections::VecDeque;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use super::lab::in_device;

/// How a path is, the same in both directions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// One way.
    pub(crate) delay: Duration,
    /// Of 1000 datagrams, so many are lost.
    pub(crate) lost: u64,
    /// Bits a second; 0 is as many as there are.
    pub(crate) rate: u64,
    /// Bytes that wait before the narrow place.
    pub(crate) buffer: usize,
}

struct Direction {
    way: Way,
    waiting: VecDeque<(Instant, Vec<u8>)>,
    queued: VecDeque<(Instant, usize)>,
    bytes: usize,
    free: Instant,
    chance: u64,
}

impl Direction {
    fn new(way: Way, seed: u64) -> Self {
        Self {
            way,
            waiting: VecDeque::new(),
            queued: VecDeque::new(),
            bytes: 0,
            free: Instant::now(),
            chance: seed,
        }
    }

    fn take(&mut self, datagram: &[u8], now: Instant) {
        // xorshift64*: the same losses each time.
        self.chance ^= self.chance >> 12;
        self.chance ^= self.chance << 25;
        self.chance ^= self.chance >> 27;
        let drawn = self.chance.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        if drawn % 1000 < self.way.lost {
            return;
        }
        let mut due = now;
        let length = datagram.len() + 28;
        let nanos = (length as u64 * 8 * 1_000_000_000).checked_div(self.way.rate);
        if let Some(nanos) = nanos {
            while let Some((until, bytes)) = self.queued.front().copied() {
                if until > now {
                    break;
                }
                self.bytes -= bytes;
                self.queued.pop_front();
            }
            if self.bytes + datagram.len() > self.way.buffer {
                return;
            }
            self.free = self.free.max(now) + Duration::from_nanos(nanos);
            self.queued.push_back((self.free, datagram.len()));
            self.bytes += datagram.len();
            due = self.free;
        }
        self.waiting
            .push_back((due + self.way.delay, datagram.to_vec()));
    }

    fn give(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        while let Some((due, datagram)) = self.waiting.front() {
            if *due > now {
                break;
            }
            send(datagram);
            self.waiting.pop_front();
        }
    }
}

/// Begins to pass datagrams to the gateway; says where devices dial it.
pub(crate) fn start(way: Way, gateway: SocketAddr) -> SocketAddr {
    let (front, back) = in_device(|| {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("0.0.0.0:0").unwrap();
        back.connect(gateway).unwrap();
        (front, back)
    });
    for socket in [&front, &back] {
        socket.set_nonblocking(true).unwrap();
        let reference = socket2::SockRef::from(socket);
        let _ = reference.set_recv_buffer_size(4 << 20);
        let _ = reference.set_send_buffer_size(4 << 20);
    }
    let address = front.local_addr().unwrap();
    std::thread::spawn(move || pass(&front, &back, way));
    address
}

fn pass(front: &UdpSocket, back: &UdpSocket, way: Way) {
    let (mut up, mut down) = (Direction::new(way, 7), Direction::new(way, 11));
    let mut device = None;
    let mut space = vec![0; 65536];
    loop {
        let now = Instant::now();
        let next = [&up, &down].into_iter().filter_map(|d| d.waiting.front());
        let next = next.map(|(due, _)| *due).min();
        let wait = next.map_or(Duration::from_secs(1), |due| {
            due.saturating_duration_since(now)
        });
        let wait = Timespec::try_from(wait).unwrap();
        let mut both = [
            PollFd::from_borrowed_fd(front.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(back.as_fd(), PollFlags::IN),
        ];
        let _ = rustix::event::poll(&mut both, Some(&wait));
        for _ in 0..64 {
            match front.recv_from(&mut space) {
                Ok((length, from)) => {
                    device = Some(from);
                    up.take(&space[..length], Instant::now());
                }
                Err(_) => break,
            }
        }
        for _ in 0..64 {
            match back.recv(&mut space) {
                Ok(length) => down.take(&space[..length], Instant::now()),
                Err(_) => break,
            }
        }
        let now = Instant::now();
        up.give(now, |datagram| {
            let _ = back.send(datagram);
        });
        down.give(now, |datagram| {
            if let Some(device) = device {
                let _ = front.send_to(datagram, device);
            }
        });
    }
}
