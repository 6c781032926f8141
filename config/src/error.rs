//! What is wrong with a configuration, and how it is shown.
//!
//! In: problems with their places. Out: text with file, line, column, the line itself, a caret and advice.
//! Secrets are masked before they come here (see `excerpt.rs`).

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One or more errors, in the order of the files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
    /// All that were found; at most [`Self::MAX`] of them are kept.
    total: usize,
}

/// One error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// Where; `None` when no line is at fault, such as for a directory that cannot be read.
    pub spot: Option<Spot>,
    /// What is wrong, in lower case.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// Other places that have to do with it.
    pub remarks: Vec<Remark>,
}

/// A second place that has to do with an error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// Where.
    pub spot: Spot,
    /// What is there.
    pub text: String,
}

/// A place in a file, with the line as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spot {
    /// The file.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// The line, with secrets and control characters masked, cut to a window when long.
    pub excerpt: String,
    /// Characters of the excerpt before the caret.
    pub indent: usize,
    /// How many carets.
    pub width: usize,
}

impl ConfigErrors {
    /// Most errors that are kept and shown.
    pub const MAX: usize = 50;

    /// `None` if there is no error.
    pub(crate) fn new(errors: Vec<ConfigError>, total: usize) -> Option<Self> {
        (!errors.is_empty()).then_some(Self { errors, total })
    }

    /// An error that belongs to no line.
    pub(crate) fn without_place(message: String) -> Self {
        Self {
            errors: vec![ConfigError {
                spot: None,
                message,
                help: None,
                remarks: Vec::new(),
            }],
            total: 1,
        }
    }

    /// Errors of which none was dropped yet; there is at least one.
    pub(crate) fn all(mut errors: Vec<ConfigError>) -> Self {
        let total = errors.len();
        errors.truncate(Self::MAX);
        Self { errors, total }
    }

    /// The errors, at most [`Self::MAX`]; never empty.
    #[must_use]
    pub fn errors(&self) -> &[ConfigError] {
        &self.errors
    }

    /// How many were found.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.errors.iter().enumerate() {
            if number > 0 {
                f.write_str("\n\n")?;
            }
            error.fmt(f)?;
        }
        match self.total.saturating_sub(self.errors.len()) {
            0 => Ok(()),
            more => write!(f, "\n\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(spot) = &self.spot else {
            return f.write_str(&self.message);
        };
        let gutter = self
            .remarks
            .iter()
            .map(|remark| remark.spot.line)
            .chain([spot.line])
            .max()
            .unwrap_or_default()
            .to_string()
            .len();
        write!(f, "{spot}: {}", self.message)?;
        spot.show(f, gutter)?;
        if let Some(help) = &self.help {
            write!(f, "\n {:gutter$} = {help}", "")?;
        }
        for remark in &self.remarks {
            write!(f, "\n{}: {}", remark.spot, remark.text)?;
            remark.spot.show(f, gutter)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Spot {
    fn show(&self, f: &mut fmt::Formatter<'_>, gutter: usize) -> fmt::Result {
        let Self {
            line,
            excerpt,
            indent,
            width,
            ..
        } = self;
        let space = if excerpt.is_empty() { "" } else { " " };
        write!(f, "\n {line:>gutter$} |{space}{excerpt}")?;
        write!(f, "\n {:gutter$} | {:indent$}{:^<width$}", "", "", "")
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file.display(), self.line, self.column)
    }
}
