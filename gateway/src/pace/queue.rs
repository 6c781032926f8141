//! Which packet is next: what waits for a tunnel, in classes, and in each class fair between those who speak.
//!
//! In: packets, what they are worth, the time. Out: the next one. Bounded in bytes and in time.
//! A flow that sends little never waits behind one that sends much (RFC 8290); of packets that wait longer than
//! [`TARGET`] one is dropped now and then, so that TCP slows down before the queue is full (RFC 8289).

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::masque::packet;

/// What a packet is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// First.
    Critical,
    /// Then.
    #[default]
    Normal,
    /// When nobody else wants.
    Bulk,
}

const CLASSES: [Class; 3] = [Class::Critical, Class::Normal, Class::Bulk];

/// Packets that wait.
#[derive(Debug, Default)]
pub struct Queue {
    flows: HashMap<(Class, u8), Flow>,
    turns: [Turns; 3],
    bytes: usize,
    /// Packets of a class since one of a lower class that waited had its turn.
    in_a_row: usize,
    /// Packets dropped so far.
    dropped: u64,
}

/// Those of one class who have packets: who began just now, and who goes on.
#[derive(Debug, Default)]
struct Turns {
    new: VecDeque<u8>,
    old: VecDeque<u8>,
}

#[derive(Debug, Default)]
struct Flow {
    packets: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    /// Bytes that it may send in this turn.
    credit: usize,
    /// Whether it waits for its turn.
    is_listed: bool,
    delay: Delay,
}

/// When to drop (RFC 8289 5).
#[derive(Debug, Default)]
struct Delay {
    /// Since when packets wait too long, and one interval more.
    above: Option<Instant>,
    /// The next one is dropped then.
    next: Option<Instant>,
    count: u32,
}

impl Queue {
    /// Takes a packet. What waits is at most `most` bytes: beyond that the flow that has most loses its oldest.
    //= C7
    pub fn push(&mut self, packet: Vec<u8>, class: Class, most: usize, now: Instant) {
        let number = flow(&packet);
        let flow = self.flows.entry((class, number)).or_default();
        if !flow.is_listed {
            (flow.is_listed, flow.credit) = (true, QUANTUM);
            self.turns[index(class)].new.push_back(number);
        }
        flow.bytes = flow.bytes.saturating_add(packet.len());
        self.bytes = self.bytes.saturating_add(packet.len());
        flow.packets.push_back((now, packet));
        while self.bytes > most {
            let longest = self.flows.iter().filter(|(_, flow)| flow.bytes > 0);
            let longest = longest.max_by_key(|((class, _), flow)| (flow.bytes, *class));
            let Some(key) = longest.map(|(key, _)| *key) else {
                return;
            };
            if self.take(key).is_some() {
                self.dropped = self.dropped.saturating_add(1);
            }
        }
    }

    /// The next packet.
    pub fn pop(&mut self, now: Instant) -> Option<Vec<u8>> {
        let waits = |turns: &Turns| !turns.new.is_empty() || !turns.old.is_empty();
        let mut order = CLASSES;
        if self.in_a_row >= MOST_IN_A_ROW {
            // The lowest is not forgotten.
            order.reverse();
        }
        for class in order {
            let lower = self.turns.iter().skip(index(class) + 1).any(waits);
            let Some(packet) = self.next_of(class, now) else {
                continue;
            };
            let forgets = lower && self.in_a_row < MOST_IN_A_ROW;
            self.in_a_row = if forgets { self.in_a_row + 1 } else { 0 };
            return Some(packet);
        }
        None
    }

    fn next_of(&mut self, class: Class, now: Instant) -> Option<Vec<u8>> {
        loop {
            let turns = &mut self.turns[index(class)];
            let is_new = !turns.new.is_empty();
            let list = if is_new {
                &mut turns.new
            } else {
                &mut turns.old
            };
            let number = list.front().copied()?;
            let key = (class, number);
            let Some(flow) = self.flows.get_mut(&key) else {
                list.pop_front();
                continue;
            };
            if flow.credit == 0 {
                flow.credit = QUANTUM;
                list.pop_front();
                turns.old.push_back(number);
                continue;
            }
            let Some(length) = flow.packets.front().map(|(_, packet)| packet.len()) else {
                list.pop_front();
                if is_new && !turns.old.is_empty() {
                    // So that it is not new again with its next packet.
                    turns.old.push_back(number);
                } else {
                    self.flows.remove(&key);
                }
                continue;
            };
            let since = flow.packets.front().map_or(now, |(since, _)| *since);
            let drops = flow.delay.drops(since, now, flow.bytes);
            flow.credit = flow.credit.saturating_sub(if drops { 0 } else { length });
            let packet = self.take(key);
            if drops {
                self.dropped = self.dropped.saturating_add(1);
            } else {
                return packet;
            }
        }
    }

    fn take(&mut self, key: (Class, u8)) -> Option<Vec<u8>> {
        let flow = self.flows.get_mut(&key)?;
        let (_, packet) = flow.packets.pop_front()?;
        flow.bytes = flow.bytes.saturating_sub(packet.len());
        self.bytes = self.bytes.saturating_sub(packet.len());
        Some(packet)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes that wait.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Packets dropped since the last time that somebody asked.
    pub fn dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

impl Delay {
    fn drops(&mut self, since: Instant, now: Instant, bytes: usize) -> bool {
        if now.saturating_duration_since(since) < TARGET || bytes <= QUANTUM {
            *self = Self::default();
            return false;
        }
        let above = *self.above.get_or_insert(now + INTERVAL);
        if now < self.next.unwrap_or(above) {
            return false;
        }
        self.count = self.count.saturating_add(1);
        let pause = INTERVAL.div_f64(f64::from(self.count).sqrt());
        self.next = Some(now + pause);
        true
    }
}

fn index(class: Class) -> usize {
    match class {
        Class::Critical => 0,
        Class::Normal => 1,
        Class::Bulk => 2,
    }
}

/// Packets of one connection have one number; others may have it too, and then share its turns.
fn flow(packet: &[u8]) -> u8 {
    let Ok(head) = packet::head(packet) else {
        return 0;
    };
    let addresses = match (head.source.is_ipv4(), head.header) {
        (true, _) => packet.get(12..20),
        (false, _) => packet.get(8..40),
    };
    // The ports of TCP and UDP, and what stands there in others.
    let ports = packet.get(head.header..head.header.saturating_add(4));
    let bytes = addresses.into_iter().chain(ports).flatten();
    // FNV-1a.
    let hash = bytes.fold(0x811c_9dc5_u32 ^ u32::from(head.protocol), |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    let [a, b, c, d] = hash.to_be_bytes();
    a ^ b ^ c ^ d
}

/// Bytes of one turn: a packet of whatever length.
const QUANTUM: usize = 1514;
/// Packets of higher classes, one after the other, while a lower one waits.
const MOST_IN_A_ROW: usize = 32;
/// How long packets of a flow may wait for long.
pub const TARGET: Duration = Duration::from_millis(15);
/// And for how long they may wait longer: a round trip of a bad path.
const INTERVAL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs a first instant")]
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const MUCH: usize = 1 << 20;

    /// A packet of UDP from a port.
    fn packet(port: u16, length: u16, mark: u8) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0];
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        let words = packet
            .chunks(2)
            .map(|two| u32::from(u16::from_be_bytes([two[0], two[1]])));
        let sum: u32 = words.sum();
        let sum = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        packet[10..12].copy_from_slice(&(!sum).to_be_bytes());
        packet.extend(port.to_be_bytes());
        packet.extend([0, 80]);
        packet.resize(length.into(), mark);
        packet
    }

    fn marks(queue: &mut Queue, now: Instant) -> Vec<u8> {
        let popped = std::iter::from_fn(|| queue.pop(now));
        popped.map(|packet| *packet.last().unwrap()).collect()
    }

    #[test]
    fn a_flow_keeps_its_order_and_a_small_one_does_not_wait() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for mark in 0..50 {
            queue.push(packet(1, 1400, mark), Class::Normal, MUCH, now);
        }
        let first = queue.pop(now).unwrap();
        assert_eq!(*first.last().unwrap(), 0);
        queue.push(packet(2, 100, 200), Class::Normal, MUCH, now);
        let rest = marks(&mut queue, now);
        assert!(rest.iter().position(|mark| *mark == 200).unwrap() <= 1);
        let others: Vec<u8> = rest.into_iter().filter(|mark| *mark != 200).collect();
        assert_eq!(others, (1..50).collect::<Vec<u8>>());
        assert!(queue.is_empty() && queue.flows.is_empty() && queue.dropped() == 0);
    }

    #[test]
    fn two_who_send_much_share() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for port in [1, 2] {
            for _ in 0..50 {
                queue.push(
                    packet(port, 1400, u8::try_from(port).unwrap()),
                    Class::Normal,
                    MUCH,
                    now,
                );
            }
        }
        let half: Vec<u8> = marks(&mut queue, now).into_iter().take(40).collect();
        let of_one = half.iter().filter(|mark| **mark == 1).count();
        assert!((18..=22).contains(&of_one), "{of_one}");
    }

    #[test]
    fn classes_go_first_and_none_is_forgotten() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (port, class) in [(1, Class::Bulk), (2, Class::Normal), (3, Class::Critical)] {
            for _ in 0..200 {
                queue.push(
                    packet(port, 1000, u8::try_from(port).unwrap()),
                    class,
                    MUCH,
                    now,
                );
            }
        }
        let order = marks(&mut queue, now);
        assert_eq!(order[0], 3);
        let of = |mark| order[..200].iter().filter(|other| **other == mark).count();
        assert!(of(3) > 180, "{}", of(3));
        assert!((2..10).contains(&of(1)), "{}", of(1));
    }

    #[test]
    fn too_many_bytes_cost_the_longest_its_oldest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(packet(2, 200, 200), Class::Bulk, 10_000, now);
        for mark in 0..100 {
            queue.push(packet(1, 1000, mark), Class::Critical, 10_000, now);
        }
        assert!(queue.bytes() <= 10_000);
        assert_eq!(queue.dropped(), 91);
        let kept = marks(&mut queue, now);
        assert_eq!(kept, [91, 92, 93, 94, 95, 96, 97, 98, 99, 200]);
    }

    #[test]
    fn a_queue_that_stands_loses_a_packet_now_and_then() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        // Arrives as fast as it leaves, 40 ms late, for two seconds.
        let mut dropped = 0;
        for step in 0..2040_u32 {
            let now = start + MS * step;
            queue.push(packet(1, 1400, 1), Class::Normal, MUCH, now);
            if step >= 40 {
                let _ = queue.pop(now);
            }
            dropped += queue.dropped();
        }
        assert!((3..30).contains(&dropped), "{dropped}");
        // A burst that goes at once loses nothing.
        let later = start + MS * 4000;
        while queue.pop(later).is_some() {}
        let _ = queue.dropped();
        for _ in 0..100 {
            queue.push(packet(1, 1400, 1), Class::Normal, MUCH, later);
        }
        assert_eq!(marks(&mut queue, later + MS * 10).len(), 100);
        assert_eq!(queue.dropped(), 0);
    }
}
