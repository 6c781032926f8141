//! What is known of character sets in both worlds: which bytes and pairs have a character, and which characters hide.
//!
//! In: a byte, a character, the bytes of one character. Out: whether the set has it.
//! Knows nothing of how a protocol declares and switches sets.

use encoding_rs::{DecoderResult, Encoding};

/// Whether a part of ISO 8859 gives a byte a character. 0x80 to 0x9F are control bytes in all parts.
/// Part 11 is TIS 620 here, which has no 0xA0.
pub(crate) fn is_iso_8859(part: u8, byte: u8) -> bool {
    if byte < 0x80 {
        return true;
    }
    if byte < 0xa0 {
        return false;
    }
    match part {
        3 => !matches!(byte, 0xa5 | 0xae | 0xbe | 0xc3 | 0xd0 | 0xe3 | 0xf0),
        6 => matches!(
            byte,
            0xa0 | 0xa4 | 0xac | 0xad | 0xbb | 0xbf | 0xc1..=0xda | 0xe0..=0xf2
        ),
        7 => !matches!(byte, 0xae | 0xd2 | 0xff),
        8 => !matches!(byte, 0xa1 | 0xbf..=0xde | 0xfb | 0xfc | 0xff),
        11 => !matches!(byte, 0xa0 | 0xdb..=0xde | 0xfc..=0xff),
        _ => true,
    }
}

/// What a receiver may take for the end of a line or of a text, and nobody sees.
pub(crate) fn is_hidden_structure(c: char) -> bool {
    matches!(
        c,
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}'
    )
}

/// What changes the direction of the text behind it.
pub(crate) fn is_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether the bytes of one character are text of the encoding without anything that hides structure.
pub(crate) fn decodes(encoding: &'static Encoding, bytes: &[u8]) -> bool {
    let mut out = [0_u8; 16];
    let (result, _, written) = encoding
        .new_decoder_without_bom_handling()
        .decode_to_utf8_without_replacement(bytes, &mut out, true);
    let text = std::str::from_utf8(out.get(..written).unwrap_or_default());
    let odd = |c: char| c.is_ascii() || is_hidden_structure(c) || is_direction(c);
    result == DecoderResult::InputEmpty && text.is_ok_and(|text| !text.chars().any(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_undefined_positions_are_those_of_an_independent_table() {
        // encoding_rs decodes 0x80 to 0x9F leniently, so only the upper half is compared.
        // Part 1 and 9 are widened to Windows sets there, and are complete from 0xA0 on anyway.
        for (part, label) in [
            (2, "8859-2"),
            (3, "8859-3"),
            (4, "8859-4"),
            (5, "8859-5"),
            (6, "8859-6"),
            (7, "8859-7"),
            (8, "8859-8"),
            (11, "8859-11"),
            (15, "8859-15"),
        ] {
            let label = format!("iso-{label}");
            let encoding = Encoding::for_label(label.as_bytes()).unwrap();
            for byte in 0xa0..=0xff_u8 {
                let (_, bad) = encoding.decode_without_bom_handling(&[byte]);
                let no_break_space = part == 11 && byte == 0xa0;
                let defined = is_iso_8859(part, byte) || no_break_space;
                assert_eq!(defined, !bad, "{label} {byte:02x}");
            }
        }
    }
}
