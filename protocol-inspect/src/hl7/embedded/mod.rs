//! Documents inside of fields: what they are by their bytes, and whether the rule carries such.
//!
//! In: a message before one rule. Out: findings, each at the value or the byte; never what a document says.
//! ED is decoded piece by piece and searched as it passes; RP is read as a URL; text that is XML or Base64 of a document
//! is judged as what it is. XML must be well-formed and within bounds, and has no document type.
//! Documents inside of documents (files in a PDF, entries of an archive, Base64 in XML) are not looked into,
//! so that the kinds that are made to carry others are refused unless a rule lists them.
//! Knows nothing of pixels, pages and schemas, and nothing of markup in text that is no document.

mod declared;
mod decode;
mod pointer;

use std::ops::ControlFlow;

use self::decode::Encoding;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::judge::Case;
use super::place::Place;
use super::policy::Level;
use super::segment::Segment;
use super::stops::Stops;
use crate::Reason;
use crate::embedded::{self, Group, Scanner, Seen};

pub use crate::embedded::Kind;

/// Judges all documents of a message by what the rule says of them.
pub(crate) fn judge(case: &Case<'_>, findings: &mut Findings) {
    let message = case.message;
    let mut stops: Option<Stops<'_, 2>> = None;
    for segment in message.segments() {
        let Some(field) = field_of(segment.name()) else {
            continue;
        };
        let mut judge = Judge {
            case,
            segment,
            findings,
        };
        let separator = segment.delimiters().field;
        if segment.name() == "OBX" {
            let stops =
                stops.get_or_insert_with(|| Stops::new(message.bytes(), [separator, b'\r']));
            if let Some((value_type, value)) = observed(segment, message.bytes(), stops) {
                judge.observation(value_type, value);
            }
        } else {
            let whole = Part {
                bytes: segment.bytes(),
                offset: segment.offset(),
            };
            if let Some(value) = whole.split(separator).nth(field) {
                judge.documents(value);
            }
        }
        if findings.firm.is_some() {
            return;
        }
    }
}

/// OBX-2 and OBX-5, if the segment is so long; `stops` are those of the message, not yet behind the segment.
fn observed<'a>(
    segment: &Segment<'_>,
    bytes: &'a [u8],
    stops: &mut Stops<'_, 2>,
) -> Option<(&'a [u8], Part<'a>)> {
    let end = segment.offset().saturating_add(segment.bytes().len());
    stops.seek(segment.offset());
    // Where the name and OBX-1 to OBX-4 end. OBX-5 may be long.
    let mut ends = [end; 5];
    for slot in &mut ends {
        *slot = stops.next().min(end);
        if *slot == end {
            break;
        }
    }
    let [_, one, two, _, four] = ends;
    let offset = four.saturating_add(1);
    let rest = bytes.get(offset..end).unwrap_or_default();
    let length = memchr::memchr(segment.delimiters().field, rest).unwrap_or(rest.len());
    let value = Part {
        bytes: rest.get(..length).unwrap_or_default(),
        offset,
    };
    (four < end).then(|| {
        (
            bytes.get(one.saturating_add(1)..two).unwrap_or_default(),
            value,
        )
    })
}

/// Where documents stand: OBX-5, and the fields of type ED of all versions.
fn field_of(segment: &str) -> Option<usize> {
    match segment {
        "OBX" => Some(5),
        "CER" => Some(6),
        "STF" => Some(41),
        "UAC" => Some(2),
        _ => None,
    }
}

/// A part of a message, and where it begins.
#[derive(Clone, Copy, Default)]
struct Part<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Part<'a> {
    fn split(self, separator: u8) -> impl Iterator<Item = Self> {
        let mut rest = Some(self);
        std::iter::from_fn(move || {
            let Part { bytes, offset } = rest?;
            let Some(at) = memchr::memchr(separator, bytes) else {
                return rest.take();
            };
            let next = at.saturating_add(1);
            rest = bytes.get(next..).map(|bytes| Part {
                bytes,
                offset: offset.saturating_add(next),
            });
            bytes.get(..at).map(|bytes| Part { bytes, offset })
        })
    }
}

/// The documents of one segment before one rule.
struct Judge<'j, 'm> {
    case: &'j Case<'m>,
    segment: &'j Segment<'m>,
    findings: &'j mut Findings,
}

impl Judge<'_, '_> {
    fn observation(&mut self, value_type: &[u8], value: Part<'_>) {
        // Readers are as lenient as that, and take one part or another of what should not be divided.
        let delimiters = *self.segment.delimiters();
        let is_plain = value_type.iter().all(u8::is_ascii_uppercase);
        let is = |name: &[u8]| {
            // No delimiter is a letter.
            if is_plain {
                return value_type == name;
            }
            let mut parts = value_type.split(|b| delimiters.contains(*b));
            // What is masked in another character set may be nothing to who decodes it.
            parts.any(|part| {
                let text = part.iter().filter(|b| b.is_ascii_graphic());
                text.map(u8::to_ascii_uppercase).eq(name.iter().copied())
            })
        };
        if is(b"ED") {
            self.documents(value);
        } else if is(b"RP") {
            self.pointers(value);
        } else {
            self.text(value);
            self.parts(value);
        }
    }

    //= HL7 v2.5.1 2.A.24
    fn documents(&mut self, field: Part<'_>) {
        let delimiters = *self.segment.delimiters();
        for repetition in field.split(delimiters.repetition) {
            let mut components = repetition.split(delimiters.component);
            let mut next = || components.next().unwrap_or_default();
            let (_, declared, subtype, encoding, data) = (next(), next(), next(), next(), next());
            if let Some(more) = components.find(|part| !part.bytes.is_empty()) {
                // A reader that takes the last component would get another document than this.
                self.add(Weight::Content, more.offset, "has more behind its document");
            }
            if data.bytes.is_empty() || data.bytes == b"\"\"" {
                continue;
            }
            let encoding = match encoding.bytes {
                name if name.eq_ignore_ascii_case(b"Base64") => Encoding::Base64,
                name if name.eq_ignore_ascii_case(b"Hex") => Encoding::Hex,
                name if name.eq_ignore_ascii_case(b"A") => Encoding::Plain,
                _ => {
                    let detail = "is not an encoding that is carried (A, Hex or Base64)";
                    self.add(Weight::Content, encoding.offset, detail);
                    continue;
                }
            };
            if let Some(kind) = self.document(data, encoding) {
                let contradiction = if declared::is_of_subtype(subtype.bytes, kind) == Some(false) {
                    Some(subtype)
                } else {
                    (!declared::is_of_type(declared.bytes, kind)).then_some(declared)
                };
                if let Some(part) = contradiction {
                    let detail = "names another kind of document than it holds";
                    self.add(Weight::Strict, part.offset, detail);
                }
            }
        }
    }

    /// Judges one document; its kind, if it could be read.
    fn document(&mut self, data: Part<'_>, encoding: Encoding) -> Option<Kind> {
        let most = self.case.policy.limits.hl7_embedded;
        let delimiters = *self.segment.delimiters();
        self.findings.count(data.bytes.len());
        if encoding == Encoding::Plain && self.undeclared(data) {
            return self.document(data, Encoding::Base64);
        }
        let mut scanner = Scanner::new();
        let read = decode::document(data, encoding, &delimiters, |piece| {
            scanner.push(piece);
            if scanner.length() > most {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        let seen = scanner.finish();
        if seen.length > most {
            self.add(Weight::Firm, data.offset, "is larger than `hl7_embedded`");
            return None;
        }
        if let Err(wrong) = read {
            let weight = if wrong.harmless {
                Weight::Strict
            } else {
                Weight::Content
            };
            self.add(weight, wrong.offset, wrong.detail);
            if !wrong.harmless {
                // What it began with still says whether it may be there at all.
                self.carried(data.offset, seen.kind);
                return None;
            }
        }
        if seen.length == 0 {
            return None;
        }
        let kind = if seen.kind.is_markup() {
            let mut whole = Vec::new();
            let _ = decode::document(data, encoding, &delimiters, |piece| {
                whole.extend_from_slice(piece);
                ControlFlow::Continue(())
            });
            self.findings.count(whole.len());
            self.markup(data.offset, &whole, seen.kind, encoding == Encoding::Plain)
        } else {
            seen.kind
        };
        if kind == Kind::Text && encoding == Encoding::Plain {
            self.declarations(data);
        }
        self.carried(data.offset, kind);
        self.inside(data.offset, seen);
        Some(kind)
    }

    /// Whether the rule carries documents of this kind.
    fn carried(&mut self, offset: usize, kind: Kind) {
        let listed = &self.case.rule.embedded.kinds;
        let group = kind.group();
        if listed.contains(&kind) || (listed.is_empty() && group == Group::Harmless) {
            return;
        }
        let weight = match group {
            Group::Executable => Weight::Firm,
            Group::Harmless | Group::Active | Group::Archive => Weight::Content,
            Group::Unknown if listed.is_empty() => Weight::Strict,
            Group::Unknown => Weight::Content,
        };
        self.add(weight, offset, kind.complaint());
    }

    /// What a document carries besides what it shows.
    fn inside(&mut self, offset: usize, seen: Seen) {
        let lists = |kind| self.case.rule.embedded.kinds.contains(&kind);
        let (active, zip) = (lists(Kind::PdfActive), lists(Kind::Zip));
        if seen.trailing_archive && !zip {
            let detail = "has a ZIP archive behind its document";
            self.add(Weight::Content, offset, detail);
        }
        if seen.opaque && !active {
            let detail = "is a PDF with compressed or encrypted parts that cannot be searched";
            self.add(Weight::Strict, offset, detail);
        }
        if seen.opens && !active {
            let detail = "is a PDF that names what to do when it is opened";
            self.add(Weight::Hint, offset, detail);
        }
    }

    /// Judges markup as a whole; its kind.
    fn markup(&mut self, offset: usize, bytes: &[u8], kind: Kind, charset_checked: bool) -> Kind {
        let mut letters = bytes.trim_ascii_start();
        if kind == Kind::Html
            && let Some((start, rest)) = letters.split_at_checked(PAGE.len())
            && start.eq_ignore_ascii_case(PAGE)
        {
            // The only document type that declares nothing.
            letters = rest;
        }
        let kind = match embedded::judge_xml(letters, charset_checked) {
            // A web page need not be well-formed; a rule lists it or not.
            Err(wrong) if kind == Kind::Html && wrong.weight < Weight::Firm => Kind::Html,
            Err(wrong) => {
                self.add(wrong.weight, offset, wrong.detail);
                return kind;
            }
            Ok(b"ClinicalDocument") => Kind::Cda,
            Ok(b"svg") => Kind::Svg,
            Ok(b"html") => Kind::Html,
            Ok(_) => Kind::Xml,
        };
        if embedded::runs(letters, matches!(kind, Kind::Html | Kind::Svg)) {
            Kind::Script
        } else {
            kind
        }
    }

    fn pointers(&mut self, field: Part<'_>) {
        let delimiters = *self.segment.delimiters();
        for repetition in field.split(delimiters.repetition) {
            let mut components = repetition.split(delimiters.component);
            let value = components.next().unwrap_or_default();
            if value.bytes.is_empty() || value.bytes == b"\"\"" {
                continue;
            }
            self.findings.count(value.bytes.len());
            let mut text = Vec::new();
            let _ = decode::unescape(value, &delimiters, |_, piece| {
                text.extend_from_slice(piece);
                if text.len() > pointer::LONGEST {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            let said = if text.len() > pointer::LONGEST {
                Err("is a pointer of more than 2048 bytes")
            } else {
                pointer::judge(&text, &self.case.rule.embedded.hosts)
            };
            if let Err(detail) = said {
                self.add(Weight::Content, value.offset, detail);
            }
        }
    }

    /// Text may be a document too: XML as it is, or Base64 of anything.
    fn text(&mut self, value: Part<'_>) {
        let delimiters = *self.segment.delimiters();
        let Some(&first) = value.bytes.trim_ascii_start().first() else {
            return;
        };
        if first == b'<' || first == delimiters.escape {
            let head = self.head(value);
            let letters = head.trim_ascii_start();
            let xml = [b"<?xml".as_slice(), b"<ClinicalDocument"];
            let begins = |word: &&[u8]| letters.starts_with(word);
            if xml.iter().any(begins) || letters.starts_with(b"<!DOCTYPE") {
                self.document(value, Encoding::Plain);
                return;
            }
        } else if self.undeclared(value) {
            self.document(value, Encoding::Base64);
            return;
        }
        if memchr::memchr2(b'<', delimiters.escape, value.bytes).is_some() {
            self.declarations(value);
        }
    }

    /// A document is one too where the type says that none is expected: in a component of a code, for instance.
    fn parts(&mut self, value: Part<'_>) {
        let delimiters = *self.segment.delimiters();
        if value.bytes.len() <= SHORTEST_BASE64
            || memchr::memchr2(delimiters.component, delimiters.subcomponent, value.bytes).is_none()
        {
            return;
        }
        for repetition in value.split(delimiters.repetition) {
            for component in repetition.split(delimiters.component) {
                for part in component.split(delimiters.subcomponent) {
                    // Where the value begins, it was looked at as a whole.
                    if part.offset > value.offset && self.undeclared(part) {
                        self.document(part, Encoding::Base64);
                    }
                }
            }
        }
    }

    /// The first bytes of a text.
    fn head(&mut self, value: Part<'_>) -> Vec<u8> {
        let mut head = Vec::new();
        let _ = decode::unescape(value, self.segment.delimiters(), |_, piece| {
            let room = SNIFFED.saturating_sub(head.len()).min(piece.len());
            head.extend_from_slice(piece.get(..room).unwrap_or_default());
            if head.len() < SNIFFED {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        head
    }

    /// Whether a text begins as Base64 of something that is no text.
    fn undeclared(&mut self, value: Part<'_>) -> bool {
        let Some(start) = value.bytes.get(..SHORTEST_BASE64) else {
            return false;
        };
        let is_base64 = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
        if !start.iter().all(is_base64) {
            return false;
        }
        let mut head = Vec::new();
        let start = Part {
            bytes: start,
            ..value
        };
        let _ = decode::document(
            start,
            Encoding::Base64,
            self.segment.delimiters(),
            |piece| {
                head.extend_from_slice(piece);
                ControlFlow::Continue(())
            },
        );
        let kind = embedded::recognise(&head);
        !matches!(kind, Kind::Unknown | Kind::Text) && embedded::is_certain(&head, kind)
    }

    /// No document type in any text, whatever stands before it.
    fn declarations(&mut self, value: Part<'_>) {
        self.findings.count(value.bytes.len());
        let mut matched = [0_usize; DECLARATIONS.len()];
        let delimiters = *self.segment.delimiters();
        let mut found = None;
        let _ = decode::unescape(value, &delimiters, |offset, piece| {
            for &byte in piece {
                for (word, matched) in DECLARATIONS.iter().zip(&mut matched) {
                    *matched = match word.get(*matched) {
                        Some(expected) if *expected == byte => matched.saturating_add(1),
                        Some(_) | None => usize::from(byte == b'<'),
                    };
                    if *matched == word.len() {
                        found = Some(offset);
                        return ControlFlow::Break(());
                    }
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(offset) = found {
            self.add(Weight::Firm, offset, embedded::DOCTYPE);
        }
    }

    fn add(&mut self, weight: Weight, offset: usize, detail: &'static str) {
        if self.findings.wants(weight, Level::Embedded) {
            // Looking for the place walks over the segment.
            self.findings
                .count(offset.saturating_sub(self.segment.offset()));
            self.findings.add(Finding::new(
                weight,
                Reason::Embedded,
                Place::of(self.segment, offset),
                detail,
                ErrorCode::DataType,
                Fault::Content,
            ));
        }
    }
}

/// The document type of web pages.
const PAGE: &[u8] = b"<!doctype html>";

/// What begins a document type.
const DECLARATIONS: [&[u8]; 2] = [b"<!DOCTYPE", b"<!ENTITY"];

/// Bytes of a text in which the beginning of XML is looked for.
const SNIFFED: usize = 256;

/// Shortest text without blanks that is taken for Base64: no word has so many letters.
const SHORTEST_BASE64: usize = 88;

#[cfg(test)]
mod tests;
