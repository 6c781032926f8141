//! Whether a value is what its value representation says (PS3.5 section 6).
//!
//! In: the VR, the value at once ([`whole`]) or as it streams by ([`Long`]), the character set, and whether it asks.
//! Out: how many values there are, and their flaws.
//! Nothing is allocated for a value. Knows nothing of elements, items and profiles.
//= DICOM PS3.5 6.2

mod flaw;
mod ascii;
mod number;
mod moment;
mod code;
mod multiplicity;
mod repertoire;
mod text;
mod characters;

use dicom_core::header::VR;

use ascii::{Glance, is_line, trim_end};
use characters::Characters;
use code::Reference;
use moment::Kind as Moment;
use text::Kind as Text;

pub(in crate::dicom) use flaw::{Flaw, Flaws};
pub(in crate::dicom) use repertoire::Repertoire;

/// What a value is judged by besides its VR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dicom) struct Case {
    /// How its text is written.
    pub(in crate::dicom) repertoire: Repertoire,
    /// Whether it is a key of a query: wildcards, ranges and lists are allowed (PS3.4 C.2.2.2).
    pub(in crate::dicom) query: bool,
}

/// What is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dicom) struct Judged {
    /// Values of the element, 0 if it is empty.
    pub(in crate::dicom) count: u32,
    /// All flaws, once each.
    pub(in crate::dicom) flaws: Flaws,
}

/// Judges a value that is there at once. Of binary values, `width` is the length of one in bytes.
pub(in crate::dicom) fn whole(vr: VR, width: u32, value: &[u8], case: &Case) -> Judged {
    if value.is_empty() {
        return Judged::default();
    }
    match Sort::of(vr) {
        Sort::Text(kind) => {
            if let Some(count) = kind.at_a_glance(value) {
                return Judged {
                    count,
                    flaws: Flaws::default(),
                };
            }
            let mut text = Characters::new(kind, case.repertoire);
            text.push(value);
            let (count, flaws) = text.end();
            Judged { count, flaws }
        }
        Sort::Pieces(piece) => piece.all(value, case),
        Sort::Reference => {
            let mut reference = Reference::default();
            reference.push(value);
            let (count, flaws) = (1, reference.end());
            Judged { count, flaws }
        }
        Sort::Binary => {
            let length = u32::try_from(value.len()).unwrap_or(u32::MAX);
            long_binary(vr, width, length)
        }
    }
}

/// Judges a binary value by its length in bytes.
pub(in crate::dicom) fn long_binary(vr: VR, width: u32, length: u32) -> Judged {
    let mut flaws = Flaws::default();
    if !length.is_multiple_of(width.max(1)) {
        flaws.add(Flaw::Partial);
    }
    Judged {
        count: multiplicity::binary(vr, width, length),
        flaws,
    }
}

/// A value that streams by. Its size does not depend on that of the value.
//= C7
#[derive(Clone)]
pub(in crate::dicom) struct Long {
    case: Case,
    state: State,
}

#[derive(Clone)]
enum State {
    Text(Characters),
    Pieces(Pieces),
    Reference(Reference),
}

impl Long {
    /// The judgement of a value of this VR, `None` if its bytes say nothing.
    pub(in crate::dicom) fn new(vr: VR, case: &Case) -> Option<Self> {
        let state = match Sort::of(vr) {
            Sort::Text(kind) => State::Text(Characters::new(kind, case.repertoire)),
            Sort::Pieces(kind) => State::Pieces(Pieces::new(kind)),
            Sort::Reference => State::Reference(Reference::default()),
            Sort::Binary => return None,
        };
        Some(Self { case: *case, state })
    }

    /// The next bytes.
    pub(in crate::dicom) fn push(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Text(text) => text.push(bytes),
            State::Pieces(pieces) => pieces.push(bytes, &self.case),
            State::Reference(reference) => reference.push(bytes),
        }
    }

    /// The value is complete.
    pub(in crate::dicom) fn end(self) -> Judged {
        let (count, flaws) = match self.state {
            State::Text(text) => text.end(),
            State::Pieces(pieces) => pieces.end(&self.case),
            State::Reference(reference) => (1, reference.end()),
        };
        Judged { count, flaws }
    }
}

/// How values of a VR are told apart.
#[derive(Clone, Copy, Debug)]
enum Sort {
    /// By characters of the declared set.
    Text(Text),
    /// By backslashes, in the default repertoire.
    Pieces(Piece),
    /// There is one.
    Reference,
    /// By length.
    Binary,
}

/// One of several values of the default repertoire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    ApplicationEntity,
    Age,
    Code,
    Decimal,
    Integer,
    Moment(Moment),
    Uid,
}

impl Sort {
    fn of(vr: VR) -> Self {
        if let Some(kind) = Text::of(vr) {
            return Self::Text(kind);
        }
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others are binary")]
        match vr {
            VR::AE => Self::Pieces(Piece::ApplicationEntity),
            VR::AS => Self::Pieces(Piece::Age),
            VR::CS => Self::Pieces(Piece::Code),
            VR::DS => Self::Pieces(Piece::Decimal),
            VR::IS => Self::Pieces(Piece::Integer),
            VR::DA => Self::Pieces(Piece::Moment(Moment::Date)),
            VR::TM => Self::Pieces(Piece::Moment(Moment::Time)),
            VR::DT => Self::Pieces(Piece::Moment(Moment::DateTime)),
            VR::UI => Self::Pieces(Piece::Uid),
            VR::UR => Self::Reference,
            _ => Self::Binary,
        }
    }
}

impl Piece {
    /// All of them.
    fn all(self, value: &[u8], case: &Case) -> Judged {
        // The padding that most UIDs have and that is right.
        let bare = match value {
            [bare @ .., 0] if self == Self::Uid => bare,
            _ => value,
        };
        let glance = Glance::at(bare);
        if glance.printable && !glance.divided && !case.query && bare.len() <= MAX_PIECE {
            let trimmed = trim_end(bare);
            let padded = self == Self::Uid && trimmed.len() < bare.len();
            if !padded && !trimmed.is_empty() {
                return Judged {
                    count: 1,
                    flaws: self.syntax(trimmed, case),
                };
            }
        }
        let (mut count, mut flaws) = (1_u32, Flaws::default());
        let mut rest = value;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            let own = rest.get(..at).unwrap_or_default();
            flaws.join(self.judge(own, glance.printable, case));
            rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
            count = count.saturating_add(1);
        }
        flaws.join(self.last(rest, case));
        Judged { count, flaws }
    }

    /// One that has another behind it. It may be known already that all of it is printable.
    fn judge(self, value: &[u8], printable: bool, case: &Case) -> Flaws {
        if value.len() > MAX_PIECE {
            return Flaws::of(Flaw::Oversized);
        }
        let bare = match self {
            Self::Uid => value,
            Self::ApplicationEntity
            | Self::Age
            | Self::Code
            | Self::Decimal
            | Self::Integer
            | Self::Moment(_) => trim_end(value),
        };
        if bare.is_empty() {
            return if value.is_empty() {
                Flaws::default()
            } else {
                Flaws::of(Flaw::Blank)
            };
        }
        // Matching of empty values (PS3.4 C.2.2.2.7), and what matches all where wildcards are allowed.
        if case.query && bare == b"\"\"" {
            return Flaws::default();
        }
        let wild = matches!(self, Self::Code | Self::ApplicationEntity);
        if case.query && bare == b"*" && !wild {
            return Flaws::of(Flaw::Wildcard);
        }
        if !printable && self != Self::Uid && !is_line(bare) {
            return Flaws::of(Flaw::Control);
        }
        self.syntax(bare, case)
    }

    /// Without padding and control characters.
    fn syntax(self, bare: &[u8], case: &Case) -> Flaws {
        match self {
            Self::ApplicationEntity => code::application_entity(bare),
            Self::Age => number::age(bare),
            Self::Code => code::code_string(bare, case.query),
            Self::Decimal => number::decimal(bare),
            Self::Integer => number::integer(bare),
            Self::Moment(kind) => moment::moment(kind, bare, case.query),
            Self::Uid => code::uid(bare),
        }
    }

    /// The last one, with the padding behind it.
    fn last(self, value: &[u8], case: &Case) -> Flaws {
        if value.len() > MAX_PIECE {
            return Flaws::of(Flaw::Oversized);
        }
        let mut bare = value;
        let mut nuls = 0_u32;
        while let [rest @ .., pad @ (0 | b' ')] = bare {
            bare = rest;
            nuls = nuls.saturating_add(u32::from(*pad == 0));
        }
        let padding = value.len().saturating_sub(bare.len());
        let mut flaws = match self {
            Self::Uid if padding == 0 || (padding == 1 && nuls == 1 && !bare.is_empty()) => {
                Flaws::default()
            }
            Self::Uid => Flaws::of(Flaw::UidPadding),
            Self::ApplicationEntity
            | Self::Age
            | Self::Code
            | Self::Decimal
            | Self::Integer
            | Self::Moment(_) => match nuls {
                0 if bare.is_empty() && padding > 0 => Flaws::of(Flaw::Blank),
                0 => Flaws::default(),
                _ => Flaws::of(Flaw::NulPadding),
            },
        };
        flaws.join(self.judge(bare, false, case));
        flaws
    }
}

/// Several of them as they stream by.
#[derive(Clone)]
struct Pieces {
    piece: Piece,
    /// The beginning of the one that is not complete.
    //= C7
    carry: [u8; MAX_PIECE],
    /// How long it is; more than the carry holds if it is far too long.
    carried: usize,
    count: u32,
    flaws: Flaws,
}

impl Pieces {
    fn new(piece: Piece) -> Self {
        Self {
            piece,
            carry: [0; MAX_PIECE],
            carried: 0,
            count: 0,
            flaws: Flaws::default(),
        }
    }

    fn push(&mut self, bytes: &[u8], case: &Case) {
        if bytes.is_empty() {
            return;
        }
        self.count = self.count.max(1);
        let printable = Glance::at(bytes).printable;
        let mut rest = bytes;
        while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
            let own = rest.get(..at).unwrap_or_default();
            if self.carried == 0 {
                self.flaws.join(self.piece.judge(own, printable, case));
            } else {
                self.carry_on(own);
                self.flaws.join(match self.carry.get(..self.carried) {
                    Some(value) => self.piece.judge(value, false, case),
                    None => Flaws::of(Flaw::Oversized),
                });
                self.carried = 0;
            }
            self.count = self.count.saturating_add(1);
            rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        }
        self.carry_on(rest);
    }

    fn carry_on(&mut self, bytes: &[u8]) {
        let room = self.carry.iter_mut().skip(self.carried);
        for (place, byte) in room.zip(bytes) {
            *place = *byte;
        }
        self.carried = self.carried.saturating_add(bytes.len());
    }

    fn end(mut self, case: &Case) -> (u32, Flaws) {
        match self.carry.get(..self.carried) {
            Some(value) => self.flaws.join(self.piece.last(value, case)),
            None => self.flaws.add(Flaw::Oversized),
        }
        (self.count, self.flaws)
    }
}

/// More than twice what any of these VRs can have; longer ones are not looked at.
//= C7
const MAX_PIECE: usize = 128;

#[cfg(test)]
mod tests;
