//! Many packets in one allocation, each with a word about it.
//!
//! In: packets, written in place. Out: the same in order, singly or as trains of equal sizes for one target.
//! Knows nothing of what a packet is.

/// Packets in the order in which they came.
pub struct Batch<T> {
    bytes: Vec<u8>,
    entries: Vec<(usize, T)>,
}

/// Neighbouring packets about the same thing, of one size but for the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train<'a, T> {
    /// All packets, without gaps.
    pub bytes: &'a [u8],
    /// The size of each packet but the last.
    pub size: usize,
    /// What they are about.
    pub about: &'a T,
}

impl<T> Train<'_, T> {
    /// Whether there is more than one packet.
    #[must_use]
    pub fn is_several(&self) -> bool {
        self.bytes.len() > self.size
    }

    /// The packets.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks(self.size.max(1))
    }
}

impl<T> Batch<T> {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bytes: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// Room for the next packet, at least and exactly `length` long. Its content is not defined.
    pub fn space(&mut self, length: usize) -> &mut [u8] {
        let start = self.end();
        let end = start.saturating_add(length);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        self.bytes.get_mut(start..end).unwrap_or_default()
    }

    /// Keeps the first `length` bytes of the last [`Self::space`] as a packet.
    pub fn commit(&mut self, length: usize, about: T) {
        let end = self.end().saturating_add(length).min(self.bytes.len());
        self.entries.push((end, about));
    }

    /// Appends a copy.
    pub fn push(&mut self, packet: &[u8], about: T) {
        self.space(packet.len()).copy_from_slice(packet);
        self.commit(packet.len(), about);
    }

    /// Forgets the packets, keeps the allocation.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// How many packets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The packets.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &T)> {
        let mut start = 0;
        self.entries.iter().map(move |(end, about)| {
            let packet = self.bytes.get(start..*end).unwrap_or_default();
            start = *end;
            (packet, about)
        })
    }

    fn end(&self) -> usize {
        self.entries.last().map_or(0, |(end, _)| *end)
    }
}

impl<T: PartialEq> Batch<T> {
    /// The packets as trains of at most `most` packets and [`MAX_TRAIN`] bytes. Order is kept.
    pub fn trains(&self, most: usize) -> impl Iterator<Item = Train<'_, T>> {
        let (mut next, mut start) = (0, 0);
        std::iter::from_fn(move || {
            let (first_end, about) = self.entries.get(next)?;
            let size = first_end - start;
            let (mut end, mut last) = (*first_end, size);
            next += 1;
            let mut count = 1;
            while let Some((further, other)) = self.entries.get(next) {
                let length = further - end;
                let fits = count < most && further - start <= MAX_TRAIN;
                if !fits || other != about || last != size || length > size || length == 0 {
                    break;
                }
                (end, last) = (*further, length);
                next += 1;
                count += 1;
            }
            let bytes = self.bytes.get(start..end).unwrap_or_default();
            start = end;
            Some(Train { bytes, size, about })
        })
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// The longest train: what fits a UDP datagram over IPv6 with some headroom.
pub const MAX_TRAIN: usize = 65_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(packets: &[(usize, char)]) -> Batch<char> {
        let mut batch = Batch::new();
        for (length, about) in packets {
            batch.push(&vec![7; *length], *about);
        }
        batch
    }

    fn trains(packets: &[(usize, char)], most: usize) -> Vec<(usize, usize, char)> {
        let batch = batch(packets);
        let trains = batch.trains(most);
        trains
            .map(|t| (t.packets().count(), t.bytes.len(), *t.about))
            .collect()
    }

    #[test]
    fn keeps_packets_in_order_and_apart() {
        let mut batch = Batch::new();
        batch.push(b"one", 1);
        batch.space(100).fill(b'x');
        batch.commit(2, 2);
        batch.push(b"", 3);
        batch.push(b"three", 4);
        let all: Vec<_> = batch.iter().map(|(p, a)| (p.to_vec(), *a)).collect();
        assert_eq!(
            all,
            [
                (b"one".to_vec(), 1),
                (b"xx".to_vec(), 2),
                (Vec::new(), 3),
                (b"three".to_vec(), 4)
            ]
        );
        batch.clear();
        assert!(batch.is_empty() && batch.iter().next().is_none());
    }

    #[test]
    fn couples_equal_sizes_and_one_shorter_last() {
        let packets = [
            (10, 'a'),
            (10, 'a'),
            (7, 'a'),
            (10, 'a'),
            (12, 'a'),
            (12, 'b'),
        ];
        assert_eq!(
            trains(&packets, 64),
            [(3, 27, 'a'), (1, 10, 'a'), (1, 12, 'a'), (1, 12, 'b')]
        );
        assert_eq!(trains(&packets, 1).len(), 6);
        assert_eq!(trains(&[(1400, 'a'); 100], 64)[0].0, 46);
        assert_eq!(trains(&[(32, 'a'); 100], 64)[0].0, 64);
    }
}
