//! Lines of a file and how they may be shown.
//!
//! In: a text and a span. Out: line, column and an excerpt without secrets and without control characters.

use std::ops::Range;
use std::path::Path;

use crate::error::Spot;

/// A text and where its lines begin.
#[derive(Debug)]
pub(crate) struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        let after = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        Self {
            text,
            starts: std::iter::once(0).chain(after).collect(),
        }
    }

    /// The number of the line with this byte, from 1.
    pub(crate) fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|&start| start <= byte).max(1)
    }

    /// What to show for a span.
    pub(crate) fn spot(&self, file: &Path, start: usize, end: usize, secret: bool) -> Spot {
        let start = self.floor(start.min(self.text.len()));
        let end = self.floor(end.min(self.text.len())).max(start);
        let line = self.line_of(start);
        let begin = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        let rest = self.text.get(begin..).unwrap_or_default();
        let whole = rest.lines().next().unwrap_or_default();
        let count = |range: Range<usize>| self.text.get(range).unwrap_or_default().chars().count();
        let before = count(begin..start);
        let line_end = begin.saturating_add(whole.len());
        let width = count(start..end.min(line_end).max(start)).max(1);
        let mut shown = mask(whole);
        if secret {
            let inside = before..before.saturating_add(width);
            let stars = |(at, c)| if inside.contains(&at) { '*' } else { c };
            shown = shown.chars().enumerate().map(stars).collect();
        }
        let (excerpt, indent, width) = window(&shown, before, width);
        Spot {
            file: file.to_owned(),
            line,
            column: before.saturating_add(1),
            excerpt,
            indent,
            width,
        }
    }

    fn floor(&self, byte: usize) -> usize {
        self.text.floor_char_boundary(byte)
    }
}

/// A line as it may be shown: as many characters as before.
///
/// Masked are words that look like keys or digests (base64 of 32 bytes, long hexadecimal), because a private key may stand
/// where a public one belongs, and whatever is given to a key that is called after a secret instead of a file with one.
pub(crate) fn mask(line: &str) -> String {
    let secret = secret_value(line);
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let length = rest
            .find(|c: char| !is_key_character(c))
            .unwrap_or(rest.len());
        let (word, after) = match length {
            0 => rest.split_at(first.len_utf8()),
            _ => rest.split_at(length),
        };
        let offset = line.len().saturating_sub(rest.len());
        if looks_secret(word) || secret.is_some_and(|from| offset >= from) {
            let keep = if secret.is_some() { 0 } else { KEPT };
            shown.extend(word.chars().take(keep));
            shown.extend(word.chars().skip(keep).map(|_| '*'));
        } else {
            shown.extend(word.chars().map(visible));
        }
        rest = after;
    }
    shown
}

/// Where the value begins on a line like `private_key = "…"`.
fn secret_value(line: &str) -> Option<usize> {
    let (key, value) = line.split_once('=')?;
    let name = key.trim().trim_matches(['"', '\'']).to_ascii_lowercase();
    let pin = name == "pin" || name.ends_with("_pin");
    let secret = pin || SECRET_WORDS.iter().any(|word| name.contains(word));
    let spaces = value.len().saturating_sub(value.trim_start().len());
    let begin = key.len().saturating_add(1).saturating_add(spaces);
    let harmless = name.ends_with("_file") || name == "private_creators";
    (secret && !harmless).then_some(begin)
}

fn looks_secret(word: &str) -> bool {
    let hexadecimal = word.len() >= 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let has = |kind: fn(&u8) -> bool| word.bytes().any(|b| kind(&b));
    let mixed =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    hexadecimal || (word.len() >= 40 && (mixed || word.ends_with('=')))
}

fn is_key_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

/// A text without what a terminal could obey.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// Control characters and marks of writing direction could make a terminal show something else than what is there.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Cuts a long line to the part around the caret.
fn window(line: &str, indent: usize, width: usize) -> (String, usize, usize) {
    let length = line.chars().count();
    if length <= LONGEST {
        return (line.to_owned(), indent, width);
    }
    let skip = indent.saturating_sub(LONGEST / 4);
    let mut excerpt = String::new();
    if skip > 0 {
        excerpt.push('…');
    }
    excerpt.extend(line.chars().skip(skip).take(LONGEST));
    if skip.saturating_add(LONGEST) < length {
        excerpt.push('…');
    }
    let indent = indent
        .saturating_sub(skip)
        .saturating_add(usize::from(skip > 0));
    let room = excerpt.chars().count().saturating_sub(indent).max(1);
    (excerpt, indent, width.min(room))
}

/// Longest excerpt in characters.
const LONGEST: usize = 120;
/// Characters of a masked word that stay, so that one can tell keys apart.
const KEPT: usize = 4;
/// Parts of key names that announce a secret.
const SECRET_WORDS: &[&str] = &[
    "private",
    "preshared",
    "psk",
    "secret",
    "password",
    "passphrase",
    "token",
    "patient",
    // Somebody may write a PIN there.
    "environment",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_lines_and_characters() {
        let lines = Lines::new("a = 1\nü = \"x\"\r\n\nend");
        let spot = lines.spot(Path::new("f"), 11, 14, false);
        assert_eq!((spot.line, spot.column, spot.width), (2, 5, 3));
        assert_eq!(spot.excerpt, "ü = \"x\"");
        assert_eq!(lines.spot(Path::new("f"), 17, 17, false).line, 4);
        assert_eq!(lines.spot(Path::new("f"), 999, 1005, false).line, 4);
        assert_eq!(Lines::new("").spot(Path::new("f"), 0, 0, true).line, 1);
    }

    #[test]
    fn masks_what_could_be_a_secret() {
        let key = "GKVwpUlBqwtTJyFyCdHPzQbYdT0Lhf7Yl9SmI3aV+Xw=";
        for line in [
            format!("private_key_file = \"{key}\""),
            format!("wireguard = \"{key}\""),
            format!("patients = [\"hmac:{}\"]", "5f".repeat(32)),
            "preshared_key = \"open sesame\"".to_owned(),
            "\"admin-password\" = 'hunter2'".to_owned(),
            "user_pin = \"4711\"".to_owned(),
            "patients = [\"MRN4711\"]".to_owned(),
        ] {
            let shown = mask(&line);
            assert_eq!(shown.chars().count(), line.chars().count());
            for leak in [key, "sesame", "hunter2", "4711", &"5f".repeat(8)] {
                assert!(!shown.contains(leak), "{shown}");
            }
        }
        let path = "private_key_file = \"/etc/lazaret/keys/gateway/wireguard/private.key\"";
        assert_eq!(mask(path), path);
    }

    #[test]
    fn shows_no_control_characters_and_cuts_long_lines() {
        assert_eq!(mask("a\u{1b}[31m\tb\u{202e}"), "a\u{fffd}[31m b\u{fffd}");
        let long = format!("{}X{}", "a ".repeat(300), "b ".repeat(300));
        let (excerpt, indent, width) = window(&long, 600, 1);
        assert_eq!(excerpt.chars().nth(indent), Some('X'));
        assert_eq!(width, 1);
        assert!(excerpt.chars().count() <= LONGEST + 2);
    }
}
