//! How far the relays may be ahead of the journal.
//!
//! In: how many decisions a relay sent, and whether there is room for more. Out: up to which of them the relay may
//! forget, a few times in each credit. A relay that hears nothing begins nothing new, so that a journal that is slower than
//! the devices slows them down, and nothing is lost.
//! Knows nothing of what was decided, nor where it waits.

use std::collections::BTreeMap;

use super::worker::Kind;
use crate::forward::message::MOST_UNRECORDED;

/// The decisions of each relay since it was started.
#[derive(Default)]
pub(super) struct Credit {
    relays: BTreeMap<Kind, Count>,
}

#[derive(Default)]
struct Count {
    received: u64,
    told: u64,
}

impl Credit {
    /// A relay begins to count.
    pub(super) fn begin(&mut self, relay: Kind) {
        self.relays.insert(relay, Count::default());
    }

    /// A relay sent so many more.
    pub(super) fn received(&mut self, relay: Kind, decisions: usize) {
        let count = self.relays.entry(relay).or_default();
        let decisions = u64::try_from(decisions).unwrap_or(u64::MAX);
        count.received = count.received.saturating_add(decisions);
    }

    /// Whom to tell, and up to which decision, now that there is room. Whoever is told is told once.
    //= C8
    pub(super) fn due(&mut self) -> Vec<(Kind, u64)> {
        let mut due = Vec::new();
        for (relay, count) in &mut self.relays {
            if count.received.saturating_sub(count.told) >= STEP {
                count.told = count.received;
                due.push((*relay, count.received));
            }
        }
        due
    }
}

/// Decisions after which a relay is told: a relay that waits has sent more than so many.
const STEP: u64 = MOST_UNRECORDED / 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_told_in_steps_and_once_and_counts_anew_when_it_is_started_again() {
        let mut credit = Credit::default();
        let step = usize::try_from(STEP).unwrap();
        credit.begin(Kind::RelayHl7(0));
        credit.received(Kind::RelayHl7(0), step - 1);
        credit.received(Kind::RelayDicom(0), 1);
        assert_eq!(credit.due(), []);
        credit.received(Kind::RelayHl7(0), 1);
        assert_eq!(credit.due(), [(Kind::RelayHl7(0), STEP)]);
        assert_eq!(credit.due(), []);
        credit.received(Kind::RelayHl7(0), 2 * step);
        assert_eq!(credit.due(), [(Kind::RelayHl7(0), 3 * STEP)]);
        credit.begin(Kind::RelayHl7(0));
        credit.received(Kind::RelayHl7(0), step);
        assert_eq!(credit.due(), [(Kind::RelayHl7(0), STEP)]);
    }
}
