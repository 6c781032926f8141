//! What can be wrong with a value, and what it weighs.
//!
//! Decides the weights. Knows nothing of how flaws are found and where the value stands.

use super::super::policy::Level;
use super::super::uid;
use crate::severity::Weight;

/// One kind of flaw, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::dicom) enum Flaw {
    Control,
    InnerNul,
    Escape,
    UndeclaredShift,
    Unreset,
    Malformed,
    UnknownSet,
    Oversized,
    NotDate,
    ImpossibleDate,
    NotTime,
    ImpossibleTime,
    NotDateTime,
    NotNumber,
    NotInteger,
    UidCharacter,
    UidComponent,
    UidLength,
    UnknownTerm,
    TermAlone,
    TermFirst,
    TermForm,
    TermTwice,
    Undeclared,
    UndeclaredRoman,
    Unassigned,
    Hidden,
    TooLong,
    Groups,
    Components,
    Repertoire,
    Blank,
    LeadingSpace,
    OldDate,
    OldTime,
    Age,
    IntegerForm,
    IntegerRange,
    UidZero,
    UidPadding,
    NulPadding,
    Wildcard,
    Partial,
    Multiplicity,
    UnsetDate,
    Midnight,
    OpenRange,
    Tab,
    LineEnd,
    Truncated,
    UnresetEnd,
}

impl Flaw {
    const ALL: [Self; 51] = [
        Self::Control,
        Self::InnerNul,
        Self::Escape,
        Self::UndeclaredShift,
        Self::Unreset,
        Self::Malformed,
        Self::UnknownSet,
        Self::Oversized,
        Self::NotDate,
        Self::ImpossibleDate,
        Self::NotTime,
        Self::ImpossibleTime,
        Self::NotDateTime,
        Self::NotNumber,
        Self::NotInteger,
        Self::UidCharacter,
        Self::UidComponent,
        Self::UidLength,
        Self::UnknownTerm,
        Self::TermAlone,
        Self::TermFirst,
        Self::TermForm,
        Self::TermTwice,
        Self::Undeclared,
        Self::UndeclaredRoman,
        Self::Unassigned,
        Self::Hidden,
        Self::TooLong,
        Self::Groups,
        Self::Components,
        Self::Repertoire,
        Self::Blank,
        Self::LeadingSpace,
        Self::OldDate,
        Self::OldTime,
        Self::Age,
        Self::IntegerForm,
        Self::IntegerRange,
        Self::UidZero,
        Self::UidPadding,
        Self::NulPadding,
        Self::Wildcard,
        Self::Partial,
        Self::Multiplicity,
        Self::UnsetDate,
        Self::Midnight,
        Self::OpenRange,
        Self::Tab,
        Self::LineEnd,
        Self::Truncated,
        Self::UnresetEnd,
    ];

    /// What it is about, and what it weighs.
    pub(in crate::dicom) fn weight(self) -> (Level, Weight) {
        let level = if self.is_of_character_sets() {
            Level::CharacterSets
        } else {
            Level::Values
        };
        let weight = if self.bit() <= Self::LAST_BEYOND_DOUBT.bit() {
            Weight::Content
        } else {
            Weight::Strict
        };
        (level, weight)
    }

    /// What no reader can interpret, or every reader in its own way, comes first in the list.
    const LAST_BEYOND_DOUBT: Self = Self::UidLength;

    fn is_of_character_sets(self) -> bool {
        matches!(
            self,
            Self::Escape
                | Self::UndeclaredShift
                | Self::Unreset
                | Self::Malformed
                | Self::UnknownSet
                | Self::UnknownTerm
                | Self::TermAlone
                | Self::TermFirst
                | Self::TermForm
                | Self::TermTwice
                | Self::Undeclared
                | Self::UndeclaredRoman
                | Self::Unassigned
                | Self::Hidden
                | Self::Truncated
                | Self::UnresetEnd
        )
    }

    /// What is said of it.
    pub(in crate::dicom) fn detail(self) -> &'static str {
        match self {
            Self::Control => "has a control character",
            Self::InnerNul => "has a NUL that is no padding",
            Self::Escape => "has an escape character, but its character set cannot be switched",
            Self::UndeclaredShift => "switches to a character set that is not declared",
            Self::Unreset => "ends a value or line while another character set is switched to",
            Self::Malformed => "is not text of its character set",
            Self::UnknownSet => "has text in an unknown character set",
            Self::Oversized => "is far too long for its type",
            Self::NotDate => "is not a date",
            Self::ImpossibleDate => "is a date that cannot be",
            Self::NotTime => "is not a time",
            Self::ImpossibleTime => "is a time that cannot be",
            Self::NotDateTime => "is not a date with time",
            Self::NotNumber => "is not a number",
            Self::NotInteger => "is not an integer",
            Self::UidCharacter => uid::CHARACTER,
            Self::UidComponent => uid::EMPTY_COMPONENT,
            Self::UidLength => uid::TOO_LONG,
            Self::UnknownTerm => "is not a known character set",
            Self::TermAlone => "has a character set that must stand alone",
            Self::TermFirst => "begins with a character set that cannot be the first",
            Self::TermForm => "is not the defined term for its character set",
            Self::TermTwice => "has a character set twice",
            Self::Undeclared => UNDECLARED,
            Self::UndeclaredRoman => "switches to the letters of a set that is not declared",
            Self::Unassigned => "has a character that its character set does not have",
            Self::Hidden => "has a hidden control, a byte order mark or a change of direction",
            Self::TooLong => "is too long for its type",
            Self::Groups => "has more than 3 component groups",
            Self::Components => "has more than 5 components",
            Self::Repertoire => "has a character that its type cannot have",
            Self::Blank => "is blank",
            Self::LeadingSpace => "begins with a space, which its type does not allow",
            Self::OldDate => "is a date of the retired form",
            Self::OldTime => "is a time of the retired form",
            Self::Age => "is not an age",
            Self::IntegerForm => "is a number, but not written as an integer",
            Self::IntegerRange => "is an integer of more than 32 bits",
            Self::UidZero => uid::LEADING_ZERO,
            Self::UidPadding => "is not padded with one NUL",
            Self::NulPadding => "is padded with NUL",
            Self::Wildcard => "is a wildcard, which its type cannot be",
            Self::Partial => "is not a whole number of values",
            Self::Multiplicity => "has more or fewer values than it may have",
            Self::UnsetDate => "is a date without its month or day",
            Self::Midnight => "is a time of 24 hours",
            Self::OpenRange => "is a range without bounds",
            Self::Tab => "has a tabulator, which its type does not allow",
            Self::LineEnd => "ends with a line end, which its type does not allow",
            Self::Truncated => "ends within a character",
            Self::UnresetEnd => "ends while another character set is switched to",
        }
    }

    #[expect(
        clippy::as_conversions,
        reason = "the position in an enum without fields"
    )]
    pub(super) fn bit(self) -> u64 {
        1 << (self as u32)
    }
}

const UNDECLARED: &str =
    "has characters beyond the default repertoire, but no character set for them";

/// All flaws of one value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::dicom) struct Flaws(u64);

impl Flaws {
    pub(super) fn of(flaw: Flaw) -> Self {
        Self(flaw.bit())
    }

    pub(in crate::dicom) fn add(&mut self, flaw: Flaw) {
        self.0 |= flaw.bit();
    }

    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(in crate::dicom) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The gravest first.
    pub(in crate::dicom) fn iter(self) -> impl Iterator<Item = Flaw> {
        let has = move |flaw: &Flaw| self.0 & flaw.bit() != 0;
        Flaw::ALL.into_iter().filter(has)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_and_in_order() {
        for (at, flaw) in Flaw::ALL.into_iter().enumerate() {
            assert_eq!(flaw.bit(), 1 << at, "{flaw:?}");
        }
        assert_eq!(Flaw::UnresetEnd.bit(), 1 << (Flaw::ALL.len() - 1));
    }
}
