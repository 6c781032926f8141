//! Holds what is too large for memory until its verdict, unreadable for everybody else.
//!
//! In: bytes, and an unlinked file of the supervisor. Out: the same bytes in the same order, or an error.
//! The file holds sealed blocks of one size under a random key that never leaves this process;
//! the last, incomplete block stays in memory. What the blocks mean is not known here.
//!
//! Blocks are written over those of the message before, because a file system takes far longer to find new ones:
//! whoever has a spool gives them back when it was empty for a while.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustix::buffer::spare_capacity;
use zeroize::{Zeroize, Zeroizing};

/// One message's bytes, appended and read back once.
pub struct Spool {
    file: OwnedFd,
    /// Made anew by [`Self::clear`], so that a nonce is never used twice under a key.
    cipher: LessSafeKey,
    /// Blocks in the file that open.
    sealed: u64,
    /// Blocks in the file, of this message or of earlier ones.
    written: u64,
    /// The block that is not full yet.
    tail: Zeroizing<Vec<u8>>,
    /// Where reading stands.
    reading: Option<Cursor>,
}

/// Why a spool is of no use any more.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The file system says no: full, for example.
    #[error("cannot use the spool file")]
    Io(#[from] io::Error),
    /// The supervisor has no file to give.
    #[error("no spool file can be had")]
    None,
    /// The system gives no random numbers.
    #[error("no random key for the spool")]
    Random,
    /// A block is not the one that was written.
    #[error("block {block} of the spool was changed or cut off")]
    Corrupt {
        /// Its number, from 0.
        block: u64,
    },
}

impl Spool {
    /// An empty spool over a file that nobody else writes to.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn new(file: OwnedFd) -> Result<Self, SpoolError> {
        Ok(Self {
            file,
            cipher: fresh_cipher()?,
            sealed: 0,
            written: 0,
            tail: Zeroizing::new(Vec::with_capacity(BLOCK + TAG)),
            reading: None,
        })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// When the file cannot take them.
    pub fn append(&mut self, bytes: &Bytes) -> Result<(), SpoolError> {
        let mut rest = bytes.as_ref();
        while !rest.is_empty() {
            let room = BLOCK.saturating_sub(self.tail.len()).min(rest.len());
            let (now, later) = rest.split_at(room);
            self.tail.extend_from_slice(now);
            rest = later;
            if self.tail.len() == BLOCK {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Reads from the start from now on, up to what was appended until now.
    pub fn rewind(&mut self) {
        self.reading = Some(Cursor::Block(0));
    }

    /// Whether [`Self::read`] has more.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// The next chunk; `None` after the last.
    ///
    /// # Errors
    /// When the file is not what was written.
    pub fn read(&mut self) -> Result<Option<Bytes>, SpoolError> {
        match self.reading {
            Some(Cursor::Block(block)) if block < self.sealed => {
                self.reading = Some(Cursor::Block(block.saturating_add(1)));
                self.open(block).map(Some)
            }
            Some(Cursor::Block(_)) if !self.tail.is_empty() => {
                self.reading = Some(Cursor::End);
                Ok(Some(Bytes::copy_from_slice(&self.tail)))
            }
            Some(Cursor::Block(_) | Cursor::End) | None => {
                self.reading = None;
                Ok(None)
            }
        }
    }

    /// Forgets everything. The old key is gone, so the old blocks are too, whatever the disk still holds.
    ///
    /// # Errors
    /// Without random numbers.
    pub fn clear(&mut self) -> Result<(), SpoolError> {
        self.cipher = fresh_cipher()?;
        self.sealed = 0;
        self.tail.zeroize();
        self.reading = None;
        self.keep(MOST_KEPT)
    }

    /// Gives the blocks back to the disk, whoever else has the file open. What was in them is lost.
    ///
    /// # Errors
    /// When the file system says no.
    pub fn give_back(&mut self) -> Result<(), SpoolError> {
        self.sealed = 0;
        self.reading = None;
        self.keep(0)
    }

    fn keep(&mut self, blocks: u64) -> Result<(), SpoolError> {
        if self.written > blocks {
            rustix::fs::ftruncate(&self.file, offset(blocks)?).map_err(io::Error::from)?;
            self.written = blocks;
        }
        Ok(())
    }

    fn seal(&mut self) -> Result<(), SpoolError> {
        let block = self.sealed;
        let tag = self
            .cipher
            .seal_in_place_separate_tag(nonce(block), Aad::empty(), &mut self.tail)
            .map_err(|_| SpoolError::Corrupt { block })?;
        self.tail.extend_from_slice(tag.as_ref());
        let mut at = offset(block)?;
        // Also one that is written in part.
        self.written = self.written.max(block.saturating_add(1));
        let mut rest = self.tail.as_slice();
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(&self.file, rest, at))
                .map_err(io::Error::from)?;
            if written == 0 {
                return Err(io::Error::from(io::ErrorKind::WriteZero).into());
            }
            rest = rest.get(written..).unwrap_or_default();
            at = at.saturating_add(written as u64);
        }
        self.tail.clear();
        self.sealed = block.saturating_add(1);
        Ok(())
    }

    fn open(&self, block: u64) -> Result<Bytes, SpoolError> {
        let corrupt = || SpoolError::Corrupt { block };
        let mut sealed = Vec::with_capacity(BLOCK + TAG);
        while sealed.len() < BLOCK + TAG {
            let at = offset(block)?.saturating_add(sealed.len() as u64);
            let read = rustix::io::retry_on_intr(|| {
                rustix::io::pread(&self.file, spare_capacity(&mut sealed), at)
            })
            .map_err(io::Error::from)?;
            if read == 0 {
                return Err(corrupt());
            }
        }
        // A vector may have more room than it was asked for.
        sealed.truncate(BLOCK + TAG);
        self.cipher
            .open_in_place(nonce(block), Aad::empty(), &mut sealed)
            .map_err(|_| corrupt())?;
        sealed.truncate(BLOCK);
        Ok(sealed.into())
    }
}

/// Where reading stands.
#[derive(Clone, Copy)]
enum Cursor {
    Block(u64),
    End,
}

fn fresh_cipher() -> Result<LessSafeKey, SpoolError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut()).map_err(|_| SpoolError::Random)?;
    let key = UnboundKey::new(&AES_256_GCM, key.as_ref()).map_err(|_| SpoolError::Random)?;
    Ok(LessSafeKey::new(key))
}

/// The block's number: a block that stands at another's place does not open.
fn nonce(block: u64) -> Nonce {
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().zip(block.to_le_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(nonce)
}

fn offset(block: u64) -> Result<u64, SpoolError> {
    let size = (BLOCK + TAG) as u64;
    let too_long = || io::Error::from(io::ErrorKind::FileTooLarge).into();
    block.checked_mul(size).ok_or_else(too_long)
}

/// Bytes in a block. Sealed, it fills whole pages of the file.
const BLOCK: usize = (128 << 10) - TAG;
/// Bytes of its seal.
const TAG: usize = 16;
/// Blocks that stay in the file for the next message: half a gibibyte.
//= C7
const MOST_KEPT: u64 = 4_096;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn spool(length: usize) -> (Spool, File, Vec<u8>) {
        let file = tempfile::tempfile().unwrap();
        let mut spool = Spool::new(file.try_clone().unwrap().into()).unwrap();
        let data: Vec<u8> = (0..length).map(|i| (i * 31 / 7) as u8).collect();
        for piece in data.chunks(10_007) {
            spool.append(&Bytes::copy_from_slice(piece)).unwrap();
        }
        (spool, file, data)
    }

    fn read(spool: &mut Spool) -> Result<Vec<u8>, SpoolError> {
        let mut all = Vec::new();
        spool.rewind();
        while let Some(chunk) = spool.read()? {
            assert!(chunk.len() <= BLOCK);
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[test]
    fn gives_back_what_it_took() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 77] {
            let (mut spool, _, data) = spool(length);
            assert_eq!(read(&mut spool).unwrap(), data, "{length}");
            assert!(!spool.is_reading());
        }
    }

    #[test]
    fn clears_for_the_next_message_and_keeps_its_blocks() {
        let (mut spool, file, _) = spool(3 * BLOCK);
        let length = file.metadata().unwrap().len();
        spool.clear().unwrap();
        assert!(read(&mut spool).unwrap().is_empty());
        let next = Bytes::from(vec![7; 2 * BLOCK + 5]);
        spool.append(&next).unwrap();
        assert_eq!(read(&mut spool).unwrap(), next);
        assert_eq!(file.metadata().unwrap().len(), length);
    }

    #[test]
    fn gives_its_blocks_back() {
        let (mut spool, file, _) = spool(3 * BLOCK);
        spool.clear().unwrap();
        spool.give_back().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        let next = Bytes::from(vec![7; 2 * BLOCK + 5]);
        spool.append(&next).unwrap();
        assert_eq!(read(&mut spool).unwrap(), next);
    }

    #[test]
    fn a_block_of_an_earlier_message_does_not_open() {
        let (mut spool, file, _) = spool(2 * BLOCK);
        let mut old = vec![0; BLOCK + TAG];
        file.read_exact_at(&mut old, 0).unwrap();
        spool.clear().unwrap();
        spool.append(&Bytes::from(vec![7; 2 * BLOCK])).unwrap();
        file.write_all_at(&old, 0).unwrap();
        let read = read(&mut spool);
        assert!(matches!(read, Err(SpoolError::Corrupt { block: 0 })));
    }

    #[test]
    fn more_than_is_kept_for_the_next_message_goes_back_to_the_disk() {
        let file = tempfile::tempfile().unwrap();
        let mut spool = Spool::new(file.try_clone().unwrap().into()).unwrap();
        let kept = offset(MOST_KEPT).unwrap();
        for (written, left) in [(MOST_KEPT, kept), (MOST_KEPT + 1, kept)] {
            // A hole costs nothing.
            file.set_len(offset(written).unwrap()).unwrap();
            spool.written = written;
            spool.clear().unwrap();
            assert_eq!(file.metadata().unwrap().len(), left);
            assert_eq!(spool.written, MOST_KEPT);
        }
    }

    #[test]
    fn the_file_does_not_show_the_bytes() {
        let (mut spool, file, _) = spool(0);
        spool.append(&Bytes::from(vec![b'P'; BLOCK])).unwrap();
        let mut raw = vec![0; BLOCK + TAG];
        file.read_exact_at(&mut raw, 0).unwrap();
        assert!(!raw.windows(8).any(|window| window == b"PPPPPPPP"));
    }

    #[test]
    fn notices_every_change() {
        let record = BLOCK + TAG;
        type Tamper<'a> = (&'a str, &'a dyn Fn(&File));
        let tamper: [Tamper<'_>; 4] = [
            ("bit", &|file| file.write_all_at(&[0xff], 100).unwrap()),
            ("tag", &|file| {
                file.write_all_at(&[0; TAG], BLOCK as u64).unwrap();
            }),
            ("cut", &|file| {
                file.set_len((2 * record) as u64 - 1).unwrap()
            }),
            ("swap", &|file| {
                let (mut a, mut b) = (vec![0; record], vec![0; record]);
                file.read_exact_at(&mut a, 0).unwrap();
                file.read_exact_at(&mut b, record as u64).unwrap();
                file.write_all_at(&b, 0).unwrap();
                file.write_all_at(&a, record as u64).unwrap();
            }),
        ];
        for (name, change) in tamper {
            let (mut spool, file, _) = spool(2 * BLOCK + 9);
            change(&file);
            let read = read(&mut spool);
            assert!(matches!(read, Err(SpoolError::Corrupt { .. })), "{name}");
        }
    }

    #[test]
    fn says_when_the_disk_is_full() {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut spool = Spool::new(full.into()).unwrap();
        let result = spool.append(&Bytes::from(vec![0; BLOCK]));
        assert!(matches!(result, Err(SpoolError::Io(_))));
    }
}
