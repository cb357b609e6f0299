//! Over shuttle.

pub use ::shuttle::{
    sync::atomic::{AtomicBool, AtomicPtr, AtomicU64},
    thread_local,
};
pub use atomic_waker::AtomicWaker;

pub mod thread {
    use core::time::Duration;

    pub use ::shuttle::thread::{Thread, current, park, yield_now};

    /// Time does not pass: returns at once, as a sleep that was cut short.
    pub fn park_timeout(_timeout: Duration) {
        yield_now();
    }
}

/// What a spin would see, shuttle sees under another schedule.
pub const PAUSES: usize = 0;
pub const YIELDS: usize = 0;
