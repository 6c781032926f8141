//! Private creators (PS3.5 7.8.1): who reserved which block of private elements.
//!
//! In: creators of the open levels, in their order. Out: whether the block of a private element has one.
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
}

impl Creators {
    /// Notes the value of (gggg,00bb) at the innermost level; whether it names somebody.
    pub(super) fn reserve(&mut self, level: &Nesting, tag: Tag, value: &[u8]) -> bool {
        let own = self.blocks.get(level.creators..).unwrap_or_default();
        if own.first().is_some_and(|first| first.group != tag.group()) {
            self.blocks.truncate(level.creators);
        }
        self.blocks.push(Block {
            group: tag.group(),
            number: tag.element(),
        });
        !value.iter().all(|byte| matches!(byte, b' ' | 0))
    }

    /// Whether somebody reserved the block of a private element (gggg,bbee) at the innermost level.
    pub(super) fn has(&self, level: &Nesting, tag: Tag) -> bool {
        let own = self.blocks.get(level.creators..).unwrap_or_default();
        let number = tag.element() >> 8;
        let place = own.binary_search_by_key(&number, |block| block.number);
        let block = place.ok().and_then(|place| own.get(place));
        block.is_some_and(|block| block.group == tag.group())
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
        assert!(!creators.has(&item, Tag(0x0009, 0x1001)));
        assert!(creators.reserve(&item, Tag(0x0009, 0x0011), b"INNER"));
        assert!(creators.has(&item, Tag(0x0009, 0x1101)));
        creators.close(&item);
        for (tag, expected) in [
            (Tag(0x0009, 0x1001), true),
            (Tag(0x0009, 0x1101), false),
            (Tag(0x0009, 0x12ff), true),
            (Tag(0x0009, 0xff00), true),
            (Tag(0x000b, 0x1001), false),
        ] {
            assert_eq!(creators.has(&root, tag), expected, "{tag}");
        }
        assert!(creators.reserve(&root, Tag(0x000b, 0x0010), &[b'x'; 200]));
        assert!(!creators.has(&root, Tag(0x0009, 0x1001)));
        assert!(creators.has(&root, Tag(0x000b, 0x1001)));
    }
}
