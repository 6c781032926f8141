//! What is counted of decisions, and how much of one is sent to the supervisor.

use crate::flow::Side;
use crate::inspect::{Decision, Outcome, Subject};

/// What passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::forward) struct Totals {
    /// Messages of the opener that were forwarded.
    pub(in crate::forward) forwarded: u64,
    /// Refusals.
    pub(in crate::forward) refused: u64,
    /// Bytes from the opener.
    pub(in crate::forward) received: u64,
    /// Bytes to the destination.
    pub(in crate::forward) sent: u64,
}

impl Totals {
    /// Counts a decision about what the opener said.
    pub(super) fn count(&mut self, decision: &Decision, opener: Side) {
        if decision.from != opener {
            return;
        }
        match decision.outcome {
            Outcome::Forwarded | Outcome::Unanswered => {
                self.forwarded += u64::from(decision.what == Subject::Message);
            }
            Outcome::Refused => self.refused += 1,
            Outcome::Repeated | Outcome::Undelivered | Outcome::Abandoned => {}
        }
    }
}

/// A record travels in one packet, whatever the message claimed to be called.
//= C7
pub(super) fn bound(decision: &mut Decision) {
    fn cut(text: &mut String) {
        if text.len() > LONGEST_TEXT {
            let end = text.floor_char_boundary(LONGEST_TEXT);
            text.truncate(end);
        }
    }
    cut(&mut decision.kind);
    let texts = [
        &mut decision.rule,
        &mut decision.reason,
        &mut decision.location,
        &mut decision.detail,
        &mut decision.answer,
    ];
    texts.into_iter().flatten().for_each(cut);
    if let Some(identifier) = &mut decision.identifier {
        identifier.truncate(LONGEST_IDENTIFIER);
    }
    decision.warnings.truncate(MOST_WARNINGS);
    decision.warnings.iter_mut().for_each(cut);
    // The session bounds their texts.
    decision.observed.truncate(MOST_OBSERVED);
}

const LONGEST_TEXT: usize = 512;
const LONGEST_IDENTIFIER: usize = 1_024;
const MOST_WARNINGS: usize = 16;
const MOST_OBSERVED: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_record_is_cut_between_characters_and_a_short_one_is_not() {
        let short = Decision {
            from: Side::Device,
            what: Subject::Message,
            kind: "ORU^R01".to_owned(),
            rule: Some("results".to_owned()),
            outcome: Outcome::Refused,
            reason: Some("field".to_owned()),
            location: None,
            detail: Some("is missing".to_owned()),
            answer: Some("AE".to_owned()),
            length: 5,
            digest: Some([1; 32]),
            identifier: Some(vec![1, 2, 3]),
            micros: 9,
            warnings: vec!["field PID-7".to_owned()],
            would_refuse: None,
            observed: Vec::new(),
        };
        let mut same = short.clone();
        bound(&mut same);
        assert_eq!(same, short);
        let mut long = Decision {
            kind: "\u{e9}".repeat(LONGEST_TEXT) + "x",
            detail: Some(format!("x{}", "\u{e9}".repeat(LONGEST_TEXT))),
            identifier: Some(vec![0; 1 << 20]),
            warnings: vec!["w".repeat(1 << 20); 1_000],
            would_refuse: None,
            observed: Vec::new(),
            ..short
        };
        bound(&mut long);
        assert_eq!(long.kind.len(), LONGEST_TEXT);
        assert_eq!(long.detail.unwrap().len(), LONGEST_TEXT - 1);
        assert_eq!(long.identifier.unwrap().len(), LONGEST_IDENTIFIER);
        assert_eq!(long.warnings.len(), MOST_WARNINGS);
    }
}
