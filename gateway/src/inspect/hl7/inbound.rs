//! What the device sent and nobody has dealt with yet: a framer and a bounded queue behind it.
//!
//! In: bytes. Out: frames in their order, and at the end of a broken stream its fault, in its turn.
//! The queue is bounded by number and by bytes; when it is full the pump stops reading, and the clock of a slow
//! frame stands still.

use std::collections::VecDeque;
use std::time::Instant;

use protocol_inspect::hl7::{Frame, Framer};
use protocol_inspect::{Limits, Refusal};

/// What the device sent and is not yet dealt with.
pub(super) struct Inbound {
    framer: Framer,
    pub(super) queue: VecDeque<Arrival>,
    queued: usize,
    /// Whether commit acknowledgements are taken out of the stream (MLLP release 2).
    release_2: bool,
    /// Those that came, to be dealt with at once.
    pub(super) commits: VecDeque<bool>,
    /// When the frame under way began, or reading went on after a pause.
    pub(super) began: Option<Instant>,
    /// No more will come: FIN, a framing refusal, a time-out.
    pub(super) finished: bool,
    /// Nobody is there to be answered.
    pub(super) gone: bool,
}

/// One thing that came from the device, in its turn.
pub(super) enum Arrival {
    Frame(Frame, Instant),
    /// The stream ends here, with this fault.
    Broken(Refusal),
}

impl Inbound {
    pub(super) fn new(max: usize, release_2: bool) -> Self {
        Self {
            framer: Framer::new(max),
            queue: VecDeque::new(),
            queued: 0,
            release_2,
            commits: VecDeque::new(),
            began: None,
            finished: false,
            gone: false,
        }
    }

    pub(super) fn limit(&mut self, max: usize) {
        self.framer.limit(max);
    }

    pub(super) fn mid_frame(&self) -> bool {
        self.framer.mid_frame()
    }

    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.queued + self.framer.buffered()
    }

    //= C7
    pub(super) fn has_room(&self, limits: &Limits) -> bool {
        self.queue.is_empty()
            || (self.queue.len() < limits.hl7_pipelined && self.queued < limits.hl7_message)
    }

    pub(super) fn receive(&mut self, bytes: &[u8], now: Instant) {
        if self.finished {
            return;
        }
        if !self.framer.mid_frame() {
            self.began = Some(now);
        }
        self.framer.receive(bytes);
    }

    /// Takes frames from the framer while there is room.
    pub(super) fn fill(&mut self, limits: &Limits, now: Instant) {
        while self.has_room(limits) {
            match self.framer.poll() {
                Some(Ok(frame)) => {
                    let commit = frame.commit().filter(|_| self.release_2);
                    if let Some(taken) = commit {
                        self.began = self.framer.mid_frame().then_some(now);
                        self.commits.push_back(taken);
                        continue;
                    }
                    self.queued += frame.bytes().len();
                    self.queue.push_back(Arrival::Frame(frame, now));
                    self.began = self.framer.mid_frame().then_some(now);
                }
                Some(Err(refusal)) => self.stop(refusal),
                None => break,
            }
        }
    }

    pub(super) fn stop(&mut self, refusal: Refusal) {
        self.finished = true;
        self.began = None;
        self.framer = Framer::new(0);
        self.queue.push_back(Arrival::Broken(refusal));
    }

    /// Forgets what is not cut into messages yet; says whether there was any.
    pub(super) fn drop_rest(&mut self) -> bool {
        let had = self.framer.mid_frame();
        self.framer = Framer::new(0);
        self.began = None;
        had
    }

    pub(super) fn next(&mut self, limits: &Limits, now: Instant) -> Option<Arrival> {
        let was_full = !self.has_room(limits);
        let arrival = self.queue.pop_front()?;
        if let Arrival::Frame(frame, _) = &arrival {
            self.queued -= frame.bytes().len();
        }
        // A device that was held back is not late.
        if was_full && self.has_room(limits) && self.began.is_some() {
            self.began = Some(now);
        }
        Some(arrival)
    }
}
