//! Reads a whole document once, piece by piece, and says what it is and what it carries.
//!
//! In: pieces of the decoded document. Out: its kind, its length, and what is worth a word.
//! Only the head is held; the rest is searched as it passes. Where it was cut into pieces does not matter.
//! Nothing is unpacked: what is compressed inside of a PDF is not seen, but that there is such is told.

use super::kind::{Group, Kind};
use super::magic::{self, HEAD, ISO, ISO_AT};

/// What a whole document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    /// Bytes of the document.
    pub(crate) length: usize,
    /// A PDF with parts that cannot be searched.
    pub(crate) opaque: bool,
    /// A PDF that does something when it is opened.
    pub(crate) opens: bool,
    /// An archive hangs behind the document, where readers of archives find it.
    pub(crate) trailing_archive: bool,
}

/// The state between two pieces.
pub(crate) struct Scanner {
    head: Vec<u8>,
    /// By the head, once there is one.
    kind: Option<Kind>,
    length: usize,
    iso: [u8; ISO.len()],
    /// Whether a byte came that is no text.
    binary: bool,
    /// Whether a pad byte follows, which may as well be the last byte of an archive.
    padded: bool,
    names: Names,
    directory: Directory,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            head: Vec::new(),
            kind: None,
            length: 0,
            iso: [0; ISO.len()],
            binary: false,
            padded: false,
            names: Names::default(),
            directory: Directory::default(),
        }
    }

    /// Bytes so far.
    pub(crate) fn length(&self) -> usize {
        self.length
    }

    /// A byte 0 follows that is not the document's, if it is only there for the sake of an even length.
    pub(crate) fn pad(&mut self) {
        self.padded = true;
    }

    pub(crate) fn push(&mut self, piece: &[u8]) {
        let start = self.length;
        self.length = start.saturating_add(piece.len());
        self.disk_image(start, piece);
        self.directory.push(start, piece);
        if self.kind.is_some() {
            self.body(piece);
            return;
        }
        let room = HEAD.saturating_sub(self.head.len()).min(piece.len());
        let (head, rest) = piece.split_at_checked(room).unwrap_or_default();
        self.head.extend_from_slice(head);
        if self.head.len() >= HEAD {
            self.recognise();
            self.body(rest);
        }
    }

    /// The head is complete.
    fn recognise(&mut self) {
        let head = std::mem::take(&mut self.head);
        self.kind = Some(magic::recognise(&head));
        self.body(&head);
    }

    fn body(&mut self, piece: &[u8]) {
        match self.kind {
            Some(Kind::Pdf) => self.names.push(piece),
            Some(Kind::Text) if !self.binary => {
                self.binary = piece.iter().any(|b| !magic::is_text(*b));
            }
            Some(_) | None => {}
        }
    }

    fn disk_image(&mut self, start: usize, piece: &[u8]) {
        let end = ISO_AT.saturating_add(ISO.len());
        if start >= end || self.length <= ISO_AT {
            return;
        }
        for (slot, at) in self.iso.iter_mut().zip(ISO_AT..) {
            let byte = at.checked_sub(start).and_then(|index| piece.get(index));
            *slot = byte.copied().unwrap_or(*slot);
        }
    }

    pub(crate) fn finish(mut self) -> Seen {
        if self.kind.is_none() {
            self.recognise();
        }
        self.names.push(b" ");
        let mut kind = self.kind.unwrap_or(Kind::Unknown);
        if self.iso == *ISO {
            kind = Kind::Iso;
        } else if kind == Kind::Pdf && self.names.active {
            kind = Kind::PdfActive;
        } else if kind == Kind::Text && self.binary {
            kind = Kind::Unknown;
        }
        let archive = matches!(kind, Kind::Java | Kind::Office) || kind.group() == Group::Archive;
        let padded = self.length.saturating_add(1);
        let ends = |length| self.directory.ends_at(length);
        Seen {
            kind,
            length: self.length,
            opaque: self.names.opaque,
            opens: self.names.opens,
            trailing_archive: !archive && (ends(self.length) || (self.padded && ends(padded))),
        }
    }
}

/// The names in a PDF. `#61` is a letter in them, so that they are compared only after it was put there.
#[derive(Default)]
struct Names {
    /// Where in a name we are.
    state: State,
    name: [u8; LONGEST_NAME],
    length: usize,
    active: bool,
    opaque: bool,
    opens: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    /// In no name.
    #[default]
    Outside,
    /// In a name.
    Inside,
    /// Behind `#` in a name.
    Hash,
    /// Behind `#` and a digit.
    Digit(u8),
    /// Behind `/JS` and blanks.
    Script,
}

impl Names {
    //= ISO 32000-1 7.3.5
    fn push(&mut self, mut piece: &[u8]) {
        while let Some((&byte, rest)) = piece.split_first() {
            if matches!(self.state, State::Outside) {
                // Only a solidus begins a name.
                match memchr::memchr(b'/', piece) {
                    Some(at) => piece = piece.get(at.saturating_add(1)..).unwrap_or_default(),
                    None => return,
                }
                self.begin();
            } else {
                self.step(byte);
                piece = rest;
            }
        }
    }

    fn begin(&mut self) {
        self.state = State::Inside;
        self.length = 0;
    }

    fn step(&mut self, byte: u8) {
        let digit = char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok());
        match (self.state, digit) {
            (State::Hash, Some(digit)) => self.state = State::Digit(digit),
            (State::Digit(high), Some(low)) => {
                self.add(high.wrapping_shl(4) | low);
                self.state = State::Inside;
            }
            (State::Script, _) if is_blank(byte) => {}
            (State::Script, _) => {
                self.active |= matches!(byte, b'(' | b'<' | b'0'..=b'9');
                self.outside(byte);
            }
            (State::Outside | State::Inside | State::Hash | State::Digit(_), _) => {
                if is_blank(byte) || b"()<>[]{}/%".contains(&byte) {
                    self.end(byte);
                } else if byte == b'#' {
                    self.state = State::Hash;
                } else {
                    self.add(byte);
                    self.state = State::Inside;
                }
            }
        }
    }

    fn add(&mut self, byte: u8) {
        if let Some(slot) = self.name.get_mut(self.length) {
            *slot = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn end(&mut self, byte: u8) {
        match self.name.get(..self.length) {
            Some(b"JS") => {
                self.state = State::Script;
                self.step(byte);
                return;
            }
            Some(name) if ACTIVE.contains(&name) => self.active = true,
            Some(b"ObjStm" | b"Encrypt") => self.opaque = true,
            Some(b"OpenAction" | b"AA") => self.opens = true,
            Some(_) | None => {}
        }
        self.outside(byte);
    }

    fn outside(&mut self, byte: u8) {
        self.state = State::Outside;
        if byte == b'/' {
            self.begin();
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, 0 | b'\t' | b'\n' | 0x0c | b'\r' | b' ')
}

/// Names of what runs, and of what carries other documents.
const ACTIVE: [&[u8]; 9] = [
    b"JavaScript",
    b"Launch",
    b"EmbeddedFile",
    b"EmbeddedFiles",
    b"RichMedia",
    b"SubmitForm",
    b"ImportData",
    b"GoToE",
    b"XFA",
];

/// Longer than each of the names that are searched, so that a longer one is none of them.
const LONGEST_NAME: usize = 16;

/// The end of the directory of a ZIP archive. Readers look for it from the end of a file, whatever comes before.
#[derive(Default)]
struct Directory {
    matched: usize,
    /// Where the last one begins.
    at: Option<usize>,
    comment: [u8; 2],
}

impl Directory {
    fn push(&mut self, start: usize, piece: &[u8]) {
        let mut index = 0_usize;
        while let Some(rest) = piece.get(index..).filter(|rest| !rest.is_empty()) {
            if self.matched == 0 {
                match memchr::memchr(b'P', rest) {
                    Some(at) => index = index.saturating_add(at),
                    None => break,
                }
            }
            let Some(&byte) = piece.get(index) else {
                break;
            };
            index = index.saturating_add(1);
            self.matched = match SIGN.get(self.matched) {
                Some(expected) if *expected == byte => self.matched.saturating_add(1),
                Some(_) | None => usize::from(byte == b'P'),
            };
            if self.matched == SIGN.len() {
                self.matched = 0;
                self.finish_comment(start, piece);
                self.at = start.saturating_add(index).checked_sub(SIGN.len());
            }
        }
        self.finish_comment(start, piece);
    }

    /// Takes the length of the comment, if it is in this piece.
    fn finish_comment(&mut self, start: usize, piece: &[u8]) {
        let Some(at) = self.at else {
            return;
        };
        for (slot, at) in self.comment.iter_mut().zip(at.saturating_add(20)..) {
            let byte = at.checked_sub(start).and_then(|index| piece.get(index));
            *slot = byte.copied().unwrap_or(*slot);
        }
    }

    /// Whether the last directory ends where the document ends.
    fn ends_at(&self, length: usize) -> bool {
        let comment = usize::from(u16::from_le_bytes(self.comment));
        let end = |at: usize| at.saturating_add(22).saturating_add(comment);
        self.at.is_some_and(|at| end(at) == length)
    }
}

const SIGN: [u8; 4] = *b"PK\x05\x06";
