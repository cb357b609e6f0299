//! `crossbeam_utils`' `Parker` and `Backoff` under loom and shuttle.

use std::time::Instant;

#[cfg(atomic_barrier_loom)]
use loom::{
    sync::{Arc, Condvar, Mutex},
    thread,
};
#[cfg(atomic_barrier_shuttle)]
use shuttle::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// Never spins: what a spin would see, a model sees in another execution.
pub(crate) struct Backoff;

impl Backoff {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn is_completed(&self) -> bool {
        true
    }

    pub(crate) fn snooze(&self) {}
}

/// A token, and the threads' means to wait for it.
#[derive(Clone)]
pub(crate) struct Unparker(Arc<(Mutex<bool>, Condvar)>);

impl Unparker {
    pub(crate) fn unpark(&self) {
        let (token, changed) = &*self.0;
        *token.lock().unwrap() = true;
        changed.notify_one();
    }
}

pub(crate) struct Parker(Unparker);

impl Parker {
    pub(crate) fn new() -> Self {
        Self(Unparker(Arc::new((Mutex::new(false), Condvar::new()))))
    }

    pub(crate) fn unparker(&self) -> &Unparker {
        &self.0
    }

    pub(crate) fn park(&self) {
        let (token, changed) = &*self.0.0;
        let mut token = token.lock().unwrap();
        while !*token {
            token = changed.wait(token).unwrap();
        }
        *token = false;
    }

    /// Time does not pass in a model: returns at once, as a sleep that was cut short.
    pub(crate) fn park_deadline(&self, _deadline: Instant) {
        thread::yield_now();
    }
}
