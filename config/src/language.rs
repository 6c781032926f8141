//! The languages in which people are told what happened.
//!
//! In: a word of the configuration, or what the system says of its user. Out: a [`Language`].

use serde::{Deserialize, Serialize};

use crate::problem::Fault;
use crate::section::{Text, word};

/// A language in which people are told what happened.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum Language {
    /// `en`.
    #[default]
    #[serde(rename = "en")]
    English,
    /// `fr`.
    #[serde(rename = "fr")]
    French,
}

impl Language {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::English, Self::French];

    /// As in files.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    /// Of `LC_ALL`, `LC_MESSAGES` or `LANG`, as in `fr_FR.UTF-8`; English if the system says another or none.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        let language = locale.split(['_', '.', '@', '-']).next();
        let mut all = Self::ALL.into_iter();
        all.find(|known| Some(known.as_str()) == language)
            .unwrap_or_default()
    }
}

impl std::str::FromStr for Language {
    type Err = String;

    /// As in files.
    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).map_err(|fault| match fault.help {
            Some(help) => format!("{}: {help}", fault.message),
            None => fault.message,
        })
    }
}

impl Text for Language {
    const WHAT: &'static str = "`en` or `fr`";
    fn parse(text: &str) -> Result<Self, Fault> {
        word(text, &Self::ALL.map(|one| (one.as_str(), one)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_names_a_language() {
        for (locale, language) in [
            ("fr_FR.UTF-8", Language::French),
            ("fr", Language::French),
            ("fr-CH", Language::French),
            ("fr@euro", Language::French),
            ("en_GB.UTF-8", Language::English),
            ("fro", Language::English),
            ("de_DE", Language::English),
            ("C.UTF-8", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of_locale(locale), language, "{locale}");
        }
    }

    #[test]
    fn a_language_has_a_word() {
        for language in Language::ALL {
            assert_eq!(language.as_str().parse(), Ok(language));
        }
        assert!("FR".parse::<Language>().is_err());
    }
}
