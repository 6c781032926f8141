//! Where in a message values end.
//!
//! In: the bytes of a message, and the few bytes at which a value ends. Out: the places of these bytes, one by one.
//! Sixty-four bytes are looked at at once, and each place is then one step: what lies between costs nothing more.

/// The places of the stops from somewhere on. A copy remembers where it was made.
#[derive(Clone, Copy)]
pub(crate) struct Stops<'a, const N: usize> {
    bytes: &'a [u8],
    set: [u8; N],
    /// Where the block of 64 bytes begins of which the mask is.
    start: usize,
    /// The stops of the block that were not told yet, the first in bit 0.
    mask: u64,
    /// The byte behind the last stop that was told.
    position: usize,
}

impl<'a, const N: usize> Stops<'a, N> {
    pub(crate) fn new(bytes: &'a [u8], set: [u8; N]) -> Self {
        let mut stops = Self {
            bytes,
            set,
            start: 0,
            mask: 0,
            position: 0,
        };
        stops.mask = stops.mask_of(0);
        stops
    }

    /// The next stop; the end of the bytes is one, again and again.
    #[inline]
    pub(crate) fn next(&mut self) -> usize {
        if self.mask == 0 && !self.advance() {
            return self.bytes.len();
        }
        let bit = usize::try_from(self.mask.trailing_zeros()).unwrap_or(BLOCK);
        self.mask &= self.mask.wrapping_sub(1);
        // A place in the bytes, so it is no more than their length.
        let at = self.start.wrapping_add(bit);
        self.position = at.wrapping_add(1);
        at
    }

    /// Goes on to the next block that has a stop, if there is one.
    #[inline(never)]
    fn advance(&mut self) -> bool {
        while self.mask == 0 {
            let next = self.start.saturating_add(BLOCK);
            if next >= self.bytes.len() {
                self.position = self.bytes.len();
                return false;
            }
            self.start = next;
            self.mask = self.mask_of(next);
        }
        true
    }

    /// Goes on with the first stop at or behind `position`. Never goes back.
    #[inline]
    pub(crate) fn seek(&mut self, position: usize) {
        if position <= self.position {
            return;
        }
        self.position = position;
        let bit = position % BLOCK;
        let start = position.saturating_sub(bit);
        if start != self.start {
            self.start = start;
            self.mask = self.mask_of(start);
        }
        let bit = u32::try_from(bit).unwrap_or_default();
        self.mask &= u64::MAX.wrapping_shl(bit);
    }

    fn mask_of(&self, start: usize) -> u64 {
        let rest = self.bytes.get(start..).unwrap_or_default();
        if let Some(whole) = rest.first_chunk() {
            return mask(whole, self.set);
        }
        let mut last = [0; BLOCK];
        if let Some(room) = last.get_mut(..rest.len()) {
            room.copy_from_slice(rest);
        }
        let here = u32::try_from(rest.len()).unwrap_or_default();
        mask(&last, self.set) & 1_u64.wrapping_shl(here).wrapping_sub(1)
    }
}

/// One bit for each byte that is in the set. Written so that the compiler compares many bytes at once.
fn mask<const N: usize>(block: &[u8; BLOCK], set: [u8; N]) -> u64 {
    let mut found = [0_u8; BLOCK];
    for (found, byte) in found.iter_mut().zip(block) {
        *found = u8::from(set.iter().fold(false, |found, stop| found | (byte == stop)));
    }
    let mut mask = 0_u64;
    for eight in found.as_chunks::<8>().0.iter().rev() {
        // Moves the lowest bit of each byte into the highest byte, in their order.
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080);
        mask = mask.wrapping_shl(8) | bits.wrapping_shr(56);
    }
    mask
}

const BLOCK: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_every_stop_and_the_end() {
        let set = *b"|^~&\r";
        for length in (0..300).chain([1_000]) {
            let bytes: Vec<u8> = (0..length)
                .map(|i: usize| b"a|b^^c~~~ddddddd&\r"[i * i / 7 % 18])
                .collect();
            let mut stops = Stops::new(&bytes, set);
            for (at, _) in bytes.iter().enumerate().filter(|(_, b)| set.contains(b)) {
                assert_eq!(stops.next(), at);
            }
            assert_eq!((stops.next(), stops.next()), (length, length));
            for from in 0..length {
                let mut stops = Stops::new(&bytes, set);
                stops.seek(from);
                let slow = bytes[from..].iter().position(|b| set.contains(b));
                assert_eq!(stops.next(), slow.map_or(length, |at| from + at));
            }
        }
    }
}
