//! `atomic_waker::AtomicWaker` under loom.
//!
//! loom's own mock takes a mutex and so hides what the real cell does. [`Cell`] goes through the
//! real cell's states, one for one, and is stricter in one point: where the real cell silently
//! drops the second of two registrations that meet, this one panics, because the slab promises
//! that they never do. [`AtomicWaker`], which the slab uses, holds it to all of that promise: each
//! use of a cell happens after the one before, through the orderings of the owner word and not
//! through the cell's own.

use core::task::Waker;
use std::sync::Mutex;

use ::loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A cell that panics where two uses are not ordered before either begins.
#[derive(Debug)]
pub struct AtomicWaker {
    turn: Turn,
    cell: Cell,
}

impl AtomicWaker {
    pub fn new() -> Self {
        Self {
            turn: Turn(UnsafeCell::new(())),
            cell: Cell::new(),
        }
    }

    pub fn register(&self, waker: &Waker) {
        self.turn.take();
        self.cell.register(waker);
    }

    pub fn take(&self) -> Option<Waker> {
        self.turn.take();
        self.cell.take()
    }
}

/// Data that loom watches for races. There is nothing in it that could be torn.
#[derive(Debug)]
struct Turn(UnsafeCell<()>);

// SAFETY: the pointer into the cell is never used.
unsafe impl Sync for Turn {}

impl Turn {
    fn take(&self) {
        self.0.with_mut(|_| ());
    }
}

const WAITING: usize = 0;
const REGISTERING: usize = 0b01;
const WAKING: usize = 0b10;

/// The real cell's states and transitions.
#[derive(Debug)]
pub struct Cell {
    state: AtomicUsize,
    /// Only ever locked by the thread that `state` admits, so `try_lock` must succeed.
    waker: Mutex<Option<Waker>>,
}

impl Cell {
    pub fn new() -> Self {
        Self {
            state: AtomicUsize::new(WAITING),
            waker: Mutex::new(None),
        }
    }

    pub fn register(&self, waker: &Waker) {
        let state = self
            .state
            .compare_exchange(WAITING, REGISTERING, Ordering::Acquire, Ordering::Acquire)
            .unwrap_or_else(|state| state);
        match state {
            WAITING => {
                self.access(|cell| match cell {
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
                    let waker = self.access(Option::take);
                    self.state.swap(WAITING, Ordering::AcqRel);
                    waker.expect("registered above").wake();
                }
            }
            WAKING => waker.wake_by_ref(),
            _ => panic!("two registrations at once in one slot"),
        }
    }

    pub fn take(&self) -> Option<Waker> {
        if self.state.fetch_or(WAKING, Ordering::AcqRel) != WAITING {
            return None;
        }
        let waker = self.access(Option::take);
        self.state.fetch_and(!WAKING, Ordering::Release);
        waker
    }

    fn access<R>(&self, access: impl FnOnce(&mut Option<Waker>) -> R) -> R {
        access(
            &mut self
                .waker
                .try_lock()
                .expect("two threads in one waker cell"),
        )
    }
}
