//! A barrier for a fixed number of parties, its futures, and what they bring.

mod arrival;
#[cfg(feature = "std")]
mod blocking;
mod leader;
mod observation;
mod party;
mod release;
mod state;
mod wait;
mod waiter;

use alloc::{sync::Arc, vec::Vec};
use core::{
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
};

#[cfg(feature = "std")]
use {self::party::Withdrawing, core::time::Duration, std::time::Instant};

#[cfg(feature = "std")]
pub use self::blocking::WaitTimeoutError;
pub use self::{
    arrival::{Arrival, OwnedArrival},
    leader::{Leader, OwnedLeader, OwnedWaitLeader, WaitLeader},
    observation::Observation,
    wait::{OwnedWait, Wait},
};
use self::{party::Party, state::State};
use crate::{
    lead::Lead,
    slab::Slab,
    sync::const_fn,
    trace::{Kind, Numbers, Resource, op_arrived},
    wake::CallOnDrop,
};

/// A barrier for `n` tasks, usable over and over again.
///
/// Each task calls [`wait`](Self::wait). The last of `n` to arrive completes the *generation* and
/// is its leader; the others are released, and the barrier is ready for the next generation at
/// once. More than `n` tasks may share a barrier: any `n` arrivals make a generation.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use atomic_barrier::Barrier;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Arc::new(Barrier::new(10));
/// let tasks = (0..10).map(|_| {
///     let barrier = barrier.clone();
///     tokio::spawn(async move {
///         // Every task gets here ...
///         let result = barrier.wait().await;
///         // ... before any task gets here.
///         result.is_leader()
///     })
/// });
/// let mut leaders = 0;
/// for task in tasks.collect::<Vec<_>>() {
///     leaders += usize::from(task.await.unwrap());
/// }
/// assert_eq!(leaders, 1);
/// # }
/// ```
///
/// In a `static`, since [`new`](Self::new) is `const`:
///
/// ```
/// static READY: atomic_barrier::Barrier = atomic_barrier::Barrier::new(8);
/// assert_eq!(READY.parties(), 8);
/// ```
///
/// # Memory ordering
///
/// All that a task did before it arrived *happens before* all that any task of the same generation
/// does once its wait is ready, and before all that a caller does that has seen the end of the
/// generation through [`generation`](Self::generation). A wait that was withdrawn orders nothing.
#[repr(C)]
pub struct Barrier {
    /// Read by all and written seldom; what comes first, most often.
    slab: Slab,
    /// Written often. A cache line away from the first segments' pointers and from what follows, without
    /// an alignment, which would make allocation slower.
    state: State,
    _apart: [u64; 8],
    resource: Resource,
}

// The slab's cells hold wakers, which need not be unwind safe. No panic leaves a barrier in a
// state that it can be seen in otherwise: invariant 6 of the slab.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

impl Barrier {
    const_fn! {
        /// Creates a barrier for `n` parties. It allocates nothing: the first waiter does.
        ///
        /// 0 acts as 1, as in the standard library and in tokio: every wait is ready at once. Any
        /// number up to `usize::MAX` is accepted, even where so many can never come together.
        ///
        /// # Examples
        ///
        /// ```
        /// use atomic_barrier::Barrier;
        ///
        /// assert_eq!(Barrier::new(3).parties(), 3);
        /// assert_eq!(Barrier::new(0).parties(), 1);
        /// ```
        #[must_use]
        #[cfg_attr(feature = "tracing", track_caller)]
        pub const fn new(n: usize) -> Barrier {
            Barrier {
                slab: Slab::new(),
                state: State::new(n),
                _apart: [0; 8],
                resource: Resource::new(Kind::Barrier),
            }
        }
    }

    /// Waits until `n` parties have arrived, of which this wait is one.
    ///
    /// Nothing happens before the future is first polled: that is when it arrives. The last
    /// arrival of a generation is ready at once, with a result that says
    /// [`is_leader`](BarrierWaitResult::is_leader); the others are woken and get one that does not.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// let (a, b) = tokio::join!(barrier.wait(), barrier.wait());
    /// assert!(!a.is_leader() && b.is_leader());
    /// assert_eq!((a.generation(), b.generation()), (0, 0));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. A [`Wait`] that is dropped before its generation is complete
    /// withdraws its arrival: the barrier is as if it had never come, and the generation still
    /// needs `n` arrivals. A `Wait` that is dropped after its generation was completed, polled
    /// since or not, changes nothing: it did count. There is no third case, and the other parties
    /// cannot tell a wait that was withdrawn from one that never was.
    ///
    /// So a loop that arrives anew after each timeout is counted once at most:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::timeout;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// # let barrier = std::sync::Arc::new(atomic_barrier::Barrier::new(2));
    /// # let other = tokio::spawn({ let barrier = barrier.clone(); async move {
    /// #     tokio::time::sleep(Duration::from_secs(1)).await;
    /// #     barrier.wait().await;
    /// # }});
    /// let met = barrier.generation();
    /// while timeout(Duration::from_millis(300), barrier.wait()).await.is_err() {
    ///     // The others may have come in the very moment: then this wait did count.
    ///     if barrier.generation() > met {
    ///         break;
    ///     }
    /// }
    /// # other.await.unwrap();
    /// # assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    /// # }
    /// ```
    ///
    /// A `Wait` that is dropped while a [`Leader`] holds the release of its generation counts too. Its waker
    /// is kept until the release.
    ///
    /// A future that is leaked with [`mem::forget`](core::mem::forget) cannot withdraw:
    /// it stays counted until its generation completes, and costs nothing from then on.
    ///
    /// # Panics
    ///
    /// Polling the future again after it was ready panics. A panic out of `Waker::clone` leaves
    /// through the poll that cloned, and withdraws the arrival as dropping the future would: the next
    /// poll arrives anew, unless the generation is complete. A panic out of `Waker::wake` leaves
    /// through the poll that called it, the leader's or that of a waiter that helps it, once that has
    /// nobody left to wake.
    pub fn wait(&self) -> Wait<'_> {
        Wait(Party::new(self))
    }

    /// Waits like [`wait`](Self::wait), with a future that owns its barrier and is `'static`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use atomic_barrier::Barrier;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = Arc::new(Barrier::new(2));
    /// let other = tokio::spawn(barrier.clone().wait_owned());
    /// let mine = barrier.wait().await;
    /// assert!(mine.is_leader() != other.await.unwrap().is_leader());
    /// # }
    /// ```
    ///
    /// # Cancel safety and panics
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_owned(self: Arc<Self>) -> OwnedWait {
        OwnedWait(Party::new(self))
    }

    /// Waits until `n` parties have arrived, and makes the last of them a [`Leader`] while all the
    /// others stay blocked.
    ///
    /// The last arrival is ready at once with `Some(Leader)`. The others get `None` when that
    /// `Leader` is [released](Leader::release) or dropped. This is one wait where `wait`, the leader
    /// acts, `wait` again would be two. It mixes with every other way to wait: the last to arrive, by
    /// whatever way, decides whether the release is held.
    ///
    /// While the release is held the generation is complete: nobody withdraws from it. It is not
    /// counted by [`generation`](Self::generation) yet, and [`arrived`](Self::arrived) is `n`.
    /// Parties that come meanwhile arrive in the next generation, which cannot complete before the
    /// release: so there is never more than one `Leader` of a barrier. The party that would complete it
    /// *queues*: it is counted after the release, and stays queued until then even if an earlier one
    /// withdraws.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(3);
    /// let config = AtomicU32::new(1);
    /// let task = async || {
    ///     if let Some(leader) = barrier.wait_leader().await {
    ///         // All three are here and only this one runs, over awaits as well.
    ///         tokio::task::yield_now().await;
    ///         config.store(2, Relaxed);
    ///         leader.release();
    ///     }
    ///     config.load(Relaxed)
    /// };
    /// assert_eq!(tokio::join!(task(), task(), task()), (2, 2, 2));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe as [`wait`](Self::wait) is. Note that a wait which is dropped while
    /// the release is held counts, and leaves its task free to go on while the leader is at work. A task
    /// that withdraws at a deadline and must not do that waits until [`generation`](Self::generation)
    /// has grown, or uses no deadline once all have come ([`arrived`](Self::arrived) is `n`).
    ///
    /// A leader whose task is cancelled or panics drops its `Leader`, which releases the others. A `Leader`
    /// that is leaked with [`mem::forget`](core::mem::forget) keeps them for ever.
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait), except that a panic out of a `Waker::wake` leaves through the
    /// release.
    ///
    /// # Memory ordering
    ///
    /// What the leader does before the release *happens before* all that the others do once their
    /// wait is ready.
    pub fn wait_leader(&self) -> WaitLeader<'_> {
        WaitLeader(Party::new(self))
    }

    /// Waits like [`wait_leader`](Self::wait_leader), with a future and a leader that own their barrier
    /// and are `'static`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use atomic_barrier::Barrier;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = Arc::new(Barrier::new(2));
    /// let other = tokio::spawn(barrier.clone().wait_owned());
    /// # tokio::task::yield_now().await;
    /// if let Some(leader) = barrier.wait_leader_owned().await {
    ///     // The section goes on in a task of its own, and ends with it.
    ///     tokio::spawn(async move {
    ///         println!("both are here");
    ///         leader.release();
    ///     });
    /// }
    /// # assert!(!other.await.unwrap().is_leader());
    /// # }
    /// ```
    ///
    /// # Cancel safety, panics and memory ordering
    ///
    /// As for [`wait_leader`](Self::wait_leader).
    pub fn wait_leader_owned(self: Arc<Self>) -> OwnedWaitLeader {
        OwnedWaitLeader(Party::new(self))
    }

    /// Arrives now and for good; the future that is returned can be awaited now, later or never.
    ///
    /// It serves work that can overlap the wait: arrive, do what the other parties need not wait
    /// for, then await. The last arrival of a generation releases the others within this call, and
    /// its [`Arrival`] is ready at once.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let barrier = atomic_barrier::Barrier::new(2);
    /// # let other = barrier.arrive();
    /// // The others may go on as far as this task is concerned ...
    /// let arrival = barrier.arrive();
    /// // ... which has work of its own before it needs to know that they all are there.
    /// let summary = (1..=10).sum::<u32>();
    /// let result = arrival.await;
    /// # assert!(result.is_leader());
    /// # assert_eq!(summary, 55);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the `Arrival` does not withdraw. Use [`wait`](Self::wait) for that.
    ///
    /// While a [`Leader`] holds the release, the arrival counts in the next generation, with one
    /// exception: the last arrival of the next generation would complete it, which cannot be
    /// before the release. It takes `2n` arrivals, the leader's included, to bring this about. Such an
    /// `Arrival` is counted by a later poll, after the release, and dropped before that it is lost.
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait), except that a panicking `Waker::clone` leaves the arrival
    /// counted. A panic out of the `Waker::wake` of one of the others may leave through this call.
    pub fn arrive(&self) -> Arrival<'_> {
        let mut party = Party::new(self);
        party.arrive("Barrier::arrive", Lead::Release);
        Arrival(party)
    }

    /// Arrives like [`arrive`](Self::arrive), with a future that owns its barrier and is `'static`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use atomic_barrier::Barrier;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = Arc::new(Barrier::new(2));
    /// let arrival = barrier.clone().arrive_owned();
    /// let report = tokio::spawn(async move {
    ///     println!("generation {} is over", arrival.await.generation());
    /// });
    /// assert!(barrier.wait().await.is_leader());
    /// # report.await.unwrap();
    /// # }
    /// ```
    ///
    /// # Cancel safety and panics
    ///
    /// As for [`arrive`](Self::arrive).
    pub fn arrive_owned(self: Arc<Self>) -> OwnedArrival {
        let mut party = Party::new(self);
        party.arrive("Barrier::arrive_owned", Lead::Release);
        OwnedArrival(party)
    }

    /// Blocks this thread until `n` parties have arrived, of which it is one.
    ///
    /// Threads and tasks meet in the same generation. The thread spins for a short time, and then sleeps.
    /// Not for use inside a task: it blocks the thread that others may need in order to arrive.
    ///
    /// It sleeps by [`std::thread::park`], and so may use up a token that an `unpark` has left. Where that
    /// parks on a mutex (on some Unixes, none of them Linux, Android, a BSD or Apple's), a thread that is
    /// preempted on its way to sleep delays the leader that wakes it. Elsewhere nothing does.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    /// use atomic_barrier::Barrier;
    ///
    /// let barrier = Barrier::new(2);
    /// thread::scope(|scope| {
    ///     let other = scope.spawn(|| barrier.wait_blocking());
    ///     let mine = barrier.wait_blocking();
    ///     assert!(mine.is_leader() != other.join().unwrap().is_leader());
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of a `Waker::wake` leaves through the call that made it, the leader's or that of a
    /// waiter that helps it, once that has nobody left to wake.
    #[cfg(feature = "std")]
    pub fn wait_blocking(&self) -> BarrierWaitResult {
        self.block_until(None).expect("no deadline to miss")
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), for at most `timeout`.
    ///
    /// A `timeout` too long for the clock to add to the current time never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use atomic_barrier::Barrier;
    ///
    /// let barrier = Barrier::new(2);
    /// let result = barrier.wait_blocking_timeout(Duration::from_millis(1));
    /// assert!(result.is_err());
    /// assert_eq!(barrier.arrived(), 0);
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError`] if the generation was not complete in time. The arrival is then
    /// withdrawn, as that of a dropped [`Wait`] is. If the generation is complete but its
    /// [`Leader`] still holds the release, nothing can be withdrawn, and the call
    /// goes on until the release, however late.
    ///
    /// # Panics
    ///
    /// As for [`wait_blocking`](Self::wait_blocking).
    #[cfg(feature = "std")]
    pub fn wait_blocking_timeout(
        &self,
        timeout: Duration,
    ) -> Result<BarrierWaitResult, WaitTimeoutError> {
        self.block_until(Instant::now().checked_add(timeout))
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), until `deadline` at the latest.
    ///
    /// A deadline serves where one limit spans several attempts, or several barriers.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> Result<(), atomic_barrier::barrier::WaitTimeoutError> {
    /// # let (loaded, connected) = (atomic_barrier::Barrier::new(1), atomic_barrier::Barrier::new(1));
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// loaded.wait_blocking_deadline(deadline)?;
    /// connected.wait_blocking_deadline(deadline)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait_blocking_timeout`](Self::wait_blocking_timeout).
    #[cfg(feature = "std")]
    pub fn wait_blocking_deadline(
        &self,
        deadline: Instant,
    ) -> Result<BarrierWaitResult, WaitTimeoutError> {
        self.block_until(Some(deadline))
    }

    #[cfg(feature = "std")]
    fn block_until(
        &self,
        deadline: Option<Instant>,
    ) -> Result<BarrierWaitResult, WaitTimeoutError> {
        const SOURCE: &str = "Barrier::wait_blocking";
        let mut party = Withdrawing::new(self);
        party.arrive(SOURCE, Lead::Release);
        party.block_until(deadline, |party, waker| party.poll_wait(SOURCE, waker))
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), and makes the last to arrive a
    /// [`Leader`] while all the others stay blocked.
    ///
    /// It is [`wait_leader`](Self::wait_leader) for a thread: threads and tasks meet in the same
    /// generation, and the last of them leads.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::Mutex, thread};
    ///
    /// let barrier = atomic_barrier::Barrier::new(4);
    /// let cells = Mutex::new(vec![1, 2, 3, 4]);
    /// thread::scope(|scope| {
    ///     for i in 0..4 {
    ///         let (barrier, cells) = (&barrier, &cells);
    ///         scope.spawn(move || {
    ///             cells.lock().unwrap()[i] *= 10;
    ///             if let Some(leader) = barrier.wait_leader_blocking() {
    ///                 // All four have done their part and only this thread runs.
    ///                 cells.lock().unwrap().reverse();
    ///                 leader.release();
    ///             }
    ///             assert_eq!(*cells.lock().unwrap(), [40, 30, 20, 10]);
    ///         });
    ///     }
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of a `Waker::wake` leaves through the release.
    ///
    /// # Memory ordering
    ///
    /// As for [`wait_leader`](Self::wait_leader).
    #[cfg(feature = "std")]
    pub fn wait_leader_blocking(&self) -> Option<Leader<'_>> {
        self.block_leader_until(None).expect("no deadline to miss")
    }

    /// Blocks this thread like [`wait_leader_blocking`](Self::wait_leader_blocking), for at most
    /// `timeout`.
    ///
    /// A `timeout` too long for the clock to add to the current time never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// match barrier.wait_leader_blocking_timeout(Duration::from_millis(1)) {
    ///     Ok(Some(leader)) => leader.release(),
    ///     Ok(None) => {}
    ///     Err(error) => println!("{error}"),
    /// }
    /// assert_eq!(barrier.arrived(), 0);
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError`] as for [`wait_blocking_timeout`](Self::wait_blocking_timeout): the call
    /// does not return while the leader is at work.
    ///
    /// # Panics
    ///
    /// As for [`wait_leader_blocking`](Self::wait_leader_blocking).
    #[cfg(feature = "std")]
    pub fn wait_leader_blocking_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<Leader<'_>>, WaitTimeoutError> {
        self.block_leader_until(Instant::now().checked_add(timeout))
    }

    /// Blocks this thread like [`wait_leader_blocking`](Self::wait_leader_blocking), until `deadline`
    /// at the latest.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> Result<(), atomic_barrier::barrier::WaitTimeoutError> {
    /// let barrier = atomic_barrier::Barrier::new(1);
    /// let deadline = Instant::now() + Duration::from_secs(5);
    /// let leader = barrier.wait_leader_blocking_deadline(deadline)?;
    /// assert!(leader.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait_leader_blocking_timeout`](Self::wait_leader_blocking_timeout).
    #[cfg(feature = "std")]
    pub fn wait_leader_blocking_deadline(
        &self,
        deadline: Instant,
    ) -> Result<Option<Leader<'_>>, WaitTimeoutError> {
        self.block_leader_until(Some(deadline))
    }

    #[cfg(feature = "std")]
    fn block_leader_until(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Option<Leader<'_>>, WaitTimeoutError> {
        const SOURCE: &str = "Barrier::wait_leader_blocking";
        let mut party = Withdrawing::new(self);
        party.arrive(SOURCE, Lead::Hold);
        let leader = party.block_until(deadline, |party, waker| party.poll_leader(SOURCE, waker));
        Ok(leader?.map(Leader))
    }

    /// Awaits the end of `generation` without being one of its parties.
    ///
    /// It is ready at once if that generation is over, and may be one that has not begun. Any number of
    /// observers may await the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// let worker = async || {
    ///     barrier.wait().await;
    ///     barrier.wait().await;
    /// };
    /// let report = async || {
    ///     barrier.observe(0).await;
    ///     // Both workers have finished their first part.
    ///     assert!(barrier.generation() >= 1);
    ///     barrier.observe(1).await;
    /// };
    /// tokio::join!(report(), worker(), worker());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: polled, dropped or leaked, an [`Observation`] changes nothing for
    /// the parties.
    ///
    /// # Panics
    ///
    /// Polling the future again after it was ready panics. A panic out of `Waker::clone` leaves through
    /// the poll that cloned; the next registers anew. An observer that is polled during the wakes of its
    /// generation may help with them, and a panic out of `Waker::wake` then leaves through that poll.
    ///
    /// # Memory ordering
    ///
    /// All that the parties of the generation did before they arrived *happens before* all that the
    /// observer does once this is ready.
    pub fn observe(&self, generation: u64) -> Observation<'_> {
        Observation(Party::observing(self, generation))
    }

    /// The number of parties that make a generation: what [`new`](Self::new) was given, at least 1.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = atomic_barrier::Barrier::new(3);
    /// assert_eq!(barrier.parties(), 3);
    /// ```
    pub fn parties(&self) -> usize {
        self.state.parties()
    }

    /// How many parties have arrived in the current generation: 0 to [`parties`](Self::parties) less
    /// 1, or all of them while a [`Leader`] holds the release.
    ///
    /// The number may be old by the time it is looked at, and it orders nothing: it is for
    /// displays, and for tests in which no other party moves.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = atomic_barrier::Barrier::new(3);
    /// let _first = barrier.arrive();
    /// assert_eq!(barrier.arrived(), 1);
    /// ```
    pub fn arrived(&self) -> usize {
        self.state.arrived_of(self.state.load()) as usize
    }

    /// The number, from 0, of the current generation: how many are over.
    ///
    /// While a [`Leader`] holds the release of a generation, that one is not over.
    ///
    /// It never falls. A caller that reads `g + 1` or more sees all that the parties of generation
    /// `g` did before they arrived.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// let _first = barrier.arrive();
    /// assert_eq!(barrier.generation(), 0);
    /// let _last = barrier.arrive();
    /// assert_eq!(barrier.generation(), 1);
    /// ```
    pub fn generation(&self) -> u64 {
        self.state.generation()
    }

    /// Wakes all that wait for the release of `generation`, which this thread has made, and reports it.
    fn wake_all(&self, generation: u64) {
        let _report = CallOnDrop(|| self.resource.released(|| self.numbers()));
        self.slab.wake_all(generation, &self.state.draining);
    }

    /// Reports an arrival, from within the step that made it.
    #[inline]
    fn report_arrival(&self) {
        self.resource.arrivals_changed(|| self.numbers());
        op_arrived();
    }

    fn numbers(&self) -> Numbers {
        let word = self.state.load();
        Numbers {
            parties: self.state.parties() as u64,
            arrived: self.state.arrived_of(word),
            number: self.state.generation_of(word),
            is_closed: false,
            missing: Vec::new(),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.numbers();
        f.debug_struct("Barrier")
            .field("parties", &numbers.parties)
            .field("arrived", &numbers.arrived)
            .field("generation", &numbers.number)
            .finish_non_exhaustive()
    }
}

/// What a wait brought: which generation, and whether it was the leader's.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = atomic_barrier::Barrier::new(1);
/// for generation in 0..3 {
///     let result = barrier.wait().await;
///     assert!(result.is_leader());
///     assert_eq!(result.generation(), generation);
/// }
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult {
    generation: u64,
    leader: bool,
}

impl fmt::Debug for BarrierWaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierWaitResult")
            .field("generation", &self.generation)
            .field("is_leader", &self.leader)
            .finish_non_exhaustive()
    }
}

impl BarrierWaitResult {
    /// Whether this wait was the last to arrive. One in each generation is.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # let barrier = atomic_barrier::Barrier::new(1);
    /// if barrier.wait().await.is_leader() {
    ///     println!("everyone is here");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader
    }

    /// The number, from 0, of the generation in which this wait counted.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(1);
    /// assert_eq!(barrier.wait().await.generation(), 0);
    /// assert_eq!(barrier.wait().await.generation(), 1);
    /// # }
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
