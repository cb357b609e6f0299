//! What a thread needs to sleep, of `std::thread`.
//!
//! loom's own orders an unparked thread after the unpark even if it does not park. Here that needs a
//! park, as it does in truth.

use std::time::Duration;

pub use loom::thread::yield_now;
use loom::{
    sync::{Arc, Condvar, Mutex},
    thread_local,
};

/// A thread's token, and the means to wait for it.
#[derive(Clone)]
pub struct Thread(Arc<(Mutex<bool>, Condvar)>);

thread_local! {
    static CURRENT: Thread = Thread(Arc::new((Mutex::new(false), Condvar::new())));
}

impl Thread {
    pub fn unpark(&self) {
        let (token, changed) = &*self.0;
        *token.lock().unwrap() = true;
        changed.notify_one();
    }
}

pub fn current() -> Thread {
    CURRENT.with(Thread::clone)
}

pub fn park() {
    let current = current();
    let (token, changed) = &*current.0;
    let mut token = token.lock().unwrap();
    while !*token {
        token = changed.wait(token).unwrap();
    }
    *token = false;
}

/// Time does not pass in a model: returns at once, as a sleep that was cut short.
pub fn park_timeout(_timeout: Duration) {
    yield_now();
}
