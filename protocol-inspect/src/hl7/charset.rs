//! Whether every byte of a message fits the character set that it declares in MSH-18 (HL7 table 0211).
//!
//! In: the name and the bytes. Out: the first byte that does not fit.
//! Sets in which a delimiter can be part of a character, or that switch in the middle, are refused by name:
//! a receiver that decodes first would see other fields than those judged here.

/// A character set whose bytes can be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Charset {
    /// ASCII, also by the name `ISO IR6`.
    Ascii,
    /// ISO 8859, by its part.
    Iso8859(u8),
    /// UTF-8.
    Utf8,
}

/// What a name in MSH-18 stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A set that is checked; `exact` if the name is the table's own.
    Known { charset: Charset, exact: bool },
    /// A set of the table that is not carried.
    Unsupported,
    /// Not in the table.
    Unknown,
}

/// A byte that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) offset: usize,
    pub(crate) detail: &'static str,
}

impl Charset {
    /// Looks up a name of table 0211.
    pub(crate) fn named(name: &[u8]) -> Named {
        let (charset, exact) = match name {
            b"ASCII" | b"ISO IR6" => (Self::Ascii, true),
            [b'8', b'8', b'5', b'9', b'/', digit @ b'1'..=b'9'] => {
                (Self::Iso8859(digit.saturating_sub(b'0')), true)
            }
            b"8859/15" => (Self::Iso8859(15), true),
            b"UNICODE UTF-8" => (Self::Utf8, true),
            // Not in the table, but there is only one thing it can mean.
            b"UTF-8" | b"UTF8" => (Self::Utf8, false),
            b"ISO IR14" | b"ISO IR87" | b"ISO IR159" | b"GB 18030-2000" | b"KS X 1001"
            | b"CNS 11643-1992" | b"BIG-5" | b"UNICODE" | b"UNICODE UTF-16" | b"UNICODE UTF-32" => {
                return Named::Unsupported;
            }
            _ => return Named::Unknown,
        };
        Named::Known { charset, exact }
    }

    /// The first byte that is no part of a character of this set.
    pub(crate) fn misfit(self, bytes: &[u8]) -> Option<Misfit> {
        if bytes.is_ascii() {
            // All sets have ASCII in them.
            return None;
        }
        match self {
            Self::Ascii => position(bytes, |b| !b.is_ascii(), "is not ASCII"),
            Self::Iso8859(part) => position(
                bytes,
                |b| !is_defined(part, b),
                "is not a character of the declared part of ISO 8859",
            ),
            Self::Utf8 => match std::str::from_utf8(bytes) {
                Err(error) => Some(Misfit {
                    offset: error.valid_up_to(),
                    detail: "is not UTF-8",
                }),
                Ok(text) => hidden_structure(text).map(|offset| Misfit {
                    offset,
                    detail: "is a control character, a line separator or a byte order mark",
                }),
            },
        }
    }
}

/// The first character that a receiver may take for the end of a line or of a text, and nobody sees:
/// U+0080 to U+009F, U+2028, U+2029 and U+FEFF.
fn hidden_structure(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr3_iter(0xc2, 0xe2, 0xef, bytes).find(|at| {
        matches!(
            bytes.get(*at..),
            Some([0xc2, 0x80..=0x9f, ..] | [0xe2, 0x80, 0xa8 | 0xa9, ..] | [0xef, 0xbb, 0xbf, ..])
        )
    })
}

fn position(bytes: &[u8], bad: impl Fn(u8) -> bool, detail: &'static str) -> Option<Misfit> {
    let offset = bytes.iter().position(|b| bad(*b))?;
    Some(Misfit { offset, detail })
}

/// Whether a part of ISO 8859 gives a byte a character. 0x80 to 0x9F are control bytes in all parts.
fn is_defined(part: u8, byte: u8) -> bool {
    if byte < 0x80 {
        return true;
    }
    if byte < 0xa0 {
        return false;
    }
    match part {
        3 => !matches!(byte, 0xa5 | 0xae | 0xbe | 0xc3 | 0xd0 | 0xe3 | 0xf0),
        6 => matches!(
            byte,
            0xa0 | 0xa4 | 0xac | 0xad | 0xbb | 0xbf | 0xc1..=0xda | 0xe0..=0xf2
        ),
        7 => !matches!(byte, 0xae | 0xd2 | 0xff),
        8 => !matches!(byte, 0xa1 | 0xbf..=0xde | 0xfb | 0xfc | 0xff),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misfit(name: &str, bytes: &[u8]) -> Option<usize> {
        match Charset::named(name.as_bytes()) {
            Named::Known { charset, .. } => charset.misfit(bytes).map(|m| m.offset),
            Named::Unsupported | Named::Unknown => panic!("{name}"),
        }
    }

    #[test]
    fn checks_every_byte() {
        for (name, good, bad, at) in [
            ("ASCII", &b"abc"[..], &b"ab\xe4"[..], 2),
            ("8859/1", b"a\xe4\xff", b"a\x85", 1),
            ("8859/3", b"\xa4", b"\xa5", 0),
            ("8859/6", b"\xc1", b"\xc0", 0),
            ("8859/7", b"\xa4\xd1", b"\xd2", 0),
            ("8859/8", b"\xe0", b"\xff", 0),
            ("8859/15", b"\xa4", b"\x9f", 0),
            ("UNICODE UTF-8", "ä€😀".as_bytes(), b"a\xc0\xaf", 1),
            ("UNICODE UTF-8", "\u{a0}".as_bytes(), b"\xed\xa0\x80", 0),
            ("UTF-8", "\u{202e}".as_bytes(), "x\u{85}".as_bytes(), 1),
            ("UTF-8", b"x", "x\u{feff}".as_bytes(), 1),
            ("UTF-8", "\u{2027}".as_bytes(), "x\u{2028}".as_bytes(), 1),
            ("UTF-8", "\u{202a}".as_bytes(), "x\u{2029}".as_bytes(), 1),
        ] {
            assert_eq!(misfit(name, good), None, "{name}");
            assert_eq!(misfit(name, bad), Some(at), "{name}");
        }
    }

    #[test]
    fn the_undefined_positions_are_those_of_an_independent_table() {
        // encoding_rs decodes 0x80 to 0x9F leniently, so only the upper half is compared.
        // Part 1 and 9 are widened to Windows sets there, and are complete from 0xA0 on anyway.
        for (part, label) in [
            (2, "8859-2"),
            (3, "8859-3"),
            (4, "8859-4"),
            (5, "8859-5"),
            (6, "8859-6"),
            (7, "8859-7"),
            (8, "8859-8"),
            (15, "8859-15"),
        ] {
            let label = format!("iso-{label}");
            let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
            for byte in 0xa0..=0xff_u8 {
                let (_, bad) = encoding.decode_without_bom_handling(&[byte]);
                assert_eq!(is_defined(part, byte), !bad, "{label} {byte:02x}");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_table() {
        assert_eq!(Charset::named(b"BIG-5"), Named::Unsupported);
        assert_eq!(Charset::named(b"8859/10"), Named::Unknown);
        assert_eq!(Charset::named(b"ascii"), Named::Unknown);
    }
}
