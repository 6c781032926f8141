//! Field sections of HTTP/3 with the static table alone (RFC 9204).
//!
//! In: the bytes of a HEADERS frame. Out: names and values as they were sent, within [`MAX_SECTION`].
//! We allow no dynamic table, so that a section never waits for another stream; whoever refers to one is refused.
//! Knows nothing of what the fields mean (`fields`).

use super::huffman;
use super::table::STATIC;

/// Most bytes of a field section: of its frame, and of its fields as RFC 9114 4.2.2 counts them.
//= C7
pub const MAX_SECTION: u64 = 8192;
/// What RFC 9114 4.2.2 adds for each field.
const FIELD_OVERHEAD: u64 = 32;

/// A name and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As it was sent.
    pub name: Vec<u8>,
    /// As it was sent.
    pub value: Vec<u8>,
}

impl Field {
    /// A field of ours.
    #[must_use]
    pub fn new(name: &str, value: &str) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// Why a section is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// It breaks the format or refers to a dynamic table.
    Failed(&'static str),
    /// It is longer than [`MAX_SECTION`].
    TooLong,
}

/// Reads a whole field section.
///
/// # Errors
/// When it breaks the format, refers to a dynamic table, or is too long.
pub fn decode(section: &[u8]) -> Result<Vec<Field>, Undecodable> {
    use Undecodable::Failed;
    let mut rest = section;
    //= RFC 9204 4.5.1
    let inserts = integer(&mut rest, 8).ok_or(Failed("the prefix is cut short"))?;
    if inserts != 0 {
        return Err(Failed("the required insert count is not zero"));
    }
    let negative = rest.first().is_some_and(|byte| byte & 0x80 != 0);
    integer(&mut rest, 7).ok_or(Failed("the base is cut short"))?;
    if negative {
        return Err(Failed("the base is negative"));
    }
    let mut fields = Vec::new();
    let mut size = 0_u64;
    while !rest.is_empty() {
        let field = line(&mut rest).map_err(Failed)?;
        let bytes = u64::try_from(field.name.len() + field.value.len()).unwrap_or(MAX_SECTION);
        size += bytes + FIELD_OVERHEAD;
        if size > MAX_SECTION {
            return Err(Undecodable::TooLong);
        }
        fields.push(field);
    }
    Ok(fields)
}

/// One field line (RFC 9204 4.5.2 to 4.5.6).
fn line(rest: &mut &[u8]) -> Result<Field, &'static str> {
    const CUT: &str = "a field line is cut short";
    let first = *rest.first().ok_or(CUT)?;
    if first & 0x80 != 0 {
        let index = integer(rest, 6).ok_or(CUT)?;
        if first & 0x40 == 0 {
            return Err("an indexed line refers to the dynamic table");
        }
        let (name, value) = entry(index)?;
        return Ok(Field::new(name, value));
    }
    if first & 0x40 != 0 {
        let index = integer(rest, 4).ok_or(CUT)?;
        if first & 0x10 == 0 {
            return Err("a name refers to the dynamic table");
        }
        let (name, _) = entry(index)?;
        return Ok(Field {
            name: name.into(),
            value: string(rest, 7)?,
        });
    }
    if first & 0x20 != 0 {
        return Ok(Field {
            name: string(rest, 3)?,
            value: string(rest, 7)?,
        });
    }
    Err("a line refers to the dynamic table after the base")
}

fn entry(index: u64) -> Result<(&'static str, &'static str), &'static str> {
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    let found = STATIC.get(index).copied();
    found.ok_or("an index is not in the static table")
}

/// An integer with a prefix of so many bits (RFC 7541 5.1), at most 62 bits long.
fn integer(rest: &mut &[u8], prefix: u32) -> Option<u64> {
    let (first, mut tail) = rest.split_first()?;
    let full = (1_u64 << prefix) - 1;
    let mut value = u64::from(*first) & full;
    if value == full {
        let mut shift = 0_u32;
        loop {
            let (byte, after) = tail.split_first()?;
            tail = after;
            // RFC 9204 4.1.1: up to 62 bits; ten bytes are more than enough, zeros included.
            if shift > 56 {
                return None;
            }
            value += u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if value > super::varint::MAX {
            return None;
        }
    }
    *rest = tail;
    Some(value)
}

/// A string literal whose length has a prefix of so many bits, after the bit that says whether it is coded.
fn string(rest: &mut &[u8], prefix: u32) -> Result<Vec<u8>, &'static str> {
    const CUT: &str = "a string is cut short";
    let coded = rest.first().ok_or(CUT)? & (1 << prefix) != 0;
    let length = usize::try_from(integer(rest, prefix).ok_or(CUT)?).map_err(|_| CUT)?;
    let (text, after) = rest.split_at_checked(length).ok_or(CUT)?;
    *rest = after;
    if coded {
        huffman::decode(text).ok_or("a string is not in the Huffman code")
    } else {
        Ok(text.to_vec())
    }
}

/// Writes a field section: with the static table where it knows the field or its name, else literally.
#[must_use]
pub fn encode(fields: &[Field]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for field in fields {
        let named = |(name, _): &(&str, &str)| name.as_bytes() == field.name;
        let whole = |(name, value): &(&str, &str)| {
            name.as_bytes() == field.name && value.as_bytes() == field.value
        };
        if let Some(index) = STATIC.iter().position(whole) {
            write_integer(index, 6, 0xc0, &mut out);
            continue;
        }
        if let Some(index) = STATIC.iter().position(named) {
            write_integer(index, 4, 0x50, &mut out);
        } else {
            write_integer(field.name.len(), 3, 0x20, &mut out);
            out.extend(&field.name);
        }
        write_integer(field.value.len(), 7, 0, &mut out);
        out.extend(&field.value);
    }
    out
}

fn write_integer(value: usize, prefix: u32, mark: u8, out: &mut Vec<u8>) {
    let full = (1_usize << prefix) - 1;
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < full {
        out.push(mark | byte(value));
        return;
    }
    out.push(mark | byte(full));
    let mut rest = value - full;
    while rest >= 0x80 {
        out.push(0x80 | byte(rest & 0x7f));
        rest >>= 7;
    }
    out.push(byte(rest));
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    //= RFC 9204 B.1
    #[test]
    fn the_example_of_the_standard() {
        let mut section = vec![0x00, 0x00, 0x51, 0x0b];
        section.extend(b"/index.html");
        let fields = [Field::new(":path", "/index.html")];
        assert_eq!(decode(&section).unwrap(), fields);
        assert_eq!(encode(&fields), section);
    }

    //= RFC 9204 B.2 and B.4: what needs a dynamic table
    #[test]
    fn the_examples_with_a_dynamic_table_are_refused() {
        for section in [
            &[0x03, 0x81, 0x10, 0x11][..],
            &[0x05, 0x00, 0x80, 0xc1, 0x81],
        ] {
            let refused = Undecodable::Failed("the required insert count is not zero");
            assert_eq!(decode(section), Err(refused));
        }
    }

    //= RFC 7541 C.1: 10 and 1337 with a prefix of five bits, 42 with one of eight
    #[test]
    fn the_integers_of_the_standard() {
        for (bytes, prefix, value) in [
            (&[0b000_01010][..], 5, 10),
            (&[0b000_11111, 0b1001_1010, 0b0000_1010], 5, 1337),
            (&[0b0010_1010], 8, 42),
        ] {
            let mut rest = bytes;
            assert_eq!(integer(&mut rest, prefix), Some(value));
            assert!(rest.is_empty());
            let mut written = Vec::new();
            write_integer(usize::try_from(value).unwrap(), prefix, 0, &mut written);
            assert_eq!(written, bytes);
        }
    }

    #[test]
    fn each_malformed_section_beside_its_twin() {
        let cases: [(&str, &[u8], &[u8]); 12] = [
            ("no prefix", &[0, 0], &[]),
            ("half a prefix", &[0, 0], &[0]),
            ("insert count", &[0, 0, 0xd1], &[1, 0, 0xd1]),
            ("negative base", &[0, 1, 0xd1], &[0, 0x81, 0xd1]),
            ("dynamic index", &[0, 0, 0xc1], &[0, 0, 0x81]),
            (
                "dynamic name",
                &[0, 0, 0x51, 1, b'/'],
                &[0, 0, 0x41, 1, b'/'],
            ),
            ("after the base", &[0, 0, 0xc1], &[0, 0, 0x11]),
            ("name after the base", &[0, 0, 0x51, 0], &[0, 0, 0x01, 0]),
            ("index 99", &[0, 0, 0xff, 35], &[0, 0, 0xff, 36]),
            (
                "string longer than the section",
                &[0, 0, 0x51, 2, b'/', b'a'],
                &[0, 0, 0x51, 3, b'/', b'a'],
            ),
            (
                "Huffman",
                &[0, 0, 0x51, 0x81, 0x1f],
                &[0, 0, 0x51, 0x81, 0x1e],
            ),
            (
                "endless integer",
                &[0, 0, 0xff, 0x80, 0],
                &[
                    0, 0, 0xff, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0,
                ],
            ),
        ];
        for (what, good, bad) in cases {
            assert!(decode(good).is_ok(), "{what}: the twin");
            assert!(matches!(decode(bad), Err(Undecodable::Failed(_))), "{what}");
        }
    }

    #[test]
    fn a_section_is_bounded_by_what_it_means() {
        let section = |lines| {
            let mut section = vec![0, 0];
            section.extend(vec![0xd1_u8; lines]);
            section
        };
        // `:method: GET` counts 42 bytes.
        assert_eq!(decode(&section(195)).unwrap().len(), 195);
        assert_eq!(decode(&section(196)), Err(Undecodable::TooLong));
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            fields in vec((vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..150)), 0..20)
        ) {
            let fields: Vec<_> = fields.into_iter().map(|(name, value)| Field { name, value }).collect();
            prop_assert_eq!(decode(&encode(&fields)).unwrap(), fields);
        }

        #[test]
        fn any_bytes_are_read_or_refused(section in vec(any::<u8>(), 0..300)) {
            if let Ok(fields) = decode(&section) {
                prop_assert_eq!(decode(&encode(&fields)).unwrap(), fields);
            }
        }
    }
}
