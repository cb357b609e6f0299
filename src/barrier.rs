//! [`Barrier`] and its futures: prose over the transitions of `state` and `slab`.

use core::{
    fmt,
    future::Future,
    mem,
    panic::{RefUnwindSafe, UnwindSafe},
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::{slab::Slab, state::State, sync::const_fn};

/// A meeting point for `n` tasks, usable over and over again.
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
/// does once its wait is ready, and before all that anyone does who has seen the end of the
/// generation through [`generation`](Self::generation). A wait that was taken back orders nothing.
pub struct Barrier {
    state: State,
    slab: Slab,
}

// The slab's cells hold wakers, which need not be unwind safe. No panic leaves a barrier in a
// state that it can be seen in otherwise: invariant 5 of the slab.
impl UnwindSafe for Barrier {}
impl RefUnwindSafe for Barrier {}

/// How an arrival came out.
enum Arrival {
    /// It completed the generation, whose waiters the caller must release.
    Last { generation: u64 },
    /// It is counted, and its waker is in the slot.
    Counted { generation: u64, slot: usize },
}

impl Barrier {
    const_fn! {
        /// Creates a barrier for `n` parties. No allocation: the first waiter makes that.
        ///
        /// 0 acts as 1, as in the standard library and in tokio: every wait is ready at once. Any
        /// number up to `usize::MAX` is accepted, also one that can never come together.
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
        pub const fn new(n: usize) -> Barrier {
            Barrier {
                state: State::new(n),
                slab: Slab::new(),
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
    /// takes its arrival back: the barrier is as if it had never come, and the generation still
    /// needs `n` arrivals. A `Wait` that is dropped after its generation was completed, polled
    /// since or not, changes nothing: it did count. There is no third case, and the other parties
    /// cannot tell a wait that was taken back from one that never was.
    ///
    /// So this loop arrives at most once at any time, and never stands for two parties:
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
    /// while timeout(Duration::from_millis(300), barrier.wait()).await.is_err() {
    ///     assert_eq!(barrier.arrived(), 0);
    /// }
    /// # other.await.unwrap();
    /// # }
    /// ```
    ///
    /// A future that is leaked with [`mem::forget`](core::mem::forget) cannot take anything back:
    /// it stays counted until its generation completes, and costs nothing from then on.
    ///
    /// # Panics
    ///
    /// Polling the future again after it was ready panics. A panic out of `Waker::clone` leaves
    /// through the poll that cloned, which then counts for nothing: the next poll arrives anew. A
    /// panic out of `Waker::wake` leaves through the leader's poll, after every waiter was woken.
    pub fn wait(&self) -> Wait<'_> {
        Wait {
            barrier: self,
            step: Step::New,
        }
    }

    /// The number of parties that make a generation: what [`new`](Self::new) was given, at least 1.
    pub fn parties(&self) -> usize {
        self.state.parties()
    }

    /// How many parties have arrived in the present generation: 0 to [`parties`](Self::parties)
    /// less 1.
    ///
    /// The number may be old by the time it is looked at, and it orders nothing: it is for
    /// displays and for tests that hold the other parties still.
    pub fn arrived(&self) -> usize {
        self.state.arrived_of(self.state.load()) as usize
    }

    /// The number of generations completed so far, from 0.
    ///
    /// It never falls. A caller that reads `g + 1` or more sees all that the parties of generation
    /// `g` did before they arrived.
    pub fn generation(&self) -> u64 {
        self.state.generation()
    }

    /// Completes the generation if one arrival is missing; otherwise leaves `waker` in a slot and
    /// arrives.
    fn arrive(&self, waker: &Waker) -> Arrival {
        let mut word = self.state.load();
        loop {
            let generation = self.state.generation_of(word);
            if self.state.lacks_one(word) {
                match self.state.complete(word) {
                    Ok(()) => return Arrival::Last { generation },
                    Err(present) => word = present,
                }
                continue;
            }

            // Register, then arrive: whoever completes the generation finds the waker. Where to
            // look for a slot is a guess that is right unless others are about to arrive too.
            let (index, slot) = self.slab.claim(self.state.arrived_of(word) as usize);
            slot.hold(generation, waker);
            loop {
                match self.state.arrive(word) {
                    Ok(()) => {
                        return Arrival::Counted {
                            generation,
                            slot: index,
                        };
                    }
                    Err(present) => word = present,
                }
                if self.state.generation_of(word) != generation || self.state.lacks_one(word) {
                    slot.vacate(generation);
                    break;
                }
            }
        }
    }

    /// Takes back an arrival in `generation`; returns false if the generation is complete, and
    /// then leaves the slot to its leader.
    fn withdraw(&self, generation: u64, slot: usize) -> bool {
        let withdrawn = self.state.withdraw(generation);
        if withdrawn {
            self.slab.slot(slot).vacate(generation);
        }
        withdrawn
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.state.load();
        f.debug_struct("Barrier")
            .field("parties", &self.parties())
            .field("arrived", &self.state.arrived_of(word))
            .field("generation", &self.state.generation_of(word))
            .finish()
    }
}

/// The future of [`Barrier::wait`]. Dropping it takes its arrival back, unless its generation is
/// complete.
#[must_use = "a wait arrives when it is first polled, and is taken back when it is dropped"]
pub struct Wait<'a> {
    barrier: &'a Barrier,
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Not counted: never polled, or not since a poll that panicked.
    New,
    /// Counted in `generation`, which may have been completed since.
    Arrived { generation: u64, slot: usize },
    /// Was ready.
    Done,
}

impl Wait<'_> {
    fn first_poll(&mut self, waker: &Waker) -> Poll<BarrierWaitResult> {
        match self.barrier.arrive(waker) {
            Arrival::Counted { generation, slot } => {
                self.step = Step::Arrived { generation, slot };
                Poll::Pending
            }
            Arrival::Last { generation } => {
                // Done before the wakers run: a panic in one does not undo the generation.
                self.step = Step::Done;
                self.barrier.slab.release(generation);
                Poll::Ready(BarrierWaitResult {
                    generation,
                    leader: true,
                })
            }
        }
    }

    fn later_poll(
        &mut self,
        generation: u64,
        slot: usize,
        waker: &Waker,
    ) -> Poll<BarrierWaitResult> {
        let barrier = self.barrier;
        if !barrier.state.is_completed(generation) {
            // The waker may be another than last time.
            let unwinding = WithdrawOnDrop(self);
            let held = barrier.slab.slot(slot).hold_again(generation, waker);
            mem::forget(unwinding);
            if held {
                return Poll::Pending;
            }
        }
        self.step = Step::Done;
        Poll::Ready(BarrierWaitResult {
            generation,
            leader: false,
        })
    }

    /// Takes the arrival back, if there is one and its generation is not complete.
    fn withdraw(&mut self) {
        if let Step::Arrived { generation, slot } = self.step {
            if self.barrier.withdraw(generation, slot) {
                self.step = Step::New;
            }
        }
    }
}

/// Armed while a later poll runs the wakers' code: should that panic, the slot's cell is lost, and
/// nobody could wake the waiter.
struct WithdrawOnDrop<'w, 'a>(&'w mut Wait<'a>);

impl Drop for WithdrawOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

impl Future for Wait<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        match self.step {
            Step::New => self.first_poll(cx.waker()),
            Step::Arrived { generation, slot } => self.later_poll(generation, slot, cx.waker()),
            Step::Done => panic!("a barrier's `Wait` was polled again after it was ready"),
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("barrier", self.barrier)
            .field("step", &self.step)
            .finish()
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    generation: u64,
    leader: bool,
}

impl BarrierWaitResult {
    /// Whether this wait was the last to arrive. One in each generation is.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader
    }

    /// The number, from 0, of the generation that this wait completed.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}
