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
//! # Features
//!
//! - `std` (default): a panic in one waker is kept back until every other waiter is woken. Without
//!   it the crate is `no_std` and needs `alloc`; the others are woken all the same, but a second
//!   panic among them aborts.
//! - `portable-atomic`: 64-bit atomics for targets that have none.
#![no_std]
#![deny(unsafe_code)]

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
