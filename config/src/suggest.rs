//! "Did you mean …": the nearest of the words that would have been right.

/// A help line that names the nearest word, if one is near.
pub(crate) fn did_you_mean<'n>(
    word: &str,
    words: impl IntoIterator<Item = &'n str>,
) -> Option<String> {
    closest(word, words).map(|near| format!("did you mean `{near}`?"))
}

/// The nearest word, if one is near.
pub(crate) fn closest<'n>(word: &str, words: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let mut best: Option<(&str, f64)> = None;
    for candidate in words {
        let lower = candidate.to_lowercase();
        if lower == word {
            return Some(candidate);
        }
        let edits = strsim::damerau_levenshtein(&word, &lower);
        let few = edits.saturating_mul(3) <= word.chars().count().max(3);
        let likeness = strsim::jaro_winkler(&word, &lower);
        if (few || likeness >= ALIKE) && best.is_none_or(|(_, most)| likeness > most) {
            best = Some((candidate, likeness));
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// All words in one line, for when none is near.
pub(crate) fn one_of<'n>(words: impl IntoIterator<Item = &'n str>) -> String {
    let all: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    format!("one of {}", all.join(", "))
}

/// Likeness from which a word is offered although many letters differ (`private_key` for `private_key_file`).
const ALIKE: f64 = 0.87;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let keys = ["address", "addresses", "private_key_file", "ports"];
        for (word, meant) in [
            ("adress", Some("address")),
            ("adresses", Some("addresses")),
            ("private_key", Some("private_key_file")),
            ("port", Some("ports")),
            ("PORTS", Some("ports")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(closest(word, keys), meant, "{word}");
        }
    }
}
