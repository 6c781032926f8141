//! The streams of a connection: their bytes to the session, what the session says onto them.
//!
//! In: streams of quinn, [`Transmit`]s. Out: bytes in order. Each stream is read by a task of its own, all are written by
//! one; whoever does not listen holds up its own streams and nothing else. Knows nothing of what the bytes mean.

use std::collections::BTreeMap;

use quinn::{Connection, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::entrance::close;
use crate::masque::{Code, Transmit};

/// What was read.
pub(super) enum Heard {
    /// The next bytes of a stream.
    Bytes {
        stream: u64,
        bytes: Vec<u8>,
        fin: bool,
    },
    /// The peer gave up a stream.
    Reset { stream: u64 },
}

/// What is to be written.
pub(super) enum Written {
    /// A stream that the peer opened for both directions.
    New(u64, SendStream),
    /// As the session says.
    Transmit(Transmit),
    /// Give up a stream.
    Reset(u64, Code),
}

/// The readers of a connection; they end with this value.
pub(super) struct Readers {
    tasks: JoinSet<()>,
    stops: BTreeMap<u64, oneshot::Sender<Code>>,
    heard: mpsc::Sender<Heard>,
}

impl Readers {
    pub(super) fn new(heard: mpsc::Sender<Heard>) -> Self {
        Self {
            tasks: JoinSet::new(),
            stops: BTreeMap::new(),
            heard,
        }
    }

    /// Reads a stream to its end.
    pub(super) fn read(&mut self, stream: RecvStream) {
        // Those that ended by themselves.
        while self.tasks.try_join_next().is_some() {}
        self.stops.retain(|_, stop| !stop.is_closed());
        let (stop, stopped) = oneshot::channel();
        self.stops.insert(number(stream.id()), stop);
        self.tasks.spawn(read(stream, self.heard.clone(), stopped));
    }

    /// Reads no more of a stream, and says so.
    pub(super) fn stop(&mut self, stream: u64, code: Code) {
        if let Some(stop) = self.stops.remove(&stream) {
            // It may have ended.
            let _ = stop.send(code);
        }
    }
}

async fn read(
    mut stream: RecvStream,
    heard: mpsc::Sender<Heard>,
    stopped: oneshot::Receiver<Code>,
) {
    let id = number(stream.id());
    tokio::pin!(stopped);
    loop {
        let read = tokio::select! {
            read = stream.read_chunk(CHUNK, true) => read,
            Ok(code) = &mut stopped => {
                // It may have ended.
                let _ = stream.stop(value(code));
                return;
            }
        };
        let (news, last) = match read {
            Ok(Some(chunk)) => {
                let bytes = chunk.bytes.to_vec();
                let news = Heard::Bytes {
                    stream: id,
                    bytes,
                    fin: false,
                };
                (news, false)
            }
            Ok(None) => {
                let news = Heard::Bytes {
                    stream: id,
                    bytes: Vec::new(),
                    fin: true,
                };
                (news, true)
            }
            Err(quinn::ReadError::Reset(_)) => (Heard::Reset { stream: id }, true),
            // The connection is over, which the session hears by itself.
            Err(_) => return,
        };
        if heard.send(news).await.is_err() || last {
            return;
        }
    }
}

/// Writes what the session says, in its order; ends when the session does.
pub(super) async fn write(connection: Connection, mut queue: mpsc::Receiver<Written>) {
    let mut streams: BTreeMap<u64, SendStream> = BTreeMap::new();
    let Ok(mut control) = connection.open_uni().await else {
        return;
    };
    let stopped = control.stopped();
    tokio::pin!(stopped);
    loop {
        let written = tokio::select! {
            written = queue.recv() => written,
            //= RFC 9114 6.2.1
            result = &mut stopped => {
                // Otherwise the connection is over, and why is known.
                if matches!(result, Ok(Some(_))) {
                    let why = "the control stream was stopped";
                    close(&connection, Code::ClosedCriticalStream, why);
                }
                return;
            }
        };
        let Some(written) = written else {
            return;
        };
        match written {
            Written::New(number, stream) => {
                streams.insert(number, stream);
            }
            Written::Transmit(Transmit::Control(bytes)) => {
                // If it is stopped, that is seen next.
                let _ = control.write_all(&bytes).await;
            }
            Written::Transmit(Transmit::Request { stream, bytes, fin }) => {
                let Some(sending) = streams.get_mut(&stream) else {
                    continue;
                };
                let sent = sending.write_all(&bytes).await;
                match sent {
                    Ok(()) if fin => {
                        // It may be stopped.
                        let _ = sending.finish();
                        streams.remove(&stream);
                    }
                    Ok(()) => {}
                    Err(WriteError::Stopped(_) | WriteError::ClosedStream) => {
                        streams.remove(&stream);
                    }
                    Err(WriteError::ConnectionLost(_) | WriteError::ZeroRttRejected) => return,
                }
            }
            // The session tells the readers itself.
            Written::Transmit(Transmit::Stop { .. }) => {}
            Written::Reset(number, code) => {
                if let Some(mut stream) = streams.remove(&number) {
                    // It may be closed.
                    let _ = stream.reset(value(code));
                }
            }
        }
    }
}

/// The number of a stream, as in frames.
pub(super) fn number(id: quinn::StreamId) -> u64 {
    VarInt::from(id).into_inner()
}

fn value(code: Code) -> VarInt {
    VarInt::from_u64(code.value()).unwrap_or(VarInt::MAX)
}

/// Bytes of a stream at a time.
const CHUNK: usize = 16 << 10;
