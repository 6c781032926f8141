//! What is said of one file, for people and as JSON.
//!
//! In: the reports on its messages, one after the other. Out: a few lines, or one object. Rendering is pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use protocol_inspect::{Reason, Report};
use serde::Serialize;

use super::super::units;
use super::text::visible;
use crate::words::{Code, Language, Words};

/// What is said of one file; also the JSON form, one object a file and line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Judged {
    pub(super) file: String,
    pub(super) verdict: Verdict,
    /// The type of the message, of the first refused one if there are many.
    kind: String,
    /// How many messages were judged.
    pub(super) messages: usize,
    /// How many of them are refused.
    pub(super) refused: usize,
    reason: Option<&'static str>,
    location: Option<String>,
    detail: Option<String>,
    /// What to do if only the way in which the file is kept is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) help: Option<&'static str>,
    /// Of all messages, the first so many.
    warnings: Vec<Warning>,
    /// The same warnings over all messages, for people who look at many.
    #[serde(skip)]
    repeated: BTreeMap<Warning, usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    Accept,
    Refuse,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Refuse => "refuse",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Warning {
    reason: &'static str,
    location: String,
    detail: String,
}

impl Judged {
    /// A file without a message, which is refused; so it stays until one is added.
    pub(super) fn new(path: &Path) -> Self {
        Self {
            file: path.display().to_string(),
            verdict: Verdict::Refuse,
            kind: String::new(),
            messages: 0,
            refused: 0,
            reason: Some(Reason::Framing.code()),
            location: Some("byte 0".to_owned()),
            detail: Some("there is no message".to_owned()),
            help: None,
            warnings: Vec::new(),
            repeated: BTreeMap::new(),
        }
    }

    /// One more message. A file is refused with its first refused message.
    pub(super) fn add(&mut self, report: &Report) {
        if self.messages == 0 {
            self.verdict = Verdict::Accept;
            self.kind.clone_from(&report.kind);
            (self.reason, self.location, self.detail) = (None, None, None);
        }
        self.messages += 1;
        if let Some(refusal) = &report.refusal {
            self.refused += 1;
            if self.refused == 1 {
                self.verdict = Verdict::Refuse;
                self.kind.clone_from(&report.kind);
                self.reason = Some(refusal.reason.code());
                self.location = Some(refusal.location.clone());
                self.detail = Some(refusal.detail.clone());
            }
        }
        for warning in &report.warnings {
            let general = Warning {
                reason: warning.reason.code(),
                location: general(&warning.location),
                detail: warning.detail.clone(),
            };
            if self.warnings.len() < MOST_WARNINGS {
                let location = warning.location.clone();
                self.warnings.push(Warning {
                    location,
                    ..general.clone()
                });
            }
            if self.repeated.len() < MOST_KINDS {
                *self.repeated.entry(general).or_default() += 1;
            }
        }
    }

    /// Everything behind the verdict's word, in one line.
    pub(super) fn headline(&self) -> String {
        let mut text = visible(&self.file);
        if !self.kind.is_empty() {
            text.push_str(&format!("  {}", visible(&self.kind)));
        }
        if self.messages > 1 {
            text.push_str(&format!("  ({} messages", self.messages));
            if self.refused > 0 {
                text.push_str(&format!(", {} refused", self.refused));
            }
            text.push(')');
        }
        if let (Some(reason), Some(location), Some(detail)) =
            (self.reason, &self.location, &self.detail)
        {
            text.push_str(&format!("  {}", told(reason, location, detail)));
        }
        text.push('\n');
        text
    }

    /// What happened and what to do, if it is refused.
    pub(super) fn words(&self, language: Language) -> Option<Words> {
        let code = Code::named(self.reason?)?;
        Some(code.words(language))
    }

    /// The lines below it.
    pub(super) fn notes(&self) -> String {
        let mut text = String::new();
        if self.messages == 1 {
            for warning in &self.warnings {
                text.push_str(&format!("        warning  {}\n", warning.told()));
            }
        } else {
            let mut warnings: Vec<_> = self.repeated.iter().collect();
            warnings.sort_by_key(|(_, times)| Reverse(**times));
            for (warning, times) in warnings.iter().take(MOST_SHOWN) {
                let times = units::counted(**times, "time");
                text.push_str(&format!("        warning  {}  ({times})\n", warning.told()));
            }
            let more = warnings.len().saturating_sub(MOST_SHOWN);
            if more > 0 {
                let more = units::counted(more, "other kind");
                text.push_str(&format!("        … and warnings of {more}\n"));
            }
        }
        text.push_str(&self.help_line());
        text
    }

    /// The help alone.
    pub(super) fn help_line(&self) -> String {
        let line = |help| format!("        help  {help}\n");
        self.help.map(line).unwrap_or_default()
    }
}

impl Warning {
    fn told(&self) -> String {
        told(self.reason, &self.location, &self.detail)
    }
}

/// The location without what differs between messages: `OBX[2]-5(1).1 (byte 7)` is `OBX-5.1`.
pub(super) fn general(location: &str) -> String {
    let path = location.split(" (byte ").next().unwrap_or(location);
    let mut text = String::new();
    let mut rest = path;
    while let Some(open) = rest.find(['[', '(']) {
        let (before, inner) = rest.split_at(open);
        text.push_str(before);
        let digits = inner.bytes().skip(1).take_while(u8::is_ascii_digit).count();
        let closes = matches!(inner.as_bytes().get(digits + 1), Some(b']' | b')'));
        let taken = if digits > 0 && closes { digits + 2 } else { 1 };
        if taken == 1 {
            text.push_str(&inner[..1]);
        }
        rest = &inner[taken..];
    }
    text.push_str(rest);
    text
}

/// A finding in the words of all reports.
pub(super) fn told(reason: &str, location: &str, detail: &str) -> String {
    visible(&format!("{reason}: {location}: {detail}"))
}

/// Most warnings of one file that are kept, and most kinds of them; a message alone has some dozens at most.
const MOST_WARNINGS: usize = 10_000;
const MOST_KINDS: usize = 10_000;

/// Most kinds of warnings in a file of many messages that are shown to people.
const MOST_SHOWN: usize = 20;

#[cfg(test)]
pub(super) mod tests {
    use protocol_inspect::Refusal;

    use super::*;

    /// One good and one bad message.
    pub(in super::super) fn reports() -> Vec<Report> {
        let warning = protocol_inspect::Warning {
            reason: Reason::Field,
            location: "MSH-7".to_owned(),
            detail: "is not a time".to_owned(),
            shadow: false,
        };
        let good = Report {
            kind: "ORU^R01".to_owned(),
            refusal: None,
            warnings: vec![warning],
        };
        let refusal = Refusal {
            reason: Reason::Structure,
            location: "PID".to_owned(),
            detail: "is missing".to_owned(),
        };
        let bad = Report {
            kind: "ADT^A01".to_owned(),
            refusal: Some(refusal),
            warnings: Vec::new(),
        };
        vec![good, bad]
    }

    fn judged(path: &Path, reports: &[Report]) -> Judged {
        let mut judged = Judged::new(path);
        reports.iter().for_each(|report| judged.add(report));
        judged
    }

    #[test]
    fn verdicts_are_shown() {
        let path = Path::new("a.hl7");
        let all = reports();
        let helped = Judged {
            help: Some("do this"),
            ..judged(path, &all[1..])
        };
        let mut shown = String::new();
        for judged in [
            judged(path, &all[..1]),
            judged(path, &all[1..]),
            judged(path, &all),
            judged(Path::new("\u{1b}[31m\nb.hl7"), &[]),
            helped,
        ] {
            let word = judged.verdict.word();
            shown.push_str(&format!("{word}  {}{}", judged.headline(), judged.notes()));
            let json = serde_json::to_string(&judged).unwrap();
            shown.push_str(&format!("{json}\n"));
        }
        insta::assert_snapshot!(shown);
        let mut many = vec![all[0].clone(); 12_000];
        for (number, report) in many.iter_mut().take(100).enumerate() {
            let location = format!("OBX[{number}]-{} (byte {number}00)", number / 4);
            report.warnings[0].location = location;
        }
        let many = judged(path, &many);
        insta::assert_snapshot!(many.notes());
        assert_eq!(many.warnings.len(), MOST_WARNINGS);
    }

    #[test]
    fn locations_become_general() {
        for (location, kind) in [
            ("OBX[2]-5(1).1 (byte 7)", "OBX-5.1"),
            ("PID-7", "PID-7"),
            ("message (byte 0)", "message"),
            ("(0008,0018)", "(0008,0018)"),
            ("(0040,A730)[2] > (0008,0100)", "(0040,A730) > (0008,0100)"),
            ("a[x](", "a[x]("),
        ] {
            assert_eq!(general(location), kind);
        }
    }
}
