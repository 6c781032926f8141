//! Escape sequences inside text: is `\…\` one that the standard knows, and what would it become downstream?
//!
//! Nothing is decoded for forwarding. Hexadecimal data is looked at only because a receiver will decode it:
//! a carriage return or a block byte made of `\X..\` would be a segment or a frame that nobody judged.

use super::delimiters::Delimiters;
use super::finding::Weight;

/// What is wrong with an escape sequence, and who refuses for it.
pub(crate) type Complaint = (Weight, &'static str);

/// Judges what stands between two escape characters.
//= HL7 v2.5.1 2.7
pub(crate) fn judge(inner: &[u8], delimiters: &Delimiters) -> Result<(), Complaint> {
    match inner {
        [b'F' | b'S' | b'T' | b'R' | b'E' | b'H' | b'N'] => Ok(()),
        [b'P'] if delimiters.truncation.is_some() => Ok(()),
        [b'P'] => Err((
            Weight::Strict,
            "escapes a truncation character that is not declared",
        )),
        [b'X', digits @ ..] => hexadecimal(digits),
        [b'C', digits @ ..] => character_set(digits, &[4]),
        [b'M', digits @ ..] => character_set(digits, &[4, 6]),
        [b'.', command @ ..] => formatting(command),
        [b'Z', ..] => Ok(()),
        _ => Err((Weight::Content, "is not an escape sequence")),
    }
}

fn hexadecimal(digits: &[u8]) -> Result<(), Complaint> {
    let (pairs, rest) = digits.as_chunks::<2>();
    if pairs.is_empty() || !rest.is_empty() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err((
            Weight::Content,
            "is not an even number of hexadecimal digits",
        ));
    }
    let mut worst = Ok(());
    for pair in pairs {
        let found = match decode(pair) {
            0x0b | 0x0d | 0x1c => {
                return Err((
                    Weight::Firm,
                    "hides a carriage return or a block byte in hexadecimal data",
                ));
            }
            0x09 | 0x0a => (
                Weight::Strict,
                "hides a tab or line feed in hexadecimal data",
            ),
            0x00..0x20 | 0x7f => (Weight::Content, "hides a control byte in hexadecimal data"),
            0x20..0x7f | 0x80.. => continue,
        };
        worst = match worst {
            Err(before @ (weight, _)) if weight >= found.0 => Err(before),
            Ok(()) | Err(_) => Err(found),
        };
    }
    worst
}

fn decode(pair: &[u8; 2]) -> u8 {
    pair.iter().fold(0_u8, |value, digit| {
        let digit = char::from(*digit).to_digit(16).unwrap_or(0);
        value.wrapping_shl(4) | u8::try_from(digit).unwrap_or(0)
    })
}

fn character_set(digits: &[u8], lengths: &[usize]) -> Result<(), Complaint> {
    if lengths.contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit) {
        return Err((
            Weight::Strict,
            "switches to a character set that is not checked",
        ));
    }
    Err((Weight::Content, "is not a character set escape sequence"))
}

/// `.br`, `.sp+2`, `.in-4`, …
fn formatting(command: &[u8]) -> Result<(), Complaint> {
    let Some((name, argument)) = command.split_at_checked(2) else {
        return Err((Weight::Content, "is not a formatting command"));
    };
    let digits = match argument {
        [b'+' | b'-' | b' ', digits @ ..] => digits,
        digits => digits,
    };
    let numbered = digits.len() <= 4 && digits.iter().all(u8::is_ascii_digit);
    let bare_sign = digits.is_empty() && !argument.is_empty();
    let known = match name {
        b"br" | b"fi" | b"nf" | b"ce" => argument.is_empty(),
        b"sp" => numbered && !bare_sign,
        b"in" | b"ti" | b"sk" => numbered && !digits.is_empty(),
        _ => false,
    };
    if known {
        Ok(())
    } else if numbered && name.iter().all(u8::is_ascii_alphabetic) {
        Err((
            Weight::Strict,
            "is not a formatting command of the standard",
        ))
    } else {
        Err((Weight::Content, "is not a formatting command"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weigh(inner: &str) -> Option<Weight> {
        let plain = Delimiters::parse(b"MSH|^~\\&|").unwrap();
        judge(inner.as_bytes(), &plain).err().map(|c| c.0)
    }

    #[test]
    fn each_refusal_has_a_twin() {
        for (good, bad, weight) in [
            ("F", "Q", Weight::Content),
            ("E", "", Weight::Content),
            ("T", "TT", Weight::Content),
            ("Zxx", "zxx", Weight::Content),
            ("X41", "X4", Weight::Content),
            ("XE4FC", "XE4FG", Weight::Content),
            ("X20", "X0D", Weight::Firm),
            ("X20", "X20410d", Weight::Firm),
            ("X20", "X1C0D", Weight::Firm),
            ("X20", "X0A", Weight::Strict),
            ("X20", "X09", Weight::Strict),
            ("X20", "X0A00", Weight::Content),
            ("X7E", "X7F", Weight::Content),
            (".br", ".brx", Weight::Content),
            (".sp", ".sp+", Weight::Strict),
            (".sp+2", ".sp+22222", Weight::Content),
            (".in-4", ".in", Weight::Strict),
            (".br", ".xx", Weight::Strict),
            (".br", ".b", Weight::Content),
            ("H", "C2842", Weight::Strict),
            ("H", "C28", Weight::Content),
            ("H", "M284242", Weight::Strict),
            ("H", "P", Weight::Strict),
        ] {
            assert_eq!(weigh(good), None, "{good}");
            assert_eq!(weigh(bad), Some(weight), "{bad}");
        }
    }

    #[test]
    fn the_truncation_character_needs_its_declaration() {
        let declared = Delimiters::parse(b"MSH|^~\\&#|").unwrap();
        assert_eq!(judge(b"P", &declared), Ok(()));
    }
}
