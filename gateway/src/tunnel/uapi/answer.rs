//! What `get` shows and how an answer ends.
//!
//! In: the peers as they are and two clocks. Out: text, with keys in it: for the socket and nothing else.

use std::fmt::Write;
use std::time::Instant;

use crate::tunnel::peer::View;

/// The answer to `get`.
#[must_use]
pub fn get<'a>(
    private_key: &[u8; 32],
    listen_port: u16,
    peers: impl Iterator<Item = View<'a>>,
    now: Instant,
    wall: jiff::Timestamp,
) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut text, private_key, listen_port, peers, now, wall);
    text + &errno(0)
}

/// The end of every answer: 0, or a cause as the kernel numbers them.
#[must_use]
pub fn errno(cause: i32) -> String {
    format!("errno={}\n\n", cause.saturating_neg())
}

fn write<'a>(
    text: &mut String,
    private_key: &[u8; 32],
    listen_port: u16,
    peers: impl Iterator<Item = View<'a>>,
    now: Instant,
    wall: jiff::Timestamp,
) -> std::fmt::Result {
    writeln!(text, "private_key={}", hex(private_key))?;
    writeln!(text, "listen_port={listen_port}")?;
    writeln!(text, "fwmark=0")?;
    for peer in peers {
        writeln!(text, "public_key={}", hex(&peer.policy.public_key))?;
        let preshared_key = peer.preshared_key.unwrap_or(&[0; 32]);
        writeln!(text, "preshared_key={}", hex(preshared_key))?;
        writeln!(text, "protocol_version=1")?;
        if let Some(endpoint) = peer.endpoint {
            writeln!(text, "endpoint={endpoint}")?;
        }
        let (seconds, nanoseconds) = handshake(peer.last_handshake, now, wall);
        writeln!(text, "last_handshake_time_sec={seconds}")?;
        writeln!(text, "last_handshake_time_nsec={nanoseconds}")?;
        writeln!(text, "tx_bytes={}", peer.sent)?;
        writeln!(text, "rx_bytes={}", peer.received)?;
        writeln!(text, "persistent_keepalive_interval={}", peer.keepalive)?;
        for prefix in &peer.policy.allowed {
            writeln!(text, "allowed_ip={}", prefix.trunc())?;
        }
    }
    Ok(())
}

/// On the wall clock; 0 is never.
fn handshake(at: Option<Instant>, now: Instant, wall: jiff::Timestamp) -> (i64, i32) {
    let Some(at) = at else { return (0, 0) };
    let ago = jiff::SignedDuration::try_from(now.saturating_duration_since(at));
    let then = ago.ok().and_then(|ago| wall.checked_sub(ago).ok());
    then.map_or((0, 0), |then| (then.as_second(), then.subsec_nanosecond()))
}

fn hex(key: &[u8; 32]) -> String {
    key.iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs a first instant")]
    use super::*;
    use crate::tunnel::message::Peer;
    use std::time::Duration;

    #[test]
    fn shows_everything_and_ends_with_errno() {
        let now = Instant::now() + Duration::from_secs(100);
        let wall: jiff::Timestamp = "2026-01-02T03:04:05.5Z".parse().unwrap();
        let peer = |byte: u8, allowed: &[&str]| Peer {
            device: "d".parse().unwrap(),
            public_key: [byte; 32],
            preshared_key: None,
            allowed: allowed.iter().map(|p| p.parse().unwrap()).collect(),
            endpoint: None,
            keepalive: 0,
        };
        let [one, two] = [peer(0xab, &["10.64.0.1/32", "fd64::1/128"]), peer(1, &[])];
        let views = [
            View {
                policy: &one,
                preshared_key: Some(&[0x0c; 32]),
                endpoint: Some("[2001:db8::1]:51820".parse().unwrap()),
                keepalive: 25,
                last_handshake: Some(now - Duration::from_millis(1250)),
                received: 10,
                sent: 20,
            },
            View {
                policy: &two,
                preshared_key: None,
                endpoint: None,
                keepalive: 0,
                last_handshake: None,
                received: 0,
                sent: 0,
            },
        ];
        let text = get(&[0x11; 32], 51820, views.into_iter(), now, wall);
        insta::assert_snapshot!(text, @r"
        private_key=1111111111111111111111111111111111111111111111111111111111111111
        listen_port=51820
        fwmark=0
        public_key=abababababababababababababababababababababababababababababababab
        preshared_key=0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c
        protocol_version=1
        endpoint=[2001:db8::1]:51820
        last_handshake_time_sec=1767323044
        last_handshake_time_nsec=250000000
        tx_bytes=20
        rx_bytes=10
        persistent_keepalive_interval=25
        allowed_ip=10.64.0.1/32
        allowed_ip=fd64::1/128
        public_key=0101010101010101010101010101010101010101010101010101010101010101
        preshared_key=0000000000000000000000000000000000000000000000000000000000000000
        protocol_version=1
        last_handshake_time_sec=0
        last_handshake_time_nsec=0
        tx_bytes=0
        rx_bytes=0
        persistent_keepalive_interval=0
        errno=0

        ");
        assert!(text.ends_with("errno=0\n\n"));
        assert_eq!(errno(libc::EPERM), "errno=-1\n\n");
    }
}
