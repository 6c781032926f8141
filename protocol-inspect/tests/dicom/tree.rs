//! Data sets of any shape that is right, in every encoding and in any chunks: accepted, and the same is learned.

use std::collections::BTreeMap;

use proptest::prelude::*;
use protocol_inspect::dicom::{TransferSyntax, Walker};
use protocol_inspect::{Base, Limits};

use super::data_set::brief;

/// Elements by the place of their tag in [`TAGS`].
type Elements = BTreeMap<usize, Element>;

#[derive(Clone, Debug)]
struct Element {
    /// Of a value; longer ones exist in text alone.
    length: usize,
    /// Of a sequence.
    items: Vec<Item>,
    /// Of undefined length.
    open: bool,
}

#[derive(Clone, Debug)]
struct Item {
    elements: Elements,
    open: bool,
}

const TAGS: [(u16, u16, &str); 12] = [
    (0x0008, 0x0018, "UI"),
    (0x0008, 0x0060, "CS"),
    (0x0008, 0x1110, "SQ"),
    (0x0008, 0x1140, "SQ"),
    (0x0010, 0x0010, "PN"),
    (0x0010, 0x0020, "LO"),
    (0x0028, 0x0010, "US"),
    (0x0029, 0x0010, "LO"),
    (0x0040, 0xa043, "SQ"),
    (0x0040, 0xa160, "UT"),
    (0x0040, 0xa730, "SQ"),
    (0x5400, 0x1010, "OW"),
];

fn elements() -> impl Strategy<Value = Elements> {
    let leaf = (0_usize..3_000, any::<bool>()).prop_map(|(length, open)| Element {
        length,
        items: Vec::new(),
        open,
    });
    let element = leaf.prop_recursive(4, 40, 4, |inner| {
        let elements = proptest::collection::btree_map(0..TAGS.len(), inner, 0..5);
        let item = (elements, any::<bool>()).prop_map(|(elements, open)| Item { elements, open });
        let items = proptest::collection::vec(item, 0..4);
        (0_usize..40, items, any::<bool>()).prop_map(|(length, items, open)| Element {
            length,
            items,
            open,
        })
    });
    proptest::collection::btree_map(0..TAGS.len(), element, 0..8)
}

const SYNTAXES: [TransferSyntax; 3] = [
    TransferSyntax::ImplicitLittle,
    TransferSyntax::ExplicitLittle,
    TransferSyntax::ExplicitBig,
];

/// Writes them, and counts headers.
struct Writer {
    syntax: TransferSyntax,
    headers: usize,
}

impl Writer {
    fn word(&self, value: u16) -> [u8; 2] {
        match self.syntax {
            TransferSyntax::ExplicitBig => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        }
    }

    fn double(&self, value: u32) -> [u8; 4] {
        match self.syntax {
            TransferSyntax::ExplicitBig => value.to_be_bytes(),
            _ => value.to_le_bytes(),
        }
    }

    fn header(&mut self, (group, element, vr): (u16, u16, &str), length: u32) -> Vec<u8> {
        self.headers += 1;
        let mut out = [self.word(group), self.word(element)].concat();
        if self.syntax == TransferSyntax::ImplicitLittle || vr.is_empty() {
            out.extend(self.double(length));
        } else if matches!(vr, "SQ" | "UT" | "OW") {
            out.extend([vr.as_bytes(), &[0, 0]].concat());
            out.extend(self.double(length));
        } else {
            out.extend(vr.as_bytes());
            out.extend(self.word(u16::try_from(length).unwrap()));
        }
        out
    }

    /// Something with a length of its own or with a delimiter behind it.
    fn around(&mut self, tag: (u16, u16, &str), open: bool, content: &[u8], end: u16) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap();
        let length = if open { u32::MAX } else { length };
        let mut out = self.header(tag, length);
        out.extend(content);
        if open {
            out.extend(self.header((0xfffe, end, ""), 0));
        }
        out
    }

    fn elements(&mut self, elements: &Elements) -> Vec<u8> {
        let mut out = Vec::new();
        for (place, element) in elements {
            let tag = TAGS[*place];
            if tag.2 == "SQ" {
                let mut content = Vec::new();
                for item in &element.items {
                    let inside = self.elements(&item.elements);
                    content.extend(self.around((0xfffe, 0xe000, ""), item.open, &inside, 0xe00d));
                }
                out.extend(self.around(tag, element.open, &content, 0xe0dd));
                continue;
            }
            let value = match tag.2 {
                "UI" => b"1.2.3\0".to_vec(),
                "CS" => b"CT".to_vec(),
                "PN" => b"Canary".to_vec(),
                "US" => self.word(512).to_vec(),
                "LO" => b"CANARY".to_vec(),
                _ => vec![b'x'; element.length.next_multiple_of(2)],
            };
            out.extend(self.around(tag, false, &value, 0));
        }
        out
    }
}

type Learned = (
    protocol_inspect::dicom::Facts,
    Vec<protocol_inspect::Warning>,
    usize,
);

/// All that a walk says of bytes in these chunks.
fn walk(
    syntax: TransferSyntax,
    bytes: &[u8],
    sizes: &[usize],
) -> Result<Learned, protocol_inspect::Refusal> {
    let mut walker = Walker::new(syntax, &brief(Base::Standard, &Limits::default()));
    let mut rest = bytes;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (chunk, behind) = rest.split_at((*size).min(rest.len()));
        walker.feed(chunk)?;
        rest = behind;
    }
    let facts = walker.finish()?;
    Ok((facts, walker.warnings().to_vec(), walker.elements()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn right_data_sets_are_accepted_in_any_chunks(
        elements in elements(),
        sizes in proptest::collection::vec(1_usize..2_000, 1..6),
    ) {
        for syntax in SYNTAXES {
            let mut writer = Writer { syntax, headers: 0 };
            let bytes = writer.elements(&elements);
            let whole = walk(syntax, &bytes, &[usize::MAX]);
            prop_assert_eq!(whole.as_ref().map(|(_, _, headers)| *headers), Ok(writer.headers));
            prop_assert_eq!(whole, walk(syntax, &bytes, &sizes));
        }
    }

    #[test]
    fn a_changed_byte_is_judged_alike_in_any_chunks(
        elements in elements(),
        places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
        cut in any::<prop::sample::Index>(),
        sizes in proptest::collection::vec(1_usize..40, 1..6),
    ) {
        for syntax in SYNTAXES {
            let mut bytes = Writer { syntax, headers: 0 }.elements(&elements);
            for (place, byte) in &places {
                if !bytes.is_empty() {
                    let place = place.index(bytes.len());
                    bytes[place] = *byte;
                }
            }
            if cut.index(4) == 0 {
                bytes.truncate(cut.index(bytes.len() + 1));
            }
            prop_assert_eq!(walk(syntax, &bytes, &[usize::MAX]), walk(syntax, &bytes, &sizes));
        }
    }
}
