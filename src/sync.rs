//! The one switch between the real atomics and those of loom and of shuttle.

pub(crate) use core::sync::atomic::Ordering;

#[cfg(atomic_barrier_loom)]
use model_doubles::loom as platform;
#[cfg(atomic_barrier_shuttle)]
use model_doubles::shuttle as platform;

#[cfg(not(any(atomic_barrier_loom, atomic_barrier_shuttle)))]
mod platform {
    pub(crate) use atomic_waker::AtomicWaker;
    #[cfg(feature = "std")]
    pub(crate) use core::sync::atomic::AtomicBool;
    #[cfg(not(feature = "portable-atomic"))]
    pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU64};
    #[cfg(feature = "portable-atomic")]
    pub(crate) use portable_atomic::{AtomicPtr, AtomicU64};
    #[cfg(feature = "std")]
    pub(crate) use std::{thread, thread_local};

    /// How often a thread pauses before it yields, and how often it yields before it sleeps.
    #[cfg(feature = "std")]
    pub(crate) const PAUSES: usize = 12;
    #[cfg(feature = "std")]
    pub(crate) const YIELDS: usize = 8;
}

#[cfg(feature = "std")]
pub(crate) use platform::{AtomicBool, PAUSES, YIELDS, thread, thread_local};
pub(crate) use platform::{AtomicPtr, AtomicU64, AtomicWaker};

#[cfg(not(atomic_barrier_loom))]
mod cell;
#[cfg(not(atomic_barrier_loom))]
pub(crate) use cell::UnsafeCell;
#[cfg(atomic_barrier_loom)]
pub(crate) use platform::UnsafeCell;

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

/// Changes `word`, from its value `current` or a later one, by the CAS that `transition` asks
/// for: what it becomes, the ordering of the success, and what to return then. Tries again while the
/// CAS fails; a transition that returns an error changes nothing.
#[inline]
pub(crate) fn try_update<T, E>(
    word: &AtomicU64,
    mut current: u64,
    failure: Ordering,
    mut transition: impl FnMut(u64) -> Result<(u64, Ordering, T), E>,
) -> Result<T, E> {
    loop {
        let (to, success, outcome) = transition(current)?;
        // Weak: this is a loop anyway.
        match word.compare_exchange_weak(current, to, success, failure) {
            Ok(_) => return Ok(outcome),
            Err(actual) => current = actual,
        }
    }
}
