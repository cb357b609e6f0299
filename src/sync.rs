//! The one switch between the real atomics and those of loom and of shuttle.

#[cfg(not(any(
    atomic_barrier_loom,
    atomic_barrier_shuttle,
    feature = "portable-atomic"
)))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU64};
#[cfg(all(
    not(any(atomic_barrier_loom, atomic_barrier_shuttle)),
    feature = "portable-atomic"
))]
pub(crate) use portable_atomic::{AtomicPtr, AtomicU64};

#[cfg(not(atomic_barrier_loom))]
pub(crate) use atomic_waker::AtomicWaker;

#[cfg(all(not(any(atomic_barrier_loom, atomic_barrier_shuttle)), feature = "std"))]
pub(crate) use crossbeam_utils::{
    Backoff,
    sync::{Parker, Unparker},
};
#[cfg(all(not(any(atomic_barrier_loom, atomic_barrier_shuttle)), feature = "std"))]
pub(crate) use std::thread_local;

#[cfg(not(atomic_barrier_loom))]
mod cell;
#[cfg(all(any(atomic_barrier_loom, atomic_barrier_shuttle), feature = "std"))]
mod parker;
#[cfg(atomic_barrier_loom)]
mod waker;
#[cfg(atomic_barrier_loom)]
pub(crate) mod weak;
#[cfg(not(atomic_barrier_loom))]
pub(crate) use self::cell::UnsafeCell;
#[cfg(all(any(atomic_barrier_loom, atomic_barrier_shuttle), feature = "std"))]
pub(crate) use self::parker::{Backoff, Parker, Unparker};
#[cfg(atomic_barrier_loom)]
pub(crate) use self::waker::AtomicWaker;
#[cfg(atomic_barrier_loom)]
pub(crate) use self::weak::AtomicU64;
#[cfg(atomic_barrier_loom)]
pub(crate) use loom::{cell::UnsafeCell, sync::atomic::AtomicPtr};

#[cfg(all(atomic_barrier_loom, feature = "std"))]
pub(crate) use loom::thread_local;

#[cfg(atomic_barrier_shuttle)]
pub(crate) use shuttle::sync::atomic::{AtomicPtr, AtomicU64};
#[cfg(all(atomic_barrier_shuttle, feature = "std"))]
pub(crate) use shuttle::thread_local;

pub(crate) use core::sync::atomic::Ordering;

/// Declares a function `const`, except under loom, whose atomics are created at run time.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis const fn $($rest:tt)*) => {
        #[cfg(not(atomic_barrier_loom))]
        $(#[$meta])* $vis const fn $($rest)*
        #[cfg(atomic_barrier_loom)]
        $(#[$meta])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;
