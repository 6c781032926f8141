//! One socket of a connection: what waits to be written, and how it ends.
//!
//! In: [`Outgoing`], which needs a proof. Out: the same bytes in the same order.
//! Knows nothing of the other side, of protocols or of the supervisor.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use protocol_inspect::{Permit, Spoken};
use rustix::net::sockopt;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// What may be written to a socket. Each case is a proof that only an inspector makes.
//= C1
//= C2
pub(super) enum Outgoing {
    /// Bytes that an inspector approved.
    Approved(Permit),
    /// The gateway's own words.
    Own(Spoken),
}

impl Outgoing {
    fn into_parts(self) -> impl Iterator<Item = Bytes> {
        let (approved, own) = match self {
            Self::Approved(permit) => (Some(permit.into_parts()), None),
            Self::Own(spoken) => (None, Some(spoken.into_bytes())),
        };
        approved.into_iter().flatten().chain(own)
    }
}

/// One end of a connection.
///
/// Until an orderly end the socket resets when it is dropped, for whatever reason,
/// so that a peer never takes half a message for a whole one that ended well.
pub(super) struct Leg {
    stream: TcpStream,
    queue: VecDeque<Bytes>,
    queued: usize,
    /// The peer sent FIN.
    finished: bool,
    closing: Closing,
    patience: Duration,
    /// When the peer must have taken more; only while something waits.
    stuck_at: Option<Instant>,
    /// Bytes taken since `stuck_at` was set.
    progress: usize,
    written: u64,
    /// When the kernel last took bytes.
    written_at: Option<Instant>,
}

/// How far the end of a leg is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// Open.
    No,
    /// Everything queued goes out first.
    AfterQueue { reset: bool },
    /// FIN was sent. What the peer still sends is read and thrown away for a while:
    /// closing with unread bytes would reset, and a reset can destroy our last words on their way.
    Lingering { until: Instant },
    /// No FIN was sent and a reset will follow. It waits as long, because it destroys what the kernel still holds,
    /// or what was lost on its way and must be sent once more.
    Settling { until: Instant },
}

/// What became of bytes that were read.
pub(super) enum Input {
    /// So many bytes.
    Bytes(usize),
    /// FIN.
    End,
    /// None now.
    Nothing,
}

/// What a leg needs after it was given a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Alive.
    Open,
    /// Closed as it was asked to; drop it.
    Done,
    /// The peer is gone or does not take what we write; drop it.
    Dead,
}

impl Leg {
    /// Takes over a connected socket.
    pub(super) fn new(socket: OwnedFd, patience: Duration) -> io::Result<Self> {
        let stream = std::net::TcpStream::from(socket);
        stream.set_nonblocking(true)?;
        undelayed(&stream)?;
        reset_on_close(&stream)?;
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            queue: VecDeque::new(),
            queued: 0,
            finished: false,
            closing: Closing::No,
            patience,
            stuck_at: None,
            progress: 0,
            written: 0,
            written_at: None,
        })
    }

    /// Queues bytes. False when the leg is being closed: nothing is written after that.
    pub(super) fn send(&mut self, outgoing: Outgoing, now: Instant) -> bool {
        if self.closing != Closing::No {
            return false;
        }
        for bytes in outgoing.into_parts() {
            if bytes.is_empty() {
                continue;
            }
            if self.queue.is_empty() {
                self.stuck_at = now.checked_add(self.patience);
                self.progress = 0;
            }
            self.queued = self.queued.saturating_add(bytes.len());
            self.queue.push_back(bytes);
        }
        true
    }

    /// Closes after everything that was queued. Asked twice, the stronger wish holds.
    pub(super) fn close(&mut self, reset: bool) {
        self.closing = match self.closing {
            Closing::No => Closing::AfterQueue { reset },
            Closing::AfterQueue { reset: before } => Closing::AfterQueue {
                reset: before || reset,
            },
            last @ (Closing::Lingering { .. } | Closing::Settling { .. }) => last,
        };
    }

    /// Whether the peer's bytes are still of interest.
    pub(super) fn is_readable(&self) -> bool {
        !self.finished && self.closing == Closing::No
    }

    /// Bytes that wait.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Bytes that the kernel took so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// When [`Self::advance`] must be called at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.closing {
            Closing::Lingering { until } | Closing::Settling { until } => Some(until),
            Closing::No | Closing::AfterQueue { .. } => self.stuck_at,
        }
    }

    /// Whether there is something to read (if `read` says so) or room to write (if something waits).
    /// If not, the task is woken when there is.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>, read: bool) -> Poll<()> {
        // After the end of the peer's stream a socket is readable for ever.
        let lingering = !self.finished
            && matches!(
                self.closing,
                Closing::Lingering { .. } | Closing::Settling { .. }
            );
        // An error here shows again, with its kind, when the socket is used.
        if (read || lingering) && self.stream.poll_read_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        if !self.queue.is_empty() && self.stream.poll_write_ready(cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Reads what is there.
    pub(super) fn read(&mut self, space: &mut [u8]) -> io::Result<Input> {
        let room = space.len();
        let read = self.stream.try_read(space);
        self.was_read(read, room)
    }

    /// As [`Self::read`], behind what `space` holds and as much as it has room for.
    pub(super) fn read_into(&mut self, space: &mut BytesMut) -> io::Result<Input> {
        let room = space.capacity().saturating_sub(space.len());
        let read = self.stream.try_read_buf(space);
        self.was_read(read, room)
    }

    fn was_read(&mut self, read: io::Result<usize>, room: usize) -> io::Result<Input> {
        match read {
            Ok(0) => {
                self.finished = true;
                Ok(Input::End)
            }
            Ok(bytes) => {
                if bytes < room {
                    self.is_read_empty();
                }
                Ok(Input::Bytes(bytes))
            }
            Err(error) if is_later(&error) => Ok(Input::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Less came than there was room for, so nothing is left: the kernel says when there is more, and need not be asked.
    fn is_read_empty(&self) {
        let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
        let _nothing = self.stream.try_io(Interest::READABLE, empty);
    }

    /// Writes what the peer takes, and goes on with closing.
    pub(super) fn advance(&mut self, space: &mut [u8], now: Instant) -> Condition {
        if self.flush(now).is_err() {
            return Condition::Dead;
        }
        if self.stuck_at.is_some_and(|at| at <= now) {
            return Condition::Dead;
        }
        match self.closing {
            Closing::No => Condition::Open,
            Closing::AfterQueue { .. } if !self.queue.is_empty() => Condition::Open,
            Closing::AfterQueue { reset: true } => self.settle(now),
            Closing::AfterQueue { reset: false } => self.finish(now),
            Closing::Lingering { until } | Closing::Settling { until } if until <= now => {
                Condition::Done
            }
            // Our last words may still be on their way to a peer that only stopped speaking.
            Closing::Settling { .. } if self.finished => Condition::Open,
            Closing::Lingering { .. } | Closing::Settling { .. } => self.discard(space),
        }
    }

    /// All that waits in as few calls as possible.
    fn flush(&mut self, now: Instant) -> io::Result<()> {
        while let Some(first) = self.queue.front() {
            if self.queue.len() == 1 {
                match self.stream.try_write(first) {
                    Ok(written) => self.took(written, now),
                    Err(error) if is_later(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
                continue;
            }
            let slices: Vec<IoSlice<'_>> = self
                .queue
                .iter()
                .take(SLICES)
                .map(|bytes| IoSlice::new(bytes))
                .collect();
            match self.stream.try_write_vectored(&slices) {
                Ok(written) => self.took(written, now),
                Err(error) if is_later(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn took(&mut self, written: usize, now: Instant) {
        let mut left = written;
        while let Some(first) = self.queue.front_mut() {
            if left < first.len() {
                first.advance(left);
                break;
            }
            left = left.saturating_sub(first.len());
            self.queue.pop_front();
        }
        self.queued = self.queued.saturating_sub(written);
        self.written = self.written.saturating_add(written as u64);
        self.progress = self.progress.saturating_add(written);
        self.written_at = Some(now);
        if self.queue.is_empty() {
            self.stuck_at = None;
        } else if self.progress >= MIN_PROGRESS {
            self.stuck_at = now.checked_add(self.patience);
            self.progress = 0;
        }
    }

    fn finish(&mut self, now: Instant) -> Condition {
        let socket = rustix::fd::AsFd::as_fd(&self.stream);
        let orderly = sockopt::set_socket_linger(socket, None)
            .and_then(|()| rustix::net::shutdown(socket, rustix::net::Shutdown::Write));
        if orderly.is_err() || self.finished {
            return Condition::Done;
        }
        self.closing = Closing::Lingering {
            until: now + LINGER,
        };
        Condition::Open
    }

    /// Resets at once only where nothing can be lost by it any more.
    fn settle(&mut self, now: Instant) -> Condition {
        match self.written_at.map(|at| at + LINGER) {
            Some(until) if until > now => {
                self.closing = Closing::Settling { until };
                Condition::Open
            }
            Some(_) | None => Condition::Done,
        }
    }

    fn discard(&mut self, space: &mut [u8]) -> Condition {
        // One read a turn: a peer that floods gets no more of our time than an honest one.
        match self.read(space) {
            Ok(Input::Bytes(_) | Input::Nothing) => Condition::Open,
            Ok(Input::End) if matches!(self.closing, Closing::Settling { .. }) => Condition::Open,
            Ok(Input::End) | Err(_) => Condition::Done,
        }
    }
}

/// Refuses a connection at once.
pub(super) fn refuse(socket: OwnedFd) {
    let stream = std::net::TcpStream::from(socket);
    // When this fails the peer sees FIN instead, which says no as well.
    let _reset = reset_on_close(&stream);
}

fn reset_on_close(stream: &std::net::TcpStream) -> io::Result<()> {
    Ok(sockopt::set_socket_linger(stream, Some(Duration::ZERO))?)
}

/// What is no TCP socket has no delay either: the supervisor's probes come over socket pairs.
fn undelayed(stream: &std::net::TcpStream) -> io::Result<()> {
    match stream.set_nodelay(true) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        set => set,
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Pieces in one write.
const SLICES: usize = 64;
/// A peer that takes less than this in its time is as good as gone.
const MIN_PROGRESS: usize = 4 << 10;
/// How long the peer may take to see our last words.
const LINGER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "sockets run in real time")]
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Words that the kernel has and the peer has not: it reads slowly, and first of all later.
    async fn last_words(reset: bool, half_closed: bool) -> (usize, Option<io::ErrorKind>) {
        const LENGTH: usize = 48 << 10;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpSocket::new_v4().unwrap();
        far.set_recv_buffer_size(4 << 10).unwrap();
        let address = listener.local_addr().unwrap();
        let (far, near) = tokio::join!(far.connect(address), listener.accept());
        let (mut far, near) = (far.unwrap(), near.unwrap().0.into_std().unwrap());
        if half_closed {
            rustix::net::shutdown(&far, rustix::net::Shutdown::Write).unwrap();
        }
        let mut leg = Leg::new(near.into(), Duration::from_secs(9)).unwrap();
        let mut space = [0; 64];
        if half_closed {
            std::future::poll_fn(|cx| leg.poll_ready(cx, true)).await;
            assert!(matches!(leg.read(&mut space), Ok(Input::End)));
        }
        let words = Spoken::for_test(vec![b'x'; LENGTH].into());
        assert!(leg.send(Outgoing::Own(words), Instant::now()));
        leg.close(reset);
        let ends = async move {
            let mut turns = 0;
            while leg.advance(&mut space, Instant::now()) == Condition::Open {
                let ready = std::future::poll_fn(|cx| leg.poll_ready(cx, false));
                let _turn = tokio::time::timeout(LINGER / 20, ready).await;
                turns += 1;
            }
            assert!(turns < 200, "{turns} turns");
        };
        let reads = async {
            tokio::time::sleep(LINGER / 10).await;
            let (mut got, mut space) = (0, [0; 1_000]);
            loop {
                match far.read(&mut space).await {
                    Ok(0) => return (got, None),
                    Ok(length) => got += length,
                    Err(error) => return (got, Some(error.kind())),
                }
            }
        };
        let ((), (got, error)) = tokio::join!(ends, reads);
        (LENGTH - got, error)
    }

    #[tokio::test]
    async fn last_words_arrive_before_a_reset_and_before_an_end() {
        let reset = Some(io::ErrorKind::ConnectionReset);
        assert_eq!(last_words(true, false).await, (0, reset));
        assert_eq!(last_words(true, true).await, (0, reset));
        assert_eq!(last_words(false, false).await, (0, None));
        assert_eq!(last_words(false, true).await, (0, None));
    }

    #[tokio::test]
    async fn who_heard_nothing_is_reset_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (_far, near) = tokio::join!(far, listener.accept());
        let near = near.unwrap().0.into_std().unwrap();
        let mut leg = Leg::new(near.into(), Duration::from_secs(9)).unwrap();
        leg.close(true);
        let condition = leg.advance(&mut [0; 64], Instant::now());
        assert_eq!(condition, Condition::Done);
    }
}
