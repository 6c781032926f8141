//! Whether markup does more than show something.
//!
//! In: a whole document. Out: yes or no.
//! A search for words, which a page can hide from; so web pages are refused anyway unless a rule lists them.

/// Whether markup has a script in it; `is_page` if it is made for browsers, which know more ways to run one.
pub(crate) fn runs(bytes: &[u8], is_page: bool) -> bool {
    let lower = bytes.to_ascii_lowercase();
    // Elements of web pages run in other XML too, under a prefix.
    let script = memchr::memmem::find_iter(&lower, b"script").any(|at| {
        let before = at.checked_sub(1).and_then(|at| lower.get(at)).copied();
        let behind = lower.get(at.saturating_add(6)).copied();
        matches!(before, Some(b'<' | b':'))
            && behind.is_none_or(|b| b.is_ascii_whitespace() || matches!(b, b'>' | b'/'))
    });
    let has = |word: &&[u8]| memchr::memmem::find(&lower, word).is_some();
    if script || !is_page {
        return script;
    }
    if RUNS.iter().any(has) {
        return true;
    }
    // An event handler: `onload =`.
    memchr::memmem::find_iter(&lower, b"on").any(|at| {
        let before = at.checked_sub(1).and_then(|at| lower.get(at)).copied();
        let bounded = before.is_some_and(|b| b.is_ascii_whitespace() || b"/\"'".contains(&b));
        let rest = lower.get(at..).unwrap_or_default();
        let near = rest.get(..LONGEST_HANDLER).unwrap_or(rest);
        let name = near.iter().take_while(|b| b.is_ascii_lowercase()).count();
        let behind = near.get(name..).unwrap_or_default().trim_ascii_start();
        bounded && name > 2 && behind.starts_with(b"=")
    })
}

/// Words of what a page runs or fetches to run.
const RUNS: [&[u8]; 7] = [
    b"javascript:",
    b"vbscript:",
    b"<iframe",
    b"<object",
    b"<embed",
    b"<applet",
    b"<foreignobject",
];

/// Longest name of an event handler, with what stands before its value.
const LONGEST_HANDLER: usize = 40;
