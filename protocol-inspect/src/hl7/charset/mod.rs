//! Whether every byte of a message fits the character sets that it declares in MSH-18 (HL7 table 0211).
//!
//! Three kinds of sets:
//! - ASCII, the parts of ISO 8859 and UTF-8 are checked as they stand (`single.rs`).
//! - Sets in which a delimiter can be part of a character, or that switch in the middle, are refused by name,
//!   because a receiver that decodes first sees other fields than one that does not. A rule can allow them
//!   (`charsets`): its destination decodes first. Then [`mask`] gives a copy of the message, of the same length,
//!   in which no byte of such a character is left (`wide.rs`), and the copy is examined in the message's place.
//! - The other forms of Unicode are always refused: their code units hold bytes that frame messages.
//!
//! Of several sets (MSH-18 repeats), the first is the default, and ISO 2022 escape sequences switch to the others.
//! Sets that add nothing to the first, ASCII above all, may always stand behind it.
//! `\\C..\\` and `\\M..\\` never switch, because in a set switched to, nothing tells an escape character from a letter:
//! `escape.rs` refuses them.

mod single;
mod wide;

use std::borrow::Cow;

use super::delimiters::Delimiters;
use super::finding::{ErrorCode, Fault, Finding, Findings, Weight};
use super::header::Version;
use super::judge::Case;
use super::message::{Message, segment_name};
use super::place::Place;
use super::policy::{Level, Policy, Rule};
use super::segment::{Field, Segment};
use crate::Reason;
use single::{Charset, Misfit};
use wide::{FIRST, FURTHER, Form, Shifted};

/// What one name in MSH-18 stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    /// A set that is checked as it stands; `exact` if the name is the table's own.
    Plain { charset: Charset, exact: bool },
    /// A set with a form of its own, which nothing switches to.
    Wide(Form),
    /// A set of ISO 2022, which escape sequences switch to.
    Switched,
    /// A set of the table that is never carried.
    Unsupported,
    /// Not in the table.
    Unknown,
}

/// Whether messages in the set of this name can be judged, if a rule allows it.
pub(crate) fn is_carried(name: &[u8]) -> bool {
    match Named::of(name) {
        Named::Plain { .. } | Named::Wide(_) | Named::Switched => true,
        Named::Unsupported | Named::Unknown => false,
    }
}

/// What all names of a message stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    /// One set that is checked as it stands.
    Plain { charset: Charset, exact: bool },
    /// One or more that need the permission of a rule.
    Masked(Form),
    /// Not carried, or unknown.
    Refused(&'static str, Reason),
}

/// The message as it is examined: as it came, or a copy of the same length in which all characters of several bytes
/// are masked, if it declares such a set and a rule allows it.
///
/// # Errors
/// When what is declared is not what stands there: then nobody knows where its fields end.
pub(crate) fn mask<'a>(content: &'a [u8], policy: &Policy) -> Result<Cow<'a, [u8]>, Box<Finding>> {
    let plain = Ok(Cow::Borrowed(content));
    if policy.rules.iter().all(|rule| rule.charsets.is_empty()) || !content.starts_with(b"MSH") {
        return plain;
    }
    let Ok(delimiters) = Delimiters::parse(content) else {
        return plain;
    };
    let end = memchr::memchr(b'\r', content).unwrap_or(content.len());
    let (head, _) = content.split_at_checked(end).unwrap_or((content, &[]));
    let msh = Segment::new(head, "MSH", 0, 1, delimiters);
    let names = msh.field(18);
    let Declared::Masked(form) = declared(&names, &policy.default_charset) else {
        return plain;
    };
    if !policy.rules.iter().any(|rule| allows(rule, &names, policy)) {
        return plain;
    }
    // Who sends what to whom is read before anything is decoded.
    if let Some(at) = head.iter().position(|b| !b.is_ascii() || *b == 0x1b) {
        let detail = "is not ASCII, as the header must be in this character set";
        return Err(undecodable(Place::of(&msh, at), detail).into());
    }
    let mut masked = content.to_vec();
    let body = masked.get_mut(end..).unwrap_or_default();
    match form.mask(body) {
        Ok(()) => Ok(Cow::Owned(masked)),
        Err(Misfit { offset, detail }) => {
            let at = end.saturating_add(offset);
            Err(undecodable(place(&masked, at, delimiters), detail).into())
        }
    }
}

/// Judges the declaration, and the characters of sets that are checked as they stand.
//= HL7 v2.5.1 2.15.9.18
pub(crate) fn judge(
    message: &Message<'_>,
    msh: &Segment<'_>,
    policy: &Policy,
    findings: &mut Findings,
) {
    let names = message.head().field(18);
    let (charset, exact) = match declared(&names, &policy.default_charset) {
        Declared::Plain { charset, exact } => (charset, exact),
        Declared::Refused(detail, reason) => {
            findings.add(unreadable(message, detail, reason));
            return;
        }
        Declared::Masked(form) => {
            let allowed = policy.rules.iter().any(|rule| allows(rule, &names, policy));
            if !allowed || !is_masked(message.bytes(), form) {
                findings.add(unreadable(message, unallowed(&names), Reason::Unsupported));
            } else if let Form::Shifted(_) = form {
                scheme(message, msh, findings);
            }
            return;
        }
    };
    if !exact && names.is_valued() {
        let detail = "is not a name of table 0211";
        findings.add(Finding {
            weight: Weight::Strict,
            ..refused(detail, Reason::Field)
        });
    }
    let mut wrong = |weight, misfit: Misfit| {
        findings.add(Finding::new(
            weight,
            Reason::Encoding,
            message.place(misfit.offset),
            misfit.detail,
            ErrorCode::DataType,
            Fault::Content,
        ));
    };
    if let Some(misfit) = charset.misfit(message.bytes()) {
        wrong(Weight::Content, misfit);
    } else if charset == Charset::Utf8
        && let Some(misfit) = single::misdirection(message.bytes(), msh.delimiters())
    {
        wrong(Weight::Strict, misfit);
    }
}

/// Judges what only some rules allow.
pub(crate) fn judge_rule(case: &Case<'_>, findings: &mut Findings) {
    let policy = case.policy;
    if policy.rules.iter().all(|rule| rule.charsets.is_empty()) {
        return;
    }
    let names = case.message.head().field(18);
    let any = || policy.rules.iter().any(|rule| allows(rule, &names, policy));
    if let Declared::Masked(_) = declared(&names, &policy.default_charset)
        && !allows(case.rule, &names, policy)
        && any()
    {
        findings.add(unreadable(
            case.message,
            unallowed(&names),
            Reason::Unsupported,
        ));
    }
}

impl Named {
    /// Looks up a name of table 0211.
    fn of(name: &[u8]) -> Self {
        let (charset, exact) = match name {
            b"ASCII" | b"ISO IR6" => (Charset::Ascii, true),
            [b'8', b'8', b'5', b'9', b'/', digit @ b'1'..=b'9'] => {
                (Charset::Iso8859(digit.saturating_sub(b'0')), true)
            }
            b"8859/15" => (Charset::Iso8859(15), true),
            b"UNICODE UTF-8" => (Charset::Utf8, true),
            // Not in the table, but there is only one thing it can mean.
            b"UTF-8" | b"UTF8" => (Charset::Utf8, false),
            b"GB 18030-2000" => return Self::Wide(Form::Gb18030),
            b"BIG-5" => return Self::Wide(Form::Big5),
            b"KS X 1001" => return Self::Wide(Form::EucKr),
            b"CNS 11643-1992" => return Self::Wide(Form::EucTw),
            b"ISO IR14" | b"ISO IR87" | b"ISO IR159" => return Self::Switched,
            b"UNICODE" | b"UNICODE UTF-16" | b"UNICODE UTF-32" => return Self::Unsupported,
            _ => return Self::Unknown,
        };
        Self::Plain { charset, exact }
    }
}

/// The names in MSH-18, which is `field`, or that of the device.
fn names<'a>(field: &Field<'a>, default: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let field = *field;
    let given = field.is_valued();
    let all = given.then(|| field.repetitions().map(|name| name.component(1)));
    let alone = (!given).then_some(default.as_bytes());
    all.into_iter().flatten().chain(alone)
}

fn declared(field: &Field<'_>, default: &str) -> Declared {
    let mut others = names(field, default);
    let name = others.next().unwrap_or_default();
    // An empty first repetition is ASCII.
    let first = Named::of(if name.is_empty() { b"ASCII" } else { name });
    let adds_nothing = |other: &[u8]| {
        let ascii = Named::Plain {
            charset: Charset::Ascii,
            exact: true,
        };
        other.is_empty() || other == name || Named::of(other) == ascii
    };
    if names(field, default).skip(1).all(adds_nothing) {
        match first {
            Named::Plain { charset, exact } => return Declared::Plain { charset, exact },
            Named::Wide(form) => return Declared::Masked(form),
            Named::Switched => {}
            Named::Unsupported => {
                return Declared::Refused(NOT_CARRIED, Reason::Unsupported);
            }
            Named::Unknown => {
                return Declared::Refused("is not a known character set", Reason::Field);
            }
        }
    }
    let default_set = match first {
        Named::Plain {
            charset: Charset::Utf8,
            ..
        }
        | Named::Wide(_)
        | Named::Unsupported
        | Named::Unknown => return Declared::Refused(SEVERAL, Reason::Unsupported),
        Named::Plain { charset, .. } => charset,
        Named::Switched => Charset::Ascii,
    };
    if others.any(|other| !adds_nothing(other) && Named::of(other) != Named::Switched) {
        return Declared::Refused(SEVERAL, Reason::Unsupported);
    }
    let has = |wanted: &[u8]| names(field, default).any(|name| name == wanted);
    Declared::Masked(Form::Shifted(Shifted {
        default: default_set,
        roman: has(b"ISO IR14"),
        kanji: has(b"ISO IR87"),
        supplement: has(b"ISO IR159"),
    }))
}

/// Whether a rule allows all sets of a message that need it.
fn allows(rule: &Rule, field: &Field<'_>, policy: &Policy) -> bool {
    !rule.charsets.is_empty()
        && names(field, &policy.default_charset).all(|name| match Named::of(name) {
            Named::Wide(_) | Named::Switched => rule
                .charsets
                .iter()
                .any(|allowed| allowed.as_bytes() == name),
            Named::Plain { .. } | Named::Unsupported | Named::Unknown => true,
        })
}

/// Whether a text went through [`mask`]. Unmasked text of ISO 2022 is no message, for its control bytes.
fn is_masked(text: &[u8], form: Form) -> bool {
    matches!(form, Form::Shifted(_))
        || text
            .iter()
            .all(|b| b.is_ascii() || matches!(*b, FIRST | FURTHER))
}

/// MSH-20 tells how sets are switched.
//= HL7 v2.5.1 2.15.9.20
fn scheme(message: &Message<'_>, msh: &Segment<'_>, findings: &mut Findings) {
    let shifts = message.bytes().contains(&FURTHER);
    let named = msh.field(20);
    let too_old = Version::named(msh.field(12).component(1)).is_some_and(|v| v < Version::V2_3_1);
    if !shifts || too_old || named.component(1) == b"ISO 2022-1994" {
        return;
    }
    let (detail, code) = if named.is_valued() {
        let detail = "is not the scheme by which the message switches character sets";
        (detail, ErrorCode::TableValue)
    } else {
        let detail = "is required where the message switches character sets";
        (detail, ErrorCode::RequiredField)
    };
    findings.add(Finding::new(
        Weight::Strict,
        Reason::Encoding,
        Place::msh(20),
        detail,
        code,
        Fault::Content,
    ));
}

fn unallowed(field: &Field<'_>) -> &'static str {
    match field.repetitions().nth(1) {
        Some(_) => SEVERAL,
        None => NOT_CARRIED,
    }
}

/// A set that is not carried. Where there is more than ASCII nobody knows then which fields a receiver sees,
/// so that no profile may let it pass.
fn unreadable(message: &Message<'_>, detail: &'static str, reason: Reason) -> Finding {
    let weight = if message.bytes().is_ascii() {
        Weight::Content
    } else {
        Weight::Firm
    };
    let finding = refused(detail, reason).at_level(Level::Encoding);
    Finding { weight, ..finding }
}

fn refused(detail: &'static str, reason: Reason) -> Finding {
    Finding::new(
        Weight::Content,
        reason,
        Place::msh(18),
        detail,
        ErrorCode::TableValue,
        Fault::Content,
    )
}

fn undecodable(place: Place, detail: &'static str) -> Finding {
    Finding::firm(
        Reason::Encoding,
        place,
        detail,
        ErrorCode::DataType,
        Fault::Content,
    )
}

/// The place of a byte in a message that is masked up to there.
fn place(masked: &[u8], at: usize, delimiters: Delimiters) -> Place {
    let (before, _) = masked.split_at_checked(at).unwrap_or((masked, &[]));
    let start = memchr::memrchr(b'\r', before).map_or(0, |cr| cr.saturating_add(1));
    let (others, segment) = before.split_at_checked(start).unwrap_or((before, &[]));
    // Names are not judged yet: what is none is content, and content is not told.
    let Some(text) = segment_name(segment, delimiters.field) else {
        return Place::default().byte(at);
    };
    let name = text.as_bytes();
    let same = others
        .split(|b| *b == b'\r')
        .filter(|s| s.starts_with(name));
    let occurrence = same.count().saturating_add(1);
    Place::of(
        &Segment::new(segment, text, start, occurrence, delimiters),
        at,
    )
}

const NOT_CARRIED: &str = "this character set is not carried";
const SEVERAL: &str = "more than one character set is not carried";

#[cfg(test)]
mod tests;
