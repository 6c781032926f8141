//! Roles and rules of `[behaviour]` are there. Devices may be enrolled, and stand in no file.

use super::Members;
use crate::behaviour::Whom;
use crate::document::Document;
use crate::model::Party;
use crate::name::RuleName;
use crate::problem::{Fault, Problems};

pub(super) fn check(document: &Document, members: &Members<'_>, problems: &Problems) {
    for (at, _) in &document.behaviour.exceptions {
        let fault = match &at.value {
            Whom::Party(Party::Device(_)) => None,
            Whom::Party(role @ Party::Role(_)) => members.unknown(role, problems),
            Whom::Rule(rule) if document.rules.contains_key(rule) => None,
            Whom::Rule(rule) => {
                let near = document.rules.keys().map(RuleName::as_str);
                let fault = Fault::new(format!("unknown rule `{rule}`"));
                Some(fault.maybe(problems.did_you_mean(rule.as_str(), near)))
            }
        };
        if let Some(fault) = fault {
            problems.report(fault.at(at.place));
        }
    }
}
