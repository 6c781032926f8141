//! A policy that waits for a second person.
//!
//! In: who asks, who may, times. Out: whether it may come into force. Knows nothing of files.

use std::time::{Duration, Instant};

use lazaret_config::Policy;

use super::{Wanted, Word, person};
use crate::control::message::ProposalStatus;

/// What waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) digest: String,
    pub(super) wanted: Wanted,
    pub(super) trial: Option<Duration>,
    pub(super) word: Word,
    pub(super) until: Option<Instant>,
}

/// Why somebody's word does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// Neither root nor an operator.
    #[error("user {0} is no operator: with `approvals = 2` only root and `operators` decide")]
    NoPerson(u32),
    /// By the one who proposed it.
    #[error("user {0} proposed it: another operator must approve it")]
    SamePerson(u32),
    /// The proposer is no operator any more.
    #[error("user {0}, who proposed it, is no operator any more: propose it again")]
    Gone(u32),
    /// Nothing waits, or not any more.
    #[error("nothing waits for approval: `lazaret apply` proposes what is in the files")]
    Nothing,
    /// Something else waits.
    #[error("what waits for approval is {0}")]
    Another(String),
    /// Too little of a digest.
    #[error("name what you approve by at least {SHORTEST} digits of its digest")]
    TooShort,
    /// The files are not what was proposed.
    #[error("the files were changed since {0} was proposed: propose them again")]
    Changed(String),
    /// A signal is nobody's word.
    #[error("a signal puts nothing into force where two persons must agree: use `lazaret apply`")]
    Signal,
}

/// Whether somebody's word counts where two persons must agree.
pub(super) fn person_of(policy: &Policy, uid: u32) -> Result<(), ProposalError> {
    // The gateway's own user is a service, whoever may become it.
    if uid == ROOT || policy.operators.contains(&uid) {
        Ok(())
    } else {
        Err(ProposalError::NoPerson(uid))
    }
}

impl Proposal {
    pub(super) fn new(
        digest: String,
        (wanted, trial): (Wanted, Option<Duration>),
        word: Word,
        now: Instant,
    ) -> Self {
        Self {
            digest,
            wanted,
            trial,
            word,
            until: now.checked_add(LIFE),
        }
    }

    /// Whether it still waits.
    pub(super) fn lives(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether a person may put it into force, who names it by its digest or the beginning of it.
    pub(super) fn approve(
        &self,
        policy: &Policy,
        uid: u32,
        named: &str,
        now: Instant,
    ) -> Result<(), ProposalError> {
        if !self.lives(now) {
            return Err(ProposalError::Nothing);
        }
        person_of(policy, uid)?;
        if named.len() < SHORTEST {
            return Err(ProposalError::TooShort);
        }
        if !self.digest.starts_with(named) {
            return Err(ProposalError::Another(self.digest.clone()));
        }
        let proposer = self.word.by;
        if proposer == uid {
            return Err(ProposalError::SamePerson(uid));
        }
        person_of(policy, proposer).map_err(|_| ProposalError::Gone(proposer))
    }

    pub(super) fn status(&self, now: Instant) -> ProposalStatus {
        let left = self.until.map(|until| until.saturating_duration_since(now));
        ProposalStatus {
            digest: self.digest.clone(),
            by: person(self.word.by),
            rollback: match self.wanted {
                Wanted::Files => None,
                Wanted::Version(number) => Some(number),
            },
            seconds: left.unwrap_or_default().as_secs(),
            why: self.word.why.clone(),
        }
    }
}

const ROOT: u32 = 0;
/// Hexadecimal digits that name a proposal.
const SHORTEST: usize = 12;
/// So long it waits.
//= C7
pub(super) const LIFE: Duration = Duration::from_hours(24);

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests make up their time")]
mod tests {
    use super::*;

    const DIGEST: &str = "4f3c9a0b1d2e4f3c9a0b1d2e";

    fn policy(operators: &[u32]) -> Policy {
        Policy {
            approvals: 2,
            operators: operators.to_vec(),
            ..Policy::default()
        }
    }

    #[test]
    fn another_person_approves_what_was_proposed_in_time() {
        let now = Instant::now();
        let word = Word {
            by: 1001,
            ..Word::default()
        };
        let proposal = Proposal::new(DIGEST.to_owned(), (Wanted::Files, None), word, now);
        let both = policy(&[1001, 1002]);
        let approve = |uid, named: &str, at| proposal.approve(&both, uid, named, at);
        for uid in [0, 1002] {
            assert_eq!(approve(uid, DIGEST, now), Ok(()));
            assert_eq!(approve(uid, &DIGEST[..12], now), Ok(()));
        }
        let late = now + LIFE;
        let just = late - Duration::from_secs(1);
        assert_eq!(approve(0, DIGEST, just), Ok(()));
        let another = ProposalError::Another(DIGEST.to_owned());
        for (uid, named, at, why) in [
            (1001, DIGEST, now, ProposalError::SamePerson(1001)),
            (1003, DIGEST, now, ProposalError::NoPerson(1003)),
            (1002, &DIGEST[..11], now, ProposalError::TooShort),
            (1002, "", now, ProposalError::TooShort),
            (1002, "000000000000", now, another),
            (1002, DIGEST, late, ProposalError::Nothing),
        ] {
            assert_eq!(approve(uid, named, at), Err(why));
        }
        // Whoever lost the right to propose has no proposal.
        let one = policy(&[1002]);
        let gone = Err(ProposalError::Gone(1001));
        assert_eq!(proposal.approve(&one, 1002, DIGEST, now), gone);
    }

    #[test]
    fn root_is_one_person_and_the_gateways_user_none() {
        let now = Instant::now();
        let proposal = Proposal::new(
            DIGEST.to_owned(),
            (Wanted::Version(7), None),
            Word::default(),
            now,
        );
        let both = policy(&[1001]);
        let same = Err(ProposalError::SamePerson(0));
        assert_eq!(proposal.approve(&both, 0, DIGEST, now), same);
        assert_eq!(proposal.approve(&both, 1001, DIGEST, now), Ok(()));
        let gateway = 990;
        let nobody = Err(ProposalError::NoPerson(gateway));
        assert_eq!(proposal.approve(&both, gateway, DIGEST, now), nobody);
        assert_eq!(proposal.status(now).rollback, Some(7));
        assert_eq!(proposal.status(now).seconds, LIFE.as_secs());
    }
}
