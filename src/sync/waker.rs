//! `atomic_waker::AtomicWaker` under loom.
//!
//! loom's own mock takes a mutex and so hides what the real cell does. This one goes through the
//! real cell's states, one for one, and is stricter in one point: where the real cell silently
//! drops the second of two registrations that meet, this one panics, because the slab promises
//! that they never do.

use core::task::Waker;
use std::sync::Mutex;

use loom::sync::atomic::{AtomicUsize, Ordering};

const WAITING: usize = 0;
const REGISTERING: usize = 0b01;
const WAKING: usize = 0b10;

#[derive(Debug)]
pub(crate) struct AtomicWaker {
    state: AtomicUsize,
    /// Only ever locked by the thread that `state` admits, so `try_lock` must succeed.
    waker: Mutex<Option<Waker>>,
}

impl AtomicWaker {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicUsize::new(WAITING),
            waker: Mutex::new(None),
        }
    }

    pub(crate) fn register(&self, waker: &Waker) {
        let state = self
            .state
            .compare_exchange(WAITING, REGISTERING, Ordering::Acquire, Ordering::Acquire)
            .unwrap_or_else(|state| state);
        match state {
            WAITING => {
                self.cell(|cell| match cell {
                    Some(old) if old.will_wake(waker) => {}
                    _ => *cell = Some(waker.clone()),
                });
                let done = self.state.compare_exchange(
                    REGISTERING,
                    WAITING,
                    Ordering::AcqRel,
                    Ordering::Acquire,
                );
                if done.is_err() {
                    // A wake came meanwhile and left its work to this thread.
                    let waker = self.cell(Option::take);
                    self.state.swap(WAITING, Ordering::AcqRel);
                    waker.expect("registered above").wake();
                }
            }
            WAKING => waker.wake_by_ref(),
            _ => panic!("two registrations at once in one slot"),
        }
    }

    pub(crate) fn take(&self) -> Option<Waker> {
        if self.state.fetch_or(WAKING, Ordering::AcqRel) != WAITING {
            return None;
        }
        let waker = self.cell(Option::take);
        self.state.fetch_and(!WAKING, Ordering::Release);
        waker
    }

    fn cell<R>(&self, access: impl FnOnce(&mut Option<Waker>) -> R) -> R {
        access(
            &mut self
                .waker
                .try_lock()
                .expect("two threads in one waker cell"),
        )
    }
}
