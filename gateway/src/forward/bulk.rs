//! Where bulk data is read to, so that it need not be copied until it is written.
//!
//! In: a request for room. Out: buffers whose parts may be kept; each is used again when nobody keeps one any more.
//! Knows nothing of what is read.

use bytes::{Bytes, BytesMut};

/// A few buffers, for all connections of the process.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    buffers: Vec<BytesMut>,
    next: usize,
}

impl Bulk {
    /// Room for [`READ`] bytes, in a buffer that holds none.
    ///
    /// The first free one is taken, which was used last and is still in the caches of the processor.
    //= C7
    pub(super) fn space(&mut self) -> &mut BytesMut {
        let free = self.buffers.iter_mut().position(|buffer| {
            buffer.clear();
            buffer.try_reclaim(READ)
        });
        let index = free.unwrap_or_else(|| self.another());
        // The index is of a buffer that was found or made just now.
        let last = self.buffers.len().saturating_sub(1);
        &mut self.buffers[index.min(last)]
    }

    /// Whoever keeps parts of a buffer that is given up here keeps it alone.
    fn another(&mut self) -> usize {
        let buffer = BytesMut::with_capacity(READ);
        if self.buffers.len() < MOST {
            self.buffers.push(buffer);
            return self.buffers.len().saturating_sub(1);
        }
        self.next = (self.next + 1) % MOST;
        self.buffers[self.next] = buffer;
        self.next
    }
}

/// What was read, to be kept: `None` if it is so little that a copy costs less than the rest of the buffer.
pub(super) fn kept(space: &mut BytesMut) -> Option<Bytes> {
    (space.len() >= WORTH).then(|| space.split().freeze())
}

/// Bytes read at once.
pub(super) const READ: usize = 256 << 10;
/// What is kept of a buffer is at least a quarter of it.
const WORTH: usize = READ / 4;
/// Buffers that are used again.
const MOST: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bulk: &mut Bulk, length: usize) -> Option<Bytes> {
        let space = bulk.space();
        assert!(space.is_empty() && space.capacity() >= READ);
        space.extend_from_slice(&vec![7; length]);
        kept(space)
    }

    #[test]
    fn a_buffer_is_used_again_when_its_parts_are_gone() {
        let mut bulk = Bulk::default();
        let first = read(&mut bulk, READ).unwrap();
        let address = first.as_ptr();
        let second = read(&mut bulk, WORTH).unwrap();
        assert_ne!(second.as_ptr(), address);
        drop(first);
        assert_eq!(read(&mut bulk, READ).unwrap().as_ptr(), address);
    }

    #[test]
    fn little_is_not_kept_and_few_buffers_are() {
        let mut bulk = Bulk::default();
        assert!(read(&mut bulk, WORTH - 1).is_none());
        let all: Vec<_> = (0..3 * MOST).map(|_| read(&mut bulk, READ)).collect();
        assert!(all.iter().all(Option::is_some));
        assert_eq!(bulk.buffers.len(), MOST);
    }
}
