//! How values and names from outside are shown: so that they tell no secrets, and cannot steer a terminal.

use std::fmt::Write;

/// A name or location; what a terminal would obey or hide is made visible.
pub(super) fn visible(text: &str) -> String {
    let one = |c: char| if is_invisible(c) { '\u{fffd}' } else { c };
    text.chars().map(one).collect()
}

/// A value as it is, escaped and cut.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut length = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if is_invisible(c) {
                // A String takes all that is written to it.
                let _ = match u8::try_from(c) {
                    Ok(byte) if c.is_ascii() => write!(text, "<0x{byte:02x}>"),
                    Ok(_) | Err(_) => write!(text, "<U+{:04X}>", u32::from(c)),
                };
            } else {
                text.push(c);
            }
            length += 1;
            if length == LONGEST {
                break;
            }
        }
        for byte in chunk.invalid().iter().take(LONGEST - length) {
            let _ = write!(text, "<0x{byte:02x}>");
            length += 1;
        }
        if length == LONGEST {
            break;
        }
    }
    if bytes.len() > LONGEST && length == LONGEST {
        let _ = write!(text, "… ({} bytes)", bytes.len());
    }
    text
}

/// What kind of value it is and how long, and nothing more.
pub(super) fn masked(bytes: &[u8]) -> String {
    let length = bytes.len();
    let all = |of: fn(&u8) -> bool| bytes.iter().all(of);
    let what = if all(u8::is_ascii_digit) {
        "digit"
    } else if all(u8::is_ascii_alphabetic) {
        "letter"
    } else if all(|b| b.is_ascii() && !b.is_ascii_control()) {
        "character"
    } else {
        "byte"
    };
    let ending = if length == 1 { "" } else { "s" };
    format!("<{length} {what}{ending}>")
}

/// Control characters, and those that change how others are shown or are not shown themselves.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Most characters of a value that are shown.
const LONGEST: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(shown(b"a\x1b[31m\x07"), "a<0x1b>[31m<0x07>");
        assert_eq!(
            shown("\u{9b}31m \u{202e}é".as_bytes()),
            "<U+009B>31m <U+202E>é"
        );
        assert_eq!(shown(b"M\xfcller\r"), "M<0xfc>ller<0x0d>");
        assert_eq!(visible("a\u{1b}\u{202e}\nb"), "a\u{fffd}\u{fffd}\u{fffd}b");
        let long = shown(&[b'x'; 61]);
        assert!(
            long.ends_with("xx… (61 bytes)") && long.len() < 80,
            "{long}"
        );
        assert_eq!(shown(&[b'x'; 60]), "x".repeat(60));
        assert_eq!(
            shown(&vec![0xff; 4 << 20]).len(),
            60 * 6 + "… (4194304 bytes)".len()
        );
    }

    #[test]
    fn masks_tell_length_and_kind() {
        let all: [(&[u8], &str); 6] = [
            (b"19700101", "<8 digits>"),
            (b"1", "<1 digit>"),
            (b"Eva", "<3 letters>"),
            (b"KH-1", "<4 characters>"),
            (b"\x00", "<1 byte>"),
            ("é".as_bytes(), "<2 bytes>"),
        ];
        for (value, mask) in all {
            assert_eq!(masked(value), mask);
        }
    }
}
