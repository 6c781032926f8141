//! Places in the files, and the problems found at them.
//!
//! In: what readers and checks have to say. Out: a [`ConfigErrors`], sorted by place, or nothing.
//! Knows nothing of what a problem means.

use std::cell::{Cell, RefCell};
use std::path::Path;

use crate::error::{ConfigError, ConfigErrors, Remark};
use crate::excerpt::{Lines, printable};
use crate::source::Source;

/// A span of bytes in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Number of the file, in the order of the sources.
    pub(crate) file: usize,
    /// First byte.
    pub(crate) start: usize,
    /// After the last byte.
    pub(crate) end: usize,
}

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(crate) struct At<T> {
    pub(crate) place: Place,
    pub(crate) value: T,
}

/// What is wrong with a value, before it is known where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    /// Whether the value may not be shown.
    pub(crate) secret: bool,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
            secret: false,
        }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Keeps the value from being shown.
    pub(crate) fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Adds a help line if there is one.
    pub(crate) fn maybe(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Gives the fault its place.
    pub(crate) fn at(self, place: Place) -> Problem {
        Problem {
            place,
            fault: self,
            also: Vec::new(),
        }
    }
}

/// Something wrong at a place.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    place: Place,
    fault: Fault,
    also: Vec<(Place, String)>,
}

impl Problem {
    /// Adds a second place and what it has to do with the matter.
    pub(crate) fn also(mut self, place: Place, remark: impl Into<String>) -> Self {
        self.also.push((place, remark.into()));
        self
    }
}

/// All problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    searches: Cell<usize>,
}

impl Problems {
    pub(crate) fn report(&self, problem: Problem) {
        self.found.borrow_mut().push(problem);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.found.borrow().len()
    }

    /// The nearest of many names, as a help line.
    /// After some searches it gives none: nobody reads ten thousand suggestions, and each search reads all names.
    pub(crate) fn did_you_mean<'n>(
        &self,
        word: &str,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<String> {
        let searches = self.searches.get();
        if searches >= MAX_SEARCHES {
            return None;
        }
        self.searches.set(searches.saturating_add(1));
        crate::suggest::did_you_mean(word, names)
    }

    /// The problems as errors that can be shown; `None` if there are none.
    pub(crate) fn into_errors(self, sources: &[Source]) -> Option<ConfigErrors> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|problem| problem.place);
        let total = found.len();
        found.truncate(ConfigErrors::MAX);
        let mut lines: Vec<Option<Lines<'_>>> = sources.iter().map(|_| None).collect();
        let mut spot = |place: Place, secret: bool| {
            let source = sources.get(place.file);
            let text = source.map_or("", |source| source.text.as_str());
            let path = source.map_or(Path::new(""), |source| source.path.as_path());
            match lines.get_mut(place.file) {
                Some(slot) => slot.get_or_insert_with(|| Lines::new(text)).spot(
                    path,
                    place.start,
                    place.end,
                    secret,
                ),
                None => Lines::new(text).spot(path, place.start, place.end, secret),
            }
        };
        let errors = found
            .into_iter()
            .map(|problem| ConfigError {
                spot: Some(spot(problem.place, problem.fault.secret)),
                message: printable(&problem.fault.message),
                help: problem.fault.help.as_deref().map(printable),
                remarks: problem
                    .also
                    .into_iter()
                    .map(|(place, text)| Remark {
                        spot: spot(place, false),
                        text,
                    })
                    .collect(),
            })
            .collect();
        ConfigErrors::new(errors, total)
    }
}

/// Searches for a near name before suggestions stop.
const MAX_SEARCHES: usize = 100;
