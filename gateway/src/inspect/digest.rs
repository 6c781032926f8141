//! The digest of what passes, for the journal and for telling messages apart: BLAKE3-256.
//!
//! In: bytes, in pieces of any size. Out: 32 bytes, which the audit process keys before they are written.
//! One thread hashes all that a relay carries, and BLAKE3 does so with the widest registers of the processor,
//! several times as fast as SHA-256 with its own instructions. The journal's chain and keys do not know it.
//! What the bytes are is not known here.

use blake3::Hasher;

/// Of bytes that are at hand.
pub(super) fn of(bytes: &[u8]) -> [u8; 32] {
    blake3::hash(bytes).into()
}

/// Of bytes that come one after the other.
#[derive(Clone, Default)]
pub(super) struct Running {
    /// None before the first byte: most of a session's messages are yet to come.
    hasher: Option<Box<Hasher>>,
    /// What does not fill a [`STRIDE`] yet.
    part: Vec<u8>,
}

impl Running {
    /// The hasher is given whole strides alone, from one multiple of a stride to another:
    /// what begins or ends in between is hashed by narrow registers, at a fraction of the speed.
    pub(super) fn add(&mut self, mut bytes: &[u8]) {
        if !self.part.is_empty() {
            let missing = STRIDE.saturating_sub(self.part.len()).min(bytes.len());
            let (first, rest) = bytes.split_at(missing);
            self.part.extend_from_slice(first);
            bytes = rest;
            if self.part.len() < STRIDE {
                return;
            }
            self.hasher.get_or_insert_default().update(&self.part);
            self.part.clear();
        }
        let (whole, rest) = bytes.split_at(bytes.len() / STRIDE * STRIDE);
        if !whole.is_empty() {
            self.hasher.get_or_insert_default().update(whole);
        }
        self.part.extend_from_slice(rest);
    }

    /// Bytes in memory.
    pub(super) fn held(&self) -> usize {
        let hasher = self.hasher.as_deref().map_or(0, size_of_val);
        hasher.saturating_add(self.part.capacity())
    }

    /// The digest of all.
    pub(super) fn finish(self) -> [u8; 32] {
        match self.hasher {
            Some(mut hasher) => hasher.update(&self.part).finalize().into(),
            None => of(&self.part),
        }
    }
}

/// Never the bytes.
impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

/// Bytes that the widest registers take at once: sixteen chunks of BLAKE3.
const STRIDE: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_digest_of_the_whole() {
        let bytes: Vec<u8> = (0..5 * STRIDE + 77).map(|i| (i * 31 / 7) as u8).collect();
        for length in [0, 1, STRIDE - 1, STRIDE, STRIDE + 1, bytes.len()] {
            let whole = &bytes[..length];
            for size in [1, 1_000, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE + 5] {
                let mut running = Running::default();
                for piece in whole.chunks(size) {
                    running.add(piece);
                    assert!(running.part.len() < STRIDE);
                }
                assert_eq!(running.finish(), of(whole), "{length} in pieces of {size}");
            }
        }
    }

    /// The test vector of BLAKE3 for three bytes: 0, 1, 2.
    #[test]
    fn it_is_blake3() {
        let first = [0xe1, 0xbe, 0x4d, 0x7a, 0x8a, 0xb5, 0x56, 0x0a];
        assert!(of(&[0, 1, 2]).starts_with(&first));
        assert_ne!(of(&[0, 1, 3]), of(&[0, 1, 2]));
    }
}
