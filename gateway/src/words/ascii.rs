//! A sentence for those who have no accents: terminals, protocols and character sets of ASCII alone.

use std::borrow::Cow;

/// The same without accents and typographic signs; whatever has no such form becomes a question mark.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => out.push(c),
            other => out.push_str(folded(other)),
        }
    }
    Cow::Owned(out)
}

fn folded(c: char) -> &'static str {
    match c {
        'à' | 'â' | 'ä' => "a",
        'ç' => "c",
        'é' | 'è' | 'ê' | 'ë' => "e",
        'î' | 'ï' => "i",
        'ô' | 'ö' => "o",
        'ù' | 'û' | 'ü' => "u",
        'ÿ' => "y",
        'œ' => "oe",
        'æ' => "ae",
        'À' | 'Â' | 'Ä' => "A",
        'Ç' => "C",
        'É' | 'È' | 'Ê' | 'Ë' => "E",
        'Î' | 'Ï' => "I",
        'Ô' | 'Ö' => "O",
        'Ù' | 'Û' | 'Ü' => "U",
        'Œ' => "OE",
        'Æ' => "AE",
        '’' | '‘' => "'",
        '«' | '»' | '“' | '”' => "\"",
        '–' | '—' => "-",
        '…' => "...",
        '\u{a0}' | '\u{202f}' => " ",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::{Code, Language};

    #[test]
    fn accents_are_left_out() {
        assert_eq!(
            plain("L’hôpital n’a rien reçu\u{a0}: réessayez."),
            "L'hopital n'a rien recu : reessayez."
        );
        assert_eq!(plain("日"), "?");
        assert!(matches!(plain("as it was"), Cow::Borrowed(_)));
    }

    #[test]
    fn every_sentence_has_a_plain_form() {
        for code in Code::all() {
            let words = code.words(Language::French).to_string();
            let plain = plain(&words);
            assert!(plain.is_ascii() && !plain.contains('?'), "{plain}");
        }
    }
}
