//! Over loom.

use ::loom as model;
pub use ::loom::{cell::UnsafeCell, sync::atomic::AtomicPtr, thread_local};

pub use self::{
    parker::{Backoff, Parker, Unparker},
    waker::AtomicWaker,
    weak::AtomicU64,
};

#[path = "parker.rs"]
mod parker;
#[path = "waker.rs"]
pub mod waker;
#[path = "weak.rs"]
pub mod weak;
