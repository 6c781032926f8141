//! Both ends under whatever a peer may send: no panic, bounds, and the same verdict however the bytes are cut.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::masque::exchange::headers;
use crate::masque::fields::connect_ip;
use crate::masque::{Error, MAX_QUEUED, Scope, Transmit, client, server};

/// What both ends are asked.
trait End {
    fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error>;
    fn reset(&mut self, stream: u64) -> Result<(), Error>;
    fn datagram(&self, bytes: &[u8]) -> Result<(), Error>;
    /// Events as text, and how many bytes are to be sent.
    fn drain(&mut self) -> (Vec<String>, usize);
}

fn length(transmit: &Transmit) -> usize {
    match transmit {
        Transmit::Control(bytes) | Transmit::Request { bytes, .. } => bytes.len(),
        Transmit::Stop { .. } => 0,
    }
}

macro_rules! end {
    ($kind:ty) => {
        impl End for $kind {
            fn receive(&mut self, stream: u64, bytes: &[u8], fin: bool) -> Result<(), Error> {
                <$kind>::receive(self, stream, bytes, fin)
            }
            fn reset(&mut self, stream: u64) -> Result<(), Error> {
                <$kind>::reset(self, stream)
            }
            fn datagram(&self, bytes: &[u8]) -> Result<(), Error> {
                <$kind>::datagram(self, bytes).map(drop)
            }
            fn drain(&mut self) -> (Vec<String>, usize) {
                let sent = std::iter::from_fn(|| self.poll_transmit());
                let sent = sent.map(|transmit| length(&transmit)).sum();
                let events = std::iter::from_fn(|| self.poll_event());
                (events.map(|event| format!("{event:?}")).collect(), sent)
            }
        }
    };
}

end!(client::Session);
end!(server::Session);

#[derive(Clone, Debug)]
enum Step {
    Bytes(u64, Vec<u8>, bool),
    Reset(u64),
    Datagram(Vec<u8>),
}

/// Bytes that mean something, and bytes that do not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let capsule = (any::<u8>(), vec(any::<u8>(), 0..40)).prop_map(|(kind, payload)| {
        // DATAGRAM, those of RFC 9484, ours, and one that nobody knows.
        let kinds = [0, 1, 2, 3, 0x4c5a_5356, 0x1f00];
        frame(0, &frame(kinds[usize::from(kind) % kinds.len()], &payload))
    });
    let good = prop_oneof![
        Just(vec![0, 4, 0]),
        Just([&[0][..], &frame(4, &[8, 1, 0x33, 1])].concat()),
        Just(headers(&connect_ip("gateway.example"))),
        Just(frame(1, &[0, 0, 0xd9])),
        Just(frame(7, &[0])),
        Just(frame(0, &frame(1, &[0, 4, 10, 65, 0, 7, 32]))),
        Just(frame(0, &frame(3, &[4, 10, 0, 0, 0, 10, 0, 0, 9, 0]))),
    ];
    let any_frame =
        (0_u64..64, vec(any::<u8>(), 0..60)).prop_map(|(kind, payload)| frame(kind, &payload));
    prop_oneof![4 => good, 3 => capsule, 2 => any_frame, 1 => vec(any::<u8>(), 0..60)]
}

fn steps(streams: &'static [u64]) -> impl Strategy<Value = Vec<Step>> {
    let stream = || prop::sample::select(streams);
    let step = prop_oneof![
        20 => (stream(), bytes(), prop::bool::weighted(0.05)).prop_map(|(stream, bytes, fin)| Step::Bytes(stream, bytes, fin)),
        1 => stream().prop_map(Step::Reset),
        3 => vec(any::<u8>(), 0..40).prop_map(Step::Datagram),
    ];
    vec(step, 0..24)
}

/// Everything that comes of the steps, until the connection is over.
fn run(end: &mut dyn End, steps: &[Step], piece: usize) -> (Vec<String>, Option<String>) {
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
                    let (told, sent) = end.drain();
                    assert!(sent <= MAX_QUEUED + 16_384, "{sent} bytes at once");
                    events.extend(told);
                }
                done
            }
            Step::Reset(stream) => end.reset(*stream),
            Step::Datagram(bytes) => end.datagram(bytes),
        };
        events.extend(end.drain().0);
        match done {
            Err(error) if error.scope == Scope::Connection => {
                return (events, Some(error.to_string()));
            }
            // What is over for a stream is over for the tunnel; the rest goes on.
            Err(error) => return (events, Some(error.to_string())),
            Ok(()) => {}
        }
    }
    (events, None)
}

proptest! {
    #[test]
    fn a_client_bears_any_server(steps in steps(&[0, 3, 7, 11, 1]), piece in 1_usize..50) {
        let fresh = || client::Session::new("gateway.example", true);
        let whole = run(&mut fresh(), &steps, usize::MAX);
        prop_assert_eq!(run(&mut fresh(), &steps, piece), whole);
    }

    #[test]
    fn a_server_bears_any_client(steps in steps(&[0, 2, 6, 10, 4]), piece in 1_usize..50) {
        let fresh = || server::Session::new(true);
        let whole = run(&mut fresh(), &steps, usize::MAX);
        prop_assert_eq!(run(&mut fresh(), &steps, piece), whole);
    }
}

/// What follows on a stream of no interest is of none either, though it may look like the beginning of one that matters.
//= RFC 9114 6.2.3
#[test]
fn a_stream_of_no_interest_stays_so() {
    let mut server = server::Session::new(true);
    server.receive(2, &[0, 4, 0], false).unwrap();
    server.receive(6, &[0x21], false).unwrap();
    for byte in 0..=3 {
        server.receive(6, &[byte, 0], false).unwrap();
    }
    // The twin: a second control stream.
    assert!(server.receive(10, &[0], false).is_err());
}
