//! The files of a journal: their names, and reading them line by line within bounds.
//!
//! Knows nothing of what the lines mean.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::record::MAX_LINE;

/// The name of the file with this number: `journal-000001.jsonl`.
#[must_use]
pub fn name(number: u64) -> String {
    format!("journal-{number:06}.jsonl")
}

/// The number of the file with this name.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let number = name.strip_prefix("journal-")?.strip_suffix(".jsonl")?;
    let parsed = number.parse().ok()?;
    // One number, one name.
    (self::name(parsed) == name).then_some(parsed)
}

/// The numbers of the files that a directory holds.
///
/// # Errors
/// When the directory cannot be read.
pub fn list(directory: &Path) -> io::Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    for entry in std::fs::read_dir(directory)? {
        if let Some(number) = entry?.file_name().to_str().and_then(number) {
            numbers.insert(number);
        }
    }
    Ok(numbers)
}

/// The lines of a file, one by one.
pub struct Lines {
    file: BufReader<File>,
    end: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Without its line feed.
    pub bytes: Vec<u8>,
    /// Where the next line begins in the file.
    pub end: u64,
    /// Whether it ends with a line feed.
    pub complete: bool,
}

impl Lines {
    /// Of this file, from its beginning.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::with_capacity(64 << 10, File::open(path)?),
            end: 0,
        })
    }

    /// The next line; `None` at the end of the file. A line longer than [`MAX_LINE`] comes cut and incomplete.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<Option<Line>> {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = (&mut self.file).take(limit).read_until(b'\n', &mut bytes)?;
        if read == 0 {
            return Ok(None);
        }
        self.end += u64::try_from(read).unwrap_or(u64::MAX);
        let complete = bytes.last() == Some(&b'\n');
        if complete {
            bytes.pop();
        }
        Ok(Some(Line {
            bytes,
            end: self.end,
            complete,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_one_name() {
        assert_eq!(number("journal-000012.jsonl"), Some(12));
        assert_eq!(number(&name(1_234_567)), Some(1_234_567));
        for other in [
            "journal-12.jsonl",
            "journal-+00012.jsonl",
            "journal-000012.json",
            "head.json",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }
}
