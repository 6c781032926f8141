//! Which files are judged, and their bytes.
//!
//! In: what the operator named. Out: files in a stable order, and a count of what was left out.
//! A directory gives all its regular files, however deep; links are followed to files and never to directories,
//! so that no loop is walked, and nothing in it can block.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files, in the order of the arguments, and below a directory by name.
    pub(super) files: Vec<PathBuf>,
    /// Names that begin with a dot.
    pub(super) hidden: usize,
    /// What is neither a file nor a directory: sockets, pipes, links to directories or to nothing.
    pub(super) special: usize,
    /// Directories that could not be read.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    /// Directories that were named and hold nothing to judge.
    pub(super) empty: Vec<PathBuf>,
}

/// Finds the files. What is named itself is judged whatever it is.
pub(super) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    for path in paths {
        if is_standard_input(path) || !path.is_dir() {
            found.files.push(path.clone());
            continue;
        }
        let before = (found.files.len(), found.unreadable.len());
        found.walk(path);
        if (found.files.len(), found.unreadable.len()) == before {
            found.empty.push(path.clone());
        }
    }
    found
}

impl Found {
    fn walk(&mut self, top: &Path) {
        let mut levels = vec![self.entries(top)];
        while let Some(level) = levels.last_mut() {
            let Some(path) = level.next() else {
                levels.pop();
                continue;
            };
            let name = path.file_name().unwrap_or(OsStr::new(""));
            if name.as_bytes().starts_with(b".") {
                self.hidden += 1;
                continue;
            }
            match fs::symlink_metadata(&path) {
                Ok(own) if own.is_dir() => levels.push(self.entries(&path)),
                Ok(own) if own.is_file() => self.files.push(path),
                Ok(own) if own.is_symlink() && path.is_file() => self.files.push(path),
                Ok(_) => self.special += 1,
                Err(error) => self.unreadable.push((path, error)),
            }
        }
    }

    fn entries(&mut self, directory: &Path) -> std::vec::IntoIter<PathBuf> {
        let mut entries = Vec::new();
        match fs::read_dir(directory) {
            Ok(all) => {
                for entry in all {
                    match entry {
                        Ok(entry) => entries.push(entry.path()),
                        Err(error) => self.unreadable.push((directory.to_owned(), error)),
                    }
                }
            }
            Err(error) => self.unreadable.push((directory.to_owned(), error)),
        }
        entries.sort();
        entries.into_iter()
    }
}

/// The bytes of a file, or its first `enough` if no more are needed to judge it.
pub(super) fn read(path: &Path, enough: Option<u64>) -> io::Result<Vec<u8>> {
    let most = enough.unwrap_or(MAX_FILE + 1);
    let mut bytes = Vec::new();
    if is_standard_input(path) {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_FILE {
        return Err(io::Error::other("the file is larger than 5 GiB"));
    }
    Ok(bytes)
}

fn is_standard_input(path: &Path) -> bool {
    path == Path::new("-")
}

/// Largest file that is judged: the largest data set and what comes with it.
const MAX_FILE: u64 = 5 << 30;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directories_are_walked_in_order_and_loops_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir_all(path("b/deep")).unwrap();
        fs::create_dir_all(path("empty/.git")).unwrap();
        for name in [
            "c.hl7",
            "a.hl7",
            "b/2",
            "b/deep/1",
            ".hidden",
            "empty/.git/x",
        ] {
            fs::write(path(name), name).unwrap();
        }
        symlink(directory.path(), path("b/loop")).unwrap();
        symlink("loop", path("b/deep/loop")).unwrap();
        symlink(path("nowhere"), path("b/dangling")).unwrap();
        symlink(path("a.hl7"), path("link.hl7")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        let found = find(&[directory.path().to_owned(), path("empty"), path("gone")]);
        let names: Vec<&Path> = found
            .files
            .iter()
            .map(|file| file.strip_prefix(directory.path()).unwrap())
            .collect();
        let expected = ["a.hl7", "b/2", "b/deep/1", "c.hl7", "link.hl7", "gone"];
        assert_eq!(names, expected.map(Path::new));
        assert_eq!((found.hidden, found.special), (3, 4));
        assert_eq!(found.empty, [path("empty")]);
        assert!(found.unreadable.is_empty());
        assert_eq!(read(&path("a.hl7"), Some(3)).unwrap(), b"a.h");
        assert!(read(&path("gone"), None).is_err());
    }
}
