//! The way of packets into a connection: they wait here, where it is fair, and not in the connection, where it is not.
//!
//! In: packets, and how the connection fares. Out: the next packet, as soon as the connection needs it.

use std::time::Duration;

use quinn::Connection;
use tokio::time::Instant;

use super::controller::ROOM;
use super::queue::{Class, Queue};

/// Packets on their way into one connection.
pub struct Lane {
    connection: Connection,
    queue: Queue,
    /// Bytes that may wait here.
    most: usize,
    /// Bytes that may wait in the connection.
    ahead: usize,
    /// Bytes that it takes before it is asked again.
    left: usize,
    /// When that was computed.
    looked: Option<Instant>,
    /// The longest datagram.
    longest: Option<usize>,
}

impl Lane {
    /// For a connection whose buffer for datagrams has [`DATAGRAMS_OUT`] bytes.
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self {
            connection,
            queue: Queue::default(),
            most: QUEUE_LEAST,
            ahead: AHEAD_LEAST,
            left: 0,
            looked: None,
            longest: None,
        }
    }

    /// Takes a packet; when too much waits, one is dropped.
    pub fn push(&mut self, packet: Vec<u8>, class: Class) {
        let now = self.look();
        self.queue.push(packet, class, self.most, now.into_std());
    }

    /// The next packet, if the connection needs one.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        if self.left == 0 && !self.queue.is_empty() {
            self.left = self.needs();
        }
        if self.left == 0 {
            return None;
        }
        let packet = self.queue.pop(Instant::now().into_std())?;
        self.left = self.left.saturating_sub(packet.len());
        Some(packet)
    }

    /// Waits until the connection needs a packet. Cancel-safe.
    pub async fn needed(&self) {
        while self.left == 0 && self.needs() == 0 {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Packets dropped since the last time that somebody asked.
    pub fn dropped(&mut self) -> u64 {
        self.queue.dropped()
    }

    /// The longest datagram that the path carries; none when the other end takes none.
    #[must_use]
    pub fn longest(&self) -> Option<usize> {
        self.longest
    }

    /// The path is another one: looks at it again at once.
    pub fn forget(&mut self) {
        self.looked = None;
        let _ = self.look();
    }

    fn needs(&self) -> usize {
        let waits = DATAGRAMS_OUT.saturating_sub(self.connection.datagram_send_buffer_space());
        self.ahead.saturating_sub(waits)
    }

    fn look(&mut self) -> Instant {
        let now = Instant::now();
        let is_due = |looked| now.saturating_duration_since(looked) >= LOOK_EVERY;
        if self.looked.is_none_or(is_due) {
            let path = self.connection.stats().path;
            (self.most, self.ahead) = bounds(path.cwnd, path.rtt);
            self.longest = self.connection.max_datagram_size();
            self.looked = Some(now);
        }
        now
    }
}

/// How many bytes may wait for a path, here and in the connection, before more of them would only come late.
fn bounds(window: u64, rtt: Duration) -> (usize, usize) {
    let micros = (rtt + ROOM).as_micros().clamp(1_000, 10_000_000);
    let in_time = |time: Duration, least, most| {
        let bytes = u128::from(window).saturating_mul(time.as_micros()) / micros;
        usize::try_from(bytes).map_or(most, |bytes| bytes.clamp(least, most))
    };
    (
        in_time(QUEUE, QUEUE_LEAST, QUEUE_MOST),
        in_time(AHEAD, AHEAD_LEAST, AHEAD_MOST),
    )
}

/// How long packets wait here at most, about.
const QUEUE: Duration = Duration::from_millis(50);
/// One train of the kernel on whatever path.
const QUEUE_LEAST: usize = 64 << 10;
/// Bytes that wait on the fastest path.
//= C7
const QUEUE_MOST: usize = 1 << 20;
/// How long they wait in the connection, where nobody is first: more than it takes to look again.
const AHEAD: Duration = Duration::from_millis(4);
const AHEAD_LEAST: usize = 6 << 10;
/// As much as the buffer of the connection, less what it counts for each datagram: it would drop the oldest.
const AHEAD_MOST: usize = DATAGRAMS_OUT - (16 << 10);
/// Datagrams that wait in a connection, in bytes.
//= C7
pub const DATAGRAMS_OUT: usize = 256 << 10;
/// Between looks at how fast the path is.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_fifty_milliseconds_of_the_path() {
        let ms = Duration::from_millis;
        // 20 Mbit/s at 40 ms, filled: 65 ms of it are on the way.
        assert_eq!(bounds(162_500, ms(40)), (125_000, 10_000));
        assert_eq!(bounds(50_000, ms(400)), (QUEUE_LEAST, AHEAD_LEAST));
        assert_eq!(bounds(u64::MAX, ms(1)), (QUEUE_MOST, AHEAD_MOST));
        assert_eq!(bounds(0, Duration::ZERO), (QUEUE_LEAST, AHEAD_LEAST));
    }
}
