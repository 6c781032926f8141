//! Every structure of every version, through the whole judge under the strict profile:
//! the least that is right is accepted, and each single fault in it is refused where it is.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests fail by panicking and tell how much they judged"
)]

mod accepted;
mod differential;
mod faults;
mod oracle;
mod synthetic;
mod values;

use protocol_inspect::hl7::{Framer, Policy, Profile, Refused, Rule, Verdict, judge};

/// A rule that lets every type and sender pass and refuses all that the standard refuses.
fn strict() -> Policy {
    Policy {
        default_charset: "ASCII".to_owned(),
        rules: vec![Rule {
            name: "any".to_owned(),
            send: vec!["*".to_owned()],
            profiles: vec![Profile::strict()],
            ..Rule::default()
        }],
        ..Policy::default()
    }
}

/// The verdict on one message, the way a relay gets it: from the stream through the framer.
fn verdict(message: &[u8], policy: &Policy) -> Result<(), Box<Refused>> {
    let mut framer = Framer::new(policy.limits.hl7_message);
    framer.receive(b"\x0b");
    framer.receive(message);
    framer.receive(b"\x1c\r");
    let frame = framer.poll().unwrap().unwrap();
    assert!(framer.poll().is_none());
    match judge(frame, policy, None).verdict {
        Verdict::Accept(accepted) => {
            assert_eq!(&accepted.permit.into_bytes()[1..=message.len()], message);
            Ok(())
        }
        Verdict::Refuse(refused) => Err(Box::new(refused)),
    }
}

/// Whether everything is wanted, which takes minutes, and not a sample that is the same each time.
fn everything() -> bool {
    std::env::var_os("LAZARET_EVERYTHING").is_some()
}
