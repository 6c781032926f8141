//! What the doctor says. Version 1 of `lazaret doctor --json`; the ids are listed in `images/HARDENING.md`.

use serde::Serialize;

use super::facts::Form;

/// How a setting fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Has no meaning in this form of installation.
    NotApplicable,
    /// As it should be.
    Ok,
    /// Could not be read; as another user, perhaps.
    Unknown,
    /// Weaker than it could be, and not in our hands alone.
    Warn,
    /// A protection that this product promises is missing.
    Bad,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// Stable; new ones may come.
    pub id: String,
    /// How it fares.
    pub verdict: Verdict,
    /// What is there, in words; never a secret.
    pub found: String,
    /// What would be right.
    pub right: String,
}

impl Item {
    /// With texts that are bounded and free of control characters, because they may come from files.
    #[must_use]
    pub fn new(id: impl Into<String>, verdict: Verdict, found: &str, right: &str) -> Self {
        Self {
            id: id.into(),
            verdict,
            found: clean(found),
            right: right.to_owned(),
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What kind of installation was judged.
    pub form: Form,
    /// One entry a setting.
    pub items: Vec<Item>,
}

impl Report {
    /// The worst of all items, where "unknown" is worse than "ok" and better than "warn".
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.items.iter().map(|item| item.verdict);
        verdicts.max().unwrap_or(Verdict::Unknown)
    }

    /// How many items have this verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let same = |item: &&Item| item.verdict == verdict;
        self.items.iter().filter(same).count()
    }
}

fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    let mut cut: String = text.trim().chars().take(LONGEST).map(visible).collect();
    if text.trim().chars().nth(LONGEST).is_some() {
        cut.push('…');
    }
    cut
}

/// Longest text that is shown of what was found, in characters.
//= C7
const LONGEST: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_bounded_and_visible() {
        let item = Item::new(
            "x",
            Verdict::Ok,
            &format!("a\u{1b}[31m{}", "é".repeat(1000)),
            "",
        );
        assert!(item.found.starts_with("a [31m"));
        assert_eq!(item.found.chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_worst_counts() {
        let item = |verdict| Item::new("x", verdict, "", "");
        let mut report = Report {
            form: Form::Server,
            items: vec![item(Verdict::NotApplicable), item(Verdict::Ok)],
        };
        assert_eq!(report.verdict(), Verdict::Ok);
        report.items.push(item(Verdict::Unknown));
        assert_eq!(report.verdict(), Verdict::Unknown);
        report.items.push(item(Verdict::Bad));
        report.items.push(item(Verdict::Warn));
        assert_eq!(report.verdict(), Verdict::Bad);
        assert_eq!(report.count(Verdict::Warn), 1);
    }
}
