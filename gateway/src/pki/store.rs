//! What the signer keeps on the disk: keys, certificates, which authority does what, and the ledger.
//!
//! Files are for their owner alone and are replaced as a whole; the ledger grows at its end and is synced before
//! anybody hears of an entry. What is damaged or missing is an error, never begun anew, so that no revocation is
//! forgotten by damage. Knows nothing of what the entries mean.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lazaret_config::{KeyAlgorithm, ServerName};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::authority::{AuthorityId, SecretKey};
use super::custody::Place;
use super::key::{Fingerprint, Serial};
use super::ledger::{Entry, Ledger, LedgerError, Listener};
use super::pem::{self, PemError};
use super::validity::Validity;

/// The folder of the signer, which it alone uses.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    ledger: File,
    length: u64,
    lines: usize,
    /// A line may be there in part: nothing may follow it.
    torn: bool,
}

/// Which authorities and listeners there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// Newest first; the first one issues.
    pub authorities: Vec<Kept>,
    /// The key whose request waits for its certificate.
    pub waiting: Option<Waiting>,
    /// Newest first.
    pub servers: Vec<KeptServer>,
}

/// An authority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Which.
    pub id: AuthorityId,
    /// Of its key.
    pub algorithm: KeyAlgorithm,
    /// Where its key is in a token; `None` if it is in a file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// The only servers that it can certify; `None` if the hospital's root decided.
    pub servers: Option<Vec<ServerName>>,
    /// When the next one came and until when this one is trusted.
    pub retiring: Option<Retiring>,
}

impl Kept {
    /// Whether its certificates are believed.
    #[must_use]
    pub fn is_trusted(&self, now: Timestamp) -> bool {
        self.retiring.is_none_or(|end| now < end.until)
    }
}

/// The end of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retiring {
    /// When the next one came.
    pub since: Timestamp,
    /// Until when it is trusted.
    pub until: Timestamp,
}

/// A key whose request waits for its certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiting {
    /// Which authority it will be.
    pub id: AuthorityId,
    /// Of the key.
    pub algorithm: KeyAlgorithm,
    /// Where the key is in a token; `None` if it is in a file beside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// The certificate of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptServer {
    /// Whose.
    pub listener: Listener,
    /// Of its key.
    pub key: Fingerprint,
    /// Of its key.
    pub algorithm: KeyAlgorithm,
    /// By whom.
    pub authority: AuthorityId,
    /// Its number.
    pub serial: Serial,
    /// From when to when.
    pub validity: Validity,
    /// What it names.
    pub names: Vec<ServerName>,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system says no.
    #[error("cannot {what} {path}")]
    Io {
        /// `read`, `write`, ….
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it says.
        #[source]
        cause: io::Error,
    },
    /// Others may read or write it, or it belongs to somebody else.
    #[error(
        "{path} is not for its owner alone (mode {mode:04o}): `chmod go= {path}`, as the user of the gateway"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not there, but something else says that it was.
    #[error("{0} is missing: restore it from the backup")]
    Missing(PathBuf),
    /// Another process uses it.
    #[error("another process uses {0}")]
    InUse(PathBuf),
    /// Not what this program wrote.
    #[error("{path} is damaged (line {line}): restore it from the backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// A line of the ledger contradicts those before it.
    #[error("{path} contradicts itself (line {line})")]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// How.
        #[source]
        cause: LedgerError,
    },
    /// Longer than such a file can be.
    #[error("{0} is too large")]
    TooLarge(PathBuf),
    /// Not in PEM.
    #[error("{path} is not in PEM")]
    Pem {
        /// The file.
        path: PathBuf,
        /// How.
        #[source]
        cause: PemError,
    },
    /// The key is another one than that of the certificate, or none.
    #[error("{0} does not hold the key that it should")]
    Key(PathBuf),
    /// The last line could not be taken back.
    #[error("the end of {0} could not be written: it is read again at the next start")]
    Torn(PathBuf),
}

impl Store {
    /// Opens the folder, which may be new, and reads everything but the keys.
    ///
    /// # Errors
    /// When something is missing, damaged, or not for its owner alone.
    pub fn open(directory: &Path) -> Result<(Self, State, Ledger), StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io("make", directory))?;
        private(
            directory,
            &std::fs::metadata(directory).map_err(io("read", directory))?,
        )?;
        let (state_path, path) = (directory.join(STATE), directory.join(LEDGER));
        let state = read_state(&state_path)?;
        if state.is_some() && !path.exists() {
            return Err(StoreError::Missing(path));
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("open", &path))?;
        private(&path, &file.metadata().map_err(io("read", &path))?)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::InUse(path.clone()))?;
        let (ledger, lines, length) = read_ledger(&file, &path)?;
        if state.is_none() && lines > 0 {
            return Err(StoreError::Missing(state_path));
        }
        // What was cut off was never answered.
        file.set_len(length).map_err(io("write", &path))?;
        sync_directory(directory)?;
        let store = Self {
            directory: directory.to_owned(),
            ledger: file,
            length,
            lines,
            torn: false,
        };
        Ok((store, state.unwrap_or_default(), ledger))
    }

    /// Writes an entry; it is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written; then it is not there.
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let path = self.directory.join(LEDGER);
        if self.torn {
            return Err(StoreError::Torn(path));
        }
        let mut line =
            serde_json::to_vec(entry).map_err(|error| io("write", &path)(error.into()))?;
        line.push(b'\n');
        let written = self
            .ledger
            .write_all(&line)
            .and_then(|()| self.ledger.sync_data());
        if let Err(cause) = written {
            let back = self.ledger.set_len(self.length);
            self.torn = back.and_then(|()| self.ledger.sync_data()).is_err();
            return Err(io("write", &path)(cause));
        }
        let added = u64::try_from(line.len()).unwrap_or(u64::MAX);
        self.length = self.length.saturating_add(added);
        self.lines = self.lines.saturating_add(1);
        Ok(())
    }

    /// How many lines the ledger has.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// Writes the ledger anew, without what it forgot.
    ///
    /// # Errors
    /// When it cannot be written; then the old one stays.
    pub fn compact(&mut self, ledger: &Ledger) -> Result<(), StoreError> {
        let path = self.directory.join(LEDGER);
        let (mut text, mut lines) = (Vec::new(), 0_usize);
        for entry in ledger.entries() {
            serde_json::to_writer(&mut text, &entry).map_err(|e| io("write", &path)(e.into()))?;
            text.push(b'\n');
            lines = lines.saturating_add(1);
        }
        let file = self.replace(LEDGER, &text)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| StoreError::InUse(path))?;
        self.ledger = file;
        self.length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.lines = lines;
        self.torn = false;
        Ok(())
    }

    /// Writes which authorities and listeners there are.
    ///
    /// # Errors
    /// When it cannot be written; then the old state stays.
    pub fn save(&self, state: &State) -> Result<(), StoreError> {
        let path = self.directory.join(STATE);
        let stored = State {
            version: VERSION,
            ..state.clone()
        };
        let mut json =
            serde_json::to_vec_pretty(&stored).map_err(|error| io("write", &path)(error.into()))?;
        json.push(b'\n');
        self.replace(STATE, &json).map(drop)
    }

    /// Keeps a key under a name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_key(&self, name: &str, key: &SecretKey) -> Result<(), StoreError> {
        let text = Zeroizing::new(pem::encode(pem::PRIVATE_KEY, &key.pkcs8()));
        self.replace(&format!("{name}.key"), text.as_bytes())
            .map(drop)
    }

    /// The key that is kept under a name.
    ///
    /// # Errors
    /// When it is missing, damaged, another one, or not for its owner alone.
    pub fn key(
        &self,
        name: &str,
        algorithm: KeyAlgorithm,
        expected: impl FnOnce(Fingerprint) -> bool,
    ) -> Result<SecretKey, StoreError> {
        let path = self.directory.join(format!("{name}.key"));
        let text = Zeroizing::new(read(&path, MAX_FILE)?);
        let text = std::str::from_utf8(&text).map_err(|_| StoreError::Key(path.clone()))?;
        let pkcs8 = pem::one(text, pem::PRIVATE_KEY).map(Zeroizing::new);
        let pkcs8 = pkcs8.map_err(pem_of(&path))?;
        SecretKey::read(&pkcs8, algorithm)
            .ok()
            .filter(|key| expected(key.fingerprint()))
            .ok_or(StoreError::Key(path))
    }

    /// Keeps certificates under a name.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn keep_chain(&self, name: &str, chain: &[Vec<u8>]) -> Result<(), StoreError> {
        let all = chain.iter().map(|der| pem::encode(pem::CERTIFICATE, der));
        let text: String = all.collect();
        self.replace(&format!("{name}.crt"), text.as_bytes())
            .map(drop)
    }

    /// The certificates that are kept under a name.
    ///
    /// # Errors
    /// When they are missing or damaged.
    pub fn chain(&self, name: &str) -> Result<Vec<Vec<u8>>, StoreError> {
        let path = self.directory.join(format!("{name}.crt"));
        let text = read(&path, MAX_FILE)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        pem::all(&text, pem::CERTIFICATE).map_err(pem_of(&path))
    }

    /// Keeps a list of revoked certificates under a name.
    ///
    /// # Errors
    /// When it cannot be written; then the one before stays.
    pub fn keep_list(&self, name: &str, list: &[u8]) -> Result<(), StoreError> {
        self.replace(&format!("{name}.crl"), list).map(drop)
    }

    /// The list of revoked certificates that is kept under a name, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is not for its owner alone.
    pub fn list(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match read(&self.directory.join(format!("{name}.crl")), MAX_LIST) {
            Ok(list) => Ok(Some(list)),
            Err(StoreError::Missing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes the key and the list that are kept under a name; its certificates stay.
    ///
    /// # Errors
    /// When they cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        for kind in ["key", "crl"] {
            let path = self.directory.join(format!("{name}.{kind}"));
            if let Err(error) = std::fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(io("remove", &path)(error));
            }
        }
        sync_directory(&self.directory)
    }

    /// Replaces a file as a whole: after a crash it is the old one or the new one.
    fn replace(&self, name: &str, contents: &[u8]) -> Result<File, StoreError> {
        let (path, new) = (
            self.directory.join(name),
            self.directory.join(format!("{name}.new")),
        );
        match std::fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io("remove", &new)(error));
            }
            _ => {}
        }
        let write = || {
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create_new(true)
                .mode(0o600)
                .open(&new)?;
            file.write_all(contents)?;
            file.sync_all()?;
            std::fs::rename(&new, &path)?;
            Ok(file)
        };
        let file = write().map_err(io("write", &path))?;
        sync_directory(&self.directory)?;
        Ok(file)
    }
}

/// The name under which the files of an authority are kept.
#[must_use]
pub fn authority_name(id: AuthorityId) -> String {
    format!("ca-{id}")
}

/// The name under which the files of a listener are kept.
#[must_use]
pub fn server_name(listener: Listener, key: Fingerprint) -> String {
    let id = AuthorityId::of(key);
    format!("{}-{id}", listener.as_str())
}

fn read_state(path: &Path) -> Result<Option<State>, StoreError> {
    if !path.exists() {
        return Ok(None);
    }
    let json = read(path, MAX_FILE)?;
    let state: State = serde_json::from_slice(&json).map_err(|error| StoreError::Damaged {
        path: path.to_owned(),
        line: error.line(),
    })?;
    if state.version != VERSION {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            line: 1,
        });
    }
    Ok(Some(state))
}

/// The ledger, its lines, and the length of what is whole.
fn read_ledger(file: &File, path: &Path) -> Result<(Ledger, usize, u64), StoreError> {
    let mut ledger = Ledger::default();
    let (mut lines, mut length) = (0_usize, 0_u64);
    let mut reader = BufReader::new(file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
            .map_err(io("read", path))?;
        let (path, line_number) = (path.to_owned(), lines.saturating_add(1));
        if !line.ends_with(b"\n") {
            // The last line may be cut off by a crash, but no other.
            if u64::try_from(read).unwrap_or(u64::MAX) >= MAX_LINE {
                return Err(StoreError::Damaged {
                    path,
                    line: line_number,
                });
            }
            return Ok((ledger, lines, length));
        }
        let entry = serde_json::from_slice(&line).map_err(|_| StoreError::Damaged {
            path: path.clone(),
            line: line_number,
        })?;
        ledger
            .take(entry)
            .map_err(|cause| StoreError::Contradiction {
                path,
                line: line_number,
                cause,
            })?;
        lines = line_number;
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

fn read(path: &Path, longest: u64) -> Result<Vec<u8>, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::Missing(path.to_owned()));
        }
        file => file.map_err(io("read", path))?,
    };
    let metadata = file.metadata().map_err(io("read", path))?;
    private(path, &metadata)?;
    if metadata.len() > longest {
        return Err(StoreError::TooLarge(path.to_owned()));
    }
    // At once in full length: a buffer that grows would leave parts of a key behind.
    let length = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length.saturating_add(1));
    file.take(longest)
        .read_to_end(&mut bytes)
        .map_err(io("read", path))?;
    Ok(bytes)
}

fn private(path: &Path, metadata: &std::fs::Metadata) -> Result<(), StoreError> {
    let ours = metadata.uid() == rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    if ours && mode & 0o077 == 0 && (metadata.is_file() || metadata.is_dir()) {
        Ok(())
    } else {
        Err(StoreError::Exposed {
            path: path.to_owned(),
            mode,
        })
    }
}

fn sync_directory(directory: &Path) -> Result<(), StoreError> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(io("sync", directory))
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_owned();
    move |cause| StoreError::Io { what, path, cause }
}

fn pem_of(path: &Path) -> impl FnOnce(PemError) -> StoreError {
    let path = path.to_owned();
    move |cause| StoreError::Pem { path, cause }
}

/// Below the state directory of the gateway.
pub const DIRECTORY: &str = "pki";
const STATE: &str = "state.json";
const LEDGER: &str = "ledger.jsonl";
const VERSION: u32 = 1;
/// Of a key, a chain or the state.
//= C7
const MAX_FILE: u64 = 1 << 20;
/// Of a list of revoked certificates.
//= C7
const MAX_LIST: u64 = 16 << 20;
/// Of the ledger.
const MAX_LINE: u64 = 4096;
