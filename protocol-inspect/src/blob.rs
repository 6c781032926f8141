//! Tables that generators write and the compiler takes in: a blob and its sections, cut at compile time.
//!
//! In: a blob with 16 bytes in front, then for each section its offset and number of records (u32, little-endian).
//! Out: slices of fixed-size records. Knows not what records mean. A blob whose header does not fit gives empty sections.

/// The records of a section.
pub(crate) const fn records<const N: usize>(
    blob: &'static [u8],
    section: usize,
) -> &'static [[u8; N]] {
    let entry = section.saturating_mul(8).saturating_add(HEADER);
    let Some((_, rest)) = blob.split_at_checked(entry) else {
        return &[];
    };
    let Some((&[a, b, c, d, e, f, g, h], _)) = rest.split_first_chunk::<8>() else {
        return &[];
    };
    let Some((_, rest)) = blob.split_at_checked(word([a, b, c, d])) else {
        return &[];
    };
    let length = word([e, f, g, h]).saturating_mul(N);
    let Some((section, _)) = rest.split_at_checked(length) else {
        return &[];
    };
    section.as_chunks::<N>().0
}

/// `count` records of a section, from `first` on.
pub(crate) fn slice<const N: usize>(
    section: &'static [[u8; N]],
    first: u16,
    count: u16,
) -> &'static [[u8; N]] {
    let first = usize::from(first);
    let end = first.saturating_add(usize::from(count));
    section.get(first..end).unwrap_or_default()
}

/// A number of four bytes, as an index.
#[expect(
    clippy::as_conversions,
    reason = "TryFrom is not const; no target of ours has fewer than 32 bits"
)]
pub(crate) const fn word(bytes: [u8; 4]) -> usize {
    u32::from_le_bytes(bytes) as usize
}

const HEADER: usize = 16;
