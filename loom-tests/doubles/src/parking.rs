//! What a thread needs to sleep, of `std::thread`, and as weak as that promises to be.
//!
//! An unpark releases, and a park that consumes the token acquires all of them so far. Nothing else is
//! ordered: loom's own unpark reaches a thread that does not park, and a mutex would let the thread that
//! unparks see what the other did before it slept.

use std::time::Duration;

pub use loom::thread::yield_now;
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread_local,
};

/// A thread's token.
#[derive(Clone)]
pub struct Thread(Arc<AtomicBool>);

thread_local! {
    static CURRENT: Thread = Thread(Arc::new(AtomicBool::new(false)));
}

impl Thread {
    pub fn unpark(&self) {
        // A read-modify-write, so that one that comes later continues the release.
        self.0.swap(true, Ordering::Release);
    }
}

pub fn current() -> Thread {
    CURRENT.with(Thread::clone)
}

/// A thread that nobody unparks exceeds the branches of an execution.
pub fn park() {
    let Thread(token) = current();
    while !token.swap(false, Ordering::Acquire) {
        yield_now();
    }
}

/// Time does not pass in a model: returns at once, as a sleep that was cut short.
pub fn park_timeout(_timeout: Duration) {
    yield_now();
}
