//! The download folder: payloads, whole or in part.
//!
//! In: a source and what was signed. Out: files whose every byte was verified, or why not.
//! A part is continued after a lost connection, a restart or a power cut; a file that turns out wrong is fetched once
//! more from its beginning, and then given up.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::manifest::{Manifest, Payload};
use super::refusal::Refusal;
use super::source::{Body, FetchError, Source};
use crate::own;

/// The download folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// Why a payload is not there.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not what it should be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It cannot be had.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// It cannot be kept.
    #[error("the download cannot be written")]
    Io(#[from] io::Error),
}

impl Store {
    /// Opens the folder, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        own::folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where a payload is once it was obtained.
    #[must_use]
    pub fn path(&self, payload: &Payload) -> PathBuf {
        self.folder.join(&payload.name)
    }

    /// Bytes of an update that are not here yet.
    #[must_use]
    pub fn missing(&self, manifest: &Manifest) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let missing = manifest.files.iter().map(|payload| {
            let here = length(&self.path(payload)).max(length(&self.part(payload)));
            payload.size.saturating_sub(here)
        });
        missing.sum()
    }

    /// Removes everything that is not of this update; all of it if there is none.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn keep(&self, manifest: Option<&Manifest>) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let mut files = manifest.iter().flat_map(|manifest| &manifest.files);
            let kept = files.any(|payload| {
                let names = ["", PART, TAG].map(|end| format!("{}{end}", payload.name));
                names.iter().any(|one| name == one.as_str())
            });
            match entry.file_type()? {
                _ if kept => {}
                kind if kind.is_dir() => fs::remove_dir_all(entry.path())?,
                _ => fs::remove_file(entry.path())?,
            }
        }
        Ok(())
    }

    /// Makes sure that a payload is here, every byte as it was signed, and on the disk.
    ///
    /// # Errors
    /// When it cannot be had, or is something else than what was signed, twice.
    pub fn obtain(
        &self,
        source: &mut dyn Source,
        payload: &Payload,
        mut progress: impl FnMut(u64),
    ) -> Result<PathBuf, StoreError> {
        let path = self.path(payload);
        if is_whole(&path, payload)? {
            return Ok(path);
        }
        remove(&path)?;
        let (mut wrong, mut barren, mut connections) = (0, 0, 0);
        loop {
            connections += 1;
            let before = self.have(payload)?;
            let fetched = self.fetch(source, payload, before, &mut progress);
            let have = self.have(payload)?;
            match fetched {
                Err(StoreError::Fetch(error))
                    if error.is_passing()
                        && barren < MOST_BARREN
                        && connections < MOST_CONNECTIONS =>
                {
                    // A line may break now and then, as long as it brings something.
                    let much = have.saturating_sub(before) >= MUCH;
                    barren = if much { 0 } else { barren + 1 };
                    continue;
                }
                Err(error @ (StoreError::Fetch(_) | StoreError::Io(_))) => return Err(error),
                Err(StoreError::Refused(refusal)) => {
                    self.forget(payload)?;
                    wrong += 1;
                    if wrong >= MOST_WRONG {
                        return Err(refusal.into());
                    }
                    continue;
                }
                Ok(()) => {}
            }
            if is_whole(&self.part(payload), payload)? {
                fs::rename(self.part(payload), &path)?;
                remove(&self.tag(payload))?;
                File::open(&self.folder)?.sync_all()?;
                return Ok(path);
            }
            self.forget(payload)?;
            wrong += 1;
            if wrong >= MOST_WRONG {
                return Err(Refusal::Tampered(payload.role).into());
            }
        }
    }

    /// Goes on where the part ends, up to the size that was signed.
    fn fetch(
        &self,
        source: &mut dyn Source,
        payload: &Payload,
        have: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), StoreError> {
        let known = own::read(&self.tag(payload), MOST_TAG).ok();
        let known = known.and_then(|tag| String::from_utf8(tag).ok());
        let Body {
            start,
            length,
            tag,
            reader,
        } = source.open(&payload.name, have, known.as_deref())?;
        let wrong = |got| Refusal::Length {
            role: payload.role,
            got,
            size: payload.size,
        };
        if let Some(length) = length.filter(|length| *length != payload.size) {
            return Err(wrong(length).into());
        }
        let mut part = own::open_to_write(&self.part(payload))?;
        part.set_len(start)?;
        part.seek(SeekFrom::Start(start))?;
        match tag {
            Some(tag) => {
                // While the server waits: not synced, because a tag that is lost or cut costs a download at most.
                let mut file = own::open_to_write(&self.tag(payload))?;
                file.set_len(0)?;
                file.write_all(tag.as_bytes())?;
            }
            None => remove(&self.tag(payload))?,
        }
        let left = payload.size.saturating_sub(start);
        // One byte more shows that there is more.
        let mut reader = reader.take(left.saturating_add(1));
        let mut block = vec![0; BLOCK];
        let mut at = start;
        loop {
            let read = match reader.read(&mut block) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => {
                    part.sync_data()?;
                    return Err(FetchError::Connection {
                        name: payload.name.clone(),
                        why: cause.to_string(),
                    }
                    .into());
                }
            };
            at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            if at > payload.size {
                return Err(wrong(at).into());
            }
            part.write_all(block.get(..read).unwrap_or_default())?;
            progress(at);
        }
        part.sync_all()?;
        if at < payload.size {
            // A server that does not say how much there is may simply have gone away.
            return match length {
                None => Err(wrong(at).into()),
                Some(_) => Err(FetchError::Connection {
                    name: payload.name.clone(),
                    why: format!("it ended after {at} of {} bytes", payload.size),
                }
                .into()),
            };
        }
        Ok(())
    }

    fn have(&self, payload: &Payload) -> io::Result<u64> {
        match fs::metadata(self.part(payload)) {
            Ok(metadata) if metadata.len() <= payload.size => Ok(metadata.len()),
            Ok(_) => {
                self.forget(payload)?;
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    fn forget(&self, payload: &Payload) -> io::Result<()> {
        remove(&self.part(payload))?;
        remove(&self.tag(payload))
    }

    fn part(&self, payload: &Payload) -> PathBuf {
        self.folder.join(format!("{}{PART}", payload.name))
    }

    fn tag(&self, payload: &Payload) -> PathBuf {
        self.folder.join(format!("{}{TAG}", payload.name))
    }
}

/// Whether a file has the length and the hash that were signed.
///
/// # Errors
/// When it is there but cannot be read.
pub fn is_whole(path: &Path, payload: &Payload) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() && metadata.len() == payload.size => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    begins_with(path, payload)
}

/// Whether a file or a partition begins with the bytes that were signed.
///
/// # Errors
/// When it cannot be read.
pub fn begins_with(path: &Path, payload: &Payload) -> io::Result<bool> {
    let file = File::open(path)?;
    // From the disk, not from what the kernel remembers of having written.
    let _advice = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
    let mut reader = file.take(payload.size);
    let (mut hash, mut block, mut length) = (Sha256::new(), vec![0; BLOCK], 0_u64);
    loop {
        let read = match reader.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hash.update(block.get(..read).unwrap_or_default());
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
    Ok(length == payload.size && hash.finalize().as_slice() == payload.sha256)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

const PART: &str = ".part";
/// What tells whether a part is still one of the same file.
const TAG: &str = ".tag";
/// In bytes.
//= C7
const MOST_TAG: u64 = 4096;
const BLOCK: usize = 256 << 10;
/// Lost connections for one file.
//= C7
const MOST_CONNECTIONS: u32 = 200;
/// What a connection must bring to have been of use, in bytes.
const MUCH: u64 = 64 << 10;
/// Lost connections in a row that brought nothing.
//= C7
const MOST_BARREN: u32 = 3;
/// Times that a file may turn out wrong.
//= C7
const MOST_WRONG: u32 = 2;
