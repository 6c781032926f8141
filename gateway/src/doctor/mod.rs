//! Judges the security settings of the host: what was found, what would be right, and how they compare.
//!
//! In: [`Facts`], which somebody else read. Out: a [`Report`]. One file a subject.
//! Knows nothing of files, processes and clocks; what could not be read is [`Verdict::Unknown`], never right.

pub mod facts;
pub mod report;
mod boot;
mod data;
mod files;
mod gateway;
mod kernel;
mod software;

pub use data::{DATA, LUKS};
pub use facts::{Facts, Form, Seen};
pub use gateway::SUPERVISOR;
pub use report::{Item, Report, Verdict};
pub use software::units;

/// All items, in the order of the hardening guide.
#[must_use]
pub fn judge(facts: &Facts) -> Report {
    let mut items = Vec::new();
    boot::judge(facts, &mut items);
    data::judge(facts, &mut items);
    kernel::judge(facts, &mut items);
    gateway::judge(facts, &mut items);
    files::judge(facts, &mut items);
    software::judge(facts, &mut items);
    Report {
        form: facts.form,
        items,
    }
}
