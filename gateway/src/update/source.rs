//! Where an update comes from: a folder, or a server (`https.rs`).
//!
//! In: names. Out: bytes from some place on, and what tells whether they are still those of before.
//! Knows nothing of manifests and hashes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

/// Something that has the files of an update.
pub trait Source {
    /// Opens a file at a place, if it is still the one of `tag`; at its beginning otherwise.
    ///
    /// # Errors
    /// When it is not there, or cannot be had now.
    fn open(&mut self, name: &str, from: u64, tag: Option<&str>) -> Result<Body, FetchError>;
}

/// The bytes of a file from some place on.
pub struct Body {
    /// Where they begin.
    pub start: u64,
    /// Length of the whole file, if the source says so.
    pub length: Option<u64>,
    /// What the file will have as long as it stays the same; none if it cannot be told.
    pub tag: Option<String>,
    /// The bytes.
    pub reader: Box<dyn Read>,
}

/// Why there are no bytes.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no such file.
    #[error("{0} is not there")]
    Missing(String),
    /// The server says something else than yes.
    #[error("the server answers {status} for {name}")]
    Status {
        /// For what.
        name: String,
        /// HTTP status.
        status: u16,
    },
    /// The server says where else to look; nobody is followed.
    #[error("the server sends us elsewhere for {0}, which is not followed")]
    Redirect(String),
    /// The file is something else than a file.
    #[error("{0} is not a regular file")]
    Kind(String),
    /// No certificate to trust.
    #[error("there is no root certificate to trust: set `hospital_root` of [appliance]")]
    NoRoots,
    /// The root certificate cannot be read.
    #[error("the root certificates cannot be read: {0}")]
    Roots(String),
    /// The connection failed, or broke, or took too long.
    #[error("{name} cannot be fetched: {why}")]
    Connection {
        /// What.
        name: String,
        /// Why.
        why: String,
    },
    /// It is there, but cannot be read.
    #[error("{name} cannot be read")]
    Io {
        /// What.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl FetchError {
    /// Whether it may be otherwise soon.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 408 || *status == 429,
            Self::Missing(_)
            | Self::Redirect(_)
            | Self::Kind(_)
            | Self::NoRoots
            | Self::Roots(_)
            | Self::Io { .. } => false,
        }
    }
}

/// A folder: a stick, or what an operator copied.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Source for Folder {
    fn open(&mut self, name: &str, from: u64, tag: Option<&str>) -> Result<Body, FetchError> {
        let failed = |cause: io::Error| {
            let name = name.to_owned();
            if cause.kind() == io::ErrorKind::NotFound {
                return FetchError::Missing(name);
            }
            FetchError::Io { name, cause }
        };
        // A name in the folder may not lead out of it, and a pipe may not hold us up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(self.0.join(name), flags, Mode::empty());
        let mut file = File::from(file.map_err(|errno| failed(errno.into()))?);
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(FetchError::Kind(name.to_owned()));
        }
        let now = [
            metadata.ino(),
            metadata.size(),
            metadata.mtime().unsigned_abs(),
            metadata.mtime_nsec().unsigned_abs(),
        ];
        let now = format!("{now:?}");
        let start = if tag == Some(now.as_str()) { from } else { 0 };
        file.seek(SeekFrom::Start(start)).map_err(failed)?;
        Ok(Body {
            start,
            length: Some(metadata.size()),
            tag: Some(now),
            reader: Box::new(file),
        })
    }
}

/// A small file as a whole; one byte more than `most` if it is longer.
///
/// # Errors
/// When it cannot be had.
pub fn small(source: &mut dyn Source, name: &str, most: usize) -> Result<Vec<u8>, FetchError> {
    let body = source.open(name, 0, None)?;
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let read = body.reader.take(limit).read_to_end(&mut bytes);
    read.map_err(|cause| FetchError::Connection {
        name: name.to_owned(),
        why: cause.to_string(),
    })?;
    Ok(bytes)
}
