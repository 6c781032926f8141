//! Judges bytes at rest exactly as the relay would, but with a policy that lets every type and sender pass.

use super::header::Header;
use super::judge::{Verdict, judge};
use super::mllp::{Frame, Framer};
use super::policy::{Policy, Profile, Rule};
use crate::{LimitReached, Reason, Refusal, Report};

/// Judges one message, or with `raw` a stream of MLLP frames; one report each.
#[must_use]
pub fn inspect_offline(bytes: &[u8], raw: bool, profile: &Profile) -> Vec<Report> {
    let policy = Policy {
        default_charset: "ASCII".to_owned(),
        rules: vec![Rule {
            name: "offline".to_owned(),
            send: vec!["*".to_owned()],
            profiles: vec![profile.clone()],
            ..Rule::default()
        }],
        ..Policy::default()
    };
    if !raw {
        let max = policy.limits.hl7_message;
        return vec![match LimitReached::check("hl7_message", bytes.len(), max) {
            Ok(()) => report(Frame::around(bytes), &policy),
            Err(reached) => refused(reached.into()),
        }];
    }
    let mut framer = Framer::new(policy.limits.hl7_message);
    let mut reports = Vec::new();
    framer.receive(bytes);
    while let Some(next) = framer.poll() {
        reports.push(match next {
            Ok(frame) => report(frame, &policy),
            Err(refusal) => refused(refusal),
        });
    }
    if framer.mid_frame() {
        reports.push(refused(endless()));
    }
    reports
}

fn report(frame: Frame, policy: &Policy) -> Report {
    let judgement = judge(frame, policy, None);
    let kind = judgement.header.as_ref().map(Header::kind);
    let (refusal, warnings) = match judgement.verdict {
        Verdict::Accept(accepted) => (None, accepted.warnings),
        Verdict::Refuse(refused) => (Some(refused.refusal), refused.warnings),
    };
    Report {
        kind: kind.unwrap_or_default(),
        refusal,
        warnings,
    }
}

fn refused(refusal: Refusal) -> Report {
    Report {
        kind: String::new(),
        refusal: Some(refusal),
        warnings: Vec::new(),
    }
}

fn endless() -> Refusal {
    Refusal::new(Reason::Framing, "MLLP frame", "has no end")
}
