//! Character sets whose characters have several bytes, of which one can look like a delimiter.
//!
//! In: text, and the encoding form. Out: the same text in which every byte of such a character, and of every shift,
//! is replaced: the first byte of a character by [`FIRST`], all others by [`FURTHER`].
//! Neither is a delimiter, a control byte or part of anything that a rule is compared with, and a count of characters
//! stays true. A position that no character has ends the replacement: what a reader does there, nobody knows.
//!
//! Which characters a set has, `encoding_rs` knows. Of CNS 11643 only the form is checked.

use encoding_rs::{BIG5, EUC_JP, EUC_KR, GB18030};

use super::single::{Charset, Misfit};
use crate::charset::decodes;

/// In the place of a character's first byte. No byte of any of these sets.
pub(super) const FIRST: u8 = 0xff;
/// In the place of its others, and of a shift. Counts as no character.
pub(super) const FURTHER: u8 = 0x80;

/// How characters become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// GB 18030: one, two or four bytes.
    Gb18030,
    /// Big Five: two bytes, of which the second can be ASCII.
    Big5,
    /// KS X 1001 as EUC-KR: two bytes of the upper half.
    EucKr,
    /// CNS 11643 as EUC-TW: two bytes of the upper half, or four for the planes from 2 on.
    EucTw,
    /// ISO 2022 with seven bits: sets are switched to by escape sequences.
    Shifted(Shifted),
}

/// What ISO 2022 escape sequences may switch to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shifted {
    /// The default set, in which all delimiters stand.
    pub(super) default: Charset,
    /// ISO IR14: Roman letters of JIS X 0201.
    pub(super) roman: bool,
    /// ISO IR87: JIS X 0208.
    pub(super) kanji: bool,
    /// ISO IR159: JIS X 0212.
    pub(super) supplement: bool,
}

impl Form {
    /// Replaces all characters of several bytes and all shifts; the text keeps its length.
    pub(super) fn mask(self, text: &mut [u8]) -> Result<(), Misfit> {
        match self {
            Self::Shifted(shifted) => shifted.mask(text),
            Self::Gb18030 | Self::Big5 | Self::EucKr | Self::EucTw => self.mask_unshifted(text),
        }
    }

    fn mask_unshifted(self, text: &mut [u8]) -> Result<(), Misfit> {
        let mut at = 0_usize;
        while let Some(rest) = text.get_mut(at..) {
            let Some(ahead) = rest.iter().position(|b| !b.is_ascii()) else {
                break;
            };
            at = at.saturating_add(ahead);
            let here = rest.get_mut(ahead..).unwrap_or_default();
            let Some(length) = self.character(here) else {
                return Err(Misfit {
                    offset: at,
                    detail: "is not a character of the declared set",
                });
            };
            replace(here, length);
            at = at.saturating_add(length);
        }
        Ok(())
    }

    /// The length of the character with which a text begins, if it does.
    fn character(self, text: &[u8]) -> Option<usize> {
        let high = |b: u8| matches!(b, 0xa1..=0xfe);
        let (encoding, length) = match (self, text) {
            (Self::Gb18030, [0x81..=0xfe, 0x30..=0x39, ..]) => (GB18030, 4),
            (Self::Gb18030, [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]) => (GB18030, 2),
            (Self::Big5, [0x81..=0xfe, 0x40..=0x7e | 0xa1..=0xfe, ..]) => (BIG5, 2),
            (Self::EucKr, [a, b, ..]) if high(*a) && high(*b) => (EUC_KR, 2),
            (Self::EucTw, [0x8e, 0xa1..=0xa7, a, b, ..]) if high(*a) && high(*b) => return Some(4),
            (Self::EucTw, [a, b, ..]) if high(*a) && high(*b) => return Some(2),
            (_, _) => return None,
        };
        let bytes = text.get(..length)?;
        decodes(encoding, bytes).then_some(length)
    }
}

impl Shifted {
    fn mask(self, text: &mut [u8]) -> Result<(), Misfit> {
        let mut state = State::Default;
        let mut at = 0_usize;
        // The byte before, or ESC behind a shift; and whether it is in JIS-Roman, as far as that was switched to.
        let (mut before, mut roman) = (b'\r', false);
        while let Some(rest) = text.get_mut(at..) {
            let Some(&first) = rest.first() else {
                break;
            };
            let misfit = |detail| Misfit { offset: at, detail };
            let length = if first == ESCAPE {
                let (length, next) = self.shift(rest).ok_or(misfit("has a control byte"))?;
                // A shift between letters would divide text for us that a decoder puts together.
                let to_roman = rest.get(2) == Some(&b'J');
                let plain = next == state;
                let divides =
                    plain && is_text(before) && rest.get(length).is_some_and(|b| is_text(*b));
                let empty = before == ESCAPE && (plain || state != State::Default);
                if empty || divides || (plain && to_roman == roman) {
                    return Err(misfit("switches character sets in the middle of text"));
                }
                (state, roman, before) = (next, to_roman, ESCAPE);
                rest.iter_mut().take(length).for_each(|b| *b = FURTHER);
                length
            } else if state == State::Default {
                if !self.default.has(first) {
                    return Err(misfit("is not a character of the declared set"));
                }
                before = first;
                1
            } else {
                if first < b' ' {
                    return Err(misfit("ends while another character set is switched to"));
                }
                if !state.has(rest) {
                    return Err(misfit("is not a character of the set switched to"));
                }
                replace(rest, 2);
                before = FIRST;
                2
            };
            at = at.saturating_add(length);
        }
        if state == State::Default {
            return Ok(());
        }
        Err(Misfit {
            offset: at,
            detail: "ends while another character set is switched to",
        })
    }

    /// The length of the escape sequence with which a text begins, and what it switches to.
    /// Sequences of other sets, and of these sets by other names, are control bytes.
    //= HL7 v2.5.1 2.7.2
    fn shift(self, text: &[u8]) -> Option<(usize, State)> {
        match text {
            [_, b'(', b'B', ..] => Some((3, State::Default)),
            [_, b'(', b'J', ..] if self.roman => Some((3, State::Default)),
            [_, b'$', b'B', ..] if self.kanji => Some((3, State::Kanji)),
            [_, b'$', b'(', b'D', ..] if self.supplement => Some((4, State::Supplement)),
            _ => None,
        }
    }
}

/// Whether a byte is visible and is none of the usual delimiters.
fn is_text(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'|' | b'^' | b'~' | b'&' | b'\\')
}

/// The set that is switched to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// ASCII, or JIS-Roman, which has the same delimiters.
    Default,
    Kanji,
    Supplement,
}

impl State {
    /// Whether a text begins with a character of the set.
    fn has(self, text: &[u8]) -> bool {
        let [row @ 0x21..=LAST_ROW, cell @ 0x21..=0x7e, ..] = *text else {
            return false;
        };
        match self {
            Self::Default => false,
            Self::Kanji => decodes(EUC_JP, &[row | 0x80, cell | 0x80]),
            Self::Supplement => decodes(EUC_JP, &[0x8f, row | 0x80, cell | 0x80]),
        }
    }
}

/// JIS X 0208 ends with row 84. What some decoders put behind it looks like two field separators.
const LAST_ROW: u8 = 0x74;

const ESCAPE: u8 = 0x1b;

fn replace(text: &mut [u8], length: usize) {
    for (byte, neutral) in text
        .iter_mut()
        .take(length)
        .zip([FIRST, FURTHER, FURTHER, FURTHER])
    {
        *byte = neutral;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JIS: Form = Form::Shifted(Shifted {
        default: Charset::Ascii,
        roman: false,
        kanji: true,
        supplement: false,
    });

    fn masked(form: Form, text: &[u8]) -> Result<Vec<u8>, usize> {
        let mut text = text.to_vec();
        form.mask(&mut text).map_err(|m| m.offset)?;
        Ok(text)
    }

    #[test]
    fn a_character_is_masked_whole_and_a_wrong_one_is_found() {
        use Form::{Big5, EucKr, EucTw, Gb18030};
        for (form, good, shown, bad, at) in [
            // Trail bytes that are `|`, `\`, `^` and `~`.
            (
                Big5,
                &b"|\xb3\x5c|"[..],
                &b"|\xff\x80|"[..],
                &b"|\xb3 |"[..],
                1,
            ),
            (
                Big5,
                b"\xa5\x7c\xa4\x5e",
                b"\xff\x80\xff\x80",
                b"\xa5\x7c\xff",
                2,
            ),
            (Big5, b"a", b"a", b"a\xa5", 1),
            (
                Gb18030,
                b"\x81\x7c\x81\x7e",
                b"\xff\x80\xff\x80",
                b"\x81\x7f",
                0,
            ),
            (
                Gb18030,
                b"\x81\x30\x84\x36|",
                b"\xff\x80\x80\x80|",
                b"\x81\x30|||",
                0,
            ),
            // U+2027, and the line separator behind it.
            (
                Gb18030,
                b"\x81\x36\xa6\x34",
                b"\xff\x80\x80\x80",
                b"\x81\x36\xa6\x35",
                0,
            ),
            (Gb18030, b"\xb5\xe7", b"\xff\x80", b"\x80", 0),
            (EucKr, b"\xb0\xa1^", b"\xff\x80^", b"\xb0\x41^", 0),
            (EucTw, b"\xc4\xe3", b"\xff\x80", b"\xc4|", 0),
            (
                EucTw,
                b"\x8e\xa2\xa1\xa1|",
                b"\xff\x80\x80\x80|",
                b"\x8e\xb0\xa1\xa1|",
                0,
            ),
        ] {
            assert_eq!(
                masked(form, good).as_deref(),
                Ok(shown),
                "{form:?} {good:x?}"
            );
            assert_eq!(masked(form, bad), Err(at), "{form:?} {bad:x?}");
        }
    }

    #[test]
    fn shifts_are_undone_and_declared() {
        // `0|` is a character, and `&|` none.
        for (good, shown, bad, at) in [
            (
                &b"|\x1b$B0|\x1b(B|"[..],
                &b"|\x80\x80\x80\xff\x80\x80\x80\x80|"[..],
                &b"|\x1b$B&|\x1b(B|"[..],
                4,
            ),
            // A shift that changes nothing, or to nothing.
            (b"|", b"|", b"\x1b(B|", 0),
            (b"|", b"|", b"\x1b(J|", 0),
            (b"|", b"|", b"\x1b$B\x1b(B\r", 3),
            (
                b"\x1b$B4A\x1b(B",
                b"\x80\x80\x80\xff\x80\x80\x80\x80",
                b"\x1b$B4A",
                5,
            ),
            (
                b"\x1b$B4A\x1b(B\r",
                b"\x80\x80\x80\xff\x80\x80\x80\x80\r",
                b"\x1b$B\r\x1b(B",
                3,
            ),
            (b"a", b"a", b"\x1b$(D0!\x1b(B", 0),
            (b"a", b"a", b"\x1b$@4A\x1b(B", 0),
            (b"a", b"a", b"\xb1", 0),
            // Two field separators are a sign of a vendor's set, and none of the standard's.
            (b"||", b"||", b"\x1b$B||\x1b(B", 3),
            (b"a", b"a", b"\x1b$B4\x1b(B", 3),
        ] {
            assert_eq!(masked(JIS, good).as_deref(), Ok(shown), "{good:x?}");
            assert_eq!(masked(JIS, bad), Err(at), "{bad:x?}");
        }
        let all = Form::Shifted(Shifted {
            default: Charset::Iso8859(1),
            roman: true,
            kanji: false,
            supplement: true,
        });
        assert!(masked(all, b"\x1b(J\xe4\x1b$(D0!\x1b(B").is_ok());
        assert_eq!(masked(all, b"\x1b$B4A\x1b(B"), Err(0));
    }
}
