//! `[[test]]`: what must and must not be allowed.

use crate::model::{Origin, Sender, Target, Test};
use crate::problem::{At, Fault, Place};
use crate::section::{Keys, Section};

pub(crate) const KEYS: Keys = Keys {
    table: "[[test]]",
    known: &["from", "allow", "deny"],
    later: &[],
};

/// The table as it is written.
pub(crate) struct RawTest {
    pub(crate) header: Place,
    pub(crate) from: Option<At<Sender>>,
    pub(crate) allow: Vec<At<Target>>,
    pub(crate) deny: Vec<At<Target>>,
}

pub(crate) fn read(section: &Section<'_>) -> RawTest {
    if !section.has("allow") && !section.has("deny") {
        let fault = Fault::new("a test has `allow` or `deny`")
            .help("such as `deny = [\"his-results#ADT^A01\"]`");
        section.problems().report(fault.at(section.header));
    }
    RawTest {
        header: section.header,
        from: section.required("from"),
        allow: section.list("allow", "leave the key out"),
        deny: section.list("deny", "leave the key out"),
    }
}

impl RawTest {
    /// `None` only if a problem was reported.
    pub(crate) fn into_model(self, origin: Origin) -> Option<Test> {
        Some(Test {
            origin,
            from: self.from?.value,
            allow: self.allow.into_iter().map(|at| at.value).collect(),
            deny: self.deny.into_iter().map(|at| at.value).collect(),
        })
    }
}
