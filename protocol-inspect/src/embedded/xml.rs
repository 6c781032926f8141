//! Whether a document is well-formed XML within bounds, without a document type.
//!
//! In: the bytes of a document. Out: the name of its root element, or what is wrong with it.
//! Our own, because it judges and keeps nothing: one pass, a stack of names of bounded height, no recursion, no entity
//! but the five of the standard, so that nothing can expand and nothing is fetched.
//! A test compares it with an independent parser.
//! Knows nothing of schemas; namespaces are names like others.

use crate::severity::Weight;

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    pub(crate) weight: Weight,
    pub(crate) detail: &'static str,
}

/// Judges a document; the name of its root element without prefix.
///
/// `charset_checked` says that the bytes were judged as part of the message; else they must be UTF-8, or in a
/// single-byte set that the document declares.
//= XML 1.0 2.1
pub(crate) fn judge(bytes: &[u8], charset_checked: bool) -> Result<&[u8], Wrong> {
    // Anywhere, in comments too: somebody may look for them with less care than a parser has.
    if ["<!DOCTYPE", "<!ENTITY"]
        .iter()
        .any(|word| memchr::memmem::find(bytes, word.as_bytes()).is_some())
    {
        return Err(Wrong {
            weight: Weight::Firm,
            detail: DOCTYPE,
        });
    }
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = Reader { rest: body };
    let encoding = declaration(&mut reader)?;
    if !charset_checked {
        match encoding {
            Encoding::Utf8 if std::str::from_utf8(bytes).is_err() => {
                return wrong("is XML that is not UTF-8 and declares no other character set");
            }
            Encoding::Utf8 | Encoding::SingleByte => {}
        }
    }
    if body.iter().any(|b| matches!(b, 0..=8 | 11 | 12 | 14..=31)) {
        return wrong("is XML with a control byte");
    }
    document(&mut reader)
}

/// What is said of a document type, wherever it is found.
pub(crate) const DOCTYPE: &str = "has a document type or entity declaration";

/// Which bytes are letters.
enum Encoding {
    Utf8,
    /// ASCII and one of its supersets in which each byte is a character.
    SingleByte,
}

/// What is not yet read.
struct Reader<'x> {
    rest: &'x [u8],
}

impl<'x> Reader<'x> {
    fn take(&mut self, word: &[u8]) -> bool {
        match self.rest.strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn advance(&mut self, length: usize) -> &'x [u8] {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .unwrap_or((self.rest, &[]));
        self.rest = rest;
        taken
    }

    /// Up to and with `end`.
    fn until(&mut self, end: &[u8]) -> Option<&'x [u8]> {
        let at = memchr::memmem::find(self.rest, end)?;
        let inner = self.advance(at);
        self.advance(end.len());
        Some(inner)
    }

    /// Whether there was at least one blank.
    fn blanks(&mut self) -> bool {
        let length = self.rest.iter().take_while(|b| is_blank(**b)).count();
        self.advance(length);
        length > 0
    }

    //= XML 1.0 2.3
    fn name(&mut self) -> Result<&'x [u8], Wrong> {
        let first = self.rest.first().copied().unwrap_or_default();
        if !matches!(first, b'_' | b':' | b'a'..=b'z' | b'A'..=b'Z' | 0x80..) {
            return wrong("is XML with something else where a name belongs");
        }
        let is_name = |b: &u8| matches!(b, b'-' | b'.' | b'_' | b':' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | 0x80..);
        let length = self.rest.iter().take_while(|b| is_name(b)).count();
        if length > LONGEST_NAME {
            return wrong("is XML with a name of more than 256 bytes");
        }
        Ok(self.advance(length))
    }
}

/// `<?xml … ?>`, if there is one.
//= XML 1.0 2.8
fn declaration(reader: &mut Reader<'_>) -> Result<Encoding, Wrong> {
    let begins = reader.rest.strip_prefix(b"<?xml");
    if !begins.is_some_and(|rest| rest.first().is_some_and(|b| is_blank(*b))) {
        return Ok(Encoding::Utf8);
    }
    reader.take(b"<?xml");
    let malformed = "is XML with a malformed declaration";
    let mut encoding = Encoding::Utf8;
    let mut expected: &[&[u8]] = &[b"version", b"encoding", b"standalone"];
    loop {
        let blank = reader.blanks();
        if reader.take(b"?>") {
            // The version is required.
            return if expected.len() < 3 {
                Ok(encoding)
            } else {
                wrong(malformed)
            };
        }
        let name = reader.name()?;
        let Some(position) = expected.iter().position(|e| *e == name) else {
            return wrong(malformed);
        };
        if !blank || (expected.len() == 3 && position > 0) {
            return wrong(malformed);
        }
        expected = expected
            .get(position.saturating_add(1)..)
            .unwrap_or_default();
        let value = value(reader)?;
        let good = match name {
            b"version" => matches!(value, [b'1', b'.', b'0'..=b'9', ..]) && value.len() == 3,
            b"encoding" => {
                encoding = named(value)?;
                true
            }
            _ => matches!(value, b"yes" | b"no"),
        };
        if !good {
            return wrong(malformed);
        }
    }
}

/// Only character sets in which `<` is `<` and nothing else is.
fn named(name: &[u8]) -> Result<Encoding, Wrong> {
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    if is(b"UTF-8") || is(b"UTF8") {
        return Ok(Encoding::Utf8);
    }
    let starts = |word: &[u8]| {
        name.get(..word.len())
            .is_some_and(|s| s.eq_ignore_ascii_case(word))
    };
    if is(b"US-ASCII") || is(b"ASCII") || starts(b"ISO-8859-") || starts(b"windows-125") {
        return Ok(Encoding::SingleByte);
    }
    wrong("is XML in a character set that is not carried")
}

fn document<'x>(reader: &mut Reader<'x>) -> Result<&'x [u8], Wrong> {
    let mut open: Vec<&[u8]> = Vec::new();
    let mut root: Option<&[u8]> = None;
    let mut elements = 0_usize;
    loop {
        let length = memchr::memchr(b'<', reader.rest).unwrap_or(reader.rest.len());
        text(reader.advance(length), !open.is_empty())?;
        if reader.rest.is_empty() {
            break;
        }
        if reader.take(b"<!--") {
            comment(reader)?;
        } else if reader.take(b"<?") {
            instruction(reader)?;
        } else if reader.take(b"</") {
            let name = reader.name()?;
            reader.blanks();
            if open.pop() != Some(name) || !reader.take(b">") {
                return wrong("is XML with an end of another element than is open");
            }
        } else if !open.is_empty() && reader.take(b"<![CDATA[") {
            if reader.until(b"]]>").is_none() {
                return wrong("is XML that ends within a CDATA section");
            }
        } else {
            if open.is_empty() && root.is_some() {
                return wrong("is XML with more than one root");
            }
            reader.take(b"<");
            let name = reader.name()?;
            root.get_or_insert(name);
            elements = elements.saturating_add(1);
            if elements > MOST_ELEMENTS {
                return wrong("is XML with more than 100000 elements");
            }
            if attributes(reader)? {
                open.push(name);
                if open.len() > DEEPEST {
                    return wrong("is XML with more than 128 elements inside of each other");
                }
            }
        }
    }
    match root {
        Some(name) if open.is_empty() => Ok(name.rsplit(|b| *b == b':').next().unwrap_or(name)),
        Some(_) => wrong("is XML that ends within an element"),
        None => wrong("is XML without a root element"),
    }
}

/// The rest of a start tag; whether an end tag must follow.
//= XML 1.0 3.1
fn attributes(reader: &mut Reader<'_>) -> Result<bool, Wrong> {
    let mut names: Vec<&[u8]> = Vec::new();
    loop {
        let blank = reader.blanks();
        if reader.take(b">") {
            return Ok(true);
        }
        if reader.take(b"/>") {
            return Ok(false);
        }
        if !blank {
            return wrong("is XML with a malformed tag");
        }
        let name = reader.name()?;
        if names.contains(&name) {
            return wrong("is XML with an attribute twice");
        }
        names.push(name);
        if names.len() > MOST_ATTRIBUTES {
            return wrong("is XML with more than 64 attributes of one element");
        }
        let value = value(reader)?;
        if value.contains(&b'<') {
            return wrong("is XML with `<` in an attribute");
        }
        references(value)?;
    }
}

/// `="…"`
fn value<'x>(reader: &mut Reader<'x>) -> Result<&'x [u8], Wrong> {
    reader.blanks();
    if reader.take(b"=") {
        reader.blanks();
        for quote in [b"\"", b"'"] {
            if reader.take(quote) {
                let inner = reader.until(quote);
                return inner.map_or_else(|| wrong("is XML that ends within a value"), Ok);
            }
        }
    }
    wrong("is XML with an attribute without value")
}

fn text(bytes: &[u8], inside: bool) -> Result<(), Wrong> {
    if !inside {
        return if bytes.iter().all(|b| is_blank(*b)) {
            Ok(())
        } else {
            wrong("is XML with text outside of its root element")
        };
    }
    if memchr::memmem::find(bytes, b"]]>").is_some() {
        return wrong("is XML with `]]>` in its text");
    }
    references(bytes)
}

/// Character references and the five entities of the standard.
//= XML 1.0 4.1
fn references(bytes: &[u8]) -> Result<(), Wrong> {
    for at in memchr::memchr_iter(b'&', bytes) {
        let rest = bytes.get(at.saturating_add(1)..).unwrap_or_default();
        let near = rest.get(..LONGEST_REFERENCE).unwrap_or(rest);
        let end = near.iter().position(|b| *b == b';');
        let name = end.and_then(|end| near.get(..end));
        let good = match name {
            Some(b"amp" | b"lt" | b"gt" | b"apos" | b"quot") => true,
            Some([b'#', b'x', digits @ ..]) => is_character(digits, 16),
            Some([b'#', digits @ ..]) => is_character(digits, 10),
            Some(_) | None => false,
        };
        if !good {
            return wrong("is XML with a reference to an entity that nobody declares");
        }
    }
    Ok(())
}

fn is_character(digits: &[u8], radix: u32) -> bool {
    let digit = |b: &u8| char::from(*b).is_digit(radix);
    let number = std::str::from_utf8(digits)
        .ok()
        .filter(|_| digits.iter().all(digit))
        .and_then(|digits| u32::from_str_radix(digits, radix).ok());
    number.and_then(char::from_u32).is_some_and(|c| {
        !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
    })
}

fn comment(reader: &mut Reader<'_>) -> Result<(), Wrong> {
    match reader.until(b"--") {
        Some(_) if reader.take(b">") => Ok(()),
        Some(_) => wrong("is XML with `--` in a comment"),
        None => wrong("is XML that ends within a comment"),
    }
}

//= XML 1.0 2.6
fn instruction(reader: &mut Reader<'_>) -> Result<(), Wrong> {
    let target = reader.name()?;
    if target.eq_ignore_ascii_case(b"xml") {
        return wrong("is XML with its declaration in another place than the first");
    }
    if reader.take(b"?>") {
        return Ok(());
    }
    if !reader.blanks() {
        return wrong("is XML with a malformed processing instruction");
    }
    match reader.until(b"?>") {
        // A viewer runs the style sheet; one that comes with it is its own, one from elsewhere is anybody's.
        Some(inner)
            if target == b"xml-stylesheet"
                && [b"//".as_slice(), b"\\\\", b"data:", b"&"]
                    .iter()
                    .any(|word| memchr::memmem::find(inner, word).is_some()) =>
        {
            Err(Wrong {
                weight: Weight::Content,
                detail: "is XML with a style sheet from elsewhere",
            })
        }
        Some(_) => Ok(()),
        None => wrong("is XML that ends within a processing instruction"),
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn wrong<T>(detail: &'static str) -> Result<T, Wrong> {
    Err(Wrong {
        weight: Weight::Content,
        detail,
    })
}

/// Most elements inside of each other.
//= C7
const DEEPEST: usize = 128;
/// Most elements of a document.
//= C7
const MOST_ELEMENTS: usize = 100_000;
/// Most attributes of an element; each is compared with those before it.
//= C7
const MOST_ATTRIBUTES: usize = 64;
/// Longest name of an element or attribute.
//= C7
const LONGEST_NAME: usize = 256;
/// Longest name of a reference, with its semicolon: leading zeros are no reason for more.
//= C7
const LONGEST_REFERENCE: usize = 16;

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
