//! Echo requests over IPv4 and IPv6, without a program.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// One ICMP echo, answered within a second.
pub(crate) fn ping(source: Option<IpAddr>, target: &str, length: usize) -> bool {
    let target: IpAddr = target.parse().unwrap();
    let (domain, protocol, request, reply, header) = match target {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 8, 0, 20),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 128, 129, 0),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
    if let Some(source) = source {
        socket.bind(&SocketAddr::from((source, 0)).into()).unwrap();
    }
    let mut echo = vec![request, 0, 0, 0];
    echo.extend(std::process::id().to_le_bytes());
    echo.extend((0..length).map(|i| i as u8));
    if target.is_ipv4() {
        let words = echo
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        echo[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    if socket
        .send_to(&echo, &SocketAddr::from((target, 0)).into())
        .is_err()
    {
        return false;
    }
    let end = Instant::now() + Duration::from_secs(1);
    let mut answer = vec![0; 1 << 16];
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|d| !d.is_zero())
    {
        socket.set_read_timeout(Some(left)).unwrap();
        let Ok(read) = (&socket).read(&mut answer) else {
            return false;
        };
        let answer = &answer[header.min(read)..read];
        if answer.first() == Some(&reply) && answer.get(4..) == Some(&echo[4..]) {
            return true;
        }
    }
    false
}
