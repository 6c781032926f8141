//! Regular expressions over bytes, in time linear in the value and bounded memory.
//!
//! In: the text of a pattern and a value. Out: whether the whole value matches.
//! Knows nothing of character sets: `.` is a byte.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// A pattern that a whole value must match. It is compiled when it is first needed, once for all policies that have it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Pattern {
    text: String,
    /// `None` inside if it is no pattern, which the configuration does not let happen; then nothing matches.
    compiled: OnceLock<Option<Arc<Regex>>>,
}

impl Pattern {
    /// A pattern of this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            compiled: OnceLock::new(),
        }
    }

    /// Whether it is one.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.regex().is_some()
    }

    /// Whether the whole value matches.
    pub(super) fn matches(&self, value: &[u8]) -> bool {
        self.regex().is_some_and(|regex| regex.is_match(value))
    }

    fn regex(&self) -> Option<&Regex> {
        let shared = || shared(&self.text);
        self.compiled.get_or_init(shared).as_deref()
    }
}

/// Thousands of connections have the same few patterns, and a compiled one is large.
fn shared(text: &str) -> Option<Arc<Regex>> {
    static ALL: Mutex<BTreeMap<String, Weak<Regex>>> = Mutex::new(BTreeMap::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(text).and_then(Weak::upgrade) {
        return Some(known);
    }
    // Only patterns of policies that are in force stay, and those are bounded by the configuration.
    all.retain(|_, regex| regex.strong_count() > 0);
    // Alone first: what is no expression by itself could become one between the anchors.
    compile(text)?;
    let regex = Arc::new(compile(&format!(r"\A(?:{text})\z"))?);
    all.insert(text.to_owned(), Arc::downgrade(&regex));
    Some(regex)
}

fn compile(pattern: &str) -> Option<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).size_limit(MOST_BYTES);
    builder.nest_limit(DEEPEST).build().ok()
}

/// Most bytes of a compiled pattern.
//= C7
const MOST_BYTES: usize = 256 << 10;
/// Deepest nesting of a pattern.
//= C7
const DEEPEST: u32 = 32;

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> Self {
        pattern.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_value_matches() {
        let eight = Pattern::new("[0-9]{8}");
        assert!(eight.is_valid() && eight.matches(b"12345678"));
        for bad in [
            &b"1234567"[..],
            b"123456789",
            b"12345678\n",
            b"x12345678",
            b"",
        ] {
            assert!(!eight.matches(bad), "{bad:?}");
        }
        let either = Pattern::new("a|b");
        assert!(either.matches(b"a") && either.matches(b"b"));
        assert!(!either.matches(b"ax") && !either.matches(b"xb"));
        assert!(Pattern::new(".").matches(b"\xe9") && !Pattern::new(".").matches("é".as_bytes()));
        assert!(Pattern::new("(?m)^a$").matches(b"a") && !Pattern::new("(?m)^a$").matches(b"a\nb"));
    }

    #[test]
    fn what_is_no_pattern_matches_nothing() {
        let big = "(?:a{100}){100}".repeat(10);
        for bad in [
            "[0-9",
            "a)|(b",
            "(?x)a#",
            r"(a)\1",
            &big,
            &"(".repeat(100_000),
        ] {
            let pattern = Pattern::new(bad);
            assert!(!pattern.is_valid() && !pattern.matches(b"a") && !pattern.matches(b""));
        }
    }

    #[test]
    fn equal_patterns_are_compiled_once() {
        let (one, other) = (Pattern::new("shared[0-9]"), Pattern::new("shared[0-9]"));
        assert!(std::ptr::eq(one.regex().unwrap(), other.regex().unwrap()));
        assert_eq!(one, other);
    }
}
