//! The newest lines of a journal, and those that come.
//!
//! Reads only; the journal may be written meanwhile. Knows nothing of what the lines mean.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::files;
use super::record::MAX_LINE;

/// A place in a journal that moves forward.
pub struct Tail {
    directory: PathBuf,
    file: u64,
    offset: u64,
}

impl Tail {
    /// At the end of the journal, and the newest `count` finished lines before that, oldest first.
    ///
    /// # Errors
    /// When the files cannot be read, or there is none ([`io::ErrorKind::NotFound`]).
    pub fn open(directory: &Path, count: usize) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let files = files::list(directory)?;
        let newest = *files.last().ok_or(io::ErrorKind::NotFound)?;
        let mut lines = Vec::new();
        let mut offset = 0;
        for &number in files.iter().rev() {
            let (end, mut found) = last(&directory.join(files::name(number)), count - lines.len())?;
            if number == newest {
                offset = end;
            }
            lines.append(&mut found);
            if lines.len() >= count {
                break;
            }
        }
        lines.reverse();
        let tail = Self {
            directory: directory.to_owned(),
            file: newest,
            offset,
        };
        Ok((tail, lines))
    }

    /// Finished lines that came since, at most some hundred at once; empty if none did.
    ///
    /// # Errors
    /// When the files cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let path = self.directory.join(files::name(self.file));
        let (read, lines) = match File::open(&path) {
            Ok(file) => forward(&file, self.offset)?,
            // Rotated away before it was read to its end.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (0, Vec::new()),
            Err(error) => return Err(error),
        };
        self.offset += read;
        if lines.is_empty()
            && let Some(&next) = files::list(&self.directory)?.range(self.file + 1..).next()
        {
            self.file = next;
            self.offset = 0;
            return self.read();
        }
        Ok(lines)
    }
}

/// The newest finished lines of a file, newest first, and the end of the newest.
fn last(path: &Path, count: usize) -> io::Result<(u64, Vec<Vec<u8>>)> {
    let file = File::open(path)?;
    let mut begin = file.metadata()?.len();
    let mut bytes = Vec::new();
    // One line feed more than lines, since the first line found may be cut.
    while begin > 0 && bytes.iter().filter(|b| **b == b'\n').count() <= count {
        let step = begin.min(BLOCK);
        begin -= step;
        let mut block = vec![0; usize::try_from(step).unwrap_or(0)];
        file.read_exact_at(&mut block, begin)?;
        block.extend_from_slice(&bytes);
        bytes = block;
    }
    let Some(newline) = bytes.iter().rposition(|b| *b == b'\n') else {
        return Ok((0, Vec::new()));
    };
    let finished = bytes.get(..newline).unwrap_or_default();
    let end = begin + u64::try_from(newline).unwrap_or(0) + 1;
    let lines = finished
        .rsplit(|b| *b == b'\n')
        .take(count)
        .map(<[u8]>::to_vec);
    Ok((end, lines.collect()))
}

/// The finished lines from an offset, and their length.
fn forward(file: &File, offset: u64) -> io::Result<(u64, Vec<Vec<u8>>)> {
    let mut bytes = vec![0; MAX_LINE];
    let read = file.read_at(&mut bytes, offset)?;
    bytes.truncate(read);
    let Some(newline) = bytes.iter().rposition(|b| *b == b'\n') else {
        return Ok((0, Vec::new()));
    };
    let finished = bytes.get(..newline).unwrap_or_default();
    let lines = finished
        .split(|b| *b == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    Ok((u64::try_from(newline).unwrap_or(0) + 1, lines))
}

const BLOCK: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn finds_the_newest_lines_and_follows_into_new_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = |n| directory.path().join(files::name(n));
        assert!(Tail::open(directory.path(), 3).is_err());
        std::fs::write(path(1), "1\n2\n3\n").unwrap();
        std::fs::write(path(2), format!("4\n{}\n6\nunfin", "5".repeat(200_000))).unwrap();
        let text = |lines: Vec<Vec<u8>>| -> Vec<String> {
            let short = |l: Vec<u8>| l.into_iter().take(6).map(char::from).collect();
            lines.into_iter().map(short).collect()
        };
        assert_eq!(text(Tail::open(directory.path(), 1).unwrap().1), ["6"]);
        assert_eq!(
            text(Tail::open(directory.path(), 4).unwrap().1),
            ["3", "4", "555555", "6"]
        );
        let (mut tail, all) = Tail::open(directory.path(), 99).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(tail.read().unwrap().len(), 0);
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(path(2))
            .unwrap();
        file.write_all(b"ished\n8\n9").unwrap();
        assert_eq!(text(tail.read().unwrap()), ["unfini", "8"]);
        file.write_all(b"\n").unwrap();
        std::fs::write(path(3), "10\n").unwrap();
        assert_eq!(text(tail.read().unwrap()), ["9"]);
        assert_eq!(text(tail.read().unwrap()), ["10"]);
        assert_eq!(tail.read().unwrap().len(), 0);
        assert_eq!(
            text(Tail::open(directory.path(), 0).unwrap().1),
            Vec::<String>::new()
        );
    }
}
