//! What the user of a device is told of a refusal, in the language of the gateway.
//!
//! In: the reason of a refusal. Out: sentences, and their ASCII forms.
//! In English nothing is added: there the finding itself is what answers say.
//! DICOM has no room for it: (0000,0902) Error Comment is 64 characters of the default repertoire.

use std::borrow::Cow;

use protocol_inspect::hl7::ack::{self, AckCode, Stamp, UserMessage};
use protocol_inspect::hl7::{Header, Refused};
use protocol_inspect::{Reason, Spoken};

use crate::words::{Language, Message, plain};

/// What is said of a reason.
#[must_use]
pub fn of_reason(reason: Reason) -> Message {
    match reason {
        Reason::Framing => Message::Framing,
        Reason::Encoding => Message::Encoding,
        Reason::Structure => Message::Structure,
        Reason::Field => Message::Field,
        Reason::Embedded => Message::Embedded,
        Reason::Sequence => Message::Sequence,
        Reason::Unsupported => Message::Unsupported,
        Reason::Forbidden => Message::Forbidden,
        Reason::Identity => Message::Identity,
        Reason::Limit => Message::Limit,
        Reason::Rate => Message::Rate,
        Reason::Destination => Message::Destination,
    }
}

/// The acknowledgement of a refused message, with words for its user; `None` if its sender wants no answer.
pub(super) fn refuse(
    header: &Header,
    refused: &Refused,
    stamp: &Stamp,
    language: Language,
) -> Option<(AckCode, Spoken)> {
    let told = Told::of(refused.refusal.reason, language);
    ack::refuse_with(header, refused, stamp, told.as_ref().map(Told::as_message))
}

/// The sentences of one refusal.
struct Told {
    text: String,
    plain: String,
    brief: Cow<'static, str>,
}

impl Told {
    /// Nothing in English.
    fn of(reason: Reason, language: Language) -> Option<Self> {
        if language == Language::English {
            return None;
        }
        let words = of_reason(reason).words(language);
        let text = words.to_string();
        Some(Self {
            plain: plain(&text).into_owned(),
            brief: plain(words.what),
            text,
        })
    }

    fn as_message(&self) -> UserMessage<'_> {
        UserMessage {
            text: &self.text,
            plain: &self.plain,
            brief: &self.brief,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: [Reason; 12] = [
        Reason::Framing,
        Reason::Encoding,
        Reason::Structure,
        Reason::Field,
        Reason::Embedded,
        Reason::Sequence,
        Reason::Unsupported,
        Reason::Forbidden,
        Reason::Identity,
        Reason::Limit,
        Reason::Rate,
        Reason::Destination,
    ];

    #[test]
    fn codes_are_those_of_the_journal() {
        let codes: Vec<&str> = REASONS.iter().map(|r| of_reason(*r).as_str()).collect();
        let reasons: Vec<&str> = REASONS.iter().map(|r| r.code()).collect();
        assert_eq!(codes, reasons);
        assert_eq!(codes.len(), Message::ALL.len());
    }

    #[test]
    fn answers_have_room_for_both_sentences() {
        for reason in REASONS {
            assert!(Told::of(reason, Language::English).is_none());
            let told = Told::of(reason, Language::French).unwrap();
            let UserMessage { text, plain, brief } = told.as_message();
            assert!(text.chars().count() <= 250, "{text}");
            assert!(plain.len() <= 250 && plain.is_ascii(), "{plain}");
            assert!(brief.len() <= 80 && brief.is_ascii(), "{brief}");
        }
    }
}
