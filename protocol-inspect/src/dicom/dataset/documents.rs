//! Documents inside of a data set, and programs where none belong (PS3.3 C.24, PS3.5 6.2).
//!
//! In: values of bytes and long text as they stream by, and what the data set says of its document.
//! Out: findings. A value is known by its bytes, not by its name.
//! Keeps the first bytes of one value, and XML as a whole up to `dicom_markup`, because only the whole can be judged.
//! Knows nothing of what a document says.

use dicom_core::Tag;
use dicom_core::header::VR;

use super::super::policy::{Level, Rule};
use super::super::uid::Uid;
use super::brief::{Brief, Content};
use super::judges::{Element, Long, MAX_KEPT, Tell};
use crate::embedded::{self, Group, Kind, Scanner};
use crate::severity::Weight;
use crate::{LimitReached, Reason, Refusal};

/// What a value begins with that has no business in a data set, if it is certain; `is_bulk` of pixels,
/// which can be letters by chance.
pub(super) fn smuggled(head: &[u8], is_bulk: bool) -> Option<(Weight, &'static str)> {
    match suspect(head, is_bulk)?.group() {
        Group::Executable => Some((Weight::Firm, "begins like a program")),
        Group::Archive => Some((Weight::Content, "begins like an archive")),
        Group::Harmless | Group::Active | Group::Unknown => None,
    }
}

fn suspect(head: &[u8], is_bulk: bool) -> Option<Kind> {
    let kind = embedded::recognise(head);
    // The header of a Windows program is nearly always within the first 64 KiB.
    let is_chance = (kind == Kind::Script && !head.is_ascii())
        || (kind == Kind::Exe && head.get(62..64) != Some(&[0; 2]));
    let by_chance = is_bulk && is_chance;
    (!by_chance && embedded::is_certain(head, kind)).then_some(kind)
}

/// The judge of documents.
pub(super) struct Documents {
    most_markup: usize,
    sop_class: Option<Class>,
    /// The long value that streams by.
    open: Option<Value>,
    /// The encapsulated document: its kind and length, padding included.
    held: Option<(Kind, u32)>,
    /// Room for the first bytes of the next value.
    spare: Vec<u8>,
}

/// SOP classes that hold one document (PS3.4 B.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Pdf,
    Cda,
    Stl,
    Obj,
    Mtl,
}

/// A value under way.
struct Value {
    tag: Tag,
    length: u32,
    remaining: u32,
    head: Vec<u8>,
    is_judged: bool,
    document: Option<Box<Document>>,
}

/// An encapsulated document under way.
struct Document {
    scanner: Scanner,
    /// Whether the first bytes say what it is.
    is_known: bool,
    /// All of it, while it may be markup.
    markup: Option<Vec<u8>>,
}

impl Documents {
    pub(super) fn new(brief: &Brief) -> Self {
        let sop_class = match &brief.content {
            Content::Instance(class) => class.as_ref().and_then(|class| Class::of(class.as_str())),
            Content::Query | Content::QueryResult | Content::Normalized(_) => None,
        };
        Self {
            most_markup: brief.policy.limits.dicom_markup,
            sop_class,
            open: None,
            held: None,
            spare: Vec::new(),
        }
    }

    fn start(&mut self, tag: Tag, length: u32, depth: usize) -> Value {
        let mut head = std::mem::take(&mut self.spare);
        head.clear();
        Value::new(tag, length, depth, head)
    }

    pub(super) fn element(
        &mut self,
        element: &Element<'_>,
        tell: &mut Tell<'_>,
    ) -> Result<(), Refusal> {
        if holds_bytes(element.vr) || is_document(element.tag, element.depth) {
            let is_short = usize::try_from(element.length).is_ok_and(|length| length <= MAX_KEPT);
            if is_short && !is_document(element.tag, element.depth) {
                self.open = None;
                return judge_head(element.tag, element.value, tell);
            }
            if is_short {
                self.open = Some(self.start(element.tag, element.length, element.depth));
                self.chunk(element.value, tell)?;
            }
            let Some(mut value) = self.open.take() else {
                return Ok(());
            };
            self.end(&mut value, tell)?;
            self.spare = value.head;
            return Ok(());
        }
        if element.depth > 0 {
            return Ok(());
        }
        match element.tag {
            SOP_CLASS => {
                if let Ok((uid, _)) = Uid::read(element.value) {
                    self.sop_class = Class::of(uid.as_str());
                }
                Ok(())
            }
            MIME_TYPE => self.mime_type(element.value, tell),
            DOCUMENT_LENGTH => self.document_length(element, tell),
            _ => Ok(()),
        }
    }

    /// A value of more than [`MAX_KEPT`] bytes begins.
    pub(super) fn long(&mut self, long: &Long) {
        self.open = (holds_bytes(long.vr) || is_document(long.tag, long.depth))
            .then(|| self.start(long.tag, long.length, long.depth));
    }

    /// The next bytes of it.
    pub(super) fn chunk(&mut self, bytes: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let Some(mut value) = self.open.take() else {
            return Ok(());
        };
        if !value.is_judged {
            let room = MAX_KEPT.saturating_sub(value.head.len());
            value.head.extend(bytes.iter().take(room));
            if value.head.len() == MAX_KEPT {
                value.is_judged = true;
                judge_head(value.tag, &value.head, tell)?;
            }
        }
        value.push(bytes, self.most_markup)?;
        if value.is_over() {
            self.spare = value.head;
        } else {
            self.open = Some(value);
        }
        Ok(())
    }

    fn end(&mut self, value: &mut Value, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        if !value.is_judged {
            value.is_judged = true;
            judge_head(value.tag, &value.head, tell)?;
        }
        let Some(document) = value.document.take() else {
            return Ok(());
        };
        let seen = document.scanner.finish();
        if seen.length == 0 {
            return finding(tell, value.tag, Weight::Content, "is an empty document");
        }
        let kind = match document.markup {
            Some(markup) => markup_kind(seen.kind, &markup, value.tag, tell)?,
            None => seen.kind,
        };
        self.held = Some((kind, value.length));
        let is_model = self.sop_class.is_some_and(Class::is_model);
        if !is_model || kind.group() != Group::Unknown {
            self.carried(kind, value.tag, tell)?;
        }
        let no_archives = |rule: &Rule| !rule.documents.contains(&Kind::Zip);
        let no_actions = |rule: &Rule| !rule.documents.contains(&Kind::PdfActive);
        if seen.trailing_archive {
            let detail = "has a ZIP archive behind its document";
            finding_of(tell, value.tag, Weight::Content, no_archives, detail)?;
        }
        if seen.opaque {
            let detail = "is a PDF with compressed or encrypted parts that cannot be searched";
            finding_of(tell, value.tag, Weight::Strict, no_actions, detail)?;
        }
        if seen.opens {
            let detail = "is a PDF that names what to do when it is opened";
            finding_of(tell, value.tag, Weight::Hint, no_actions, detail)?;
        }
        let fits = |class: Class| class.holds(kind) && class.fits(&value.head, value.length);
        if self.sop_class.is_some_and(|class| !fits(class)) {
            let detail = "is another kind of document than its SOP class";
            finding(tell, value.tag, Weight::Content, detail)?;
        }
        Ok(())
    }

    /// Whether the rule carries documents of this kind.
    fn carried(&self, kind: Kind, tag: Tag, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let group = kind.group();
        let by_default = |rule: &Rule| rule.documents.is_empty();
        let unlisted = |rule: &Rule| {
            let harmless = by_default(rule) && group == Group::Harmless;
            !harmless && !rule.documents.contains(&kind)
        };
        if group != Group::Unknown {
            let weight = if group == Group::Executable {
                Weight::Firm
            } else {
                Weight::Content
            };
            return finding_of(tell, tag, weight, unlisted, kind.complaint());
        }
        let strictly = |rule: &Rule| by_default(rule);
        finding_of(tell, tag, Weight::Strict, strictly, kind.complaint())?;
        let listing = |rule: &Rule| unlisted(rule) && !by_default(rule);
        finding_of(tell, tag, Weight::Content, listing, kind.complaint())
    }

    /// (0042,0012) comes behind the document.
    fn mime_type(&self, value: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let Some((kind, _)) = self.held else {
            return Ok(());
        };
        let name = value.trim_ascii().to_ascii_lowercase();
        let class = match name.strip_suffix(b"\0").unwrap_or(&name) {
            b"application/pdf" => Class::Pdf,
            b"text/xml" => Class::Cda,
            b"model/stl" | b"application/sla" => Class::Stl,
            b"model/obj" => Class::Obj,
            b"model/mtl" => Class::Mtl,
            _ => {
                let detail = "is not the type of a document that an object can hold";
                return finding(tell, MIME_TYPE, Weight::Strict, detail);
            }
        };
        let says = class.holds(kind) || (class == Class::Cda && kind == Kind::Xml);
        if says && self.sop_class.is_none_or(|own| own == class) {
            return Ok(());
        }
        let detail = "is the type of another document than the object holds";
        finding(tell, MIME_TYPE, Weight::Content, detail)
    }

    /// (0042,0015): without the pad byte.
    fn document_length(&self, element: &Element<'_>, tell: &mut Tell<'_>) -> Result<(), Refusal> {
        let (Some((_, held)), Some(bytes)) = (self.held, element.value.first_chunk()) else {
            return Ok(());
        };
        let said = if element.big_endian {
            u32::from_be_bytes(*bytes)
        } else {
            u32::from_le_bytes(*bytes)
        };
        if said.checked_next_multiple_of(2) == Some(held) {
            return Ok(());
        }
        let detail = "is not the length of the encapsulated document";
        finding(tell, DOCUMENT_LENGTH, Weight::Content, detail)
    }
}

impl Value {
    fn new(tag: Tag, length: u32, depth: usize, head: Vec<u8>) -> Self {
        Self {
            tag,
            length,
            remaining: length,
            head,
            is_judged: false,
            document: is_document(tag, depth).then(|| {
                Box::new(Document {
                    scanner: Scanner::new(),
                    is_known: false,
                    markup: Some(Vec::new()),
                })
            }),
        }
    }

    fn is_over(&self) -> bool {
        self.is_judged && self.document.is_none()
    }

    //= C7
    fn push(&mut self, bytes: &[u8], most_markup: usize) -> Result<(), Refusal> {
        let taken = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.remaining = self.remaining.saturating_sub(taken);
        let Some(document) = &mut self.document else {
            return Ok(());
        };
        // The pad byte is not the document's.
        let bytes = match bytes {
            [rest @ .., 0] if self.remaining == 0 => {
                document.scanner.pad();
                rest
            }
            bytes => bytes,
        };
        document.scanner.push(bytes);
        if !document.is_known && (self.head.len() >= MAX_KEPT || self.remaining == 0) {
            document.is_known = true;
            if !embedded::recognise(&self.head).is_markup() {
                document.markup = None;
            }
        }
        if let Some(markup) = &mut document.markup {
            markup.extend_from_slice(bytes);
            LimitReached::check("dicom_markup", markup.len(), most_markup)?;
        }
        Ok(())
    }
}

impl Class {
    fn of(uid: &str) -> Option<Self> {
        match uid.strip_prefix(ENCAPSULATED)? {
            "1" => Some(Self::Pdf),
            "2" => Some(Self::Cda),
            "3" => Some(Self::Stl),
            "4" => Some(Self::Obj),
            "5" => Some(Self::Mtl),
            _ => None,
        }
    }

    /// Models have no sign of their own.
    fn is_model(self) -> bool {
        match self {
            Self::Stl | Self::Obj | Self::Mtl => true,
            Self::Pdf | Self::Cda => false,
        }
    }

    fn holds(self, kind: Kind) -> bool {
        match self {
            Self::Pdf => matches!(kind, Kind::Pdf | Kind::PdfActive),
            Self::Cda => kind == Kind::Cda,
            Self::Stl => matches!(kind, Kind::Unknown | Kind::Text),
            Self::Obj | Self::Mtl => kind == Kind::Text,
        }
    }

    /// A binary STL counts its triangles, each of 50 bytes, behind 80 bytes of anything.
    fn fits(self, head: &[u8], length: u32) -> bool {
        let Self::Stl = self else {
            return true;
        };
        let count = head.get(80..).and_then(|rest| rest.first_chunk());
        let size = count
            .map(|count| u32::from_le_bytes(*count))
            .and_then(|count| count.checked_mul(50)?.checked_add(84));
        size == Some(length)
    }
}

/// The kind of markup, judged as a whole.
fn markup_kind(kind: Kind, markup: &[u8], tag: Tag, tell: &mut Tell<'_>) -> Result<Kind, Refusal> {
    let kind = match embedded::judge_xml(markup, false) {
        // A web page need not be well-formed; a rule lists it or not.
        Err(wrong) if kind == Kind::Html && wrong.weight < Weight::Firm => Kind::Html,
        Err(wrong) => {
            finding(tell, tag, wrong.weight, wrong.detail)?;
            return Ok(kind);
        }
        Ok(b"ClinicalDocument") => Kind::Cda,
        Ok(b"svg") => Kind::Svg,
        Ok(b"html") => Kind::Html,
        Ok(_) => Kind::Xml,
    };
    if embedded::runs(markup, matches!(kind, Kind::Html | Kind::Svg)) {
        return Ok(Kind::Script);
    }
    Ok(kind)
}

/// Programs and archives are refused at once, so that nothing more of them goes on.
fn judge_head(tag: Tag, head: &[u8], tell: &mut Tell<'_>) -> Result<(), Refusal> {
    let is_bulk = tag.group() == PIXELS;
    let Some((weight, detail)) = smuggled(head, is_bulk) else {
        return Ok(());
    };
    let kind = suspect(head, is_bulk);
    let unlisted = |rule: &Rule| kind.is_none_or(|kind| !rule.documents.contains(&kind));
    finding_of(tell, tag, weight, unlisted, detail)
}

/// Values in which anything can be.
fn holds_bytes(vr: VR) -> bool {
    matches!(
        vr,
        VR::OB | VR::OD | VR::OF | VR::OL | VR::OV | VR::OW | VR::UN | VR::UT
    )
}

fn is_document(tag: Tag, depth: usize) -> bool {
    tag == DOCUMENT && depth == 0
}

fn finding(
    tell: &mut Tell<'_>,
    tag: Tag,
    weight: Weight,
    detail: &'static str,
) -> Result<(), Refusal> {
    tell.finding(tag, (Level::Documents, weight), Reason::Embedded, detail)
}

/// As [`finding`], for what only some rules mind.
fn finding_of(
    tell: &mut Tell<'_>,
    tag: Tag,
    weight: Weight,
    minds: impl Fn(&Rule) -> bool,
    detail: &'static str,
) -> Result<(), Refusal> {
    let content = (Level::Documents, weight);
    tell.finding_of(tag, content, minds, Reason::Embedded, detail)
}

const SOP_CLASS: Tag = Tag(0x0008, 0x0016);
const DOCUMENT: Tag = Tag(0x0042, 0x0011);
const MIME_TYPE: Tag = Tag(0x0042, 0x0012);
const DOCUMENT_LENGTH: Tag = Tag(0x0042, 0x0015);
const PIXELS: u16 = 0x7fe0;
/// Encapsulated PDF, CDA, STL, OBJ and MTL Storage, but for their last number.
const ENCAPSULATED: &str = "1.2.840.10008.5.1.4.1.1.104.";
