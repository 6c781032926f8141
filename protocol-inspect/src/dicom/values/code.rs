//! Codes and names of the default repertoire: AE, CS, UI, UR (PS3.5 table 6.2-1, section 9).
//!
//! In: one value without padding. Out: its flaws. Knows nothing of which codes there are.

use super::super::uid::MAX_UID;
use super::ascii::{HIGH, equal, is_control, shift, trim, word};
use super::flaw::{Flaw, Flaws};

/// AE: at most 16 printable characters that are not all spaces.
pub(super) fn application_entity(value: &[u8]) -> Flaws {
    bounded(value, value.is_ascii())
}

/// CS: at most 16 upper case letters, digits, spaces and underscores.
pub(super) fn code_string(value: &[u8], query: bool) -> Flaws {
    let known = |byte: &u8| CODE.get(usize::from(*byte)).copied().unwrap_or(false);
    let allowed = value.iter().fold(true, |all, byte| {
        all & (known(byte) | (query & matches!(*byte, b'*' | b'?')))
    });
    bounded(value, allowed)
}

/// Spaces around it do not count.
fn bounded(value: &[u8], allowed: bool) -> Flaws {
    let mut flaws = Flaws::default();
    if value.len() > MAX_CODE && trim(value).len() > MAX_CODE {
        flaws.add(Flaw::TooLong);
    }
    if !allowed {
        flaws.add(Flaw::Repertoire);
    }
    flaws
}

/// UI: digits in components, at most 64 in all.
pub(super) fn uid(value: &[u8]) -> Flaws {
    let mut flaws = Flaws::default();
    if value.len() > usize::from(MAX_UID) {
        flaws.add(Flaw::UidLength);
    }
    let (words, rest) = value.as_chunks::<8>();
    let mut scan = UidWords::default();
    for word in words {
        scan.push(u64::from_le_bytes(*word), HIGH);
    }
    if !rest.is_empty() {
        scan.push(word(rest), !shift(u64::MAX, rest.len()) & HIGH);
    }
    if scan.character != 0 {
        flaws.add(Flaw::UidCharacter);
    }
    if scan.component != 0 || matches!(value, [b'.', ..] | [.., b'.'] | []) {
        flaws.add(Flaw::UidComponent);
    }
    if scan.leading != 0 {
        flaws.add(Flaw::UidZero);
    }
    flaws
}

/// A UID in words of eight bytes; the highest bit of each byte tells of it.
#[derive(Default)]
struct UidWords {
    character: u64,
    component: u64,
    leading: u64,
    /// Of the word before: the dots, and the zeros with which components begin.
    dots: u64,
    zeros: u64,
    started: bool,
}

impl UidWords {
    /// The next word, of which only these bytes count.
    fn push(&mut self, word: u64, valid: u64) {
        let dots = equal(word, b'.') & valid;
        // 0 to 9 are 0x30 to 0x39. No byte carries into the next.
        let least = (word | HIGH).wrapping_sub(ASCII_ZEROS);
        let most = (word & !HIGH).wrapping_add(ABOVE_NINE);
        let digits = least & !most & !word & valid;
        self.character |= valid & !digits & !dots;
        let start = if self.started { 0 } else { 0x80 };
        let behind_dot = behind(self.dots, dots) | start;
        self.component |= dots & behind_dot;
        let zeros = equal(word, b'0') & valid & behind_dot;
        self.leading |= digits & behind(self.zeros, zeros);
        (self.dots, self.zeros, self.started) = (dots, zeros, true);
    }
}

/// The bytes behind those, of which the last of the word before is one.
fn behind(before: u64, here: u64) -> u64 {
    (here << 8) | (before >> 56)
}

/// UR as it streams by: characters of RFC 3986, and spaces behind them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reference {
    started: bool,
    spaced: bool,
    nul: bool,
    flaws: Flaws,
}

impl Reference {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match *byte {
                0 => self.nul = true,
                b' ' => {
                    if !self.started {
                        self.flaws.add(Flaw::LeadingSpace);
                    }
                    self.spaced = true;
                }
                byte => self.inner(byte),
            }
            self.started = true;
        }
    }

    fn inner(&mut self, byte: u8) {
        if self.nul {
            self.nul = false;
            self.flaws.add(Flaw::InnerNul);
        }
        if is_control(byte) {
            self.flaws.add(Flaw::Control);
        } else if self.spaced || !is_reference(byte) {
            self.flaws.add(Flaw::Repertoire);
        }
    }

    pub(super) fn end(mut self) -> Flaws {
        if self.nul {
            self.flaws.add(Flaw::NulPadding);
        }
        self.flaws
    }
}

fn is_reference(byte: u8) -> bool {
    byte.is_ascii_graphic()
        && !matches!(
            byte,
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

/// The bytes of a code string.
static CODE: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _";
    while let [byte, behind @ ..] = rest {
        #[expect(
            clippy::as_conversions,
            clippy::indexing_slicing,
            reason = "at compile time, and a byte is less than 256"
        )]
        {
            table[*byte as usize] = true;
        }
        rest = behind;
    }
    table
};
const MAX_CODE: usize = 16;
const ASCII_ZEROS: u64 = 0x3030_3030_3030_3030;
/// 0x7F less 0x39 in every byte.
const ABOVE_NINE: u64 = 0x4646_4646_4646_4646;
