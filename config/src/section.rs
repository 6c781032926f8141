//! Reads one TOML table: known keys, their types, and what is wrong with them.
//!
//! In: a table with the places of its parts. Out: values with places; problems go to the collector, and reading goes on,
//! so that one look shows everything that is wrong.
//! Knows nothing of what the values mean to each other.

use std::fmt::Display;
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::problem::{At, Fault, Place, Problems};
use crate::suggest::{did_you_mean, one_of};

/// The keys of one kind of table.
#[derive(Debug)]
pub(crate) struct Keys {
    /// How the table is called in messages and in `REFERENCE.md`.
    pub(crate) table: &'static str,
    /// The keys it may have.
    pub(crate) known: &'static [&'static str],
    /// Keys of the design that this version does not carry, and what to say of them.
    pub(crate) later: &'static [(&'static str, &'static str)],
}

/// A type that reads itself from a TOML value.
pub(crate) trait Field: Sized {
    /// What is expected, with an example: `a size like "4MiB"`.
    const WHAT: &'static str;
    /// The value, or what is wrong with it.
    fn read(value: &DeValue<'_>) -> Result<Self, Fault>;
}

/// A type that reads itself from a TOML string.
pub(crate) trait Text: Sized {
    /// What is expected, with an example.
    const WHAT: &'static str;
    /// The value, or what is wrong with it.
    fn parse(text: &str) -> Result<Self, Fault>;
}

impl<T: Text> Field for T {
    const WHAT: &'static str = T::WHAT;
    fn read(value: &DeValue<'_>) -> Result<Self, Fault> {
        match value.as_str() {
            Some(text) => T::parse(text),
            None => Err(wrong_type::<Self>(value)),
        }
    }
}

/// One table while it is read.
pub(crate) struct Section<'a> {
    /// How it is called in messages.
    pub(crate) title: String,
    /// Its header.
    pub(crate) header: Place,
    table: &'a DeTable<'a>,
    problems: &'a Problems,
}

impl<'a> Section<'a> {
    /// Begins to read a table; keys that it may not have are reported now.
    pub(crate) fn new(
        title: String,
        header: Place,
        table: &'a DeTable<'a>,
        keys: &Keys,
        problems: &'a Problems,
    ) -> Self {
        let section = Self {
            title,
            header,
            table,
            problems,
        };
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !keys.known.contains(&name) {
                let fault = match keys.later.iter().find(|(later, _)| *later == name) {
                    Some((_, sentence)) => not_carried(name, sentence),
                    None => Fault::new(format!("unknown key `{name}` in {}", section.title)).maybe(
                        did_you_mean(name, keys.known.iter().copied())
                            .or_else(|| Some(one_of(keys.known.iter().copied()))),
                    ),
                };
                problems.report(fault.at(section.place(key)));
            }
        }
        section
    }

    /// Where the collector of problems is.
    pub(crate) fn problems(&self) -> &'a Problems {
        self.problems
    }

    /// Reports something about the value of a key, or about the table if it has none.
    pub(crate) fn report(&self, key: &str, fault: Fault) {
        self.problems
            .report(fault.at(self.place_of(key).unwrap_or(self.header)));
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// How many elements the list of a key has, right or wrong.
    pub(crate) fn length_of(&self, key: &str) -> usize {
        let array = self
            .table
            .get(key)
            .and_then(|value| value.get_ref().as_array());
        array.map_or(0, |array| array.len())
    }

    /// Where the value of a key is.
    pub(crate) fn place_of(&self, key: &str) -> Option<Place> {
        self.table.get(key).map(|value| self.place(value))
    }

    /// Where the key itself is.
    pub(crate) fn place_of_key(&self, key: &str) -> Option<Place> {
        let (key, _) = self.table.get_key_value(key)?;
        Some(self.place(key))
    }

    /// A key and its value, as they are written.
    pub(crate) fn entry(
        &self,
        key: &str,
    ) -> Option<(&'a Spanned<DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
        self.table.get_key_value(key)
    }

    /// The value of a key that may be missing.
    pub(crate) fn optional<T: Field>(&self, key: &str) -> Option<At<T>> {
        self.table.get(key).and_then(|value| self.read(value))
    }

    /// The value of a key that must be there.
    pub(crate) fn required<T: Field>(&self, key: &str) -> Option<At<T>> {
        if !self.has(key) {
            self.missing(key, T::WHAT);
        }
        self.optional(key)
    }

    /// The value of a key, or a default.
    pub(crate) fn or<T: Field>(&self, key: &str, default: T) -> T {
        self.optional(key).map_or(default, |at| at.value)
    }

    /// A value within bounds; `None` when missing or wrong.
    pub(crate) fn within<T: Field + PartialOrd + Display>(
        &self,
        key: &str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let at = self.optional::<T>(key)?;
        if range.contains(&at.value) {
            return Some(at.value);
        }
        let (least, most) = (range.start(), range.end());
        self.report(
            key,
            Fault::new(format!("`{key}` must be {least} to {most}")),
        );
        None
    }

    /// The right elements of a list that may be missing, but not empty.
    pub(crate) fn list<T: Field>(&self, key: &str, if_empty: &str) -> Vec<At<T>> {
        let array = self
            .table
            .get(key)
            .and_then(|value| value.get_ref().as_array());
        if array.is_some_and(|array| array.is_empty()) {
            let fault = Fault::new(format!("`{key}` is empty"));
            self.report(key, fault.help(if_empty));
        }
        self.list_or_empty(key)
    }

    /// The right elements of a list that may be missing or empty.
    pub(crate) fn list_or_empty<T: Field>(&self, key: &str) -> Vec<At<T>> {
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            let found = value.get_ref().type_str();
            self.report(
                key,
                Fault::new(format!("expected a list, found {}", named(found)))
                    .help(format!("write `{key} = […]`, each element {}", T::WHAT)),
            );
            return Vec::new();
        };
        array.iter().filter_map(|value| self.read(value)).collect()
    }

    /// As [`Self::list`], for a list that must be there.
    pub(crate) fn required_list<T: Field>(&self, key: &str) -> Vec<At<T>> {
        if !self.has(key) {
            self.missing(key, &format!("a list, each element {}", T::WHAT));
        }
        self.list(key, &format!("it needs at least one: {}", T::WHAT))
    }

    /// One value or a list of them.
    pub(crate) fn one_or_more<T: Field>(&self, key: &str, if_empty: &str) -> Vec<At<T>> {
        match self.table.get(key).map(Spanned::get_ref) {
            Some(DeValue::Array(_)) => self.list(key, if_empty),
            Some(
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Table(_),
            )
            | None => self.optional(key).into_iter().collect(),
        }
    }

    /// A table of the user's own keys, each with a value of the same type; `None` when missing or not a table.
    pub(crate) fn map<K: Text, V: Field>(&self, key: &str) -> Option<Vec<(At<K>, At<V>)>> {
        let value = self.table.get(key)?;
        let Some(table) = value.get_ref().as_table() else {
            let found = named(value.get_ref().type_str());
            let fault = Fault::new(format!("expected a table, found {found}"));
            let help = format!(
                "write `{key} = {{ … }}`, each key {} and each value {}",
                K::WHAT,
                V::WHAT
            );
            self.report(key, fault.help(help));
            return None;
        };
        let read = |(name, value): (&Spanned<DeString<'_>>, _)| {
            let place = self.place(name);
            let key = match K::parse(name.get_ref()) {
                Ok(value) => Some(At { place, value }),
                Err(fault) => {
                    self.problems.report(fault.at(place));
                    None
                }
            };
            let value = self.read(value);
            Some((key?, value?))
        };
        Some(table.iter().filter_map(read).collect())
    }

    /// A table inside of this one.
    pub(crate) fn section(&self, key: &str, keys: &Keys) -> Option<Self> {
        let (name, value) = self.table.get_key_value(key)?;
        let title = format!("`{key}` of {}", self.title);
        let Some(table) = value.get_ref().as_table() else {
            let found = named(value.get_ref().type_str());
            self.report(key, Fault::new(format!("expected a table, found {found}")));
            return None;
        };
        let place = self.place(name);
        Some(Section::new(title, place, table, keys, self.problems))
    }

    fn missing(&self, key: &str, what: &str) {
        let fault = Fault::new(format!("missing key `{key}` in {}", self.title));
        self.problems
            .report(fault.help(format!("`{key}` is {what}")).at(self.header));
    }

    fn read<T: Field>(&self, value: &Spanned<DeValue<'_>>) -> Option<At<T>> {
        let place = self.place(value);
        match T::read(value.get_ref()) {
            Ok(value) => Some(At { place, value }),
            Err(fault) => {
                self.problems.report(fault.at(place));
                None
            }
        }
    }

    fn place<T>(&self, spanned: &Spanned<T>) -> Place {
        place(self.header.file, spanned)
    }
}

/// The place of a spanned value in a file.
pub(crate) fn place<T>(file: usize, spanned: &Spanned<T>) -> Place {
    let span = spanned.span();
    Place {
        file,
        start: span.start,
        end: span.end,
    }
}

/// Said of what the design has and this version has not.
pub(crate) fn not_carried(name: &str, sentence: &str) -> Fault {
    Fault::new(format!("`{name}` is not carried by this version")).help(sentence)
}

/// Said of a value of another type.
pub(crate) fn wrong_type<T: Field>(value: &DeValue<'_>) -> Fault {
    let found = named(value.type_str());
    Fault::new(format!("expected {}, found {found}", T::WHAT))
}

/// The value of one of some words.
pub(crate) fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, Fault> {
    let known = || words.iter().map(|(word, _)| *word);
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => Err(
            Fault::new(format!("unknown word; it must be {}", one_of(known())))
                .maybe(did_you_mean(text, known())),
        ),
    }
}

fn named(type_name: &str) -> &str {
    match type_name {
        "string" => "a string",
        "integer" => "an integer",
        "float" => "a float",
        "boolean" => "a boolean",
        "datetime" => "a date or time",
        "array" => "a list",
        "table" => "a table",
        other => other,
    }
}
