//! The blob and its sections, cut at compile time.
//!
//! In: `tables.bin`. Out: slices of fixed-size records. Knows where a section lies, not what its records mean.
//! A blob whose header does not fit gives empty sections; the tests refuse such a blob.

pub(super) use crate::blob::slice;
use crate::blob::{records, word};

pub(super) const BLOB: &[u8] = include_bytes!("tables.bin");

pub(super) static VERSIONS: &[[u8; 28]] = records(BLOB, 0);
pub(super) static STRUCTURES: &[[u8; 12]] = records(BLOB, 1);
pub(super) static EVENTS: &[[u8; 12]] = records(BLOB, 2);
pub(super) static SEGMENTS: &[[u8; 6]] = records(BLOB, 3);
pub(super) static TYPES: &[[u8; 6]] = records(BLOB, 4);
pub(super) static TABLES: &[[u8; 6]] = records(BLOB, 5);
pub(super) static NODES: &[[u8; 12]] = records(BLOB, 6);
static LAYOUTS: &[[u8; 2]] = records(BLOB, 7);
static FIELDS: &[[u8; 12]] = records(BLOB, 8);
static SPANS: &[[u8; 6]] = records(BLOB, 9);
static CODES: &[[u8; 2]] = records(BLOB, 10);
static STRINGS: &[[u8; 4]] = records(BLOB, 11);
static BYTES: &[[u8; 1]] = records(BLOB, 12);

/// The text of a number; unknown numbers have none.
pub(super) fn string(number: u16) -> &'static str {
    let at = |n: usize| STRINGS.get(n).map(|r| word(*r));
    let number = usize::from(number);
    let range = at(number).zip(at(number.saturating_add(1)));
    range
        .and_then(|(from, to)| BYTES.get(from..to))
        .and_then(|bytes| str::from_utf8(bytes.as_flattened()).ok())
        .unwrap_or_default()
}

/// The number of a text. The texts are sorted by their bytes.
pub(super) fn number_of(text: &[u8]) -> Option<u16> {
    let mut low = 0_u16;
    let mut high = u16::try_from(STRINGS.len().checked_sub(1)?).ok()?;
    while low < high {
        let middle = low.midpoint(high);
        match string(middle).as_bytes().cmp(text) {
            std::cmp::Ordering::Less => low = middle.saturating_add(1),
            std::cmp::Ordering::Equal => return Some(middle),
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    None
}

/// The fields of a segment or the components of a data type: each a number for [`field`].
pub(super) fn layout(span: u16) -> &'static [[u8; 2]] {
    run(LAYOUTS, span)
}

/// The codes of a table: numbers of strings, ascending.
pub(super) fn codes(span: u16) -> &'static [[u8; 2]] {
    run(CODES, span)
}

/// A field or component.
pub(super) fn field(number: u16) -> Option<&'static [u8; 12]> {
    FIELDS.get(usize::from(number))
}

fn run(pool: &'static [[u8; 2]], span: u16) -> &'static [[u8; 2]] {
    let Some([a, b, c, d, e, f]) = SPANS.get(usize::from(span)) else {
        return &[];
    };
    let start = word([*a, *b, *c, *d]);
    let end = start.saturating_add(usize::from(u16::from_le_bytes([*e, *f])));
    pool.get(start..end).unwrap_or_default()
}
