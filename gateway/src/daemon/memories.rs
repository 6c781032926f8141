//! What a relay remembers of each subject (here: a device and a service) between its connections.
//!
//! Pure. Bounded: whoever came longest ago is forgotten first, but nobody whose connection lives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// One memory a subject.
pub(super) struct Memories<T> {
    inner: RefCell<Inner<T>>,
    most: usize,
}

struct Inner<T> {
    of: BTreeMap<u64, (u64, Arc<Mutex<T>>)>,
    turn: u64,
}

impl<T: Default> Memories<T> {
    /// Remembers at most so many subjects without a connection.
    pub(super) fn new(most: usize) -> Self {
        let inner = Inner {
            of: BTreeMap::new(),
            turn: 0,
        };
        Self {
            inner: RefCell::new(inner),
            most,
        }
    }

    /// The memory of a subject, shared by its connections.
    //= C7
    pub(super) fn of(&self, subject: u64) -> Arc<Mutex<T>> {
        let mut inner = self.inner.borrow_mut();
        if !inner.of.contains_key(&subject) && inner.of.len() >= self.most {
            let idle = inner
                .of
                .iter()
                .filter(|(_, (_, memory))| Arc::strong_count(memory) == 1);
            let oldest = idle.min_by_key(|(_, (turn, _))| *turn).map(|(s, _)| *s);
            if let Some(oldest) = oldest {
                inner.of.remove(&oldest);
            }
        }
        inner.turn = inner.turn.saturating_add(1);
        let turn = inner.turn;
        let entry = inner.of.entry(subject).or_default();
        entry.0 = turn;
        Arc::clone(&entry.1)
    }

    /// Tells all of them something.
    pub(super) fn each(&self, tell: impl Fn(&mut T)) {
        for (_, memory) in self.inner.borrow().of.values() {
            tell(&mut memory.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_of_one_subject_share_and_others_do_not() {
        let memories = Memories::<u32>::new(2);
        *memories.of(1).lock().unwrap() = 7;
        assert_eq!(*memories.of(1).lock().unwrap(), 7);
        assert_eq!(*memories.of(2).lock().unwrap(), 0);
    }

    #[test]
    fn the_longest_absent_is_forgotten_and_the_present_never() {
        let memories = Memories::<u32>::new(2);
        let present = memories.of(1);
        *present.lock().unwrap() = 1;
        *memories.of(2).lock().unwrap() = 2;
        *memories.of(3).lock().unwrap() = 3;
        assert_eq!(*memories.of(1).lock().unwrap(), 1, "its connection lives");
        assert_eq!(*memories.of(3).lock().unwrap(), 3);
        assert_eq!(*memories.of(2).lock().unwrap(), 0, "was forgotten");
    }
}
