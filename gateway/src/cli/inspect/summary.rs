//! What is said of many files together: how many pass, why the others do not, and how fast it went.
//!
//! In: each message's report, file by file. Out: a table, or one object. Rendering is pure; the time is an argument.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol_inspect::Report;
use serde::Serialize;

use super::super::table::Table;
use super::super::units;
use super::judged::{Judged, Verdict, general};
use super::text::visible;

/// Counts over files; those of single files are added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    accepted: Count,
    refused: Count,
    /// Messages that are accepted with warnings.
    warned: u64,
    /// Files that could not be read.
    pub(super) unreadable: u64,
    /// Files that were not judged: hidden, or no files.
    pub(super) skipped: u64,
    bytes: u64,
    reasons: BTreeMap<&'static str, u64>,
    kinds: BTreeMap<Kind, Many>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
struct Count {
    files: u64,
    messages: u64,
}

/// Refusals that are the same but for the byte and the number of a segment or repetition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Kind {
    reason: &'static str,
    location: String,
    detail: String,
}

/// How many, and the first file with one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Many {
    messages: u64,
    example: String,
}

impl Summary {
    /// Of one file; messages are still to be added.
    pub(super) fn of_file(bytes: usize) -> Self {
        Self {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            ..Self::default()
        }
    }

    /// One more message of a file.
    pub(super) fn add(&mut self, report: &Report, file: &str) {
        let Some(refusal) = &report.refusal else {
            self.accepted.messages += 1;
            self.warned += u64::from(!report.warnings.is_empty());
            return;
        };
        self.refused.messages += 1;
        let kind = Kind {
            reason: refusal.reason.code(),
            location: general(&refusal.location),
            detail: refusal.detail.clone(),
        };
        *self.reasons.entry(kind.reason).or_default() += 1;
        self.count(kind, 1, file);
    }

    /// The file has no more messages.
    pub(super) fn end_file(&mut self, judged: &Judged) {
        match judged.verdict {
            Verdict::Accept => self.accepted.files += 1,
            Verdict::Refuse => self.refused.files += 1,
        }
    }

    /// Adds the counts of another file.
    pub(super) fn merge(&mut self, other: Self) {
        self.accepted.merge(other.accepted);
        self.refused.merge(other.refused);
        self.warned += other.warned;
        self.unreadable += other.unreadable;
        self.skipped += other.skipped;
        self.bytes += other.bytes;
        for (reason, messages) in other.reasons {
            *self.reasons.entry(reason).or_default() += messages;
        }
        for (kind, many) in other.kinds {
            self.count(kind, many.messages, &many.example);
        }
    }

    fn count(&mut self, kind: Kind, messages: u64, file: &str) {
        if let Some(many) = self.kinds.get_mut(&kind) {
            many.messages += messages;
        } else if self.kinds.len() < MOST_KINDS {
            let example = file.to_owned();
            self.kinds.insert(kind, Many { messages, example });
        }
    }

    /// The table for people.
    pub(super) fn render(&self, took: Duration) -> String {
        let total = self.accepted.messages + self.refused.messages;
        let files = self.accepted.files + self.refused.files;
        let mut text = format!(
            "{}, {}, {} in {}",
            units::counted(usize::try_from(files).unwrap_or(usize::MAX), "file"),
            units::counted(usize::try_from(total).unwrap_or(usize::MAX), "message"),
            units::bytes(self.bytes),
            period(took),
        );
        let millionths = took.as_micros().max(1);
        text.push_str(&format!(
            ": {} messages/s, {} MB/s\n\n",
            units::count(u128::from(total) * 1_000_000 / millionths),
            tenths(u128::from(self.bytes) * 10, millionths),
        ));
        let mut table = Table::new(&["", "FILES", "MESSAGES"]).right(&[1, 2]);
        for (word, count) in [("accepted", self.accepted), ("refused", self.refused)] {
            let (files, messages) = (units::count(count.files), units::count(count.messages));
            table.row([word, &files, &messages]);
        }
        for (word, files) in [("unreadable", self.unreadable), ("skipped", self.skipped)] {
            if files > 0 {
                table.row([word, &units::count(files), ""]);
            }
        }
        if self.warned > 0 {
            table.row(["with warnings", "", &units::count(self.warned)]);
        }
        text.push_str(&table.render());
        if !self.reasons.is_empty() {
            text.push('\n');
            text.push_str(&self.reasons());
            text.push('\n');
            text.push_str(&self.kinds());
        }
        text
    }

    fn reasons(&self) -> String {
        let mut table = Table::new(&["REFUSED FOR", "MESSAGES"]).right(&[1]);
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(_, messages)| std::cmp::Reverse(**messages));
        for (reason, messages) in reasons {
            table.row([(*reason).to_owned(), units::count(*messages)]);
        }
        table.render()
    }

    fn kinds(&self) -> String {
        let header = ["MESSAGES", "FIRST REFUSED FOR", "FOR EXAMPLE"];
        let mut table = Table::new(&header).right(&[0]);
        for (kind, many) in self.top() {
            let why = format!("{}: {}: {}", kind.reason, kind.location, kind.detail);
            let count = units::count(many.messages);
            table.row([count, visible(&why), visible(&many.example)]);
        }
        let mut text = table.render();
        let more = self.kinds.len().saturating_sub(TOP);
        if more > 0 {
            text.push_str(&format!("… and {}\n", units::counted(more, "other kind")));
        }
        text
    }

    /// The most frequent kinds.
    fn top(&self) -> Vec<(&Kind, &Many)> {
        let mut kinds: Vec<_> = self.kinds.iter().collect();
        kinds.sort_by_key(|(_, many)| std::cmp::Reverse(many.messages));
        kinds.truncate(TOP);
        kinds
    }

    /// The same for scripts.
    pub(super) fn json(&self, took: Duration) -> impl Serialize {
        let refusal = |(kind, many): (&Kind, &Many)| Refusal {
            kind: kind.clone(),
            messages: many.messages,
            example: many.example.clone(),
        };
        Json {
            accepted: self.accepted,
            refused: self.refused,
            with_warnings: self.warned,
            unreadable: self.unreadable,
            skipped: self.skipped,
            bytes: self.bytes,
            microseconds: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            reasons: self.reasons.clone(),
            refusals: self.top().into_iter().map(refusal).collect(),
        }
    }
}

impl Count {
    fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.messages += other.messages;
    }
}

#[derive(Serialize)]
struct Json {
    accepted: Count,
    refused: Count,
    with_warnings: u64,
    unreadable: u64,
    skipped: u64,
    bytes: u64,
    microseconds: u64,
    reasons: BTreeMap<&'static str, u64>,
    refusals: Vec<Refusal>,
}

#[derive(Serialize)]
struct Refusal {
    #[serde(flatten)]
    kind: Kind,
    messages: u64,
    example: String,
}

fn period(took: Duration) -> String {
    if took < Duration::from_secs(10) {
        return format!("{} ms", took.as_millis());
    }
    units::period(took.as_secs())
}

/// Ten times a quotient as a number with one decimal.
fn tenths(tenfold: u128, divisor: u128) -> String {
    let tenths = tenfold / divisor.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// How many kinds of refusal are shown.
const TOP: usize = 10;

/// How many kinds are counted; the details come from closed lists, so that only figures in them make more.
const MOST_KINDS: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::judged::tests::reports;
    use super::*;

    fn file(name: &str, reports: &[Report]) -> Summary {
        let mut summary = Summary::of_file(600_000);
        let mut judged = Judged::new(Path::new(name));
        for report in reports {
            judged.add(report);
            summary.add(report, name);
        }
        summary.end_file(&judged);
        summary
    }

    #[test]
    fn files_add_up() {
        let all = reports();
        let mut total = Summary::default();
        total.merge(file("good.hl7", &all[..1]));
        for number in 0..12 {
            let mut bad = all[1].clone();
            if let Some(refusal) = &mut bad.refusal {
                refusal.location = format!("OBX[{number}]-{} (byte {number}00)", number / 2 + 1);
            }
            for repeat in 0..=number {
                total.merge(file(&format!("bad-{number}-{repeat}.hl7"), &[bad.clone()]));
            }
        }
        for detail in 0..6 {
            let mut bad = all[1].clone();
            if let Some(refusal) = &mut bad.refusal {
                refusal.reason = protocol_inspect::Reason::Limit;
                refusal.detail = format!("{detail} is more than 0");
            }
            total.merge(file("\u{1b}[2J.hl7", &[all[0].clone(), bad]));
        }
        total.unreadable = 2;
        total.skipped = 1300;
        let took = Duration::from_millis(2500);
        let json = serde_json::to_string_pretty(&total.json(took)).unwrap();
        insta::assert_snapshot!(format!("{}\n{json}", total.render(took)));
        let nothing = Summary::default().render(Duration::ZERO);
        assert!(
            nothing.starts_with("0 files, 0 messages, 0 B in 0 ms"),
            "{nothing}"
        );
    }
}
