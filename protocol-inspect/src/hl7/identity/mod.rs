//! Whose message is it: of which patients, of which device, and when was it sent?
//!
//! Decides what a rule and a device bind: `bind_patient`, `device_ids`, `clock_window`. Who sent it (MSH-3, MSH-4) is
//! for `judge.rs`. In: a message before a rule. Out: at most one firm finding, and a hint of a second patient.
//! Knows patients by keyed hashes alone, and no more of the device than what the policy says.

mod device;
mod patient;

use super::delimiters::Delimiters;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::judge::Case;
use super::place::Place;
use super::segment::Segment;
use super::timestamp;
use crate::Reason;

/// Judges what the rule binds.
//= C5
pub(crate) fn judge(case: &Case<'_>, findings: &mut Findings) {
    // What the destination answers is about the same patients, but neither from the device nor by its clock.
    let found = patient::judge(case).or_else(|| {
        let is_own = || device::judge(case).or_else(|| clock(case));
        (!case.is_answer).then(is_own).flatten()
    });
    if let Some(finding) = found {
        findings.add(finding);
    }
}

//= HL7 v2.5.1 2.15.9.7
fn clock(case: &Case<'_>) -> Option<Finding> {
    let (window, now) = (case.rule.clock_window?, case.now?);
    let msh = case.message.segments().next()?;
    let field = msh.field(7);
    let detail = if field.is_valued() {
        timestamp::outside(field.component(1), now, window)?
    } else {
        "is missing, and the rule compares it with the present"
    };
    Some(Finding::firm(
        Reason::Forbidden,
        Place::msh(7),
        detail,
        ErrorCode::DataType,
        Fault::Rule,
    ))
}

/// What is refused because of who it is.
fn stranger(place: Place, detail: &'static str) -> Finding {
    Finding::new(
        Weight::Firm,
        Reason::Identity,
        place,
        detail,
        ErrorCode::UnknownKey,
        Fault::Rule,
    )
}

/// The repetitions of a field that have a value, each with where it begins in the message.
fn valued<'a>(
    segment: &Segment<'a>,
    number: usize,
) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
    let delimiters = *segment.delimiters();
    let mut before = segment.bytes().split(move |b| *b == delimiters.field);
    let mut offset = segment.offset();
    for field in before.by_ref().take(number) {
        offset = after(offset, field);
    }
    let field = before.next().unwrap_or_default();
    let repetitions = field.split(move |b| *b == delimiters.repetition);
    repetitions
        .map(move |repetition| {
            let at = offset;
            offset = after(offset, repetition);
            (at, repetition)
        })
        .filter(move |(_, bytes)| {
            *bytes != b"\"\"" && bytes.iter().any(|b| !delimiters.contains(*b))
        })
}

/// Where what follows a part and its separator begins.
fn after(offset: usize, part: &[u8]) -> usize {
    offset.saturating_add(part.len()).saturating_add(1)
}

/// The first components; those that are not there are empty.
fn components<const N: usize>(bytes: &[u8], separator: u8) -> [&[u8]; N] {
    let mut parts = bytes.split(|b| *b == separator);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

/// Hands the text of a value to `take`, piece by piece: escape sequences that stand for bytes are those bytes,
/// all others stay as they are.
fn unescape(value: &[u8], delimiters: &Delimiters, mut take: impl FnMut(&[u8])) {
    let mut rest = value;
    while let Some(begin) = rest.iter().position(|b| *b == delimiters.escape) {
        let (text, sequence) = rest.split_at(begin);
        take(text);
        let inner = sequence.get(1..).unwrap_or_default();
        let Some(length) = inner.iter().position(|b| *b == delimiters.escape) else {
            rest = sequence;
            break;
        };
        let (inner, tail) = inner.split_at(length);
        match inner {
            b"F" => take(&[delimiters.field]),
            b"S" => take(&[delimiters.component]),
            b"T" => take(&[delimiters.subcomponent]),
            b"R" => take(&[delimiters.repetition]),
            b"E" => take(&[delimiters.escape]),
            [b'X', digits @ ..] if let Some(bytes) = hexadecimal(digits) => {
                bytes.for_each(|byte| take(&[byte]));
            }
            _ => take(sequence.get(..length.saturating_add(2)).unwrap_or_default()),
        }
        rest = tail.get(1..).unwrap_or_default();
    }
    take(rest);
}

/// The bytes of an even number of hexadecimal digits.
fn hexadecimal(digits: &[u8]) -> Option<impl Iterator<Item = u8>> {
    let (pairs, rest) = digits.as_chunks::<2>();
    let sound = !pairs.is_empty() && rest.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16).unwrap_or(0)).unwrap_or(0);
    let byte = move |pair: &[u8; 2]| {
        let [high, low] = pair.map(digit);
        high.wrapping_shl(4) | low
    };
    sound.then(|| pairs.iter().map(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_that_are_bytes_become_them() {
        let delimiters = Delimiters::parse(b"MSH|^~\\&|").unwrap();
        for (value, text) in [
            ("4711", "4711"),
            ("", ""),
            (r"a\F\b\S\c\T\d\R\e\E\", r"a|b^c&d~e\"),
            (r"\X41\\X4a6B\", "AJk"),
            (r"12\H\3\N\", r"12\H\3\N\"),
            (r"1\X4\2", r"1\X4\2"),
            (r"1\", r"1\"),
            (r"1\F", r"1\F"),
        ] {
            let mut out = Vec::new();
            unescape(value.as_bytes(), &delimiters, |piece| {
                out.extend_from_slice(piece);
            });
            assert_eq!(String::from_utf8(out).unwrap(), text, "{value}");
        }
    }
}
