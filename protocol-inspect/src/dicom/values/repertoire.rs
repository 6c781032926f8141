//! Specific Character Set (0008,0005): what its defined terms stand for, one alone or several together.
//!
//! In: the value. Out: the repertoire of the text that follows, and what is wrong with the declaration.
//! Knows nothing of the text itself and of items.
//= DICOM PS3.3 C.12.1.1.2
//= DICOM PS3.5 6.1.2

use super::ascii::{trim, trim_end};
use super::flaw::{Flaw, Flaws};

/// How the text of a data set or item is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dicom) enum Repertoire {
    /// ISO IR 6, without a declaration.
    #[default]
    Default,
    /// One set of single bytes, without escape sequences.
    Single(Set),
    /// ISO_IR 192.
    Utf8,
    /// GB18030: one, two or four bytes.
    Gb18030,
    /// GBK: one or two bytes.
    Gbk,
    /// Code extensions: escape sequences switch between the declared sets.
    Shifted(Shifted),
    /// Nobody knows.
    Unknown,
}

/// Sets with code extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dicom) struct Shifted {
    /// Where every value begins.
    pub(super) first: Set,
    declared: u32,
}

/// A set that one term stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dicom) enum Set {
    /// ISO IR 6: ASCII.
    Ir6,
    /// A part of ISO 8859; 11 for TIS 620.
    Part(u8),
    /// JIS X 0201: katakana, and Roman letters instead of ASCII.
    Ir13,
    /// JIS X 0208.
    Ir87,
    /// JIS X 0212.
    Ir159,
    /// KS X 1001.
    Ir149,
    /// GB 2312.
    Ir58,
    Utf8,
    Gb18030,
    Gbk,
}

/// A term, and what it stands for.
struct Term {
    set: Set,
    /// Written `ISO 2022 IR n`.
    extends: bool,
    /// Written exactly as the standard does.
    exact: bool,
}

impl Repertoire {
    /// Of the value of (0008,0005).
    pub(in crate::dicom) fn declared(value: &[u8]) -> (Self, Flaws) {
        let value = match value {
            [rest @ .., 0] => rest,
            _ => value,
        };
        if trim(value).is_empty() {
            return (Self::Default, Flaws::default());
        }
        if value.contains(&b'\\') {
            return several(value);
        }
        let Some(term) = Term::of(value) else {
            return (Self::Unknown, Flaws::of(Flaw::UnknownTerm));
        };
        let mut flaws = Flaws::default();
        if !term.exact {
            flaws.add(Flaw::TermForm);
        }
        (alone(&term, &mut flaws), flaws)
    }
}

fn alone(term: &Term, flaws: &mut Flaws) -> Repertoire {
    match term.set {
        Set::Utf8 => Repertoire::Utf8,
        Set::Gb18030 => Repertoire::Gb18030,
        Set::Gbk => Repertoire::Gbk,
        Set::Ir87 | Set::Ir159 | Set::Ir149 | Set::Ir58 => {
            flaws.add(Flaw::TermFirst);
            Repertoire::Shifted(Shifted::new(Set::Ir6).with(term.set))
        }
        Set::Ir6 | Set::Part(_) | Set::Ir13 if term.extends => {
            Repertoire::Shifted(Shifted::new(term.set))
        }
        Set::Ir6 => Repertoire::Single(Set::Ir6),
        Set::Part(_) | Set::Ir13 => Repertoire::Single(term.set),
    }
}

/// Of several values, the first is where every text begins; an empty first one is ISO IR 6.
fn several(value: &[u8]) -> (Repertoire, Flaws) {
    let mut flaws = Flaws::default();
    let mut shifted: Option<Shifted> = None;
    let mut whole: Option<Repertoire> = None;
    let mut lost = false;
    for piece in value.split(|byte| *byte == b'\\') {
        let is_first = shifted.is_none() && whole.is_none();
        let term = if is_first && trim(piece).is_empty() {
            Some(Term::default())
        } else {
            Term::of(piece)
        };
        let Some(term) = term else {
            if trim(piece).is_empty() {
                flaws.add(Flaw::TermForm);
                continue;
            }
            flaws.add(Flaw::UnknownTerm);
            lost = true;
            shifted = shifted.or(Some(Shifted::new(Set::Ir6)));
            continue;
        };
        if !term.exact || (!term.extends && !is_whole(term.set)) {
            flaws.add(Flaw::TermForm);
        }
        if is_whole(term.set) {
            flaws.add(Flaw::TermAlone);
            if is_first {
                whole = Some(alone(&term, &mut flaws));
            }
            // Behind another set, some readers take it and some do not.
            lost |= !is_first;
            continue;
        }
        shifted = Some(match shifted {
            Some(known) => {
                if known.has(term.set) && (term.set != Set::Ir6 || known.first == Set::Ir6) {
                    flaws.add(Flaw::TermTwice);
                }
                known.with(term.set)
            }
            None if is_double(term.set) => {
                flaws.add(Flaw::TermFirst);
                Shifted::new(Set::Ir6).with(term.set)
            }
            None => Shifted::new(term.set),
        });
    }
    let repertoire = match (lost, whole, shifted) {
        (true, _, _) | (false, None, None) => Repertoire::Unknown,
        (false, Some(whole), _) => whole,
        (false, None, Some(shifted)) => Repertoire::Shifted(shifted),
    };
    (repertoire, flaws)
}

impl Shifted {
    fn new(first: Set) -> Self {
        Self { first, declared: 0 }.with(first)
    }

    fn with(self, set: Set) -> Self {
        Self {
            declared: self.declared | set.bit(),
            ..self
        }
    }

    /// Whether an escape sequence may switch to it.
    pub(super) fn has(self, set: Set) -> bool {
        self.declared & set.bit() != 0 || set == Set::Ir6
    }
}

impl Set {
    fn bit(self) -> u32 {
        let place = match self {
            Self::Ir6 => 0,
            Self::Part(part) => u32::from(part & 15),
            Self::Ir13 => 16,
            Self::Ir87 => 17,
            Self::Ir159 => 18,
            Self::Ir149 => 19,
            Self::Ir58 => 20,
            Self::Utf8 => 21,
            Self::Gb18030 => 22,
            Self::Gbk => 23,
        };
        1 << place
    }

    fn registered(number: &[u8]) -> Option<Self> {
        Some(match number {
            b"6" => Self::Ir6,
            b"100" => Self::Part(1),
            b"101" => Self::Part(2),
            b"109" => Self::Part(3),
            b"110" => Self::Part(4),
            b"144" => Self::Part(5),
            b"127" => Self::Part(6),
            b"126" => Self::Part(7),
            b"138" => Self::Part(8),
            b"148" => Self::Part(9),
            b"166" => Self::Part(11),
            b"203" => Self::Part(15),
            b"13" => Self::Ir13,
            b"87" => Self::Ir87,
            b"159" => Self::Ir159,
            b"149" => Self::Ir149,
            b"58" => Self::Ir58,
            b"192" => Self::Utf8,
            _ => return None,
        })
    }
}

impl Default for Term {
    fn default() -> Self {
        Self {
            set: Set::Ir6,
            extends: true,
            exact: true,
        }
    }
}

impl Term {
    fn of(text: &[u8]) -> Option<Self> {
        let bare = trim(text);
        let code = |set| Self {
            set,
            extends: false,
            exact: true,
        };
        match bare {
            b"GB18030" => return Some(code(Set::Gb18030)),
            b"GBK" => return Some(code(Set::Gbk)),
            _ => {}
        }
        // Devices write other separators than the standard, or none. There is only one thing that they can mean.
        let mut rest = bare.strip_prefix(b"ISO")?;
        let mut exact = trim_end(text).len() == bare.len();
        let after = |rest| strip_separator(rest);
        let extends = after(rest).strip_prefix(b"2022");
        exact &= rest.first() == Some(if extends.is_some() { &b' ' } else { &b'_' });
        rest = match extends {
            Some(behind) => {
                exact &= behind.first() == Some(&b' ');
                after(behind)
            }
            None => after(rest),
        };
        rest = rest.strip_prefix(b"IR")?;
        exact &= rest.first() == Some(&b' ');
        let set = Set::registered(after(rest))?;
        let extends = extends.is_some();
        exact &= if extends {
            set != Set::Utf8
        } else {
            !is_double(set)
        };
        Some(Self {
            set,
            extends,
            exact,
        })
    }
}

fn strip_separator(text: &[u8]) -> &[u8] {
    match text {
        [b' ' | b'_' | b'-', rest @ ..] => rest,
        _ => text,
    }
}

/// Sets of two bytes for each character, which are switched to by code extensions alone.
fn is_double(set: Set) -> bool {
    matches!(set, Set::Ir87 | Set::Ir159 | Set::Ir149 | Set::Ir58)
}

/// Sets that have everything, and nothing is switched to from them.
fn is_whole(set: Set) -> bool {
    matches!(set, Set::Utf8 | Set::Gb18030 | Set::Gbk)
}
