//! A fast, cancel-safe, runtime-agnostic async barrier.
//!
//! [`Barrier`] lets `n` tasks meet: the last to arrive leads, all go on, and the barrier is ready
//! for the next round. It is used like `tokio::sync::Barrier`, on any runtime, and differs in what
//! happens to a wait that is dropped: its arrival is taken back, so `timeout`, `select!` and
//! aborted tasks leave no trace.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use atomic_barrier::Barrier;
//!
//! let barrier = Barrier::new(3);
//! let results = tokio::join!(barrier.wait(), barrier.wait(), barrier.wait());
//! assert!(results.2.is_leader());
//! assert_eq!(barrier.generation(), 1);
//! # }
//! ```
//!
//! # Which way to wait
//!
//! All of them meet in the same generation.
//!
//! | | who | when it is dropped |
//! |---|---|---|
//! | [`Barrier::wait`] | a task | takes its arrival back |
//! | [`Barrier::wait_owned`] | a task that must be `'static` | takes its arrival back |
//! | [`Barrier::wait_leader`] | a task that, if it comes last, acts while the others stay blocked | takes its arrival back; the [`Leader`] releases |
//! | [`Barrier::arrive`] | a task that has work to do between arriving and waiting | stays counted |
//! | [`Barrier::wait_blocking`] | a thread | |
//! | [`Barrier::wait_blocking_timeout`] | a thread with a deadline | takes its arrival back when that has passed |
//!
//! Whether a wait that is dropped was counted has one answer, decided by one compare-and-swap: if its
//! generation was complete by then, it was; otherwise it never came.
//!
//! # Features
//!
//! - `std` (default): blocking waits; a panic in one waker is kept back until every other waiter is
//!   woken. Without it the crate is `no_std` and needs `alloc`; the others are woken all the same, but
//!   a second panic among them aborts.
//! - `portable-atomic`: 64-bit atomics for targets that have none.
//!
//! # More
//!
//! The pages in [`docs`] say how the
//! barrier works, how it is checked, how fast it is, and how to come here from another one.
#![no_std]
#![deny(unsafe_code)]
#![warn(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]

extern crate alloc;
#[cfg(any(feature = "std", loom))]
extern crate std;

#[cfg(not(any(target_has_atomic = "64", feature = "portable-atomic")))]
compile_error!("this target has no 64-bit atomics: switch the feature `portable-atomic` on");

mod barrier;
#[expect(
    unsafe_code,
    reason = "segments of slots that are shared while more are added"
)]
mod slab;
mod state;
mod sync;

#[cfg(feature = "std")]
pub use barrier::WaitTimeoutError;
pub use barrier::{Arrival, Barrier, BarrierWaitResult, Leader, OwnedWait, Wait, WaitLeader};
#[cfg(loom)]
#[doc(hidden)]
pub use sync::weak::{fail_weak_cas_after, weak_cas_has_failed};

/// Longer reading, for the rendered documentation and its tests alone.
#[cfg(all(feature = "std", any(doc, doctest)))]
pub mod docs {
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = include_str!("../docs/verification.md")]
    pub mod verification {}

    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}

    #[doc = include_str!("../docs/migrating.md")]
    pub mod migrating {}
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
