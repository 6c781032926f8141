//! What the gateway says to a sender in its own name: general acknowledgements.
//!
//! In: the header of the message that is answered, and the verdict. Out: [`Spoken`] frames.
//! They are written with the sender's own delimiters and version.
//! Nothing of the message is echoed but MSH-3 to MSH-6, MSH-9.2, MSH-10, MSH-11 and MSH-12,
//! each cut to the standard's length and freed of everything that could be taken for structure.
//!
//! A message whose delimiters cannot be read cannot be answered: its connection is closed instead.
//! If only MSH-10 is missing it is answered with an empty MSA-2, so that the sender sees the ERR segment.

use super::delimiters::Delimiters;
use super::escape;
use super::finding::Fault;
use super::header::{Accents, Header, Version, token};
use super::judge::Refused;
use super::mllp::envelope;
use super::place::Place;
use crate::Spoken;

/// Codes of HL7 table 0008.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckCode {
    /// AA: application accept.
    Aa,
    /// AE: application error.
    Ae,
    /// AR: application reject.
    Ar,
    /// CA: accept acknowledgement, commit accept.
    Ca,
    /// CE: accept acknowledgement, commit error.
    Ce,
    /// CR: accept acknowledgement, commit reject.
    Cr,
}

/// What makes one acknowledgement of ours differ from the next.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// MSH-7 as `20260101120000+0000`.
    pub time: String,
    /// MSH-10, at most 20 characters of plain ASCII without punctuation.
    pub control_id: String,
}

/// What the user of a device is told, in their language, where the answer would else have the finding's detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserMessage<'t> {
    /// For ERR-8 where the sender's character set has the letters; at most 250 are written.
    pub text: &'t str,
    /// The same in ASCII.
    pub plain: &'t str,
    /// In ASCII for MSA-3, before version 2.5 of the standard; at most 80 are written.
    pub brief: &'t str,
}

impl AckCode {
    /// Reads a code.
    #[must_use]
    pub fn named(code: &[u8]) -> Option<Self> {
        match code {
            b"AA" => Some(Self::Aa),
            b"AE" => Some(Self::Ae),
            b"AR" => Some(Self::Ar),
            b"CA" => Some(Self::Ca),
            b"CE" => Some(Self::Ce),
            b"CR" => Some(Self::Cr),
            _ => None,
        }
    }

    /// The code as it stands in MSA-1.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Aa => "AA",
            Self::Ae => "AE",
            Self::Ar => "AR",
            Self::Ca => "CA",
            Self::Ce => "CE",
            Self::Cr => "CR",
        }
    }

    /// Whether it says that the message was taken.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Aa | Self::Ca)
    }

    /// Whether it is an accept (commit) acknowledgement.
    #[must_use]
    pub fn is_accept(self) -> bool {
        matches!(self, Self::Ca | Self::Ce | Self::Cr)
    }
}

/// The code with which a refused message is answered; `None` if its sender wants no answer.
//= HL7 v2.5.1 2.9.2
//= HL7 v2.5.1 2.9.3
#[must_use]
pub fn code_for(header: &Header, fault: Fault) -> Option<AckCode> {
    let original = match fault {
        Fault::Header | Fault::Rule => AckCode::Ar,
        Fault::Content => AckCode::Ae,
    };
    if !header.is_enhanced() {
        return Some(original);
    }
    if header.wants_accept_error() {
        return Some(match fault {
            Fault::Header => AckCode::Cr,
            Fault::Rule | Fault::Content => AckCode::Ce,
        });
    }
    header.wants_application_error().then_some(original)
}

/// The acknowledgement of a refused message; `None` if its sender wants no answer.
#[must_use]
pub fn refuse(header: &Header, refused: &Refused, stamp: &Stamp) -> Option<(AckCode, Spoken)> {
    refuse_with(header, refused, stamp, None)
}

/// The same with words for the user of the device; the codes and the place stay as they are,
/// and the detail stands in ERR-7 behind the place.
#[must_use]
pub fn refuse_with(
    header: &Header,
    refused: &Refused,
    stamp: &Stamp,
    told: Option<UserMessage<'_>>,
) -> Option<(AckCode, Spoken)> {
    // An acknowledgement is never acknowledged by an application, or two systems could go on for ever.
    if header.is_acknowledgement() {
        return None;
    }
    let code = code_for(header, refused.fault)?;
    let charset = told.and_then(|told| accents(header, told));
    let mut words = Words::begin(header, code, stamp, charset);
    words.error(refused, told);
    Some((code, words.finish()))
}

/// The acknowledgement of a message that was already acknowledged with this code.
pub fn repeat(header: &Header, code: AckCode, stamp: &Stamp) -> Spoken {
    Words::begin(header, code, stamp, None).finish()
}

/// The character set of an answer with a text that ASCII does not have, if its sender declared one that does.
//= HL7 v2.5.1 2.15.9.18
fn accents(header: &Header, told: UserMessage<'_>) -> Option<Accents> {
    let structured = header.version.unwrap_or(Version::V2_5_1) >= Version::V2_5;
    let charset = header.accents?;
    // A name that would have to be escaped is no name.
    let code = charset.code().bytes();
    let plain = code.into_iter().all(|b| !header.delimiters.contains(b));
    (structured && plain && !told.text.is_ascii()).then_some(charset)
}

/// A message under construction.
struct Words {
    out: Vec<u8>,
    delimiters: Delimiters,
    version: Version,
    /// Beyond ASCII; declared in MSH-18.
    charset: Option<Accents>,
}

impl Words {
    /// MSH and MSA.
    fn begin(header: &Header, code: AckCode, stamp: &Stamp, charset: Option<Accents>) -> Self {
        let mut words = Self {
            out: b"MSH".to_vec(),
            delimiters: header.delimiters,
            version: header.version.unwrap_or(Version::V2_5_1),
            charset,
        };
        words.delimiters.write(&mut words.out);
        for value in [
            &header.receiving_application,
            &header.receiving_facility,
            &header.sending_application,
            &header.sending_facility,
        ] {
            words.field();
            words.echo(value, LONGEST_NAME);
        }
        words.field();
        words.text(&stamp.time);
        words.field();
        words.field();
        words.message_type(header);
        words.field();
        words.text(&stamp.control_id);
        words.field();
        let processing = match header.processing_id.as_slice() {
            b"D" => "D",
            b"T" => "T",
            _ => "P",
        };
        words.text(processing);
        words.field();
        words.text(words.version.code());
        if let Some(charset) = charset {
            for _ in 13..=18 {
                words.field();
            }
            words.text(charset.code());
        }
        words.end();
        words.text("MSA");
        words.field();
        words.text(code.code());
        words.field();
        words.echo(&header.control_id, LONGEST_CONTROL_ID);
        words
    }

    fn message_type(&mut self, header: &Header) {
        self.text("ACK");
        let Some(trigger) = token(&header.trigger) else {
            return;
        };
        if self.version >= Version::V2_2 {
            self.component();
            self.text(trigger);
        }
        if self.version >= Version::V2_4 {
            self.component();
            self.text("ACK");
        }
    }

    /// MSA-3 for the versions that have it, then ERR.
    //= HL7 v2.5.1 2.15.5
    fn error(&mut self, refused: &Refused, told: Option<UserMessage<'_>>) {
        let structured = self.version >= Version::V2_5;
        if !structured {
            self.field();
            match told {
                None => self.text(&refused.refusal.detail),
                Some(told) => self.text(cut(told.brief, LONGEST_BRIEF)),
            }
        }
        self.end();
        self.text("ERR");
        self.field();
        if structured {
            self.field();
            self.location(refused.place.as_ref());
            self.field();
            self.coded(refused, self.delimiters.component);
            self.field();
            self.text("E");
            for _ in 0..3 {
                self.field();
            }
            match told {
                None => {
                    self.text(&refused.refusal.location);
                    self.field();
                    self.text(&refused.refusal.detail);
                }
                Some(told) => {
                    self.text(&refused.refusal.to_string());
                    self.field();
                    self.told(told);
                }
            }
        } else {
            if let Some(place) = &refused.place {
                self.text(&place.segment);
                self.component();
                self.number(place.occurrence);
                self.component();
                self.number(place.field);
            } else {
                self.component();
                self.component();
            }
            self.component();
            self.coded(refused, self.delimiters.subcomponent);
        }
    }

    /// ERL: the empty parts at the end are left out.
    fn location(&mut self, place: Option<&Place>) {
        let Some(place) = place else {
            return;
        };
        self.text(&place.segment);
        self.component();
        self.number(place.occurrence);
        if place.field == 0 {
            return;
        }
        self.component();
        self.number(place.field);
        self.component();
        self.number(place.repetition.max(1));
        if place.component > 0 {
            self.component();
            self.number(place.component);
        }
        if place.subcomponent > 0 {
            self.component();
            self.number(place.subcomponent);
        }
    }

    fn told(&mut self, told: UserMessage<'_>) {
        let Some(charset) = self.charset else {
            return self.text(cut(told.plain, LONGEST_TOLD));
        };
        for c in cut(told.text, LONGEST_TOLD).chars() {
            if c.is_ascii() {
                self.text(c.encode_utf8(&mut [0]));
            } else {
                charset.write(c, &mut self.out);
            }
        }
    }

    fn coded(&mut self, refused: &Refused, separator: u8) {
        self.text(refused.code.code());
        self.out.push(separator);
        self.text(refused.code.text());
        self.out.push(separator);
        self.text("HL70357");
    }

    fn finish(mut self) -> Spoken {
        self.end();
        Spoken::new(envelope(&self.out))
    }

    fn field(&mut self) {
        self.out.push(self.delimiters.field);
    }

    fn component(&mut self) {
        self.out.push(self.delimiters.component);
    }

    fn end(&mut self) {
        self.out.push(b'\r');
    }

    fn number(&mut self, number: usize) {
        self.text(&number.to_string());
    }

    /// Our own text, escaped.
    fn text(&mut self, text: &str) {
        for byte in text.bytes() {
            let d = &self.delimiters;
            let letter = match byte {
                b if b == d.field => b'F',
                b if b == d.component => b'S',
                b if b == d.repetition => b'R',
                b if b == d.escape => b'E',
                b if b == d.subcomponent => b'T',
                b if Some(b) == d.truncation => b'P',
                b => {
                    self.out.push(b);
                    continue;
                }
            };
            self.out.extend_from_slice(&[d.escape, letter, d.escape]);
        }
    }

    /// A value of the sender, which is already escaped: what is not text or its inner structure becomes a question mark.
    ///
    /// An escape sequence stays only if the sender could have sent it: one that is cut or hides a control byte
    /// would be structure where the answer is read.
    fn echo(&mut self, value: &[u8], longest: usize) {
        let d = self.delimiters;
        let mut rest = value.get(..longest).unwrap_or(value);
        while let Some((&byte, after)) = rest.split_first() {
            if byte != d.escape {
                self.out.push(if is_text(byte, &d) { byte } else { b'?' });
                rest = after;
                continue;
            }
            let inner = after.split(|b| *b == d.escape).next().unwrap_or_default();
            let (length, closed) = (inner.len(), after.get(inner.len()).is_some());
            let whole = inner.iter().all(|b| is_text(*b, &d) && !d.contains(*b));
            if closed && whole && escape::judge(inner, &d).is_ok() {
                self.out.push(byte);
                self.out.extend_from_slice(inner);
                self.out.push(byte);
                rest = after.get(length.saturating_add(1)..).unwrap_or_default();
            } else {
                self.out.push(b'?');
                rest = after;
            }
        }
    }
}

/// At most so many characters.
fn cut(text: &str, longest: usize) -> &str {
    let end = text.char_indices().nth(longest);
    end.and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

/// What may stand in a value that is echoed.
fn is_text(byte: u8, d: &Delimiters) -> bool {
    (byte == b' ' || byte.is_ascii_graphic()) && byte != d.field && byte != d.repetition
}

/// Longest MSH-3 to MSH-6 that is echoed: the length of HD.
const LONGEST_NAME: usize = 227;
/// Longest ERR-8, in characters.
//= HL7 v2.5.1 2.15.5.8
const LONGEST_TOLD: usize = 250;
/// Longest MSA-3 before version 2.5.
const LONGEST_BRIEF: usize = 80;
/// Longest MSH-10 that is echoed.
const LONGEST_CONTROL_ID: usize = 199;

#[cfg(test)]
mod tests {
    use super::*;

    /// MSH-5 of the answer to a message with this MSH-3.
    fn echoed(name: &str) -> String {
        let message = format!("MSH|^~\\&|{name}|B|C|D|20260101||ORU^R01|1|P|2.5.1\r");
        let header = Header::of(message.as_bytes()).unwrap();
        let stamp = Stamp {
            time: String::new(),
            control_id: String::new(),
        };
        let spoken = repeat(&header, AckCode::Aa, &stamp);
        let text = String::from_utf8(spoken.into_bytes().to_vec()).unwrap();
        text.split('|').nth(4).unwrap().to_owned()
    }

    #[test]
    fn echoes_no_structure() {
        for (name, echo) in [
            ("ECG^1.2.3^ISO", "ECG^1.2.3^ISO"),
            ("A&B <c>", "A&B <c>"),
            ("A\\T\\B\\E\\", "A\\T\\B\\E\\"),
            ("A\\X41\\", "A\\X41\\"),
            ("A~B", "A?B"),
            ("A\\X0D\\B", "A?X0D?B"),
            ("A\\X0d4D\\B", "A?X0d4D?B"),
            ("A\\Z~\\B", "A?Z??B"),
            ("A\\T\\B\\", "A\\T\\B?"),
            ("A\\T", "A?T"),
            ("\\\\T\\", "?\\T\\"),
            ("\u{1b}[2J", "?[2J"),
        ] {
            assert_eq!(echoed(name), echo, "{name}");
        }
        // An escape sequence that the bound cuts.
        let long = format!("{}\\T\\", "a".repeat(LONGEST_NAME - 2));
        assert!(echoed(&long).ends_with("a?T"));
    }
}
