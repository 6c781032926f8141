//! Judges bytes at rest exactly as the relay would, but with a policy that lets every type and sender pass.
//!
//! In: the bytes of a file, and how messages lie in it. Out: each message as it would be on the wire, and what is said of it.
//! A file is one message unless the caller says otherwise; nothing about a file is guessed.

use std::borrow::Cow;

use memchr::memmem;

use super::charset;
use super::header::Header;
use super::judge::{Verdict, judge};
use super::mllp::{Frame, Framer};
use super::policy::{LocalSegment, Policy, Profile, Rule};
use crate::{LimitReached, Reason, Refusal, Report};

/// How to read a file, and how strict to be with it.
#[derive(Clone, Debug)]
pub struct Offline {
    /// How messages lie in the file.
    pub layout: Layout,
    /// Whether line feeds stand for the carriage returns that would be on the wire.
    pub line_feeds: bool,
    /// Character set of a message that declares none.
    pub charset: String,
    /// The local (Z) segments that a rule would list; `None` if it lists none.
    pub local_segments: Option<Vec<LocalSegment>>,
    /// Whether batches are judged, as by a rule that carries them; without it they are refused as such.
    pub batches: bool,
    /// How strict the content is judged.
    pub profile: Profile,
}

/// How messages lie in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// The whole file is one message.
    #[default]
    Single,
    /// One message after the other: each begins with MSH behind a segment end. A file that begins with FHS or BHS is one batch.
    Sequence,
    /// What a device sends on a connection: MLLP frames.
    Stream,
}

/// One message of a file, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged<'b> {
    /// Where it begins in the file.
    pub offset: usize,
    /// The message as it would be on the wire, without its envelope; empty if the stream held none here.
    pub content: Cow<'b, [u8]>,
    /// What is said of it. Bytes of the message are counted in `content`.
    pub report: Report,
}

/// Judges one message, or with `raw` a stream of MLLP frames; one report each.
#[must_use]
pub fn inspect_offline(bytes: &[u8], raw: bool, profile: &Profile) -> Vec<Report> {
    let offline = Offline {
        layout: if raw { Layout::Stream } else { Layout::Single },
        profile: profile.clone(),
        ..Offline::default()
    };
    offline.judge(bytes).map(|judged| judged.report).collect()
}

impl Offline {
    /// Judges the messages of a file, one after the other.
    pub fn judge<'b>(&self, bytes: &'b [u8]) -> impl Iterator<Item = Judged<'b>> + use<'b> {
        let policy = self.policy();
        let max = policy.limits.hl7_message;
        Cutter {
            layout: self.layout,
            line_feeds: self.line_feeds,
            framer: Framer::new(max),
            fed: 0,
            bytes,
            at: 0,
            ended: false,
        }
        .map(move |cut| {
            let report = match &cut.refusal {
                Some(refusal) => refused(refusal.clone()),
                None => match LimitReached::check("hl7_message", cut.content.len(), max) {
                    Ok(()) => report(Frame::around(&cut.content), &policy),
                    Err(reached) => refused(reached.into()),
                },
            };
            Judged {
                offset: cut.offset,
                content: cut.content,
                report,
            }
        })
    }

    /// Whether messages in this character set can be judged.
    #[must_use]
    pub fn knows_charset(name: &str) -> bool {
        charset::is_carried(name.as_bytes())
    }

    fn policy(&self) -> Policy {
        Policy {
            default_charset: self.charset.clone(),
            rules: vec![Rule {
                name: "offline".to_owned(),
                send: vec!["*".to_owned()],
                charsets: vec![self.charset.clone()],
                local_segments: self.local_segments.clone(),
                profiles: vec![self.profile.clone()],
                batches: self.batches,
                ..Rule::default()
            }],
            ..Policy::default()
        }
    }
}

impl Default for Offline {
    fn default() -> Self {
        Self {
            layout: Layout::Single,
            line_feeds: false,
            charset: "ASCII".to_owned(),
            local_segments: None,
            batches: false,
            profile: Profile::standard(),
        }
    }
}

/// Cuts a file into messages.
struct Cutter<'b> {
    layout: Layout,
    line_feeds: bool,
    framer: Framer,
    /// How much of the file the framer has.
    fed: usize,
    bytes: &'b [u8],
    at: usize,
    ended: bool,
}

struct Cut<'b> {
    offset: usize,
    content: Cow<'b, [u8]>,
    /// Why there is no message here.
    refusal: Option<Refusal>,
}

impl<'b> Iterator for Cutter<'b> {
    type Item = Cut<'b>;

    fn next(&mut self) -> Option<Cut<'b>> {
        if self.ended {
            return None;
        }
        match self.layout {
            Layout::Single => {
                self.ended = true;
                Some(self.cut(self.bytes.len()))
            }
            Layout::Sequence => {
                let end = self.end_of_message();
                if end == self.at {
                    self.ended = true;
                    return None;
                }
                Some(self.cut(end))
            }
            Layout::Stream => self.frame(),
        }
    }
}

impl<'b> Cutter<'b> {
    /// All up to `end`, as it would be on the wire.
    fn cut(&mut self, end: usize) -> Cut<'b> {
        let offset = std::mem::replace(&mut self.at, end);
        let bytes = self.bytes.get(offset..end).unwrap_or_default();
        Cut {
            offset,
            content: if self.line_feeds {
                on_the_wire(bytes)
            } else {
                Cow::Borrowed(bytes)
            },
            refusal: None,
        }
    }

    fn end_of_message(&self) -> usize {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let is_batch = rest.starts_with(b"FHS") || rest.starts_with(b"BHS");
        let begins = |found: &usize| {
            let before = found.checked_sub(1).and_then(|before| rest.get(before));
            before == Some(&b'\r') || (self.line_feeds && before == Some(&b'\n'))
        };
        let next = memmem::find_iter(rest, b"MSH")
            .filter(|_| !is_batch)
            .find(begins);
        self.at.saturating_add(next.unwrap_or(rest.len()))
    }

    fn frame(&mut self) -> Option<Cut<'b>> {
        let nothing = |offset, refusal| Cut {
            offset,
            content: Cow::Borrowed(&[]),
            refusal: Some(refusal),
        };
        loop {
            match self.framer.poll() {
                Some(Ok(frame)) => {
                    let offset = self.at;
                    self.at = offset.saturating_add(frame.bytes().len());
                    let whole = self.bytes.get(offset..self.at).unwrap_or_default();
                    let inner = 1..whole.len().saturating_sub(2);
                    return Some(Cut {
                        offset,
                        content: Cow::Borrowed(whole.get(inner).unwrap_or_default()),
                        refusal: None,
                    });
                }
                Some(Err(refusal)) => {
                    self.ended = true;
                    return Some(nothing(self.at, refusal));
                }
                None => {}
            }
            let more = self.bytes.get(self.fed..).unwrap_or_default();
            if more.is_empty() {
                self.ended = true;
                return self.framer.mid_frame().then(|| nothing(self.at, endless()));
            }
            let chunk = more.get(..CHUNK).unwrap_or(more);
            self.framer.receive(chunk);
            self.fed = self.fed.saturating_add(chunk.len());
        }
    }
}

/// The same with carriage returns, and without the empty lines that editors leave around a message.
fn on_the_wire(bytes: &[u8]) -> Cow<'_, [u8]> {
    let is_end = |b: &u8| matches!(b, b'\r' | b'\n');
    if !bytes.contains(&b'\n') {
        return Cow::Borrowed(bytes);
    }
    let start = bytes.iter().position(|b| !is_end(b));
    let start = start.unwrap_or(bytes.len());
    let text = bytes.get(start..).unwrap_or_default();
    let last = text.iter().rposition(|b| !is_end(b));
    let end = last.map_or(text.len(), |last| last.saturating_add(1));
    let (text, tail) = text.split_at_checked(end).unwrap_or((text, &[]));
    let mut wire = Vec::with_capacity(text.len().saturating_add(1));
    let mut before = 0;
    for &byte in text {
        match byte {
            b'\n' if before == b'\r' => {}
            b'\n' => wire.push(b'\r'),
            _ => wire.push(byte),
        }
        before = byte;
    }
    if !tail.is_empty() {
        wire.push(b'\r');
    }
    Cow::Owned(wire)
}

fn report(frame: Frame, policy: &Policy) -> Report {
    let judgement = judge(frame, policy, None);
    let kind = judgement.header.as_ref().map(Header::kind);
    let (refusal, warnings) = match judgement.verdict {
        Verdict::Accept(accepted) => (None, accepted.warnings),
        Verdict::Refuse(refused) => (Some(refused.refusal), refused.warnings),
    };
    Report {
        kind: kind.unwrap_or_default(),
        refusal,
        warnings,
    }
}

fn refused(refusal: Refusal) -> Report {
    Report {
        kind: String::new(),
        refusal: Some(refusal),
        warnings: Vec::new(),
    }
}

fn endless() -> Refusal {
    Refusal::new(Reason::Framing, "MLLP frame", "has no end")
}

/// How much of a stream is given to the framer at once.
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\rPID|1\r";

    fn verdicts(text: &str, layout: Layout, line_feeds: bool) -> Vec<(usize, String)> {
        let offline = Offline {
            layout,
            line_feeds,
            ..Offline::default()
        };
        let said = |judged: Judged<'_>| {
            let refusal = judged.report.refusal.map(|r| r.to_string());
            (judged.offset, refusal.unwrap_or_default())
        };
        offline.judge(text.as_bytes()).map(said).collect()
    }

    fn second_header() -> String {
        format!(
            "MSH[2] (byte {}): is a second message header in one frame",
            ONE.len()
        )
    }

    #[test]
    fn a_file_is_one_message_unless_it_is_said_to_be_a_sequence() {
        let two = ONE.repeat(2);
        assert_eq!(
            verdicts(&two, Layout::Single, false),
            [(0, second_header())]
        );
        let fine = |offset| (offset, String::new());
        assert_eq!(
            verdicts(&two, Layout::Sequence, false),
            [fine(0), fine(ONE.len())]
        );
        assert_eq!(verdicts("", Layout::Sequence, false), []);
        // What stands before the first message is no message, and MSH inside a line begins none.
        let said = verdicts(&format!("# MSH\r{ONE}"), Layout::Sequence, false);
        assert_eq!(
            said,
            [
                (0, "message (byte 0): does not begin with MSH".to_owned()),
                fine(6)
            ]
        );
        // A batch is one thing.
        let batch = format!("FHS|^~\\&\r{two}FTS|1\r");
        assert_eq!(verdicts(&batch, Layout::Sequence, false).len(), 1);
    }

    #[test]
    fn a_batch_is_judged_with_its_messages_and_counts_where_batches_are_carried() {
        let head = "FHS|^~\\&|A|B|C|D|20260101||||F1\rBHS|^~\\&|A|B|C|D|20260101||||B1\r";
        let other = ONE.replace("|1|P|", "|2|P|");
        let batch = |messages: &str, counts: [&str; 2]| {
            format!("{head}{messages}BTS|{}\rFTS|{}\r", counts[0], counts[1])
        };
        let said = |text: &str, batches| {
            let offline = Offline {
                batches,
                ..Offline::default()
            };
            let all: Vec<_> = offline.judge(text.as_bytes()).collect();
            let [judged] = all.as_slice() else {
                panic!("{} are one", all.len());
            };
            let refusal = judged.report.refusal.as_ref();
            refusal.map_or(String::new(), ToString::to_string)
        };
        let both = format!("{ONE}{other}");
        let good = batch(&both, ["2", "1"]);
        assert_eq!(said(&good, true), "");
        assert!(said(&good, false).contains("batches are not carried"));
        assert_eq!(said(ONE, true), "", "a message is one all the same");
        for (bad, place) in [
            (batch(&both, ["3", "1"]), "BTS"),
            (batch(&both, ["2", "2"]), "FTS"),
            (
                batch(&both.replace("|P|2.5", "|X|2.5"), ["2", "1"]),
                "MSH-11",
            ),
            (
                batch(&both, ["2", "1"]).replace("BTS|2\r", ""),
                "out of order",
            ),
        ] {
            assert!(said(&bad, true).contains(place), "{}", said(&bad, true));
        }
    }

    #[test]
    fn line_feeds_are_segment_ends_only_if_the_caller_says_so() {
        let unix = ONE.replace('\r', "\n");
        let dos = ONE.replace('\r', "\r\n");
        for text in [&unix, &dos] {
            let [(_, said)] = &*verdicts(text, Layout::Single, false) else {
                panic!("one message");
            };
            assert!(said.contains("line feed"), "{said}");
            let fine = [(0, String::new())];
            assert_eq!(verdicts(text, Layout::Single, true), fine);
            assert_eq!(
                verdicts(&format!("\n{text}\n\n"), Layout::Single, true),
                fine
            );
            let two = format!("{text}\n{text}");
            let said = verdicts(&two, Layout::Sequence, true);
            assert_eq!(said.len(), 2);
            assert!(said.iter().all(|(_, said)| said.is_empty()), "{said:?}");
            assert_eq!(on_the_wire(text.as_bytes()), ONE.as_bytes());
        }
        // An empty line inside a message stays what it is, and so does a missing last segment end.
        let said = verdicts(&unix.replace("\nPID", "\n\nPID"), Layout::Single, true);
        assert!(said[0].1.ends_with("is empty"), "{said:?}");
        assert_eq!(
            on_the_wire(unix.trim_end().as_bytes()),
            ONE.trim_end().as_bytes()
        );
        assert!(on_the_wire(b"\n\r\n").is_empty());
    }

    #[test]
    fn a_stream_is_judged_frame_by_frame() {
        let frame = format!("\u{b}{ONE}\u{1c}\r");
        let stream = frame.repeat(3000);
        let said = verdicts(&stream, Layout::Stream, false);
        assert_eq!(said.len(), 3000);
        assert_eq!(said[2], (2 * frame.len(), String::new()));
        let said = verdicts(&format!("{frame}\u{b}MSH"), Layout::Stream, false);
        assert_eq!(said[1], (frame.len(), "MLLP frame: has no end".to_owned()));
        let said = verdicts(&format!("{frame}{ONE}"), Layout::Stream, false);
        assert!(said[1].1.contains("looks like HL7 without MLLP"));
        let offline = Offline {
            layout: Layout::Stream,
            ..Offline::default()
        };
        let judged = offline.judge(frame.as_bytes()).next().unwrap();
        assert_eq!(judged.content, ONE.as_bytes());
    }

    #[test]
    fn the_character_set_is_asked_of_messages_that_declare_none() {
        let text = ONE.replace("PID|1", "PID|1||||M\u{fc}ller");
        let charset = |charset: &str| {
            let offline = Offline {
                charset: charset.to_owned(),
                ..Offline::default()
            };
            let judged = offline.judge(text.as_bytes()).next().unwrap();
            judged.report.refusal.is_none()
        };
        assert!(charset("UNICODE UTF-8") && !charset("ASCII"));
        assert!(Offline::knows_charset("8859/1") && !Offline::knows_charset("8859"));
    }
}
