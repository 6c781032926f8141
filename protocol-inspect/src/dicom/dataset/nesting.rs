//! One level of nesting: the data set itself, a sequence, an item, the fragments of pixel data.

use dicom_core::Tag;

use super::super::transfer::TransferSyntax;

/// One open level.
#[derive(Debug)]
pub(super) struct Nesting {
    pub(super) kind: Kind,
    /// The sequence, or for an item the sequence it is in.
    pub(super) tag: Tag,
    /// Offset at which it ends; `None` if a delimiter ends it.
    pub(super) end: Option<u64>,
    pub(super) encoding: Encoding,
    /// The last element of a data set or item.
    pub(super) last: Option<Tag>,
    /// Items of a sequence or fragments, so far.
    pub(super) items: u64,
    creators: Creators,
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

impl Nesting {
    pub(super) fn root(syntax: TransferSyntax) -> Self {
        let encoding = Encoding {
            implicit: syntax.is_implicit(),
            big_endian: syntax.is_big_endian(),
        };
        Self::new(Kind::Elements, Tag(0, 0), None, encoding)
    }

    pub(super) fn new(kind: Kind, tag: Tag, end: Option<u64>, encoding: Encoding) -> Self {
        Self {
            kind,
            tag,
            end,
            encoding,
            last: None,
            items: 0,
            creators: Creators::default(),
        }
    }

    /// Notes a private creator (gggg,00bb).
    pub(super) fn reserve(&mut self, tag: Tag) {
        self.creators.reserve(tag.group(), tag.element());
    }

    /// Whether the block of a private element (gggg,bbee) has a creator.
    pub(super) fn is_reserved(&self, tag: Tag) -> bool {
        self.creators.is_reserved(tag.group(), tag.element() >> 8)
    }
}

/// The reserved blocks of the current private group: elements ascend, so earlier groups are over.
#[derive(Debug, Default)]
struct Creators {
    group: u16,
    blocks: [u64; 4],
}

impl Creators {
    fn reserve(&mut self, group: u16, block: u16) {
        if self.group != group {
            *self = Self {
                group,
                blocks: [0; 4],
            };
        }
        if let Some(word) = self.blocks.get_mut(usize::from(block >> 6)) {
            *word |= 1 << (block & 63);
        }
    }

    fn is_reserved(&self, group: u16, block: u16) -> bool {
        let word = self.blocks.get(usize::from(block >> 6));
        self.group == group && word.is_some_and(|word| word & (1 << (block & 63)) != 0)
    }
}

/// How many sequences are open.
pub(super) fn depth(levels: &[Nesting]) -> usize {
    let sequences = levels.iter().filter(|level| level.kind == Kind::Sequence);
    sequences.count()
}

/// `(0008,1140)[2].(0008,1155)`.
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

const MAX_PATH: usize = 6;
