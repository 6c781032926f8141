//! Text as it streams by: SH, LO, UC, PN and ST, LT, UT (PS3.5 table 6.2-1, 6.2.1).
//!
//! In: characters, already told apart by `characters.rs`, or whole runs of bytes that are one character each.
//! Out: how many values there are, and their flaws. Knows nothing of character sets.

use dicom_core::header::VR;

use super::ascii::{
    ESCAPE, Glance, count, is_control, is_line, is_line_control, is_lines, trim_end,
};
use super::flaw::{Flaw, Flaws};

/// What separates values, and how long they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SH, LO, UC: values in one line, of at most so many characters.
    Line(Option<u32>),
    /// PN: values of three groups of five components.
    Name,
    /// ST, LT, UT: one value in many lines, of at most so many characters.
    Lines(Option<u32>),
}

impl Kind {
    pub(super) fn of(vr: VR) -> Option<Self> {
        // There are too many of them to name those of another kind.
        #[expect(clippy::wildcard_enum_match_arm, reason = "all others are no text")]
        match vr {
            VR::SH => Some(Self::Line(Some(16))),
            VR::LO => Some(Self::Line(Some(64))),
            VR::UC => Some(Self::Line(None)),
            VR::PN => Some(Self::Name),
            VR::ST => Some(Self::Lines(Some(1024))),
            VR::LT => Some(Self::Lines(Some(10_240))),
            VR::UT => Some(Self::Lines(None)),
            _ => None,
        }
    }

    /// Whether a byte separates something, so that every character set is left before it.
    pub(super) fn separates(self, byte: u8) -> bool {
        match self {
            Self::Line(_) => byte == b'\\',
            Self::Name => matches!(byte, b'\\' | b'^' | b'='),
            Self::Lines(_) => false,
        }
    }

    /// The most characters of a value or, in a name, of a group.
    fn max(self) -> Option<u32> {
        match self {
            Self::Line(max) | Self::Lines(max) => max,
            Self::Name => Some(64),
        }
    }

    /// Whether these bytes are beyond doubt right in every character set: short, printable and undivided.
    /// How many values they are, if so. There is one byte at least.
    pub(super) fn at_a_glance(self, bytes: &[u8]) -> Option<u32> {
        let length = u32::try_from(bytes.len()).ok()?;
        let glance = Glance::at(bytes);
        if self.max().is_some_and(|max| length > max) || !glance.printable {
            return None;
        }
        let few = || count(bytes, b'=') < GROUPS && count(bytes, b'^') < COMPONENTS;
        match self {
            Self::Line(_) | Self::Name if !glance.divided => {
                (self != Self::Name || few()).then_some(1)
            }
            Self::Line(_) => Some(values(bytes)),
            Self::Name => few().then(|| values(bytes)),
            Self::Lines(_) => Some(1),
        }
    }
}

/// How many values text has in which a backslash always separates.
fn values(bytes: &[u8]) -> u32 {
    count(bytes, b'\\').saturating_add(1)
}

/// The structure of the text so far.
#[derive(Clone, Debug)]
pub(super) struct Text {
    kind: Kind,
    /// Values so far, 0 before the first byte.
    values: u32,
    groups: u32,
    components: u32,
    /// Characters of the value or group, and those up to the last that is no space.
    characters: u32,
    significant: u32,
    /// Padding began.
    nul: bool,
    /// A line ended where there is only one.
    broken: bool,
    flaws: Flaws,
}

impl Text {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            values: 0,
            groups: 1,
            components: 1,
            characters: 0,
            significant: 0,
            nul: false,
            broken: false,
            flaws: Flaws::default(),
        }
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn flaw(&mut self, flaw: Flaw) {
        self.flaws.add(flaw);
    }

    /// Bytes of which each below 0x80 stands for itself. Each other one is a character,
    /// or in UTF-8 each other one that begins one.
    pub(super) fn run(&mut self, bytes: &[u8], utf8: bool) {
        if bytes.is_empty() {
            return;
        }
        let clean = !self.nul
            && !self.broken
            && match self.kind {
                Kind::Line(_) => is_line(bytes),
                Kind::Name => false,
                Kind::Lines(_) => is_lines(bytes),
            };
        if !clean {
            for byte in bytes {
                match *byte {
                    0x80..=0xbf if utf8 => {}
                    0x80..=0xff => self.character(),
                    byte => self.byte(byte),
                }
            }
            return;
        }
        self.values = self.values.max(1);
        if self.kind == Kind::Lines(None) {
            return;
        }
        let mut rest = bytes;
        if self.kind.separates(b'\\') {
            while let Some(at) = memchr::memchr(b'\\', rest) {
                let (value, behind) = rest.split_at_checked(at).unwrap_or((rest, &[]));
                self.clean(value, utf8);
                self.byte(b'\\');
                rest = behind.get(1..).unwrap_or_default();
            }
        }
        self.clean(rest, utf8);
    }

    /// Bytes without anything that separates.
    fn clean(&mut self, bytes: &[u8], utf8: bool) {
        let bare = trim_end(bytes);
        let all = characters(bare, utf8);
        if !bare.is_empty() {
            self.significant = self.characters.saturating_add(all);
        }
        let spaces = bytes.len().saturating_sub(bare.len());
        let spaces = u32::try_from(spaces).unwrap_or(u32::MAX);
        self.characters = self.characters.saturating_add(all).saturating_add(spaces);
    }

    /// A character beyond ASCII, of however many bytes.
    pub(super) fn character(&mut self) {
        self.inner();
        self.characters = self.characters.saturating_add(1);
        self.significant = self.characters;
    }

    /// A byte of ASCII that stands for itself.
    pub(super) fn byte(&mut self, byte: u8) {
        self.values = self.values.max(1);
        match byte {
            0 => self.nul = true,
            b' ' => self.characters = self.characters.saturating_add(1),
            _ if self.kind.separates(byte) => self.separator(byte),
            b'\r' | b'\n' if !matches!(self.kind, Kind::Lines(_)) && !self.nul => {
                self.broken = true;
            }
            _ => {
                self.character();
                let lines = matches!(self.kind, Kind::Lines(_));
                if byte == b'\t' && !lines {
                    self.flaw(Flaw::Tab);
                    return;
                }
                if byte == ESCAPE {
                    self.flaw(Flaw::Escape);
                } else if is_control(byte) && !(lines && is_line_control(byte)) {
                    self.flaw(Flaw::Control);
                }
            }
        }
    }

    fn separator(&mut self, byte: u8) {
        self.inner();
        match byte {
            b'^' => {
                self.characters = self.characters.saturating_add(1);
                self.significant = self.characters;
                self.components = self.components.saturating_add(1);
                return;
            }
            b'=' => self.groups = self.groups.saturating_add(1),
            _ => {
                self.end_value();
                self.groups = 1;
                self.values = self.values.saturating_add(1);
            }
        }
        self.end_group();
    }

    /// What follows a NUL makes it no padding, and what follows the end of a line a second one.
    fn inner(&mut self) {
        self.values = self.values.max(1);
        if self.nul {
            self.nul = false;
            self.flaw(Flaw::InnerNul);
        }
        if self.broken {
            self.broken = false;
            self.flaw(Flaw::Control);
        }
    }

    fn end_value(&mut self) {
        if self.groups > GROUPS {
            self.flaw(Flaw::Groups);
        }
    }

    fn end_group(&mut self) {
        if self.kind.max().is_some_and(|max| self.significant > max) {
            self.flaw(Flaw::TooLong);
        }
        if self.components > COMPONENTS {
            self.flaw(Flaw::Components);
        }
        (self.characters, self.significant, self.components) = (0, 0, 1);
    }

    /// How many values there are, and all flaws.
    pub(super) fn end(mut self) -> (u32, Flaws) {
        self.end_value();
        self.end_group();
        if self.nul {
            self.flaw(Flaw::NulPadding);
        }
        if self.broken {
            self.flaw(Flaw::LineEnd);
        }
        (self.values, self.flaws)
    }
}

fn characters(bytes: &[u8], utf8: bool) -> u32 {
    let found = if utf8 {
        bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
    } else {
        bytes.len()
    };
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// Alphabetic, ideographic and phonetic.
const GROUPS: u32 = 3;
/// Family name, given name, middle name, prefix and suffix.
const COMPONENTS: u32 = 5;
