//! What holds for both ends of a tunnel and for its formats, whatever comes.
//! Shared by the fuzz targets and by the test that replays their corpora.
//!
//! Of the input for an end, the first byte says how it is run: bit 0 that requests are granted, the others how its bytes
//! are cut. Then steps: one byte that says what and where, one or two for a length, and as many bytes.

use std::net::IpAddr;

use crate::masque::capsule::{self, Capsule, Piece, Route};
use crate::masque::icmp::{self, Told};
use crate::masque::packet::{self, Gate};
use crate::masque::qpack;
use crate::masque::server::Grant;
use crate::masque::{Error, MAX_PACKET, MAX_QUEUED, Scope, Transmit};
use crate::masque::{client, server};

/// What an end is asked.
trait End {
    fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error>;
    fn reset(&mut self, stream: u64) -> Result<(), Error>;
    fn datagram(&mut self, bytes: &[u8]) -> Result<(), Error>;
    /// Events as text, and how many bytes are to be sent.
    fn drain(&mut self, grants: bool) -> (Vec<String>, usize);
}

impl End for server::Session {
    fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        Self::receive(self, stream, bytes, fin)
    }
    fn reset(&mut self, stream: u64) -> Result<(), Error> {
        Self::reset(self, stream)
    }
    fn datagram(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Self::datagram(self, bytes).map(drop)
    }
    fn drain(&mut self, grants: bool) -> (Vec<String>, usize) {
        let mut events = Vec::new();
        while let Some(event) = self.poll_event() {
            if grants && matches!(event, server::Event::Request { .. }) {
                self.accept(grant());
            }
            // Whether a packet comes before or after the grant is a matter of how bytes are cut.
            if !(grants && matches!(event, server::Event::Packet(_))) {
                events.push(format!("{event:?}"));
            }
        }
        let sent = std::iter::from_fn(|| self.poll_transmit());
        (events, sent.map(|transmit| length(&transmit)).sum())
    }
}

impl End for client::Session {
    fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
        Self::receive(self, stream, bytes, fin)
    }
    fn reset(&mut self, stream: u64) -> Result<(), Error> {
        Self::reset(self, stream)
    }
    fn datagram(&mut self, bytes: &[u8]) -> Result<(), Error> {
        Self::datagram(self, bytes).map(drop)
    }
    fn drain(&mut self, _: bool) -> (Vec<String>, usize) {
        let events = std::iter::from_fn(|| self.poll_event());
        let events = events.map(|event| format!("{event:?}")).collect();
        let sent = std::iter::from_fn(|| self.poll_transmit());
        (events, sent.map(|transmit| length(&transmit)).sum())
    }
}

fn length(transmit: &Transmit) -> usize {
    match transmit {
        Transmit::Control(bytes) | Transmit::Request { bytes, .. } => bytes.len(),
        Transmit::Stop { .. } => 0,
    }
}

fn grant() -> Grant {
    Grant {
        addresses: vec![
            "10.65.0.7/32".parse().unwrap(),
            "fd65::7/128".parse().unwrap(),
        ],
        routes: vec![Route::all("10.20.1.10/32".parse().unwrap())],
        services: Vec::new(),
    }
}

/// The gateway's end of a tunnel.
pub(crate) fn server(input: &[u8]) {
    let fresh = || Box::new(server::Session::new(true)) as Box<dyn End>;
    same_however_cut(input, &fresh, &[0, 2, 6, 10, 4, 8, 1, 3]);
}

/// The client's end of a tunnel.
pub(crate) fn client(input: &[u8]) {
    let fresh = || Box::new(client::Session::new("gateway.example", true)) as Box<dyn End>;
    same_however_cut(input, &fresh, &[0, 3, 7, 11, 1, 4, 15, 2]);
}

fn same_however_cut(input: &[u8], fresh: &dyn Fn() -> Box<dyn End>, streams: &[u64; 8]) {
    let Some((&how, rest)) = input.split_first() else {
        return;
    };
    let (grants, piece) = (how & 1 == 1, usize::from(how >> 1) + 1);
    let steps = steps(rest, streams);
    let whole = run(&mut *fresh(), &steps, usize::MAX, grants);
    assert_eq!(run(&mut *fresh(), &steps, piece, grants), whole);
    assert_eq!(run(&mut *fresh(), &steps, 1, grants), whole);
}

enum Step<'b> {
    Bytes(u64, &'b [u8], bool),
    Reset(u64),
    Datagram(&'b [u8]),
}

/// Bits 0 to 2: the stream; bits 3 and 4: bytes, the last bytes, a reset or a datagram; bit 5: the length has two bytes.
fn steps<'b>(mut rest: &'b [u8], streams: &[u64; 8]) -> Vec<Step<'b>> {
    let mut steps = Vec::new();
    while let [what, length, after @ ..] = rest {
        let stream = streams[usize::from(what & 7)];
        let (length, after) = match after {
            [low, after @ ..] if what & 0x20 != 0 => {
                (usize::from(u16::from_be_bytes([*length, *low])), after)
            }
            _ => (usize::from(*length), after),
        };
        let (bytes, after) = after.split_at(length.min(after.len()));
        rest = after;
        steps.push(match what >> 3 & 3 {
            0 => Step::Bytes(stream, bytes, false),
            1 => Step::Bytes(stream, bytes, true),
            2 => Step::Reset(stream),
            _ => Step::Datagram(bytes),
        });
    }
    steps
}

/// Everything that comes of the steps, until the first error.
fn run(end: &mut dyn End, steps: &[Step<'_>], piece: usize, grants: bool) -> (Vec<String>, String) {
    let mut events = Vec::new();
    for step in steps {
        let done = match step {
            Step::Bytes(stream, bytes, fin) => {
                let mut pieces = bytes.chunks(piece).peekable();
                let mut done = Ok(());
                if bytes.is_empty() {
                    done = end.receive(*stream, &[], *fin);
                }
                while let (Ok(()), Some(piece)) = (&done, pieces.next()) {
                    done = end.receive(*stream, piece, *fin && pieces.peek().is_none());
                    let (told, sent) = end.drain(grants);
                    assert!(sent <= MAX_QUEUED + 16_384, "{sent} bytes at once");
                    events.extend(told);
                }
                done
            }
            Step::Reset(stream) => end.reset(*stream),
            Step::Datagram(bytes) => end.datagram(bytes),
        };
        events.extend(end.drain(grants).0);
        if let Err(error) = done {
            if let Scope::Stream(stream) = error.scope {
                // Whoever is told to give up a stream does, and the rest goes on.
                let _ = end.reset(stream);
            }
            return (events, error.to_string());
        }
    }
    (events, String::new())
}

/// Field sections: what is read is written and read again.
pub(crate) fn fields(input: &[u8]) {
    let Ok(fields) = qpack::decode(input) else {
        return;
    };
    let size: usize = fields
        .iter()
        .map(|field| field.name.len() + field.value.len() + 32)
        .sum();
    assert!(u64::try_from(size).unwrap() <= qpack::MAX_SECTION);
    assert_eq!(qpack::decode(&qpack::encode(&fields)), Ok(fields));
}

/// Capsules: the same however they are cut, and what is read is written and read again.
pub(crate) fn capsules(input: &[u8]) {
    let whole = read(std::iter::once(input));
    assert_eq!(read(input.chunks(1)), whole);
    assert_eq!(read(input.chunks(7)), whole);
    let mut written = Vec::new();
    for capsule in &whole.0 {
        capsule.write(&mut written);
    }
    let again = read(std::iter::once(&*written));
    assert_eq!((again.0, again.1, again.2), (whole.0, 0, None));
}

/// All capsules, the bytes that mean nothing, and how it broke.
fn read<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> (Vec<Capsule>, u64, Option<&'static str>) {
    let mut reader = capsule::Reader::default();
    let (mut found, mut skipped) = (Vec::new(), 0);
    for mut bytes in pieces {
        loop {
            match reader.next(&mut bytes) {
                Ok(Some(Piece::Capsule(capsule))) => found.push(capsule),
                Ok(Some(Piece::Skipped(length))) => skipped += length,
                Ok(None) => break,
                Err((_, why)) => return (found, skipped, Some(why)),
            }
        }
        assert!(bytes.is_empty());
    }
    (found, skipped, None)
}

/// A packet at the gate of either end, and the errors about it.
pub(crate) fn packet(input: &[u8]) {
    let grant = grant();
    let gate = Gate {
        peer: grant.addresses,
        routes: grant.routes,
    };
    let is_peer = |ip: IpAddr| gate.peer.iter().any(|prefix| prefix.contains(&ip));
    if let Ok(head) = gate.from_peer(input) {
        assert!(is_peer(head.source) && head.length <= input.len() && head.header <= head.length);
        assert!(!packet::stays_on_link(head.destination));
    }
    if let Ok(head) = gate.arrives(input) {
        assert!(is_peer(head.destination) && head.length <= input.len());
    }
    let mut forwarded = input.to_vec();
    if let Ok(head) = gate.to_peer(&mut forwarded, 1280) {
        let after = packet::head(&forwarded).expect("a packet as before");
        assert_eq!(
            (after.hops + 1, after.length, after.source),
            (head.hops, head.length, head.source)
        );
        assert!(head.length <= 1280 && is_peer(head.destination));
    } else {
        assert_eq!(forwarded, input, "what does not pass is as it came");
    }
    let mut forwarded = input.to_vec();
    let _ = gate.leaves(&mut forwarded, MAX_PACKET);
    for told in [Told::TooBig(1280), Told::HopsUsedUp, Told::Prohibited] {
        for ours in ["10.65.0.1", "fd65::1"] {
            let ours: IpAddr = ours.parse().unwrap();
            let Some(error) = icmp::answer(input, told, ours) else {
                continue;
            };
            let head = packet::head(&error).expect("a packet");
            assert_eq!((head.source, head.length), (ours, error.len()));
            assert_eq!(head.destination, packet::head(input).unwrap().source);
            assert!(error.len() <= if ours.is_ipv4() { 576 } else { 1280 });
            // Nobody answers an error with an error.
            assert_eq!(icmp::answer(&error, told, ours), None);
        }
    }
}
