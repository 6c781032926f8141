//! Notes for one connection, from the worker and from other connections of the same thread.
//!
//! In: notes. Out: the same, in their order. A queue beside its reader: looking whether there is anything, which a
//! connection does with every turn, costs one look and no atomic step.
//! Knows nothing of what the notes say.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// What is left for one connection.
struct Inner<T> {
    queue: VecDeque<T>,
    /// Of the reader, when it waits.
    waker: Option<Waker>,
    /// The sender is gone.
    is_closed: bool,
}

/// The end that takes notes in. An unbounded queue: whoever fills it bounds what is in it.
pub(super) struct Sender<T>(Rc<RefCell<Inner<T>>>);

/// The end that gives them out.
pub(super) struct Receiver<T>(Rc<RefCell<Inner<T>>>);

/// Both ends.
pub(super) fn mailbox<T>() -> (Sender<T>, Receiver<T>) {
    let inner = Rc::new(RefCell::new(Inner {
        queue: VecDeque::new(),
        waker: None,
        is_closed: false,
    }));
    (Sender(Rc::clone(&inner)), Receiver(inner))
}

impl<T> Sender<T> {
    /// Leaves a note. Nobody reads it where the receiver is gone.
    pub(super) fn send(&self, note: T) {
        let waker = {
            let mut inner = self.0.borrow_mut();
            inner.queue.push_back(note);
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut inner = self.0.borrow_mut();
            inner.is_closed = true;
            inner.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// The next note; `None` when there is none and the sender is gone. If there is none yet, the task is woken then.
    pub(super) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut inner = self.0.borrow_mut();
        if let Some(note) = inner.queue.pop_front() {
            return Poll::Ready(Some(note));
        }
        if inner.is_closed {
            return Poll::Ready(None);
        }
        let knows = inner.waker.as_ref();
        if !knows.is_some_and(|waker| waker.will_wake(cx.waker())) {
            inner.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn notes_come_in_their_order_and_then_the_end() {
        let (sender, receiver) = mailbox();
        assert!(
            poll_fn(|cx| receiver.poll_recv(cx))
                .now_or_never()
                .is_none()
        );
        sender.send(1);
        sender.send(2);
        drop(sender);
        for expected in [Some(1), Some(2), None, None] {
            assert_eq!(poll_fn(|cx| receiver.poll_recv(cx)).await, expected);
        }
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_a_note_and_by_the_end() {
        let (sender, receiver) = mailbox();
        let reads = async {
            let first = poll_fn(|cx| receiver.poll_recv(cx)).await;
            (first, poll_fn(|cx| receiver.poll_recv(cx)).await)
        };
        let writes = async {
            tokio::task::yield_now().await;
            sender.send(1);
            tokio::task::yield_now().await;
            drop(sender);
        };
        let both = async { tokio::join!(reads, writes).0 };
        let read = tokio::time::timeout(std::time::Duration::from_secs(9), both);
        assert_eq!(read.await, Ok((Some(1), None)));
    }

    #[test]
    fn a_note_for_nobody_is_lost() {
        let (sender, receiver) = mailbox();
        drop(receiver);
        sender.send(1);
    }
}
