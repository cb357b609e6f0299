//! How a thread waits: it spins for a short time, and then sleeps.

use alloc::{sync::Arc, task::Wake};
use core::{
    cell::Cell,
    task::{Poll, Waker},
};
use std::time::Instant;

use crate::sync::{Backoff, Parker, Unparker, thread_local};

/// What a thread can wait for.
pub(crate) trait Block {
    type Output;

    /// Whether it has arrived and nothing but the release is missing.
    fn is_held_up(&self) -> bool;

    fn poll(&mut self, waker: &Waker) -> Poll<Self::Output>;

    /// Takes the arrival back. Returns false if it is too late for that.
    fn give_up(&mut self) -> bool;
}

/// Blocks this thread until `wait` is ready. Returns nothing if it was given up at the deadline.
pub(crate) fn block<W: Block>(mut wait: W, mut deadline: Option<Instant>) -> Option<W::Output> {
    let backoff = Backoff::new();
    while wait.is_held_up() && !backoff.is_completed() {
        backoff.snooze();
    }

    let bed = Bed::take();
    let result = loop {
        if let Poll::Ready(result) = wait.poll(&bed.waker) {
            break Some(result);
        }
        match deadline {
            None => bed.parker.park(),
            Some(at) if Instant::now() < at => {
                bed.parker.park_deadline(at);
            }
            Some(_) if wait.give_up() => break None,
            Some(_) => deadline = None,
        }
    };
    bed.put_back();
    result
}

/// What a thread sleeps in, and what wakes it. One a thread, made when first needed.
struct Bed {
    parker: Parker,
    waker: Waker,
}

thread_local! {
    static MADE: Cell<Option<Bed>> = Cell::default();
}

impl Bed {
    /// This thread's, or another if that is in use (a waker may block in its `wake`).
    fn take() -> Self {
        let made = MADE.try_with(Cell::take).ok().flatten();
        made.unwrap_or_else(|| {
            let parker = Parker::new();
            let waker = Waker::from(Arc::new(Unpark(parker.unparker().clone())));
            Self { parker, waker }
        })
    }

    fn put_back(self) {
        // A thread that is about to end has no use for it.
        let _ = MADE.try_with(|made| made.set(Some(self)));
    }
}

struct Unpark(Unparker);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
