//! The patients of a device, known by keyed hashes of their identifiers alone: shared by all inspectors.
//!
//! In: an identifier with its assigning authority. Out: its hash, and whether it is one of the device's.
//! Nothing is folded or trimmed here, so that what differs for some receiver differs for us.
//! Knows nothing of where in a message an identifier stands.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Patients, known by keyed hashes of their identifiers alone. The default knows nobody.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patients {
    /// The key of the hashes.
    key: Vec<u8>,
    /// What [`patient_hash`] makes of each identifier, ascending.
    hashes: Vec<[u8; 32]>,
}

impl Patients {
    /// Patients by the hashes of their identifiers under a key.
    #[must_use]
    pub fn new(key: &[u8], hashes: impl IntoIterator<Item = [u8; 32]>) -> Self {
        let mut hashes: Vec<_> = hashes.into_iter().collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self {
            key: key.to_vec(),
            hashes,
        }
    }

    /// A hash in the making under their key.
    pub(crate) fn hash(&self) -> PatientHash {
        PatientHash::new(&self.key)
    }

    /// Whether the hash is that of one of them.
    pub(crate) fn contains(&self, hash: &[u8; 32]) -> bool {
        self.hashes.binary_search(hash).is_ok()
    }

    /// Whether an identifier of an authority (namespace, universal ID, type of that) is one of theirs.
    pub(crate) fn knows(&self, authority: [&[u8]; 3], identifier: &[u8]) -> bool {
        let mut hash = self.hash();
        for part in authority.into_iter().chain([identifier]) {
            hash.length(part.len());
            hash.update(part);
        }
        self.contains(&hash.finish())
    }
}

// The key lets anybody who has it guess identifiers.
impl fmt::Debug for Patients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Patients({})", self.hashes.len())
    }
}

/// The hash of a patient's identifier: HMAC-SHA-256 over the three parts of its assigning authority
/// (namespace, universal ID, type of that) and the identifier itself, each after its length in eight bytes, most significant first.
#[must_use]
pub fn patient_hash(key: &[u8], authority: [&str; 3], identifier: &str) -> [u8; 32] {
    let mut hash = PatientHash::new(key);
    for part in authority.into_iter().chain([identifier]) {
        hash.length(part.len());
        hash.update(part.as_bytes());
    }
    hash.finish()
}

/// The hash of an identifier in the making. Without a key it is all zeros, which nobody's is.
pub(crate) struct PatientHash(Option<Hmac<Sha256>>);

impl PatientHash {
    fn new(key: &[u8]) -> Self {
        Self(Hmac::new_from_slice(key).ok())
    }

    pub(crate) fn length(&mut self, length: usize) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.update(&length.to_be_bytes());
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.0 {
            hash.update(bytes);
        }
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        self.0
            .map(|hash| hash.finalize().into_bytes().into())
            .unwrap_or_default()
    }
}
