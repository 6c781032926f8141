//! Bytes of text into characters, by the declared repertoire (PS3.5 6.1).
//!
//! In: text in any chunks. Out: characters for `text.rs`, and what is no character.
//! A byte of a character of several bytes never separates anything, whatever it looks like.
//! Knows nothing of how long values are.

use encoding_rs::{EUC_JP, EUC_KR, Encoding, GB18030, GBK};

use super::ascii::{ESCAPE, is_control};
use super::flaw::{Flaw, Flaws};
use super::repertoire::{Repertoire, Set, Shifted};
use super::text::{Kind, Text};
use crate::charset::{decodes, is_direction, is_hidden_structure, is_iso_8859};

/// Text of a declared repertoire, as it streams by.
#[derive(Clone)]
pub(super) struct Characters {
    repertoire: Repertoire,
    text: Text,
    active: Active,
    /// The beginning of a character or escape sequence that is not complete.
    //= C7
    carry: [u8; CARRY],
    carried: usize,
}

/// The sets that the bytes of the lower and upper half stand for, in code extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Active {
    lower: Set,
    upper: Set,
}

/// What the bytes of a text begin with.
enum Unit {
    /// One byte that stands for itself.
    Byte(u8),
    /// So many bytes, of which each stands for itself.
    Bytes(usize),
    /// So many bytes that are one character.
    Character(usize),
    /// So many bytes that are one character, but not one of its set.
    Odd(usize, Flaw),
    /// An escape sequence of so many bytes.
    Shift(usize),
    /// Something incomplete.
    Partial,
}

impl Characters {
    pub(super) fn new(kind: Kind, repertoire: Repertoire) -> Self {
        Self {
            repertoire,
            text: Text::new(kind),
            active: Active::initial(repertoire),
            carry: [0; CARRY],
            carried: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let initial = self.carried == 0 && self.active == Active::initial(self.repertoire);
        if initial && bytes.is_ascii() {
            let shifts = matches!(
                self.repertoire,
                Repertoire::Shifted(_) | Repertoire::Unknown
            );
            if !shifts || memchr::memchr(ESCAPE, bytes).is_none() {
                self.text.run(bytes, false);
                return;
            }
        }
        match self.repertoire {
            Repertoire::Default => self.single(bytes, Flaw::Undeclared, |byte| byte < 0x80),
            Repertoire::Single(Set::Part(1 | 2 | 4 | 5 | 9 | 15)) => {
                self.single(bytes, Flaw::Unassigned, |b| !(0x80..0xa0).contains(&b));
            }
            Repertoire::Single(set) => self.single(bytes, Flaw::Unassigned, |b| set.is_single(b)),
            Repertoire::Unknown => {
                self.single(bytes, Flaw::UnknownSet, |b| b < 0x80 && b != ESCAPE);
            }
            Repertoire::Utf8 | Repertoire::Gb18030 | Repertoire::Gbk | Repertoire::Shifted(_) => {
                self.wide(bytes);
            }
        }
    }

    /// Each byte is a character.
    fn single(&mut self, bytes: &[u8], flaw: Flaw, known: impl Fn(u8) -> bool) {
        // To the end in any case, which is faster than to look whether it is over.
        let unknown = |found: bool, byte: &u8| found | !known(*byte);
        if bytes.iter().fold(false, unknown) {
            self.text.flaw(flaw);
        }
        self.text.run(bytes, false);
    }

    fn wide(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while self.carried > 0 {
            let Some((byte, behind)) = rest.split_first() else {
                return;
            };
            rest = behind;
            self.carry_on(*byte);
        }
        let left = self.take(rest);
        for byte in left {
            self.carry_on(*byte);
        }
    }

    /// One more byte for what is incomplete.
    fn carry_on(&mut self, byte: u8) {
        if let Some(place) = self.carry.get_mut(self.carried) {
            *place = byte;
            self.carried = self.carried.saturating_add(1);
        }
        let (carry, carried) = (self.carry, self.carried);
        let bytes = carry.get(..carried).unwrap_or_default();
        let left = self.take(bytes);
        self.carried = left.len();
        for (place, byte) in self.carry.iter_mut().zip(left) {
            *place = *byte;
        }
    }

    /// Takes all that is complete, and returns the rest.
    fn take<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let mut rest = bytes;
        while !rest.is_empty() {
            let unit = match self.repertoire {
                Repertoire::Utf8 => utf8(rest, &mut self.text),
                Repertoire::Gb18030 => chinese(rest, true),
                Repertoire::Gbk => chinese(rest, false),
                Repertoire::Shifted(shifted) => self.shifted(rest, shifted),
                // These never come here.
                Repertoire::Default | Repertoire::Single(_) | Repertoire::Unknown => {
                    Unit::Bytes(rest.len())
                }
            };
            let length = match unit {
                Unit::Partial => return rest,
                Unit::Byte(byte) => {
                    self.text.byte(byte);
                    1
                }
                Unit::Bytes(length) => {
                    let own = rest.get(..length).unwrap_or(rest);
                    self.text.run(own, self.repertoire == Repertoire::Utf8);
                    length
                }
                Unit::Character(length) => {
                    self.text.character();
                    length
                }
                Unit::Odd(length, flaw) => {
                    self.text.flaw(flaw);
                    self.text.character();
                    length
                }
                Unit::Shift(length) => length,
            };
            rest = rest.get(length.max(1)..).unwrap_or_default();
        }
        rest
    }

    /// What a text with code extensions begins with (PS3.5 6.1.2.5).
    fn shifted(&mut self, text: &[u8], shifted: Shifted) -> Unit {
        let (first, second) = (text.first().copied().unwrap_or_default(), text.get(1));
        if first == ESCAPE {
            return self.escape(text, shifted);
        }
        let double = is_double(self.active.lower);
        let separates = self.text.kind().separates(first);
        if is_control(first) || (separates && !double) {
            if double {
                self.text.flaw(Flaw::Unreset);
            }
            self.active = Active::initial(self.repertoire);
            return Unit::Byte(first);
        }
        let set = if first < 0x80 {
            self.active.lower
        } else {
            self.active.upper
        };
        if first == b' ' || (first < 0x80 && !double) {
            return Unit::Byte(first);
        }
        if !is_double(set) {
            return if set == Set::Ir6 {
                Unit::Odd(1, Flaw::Undeclared)
            } else if set.is_single(first) {
                Unit::Character(1)
            } else {
                Unit::Odd(1, Flaw::Unassigned)
            };
        }
        let Some(second) = second.copied() else {
            return Unit::Partial;
        };
        let half = |byte: u8| matches!(byte & 0x7f, 0x21..=0x7e);
        if !half(first) || !half(second) || (first ^ second) & 0x80 != 0 {
            return Unit::Odd(1, Flaw::Malformed);
        }
        let (high, low) = (first | 0x80, second | 0x80);
        let known = match set {
            Set::Ir87 => decodes(EUC_JP, &[high, low]),
            Set::Ir159 => decodes(EUC_JP, &[0x8f, high, low]),
            Set::Ir149 => decodes(EUC_KR, &[high, low]),
            Set::Ir58 => decodes(GBK, &[high, low]),
            Set::Ir6 | Set::Part(_) | Set::Ir13 | Set::Utf8 | Set::Gb18030 | Set::Gbk => false,
        };
        if known {
            Unit::Character(2)
        } else {
            Unit::Odd(2, Flaw::Unassigned)
        }
    }

    fn escape(&mut self, text: &[u8], shifted: Shifted) -> Unit {
        let (length, set) = match designation(text) {
            Designation::Partial => return Unit::Partial,
            Designation::Unknown => return Unit::Odd(1, Flaw::UndeclaredShift),
            Designation::Known(length, set) => (length, set),
        };
        if !shifted.has(set.set()) {
            // Many return from kanji to these instead of ASCII, which are the same but for two characters.
            let roman = matches!(set, Half::Lower(Set::Ir13));
            self.text.flaw(if roman {
                Flaw::UndeclaredRoman
            } else {
                Flaw::UndeclaredShift
            });
        }
        match set {
            Half::Lower(set) => self.active.lower = set,
            Half::Upper(set) => self.active.upper = set,
        }
        Unit::Shift(length)
    }

    /// How many values there are, and all flaws.
    pub(super) fn end(mut self) -> (u32, Flaws) {
        if self.carried > 0 {
            // Some cut text at a number of bytes.
            let cut = self.repertoire == Repertoire::Utf8;
            self.text.flaw(if cut {
                Flaw::Truncated
            } else {
                Flaw::Malformed
            });
            self.text.character();
        }
        if is_double(self.active.lower) {
            self.text.flaw(Flaw::UnresetEnd);
        }
        self.text.end()
    }
}

impl Active {
    /// Where every value, line and component begins.
    fn initial(repertoire: Repertoire) -> Self {
        match repertoire {
            Repertoire::Shifted(shifted) => Self {
                lower: Set::Ir6,
                upper: shifted.first,
            },
            Repertoire::Default
            | Repertoire::Single(_)
            | Repertoire::Utf8
            | Repertoire::Gb18030
            | Repertoire::Gbk
            | Repertoire::Unknown => Self {
                lower: Set::Ir6,
                upper: Set::Ir6,
            },
        }
    }
}

impl Set {
    /// Whether a byte is a character of a set of single bytes.
    fn is_single(self, byte: u8) -> bool {
        match self {
            Self::Part(part) => is_iso_8859(part, byte),
            Self::Ir13 => matches!(byte, ..0x80 | 0xa1..=0xdf),
            Self::Ir6
            | Self::Ir87
            | Self::Ir159
            | Self::Ir149
            | Self::Ir58
            | Self::Utf8
            | Self::Gb18030
            | Self::Gbk => byte < 0x80,
        }
    }
}

/// UTF-8: as much of it as is right. What hides is noted on the way.
fn utf8(bytes: &[u8], text: &mut Text) -> Unit {
    let (right, error) = match std::str::from_utf8(bytes) {
        Ok(right) => (right, None),
        Err(error) => {
            let right = bytes.get(..error.valid_up_to()).unwrap_or_default();
            (std::str::from_utf8(right).unwrap_or_default(), Some(error))
        }
    };
    if right.is_empty() {
        return match error.and_then(|error| error.error_len()) {
            None => Unit::Partial,
            Some(length) => Unit::Odd(length, Flaw::Malformed),
        };
    }
    let hidden = memchr::memchr3_iter(0xc2, 0xe2, 0xef, right.as_bytes()).any(|at| {
        let c = right.get(at..).and_then(|rest| rest.chars().next());
        c.is_some_and(|c| is_hidden_structure(c) || is_direction(c))
    });
    if hidden {
        text.flaw(Flaw::Hidden);
    }
    Unit::Bytes(right.len())
}

/// GBK, and with four bytes GB18030. The second byte of two can be a backslash, a caret or a bar.
fn chinese(text: &[u8], four: bool) -> Unit {
    let ascii = text.iter().position(|byte| !byte.is_ascii());
    let encoding: &'static Encoding = if four { GB18030 } else { GBK };
    let (length, bytes) = match (ascii, text) {
        (None, _) => return Unit::Bytes(text.len()),
        (Some(ahead @ 1..), _) => return Unit::Bytes(ahead),
        (Some(_), [0x81..=0xfe]) => return Unit::Partial,
        (Some(_), [0x81..=0xfe, 0x40..=0x7e | 0x80..=0xfe, ..]) => (2, text.get(..2)),
        (Some(_), [0x81..=0xfe, b'0'..=b'9'] | [0x81..=0xfe, b'0'..=b'9', 0x81..=0xfe]) if four => {
            return Unit::Partial;
        }
        (Some(_), [0x81..=0xfe, b'0'..=b'9', 0x81..=0xfe, b'0'..=b'9', ..]) if four => {
            (4, text.get(..4))
        }
        (Some(_), _) => return Unit::Odd(1, Flaw::Malformed),
    };
    if decodes(encoding, bytes.unwrap_or_default()) {
        Unit::Character(length)
    } else {
        Unit::Odd(length, Flaw::Unassigned)
    }
}

/// What an escape sequence switches to.
enum Designation {
    Partial,
    Unknown,
    Known(usize, Half),
}

/// Which half of the bytes becomes which set.
#[derive(Clone, Copy)]
enum Half {
    Lower(Set),
    Upper(Set),
}

impl Half {
    fn set(self) -> Set {
        match self {
            Self::Lower(set) | Self::Upper(set) => set,
        }
    }
}

/// The escape sequences of PS3.3 tables C.12-3 and C.12-4.
fn designation(text: &[u8]) -> Designation {
    use Designation::{Known, Partial, Unknown};
    use Half::{Lower, Upper};
    let part = |part| Known(3, Upper(Set::Part(part)));
    match text {
        [_] | [_, b'(' | b')' | b'-' | b'$'] | [_, b'$', b'(' | b')'] => Partial,
        [_, b'(', b'B', ..] => Known(3, Lower(Set::Ir6)),
        [_, b'(', b'J', ..] => Known(3, Lower(Set::Ir13)),
        [_, b')', b'I', ..] => Known(3, Upper(Set::Ir13)),
        [_, b'-', b'A', ..] => part(1),
        [_, b'-', b'B', ..] => part(2),
        [_, b'-', b'C', ..] => part(3),
        [_, b'-', b'D', ..] => part(4),
        [_, b'-', b'L', ..] => part(5),
        [_, b'-', b'G', ..] => part(6),
        [_, b'-', b'F', ..] => part(7),
        [_, b'-', b'H', ..] => part(8),
        [_, b'-', b'M', ..] => part(9),
        [_, b'-', b'T', ..] => part(11),
        [_, b'-', b'b', ..] => part(15),
        [_, b'$', b'B', ..] => Known(3, Lower(Set::Ir87)),
        [_, b'$', b'(', b'D', ..] => Known(4, Lower(Set::Ir159)),
        [_, b'$', b')', b'C', ..] => Known(4, Upper(Set::Ir149)),
        [_, b'$', b')', b'A', ..] => Known(4, Upper(Set::Ir58)),
        _ => Unknown,
    }
}

fn is_double(set: Set) -> bool {
    matches!(set, Set::Ir87 | Set::Ir159 | Set::Ir149 | Set::Ir58)
}

/// The longest character or escape sequence, and one byte more.
const CARRY: usize = 8;
