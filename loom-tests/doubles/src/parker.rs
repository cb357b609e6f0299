//! `crossbeam_utils`' `Parker` and `Backoff` under loom and shuttle.

use std::time::Instant;

use super::model::{
    sync::{Arc, Condvar, Mutex},
    thread,
};

/// Never spins: what a spin would see, a model sees in another execution.
pub struct Backoff;

impl Backoff {
    pub fn new() -> Self {
        Self
    }

    pub fn is_completed(&self) -> bool {
        true
    }

    pub fn snooze(&self) {}
}

/// A token, and the threads' means to wait for it.
#[derive(Clone)]
pub struct Unparker(Arc<(Mutex<bool>, Condvar)>);

impl Unparker {
    pub fn unpark(&self) {
        let (token, changed) = &*self.0;
        *token.lock().unwrap() = true;
        changed.notify_one();
    }
}

pub struct Parker(Unparker);

impl Parker {
    pub fn new() -> Self {
        Self(Unparker(Arc::new((Mutex::new(false), Condvar::new()))))
    }

    pub fn unparker(&self) -> &Unparker {
        &self.0
    }

    pub fn park(&self) {
        let (token, changed) = &*self.0.0;
        let mut token = token.lock().unwrap();
        while !*token {
            token = changed.wait(token).unwrap();
        }
        *token = false;
    }

    /// Time does not pass in a model: returns at once, as a sleep that was cut short.
    pub fn park_deadline(&self, _deadline: Instant) {
        thread::yield_now();
    }
}
