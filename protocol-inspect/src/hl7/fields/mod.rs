//! Judges the fields of every segment that the message's version knows: present, repeated, too many, too long,
//! and each value by its data type and table.
//!
//! In: a message whose counts are within their limits. Out: findings with the exact place, never a value.
//! Knows nothing of which segments a message needs, of Z segments, and of the header fields that `check.rs` judges.
//!
//! Only a value that no reader can understand (`12a` as a number, the 31st of June) is wrong beyond doubt.
//! What is missing, too many or too long by the letter of the standard weighs [`Weight::Strict`]: newer versions add
//! fields, components and codes, and senders use them early.
//!
//! [`stops`](super::stops) finds where values end, many bytes at once, [`walk`] goes from one end to the next, [`clean`] passes
//! what is plainly right, [`primitive`] looks at the values, [`told`] makes findings. [`compiled`] holds what a version says, looked up before: nothing is allocated for a message.
//!
//! [`Weight::Strict`]: super::finding::Weight::Strict

mod clean;
mod compiled;
mod composite;
mod datatype;
mod primitive;
mod told;
mod walk;

use super::finding::Findings;
use super::grammar::{SegmentId, Version};
use super::message::Message;
use super::stops::Stops;
use compiled::{Compiled, Layout};
use walk::{Ground, Walk};

/// Judges the fields of all segments.
pub(crate) fn judge(message: &Message<'_>, findings: &mut Findings) {
    let Some(version) = version(message) else {
        return;
    };
    let compiled = Compiled::of(version);
    let delimiters = *message.delimiters();
    let stops = Stops::new(
        message.bytes(),
        [
            delimiters.field,
            delimiters.component,
            delimiters.repetition,
            delimiters.subcomponent,
            b'\r',
        ],
    );
    let mut ground = Ground::new(message, compiled, stops);
    let mut known: Option<(SegmentId, Option<&Layout>)> = None;
    for segment in message.segments() {
        let Some(id) = SegmentId::new(segment.name().as_bytes()) else {
            continue;
        };
        // Segments of one name come in rows.
        let layout = match known {
            Some((last, layout)) if last == id => layout,
            Some(_) | None => compiled.segment(id),
        };
        known = Some((id, layout));
        if let Some(layout) = layout {
            Walk::new(segment, layout, &mut ground, findings).run();
        }
    }
}

fn version(message: &Message<'_>) -> Option<Version> {
    Version::of(str::from_utf8(message.head().field(12).component(1)).ok()?)
}

#[cfg(test)]
mod tests;
