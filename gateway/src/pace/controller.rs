//! How much may be on its way: a controller of congestion for what is controlled inside already.
//!
//! In: what was acknowledged when, what was lost. Out: a window.
//! A tunnel carries TCP that slows down by itself when packets are lost or late (RFC 9484 11): a second controller that
//! halves at a single loss makes it slow twice. So the window follows what arrives: as much as the path delivered at its
//! best, for the shortest round trip and [`ROOM`] more, so that what waits does so in our queue, which is fair, and not
//! in a router's. Single losses do not count; many in one round, marks (ECN) and silence do.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

/// Makes a [`Steady`] for each path.
#[derive(Clone, Copy, Debug, Default)]
pub struct SteadyConfig;

impl ControllerFactory for SteadyConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        Box::new(Steady::new(now, mtu))
    }
}

/// The controller of one path.
#[derive(Clone, Debug)]
pub struct Steady {
    mtu: u64,
    window: u64,
    /// What loss and marks leave of the window.
    ceiling: u64,
    rate: Best,
    /// Rounds in which the speed counts as rising.
    rises: u8,
    shortest: Shortest,
    round: Round,
    /// Delivered and lost since it was last judged.
    judged: (u64, u64),
    /// What was sent before says nothing of this path.
    since: Instant,
    /// How often somebody said that the path is another one, and of how many of those it is known here.
    moves: (Arc<AtomicU32>, u32),
}

/// From one acknowledgement to that of what was sent after it.
#[derive(Clone, Debug)]
struct Round {
    began: Instant,
    delivered: u64,
    shortest: Duration,
    is_marked: bool,
    /// Whether less was sent to see the shortest trip.
    is_drained: bool,
    /// The most that was on its way.
    most: u64,
}

impl Round {
    fn new(began: Instant) -> Self {
        Self {
            began,
            delivered: 0,
            shortest: Duration::MAX,
            is_marked: false,
            is_drained: false,
            most: 0,
        }
    }
}

/// The best of the newest time, in two halves.
#[derive(Clone, Debug)]
struct Best {
    now: u64,
    before: u64,
    since: Instant,
    rounds: u8,
}

impl Best {
    fn get(&self) -> u64 {
        self.now.max(self.before)
    }

    fn put(&mut self, value: u64, now: Instant) {
        self.rounds = self.rounds.saturating_add(1);
        let is_old = now.saturating_duration_since(self.since) >= MEMORY;
        if is_old && self.rounds >= MEMORY_ROUNDS {
            (self.before, self.now) = (self.now, 0);
            (self.since, self.rounds) = (now, 0);
        }
        self.now = self.now.max(value);
    }
}

/// The shortest round trip, looked for again now and then by sending less for one.
#[derive(Clone, Debug)]
struct Shortest {
    known: Duration,
    at: Instant,
    /// Until when less is sent, and the shortest since.
    draining: Option<(Instant, Duration)>,
}

impl Steady {
    fn new(now: Instant, mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            window: mtu.saturating_mul(FIRST),
            ceiling: u64::MAX,
            rate: Best {
                now: 0,
                before: 0,
                since: now,
                rounds: 0,
            },
            rises: 0,
            shortest: Shortest {
                known: Duration::MAX,
                at: now,
                draining: None,
            },
            round: Round::new(now),
            judged: (0, 0),
            since: now,
            moves: (Arc::default(), 0),
        }
    }

    /// The path is another one: what is known of it is forgotten, by all copies of this controller.
    pub fn forget(&self) {
        self.moves.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether nothing is known of the path that is used now.
    fn is_moved(&self) -> bool {
        self.moves.0.load(Ordering::Relaxed) != self.moves.1
    }

    fn begin_anew(&mut self, now: Instant) {
        let mtu = u16::try_from(self.mtu).unwrap_or(u16::MAX);
        let moves = Arc::clone(&self.moves.0);
        *self = Self::new(now, mtu);
        let known = moves.load(Ordering::Relaxed);
        self.moves = (moves, known);
    }

    fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        if self.is_moved() {
            self.begin_anew(now);
        }
        if sent < self.since {
            return;
        }
        let trip = now.saturating_duration_since(sent);
        self.round.is_drained |= self.shortest.draining.is_some();
        self.saw(trip, now);
        self.round.shortest = self.round.shortest.min(trip);
        self.round.delivered = self.round.delivered.saturating_add(bytes);
        self.judged.0 = self.judged.0.saturating_add(bytes);
        if sent >= self.round.began {
            self.end_round(now);
        }
    }

    fn least(&self) -> u64 {
        self.mtu.saturating_mul(LEAST)
    }

    fn saw(&mut self, trip: Duration, now: Instant) {
        let shortest = &mut self.shortest;
        if trip <= shortest.known {
            (shortest.known, shortest.at) = (trip, now);
            shortest.draining = None;
            return;
        }
        if let Some((until, seen)) = &mut shortest.draining {
            *seen = trip.min(*seen);
            if now >= *until {
                (shortest.known, shortest.at) = (*seen, now);
                shortest.draining = None;
            }
        }
    }

    /// Whether the shortest round trip is still the same.
    fn look_again(&mut self, round: &Round, is_idle: bool, now: Instant) {
        let is_short = !self.waits(round);
        let shortest = &mut self.shortest;
        let is_due = now.saturating_duration_since(shortest.at) >= LOOK_AGAIN;
        if !is_due || shortest.draining.is_some() {
            return;
        }
        if is_idle || is_short {
            // None of ours waits on the way: what is seen is what there is, and nobody is held back to see it.
            (shortest.known, shortest.at) = (round.shortest, now);
            return;
        }
        // Two trips: one until less is on its way, one to see it.
        let long = round.shortest.saturating_mul(2);
        let long = long.clamp(DRAIN_LEAST, DRAIN_MOST);
        shortest.draining = Some((now + long, round.shortest));
    }

    /// Whether something waited on the way all the time.
    fn waits(&self, round: &Round) -> bool {
        self.shortest.known.saturating_add(self.room() / 2) < round.shortest
    }

    fn end_round(&mut self, now: Instant) {
        let round = std::mem::replace(&mut self.round, Round::new(now));
        let took = now.saturating_duration_since(round.began);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let rate = round.delivered.saturating_mul(1_000_000) / took;
        // What was not asked for does not say what the path could do. Our own queue feeds the connection in small pieces,
        // so that it often has nothing to send: what is on its way tells.
        let is_idle = round.most < self.window() / 2;
        let best = self.rate.get();
        if !is_idle && rate >= best.saturating_add(best / 4) {
            self.rises = RISES;
        }
        if !is_idle || rate > best {
            self.rate.put(rate, now);
        }
        let loses = self.loses();
        if round.is_marked || loses == Some(true) {
            let now_open = self.window.min(self.ceiling);
            self.ceiling = (now_open / 20).saturating_mul(17).max(self.least());
        } else if loses == Some(false) && self.ceiling != u64::MAX {
            let more = self.ceiling.saturating_add(self.ceiling / 4);
            // As soon as it does not hold anybody back it is forgotten.
            let holds = more < self.wanted().saturating_mul(2);
            self.ceiling = if holds { more } else { u64::MAX };
        }
        // Something waits on the way: then the path is full, and gets what it delivers.
        self.look_again(&round, is_idle, now);
        let full = self.waits(&round);
        let window = match (is_idle || round.is_drained, full) {
            // Nobody was held back: nothing is known of more, and nothing against what is.
            (true, _) => self.window.max(self.wanted()),
            (false, true) => self.wanted(),
            // Whoever is inside may look for more as fast as without a tunnel.
            // As long as that brings more; else no more than half above what it would get, so that a short look does not
            // fill a slow path.
            (false, false) => {
                let wanted = self.wanted();
                let above = if self.rises > 0 { wanted } else { wanted / 4 };
                let more = self.window.saturating_mul(2);
                more.min(wanted.saturating_add(above.saturating_mul(2)))
                    .max(self.window.min(wanted))
            }
        };
        self.rises = self.rises.saturating_sub(1);
        self.window = window.min(self.ceiling).max(self.least());
    }

    /// Whether more is lost than by accident, as soon as enough was sent to say so.
    fn loses(&mut self) -> Option<bool> {
        let (delivered, lost) = self.judged;
        let all = delivered.saturating_add(lost);
        if all < self.mtu.saturating_mul(ENOUGH) {
            return None;
        }
        self.judged = (0, 0);
        Some(lost.saturating_mul(100) > all.saturating_mul(TOLERATED))
    }

    fn room(&self) -> Duration {
        ROOM.max(self.shortest.known / 4)
    }

    /// What the path delivers in its shortest round trip, and some more.
    fn wanted(&self) -> u64 {
        let rate = self.rate.get();
        if self.shortest.known == Duration::MAX || rate == 0 {
            return self.window;
        }
        let held = self.shortest.known.saturating_add(self.room());
        let held = held.min(LONGEST).as_micros();
        let wanted = u128::from(rate).saturating_mul(held) / 1_000_000;
        let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
        wanted.clamp(self.least(), MOST)
    }
}

impl Controller for Steady {
    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        _app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        self.acked(now, sent, bytes);
    }

    fn on_end_acks(
        &mut self,
        _now: Instant,
        in_flight: u64,
        _app_limited: bool,
        _largest_packet_num_acked: Option<u64>,
    ) {
        self.round.most = self.round.most.max(in_flight);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        if is_persistent_congestion {
            // Nothing came through for long: the path is another one, or there is none.
            self.begin_anew(now);
            self.window = self.least();
            return;
        }
        self.judged.1 = self.judged.1.saturating_add(lost_bytes);
        self.round.is_marked |= lost_bytes == 0;
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.window = self.window.max(self.least());
    }

    fn window(&self) -> u64 {
        if self.is_moved() {
            return self.initial_window();
        }
        if self.shortest.draining.is_none() {
            return self.window;
        }
        let trip = self.shortest.known.as_micros();
        let half = u128::from(self.rate.get()).saturating_mul(trip) / 2_000_000;
        let half = u64::try_from(half).unwrap_or(u64::MAX);
        half.clamp(self.least(), self.window)
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.mtu.saturating_mul(FIRST)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

/// What may wait in the network beyond the shortest round trip; more than the jitter of a radio, less than one hears.
pub const ROOM: Duration = Duration::from_millis(25);
/// Packets before anything is known of a path, also after a move.
const FIRST: u64 = 32;
/// Packets on whatever path.
const LEAST: u64 = 4;
/// Bytes on whatever path.
//= C7
const MOST: u64 = 32 << 20;
/// Of a round, in percent: more lost than this is no accident of a radio.
const TOLERATED: u64 = 20;
/// Packets of which as many are lost say something.
const ENOUGH: u64 = 50;
/// Half of the time for which the best speed is remembered.
const MEMORY: Duration = Duration::from_secs(1);
const MEMORY_ROUNDS: u8 = 8;
/// A round shows what was on its way in the one before.
const RISES: u8 = 2;
/// After so long the shortest round trip may have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const DRAIN_LEAST: Duration = Duration::from_millis(5);
const DRAIN_MOST: Duration = Duration::from_millis(400);
/// A trip that counts: beyond that a path is broken.
const LONGEST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test needs a first instant")]
    use super::*;
    use std::collections::VecDeque;

    /// A path: a narrow place with a buffer, and loss. The sender always has more.
    struct Way {
        rate: u64,
        trip: Duration,
        buffer: u64,
        /// Of 100, evenly.
        lost: u64,
    }

    struct Seen {
        /// Bytes a second that arrived.
        rate: u64,
        /// Longest wait before the narrow place in the second half.
        waited: Duration,
    }

    /// Sends packets of 1200 bytes as the window allows, in steps of 100 µs.
    fn send(controller: &mut Steady, way: &Way, start: Instant, long: Duration) -> Seen {
        let step = Duration::from_micros(100);
        let (mut flying, mut in_flight) = (VecDeque::new(), 0);
        let (mut free, mut count, mut arrived) = (start, 0_u64, 0);
        let mut waited = Duration::ZERO;
        let mut now = start;
        while now < start + long {
            while let Some((at, sent, is_lost)) = flying.front().copied() {
                if at > now {
                    break;
                }
                flying.pop_front();
                in_flight -= 1200;
                if is_lost {
                    controller.on_congestion_event(now, sent, false, 1200);
                } else {
                    arrived += 1200;
                    controller.acked(now, sent, 1200);
                    controller.on_end_acks(now, in_flight, false, None);
                }
            }
            while in_flight + 1200 <= controller.window() {
                count += 1;
                in_flight += 1200;
                let wait = free.max(now) - now;
                let too_many = wait.as_nanos() * u128::from(way.rate) / 1_000_000_000;
                let is_lost = count * way.lost % 100 < way.lost || too_many > way.buffer.into();
                if too_many <= u128::from(way.buffer) {
                    free = free.max(now) + Duration::from_nanos(1_200_000_000_000 / way.rate);
                    if now > start + long / 2 {
                        waited = waited.max(wait);
                    }
                }
                flying.push_back((free.max(now) + way.trip, now, is_lost));
            }
            now += step;
        }
        let rate = arrived * 1000 / u64::try_from(long.as_millis()).unwrap();
        Seen { rate, waited }
    }

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_path_is_filled_and_what_waits_in_it_is_little() {
        for (megabits, trip, buffer) in [
            (2_u64, 40, 250_u64),
            (10, 20, 250),
            (100, 100, 100),
            (500, 2, 50),
        ] {
            let rate = megabits * 125_000;
            let way = Way {
                rate,
                trip: MS * trip,
                buffer: rate * buffer / 1000,
                lost: 0,
            };
            let start = Instant::now();
            let mut controller = Steady::new(start, 1200);
            let seen = send(&mut controller, &way, start, SECOND * 25);
            assert!(seen.rate * 100 > rate * 85, "{} of {rate}", seen.rate);
            let most = MS * (trip / 4 + 80);
            assert!(seen.waited < most, "{megabits} {:?}", seen.waited);
        }
    }

    #[test]
    fn losses_by_accident_do_not_count_and_many_do() {
        let start = Instant::now();
        let way = |lost| Way {
            rate: 1_250_000,
            trip: MS * 100,
            buffer: 1_250_000,
            lost,
        };
        let mut controller = Steady::new(start, 1200);
        let seen = send(&mut controller, &way(5), start, SECOND * 20);
        assert!(seen.rate > 1_000_000, "{}", seen.rate);
        let before = controller.window();
        let later = start + SECOND * 20;
        let seen = send(&mut controller, &way(40), later, SECOND * 20);
        assert!(controller.window() < before, "{}", controller.window());
        assert!(seen.rate > 10_000, "{}", seen.rate);
        let later = later + SECOND * 20;
        let seen = send(&mut controller, &way(0), later, SECOND * 20);
        assert!(seen.rate > 600_000, "{}", seen.rate);
    }

    #[test]
    fn a_place_without_a_buffer_is_not_flooded() {
        let start = Instant::now();
        let way = Way {
            rate: 1_250_000,
            trip: MS * 2,
            buffer: 3000,
            lost: 0,
        };
        let mut controller = Steady::new(start, 1200);
        let seen = send(&mut controller, &way, start, SECOND * 20);
        assert!(seen.rate > 1_100_000, "{}", seen.rate);
        assert!(controller.window() < 12_000, "{}", controller.window());
    }

    #[test]
    fn marks_count_as_loss_and_silence_begins_anew() {
        let start = Instant::now();
        let way = Way {
            rate: 1_250_000,
            trip: MS * 50,
            buffer: 1_250_000,
            lost: 0,
        };
        let mut controller = Steady::new(start, 1200);
        let _ = send(&mut controller, &way, start, SECOND * 5);
        let before = controller.window();
        let later = start + SECOND * 5;
        controller.on_congestion_event(later, later, false, 0);
        controller.acked(later + MS * 50, later + MS, 1200);
        assert!(controller.window() < before * 9 / 10);
        controller.on_congestion_event(later, later, true, 1200);
        assert_eq!(controller.window(), 4 * 1200);
        assert_eq!(controller.initial_window(), 32 * 1200);
        let config = Arc::new(SteadyConfig);
        assert_eq!(config.build(start, 1200).window(), 32 * 1200);
    }

    #[test]
    fn more_is_looked_for_as_fast_as_without_a_tunnel() {
        let start = Instant::now();
        let way = Way {
            rate: 12_500_000,
            trip: MS * 100,
            buffer: 1_250_000,
            lost: 5,
        };
        let mut controller = Steady::new(start, 1200);
        let seen = send(&mut controller, &way, start, SECOND * 2);
        assert!(seen.rate * 2 > way.rate, "{}", seen.rate);
    }

    /// Says that packets arrive, each a microsecond later than the one before; whether less was sent for a while.
    fn drains(controller: &mut Steady, start: Instant, in_flight: u64, later: Duration) -> bool {
        let mut drained = false;
        for number in 0..3000_u32 {
            let sent = start + MS * number * 10;
            let now = sent + MS * 100 + later + Duration::from_micros(number.into());
            controller.acked(now, sent, 1200);
            controller.on_end_acks(now, in_flight, false, None);
            drained |= controller.window() < controller.window;
        }
        drained
    }

    #[test]
    fn nobody_is_held_back_while_nothing_waits_on_the_way() {
        let start = Instant::now();
        let mut controller = Steady::new(start, 1200);
        assert!(!drains(&mut controller, start, 12_000, Duration::ZERO));
        // Little is sent and it takes longer: the path is longer now.
        let later = start + SECOND * 40;
        assert!(!drains(&mut controller, later, 12_000, MS * 50));
        assert!(controller.shortest.known >= MS * 150);
        // Much is sent and it takes longer: perhaps it waits for itself.
        let later = later + SECOND * 40;
        assert!(drains(&mut controller, later, 1 << 25, MS * 150));
    }

    #[test]
    fn after_a_move_nothing_is_known() {
        let start = Instant::now();
        let way = Way {
            rate: 12_500_000,
            trip: MS * 5,
            buffer: 1_250_000,
            lost: 0,
        };
        let mut controller = Steady::new(start, 1200);
        send(&mut controller, &way, start, SECOND * 5);
        assert!(controller.window() > 4 * controller.initial_window());
        let copy = controller.clone_box().into_any();
        copy.downcast::<Steady>().unwrap().forget();
        assert_eq!(controller.window(), controller.initial_window());
        let now = start + SECOND * 6;
        controller.acked(now, now - MS * 5, 1200);
        assert_eq!(controller.shortest.known, Duration::MAX);
        controller.acked(now + MS * 200, now, 1200);
        assert_eq!(controller.shortest.known, MS * 200);
        assert_eq!(controller.window(), controller.initial_window());
    }
}
