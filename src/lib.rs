//! A cancel-safe, lock-free, runtime-agnostic async barrier.
// `cargo test --doc` also asks packages that have `doctest = false`. The examples are not for the
// models', so these have nothing below this line.
#![cfg(not(all(doctest, any(atomic_barrier_loom, atomic_barrier_shuttle))))]
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
//! # Barrier or Phaser
//!
//! | | waits for | a party that ends without arriving | a wait that is dropped |
//! |---|---|---|---|
//! | [`Barrier`] | any `n` arrivals, whosoever | is waited for | takes its arrival back |
//! | [`Phaser`] | each of its present members | has left, and is not waited for | takes its arrival back; a phase that was complete is not missed |
//!
//! A `Barrier` is what tokio's and the standard library's are: a number that is known beforehand, in a
//! `static` if need be. A [`Phaser`] is for tasks that come and go, or may fail: each has a [`Participant`],
//! which leaves when it is dropped, in a panic and by an abort too.
//!
//! # Which way to wait
//!
//! All of them meet in the same generation, in any mixture.
//!
//! | | who waits | arrives | brings | when it is dropped |
//! |---|---|---|---|---|
//! | [`wait`](Barrier::wait) | a task | at the first poll | [`BarrierWaitResult`] | takes its arrival back |
//! | [`wait_owned`](Barrier::wait_owned) | a task that must be `'static` | at the first poll | [`BarrierWaitResult`] | takes its arrival back |
//! | [`wait_leader`](Barrier::wait_leader) | a task that, if it comes last, acts while the others stay blocked | at the first poll | the [`Leader`](barrier::Leader), or `None` | takes its arrival back; the `Leader` releases |
//! | [`arrive`](Barrier::arrive) | a task that has work to do between arriving and waiting | in the call | [`BarrierWaitResult`] | stays counted |
//! | [`wait_blocking`](Barrier::wait_blocking) | a thread | in the call | [`BarrierWaitResult`] | |
//! | [`wait_blocking_timeout`](Barrier::wait_blocking_timeout) | a thread with a deadline | in the call | the same, or [`WaitTimeoutError`](barrier::WaitTimeoutError) | takes its arrival back when that has passed |
//!
//! # What happens on cancellation
//!
//! Whether a wait that is dropped was counted has one answer, decided by one compare-and-swap: if its
//! generation was complete by then, it was; otherwise it never came. So a timeout can be tried again
//! for as long as it takes, and a party that gives up leaves nothing behind:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use atomic_barrier::Barrier;
//! use tokio::time::timeout;
//!
//! let barrier = Barrier::new(2);
//! assert!(timeout(Duration::from_secs(1), barrier.wait()).await.is_err());
//! assert_eq!(barrier.arrived(), 0);
//! # }
//! ```
//!
//! The number of parties stays as it is: if one of them will never come again, the others wait for it.
//!
//! # How fast it is
//!
//! On the machine that [`docs::performance`] describes, a crossing takes 25 to 61 ns a task where all
//! tasks share a thread: 2.5 times as fast as tokio's barrier (geometric mean over 2 to 4096 tasks). On
//! two workers, where runs differ more, it is 2 to 2.2 times as fast. That page also has the barriers of
//! other crates, one of which is often as fast or a little faster. On your machine:
//!
//! ```sh
//! cargo bench --bench ratios -- --quick
//! ```
//!
//! # Features
//!
//! - `std` (default): blocking waits; a panic in one waker is kept back until every other waiter is
//!   woken. Without it the crate is `no_std` and needs `alloc`; the others are woken all the same, but
//!   a second panic among them aborts.
//! - `portable-atomic`: 64-bit atomics for targets that have none.
//! - `tracing`: barriers and who waits at them show in tokio-console, those in a `static` too. Implies
//!   `std`. Without it nothing is added; with it and nobody listening, 2.5 ns a wait at most.
//!
//! # More
//!
//! - [`docs::migrating`]: from tokio's barrier, or another, to this one.
//! - [`docs::design`]: how it works, with a picture of the word and of a slot's life.
//! - [`docs::verification`]: for each claim made here the test or model that pins it, and what none sees.
//! - [`docs::performance`]: the figures, and the command for each.
//! - [`docs::tokio_console`]: how to see barriers, and who waits at them, in tokio-console.
//! - [`docs::scaling_out`]: how tasks of several processes can meet, and when they should.
#![no_std]
#![cfg_attr(
    docsrs,
    feature(doc_cfg),
    doc(auto_cfg(hide(atomic_barrier_loom, doc, doctest)))
)]
#![cfg_attr(
    not(feature = "std"),
    allow(
        rustdoc::broken_intra_doc_links,
        reason = "this page names what `std` alone has"
    )
)]
#![deny(unsafe_code)]
#![warn(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::alloc_instead_of_core
)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

#[cfg(not(any(target_has_atomic = "64", feature = "portable-atomic")))]
compile_error!("this target has no 64-bit atomics: switch the feature `portable-atomic` on");

pub mod barrier;
#[cfg(feature = "std")]
mod blocking;
#[expect(unsafe_code, reason = "wakers that are kept from phase to phase")]
mod phaser;
#[expect(
    unsafe_code,
    reason = "segments of elements that are shared while more are added"
)]
mod segments;
mod slab;
mod state;
mod sync;
mod trace;
mod wake;

#[doc(inline)]
pub use barrier::{Barrier, BarrierWaitResult};
#[cfg(feature = "std")]
pub use phaser::PhaserWaitError;
pub use phaser::{
    Closed, Observation, Participant, Phaser, PhaserLeader, PhaserWait, PhaserWaitLeader,
    PhaserWaitResult, RegisterError,
};

/// Longer reading, for the rendered documentation and its tests alone.
#[cfg(all(feature = "std", any(doc, doctest)))]
pub mod docs {
    // No files stand beside a rendered page. Of two definitions of a picture the first counts.
    #[doc = include_str!("../docs/pictures.md")]
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = include_str!("../docs/verification.md")]
    pub mod verification {}

    #[doc = include_str!("../docs/pictures.md")]
    #[doc = include_str!("../docs/performance.md")]
    pub mod performance {}

    #[doc = include_str!("../docs/migrating.md")]
    pub mod migrating {}

    #[doc = include_str!("../docs/tokio-console.md")]
    pub mod tokio_console {}

    #[doc = include_str!("../docs/scaling-out.md")]
    pub mod scaling_out {}
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
