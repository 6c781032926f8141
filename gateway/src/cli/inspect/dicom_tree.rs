//! `lazaret inspect dicom --explain`: a file as a tree, with what is wrong at its place.
//!
//! In: the bytes of a file or stream and the reports on it. Out: text. Values are masked unless the operator asks for them:
//! shown is how the object is encoded and what kind it is. Of a long file only the beginning and what has findings is shown,
//! unless all is asked for. Rendering is pure.

use std::fmt::Write;

use protocol_inspect::Report;
use protocol_inspect::dicom::tree::{self, Node, NodeKind};

use super::super::units;
use super::explain::{Options, marked};
use super::judged::told;
use super::text::{masked, shown};

/// The tree of a file.
pub(super) fn render(bytes: &[u8], raw: bool, reports: &[Report], options: Options) -> String {
    let mut tree = Tree {
        options,
        marks: marks(reports),
        text: String::from("\n"),
        lines: 0,
        hidden: 0,
    };
    let mut line = |node: &Node<'_>| tree.node(node);
    if raw {
        tree::visit_stream(bytes, &mut line);
    } else {
        tree::visit_file(bytes, &mut line);
    }
    tree.finish()
}

/// Something that was found, and where.
struct Mark {
    refused: bool,
    location: String,
    text: String,
    drawn: bool,
}

fn marks(reports: &[Report]) -> Vec<Mark> {
    let mut marks = Vec::new();
    for report in reports {
        let refusal = report.refusal.iter();
        let refused = refusal.map(|r| (true, r.reason, &r.location, &r.detail));
        let warnings = report.warnings.iter();
        let warned = warnings.map(|w| (false, w.reason, &w.location, &w.detail));
        for (refused, reason, location, detail) in refused.chain(warned) {
            marks.push(Mark {
                refused,
                location: location.clone(),
                text: told(reason.code(), location, detail),
                drawn: false,
            });
        }
    }
    marks
}

struct Tree {
    options: Options,
    marks: Vec<Mark>,
    text: String,
    lines: usize,
    hidden: usize,
}

impl Tree {
    fn node(&mut self, node: &Node<'_>) {
        let here: Vec<usize> = (0..self.marks.len())
            .filter(|index| {
                let mark = self.marks.get(*index);
                mark.is_some_and(|mark| !mark.drawn && mark.location == node.location)
            })
            .collect();
        if !self.options.all && self.lines >= MOST_LINES && here.is_empty() {
            self.hidden += 1;
            return;
        }
        self.end_hidden();
        self.lines += 1;
        let mut line = format!("{}{}", "  ".repeat(node.depth.min(DEEPEST)), label(node));
        if !node.value.is_empty() {
            let value = if node.is_public || self.options.values {
                plain(node)
            } else {
                masked(node.value)
            };
            line = format!("{line:<WIDTH$}{value}");
        }
        self.text.push_str(line.trim_end());
        for (count, index) in here.into_iter().enumerate() {
            let before = if count == 0 { "  " } else { "\n    " };
            self.mark(index, before);
        }
        self.text.push('\n');
    }

    fn mark(&mut self, index: usize, before: &str) {
        if let Some(mark) = self.marks.get_mut(index) {
            mark.drawn = true;
            let said = marked(mark.refused, &mark.text, self.options.colour);
            self.text.push_str(before);
            self.text.push_str(&said);
        }
    }

    fn end_hidden(&mut self) {
        let hidden = std::mem::take(&mut self.hidden);
        if hidden > 0 {
            let more = units::counted(hidden, "more element");
            // A String takes all that is written to it.
            let _ = writeln!(self.text, "  … {more} (--all shows them)");
        }
    }

    /// What is said of a place that is not there, such as a missing element, stands at the end.
    fn finish(mut self) -> String {
        self.end_hidden();
        for index in 0..self.marks.len() {
            if self.marks.get(index).is_some_and(|mark| !mark.drawn) {
                self.mark(index, "");
                self.text.push('\n');
            }
        }
        self.text
    }
}

/// `(0010,0010) PN PatientName`; inside of sequences the last step of the path.
fn label(node: &Node<'_>) -> String {
    let last = node.location.rsplit('.').next().unwrap_or_default();
    match node.kind {
        NodeKind::Pdu => node.name.to_owned(),
        NodeKind::Preamble => format!("{} of {} bytes", node.name, node.value.len()),
        NodeKind::Item | NodeKind::Fragment => format!("{last} {}", node.name),
        NodeKind::Element | NodeKind::Sequence => format!("{last} {} {}", node.vr, node.name),
        NodeKind::Rest => node.name.to_owned(),
    }
}

/// Numbers as numbers, text as text; of many only the first.
fn plain(node: &Node<'_>) -> String {
    if node.kind == NodeKind::Preamble && node.value.iter().all(|byte| *byte == 0) {
        return "zeros".to_owned();
    }
    let width = match node.vr {
        "US" | "SS" => 2,
        "UL" | "SL" => 4,
        _ => {
            let value = node.value.trim_ascii_end();
            return shown(value.strip_suffix(&[0]).unwrap_or(value));
        }
    };
    let number = |bytes: &[u8]| {
        let digits = bytes.iter().copied();
        let digits: Vec<u8> = if node.big_endian {
            digits.collect()
        } else {
            digits.rev().collect()
        };
        let value = digits
            .iter()
            .fold(0, |value, byte| value << 8 | u64::from(*byte));
        value.to_string()
    };
    let all: Vec<String> = node
        .value
        .chunks(width)
        .take(MOST_NUMBERS)
        .map(number)
        .collect();
    let more = node.value.len() > width * MOST_NUMBERS;
    format!("{}{}", all.join("\\"), if more { "\\…" } else { "" })
}

/// Where values begin.
const WIDTH: usize = 48;
/// Most lines that are drawn without a finding.
const MOST_LINES: usize = 400;
/// Deeper nesting is drawn as if it were this deep.
const DEEPEST: usize = 32;
const MOST_NUMBERS: usize = 8;

#[cfg(test)]
mod tests {
    use protocol_inspect::{Base, dicom};

    use super::*;

    fn element(group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len()).unwrap().to_le_bytes();
        let tag = [group.to_le_bytes(), element.to_le_bytes()].concat();
        [&tag, &vr[..], &length, value].concat()
    }

    fn file() -> Vec<u8> {
        let item = element(0x0008, 0x1155, b"UI", b"1.2.3x");
        let length = u8::try_from(item.len()).unwrap();
        let sequence = [
            &[0x08, 0, 0x40, 0x11, b'S', b'Q', 0, 0, length + 8, 0, 0, 0][..],
            &[0xfe, 0xff, 0x00, 0xe0, length, 0, 0, 0],
            &item,
        ];
        [
            vec![0; 128],
            b"DICM".to_vec(),
            element(0x0002, 0x0010, b"UI", b"1.2.840.10008.1.2.1\0"),
            element(0x0008, 0x0060, b"CS", b"US"),
            sequence.concat(),
            element(0x0010, 0x0010, b"PN", b"DOE^JANE"),
            element(0x0028, 0x0010, b"US", &[0, 2]),
        ]
        .concat()
    }

    #[test]
    fn values_are_masked_and_findings_stand_at_their_place() {
        let bytes = file();
        let reports = dicom::inspect_offline(&bytes, false, Base::Standard);
        let text = render(&bytes, false, &reports, Options::default());
        assert!(!text.contains("DOE"));
        insta::assert_snapshot!(text);
        let values = Options {
            values: true,
            ..Options::default()
        };
        assert!(render(&bytes, false, &reports, values).contains("DOE^JANE"));
    }

    #[test]
    fn of_a_long_file_only_the_beginning_is_drawn() {
        let mut bytes = file();
        for number in 0..1_000_u16 {
            bytes.extend(element(0x0029, 0x1000 + number, b"LO", b"X "));
        }
        let some = render(&bytes, false, &[], Options::default());
        assert!(some.contains("more elements (--all shows them)"), "{some}");
        let all = Options {
            all: true,
            ..Options::default()
        };
        assert!(render(&bytes, false, &[], all).lines().count() > 1_000);
        // What is no DICOM is drawn as far as it leads.
        let cut = render(&bytes[..150], false, &[], Options::default());
        assert!(cut.lines().count() <= 4, "{cut}");
    }
}
