//! Over shuttle.

use ::shuttle as model;
pub use ::shuttle::{
    sync::atomic::{AtomicPtr, AtomicU64},
    thread_local,
};
pub use atomic_waker::AtomicWaker;

pub use self::parker::{Backoff, Parker, Unparker};

#[path = "parker.rs"]
mod parker;
