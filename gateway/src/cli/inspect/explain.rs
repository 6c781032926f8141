//! `lazaret inspect hl7 --explain`: a message as a tree, with what is wrong at its place.
//!
//! In: a message and what was said of it. Out: text. Values are masked unless the operator asks for them:
//! shown are delimiters, the names of segments, the type and version of the message, and codes that HL7 defines.
//! Of a long message only the segments around findings are shown, unless all are asked for. Rendering is pure.

use std::collections::BTreeSet;
use std::fmt::Write;

use protocol_inspect::hl7::tree::{self, Found, Node, NodeKind};
use protocol_inspect::hl7::{Judged, Layout, Place};

use super::super::units;
use super::judged::told;
use super::text::{masked, shown, visible};

/// How much is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Options {
    /// Values as they are.
    pub(super) values: bool,
    /// All segments and all their fields, however many there are.
    pub(super) all: bool,
    pub(super) colour: bool,
}

/// The trees of the messages of one file.
pub(super) struct Trees {
    layout: Layout,
    options: Options,
    text: String,
    drawn: usize,
    left_out: usize,
}

impl Trees {
    pub(super) fn new(layout: Layout, options: Options) -> Self {
        Self {
            layout,
            options,
            text: String::new(),
            drawn: 0,
            left_out: 0,
        }
    }

    /// One more message. Of many, only those with findings are drawn, and not too many of them.
    pub(super) fn add(&mut self, judged: &Judged<'_>) {
        let report = &judged.report;
        if self.layout != Layout::Single {
            let quiet = report.refusal.is_none() && report.warnings.is_empty();
            if !self.options.all && (quiet || self.drawn == MOST_MESSAGES) {
                self.left_out += 1;
                return;
            }
            let kind = visible(&report.kind);
            let line = format!("message at byte {}  {kind}", judged.offset);
            let _ = writeln!(self.text, "\n{}", line.trim_end());
        }
        self.drawn += 1;
        let _ = writeln!(self.text, "\n{}", render(judged, self.options));
    }

    pub(super) fn finish(mut self) -> String {
        if self.left_out > 0 {
            let more = units::counted(self.left_out, "other message");
            let _ = writeln!(self.text, "… {more} (--all shows them)");
        }
        self.text
    }
}

/// Something that was found, and where.
struct Mark {
    refused: bool,
    text: String,
    found: Option<Found>,
}

/// The tree of one message.
fn render(judged: &Judged<'_>, options: Options) -> String {
    let mut tree = Tree {
        message: &judged.content,
        options,
        marks: marks(judged),
        text: String::new(),
        gap: 0,
        lines: 0,
        hidden: 0,
    };
    tree.draw();
    tree.text
}

fn marks(judged: &Judged<'_>) -> Vec<Mark> {
    let report = &judged.report;
    let refusal = report
        .refusal
        .iter()
        .map(|r| (true, r.reason, &r.location, &r.detail));
    let warnings = report
        .warnings
        .iter()
        .map(|w| (false, w.reason, &w.location, &w.detail));
    let findings: Vec<_> = refusal.chain(warnings).collect();
    // What names no place is nowhere in the message.
    let place = |location: &String| location.parse().unwrap_or_default();
    let places: Vec<Place> = findings.iter().map(|(.., l, _)| place(l)).collect();
    let found = tree::locate(&judged.content, &places);
    findings
        .into_iter()
        .zip(found)
        .map(|((refused, reason, location, detail), found)| Mark {
            refused,
            text: told(reason.code(), location, detail),
            found,
        })
        .collect()
}

/// A finding beside its place.
pub(super) fn marked(refused: bool, text: &str, colour: bool) -> String {
    let (word, begin) = if refused {
        ("refuse", "\u{1b}[1;31m")
    } else {
        ("warning", "\u{1b}[33m")
    };
    let (begin, end) = if colour {
        (begin, "\u{1b}[0m")
    } else {
        ("", "")
    };
    format!("{begin}<-- {word}  {text}{end}")
}

struct Tree<'t> {
    message: &'t [u8],
    options: Options,
    marks: Vec<Mark>,
    text: String,
    /// Segments that were left out since the last line.
    gap: usize,
    /// Lines of the present segment.
    lines: usize,
    /// Valued parts of the present segment that were left out.
    hidden: usize,
}

impl Tree<'_> {
    fn draw(&mut self) {
        let kept = self.kept();
        let (mut number, mut segments, mut keeps) = (0, 0, true);
        let marked: BTreeSet<usize> = self
            .marks
            .iter()
            .filter_map(|m| Some(m.found?.node))
            .collect();
        let message = self.message;
        tree::visit(message, |node| {
            let is_marked = marked.contains(&number);
            if node.kind <= NodeKind::Segment {
                self.end_hidden();
                keeps = kept.as_ref().is_none_or(|kept| kept.contains(&segments));
                segments += 1;
                self.lines = 0;
                if keeps {
                    self.end_gap();
                    self.line(node, number);
                } else {
                    self.gap += 1;
                }
            } else if keeps {
                let valued = !node.range.is_empty();
                if is_marked || (valued && (self.options.all || self.lines < MOST_LINES)) {
                    self.end_hidden();
                    self.line(node, number);
                } else if valued && node.is_leaf {
                    self.hidden += 1;
                }
            }
            number += 1;
        });
        self.end_hidden();
        self.end_gap();
        let nowhere: Vec<usize> = (0..self.marks.len())
            .filter(|i| self.marks.get(*i).is_some_and(|m| m.found.is_none()))
            .collect();
        for index in nowhere {
            self.mark(index, "");
            self.text.push('\n');
        }
    }

    /// The segments to show of a long message: the header, and those around findings.
    fn kept(&self) -> Option<BTreeSet<usize>> {
        let segments = self.message.split(|b| *b == b'\r').count();
        if self.options.all || segments <= MOST_SEGMENTS {
            return None;
        }
        let mut kept = BTreeSet::from([0]);
        for found in self.marks.iter().filter_map(|mark| mark.found) {
            kept.extend(found.segment.saturating_sub(1)..=found.segment + 1);
        }
        Some(kept)
    }

    fn line(&mut self, node: &Node, number: usize) {
        let label = label(node);
        let mut line = format!("{label:<WIDTH$}{:<8}", node.data_type);
        if node.is_leaf {
            let bytes = self.message.get(node.range.clone()).unwrap_or_default();
            if bytes.is_empty() {
                // A place for a finding; there is nothing to show.
            } else if node.is_public || self.options.values {
                line.push_str(&shown(bytes));
            } else {
                line.push_str(&masked(bytes));
            }
        }
        self.text.push_str(line.trim_end());
        let here = |mark: &Mark| mark.found.is_some_and(|found| found.node == number);
        let marks: Vec<usize> = (0..self.marks.len())
            .filter(|i| self.marks.get(*i).is_some_and(here))
            .collect();
        for (count, index) in marks.into_iter().enumerate() {
            // The second finding at one place has a line of its own.
            let before = if count == 0 { "  " } else { "\n    " };
            self.mark(index, before);
        }
        self.text.push('\n');
        self.lines += 1;
    }

    fn mark(&mut self, index: usize, before: &str) {
        let Some(mark) = self.marks.get(index) else {
            return;
        };
        self.text.push_str(before);
        let said = marked(mark.refused, &mark.text, self.options.colour);
        self.text.push_str(&said);
    }

    fn end_hidden(&mut self) {
        let hidden = std::mem::take(&mut self.hidden);
        if hidden > 0 {
            let _ = writeln!(self.text, "  … {hidden} more values (--all shows them)");
        }
    }

    fn end_gap(&mut self) {
        let gap = std::mem::take(&mut self.gap);
        if gap > 0 {
            let ending = if gap == 1 { "" } else { "s" };
            let _ = writeln!(
                self.text,
                "… {gap} segment{ending} without findings (--all shows them)"
            );
        }
    }
}

fn label(node: &Node) -> String {
    let depth = match node.kind {
        NodeKind::Stray => return "(no segment)".to_owned(),
        NodeKind::Segment => 0,
        NodeKind::Field => 1,
        NodeKind::Repetition => 2,
        NodeKind::Component => 2 + usize::from(node.place.repetition > 0),
        NodeKind::Subcomponent => 3 + usize::from(node.place.repetition > 0),
    };
    format!("{}{}  ", "  ".repeat(depth), node.place)
}

/// Most messages of a file that are drawn.
const MOST_MESSAGES: usize = 100;

/// Width of the places.
const WIDTH: usize = 28;

/// Longest message that is shown whole, in segments.
const MOST_SEGMENTS: usize = 50;

/// Most lines of one segment, findings not counted.
const MOST_LINES: usize = 200;

#[cfg(test)]
mod tests {
    use protocol_inspect::hl7::{Offline, Profile};

    use super::*;

    const TEXT: &str = "MSH|^~\\&|ECG|CARDIO|HIS|CHU|20260101||ORU^R01^ORU_R01|1|P|2.5\r\
                        PID|1||4711^^^KH&1.2.3&ISO~12^^^KH||Muster^Eva\x1b[2J||19xx0101|F\r\
                        ZPD|secret\r\
                        OBR|1||F|1^x|||20260101\rOBX|1|NM|1^x||12a||||||F\rOBX|2|CE|1^x||a^b||||||q\r";

    fn explained(text: &str, options: Options) -> String {
        let profile = Profile::strict();
        let offline = Offline {
            profile,
            ..Offline::default()
        };
        let judged: Vec<_> = offline.judge(text.as_bytes()).collect();
        render(&judged[0], options)
    }

    fn masked_tree(text: &str) -> String {
        explained(text, Options::default())
    }

    #[test]
    fn values_are_masked() {
        let text = TEXT.replace("\u{1b}", "");
        let shown = masked_tree(&text);
        for secret in [
            "4711", "Muster", "Eva", "0101", "1.2.3", "secret", "12a", "CARDIO",
        ] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn values_are_shown_and_findings_coloured() {
        let options = Options {
            values: true,
            colour: true,
            ..Options::default()
        };
        let shown = explained(TEXT, options);
        assert!(!shown.contains("\u{1b}[2J"));
        insta::assert_snapshot!(shown.replace('\u{1b}', "ESC"));
    }

    #[test]
    fn of_long_messages_the_surroundings_are_shown() {
        let row = |from: usize| -> String {
            let obx = |n| format!("OBX|1|NM|1^x|{n}|12|kg|||||F\r");
            (from..from + 100).map(obx).collect()
        };
        let text = TEXT.replace('\u{1b}', "").replace("12a", "12");
        let long = format!("{text}{}OBX|1|NM|1^x||1-2|kg|||||F\r{}", row(3), row(200));
        let shown = masked_tree(&long);
        assert!(shown.contains("… 98 segments without findings (--all shows them)"));
        assert!(shown.lines().count() < 120, "{shown}");
        let all = explained(
            &long,
            Options {
                all: true,
                ..Options::default()
            },
        );
        assert!(!all.contains('…') && all.matches("\nOBX").count() == 203);
        // As is a long segment.
        let wide = format!("{text}ZZZ{}|\u{7f}\r", "|x".repeat(300_000));
        let shown = masked_tree(&wide);
        assert!(shown.ends_with(
            "  … 299801 more values (--all shows them)\n  ZZZ-300001                        <1 byte>  \
             <-- refuse  encoding: ZZZ-300001 (byte 600212): has a control byte\n"
        ));
        assert!(shown.lines().count() < 300);
    }

    #[test]
    fn of_many_messages_those_with_findings_are_shown() {
        let good = "MSH|^~\\&|A|B|C|D|20260101||ACK|1|P|2.5\rMSA|AA|1\r";
        let bad = good.replace("|1|P|", "||P|");
        let offline = Offline {
            layout: Layout::Sequence,
            ..Offline::default()
        };
        let drawn = |text: &str, all| {
            let options = Options {
                all,
                ..Options::default()
            };
            let mut trees = Trees::new(offline.layout, options);
            offline
                .judge(text.as_bytes())
                .for_each(|judged| trees.add(&judged));
            trees.finish()
        };
        let text = format!("{good}{bad}{good}");
        let some = drawn(&text, false);
        let begin = format!("\nmessage at byte {}  ACK\n\nMSH\n", good.len());
        assert!(some.starts_with(&begin), "{some}");
        assert!(some.ends_with("\n… 2 other messages (--all shows them)\n"));
        assert_eq!(drawn(&text, true).matches("message at byte").count(), 3);
        let many = drawn(&bad.repeat(130), false);
        assert_eq!(many.matches("message at byte").count(), MOST_MESSAGES);
    }

    #[test]
    fn what_is_no_message_is_shown_too() {
        let cut = TEXT.split("OBR").next().unwrap().replace('\u{1b}', "");
        insta::assert_snapshot!(masked_tree(&format!("{cut}\r{cut}nothing")));
        assert!(masked_tree("").contains("does not begin with MSH"));
        // What is missing at the end is told at the end.
        let text = cut.replace("19xx", "1970");
        let end = masked_tree(&text).lines().last().unwrap().to_owned();
        assert!(end.starts_with("<-- refuse  structure: "), "{end}");
    }
}
