//! `[policy]`: who must agree before a policy comes into force.

use std::collections::BTreeSet;

use crate::policy::Policy;
use crate::problem::Fault;
use crate::section::{Keys, Section, Text, word};

pub(crate) const KEYS: Keys = Keys {
    table: "[policy]",
    known: &["approvals", "operators", "signers", "signature"],
    later: &[],
};

/// Whether signatures are asked for.
#[derive(Clone, Copy)]
struct Signature {
    required: bool,
}

impl Text for Signature {
    const WHAT: &'static str = "`optional` or `required`";
    fn parse(text: &str) -> Result<Self, Fault> {
        let is = |required| Self { required };
        word(text, &[("optional", is(false)), ("required", is(true))])
    }
}

pub(crate) fn read(section: &Section<'_>) -> Policy {
    let approvals = section.within::<u16>("approvals", 1..=2).unwrap_or(1);
    let signature = section.or("signature", Signature { required: false });
    let policy = Policy {
        approvals: u8::try_from(approvals).unwrap_or(1),
        operators: operators(section),
        signers: signers(section),
        signature_required: signature.required,
    };
    if approvals > 1 && !section.has("operators") {
        let help = "root is one person: name the user ids of others in `operators`";
        let fault = Fault::new("two persons must agree, and there is only root");
        section.report("approvals", fault.help(help));
    }
    if policy.signature_required && !section.has("signers") {
        let help = "name those who may sign in `signers`";
        let fault = Fault::new("signatures are required, and nobody may sign");
        section.report("signature", fault.help(help));
    }
    policy
}

//= C7
pub(crate) fn operators(section: &Section<'_>) -> Vec<u32> {
    let users = section.list::<u32>("operators", "leave it out, or name at least one user id");
    if users.len() > MOST {
        section.report("operators", Fault::new(format!("more than {MOST} users")));
    }
    let mut seen = BTreeSet::new();
    for user in users {
        // (uid_t) -1 is nobody, and root needs no mention.
        if user.value == 0 || user.value == u32::MAX {
            let fault = Fault::new("not the user id of a person");
            let help = "root is always let in, and counts as one person";
            section.problems().report(fault.help(help).at(user.place));
        } else if !seen.insert(user.value) {
            let fault = Fault::new("the same user twice");
            section.problems().report(fault.at(user.place));
        }
    }
    seen.into_iter().collect()
}

//= C7
fn signers(section: &Section<'_>) -> Vec<String> {
    let lines = section.list::<String>("signers", "leave it out, or name at least one signer");
    if lines.len() > MOST {
        section.report("signers", Fault::new(format!("more than {MOST} signers")));
    }
    lines.into_iter().map(|line| line.value).collect()
}

/// Operators and signers, each.
const MOST: usize = 64;
