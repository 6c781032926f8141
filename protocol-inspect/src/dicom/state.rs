//! The upper layer state machine of one leg (PS3.8 9.2).
//!
//! In: a PDU that came or that we send. Out: the next state, or the reason to abort.
//! A relay holds one for each leg: acceptor towards the device, requestor towards the destination.
//! Knows nothing of the content of PDUs.

use super::fault::{Violation, refusal};
use super::pdu::{AbortReason, PduType};
use crate::Reason;

/// The states of PS3.8 table 9-1 to 9-5 that a relay can be in. The transport connection is open in all but the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Sta1: no transport connection, or it is closed again.
    Idle,
    /// Sta2: transport open (acceptor), waiting for A-ASSOCIATE-RQ.
    AwaitingRequest,
    /// Sta3: request received, we have not answered.
    AwaitingAnswer,
    /// Sta4: transport open (requestor), we have not yet sent the request.
    AwaitingTransport,
    /// Sta5: request sent, waiting for A-ASSOCIATE-AC or -RJ.
    AwaitingAccept,
    /// Sta6: association established.
    Established,
    /// Sta7: A-RELEASE-RQ sent, waiting for A-RELEASE-RP.
    AwaitingReleaseRp,
    /// Sta8: A-RELEASE-RQ received, we have not answered.
    AwaitingReleaseAnswer,
    /// Sta9: release collision, requestor: we answer first.
    CollisionRequestorAnswers,
    /// Sta10: release collision, acceptor: the peer answers first.
    CollisionAcceptorWaits,
    /// Sta11: release collision, requestor: waiting for A-RELEASE-RP.
    CollisionRequestorWaits,
    /// Sta12: release collision, acceptor: we answer.
    CollisionAcceptorAnswers,
    /// Sta13: waiting for the transport connection to close.
    AwaitingClose,
}

/// Which end of the association we are on this leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// We asked for the association.
    Requestor,
    /// We were asked.
    Acceptor,
}

/// One leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leg {
    side: Side,
    state: State,
}

impl Leg {
    /// A leg whose transport connection was just accepted by us.
    #[must_use]
    pub fn accepted() -> Self {
        Self {
            side: Side::Acceptor,
            state: State::AwaitingRequest,
        }
    }

    /// A leg that we have not yet opened.
    #[must_use]
    pub fn opening() -> Self {
        Self {
            side: Side::Requestor,
            state: State::AwaitingTransport,
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn state(self) -> State {
        self.state
    }

    /// Whether messages may come from the peer.
    #[must_use]
    pub fn is_established(self) -> bool {
        self.state == State::Established
    }

    /// A PDU came from the peer.
    ///
    /// # Errors
    /// It is not expected in this state: abort.
    pub fn received(self, pdu: PduType) -> Result<Self, Violation> {
        self.state
            .on_received(self.side, pdu)
            .map(|state| Self { state, ..self })
            .ok_or_else(|| {
                let detail = format!("is not expected in state {:?}", self.state);
                let refused = refusal(Reason::Sequence, pdu.name(), detail);
                Violation::new(AbortReason::UnexpectedPdu, refused)
            })
    }

    /// We send a PDU. `None` if we must not: a mistake of the caller, who then aborts.
    #[must_use]
    pub fn sent(self, pdu: PduType) -> Option<Self> {
        let state = self.state.on_sent(self.side, pdu)?;
        Some(Self { state, ..self })
    }

    /// The transport connection is gone.
    #[must_use]
    pub fn closed(self) -> Self {
        Self {
            state: State::Idle,
            ..self
        }
    }
}

impl State {
    /// All of them, in the order of the standard.
    pub const ALL: [Self; 13] = [
        Self::Idle,
        Self::AwaitingRequest,
        Self::AwaitingAnswer,
        Self::AwaitingTransport,
        Self::AwaitingAccept,
        Self::Established,
        Self::AwaitingReleaseRp,
        Self::AwaitingReleaseAnswer,
        Self::CollisionRequestorAnswers,
        Self::CollisionAcceptorWaits,
        Self::CollisionRequestorWaits,
        Self::CollisionAcceptorAnswers,
        Self::AwaitingClose,
    ];

    //= DICOM PS3.8 9.2.3
    fn on_received(self, side: Side, pdu: PduType) -> Option<Self> {
        match (self, pdu) {
            (Self::Idle | Self::AwaitingTransport, _) => None,
            // A-ABORT ends every open state; in Sta13 all else is ignored (AA-6, AA-7 only answers).
            (_, PduType::Abort) => Some(Self::AwaitingClose),
            (Self::AwaitingClose, _) => Some(Self::AwaitingClose),
            (Self::AwaitingRequest, PduType::AssociateRq) => Some(Self::AwaitingAnswer),
            (Self::AwaitingAccept, PduType::AssociateAc) => Some(Self::Established),
            (Self::AwaitingAccept, PduType::AssociateRj) => Some(Self::AwaitingClose),
            (Self::Established, PduType::PData) => Some(Self::Established),
            (Self::Established, PduType::ReleaseRq) => Some(Self::AwaitingReleaseAnswer),
            (Self::AwaitingReleaseRp, PduType::PData) => Some(Self::AwaitingReleaseRp),
            (Self::AwaitingReleaseRp, PduType::ReleaseRp) => Some(Self::AwaitingClose),
            (Self::AwaitingReleaseRp, PduType::ReleaseRq) => Some(match side {
                Side::Requestor => Self::CollisionRequestorAnswers,
                Side::Acceptor => Self::CollisionAcceptorWaits,
            }),
            (Self::CollisionAcceptorWaits, PduType::ReleaseRp) => {
                Some(Self::CollisionAcceptorAnswers)
            }
            (Self::CollisionRequestorWaits, PduType::ReleaseRp) => Some(Self::AwaitingClose),
            (
                Self::AwaitingRequest
                | Self::AwaitingAnswer
                | Self::AwaitingAccept
                | Self::Established
                | Self::AwaitingReleaseRp
                | Self::AwaitingReleaseAnswer
                | Self::CollisionRequestorAnswers
                | Self::CollisionAcceptorWaits
                | Self::CollisionRequestorWaits
                | Self::CollisionAcceptorAnswers,
                _,
            ) => None,
        }
    }

    fn on_sent(self, side: Side, pdu: PduType) -> Option<Self> {
        match (self, pdu) {
            (Self::Idle | Self::AwaitingClose, _) => None,
            (Self::AwaitingTransport, PduType::AssociateRq) => Some(Self::AwaitingAccept),
            (Self::AwaitingTransport, _) => None,
            (_, PduType::Abort) => Some(Self::AwaitingClose),
            (Self::AwaitingAnswer, PduType::AssociateAc) => Some(Self::Established),
            (Self::AwaitingAnswer, PduType::AssociateRj) => Some(Self::AwaitingClose),
            (Self::Established, PduType::PData) => Some(Self::Established),
            (Self::Established, PduType::ReleaseRq) => Some(Self::AwaitingReleaseRp),
            (Self::AwaitingReleaseAnswer, PduType::PData) => Some(Self::AwaitingReleaseAnswer),
            (Self::AwaitingReleaseAnswer, PduType::ReleaseRp) => Some(Self::AwaitingClose),
            (Self::CollisionRequestorAnswers, PduType::ReleaseRp) => {
                (side == Side::Requestor).then_some(Self::CollisionRequestorWaits)
            }
            (Self::CollisionAcceptorAnswers, PduType::ReleaseRp) => Some(Self::AwaitingClose),
            (
                Self::AwaitingRequest
                | Self::AwaitingAnswer
                | Self::AwaitingAccept
                | Self::Established
                | Self::AwaitingReleaseRp
                | Self::AwaitingReleaseAnswer
                | Self::CollisionRequestorAnswers
                | Self::CollisionAcceptorWaits
                | Self::CollisionRequestorWaits
                | Self::CollisionAcceptorAnswers,
                _,
            ) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn transition_graph() {
        let mut graph = String::new();
        for start in [Leg::opening(), Leg::accepted()] {
            let side = start.side;
            let (mut known, mut next) = (vec![start], 0);
            while let Some(leg) = known.get(next).copied() {
                next += 1;
                for pdu in PduType::ALL {
                    let name = pdu.name();
                    for (arrow, after) in [("<-", leg.received(pdu).ok()), ("->", leg.sent(pdu))] {
                        let Some(after) = after else { continue };
                        let (from, to) = (leg.state, after.state);
                        writeln!(graph, "{side:?} {from:?} {arrow} {name}: {to:?}").unwrap();
                        if !known.contains(&after) {
                            known.push(after);
                        }
                    }
                }
            }
        }
        insta::assert_snapshot!(graph);
    }

    #[test]
    fn a_second_request_is_unexpected() {
        let leg = Leg::accepted().received(PduType::AssociateRq).unwrap();
        let leg = leg.sent(PduType::AssociateAc).unwrap();
        assert!(leg.received(PduType::PData).is_ok());
        let violation = leg.received(PduType::AssociateRq).unwrap_err();
        assert_eq!(violation.reason, AbortReason::UnexpectedPdu);
    }

    /// PS3.8 table 9-10, as far as PDUs and what we say go: event, state, next state.
    /// Wherever it has nothing, what came is answered with an A-ABORT, and we say nothing.
    /// `over` is Sta1 or Sta13: which of them depends on who closes the connection, and nothing passes in either.
    const TABLE: &str = "
        <- A-ASSOCIATE-RQ: 2>3
        <- A-ASSOCIATE-AC: 5>6
        <- A-ASSOCIATE-RJ: 5>over
        <- P-DATA-TF: 6>6 7>7
        <- A-RELEASE-RQ: 6>8 7>9|10
        <- A-RELEASE-RP: 7>over 10>12 11>over
        <- A-ABORT: 2>over 3>over 5>over 6>over 7>over 8>over 9>over 10>over 11>over 12>over
        -> A-ASSOCIATE-RQ: 4>5
        -> A-ASSOCIATE-AC: 3>6
        -> A-ASSOCIATE-RJ: 3>over
        -> P-DATA-TF: 6>6 8>8
        -> A-RELEASE-RQ: 6>7
        -> A-RELEASE-RP: 8>over 9>11 12>over
        -> A-ABORT: 2>over 3>over 5>over 6>over 7>over 8>over 9>over 10>over 11>over 12>over";

    #[test]
    fn every_transition_is_one_of_the_standard() {
        let number = |state: State| State::ALL.iter().position(|one| *one == state).unwrap() + 1;
        let mut compared = 0;
        for line in TABLE.trim().lines() {
            let (event, steps) = line.trim().split_once(": ").unwrap();
            let (arrow, name) = event.split_once(' ').unwrap();
            let pdu = PduType::ALL
                .into_iter()
                .find(|pdu| pdu.name() == name)
                .unwrap();
            for (side, state) in [Side::Requestor, Side::Acceptor]
                .into_iter()
                .flat_map(|side| State::ALL.map(|state| (side, state)))
            {
                let known = steps.split(' ').find_map(|step| {
                    let (from, to) = step.split_once('>').unwrap();
                    (from == number(state).to_string()).then_some(to)
                });
                let ours = match arrow {
                    "<-" => state.on_received(side, pdu),
                    _ => state.on_sent(side, pdu),
                };
                let expected = match (known, side) {
                    // In Sta13 what comes is ignored, and we have no say.
                    (None, _) if state == State::AwaitingClose && arrow == "<-" => Some("over"),
                    (Some("9|10"), Side::Requestor) => Some("9"),
                    (Some("9|10"), Side::Acceptor) => Some("10"),
                    // Only the requestor of an association answers in Sta9.
                    (Some("11"), Side::Acceptor) => None,
                    (known, _) => known,
                };
                let ours = ours.map(|next| match number(next) {
                    1 | 13 => "over".to_owned(),
                    next => next.to_string(),
                });
                assert_eq!(ours.as_deref(), expected, "{side:?} {state:?} {event}");
                compared += 1;
            }
        }
        assert_eq!(compared, 14 * 26);
    }
}
