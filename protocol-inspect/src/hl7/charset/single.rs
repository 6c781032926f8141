//! Character sets in which every byte below 0x80 is the ASCII character: no delimiter hides in another character.
//!
//! In: the bytes of a message. Out: the first byte that is no part of a character, and controls of writing direction
//! that make a reader see another text than the bytes say.

use super::super::delimiters::Delimiters;
use crate::charset::{is_hidden_structure, is_iso_8859};

/// A character set whose bytes can be checked as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    /// ASCII, also by the name `ISO IR6`.
    Ascii,
    /// ISO 8859, by its part.
    Iso8859(u8),
    /// UTF-8.
    Utf8,
}

/// A byte that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) offset: usize,
    pub(super) detail: &'static str,
}

impl Charset {
    /// The first byte that is no part of a character of this set.
    pub(super) fn misfit(self, bytes: &[u8]) -> Option<Misfit> {
        if bytes.is_ascii() {
            return None;
        }
        match self {
            Self::Ascii => position(bytes, |b| !b.is_ascii(), "is not ASCII"),
            Self::Iso8859(part) => position(
                bytes,
                |b| !is_iso_8859(part, b),
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

    /// Whether a byte is a character of this set by itself.
    pub(super) fn has(self, byte: u8) -> bool {
        match self {
            Self::Ascii | Self::Utf8 => byte.is_ascii(),
            Self::Iso8859(part) => is_iso_8859(part, byte),
        }
    }
}

/// Where the first hidden character stands. Looks only at bytes with which their encodings begin.
fn hidden_structure(text: &str) -> Option<usize> {
    memchr::memchr3_iter(0xc2, 0xe2, 0xef, text.as_bytes()).find(|at| {
        let c = text.get(*at..).and_then(|rest| rest.chars().next());
        c.is_some_and(is_hidden_structure)
    })
}

/// Where the direction of UTF-8 text is overridden, or embedded and not restored before its value ends.
/// Marks, and isolates that are closed, are part of honest Arabic and Hebrew.
pub(super) fn misdirection(text: &[u8], delimiters: &Delimiters) -> Option<Misfit> {
    // The controls are E2 80 AA to AE and E2 81 A6 to A9.
    let mut open: Option<Open> = None;
    for at in memchr::memchr_iter(0xe2, text) {
        let Some([_, second, third]) = text.get(at..at.saturating_add(3)) else {
            break;
        };
        let (second, third) = (*second, *third);
        if !matches!((second, third), (0x80, 0xaa..=0xae) | (0x81, 0xa6..=0xa9)) {
            continue;
        }
        if let Some(open) = open.filter(|open| open.ended_before(text, at, delimiters)) {
            return Some(open.misfit());
        }
        open = match (second, third) {
            (0x80, 0xad | 0xae) => {
                return Some(Misfit {
                    offset: at,
                    detail: "overrides the direction of text",
                });
            }
            (0x80, 0xac) | (0x81, 0xa9) => open.and_then(Open::closed),
            (_, _) => Some(Open::deeper(open, at)),
        }
        .map(|open| Open { seen: at, ..open });
    }
    open.map(Open::misfit)
}

/// Embeddings and isolates that wait for their end.
#[derive(Clone, Copy)]
struct Open {
    /// Where the outermost began.
    at: usize,
    depth: usize,
    /// Up to where no value has ended.
    seen: usize,
}

impl Open {
    fn deeper(open: Option<Self>, at: usize) -> Self {
        let (first, depth) = open.map_or((at, 0), |open| (open.at, open.depth));
        Self {
            at: first,
            depth: depth.saturating_add(1),
            seen: at,
        }
    }

    fn closed(self) -> Option<Self> {
        let depth = self.depth.checked_sub(1).filter(|depth| *depth > 0)?;
        Some(Self { depth, ..self })
    }

    fn ended_before(self, text: &[u8], at: usize, delimiters: &Delimiters) -> bool {
        let between = text.get(self.seen..at).unwrap_or_default();
        between
            .iter()
            .any(|b| *b == b'\r' || (*b != delimiters.escape && delimiters.contains(*b)))
    }

    fn misfit(self) -> Misfit {
        Misfit {
            offset: self.at,
            detail: "leaves the direction of text changed behind its value",
        }
    }
}

fn position(bytes: &[u8], bad: impl Fn(u8) -> bool, detail: &'static str) -> Option<Misfit> {
    let offset = bytes.iter().position(|b| bad(*b))?;
    Some(Misfit { offset, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_every_byte() {
        use Charset::{Ascii, Iso8859, Utf8};
        for (charset, good, bad, at) in [
            (Ascii, &b"abc"[..], &b"ab\xe4"[..], 2),
            (Iso8859(1), b"a\xe4\xff", b"a\x85", 1),
            (Iso8859(3), b"\xa4", b"\xa5", 0),
            (Iso8859(6), b"\xc1", b"\xc0", 0),
            (Iso8859(7), b"\xa4\xd1", b"\xd2", 0),
            (Iso8859(8), b"\xe0", b"\xff", 0),
            (Iso8859(15), b"\xa4", b"\x9f", 0),
            (Utf8, "ä€😀".as_bytes(), b"a\xc0\xaf", 1),
            (Utf8, "\u{a0}".as_bytes(), b"\xed\xa0\x80", 0),
            (Utf8, "\u{202e}".as_bytes(), "x\u{85}".as_bytes(), 1),
            (Utf8, b"x", "x\u{feff}".as_bytes(), 1),
            (Utf8, "\u{2027}".as_bytes(), "x\u{2028}".as_bytes(), 1),
            (Utf8, "\u{202a}".as_bytes(), "x\u{2029}".as_bytes(), 1),
        ] {
            let misfit = |bytes| charset.misfit(bytes).map(|m| m.offset);
            assert_eq!(misfit(good), None, "{charset:?}");
            assert_eq!(misfit(bad), Some(at), "{charset:?}");
        }
    }

    #[test]
    fn each_misdirection_has_a_twin() {
        let delimiters = Delimiters::parse(b"MSH|^~\\&|").unwrap();
        for (good, bad, at) in [
            ("a\u{200f}b", "a\u{202e}b", 1),
            ("a\u{200e}b", "a\u{202d}b\u{202c}", 1),
            ("|\u{202b}x\u{202c}|", "|\u{202b}x|\u{202c}", 1),
            ("|\u{2067}x\u{2069}^", "|\u{2067}x^\u{2069}", 1),
            ("\u{2068}x\u{2069}\r", "\u{2068}x\r\u{2069}", 0),
            (
                "\u{2066}\u{202a}x\u{202c}\u{2069}",
                "\u{2066}\u{202a}x\u{202c}",
                0,
            ),
            ("\u{2066}\\F\\\u{2069}", "\u{2066}\\F\\", 0),
            (
                "\u{2069}\u{202c}\u{2066}\u{2069}",
                "\u{2069}\u{202c}\u{2066}",
                6,
            ),
            ("\u{2065}\u{206a}", "|\u{2066}", 1),
        ] {
            let found = |text: &str| misdirection(text.as_bytes(), &delimiters).map(|m| m.offset);
            assert_eq!(found(good), None, "{good:?}");
            assert_eq!(found(bad), Some(at), "{bad:?}");
        }
    }
}
