//! Offset tables of encapsulated pixel data (PS3.5 A.4, PS3.3 C.7.6.3.1.8): where each frame begins.
//!
//! In: the bytes of a table, then where each fragment begins. Out: whether the table is true.
//! Keeps the table, which is bounded by `dicom_offsets`; the fragments are not kept.

use crate::{LimitReached, Refusal};

/// A table of numbers of `N` bytes each, little endian.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    numbers: Vec<u64>,
    partial: [u8; N],
    filled: usize,
    most: usize,
}

/// An empty table.
impl<const N: usize> Default for Table<N> {
    fn default() -> Self {
        Self {
            numbers: Vec::new(),
            partial: [0; N],
            filled: 0,
            most: 0,
        }
    }
}

impl<const N: usize> Table<N> {
    /// Room for a table of this length in bytes.
    ///
    /// # Errors
    /// It has more numbers than `dicom_offsets`.
    //= C7
    pub(super) fn new(length: u32, most: usize) -> Result<Self, Refusal> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let got = length.checked_div(N).unwrap_or(usize::MAX);
        LimitReached::check("dicom_offsets", got, most)?;
        Ok(Self {
            most,
            ..Self::default()
        })
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if let Some(place) = self.partial.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled = self.filled.saturating_add(1);
            if self.filled == N && self.numbers.len() < self.most {
                self.filled = 0;
                let number = self.partial.iter().rev();
                let number = number.fold(0_u64, |sum, byte| sum.wrapping_shl(8) | u64::from(*byte));
                self.numbers.push(number);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<u64> {
        self.numbers.get(index).copied()
    }

    /// Whether the first is 0 and each is larger than the one before.
    pub(super) fn ascends(&self) -> bool {
        let pairs = self.numbers.iter().zip(self.numbers.iter().skip(1));
        self.get(0).is_none_or(|first| first == 0)
            && pairs.into_iter().all(|(one, next)| one < next)
    }
}

/// A table whose offsets are looked for among the fragments, in order.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    next: usize,
}

impl Cursor {
    /// A fragment begins here: whether a frame does, too. An offset that was passed points into a fragment.
    pub(super) fn fragment<const N: usize>(
        &mut self,
        table: &Table<N>,
        begins: u64,
    ) -> Result<bool, Missed> {
        match table.get(self.next) {
            Some(offset) if offset == begins => {
                self.next = self.next.saturating_add(1);
                Ok(true)
            }
            Some(offset) if offset < begins => Err(Missed),
            Some(_) | None => Ok(false),
        }
    }

    /// Whether all offsets were found.
    pub(super) fn is_done<const N: usize>(&self, table: &Table<N>) -> bool {
        self.next == table.len()
    }
}

/// No fragment begins where the table says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Missed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_in_any_chunks() {
        let bytes: Vec<u8> = [0_u32, 8, 300]
            .iter()
            .flat_map(|n| n.to_le_bytes())
            .collect();
        for size in 1..=12 {
            let mut table: Table<4> = Table::new(12, 3).unwrap();
            for chunk in bytes.chunks(size) {
                table.push(chunk);
            }
            assert_eq!(table.numbers, [0, 8, 300]);
            assert!(table.ascends());
        }
    }

    #[test]
    fn tables_are_bounded() {
        assert!(Table::<8>::new(24, 3).is_ok());
        assert!(Table::<8>::new(32, 3).is_err());
    }
}
