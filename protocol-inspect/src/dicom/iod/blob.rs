//! The blob and its sections, cut at compile time.
//!
//! In: `tables.bin`. Out: slices of fixed-size records, and texts. Knows where a section lies, not what its records mean.
//! A blob whose header does not fit gives empty sections; the tests refuse such a blob.

pub(super) const BLOB: &[u8] = include_bytes!("tables.bin");

pub(super) static SOP_CLASSES: &[[u8; 4]] = records(0);
pub(super) static IODS: &[[u8; 8]] = records(1);
pub(super) static MODULES: &[[u8; 8]] = records(2);
pub(super) static OVERRIDES: &[[u8; 6]] = records(3);
pub(super) static LEVELS: &[[u8; 4]] = records(4);
pub(super) static ROWS: &[[u8; 8]] = records(5);
pub(super) static RULES: &[[u8; 8]] = records(6);
pub(super) static CONDITIONS: &[[u8; 16]] = records(7);
pub(super) static CODES: &[[u8; 2]] = records(8);
pub(super) static TESTS: &[[u8; 6]] = records(9);
pub(super) static WATCHES: &[[u8; 4]] = records(10);
pub(super) static ATOMS: &[[u8; 4]] = records(11);
pub(super) static VALUES: &[[u8; 4]] = records(12);
pub(super) static PARTS: &[[u8; 6]] = records(13);
pub(super) static TERMS: &[[u8; 2]] = records(14);
static STRINGS: &[[u8; 4]] = records(15);
static BYTES: &[[u8; 1]] = records(16);

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

/// `count` records of a section, from `first` on.
pub(super) fn slice<const N: usize>(
    section: &'static [[u8; N]],
    first: u16,
    count: u16,
) -> &'static [[u8; N]] {
    let first = usize::from(first);
    let end = first.saturating_add(usize::from(count));
    section.get(first..end).unwrap_or_default()
}

#[expect(
    clippy::as_conversions,
    reason = "TryFrom is not const; no target of ours has fewer than 32 bits"
)]
const fn word(bytes: [u8; 4]) -> usize {
    u32::from_le_bytes(bytes) as usize
}

/// The records of a section: its entry in the header is its offset and the number of records.
const fn records<const N: usize>(section: usize) -> &'static [[u8; N]] {
    let entry = section.saturating_mul(8).saturating_add(HEADER);
    let Some((_, rest)) = BLOB.split_at_checked(entry) else {
        return &[];
    };
    let Some((&[a, b, c, d, e, f, g, h], _)) = rest.split_first_chunk::<8>() else {
        return &[];
    };
    let Some((_, rest)) = BLOB.split_at_checked(word([a, b, c, d])) else {
        return &[];
    };
    let length = word([e, f, g, h]).saturating_mul(N);
    let Some((section, _)) = rest.split_at_checked(length) else {
        return &[];
    };
    section.as_chunks::<N>().0
}

const HEADER: usize = 16;
