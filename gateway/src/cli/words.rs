//! `lazaret words [CODE]`: what each code means and what to do, in every language.

use std::fmt::Write as _;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::context::Context;
use super::{CliError, Exit};
use crate::flow::Standing;
use crate::words::{Code, Device, Language, Words};

/// Arguments of `words`.
#[derive(Debug, Args)]
pub(super) struct Explained {
    /// A code, as in the journal or in an answer; all without
    #[arg(value_name = "CODE", value_parser = PossibleValuesParser::new(Code::all().map(Code::as_str)), hide_possible_values = true)]
    code: Option<String>,
    /// In one language
    #[arg(long, value_name = "en|fr")]
    language: Option<Language>,
    /// As the table that is in the documentation
    #[arg(long, hide = true, conflicts_with_all = ["code", "language"])]
    markdown: bool,
}

#[derive(Serialize)]
struct One {
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    en: Option<Sentences>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fr: Option<Sentences>,
}

#[derive(Serialize)]
struct Sentences {
    what: &'static str,
    next: &'static str,
}

#[derive(Serialize)]
struct All {
    words: Vec<One>,
}

impl Explained {
    pub(super) fn run(&self, context: &mut Context<'_>) -> Result<Exit, CliError> {
        if self.markdown {
            context.print(&markdown())?;
            return Ok(Exit::Ok);
        }
        let wanted = |code: &Code| {
            let name = self.code.as_deref();
            name.is_none_or(|name| name == code.as_str())
        };
        let codes: Vec<Code> = Code::all().filter(wanted).collect();
        if context.json {
            let words = codes.into_iter().map(|code| self.one(code)).collect();
            context.print_json(&All { words })?;
        } else {
            context.print(&self.render(&codes))?;
        }
        Ok(Exit::Ok)
    }

    fn speaks(&self, language: Language) -> bool {
        self.language.is_none_or(|wanted| wanted == language)
    }

    fn one(&self, code: Code) -> One {
        let sentences = |language| {
            let Words { what, next } = code.words(language);
            self.speaks(language).then_some(Sentences { what, next })
        };
        One {
            code: code.as_str(),
            en: sentences(Language::English),
            fr: sentences(Language::French),
        }
    }

    fn render(&self, codes: &[Code]) -> String {
        let mut text = String::new();
        for code in codes {
            let _infallible = writeln!(text, "{code}");
            for language in Language::ALL {
                if self.speaks(language) {
                    let name = language.as_str();
                    let _infallible = writeln!(text, "  {name}  {}", code.words(language));
                }
            }
        }
        text
    }
}

/// What is said of a device that may not do what the rules say.
pub(super) fn of_standing(standing: Standing) -> Option<Device> {
    match standing {
        Standing::Active => None,
        Standing::Quarantined => Some(Device::Quarantined),
        Standing::Pending => Some(Device::Pending),
        Standing::Expired => Some(Device::Expired),
        Standing::Revoked => Some(Device::Revoked),
    }
}

/// The whole of docs/WORDS.md.
fn markdown() -> String {
    let mut text = MARKDOWN_HEAD.to_owned();
    for kind in Code::kinds() {
        let _infallible = write!(text, "\n## {}\n\n", kind.about);
        text.push_str("| code | English | français |\n|---|---|---|\n");
        for code in kind.codes {
            let (en, fr) = (code.words(Language::English), code.words(Language::French));
            let _infallible = writeln!(text, "| `{code}` | {en} | {fr} |");
        }
    }
    text
}

const MARKDOWN_HEAD: &str = "\
# What people are told

For each refusal and each alarm: what happened, and what to do next.
`[gateway] language` chooses the language, `lazaret words CODE` prints one of them.
The codes are for scripts and stay; the sentences may get better.

This file is made by `UPDATE=1 cargo nextest run -p lazaret the_table_of_words`.
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::invoke;

    fn said(line: &str) -> (Exit, String) {
        let mut out = Vec::new();
        let exit = invoke(line.split(' ').map(Into::into), &mut out, false);
        (exit, String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_table_of_words_is_up_to_date() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let path = root.join("docs/WORDS.md");
        let made = markdown();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &made).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap();
        assert!(there == made, "docs/WORDS.md is not what the code says");
        assert!(Code::all().all(|code| made.contains(&format!("| `{code}` |"))));
    }

    #[test]
    fn one_code_or_all_are_shown() {
        let (exit, text) = said("lazaret words device-pending");
        assert_eq!(exit, Exit::Ok);
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("  fr  Cet appareil") && text.contains("  en  This device"));
        let (_, french) = said("lazaret words device-pending --language fr");
        assert!(!french.contains("This device"), "{french}");
        let (_, all) = said("lazaret words");
        assert_eq!(all.lines().count(), 3 * Code::all().count());
        let (_, json) = said("lazaret --json words identity");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["v"], 1);
        let identity = &json["words"][0];
        assert_eq!(identity["code"], "identity");
        assert!(identity["fr"]["next"].is_string() && identity["en"]["what"].is_string());
        assert_eq!(said("lazaret words nothing").0, Exit::Usage);
        assert_eq!(said("lazaret words --language de").0, Exit::Usage);
    }
}
