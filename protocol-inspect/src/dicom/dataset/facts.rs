//! What is learned of a data set on the way: what the command is compared with, and what rules ask for.

use dicom_core::Tag;

use super::super::policy::Level;
use super::super::uid::Uid;
use super::judges::{Element, Tell};
use super::transaction::Transaction;
use crate::severity::Weight;
use crate::{Reason, Refusal};

/// What the walk learned of the data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// (0008,0016).
    pub sop_class: Option<Uid>,
    /// (0008,0018).
    pub sop_instance: Option<Uid>,
    /// What it says of storage commitment or a performed procedure step.
    pub transaction: Transaction,
}

pub(super) fn element(
    facts: &mut Facts,
    element: &Element<'_>,
    tell: &mut Tell<'_>,
) -> Result<(), Refusal> {
    if element.depth > 0 {
        return Ok(());
    }
    let value = element.value;
    match element.tag {
        SOP_CLASS if !value.is_empty() => facts.sop_class = Some(uid(element, tell)?),
        SOP_INSTANCE if !value.is_empty() => facts.sop_instance = Some(uid(element, tell)?),
        PATIENT_ID if looks_like_path(value) => {
            return Err(tell.refuse(PATIENT_ID, Reason::Field, "looks like a path"));
        }
        _ => {}
    }
    Ok(())
}

fn uid(element: &Element<'_>, tell: &mut Tell<'_>) -> Result<Uid, Refusal> {
    let wrong = |detail| tell.refuse(element.tag, Reason::Encoding, detail);
    let mut value = element.value;
    // Some fill up fields of their own with NUL.
    while let [rest @ .., 0, 0] = value {
        value = rest;
    }
    let mut several = value.len() < element.value.len();
    if several && value.is_empty() {
        value = element.value;
        several = false;
    }
    let (uid, doubts) = Uid::read(value).map_err(wrong)?;
    if several {
        let strict = (Level::Values, Weight::Strict);
        tell.finding(element.tag, strict, Reason::Encoding, MANY_NULS)?;
    }
    for doubt in doubts.into_iter().flatten() {
        let strict = (Level::Values, Weight::Strict);
        tell.finding(element.tag, strict, Reason::Encoding, doubt)?;
    }
    Ok(uid)
}

/// Identifiers become file names in more than one archive.
fn looks_like_path(value: &[u8]) -> bool {
    let padding = |byte: &u8| matches!(byte, b' ' | 0);
    let begin = value.iter().position(|byte| !padding(byte));
    let end = value.iter().rposition(|byte| !padding(byte));
    let (Some(begin), Some(end)) = (begin, end) else {
        return false;
    };
    let value = value.get(begin..=end).unwrap_or_default();
    let is_divider = |byte: &u8| matches!(byte, b'/' | b'\\');
    let has_drive =
        matches!(value, [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    value.starts_with(b"/")
        || value.starts_with(b"\\\\")
        || has_drive
        || value
            .split(is_divider)
            .any(|part| part.trim_ascii() == b"..")
}

const MANY_NULS: &str = "is not padded with one NUL";
const SOP_CLASS: Tag = Tag(0x0008, 0x0016);
const SOP_INSTANCE: Tag = Tag(0x0008, 0x0018);
const PATIENT_ID: Tag = Tag(0x0010, 0x0020);
