//! Counts the segments of each name in one message.
//!
//! In: names, one by one. Out: which of its name each is, from 1. Knows nothing of what the names mean.
//! One look for each name, whatever the names are: a page for each beginning of two characters, a count for each third.

/// The counts of one message after the other.
pub(crate) struct Occurrences {
    /// The page of each beginning, counted from 1; 0 has none.
    first: [u16; BEGINNINGS],
    pages: Vec<Page>,
}

struct Page {
    beginning: usize,
    counts: [u32; LETTERS],
}

impl Default for Occurrences {
    fn default() -> Self {
        Self {
            first: [0; BEGINNINGS],
            pages: Vec::new(),
        }
    }
}

impl Occurrences {
    /// Forgets all names.
    pub(crate) fn clear(&mut self) {
        for page in self.pages.drain(..) {
            if let Some(first) = self.first.get_mut(page.beginning) {
                *first = 0;
            }
        }
        self.pages.shrink_to(MOST_KEPT);
    }

    /// Which of its name the next segment is. A name has three letters or digits.
    pub(crate) fn next(&mut self, name: &str) -> usize {
        let [a, b, c] = *name.as_bytes() else {
            return 1;
        };
        let beginning = letter(a).saturating_mul(LETTERS).saturating_add(letter(b));
        let Some(first) = self.first.get_mut(beginning) else {
            return 1;
        };
        if *first == 0 {
            self.pages.push(Page {
                beginning,
                counts: [0; LETTERS],
            });
            *first = u16::try_from(self.pages.len()).unwrap_or(0);
        }
        let page = usize::from(*first).saturating_sub(1);
        let count = self
            .pages
            .get_mut(page)
            .and_then(|page| page.counts.get_mut(letter(c)));
        count.map_or(1, |count| {
            *count = count.saturating_add(1);
            usize::try_from(*count).unwrap_or(usize::MAX)
        })
    }
}

fn letter(byte: u8) -> usize {
    usize::from(match byte {
        b'A'..=b'Z' => byte.wrapping_sub(b'A'),
        other => other.wrapping_sub(b'0').wrapping_add(26) % 36,
    })
}

/// 26 letters and 10 digits.
const LETTERS: usize = 36;
const BEGINNINGS: usize = LETTERS * LETTERS;

/// Most pages that are kept from message to message.
//= C7
const MOST_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn counts_every_name_by_itself() {
        let alphabet: Vec<char> = ('A'..='Z').chain('0'..='9').collect();
        let mut counts = Occurrences::default();
        for _ in 0..2 {
            let mut slow = BTreeMap::new();
            counts.clear();
            for turn in 1..=3 {
                for a in alphabet.iter().take(26) {
                    for (b, c) in alphabet.iter().zip(alphabet.iter().cycle().skip(turn)) {
                        let name = format!("{a}{b}{c}");
                        let count = slow.entry(name.clone()).or_insert(0_usize);
                        *count += 1;
                        assert_eq!(counts.next(&name), *count, "{name}");
                        assert_eq!(
                            counts.next("OBX"),
                            *slow
                                .entry("OBX".into())
                                .and_modify(|n| *n += 1)
                                .or_insert(1)
                        );
                    }
                }
            }
        }
        counts.clear();
        assert!(counts.pages.capacity() <= MOST_KEPT);
    }
}
