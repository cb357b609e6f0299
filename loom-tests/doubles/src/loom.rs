//! Over loom.

pub use ::loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, AtomicPtr},
    thread_local,
};

pub use self::{waker::AtomicWaker, weak::AtomicU64};

#[path = "parking.rs"]
pub mod thread;
#[path = "waker.rs"]
pub mod waker;
#[path = "weak.rs"]
pub mod weak;

/// What a spin would see, a model sees in another execution.
pub const PAUSES: usize = 0;
pub const YIELDS: usize = 0;
