//! What of a message was received and what of it went on: the two differ while a message is streamed.
//!
//! In: fragments as they come, and how much of the data set was released. Out: the digest of the whole message,
//! or of the part that the other end has.
//! Knows nothing of framing and verdicts.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::record::Digest;

/// The bytes of one message, command first.
#[derive(Default)]
pub(super) struct Sent {
    /// Of what came, but for `unsent`.
    pub(super) digest: Digest,
    length: u64,
    /// What was not released of a streamed data set; always empty in another message.
    unsent: VecDeque<Bytes>,
    /// Small pieces of it, behind the others.
    gathered: BytesMut,
    /// Of a streamed message: what the other end has.
    went: Went,
}

#[derive(Default)]
enum Went {
    /// Nothing yet.
    #[default]
    None,
    /// Nothing, and nothing will.
    Never,
    /// What the digest is of.
    AsDigested,
    /// This. The rest will not go on.
    Was(Box<Digest>, u64),
}

impl Sent {
    /// A fragment of the command, or of a data set that does not go on before its verdict.
    pub(super) fn add(&mut self, bytes: Bytes) {
        self.length = self.length.saturating_add(len(&bytes));
        self.digest.add(bytes);
    }

    /// A fragment of a data set that is streamed.
    pub(super) fn add_streamed(&mut self, bytes: &Bytes) {
        match self.went {
            Went::Never | Went::Was(..) => self.add(bytes.clone()),
            // A small piece would keep a whole buffer.
            //= C7
            Went::None | Went::AsDigested if bytes.len() < COPIED => {
                self.gathered.extend_from_slice(bytes);
                if self.gathered.len() >= GATHERED {
                    self.gather();
                }
            }
            Went::None | Went::AsDigested => {
                self.gather();
                self.unsent.push_back(bytes.clone());
            }
        }
    }

    /// So much of the data set goes on, and the command before it.
    pub(super) fn released(&mut self, length: usize) {
        self.went = Went::AsDigested;
        self.gather();
        let mut left = length;
        while let Some(first) = self.unsent.front_mut()
            && left > 0
        {
            let part = first.split_to(left.min(first.len()));
            if first.is_empty() {
                self.unsent.pop_front();
            }
            left = left.saturating_sub(part.len());
            self.add(part);
        }
    }

    /// Nothing more goes on, though more may come.
    pub(super) fn cut(&mut self) {
        self.went = match std::mem::take(&mut self.went) {
            Went::None => Went::Never,
            Went::AsDigested => Went::Was(Box::new(self.digest.clone()), self.length),
            cut @ (Went::Never | Went::Was(..)) => cut,
        };
        self.rest();
    }

    /// How many bytes of a message that is not released as a whole went on; `None` if nothing did.
    pub(super) fn went(&self) -> Option<u64> {
        match &self.went {
            Went::None | Went::Never => None,
            Went::AsDigested => Some(self.length),
            Went::Was(_, length) => Some(*length),
        }
    }

    /// The digest and the length of what went on.
    pub(super) fn into_went(self) -> Option<(Digest, u64)> {
        match self.went {
            Went::None | Went::Never => None,
            Went::AsDigested => Some((self.digest, self.length)),
            Went::Was(digest, length) => Some((*digest, length)),
        }
    }

    /// The digest and the length of all that came.
    pub(super) fn into_all(mut self) -> (Digest, u64) {
        self.rest();
        (self.digest, self.length)
    }

    /// Bytes in memory that nobody else holds.
    pub(super) fn held(&self) -> usize {
        self.gathered.len().saturating_add(self.digest.held())
    }

    fn rest(&mut self) {
        self.gather();
        for bytes in std::mem::take(&mut self.unsent) {
            self.add(bytes);
        }
    }

    fn gather(&mut self) {
        if !self.gathered.is_empty() {
            let gathered = self.gathered.split().freeze();
            self.unsent.push_back(gathered);
        }
    }
}

fn len(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Fragments below this length are copied.
const COPIED: usize = 4 << 10;
/// Into pieces of about this length.
const GATHERED: usize = 16 << 10;
