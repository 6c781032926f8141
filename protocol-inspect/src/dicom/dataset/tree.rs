//! DICOM as a tree for people: meta information, command sets, elements, sequences, items and fragments.
//!
//! In: a Part 10 file, a data set, or the client-to-server stream of a connection; also what is refused.
//! Out: nodes in the order of the bytes. Judges nothing, and reads on where an inspector would stop, as far as headers lead.
//! A node says whether its value may be shown to anybody. Nothing is kept of a node once it was visited,
//! but what it is inside of, which is bounded.

use std::collections::BTreeMap;

use dicom_core::Tag;
use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::header::VR;
use dicom_dictionary_std::StandardDataDictionary;

use super::super::dictionary::Entry;
use super::super::offline::looks_like;
use super::super::pdu::{Pdu, PduReader};
use super::super::transfer::TransferSyntax;
use super::deflate::Inflater;
use super::header::{DELIMITERS, Header, ITEM, ITEM_END, SEQUENCE_END, UNDEFINED, Written};
use super::nesting::{Encoding, IMPLICIT_LITTLE, MAX_PATH, name};
use crate::{Base, Limits};

/// A part of a file or stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'b> {
    /// What it is.
    pub kind: NodeKind,
    /// How many sequences and items it is inside of.
    pub depth: usize,
    /// Where it stands, as findings say it: `(0008,1140)[2].(0008,1155)`.
    pub location: String,
    /// Its keyword in the dictionary, or what it is; empty if the dictionary does not know it.
    pub name: &'static str,
    /// Its value representation, as written or as the dictionary has it; empty for what has none.
    pub vr: &'static str,
    /// The value as far as it is there; empty for what has parts.
    pub value: &'b [u8],
    /// Whether numbers in it are big endian.
    pub big_endian: bool,
    /// Whether it says nothing of a person, a study or a place.
    pub is_public: bool,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeKind {
    /// A PDU of a stream, with the words of its type.
    Pdu,
    /// The first 128 bytes of a file.
    Preamble,
    /// An element with a value.
    Element,
    /// A sequence; its items follow.
    Sequence,
    /// An item; its elements follow.
    Item,
    /// A fragment of encapsulated pixel data.
    Fragment,
    /// Bytes that lead no further.
    Rest,
}

/// Visits the nodes of a Part 10 file, or of a data set that stands alone.
pub fn visit_file(file: &[u8], visitor: &mut dyn FnMut(&Node<'_>)) {
    let mut syntax = None;
    let mut rest = file;
    if let Some((preamble, behind)) = file.split_at_checked(PREAMBLE)
        && let Some(meta) = behind.strip_prefix(MAGIC)
    {
        visitor(&Node {
            kind: NodeKind::Preamble,
            value: preamble,
            is_public: true,
            ..Node::of("preamble", "preamble")
        });
        rest = meta;
    }
    while let Some((header, behind)) = Header::split(rest, EXPLICIT_LITTLE)
        && header.tag.group() == 0x0002
    {
        let mut reader = Walk::new(rest, EXPLICIT_LITTLE);
        reader.header(header, behind, visitor);
        if header.tag == TRANSFER_SYNTAX {
            let length = usize::try_from(header.length).unwrap_or(usize::MAX);
            let uid = behind.get(..length).unwrap_or_default();
            syntax = Some(std::str::from_utf8(uid.trim_ascii_end()).unwrap_or_default());
        }
        rest = reader.rest;
    }
    let known = syntax.map(|uid| uid.trim_end_matches('\0'));
    let syntax = known.and_then(TransferSyntax::from_uid);
    visit_data_set(rest, syntax.unwrap_or_else(|| supposed(rest)), visitor);
}

/// Visits the nodes of a data set in this transfer syntax.
pub fn visit_data_set(bytes: &[u8], syntax: TransferSyntax, visitor: &mut dyn FnMut(&Node<'_>)) {
    let encoding = Encoding {
        implicit: syntax.is_implicit(),
        big_endian: syntax.is_big_endian(),
    };
    if syntax != TransferSyntax::Deflated {
        return Walk::new(bytes, encoding).run(visitor);
    }
    let mut plain = Vec::new();
    // What cannot be inflated is told by the judges; the rest of it leads no further.
    //= C7
    let _ = Inflater::new(&Limits::default()).feed(bytes, |inflated| {
        let room = MOST_INFLATED.saturating_sub(plain.len());
        plain.extend(inflated.iter().take(room));
        Ok(())
    });
    Walk::new(&plain, encoding).run(visitor);
}

/// Visits what a client sent on a connection: PDUs, command sets and data sets.
/// Data sets are read in the encoding that they look like, since the server's answers are not in the stream.
pub fn visit_stream(stream: &[u8], visitor: &mut dyn FnMut(&Node<'_>)) {
    let mut reader = PduReader::new(&Limits::default(), Base::Standard);
    let mut under_way: BTreeMap<(u8, bool), Vec<u8>> = BTreeMap::new();
    for chunk in stream.chunks(CHUNK) {
        reader.receive(chunk);
        while let Some(pdu) = reader.poll() {
            let Ok(pdu) = pdu else {
                return;
            };
            let Pdu::PData(values) = pdu else {
                visitor(&Node {
                    kind: NodeKind::Pdu,
                    ..Node::of("PDU", pdu.kind().name())
                });
                continue;
            };
            for value in values {
                let key = (value.context_id, value.command);
                let bytes = under_way.entry(key).or_default();
                bytes.extend_from_slice(&value.data);
                if !value.last {
                    continue;
                }
                let whole = under_way.remove(&key).unwrap_or_default();
                let name = if value.command {
                    "command set"
                } else {
                    "data set"
                };
                visitor(&Node {
                    kind: NodeKind::Pdu,
                    ..Node::of("message", name)
                });
                let syntax = if value.command {
                    TransferSyntax::ImplicitLittle
                } else {
                    supposed(&whole)
                };
                visit_data_set(&whole, syntax, visitor);
            }
        }
    }
}

fn supposed(bytes: &[u8]) -> TransferSyntax {
    let start = bytes.get(..8).unwrap_or_default();
    [TransferSyntax::ImplicitLittle, TransferSyntax::ExplicitBig]
        .into_iter()
        .find(|syntax| looks_like(*syntax, start))
        .unwrap_or(TransferSyntax::ExplicitLittle)
}

impl Node<'_> {
    fn of(location: &str, name: &'static str) -> Self {
        Self {
            kind: NodeKind::Element,
            depth: 0,
            location: location.to_owned(),
            name,
            vr: "",
            value: &[],
            big_endian: false,
            is_public: false,
        }
    }
}

/// A sequence or item that is open.
struct Open {
    tag: Tag,
    /// Of fragments or items; `None` for an item.
    items: Option<u64>,
    /// How many bytes are left when it ends; `None` if a delimiter ends it.
    left: Option<usize>,
    encoding: Encoding,
}

struct Walk<'b> {
    rest: &'b [u8],
    encoding: Encoding,
    open: Vec<Open>,
}

impl<'b> Walk<'b> {
    fn new(rest: &'b [u8], encoding: Encoding) -> Self {
        Self {
            rest,
            encoding,
            open: Vec::new(),
        }
    }

    fn run(&mut self, visitor: &mut dyn FnMut(&Node<'_>)) {
        loop {
            self.close();
            let encoding = self.encoding();
            let Some((header, behind)) = Header::split(self.rest, encoding) else {
                break;
            };
            if !self.header(header, behind, visitor) {
                break;
            }
        }
        if !self.rest.is_empty() {
            let node = Node {
                kind: NodeKind::Rest,
                depth: self.open.len(),
                value: self.rest,
                ..Node::of("rest", "bytes that lead no further")
            };
            visitor(&node);
        }
    }

    /// Whether it leads further.
    fn header(
        &mut self,
        header: Header,
        behind: &'b [u8],
        visitor: &mut dyn FnMut(&Node<'_>),
    ) -> bool {
        let tag = header.tag;
        if tag.group() == DELIMITERS {
            return self.delimiter(header, behind, visitor);
        }
        let (vr, letters) = match header.vr {
            Written::As(vr) | Written::Reserved(vr) => (vr, vr.to_string()),
            Written::Nothing => {
                let vr = Entry::of(tag).map_or(VR::UN, Entry::implied);
                let command = StandardDataDictionary.by_tag(tag);
                let vr = match command {
                    Some(entry) if tag.group() == 0 => entry.vr().relaxed(),
                    Some(_) | None => vr,
                };
                (vr, vr.to_string())
            }
            Written::Unknown => (VR::UN, "??"),
        };
        let mut node = Node {
            depth: self.open.len(),
            vr: letters,
            big_endian: self.encoding().big_endian,
            is_public: is_public(tag),
            ..Node::of(&self.location(tag), keyword(tag))
        };
        let opens = vr == VR::SQ || header.length == UNDEFINED;
        if opens {
            node.kind = NodeKind::Sequence;
            visitor(&node);
            let encoding = if vr == VR::UN {
                IMPLICIT_LITTLE
            } else {
                self.encoding()
            };
            self.rest = behind;
            return self.push(tag, Some(0), header.length, encoding);
        }
        let (value, rest, whole) = cut(behind, header.length);
        node.value = value;
        visitor(&node);
        self.rest = rest;
        whole
    }

    fn delimiter(
        &mut self,
        header: Header,
        behind: &'b [u8],
        visitor: &mut dyn FnMut(&Node<'_>),
    ) -> bool {
        let depth = self.open.len();
        let Some(inner) = self.open.last_mut() else {
            return false;
        };
        match (header.tag, &mut inner.items) {
            (ITEM, Some(items)) => {
                *items = items.saturating_add(1);
                let (tag, number, encoding) = (inner.tag, *items, inner.encoding);
                let around = self.location_of(depth.saturating_sub(1));
                let location = format!("{around}{}[{number}]", name(tag));
                self.rest = behind;
                if tag == PIXEL_DATA {
                    let (value, rest, whole) = cut(behind, header.length);
                    visitor(&Node {
                        kind: NodeKind::Fragment,
                        depth,
                        value,
                        ..Node::of(
                            &location,
                            if number == 1 {
                                "offset table"
                            } else {
                                "fragment"
                            },
                        )
                    });
                    self.rest = rest;
                    return whole;
                }
                visitor(&Node {
                    kind: NodeKind::Item,
                    depth,
                    ..Node::of(&location, "item")
                });
                self.push(tag, None, header.length, encoding)
            }
            (ITEM_END, None) | (SEQUENCE_END, Some(_)) => {
                self.open.pop();
                self.rest = behind;
                true
            }
            _ => false,
        }
    }

    /// Whether there is room for one more level.
    //= C7
    fn push(&mut self, tag: Tag, items: Option<u64>, length: u32, encoding: Encoding) -> bool {
        let length = usize::try_from(length).ok().filter(|_| length != UNDEFINED);
        self.open.push(Open {
            tag,
            items,
            left: length.map(|length| self.rest.len().saturating_sub(length)),
            encoding,
        });
        self.open.len() < DEEPEST
    }

    fn close(&mut self) {
        while let Some(inner) = self.open.last()
            && inner.left.is_some_and(|left| self.rest.len() <= left)
        {
            self.open.pop();
        }
    }

    fn encoding(&self) -> Encoding {
        self.open.last().map_or(self.encoding, |open| open.encoding)
    }

    fn location(&self, tag: Tag) -> String {
        let around = self.location_of(self.open.len());
        format!("{around}{}", name(tag))
    }

    /// The path down to the outermost so many levels, cut as that of findings is.
    fn location_of(&self, levels: usize) -> String {
        let numbered = |open: &Open| Some(format!("{}[{}].", name(open.tag), open.items?));
        let path: Vec<String> = self.open.iter().take(levels).filter_map(numbered).collect();
        let skip = path.len().saturating_sub(MAX_PATH);
        path.into_iter().skip(skip).collect()
    }
}

/// The value, what is behind it, and whether the value is whole.
fn cut(bytes: &[u8], length: u32) -> (&[u8], &[u8], bool) {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    match bytes.split_at_checked(length) {
        Some((value, rest)) => (value, rest, true),
        None => (bytes, &[], false),
    }
}

fn keyword(tag: Tag) -> &'static str {
    match StandardDataDictionary.by_tag(tag) {
        Some(entry) if tag.group().is_multiple_of(2) => entry.alias(),
        Some(_) | None => "",
    }
}

/// What says nothing of a person, a study or a place: how the object is encoded and what kind it is.
fn is_public(tag: Tag) -> bool {
    match (tag.group(), tag.element()) {
        (0x0000, 0x0000..=0x0003 | 0x0100..=0x0900 | 0x1002..=0x1023) => tag != MOVE_DESTINATION,
        (0x0002, 0x0003 | 0x0016..) => false,
        (0x0002 | 0x0028, _) => true,
        (0x0008, 0x0005 | 0x0008 | 0x0016 | 0x0052 | 0x0060 | 0x0064) => true,
        _ => false,
    }
}

const EXPLICIT_LITTLE: Encoding = Encoding {
    implicit: false,
    big_endian: false,
};
const TRANSFER_SYNTAX: Tag = Tag(0x0002, 0x0010);
const MOVE_DESTINATION: Tag = Tag(0x0000, 0x0600);
const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);
const PREAMBLE: usize = 128;
const MAGIC: &[u8] = b"DICM";
const CHUNK: usize = 64 << 10;
/// Of a deflated data set no more is shown.
const MOST_INFLATED: usize = 64 << 20;
/// Deeper nesting leads no further.
const DEEPEST: usize = 512;
