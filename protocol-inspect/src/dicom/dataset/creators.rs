//! Private creators (PS3.5 7.8.1): who reserved which block of private elements.
//!
//! In: creators of the open levels, in their order. Out: the creator of a private element.
//! Elements ascend, so of each level only the blocks of its last private group are kept, and they are sorted.

use dicom_core::Tag;

use super::nesting::Nesting;

/// The creators of all open levels, those of the data set first. At most 240 for each level, and levels are bounded.
//= C7
#[derive(Default)]
pub(super) struct Creators {
    blocks: Vec<Block>,
}

struct Block {
    group: u16,
    number: u16,
    length: usize,
    /// As much of the name as its longest form has, and more, so that a longer one is another.
    name: [u8; LONGEST + 1],
}

impl Creators {
    /// Notes the value of (gggg,00bb) at the innermost level; whether it names somebody.
    pub(super) fn reserve(&mut self, level: &Nesting, tag: Tag, value: &[u8]) -> bool {
        let own = self.blocks.get(level.creators..).unwrap_or_default();
        if own.first().is_some_and(|first| first.group != tag.group()) {
            self.blocks.truncate(level.creators);
        }
        let value = value.trim_ascii_end();
        let value = value.strip_suffix(&[0]).unwrap_or(value);
        let mut name = [0; LONGEST + 1];
        let places = name.iter_mut().zip(value);
        let length = places.map(|(place, byte)| *place = *byte).count();
        self.blocks.push(Block {
            group: tag.group(),
            number: tag.element(),
            length,
            name,
        });
        length > 0
    }

    /// The creator of a private element (gggg,bbee) at the innermost level, without its padding.
    pub(super) fn of(&self, level: &Nesting, tag: Tag) -> Option<&[u8]> {
        let own = self.blocks.get(level.creators..)?;
        let number = tag.element() >> 8;
        let place = own.binary_search_by_key(&number, |block| block.number);
        let block = own.get(place.ok()?)?;
        (block.group == tag.group()).then(|| block.name.get(..block.length))?
    }

    /// How many are noted.
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Forgets those of a level that is over.
    pub(super) fn close(&mut self, level: &Nesting) {
        self.blocks.truncate(level.creators);
    }
}

/// Bytes of a creator; LO has 64 characters.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::super::transfer::TransferSyntax;
    use super::super::nesting::{IMPLICIT_LITTLE, Kind};
    use super::*;

    #[test]
    fn creators_belong_to_their_level_and_group() {
        let root = Nesting::root(TransferSyntax::ExplicitLittle, 1_000);
        let mut creators = Creators::default();
        assert!(creators.reserve(&root, Tag(0x0009, 0x0010), b"ONE "));
        assert!(creators.reserve(&root, Tag(0x0009, 0x0012), b"TWO\0"));
        assert!(!creators.reserve(&root, Tag(0x0009, 0x00ff), b"  "));
        let mut item = root.inner(Kind::Elements, Tag(0, 0), None, IMPLICIT_LITTLE);
        item.creators = creators.len();
        assert_eq!(creators.of(&item, Tag(0x0009, 0x1001)), None);
        assert!(creators.reserve(&item, Tag(0x0009, 0x0011), b"INNER"));
        assert_eq!(creators.of(&item, Tag(0x0009, 0x1101)), Some(&b"INNER"[..]));
        creators.close(&item);
        for (tag, expected) in [
            (Tag(0x0009, 0x1001), Some(&b"ONE"[..])),
            (Tag(0x0009, 0x1101), None),
            (Tag(0x0009, 0x12ff), Some(b"TWO")),
            (Tag(0x0009, 0xff00), Some(b"")),
            (Tag(0x000b, 0x1001), None),
        ] {
            assert_eq!(creators.of(&root, tag), expected, "{tag}");
        }
        assert!(creators.reserve(&root, Tag(0x000b, 0x0010), &[b'x'; 200]));
        assert_eq!(creators.of(&root, Tag(0x0009, 0x1001)), None);
        let long = creators.of(&root, Tag(0x000b, 0x1001)).unwrap();
        assert_eq!(long.len(), 65);
    }
}
