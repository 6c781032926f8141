//! One level of nesting: the data set itself, a sequence, an item, the fragments of pixel data.

use dicom_core::Tag;

use super::super::transfer::TransferSyntax;

/// One open level.
#[derive(Debug)]
pub(super) struct Nesting {
    pub(super) kind: Kind,
    /// The sequence, or for an item the sequence it is in.
    pub(super) tag: Tag,
    /// Whether a delimiter ends it; if not, it ends at `bound`.
    pub(super) delimited: bool,
    /// Offset behind which nothing of it can be: its own end, or that of what it is in.
    pub(super) bound: u64,
    pub(super) encoding: Encoding,
    /// The last element of a data set or item, as [`number`]; 0 before the first.
    pub(super) last: u32,
    /// Items of a sequence or fragments, so far.
    pub(super) items: u64,
    /// How many sequences are open, this one included.
    pub(super) depth: usize,
    /// The group whose length was told last.
    pub(super) group: u16,
    /// Where that group ends; [`UNTOLD`] if no group is open that told.
    pub(super) group_end: u64,
    /// How many private creators are noted of the levels around it.
    pub(super) creators: usize,
}

/// What may stand in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Elements: the data set or an item.
    Elements,
    /// Items with elements.
    Sequence,
    /// Items with bytes.
    Fragments,
}

/// How headers are written here; the inside of an unknown sequence may differ from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) implicit: bool,
    pub(super) big_endian: bool,
}

/// PS3.5 6.2.2: the inside of UN of undefined length.
pub(super) const IMPLICIT_LITTLE: Encoding = Encoding {
    implicit: true,
    big_endian: false,
};

/// No group length is open.
pub(super) const UNTOLD: u64 = u64::MAX;

impl Nesting {
    /// The data set itself, of at most so many bytes.
    pub(super) fn root(syntax: TransferSyntax, most: u64) -> Self {
        Self {
            kind: Kind::Elements,
            tag: Tag(0, 0),
            delimited: true,
            bound: most,
            encoding: Encoding {
                implicit: syntax.is_implicit(),
                big_endian: syntax.is_big_endian(),
            },
            last: 0,
            items: 0,
            depth: 0,
            group: 0,
            group_end: UNTOLD,
            creators: 0,
        }
    }

    /// A level inside of this one that ends where it said, if it did.
    pub(super) fn inner(&self, kind: Kind, tag: Tag, end: Option<u64>, encoding: Encoding) -> Self {
        let deeper = usize::from(kind == Kind::Sequence);
        Self {
            kind,
            tag,
            delimited: end.is_none(),
            bound: end.unwrap_or(self.bound),
            encoding,
            last: 0,
            items: 0,
            depth: self.depth.saturating_add(deeper),
            group: 0,
            group_end: UNTOLD,
            creators: self.creators,
        }
    }
}

/// Group and element in one, so that elements compare by one comparison.
pub(super) fn number(tag: Tag) -> u32 {
    (u32::from(tag.group()) << 16) | u32::from(tag.element())
}

/// How many sequences are open.
pub(super) fn depth(levels: &[Nesting]) -> usize {
    levels.last().map_or(0, |level| level.depth)
}

/// `(0008,1140)[2].(0008,1155)`.
#[cold]
pub(super) fn path(levels: &[Nesting], tag: Tag) -> String {
    let mut path = String::new();
    // Deeper paths help nobody; their end is what matters.
    let open = levels.iter().filter(|level| level.kind != Kind::Elements);
    let skip = open.clone().count().saturating_sub(MAX_PATH);
    for level in open.skip(skip) {
        path.push_str(&format!("{}[{}].", name(level.tag), level.items));
    }
    path.push_str(&name(tag));
    path
}

pub(super) fn name(tag: Tag) -> String {
    format!("({:04x},{:04x})", tag.group(), tag.element())
}

pub(super) const MAX_PATH: usize = 6;
