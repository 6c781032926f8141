//! What the demo says on the terminal, and how often it was not as it should be.
//!
//! Colours only on a terminal, and not when `NO_COLOR` is set.

use std::io::IsTerminal;

use e2e::Output;

/// The teller.
#[derive(Default)]
pub(crate) struct Story {
    right: usize,
    wrong: usize,
}

/// What became of an attempt.
pub(crate) struct Attempt<'a> {
    /// In words.
    pub(crate) what: &'a str,
    /// Whether it was let through.
    pub(crate) passed: bool,
    /// Whether that is right.
    pub(crate) right: bool,
    /// What the device saw.
    pub(crate) device: &'a str,
    /// What the hospital saw.
    pub(crate) hospital: &'a str,
}

impl Story {
    /// A new chapter.
    pub(crate) fn title(&self, text: &str) {
        println!("\n{}", paint("1", text));
    }

    /// A line.
    pub(crate) fn note(&self, text: &str) {
        println!("  {text}");
    }

    /// One attempt, on one line.
    pub(crate) fn attempt(&mut self, attempt: &Attempt<'_>) {
        self.expect(attempt.right);
        let verdict = if attempt.passed {
            paint("32", "accepted")
        } else {
            paint("33", "refused ")
        };
        let mark = if attempt.right {
            String::new()
        } else {
            paint("31;1", "   NOT AS EXPECTED")
        };
        let Attempt {
            what,
            device,
            hospital,
            ..
        } = attempt;
        println!("  {verdict}  {what:<47} device: {device:<34} hospital: {hospital}{mark}");
    }

    /// What a program said, word for word.
    pub(crate) fn quote(&self, said: &Output) {
        for line in said.all().lines() {
            println!("  {line}");
        }
    }

    /// Counts something that must be right.
    pub(crate) fn expect(&mut self, right: bool) {
        if right {
            self.right += 1;
        } else {
            self.wrong += 1;
        }
    }

    /// The last line; whether all was right.
    pub(crate) fn end(&self) -> bool {
        let colour = if self.wrong == 0 { "32;1" } else { "31;1" };
        let text = format!(
            "{} things were as they should be, {} were not",
            self.right, self.wrong
        );
        println!("\n{}", paint(colour, &text));
        self.wrong == 0
    }
}

fn paint(colour: &str, text: &str) -> String {
    if std::env::var_os("NO_COLOR").is_some() || !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    format!("\x1b[{colour}m{text}\x1b[0m")
}
