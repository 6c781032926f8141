//! Words for people: what happened and what to do next, for each refusal and each alarm, in each language.
//!
//! In: a [`Code`] and a [`Language`]. Out: [`Words`]. A code without words in all languages does not compile.
//! Decides nothing, and knows no device, message or patient: what is particular stands beside it in records.

mod access;
mod alarm;
mod ascii;
mod certificate;
mod device;
mod enrolment;
mod message;
mod tunnel;

use std::fmt;

pub use lazaret_config::Language;

pub use self::access::Access;
pub use self::alarm::Alarm;
pub use self::ascii::plain;
pub use self::certificate::Certificate;
pub use self::device::Device;
pub use self::enrolment::Enrolment;
pub use self::message::Message;
pub use self::tunnel::Tunnel;

/// Two sentences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words {
    /// What happened.
    pub what: &'static str,
    /// What to do next.
    pub next: &'static str,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.next)
    }
}

/// Everything that people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Why a message is refused.
    Message(Message),
    /// How a device stands.
    Device(Device),
    /// Why a connection is refused or ended.
    Access(Access),
    /// Why a device is not enrolled.
    Enrolment(Enrolment),
    /// What is wrong with a certificate.
    Certificate(Certificate),
    /// Why a client has no tunnel.
    Tunnel(Tunnel),
    /// What is wrong with the gateway.
    Alarm(Alarm),
}

/// A kind of code: what it is about, and which there are.
pub struct Kind {
    /// In English.
    pub about: &'static str,
    /// In their order.
    pub codes: Vec<Code>,
}

impl Code {
    /// The code as it stands in tables and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message(code) => code.as_str(),
            Self::Device(code) => code.as_str(),
            Self::Access(code) => code.as_str(),
            Self::Enrolment(code) => code.as_str(),
            Self::Certificate(code) => code.as_str(),
            Self::Tunnel(code) => code.as_str(),
            Self::Alarm(code) => code.as_str(),
        }
    }

    /// What people are told.
    #[must_use]
    pub fn words(self, language: Language) -> Words {
        match self {
            Self::Message(code) => code.words(language),
            Self::Device(code) => code.words(language),
            Self::Access(code) => code.words(language),
            Self::Enrolment(code) => code.words(language),
            Self::Certificate(code) => code.words(language),
            Self::Tunnel(code) => code.words(language),
            Self::Alarm(code) => code.words(language),
        }
    }

    /// All codes by kind.
    #[must_use]
    pub fn kinds() -> Vec<Kind> {
        fn kind<T: Copy + Into<Code>>(about: &'static str, all: &[T]) -> Kind {
            let codes = all.iter().map(|code| (*code).into()).collect();
            Kind { about, codes }
        }
        vec![
            kind("Messages and images", Message::ALL),
            kind("Devices", Device::ALL),
            kind("Connections and remote sessions", Access::ALL),
            kind("Enrolment", Enrolment::ALL),
            kind("Certificates and handshakes", Certificate::ALL),
            kind("The client `lazaret connect`", Tunnel::ALL),
            kind("Alarms of the gateway", Alarm::ALL),
        ]
    }

    /// All codes.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::kinds().into_iter().flat_map(|kind| kind.codes)
    }

    /// By [`Self::as_str`].
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind of code: its names and its sentences, English and French beside each other.
macro_rules! words {
    ($(#[$about:meta])* $kind:ident { $(
        $name:ident = $code:literal
            en: $en_what:literal $en_next:literal
            fr: $fr_what:literal $fr_next:literal,
    )* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind { $( #[doc = $en_what] $name, )* }

        impl $kind {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            /// The code as it stands in tables and JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$name => $code, )* }
            }

            /// What people are told.
            #[must_use]
            pub fn words(self, language: super::Language) -> super::Words {
                let ((what, next), french) = match self { $(
                    Self::$name => (($en_what, $en_next), ($fr_what, $fr_next)),
                )* };
                match language {
                    super::Language::English => super::Words { what, next },
                    super::Language::French => super::Words { what: french.0, next: french.1 },
                }
            }
        }

        impl From<$kind> for super::Code {
            fn from(code: $kind) -> Self {
                Self::$kind(code)
            }
        }
    };
}
use words;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// In characters.
    const LONGEST: usize = 160;
    const NO_BREAK: char = '\u{a0}';

    fn sentences() -> impl Iterator<Item = (Code, Language, &'static str)> {
        Code::all().flat_map(|code| {
            Language::ALL.into_iter().flat_map(move |language| {
                let Words { what, next } = code.words(language);
                [(code, language, what), (code, language, next)]
            })
        })
    }

    #[test]
    fn codes_are_different_and_are_found() {
        let names: BTreeSet<&str> = Code::all().map(Code::as_str).collect();
        assert_eq!(names.len(), Code::all().count());
        for code in Code::all() {
            assert_eq!(Code::named(code.as_str()), Some(code));
            let letter = |c: char| c.is_ascii_lowercase() || c == '-';
            assert!(code.as_str().chars().all(letter), "{code}");
        }
        assert_eq!(Code::named("nothing"), None);
    }

    #[test]
    fn sentences_are_whole_and_short() {
        for (code, language, text) in sentences() {
            let name = format!("{code} in {language:?}: {text}");
            assert!(text.chars().count() <= LONGEST, "{name}");
            assert!(
                text.starts_with(char::is_uppercase) && text.ends_with('.'),
                "{name}"
            );
            for wrong in ["TODO", "{", "}", "  ", "\"", "|", "..", "XXX", "\t", "\n"] {
                assert!(!text.contains(wrong), "{name}");
            }
        }
    }

    #[test]
    fn languages_differ() {
        for code in Code::all() {
            let (english, french) = (code.words(Language::English), code.words(Language::French));
            assert_ne!(english.what, french.what, "{code}");
            assert_ne!(english.next, french.next, "{code}");
            assert!(english.to_string().is_ascii(), "{code}");
        }
    }

    /// Beside code, which stands between backticks.
    fn prose(text: &str) -> String {
        text.split('`').step_by(2).collect()
    }

    #[test]
    fn french_is_set_as_french_is() {
        for (code, language, text) in sentences() {
            if language != Language::French {
                continue;
            }
            let text = prose(text);
            assert!(!text.contains('\''), "{code}: {text}");
            let letters: Vec<char> = text.chars().collect();
            for pair in letters.windows(2) {
                if matches!(pair[1], ':' | ';' | '?' | '!' | '»') {
                    assert_eq!(pair[0], NO_BREAK, "{code}: {text}");
                }
            }
            // Vouvoiement alone.
            for word in text.split(|c: char| !c.is_alphabetic()) {
                let familiar = ["tu", "te", "toi", "ton", "ta", "tes"];
                assert!(!familiar.contains(&word.to_lowercase().as_str()), "{text}");
            }
        }
    }

    /// The text of MSA-3 has no more before version 2.5 of HL7.
    #[test]
    fn messages_are_told_in_eighty_letters() {
        for code in Message::ALL {
            for language in Language::ALL {
                let what = plain(code.words(language).what);
                assert!(what.len() <= 80, "{what}");
            }
        }
    }
}
