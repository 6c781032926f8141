//! The blob and its sections, cut at compile time.
//!
//! In: `tables.bin`. Out: slices of fixed-size records, and texts. Knows where a section lies, not what its records mean.
//! A blob whose header does not fit gives empty sections; the tests refuse such a blob.

pub(super) use crate::blob::slice;
use crate::blob::{records, word};

pub(super) const BLOB: &[u8] = include_bytes!("tables.bin");

pub(super) static SOP_CLASSES: &[[u8; 4]] = records(BLOB, 0);
pub(super) static IODS: &[[u8; 8]] = records(BLOB, 1);
pub(super) static MODULES: &[[u8; 8]] = records(BLOB, 2);
pub(super) static OVERRIDES: &[[u8; 6]] = records(BLOB, 3);
pub(super) static LEVELS: &[[u8; 4]] = records(BLOB, 4);
pub(super) static ROWS: &[[u8; 8]] = records(BLOB, 5);
pub(super) static RULES: &[[u8; 8]] = records(BLOB, 6);
pub(super) static CONDITIONS: &[[u8; 16]] = records(BLOB, 7);
pub(super) static CODES: &[[u8; 2]] = records(BLOB, 8);
pub(super) static TESTS: &[[u8; 6]] = records(BLOB, 9);
pub(super) static WATCHES: &[[u8; 4]] = records(BLOB, 10);
pub(super) static ATOMS: &[[u8; 4]] = records(BLOB, 11);
pub(super) static VALUES: &[[u8; 4]] = records(BLOB, 12);
pub(super) static PARTS: &[[u8; 6]] = records(BLOB, 13);
pub(super) static TERMS: &[[u8; 2]] = records(BLOB, 14);
static STRINGS: &[[u8; 4]] = records(BLOB, 15);
static BYTES: &[[u8; 1]] = records(BLOB, 16);
pub(super) static GROUPS: &[[u8; 8]] = records(BLOB, 17);

/// The number of the last rule that asks something of an attribute that is not there.
pub(super) static DUTIES: u16 = duties();

const fn duties() -> u16 {
    match BLOB.split_at_checked(12) {
        Some((_, &[a, b, ..])) => u16::from_le_bytes([a, b]),
        Some(_) | None => u16::MAX,
    }
}

/// The text of a number, from 1 on; unknown numbers have none.
pub(super) fn string(number: u16) -> &'static str {
    str::from_utf8(text(number)).unwrap_or_default()
}

/// Its bytes.
pub(super) fn text(number: u16) -> &'static [u8] {
    let at = |n: usize| STRINGS.get(n).map(|record| word(*record));
    let number = usize::from(number);
    let range = number.checked_sub(1).and_then(at).zip(at(number));
    range
        .and_then(|(from, to)| BYTES.get(from..to))
        .map(<[[u8; 1]]>::as_flattened)
        .unwrap_or_default()
}

/// The records of a run that `spans` names by a number from 1 on; 0 is an empty run.
pub(super) fn run<const N: usize>(
    spans: &'static [[u8; 4]],
    pool: &'static [[u8; N]],
    number: u16,
) -> &'static [[u8; N]] {
    let span = usize::from(number).checked_sub(1);
    let Some([a, b, c, d]) = span.and_then(|span| spans.get(span)) else {
        return &[];
    };
    slice(
        pool,
        u16::from_le_bytes([*a, *b]),
        u16::from_le_bytes([*c, *d]),
    )
}
