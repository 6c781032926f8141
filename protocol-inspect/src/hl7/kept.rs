//! Short values that outlive their message without a place in the heap.
//!
//! In: bytes. Out: the same, cut at [`LONGEST`]; beyond `N` bytes they are on the heap after all.
//! Knows nothing of what they mean.

use std::ops::Deref;

/// A value of mostly at most `N` bytes.
#[derive(Clone)]
pub(crate) enum Kept<const N: usize> {
    Here(u8, [u8; N]),
    Heap(Box<[u8]>),
}

impl<const N: usize> Kept<N> {
    /// What is longer than [`LONGEST`] is cut, and so is no sender, type or version that anybody configured.
    pub(crate) fn new(value: &[u8]) -> Self {
        let value = value.get(..LONGEST).unwrap_or(value);
        let mut here = [0; N];
        match (here.get_mut(..value.len()), u8::try_from(value.len())) {
            (Some(room), Ok(length)) => {
                room.copy_from_slice(value);
                Self::Here(length, here)
            }
            (Some(_) | None, _) => Self::Heap(value.into()),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Here(length, bytes) => bytes.get(..usize::from(*length)).unwrap_or_default(),
            Self::Heap(bytes) => bytes,
        }
    }
}

impl<const N: usize> Deref for Kept<N> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl<const N: usize> PartialEq for Kept<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl<const N: usize> Eq for Kept<N> {}

impl<const N: usize> PartialEq<[u8]> for Kept<N> {
    fn eq(&self, other: &[u8]) -> bool {
        self.as_slice() == other
    }
}

impl<const N: usize> PartialEq<&[u8]> for Kept<N> {
    fn eq(&self, other: &&[u8]) -> bool {
        self.as_slice() == *other
    }
}

impl<const N: usize, const M: usize> PartialEq<&[u8; M]> for Kept<N> {
    fn eq(&self, other: &&[u8; M]) -> bool {
        self.as_slice() == other.as_slice()
    }
}

/// Longest value that is kept of a header.
//= C7
const LONGEST: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_fits_and_what_does_not_up_to_its_bound() {
        for length in [0, 1, 4, 5, LONGEST, LONGEST + 1] {
            let value = vec![b'x'; length];
            let kept = Kept::<4>::new(&value);
            assert_eq!(kept.as_slice(), &value[..length.min(LONGEST)]);
            assert_eq!(matches!(kept, Kept::Here(..)), length <= 4);
        }
    }
}
