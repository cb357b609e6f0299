//! A cancel-safe, lock-free, runtime-agnostic async barrier.
// `cargo test --doc` also asks packages that have `doctest = false`. The examples are not for the
// models', so these have nothing below this line.
#![cfg(not(all(doctest, any(atomic_barrier_loom, atomic_barrier_shuttle))))]
//!
//! [`Barrier`] lets `n` tasks meet: the last to arrive leads, all go on, and the barrier is ready for the
//! next generation. It is used like `tokio::sync::Barrier`, on any runtime, and differs in what happens to
//! a wait that is dropped: its arrival is withdrawn, so `timeout`, `select!` and aborted tasks leave no
//! trace. [`Phaser`] does the same for participants that come, go and fail.
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
//! # Which one do I need?
//!
//! | problem | answer |
//! |---|---|
//! | [a fixed number of tasks meet](#a-fixed-number-of-tasks-meet) | [`Barrier::wait`] |
//! | [tasks come and go](#tasks-come-and-go) | [`Phaser::register`] |
//! | [one task acts for all](#one-task-acts-for-all) | [`Barrier::wait_leader`] |
//! | [an action in each phase](#an-action-in-each-phase) | [`Builder::on_phase`](phaser::Builder::on_phase) |
//! | [announce and go on](#announce-and-go-on) | [`Barrier::arrive`] |
//! | [observe without taking part](#observe-without-taking-part) | [`Barrier::observe`], [`Phaser::observe`] |
//! | [name the missing](#name-the-missing) | [`Phaser::missing`] |
//! | [threads](#threads) | [`Barrier::wait_blocking`] |
//! | [across machines](#across-machines) | a barrier in each process, and one wait per process (`docs/scaling-out.md` in the repository) |
//! | [nobody goes on if one dies](#nobody-goes-on-if-one-dies) | [`Builder::close_on`](phaser::Builder::close_on) |
//! | wait once, until tasks have ended | their handles: tokio's `JoinSet`, a `WaitGroup` |
//!
//! The ways to wait mix: tasks and threads, owned and borrowed, leaders and arrivals meet in the same generation
//! of the same barrier.
//!
//! ## A fixed number of tasks meet
//!
//! ```
//! # use atomic_barrier::Barrier;
//! # use std::sync::Arc;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let barrier = Arc::new(Barrier::new(3));
//! let tasks = [(); 3].map(|()| tokio::spawn(barrier.clone().wait_owned()));
//! for task in tasks {
//!     assert_eq!(task.await.unwrap().generation(), 0);
//! }
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | `Barrier::wait` | `Barrier::wait` | `barrier::arrive_and_wait` | `CyclicBarrier.await` | `Barrier.SignalAndWait` | `asyncio.Barrier.wait` |
//!
//! ## Tasks come and go
//!
//! A [`Phaser`] has participants. Each phase needs one arrival of each that is registered. Dropping a
//! participant leaves, also when its task returns, panics or is aborted.
//!
//! ```
//! # use atomic_barrier::Phaser;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let phaser = Phaser::new();
//! let [mut stays, goes] = phaser.register_array()?;
//! tokio::spawn(async move { drop(goes) });
//! assert_eq!(stays.wait().await?.phase(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | `barrier::arrive_and_drop` (leave only) | `Phaser.register`, `arriveAndDeregister` | `Barrier.AddParticipant`, `RemoveParticipant` | |
//!
//! ## One task acts for all
//!
//! The last to arrive acts, over awaits as well, while all others stay blocked until it releases the
//! [`Leader`](barrier::Leader).
//!
//! ```
//! # use atomic_barrier::Barrier;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let barrier = Barrier::new(1);
//! # let swap_buffers = async || {};
//! if let Some(leader) = barrier.wait_leader().await {
//!     swap_buffers().await;
//!     leader.release();
//! }
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | two waits | two waits | two waits | two waits | two waits | two waits |
//!
//! ## An action in each phase
//!
//! It runs once, in the call that completes the phase, before anybody goes on: in the last arrival, or
//! in the departure of the last that was missing.
//!
//! ```
//! # use atomic_barrier::Phaser;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let report = |phase, participants| println!("step {phase} is over, of {participants}");
//! let phaser = Phaser::builder().on_phase(report).build();
//! let [mut a, b] = phaser.register_array()?;
//! tokio::spawn(async move { drop(b) });
//! assert_eq!(a.wait().await?.phase(), 0);
//! # Ok(())
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | completion function of `barrier` | `Phaser.onAdvance`, `CyclicBarrier(n, action)` | post-phase action of `Barrier` | `threading.Barrier(action=...)` |
//!
//! ## Announce and go on
//!
//! An arrival counts in the call and for good. Await it, ask whether it
//! [is released](barrier::Arrival::is_released), block on it, or drop it.
//!
//! ```
//! # use atomic_barrier::Barrier;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let barrier = Barrier::new(1);
//! # let mut own_work = 0;
//! let all_loaded = barrier.arrive();
//! own_work += 1;
//! let result = all_loaded.await;
//! assert_eq!(result.generation(), 0);
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | `barrier::arrive`, `wait(token)` | `Phaser.arrive`, `awaitAdvance` | | |
//!
//! ## Observe without taking part
//!
//! An observer awaits the end of any generation or phase, past, current or future, and is not counted.
//!
//! ```
//! # use atomic_barrier::Barrier;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let barrier = Barrier::new(2);
//! let progress = async { barrier.observe(0).await };
//! let workers = async { tokio::join!(barrier.wait(), barrier.wait()) };
//! tokio::join!(progress, workers);
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | | `Phaser.awaitAdvance(phase)` | | |
//!
//! ## Name the missing
//!
//! A phaser lists those that have not arrived, at any time and for any thread: its participants that have
//! [names](phaser::Participant::named). So do its `Debug` and, with the feature `tracing`, tokio-console.
//!
//! ```
//! # use atomic_barrier::Phaser;
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let phaser = Phaser::new();
//! let [mut reader, writer] = phaser.register_array()?;
//! let _writer = writer.named("writer");
//! reader.arrive()?;
//! assert_eq!(phaser.missing(), ["writer".into()]);
//! # Ok(())
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | | `Phaser.getUnarrivedParties` (how many) | `Barrier.ParticipantsRemaining` (how many) | `Barrier.n_waiting` (how many wait) |
//!
//! ## Threads
//!
//! ```
//! # use atomic_barrier::Barrier;
//! # use std::thread;
//! static READY: Barrier = Barrier::new(2);
//! let other = thread::spawn(|| READY.wait_blocking());
//! let mine = READY.wait_blocking();
//! assert!(mine.is_leader() != other.join().unwrap().is_leader());
//! ```
//!
//! [`wait_leader_blocking`](Barrier::wait_leader_blocking) is [`wait_leader`](Barrier::wait_leader) for a
//! thread. Both also exist with a timeout or a deadline, which withdraws, and a participant has
//! the same.
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | `Barrier::wait` | `barrier::arrive_and_wait` | `CyclicBarrier.await` | `Barrier.SignalAndWait` | `threading.Barrier.wait` |
//!
//! ## Across machines
//!
//! Tasks meet in their process first. The last of them acts for all, by whatever the processes share;
//! `docs/scaling-out.md` in the repository has etcd.
//!
//! ```
//! # use atomic_barrier::Barrier;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # let barrier = Barrier::new(1);
//! # let meet_other_processes = async || {};
//! if let Some(leader) = barrier.wait_leader().await {
//!     meet_other_processes().await;
//!     leader.release();
//! }
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | `MPI_Barrier` | `DistributedDoubleBarrier` of Curator | | `DoubleBarrier` of kazoo |
//!
//! ## Nobody goes on if one dies
//!
//! A phaser that is closed gives every wait of an incomplete phase an error, and this one closes when a participant is dropped
//! without [`leave`](phaser::Participant::leave): after a panic, an abort or an early return.
//!
//! ```
//! # use atomic_barrier::{Phaser, phaser::Exit};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let phaser = Phaser::builder().close_on(Exit::Drop).build();
//! let [mut mine, other] = phaser.register_array()?;
//! tokio::spawn(async move { drop(other) });
//! assert!(mine.wait().await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! | tokio | std | C++ | Java | .NET | Python |
//! |---|---|---|---|---|---|
//! | | | | broken `CyclicBarrier`, `Phaser.forceTermination` | | `Barrier.abort` |
//!
//! # Barrier or Phaser
//!
//! | | waits for | a task that ends without arriving | a wait that is dropped |
//! |---|---|---|---|
//! | [`Barrier`] | any `n` arrivals | is waited for | is withdrawn |
//! | [`Phaser`] | each registered participant | has left, and is not waited for | is withdrawn; a phase that was complete is not missed |
//!
//! A `Barrier` is what tokio's and the standard library's are: a number that is known beforehand, in a
//! `static` if need be. A `Phaser` knows its participants, so it is for tasks that come and go, or may fail.
//! It keeps a participant's waker from phase to phase, and is the faster of the two where the same tasks
//! meet many times.
//!
//! # Ways to wait for a barrier
//!
//! | | for | arrives | brings | when it is dropped |
//! |---|---|---|---|---|
//! | [`wait`](Barrier::wait) | a task | at the first poll | [`BarrierWaitResult`] | withdraws |
//! | [`wait_leader`](Barrier::wait_leader) | a task that, if it comes last, acts while the others stay blocked | at the first poll | a [`Leader`](barrier::Leader), or `None` | withdraws; the `Leader` releases |
//! | [`arrive`](Barrier::arrive) | a task that has work to do between arriving and waiting | in the call | [`BarrierWaitResult`] | stays counted |
//! | [`observe`](Barrier::observe) | a task that does not take part | never | | |
//! | [`wait_blocking`](Barrier::wait_blocking) | a thread | in the call | [`BarrierWaitResult`] | |
//! | [`wait_leader_blocking`](Barrier::wait_leader_blocking) | a thread that, if it comes last, acts while the others stay blocked | in the call | a [`Leader`](barrier::Leader), or `None` | the `Leader` releases |
//!
//! The first three are also there with `_owned`, for an `Arc<Barrier>` and a future that is `'static`; the
//! blocking ones with `_timeout` and `_deadline`, which withdraw when the time is up.
//!
//! # What happens on cancellation
//!
//! Whether a wait that is dropped was counted has one answer: if its generation was complete by then, it
//! was; otherwise it never came. So a timeout can be tried again for as long as it takes, and a party that
//! withdraws leaves nothing behind:
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
//! On two cores of an AMD EPYC (family 26, model 2), a generation of 2 to 4096 tasks takes tokio's barrier 3.0
//! times as long where all tasks share a thread, and 2.8 times on two workers (geometric means).
//! `docs/performance.md` in the repository has all figures, and the command for each on your machine.
//!
//! ![ns per task and generation by the number of parties][ratios]
//!
//! # Features
//!
//! - `std` (default): blocking waits; a panic in one waker is kept back until every other waiter is
//!   woken. Without it the crate is `no_std` and needs `alloc`; the others are woken all the same, but
//!   a second panic among them aborts.
//! - `portable-atomic`: 64-bit atomics for targets that have only narrower ones. They must have a
//!   compare-and-swap of a pointer, which `Arc` needs too.
//! - `tracing`: barriers and phasers, and their waits, show in tokio-console. A subscriber that panics
//!   changes nothing about them. Implies `std`.
//!
//! # More
//!
//! - [`docs::migrating`]: from tokio's barrier, or another, to this one.
//! - [`docs::design`]: how it works, with a picture of the word and of a slot's life.
//! - [`docs::tokio_console`]: how to see barriers and phasers, and their waits, in tokio-console.
//!
#![cfg_attr(doc, doc = include_str!("../docs/pictures.md"))]
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
mod lead;
pub mod phaser;
#[expect(
    unsafe_code,
    reason = "segments of elements that are shared while more are added"
)]
mod segments;
mod slab;
mod sync;
mod trace;
mod wake;

#[doc(inline)]
pub use barrier::{Barrier, BarrierWaitResult};
#[doc(inline)]
pub use phaser::Phaser;

/// Longer reading, for the rendered documentation and its tests alone.
#[cfg(all(feature = "std", any(doc, doctest)))]
pub mod docs {
    // No files stand beside a rendered page. Of two definitions of a picture the first counts.
    #[doc = include_str!("../docs/pictures.md")]
    #[doc = include_str!("../docs/design.md")]
    pub mod design {}

    #[doc = include_str!("../docs/migrating.md")]
    pub mod migrating {}

    #[doc = include_str!("../docs/tokio-console.md")]
    pub mod tokio_console {}
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
