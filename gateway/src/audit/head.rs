//! The sync point: how far the journal is known to be on the disk, sealed under the log key.
//!
//! `head.json` is replaced after each sync. What it names can no longer be cut off unnoticed.
//! Who holds the log key, or brings back an older journal with its older sync point, is not noticed.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files;
use super::record::{self, Hash};

/// The name of its file.
pub const HEAD: &str = "head.json";

/// A place in the journal: after a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The number of the file.
    pub file: u64,
    /// The length of the file up to here.
    pub length: u64,
    /// The number of the last record; 0 before the first.
    pub seq: u64,
    /// The hash of the last record.
    pub hash: Hash,
}

/// What is known of the sync point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// There is none.
    Missing,
    /// It cannot be understood.
    Unreadable,
    /// Its seal is wrong.
    Forged,
    /// There it is; whether its seal was checked.
    At(Point, bool),
}

/// Replaces the sync point: it is on the disk when this returns.
///
/// # Errors
/// When it cannot be written; the old one stays.
pub fn save(directory: &Path, point: &Point, log_key: &[u8; 32]) -> io::Result<()> {
    let stored = Stored {
        v: 1,
        file: files::name(point.file),
        length: point.length,
        seq: point.seq,
        hash: record::hex(&point.hash),
        seal: record::hex(&record::seal(log_key, sealed(point).as_bytes())),
    };
    let mut json = serde_json::to_vec(&stored)?;
    json.push(b'\n');
    let new = directory.join("head.json.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&json)?;
    file.sync_data()?;
    // The directory need not be synced: the older sync point that a crash may bring back is true as well.
    std::fs::rename(&new, directory.join(HEAD))
}

/// Reads the sync point; without the key its seal is not checked.
///
/// # Errors
/// When there is one but the system does not let it be read.
pub fn load(directory: &Path, log_key: Option<&[u8; 32]>) -> io::Result<Head> {
    let file = match File::open(directory.join(HEAD)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Head::Missing),
        Err(error) => return Err(error),
    };
    let mut json = Vec::new();
    file.take(4096).read_to_end(&mut json)?;
    let Some((point, seal)) = parse(&json) else {
        return Ok(Head::Unreadable);
    };
    Ok(match log_key {
        Some(key) if !record::is_sealed(key, sealed(&point).as_bytes(), &seal) => Head::Forged,
        key => Head::At(point, key.is_some()),
    })
}

fn parse(json: &[u8]) -> Option<(Point, Hash)> {
    let stored: Stored = serde_json::from_slice(json).ok()?;
    let point = Point {
        file: files::number(&stored.file)?,
        length: stored.length,
        seq: stored.seq,
        hash: record::unhex(stored.hash.as_bytes())?,
    };
    (stored.v == 1).then_some((point, record::unhex(stored.seal.as_bytes())?))
}

/// What the seal covers.
fn sealed(point: &Point) -> String {
    format!(
        "lazaret sync point 1\n{}\n{}\n{}\n{}\n",
        files::name(point.file),
        point.length,
        point.seq,
        record::hex(&point.hash)
    )
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    file: String,
    length: u64,
    seq: u64,
    hash: String,
    seal: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_makes_a_sync_point() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let point = Point {
            file: 3,
            length: 99,
            seq: 7,
            hash: [5; 32],
        };
        assert_eq!(load(directory, None).unwrap(), Head::Missing);
        save(directory, &point, &[1; 32]).unwrap();
        assert_eq!(
            load(directory, Some(&[1; 32])).unwrap(),
            Head::At(point, true)
        );
        assert_eq!(load(directory, None).unwrap(), Head::At(point, false));
        assert_eq!(load(directory, Some(&[2; 32])).unwrap(), Head::Forged);
        let text = std::fs::read_to_string(directory.join(HEAD)).unwrap();
        for (from, to, expected) in [
            ("\"length\":99", "\"length\":98", Head::Forged),
            ("\"seq\":7", "\"seq\":8", Head::Forged),
            ("000003", "000002", Head::Forged),
            ("\"v\":1", "\"v\":2", Head::Unreadable),
            ("}", ",\"x\":1}", Head::Unreadable),
        ] {
            std::fs::write(directory.join(HEAD), text.replace(from, to)).unwrap();
            assert_eq!(load(directory, Some(&[1; 32])).unwrap(), expected, "{from}");
        }
    }
}
