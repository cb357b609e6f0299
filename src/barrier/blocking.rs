//! Threads that meet at the barrier, among themselves and with tasks.

use alloc::{sync::Arc, task::Wake};
use core::{
    cell::Cell,
    error::Error,
    fmt,
    task::{Poll, Waker},
    time::Duration,
};
use std::time::Instant;

use super::{
    Barrier, BarrierWaitResult,
    waiter::{Lead, Waiter},
};
use crate::{
    sync::{Backoff, Parker, Unparker, thread_local},
    trace::AsyncOp,
};

impl Barrier {
    /// Blocks this thread until `n` parties have arrived, of which it is one.
    ///
    /// Threads and tasks meet in the same generation. The thread spins for a few microseconds, in
    /// which most rendezvous of threads that run end, and then sleeps. Not for use inside a task:
    /// it blocks the thread that others may need in order to arrive.
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
    pub fn wait_blocking(&self) -> BarrierWaitResult {
        self.block(None).expect("no deadline to miss")
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), for at most `timeout`.
    ///
    /// A `timeout` too long for the clock to add to the present time never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use atomic_barrier::{Barrier, WaitTimeoutError};
    ///
    /// let barrier = Barrier::new(2);
    /// let result = barrier.wait_blocking_timeout(Duration::from_millis(1));
    /// assert_eq!(result, Err(WaitTimeoutError));
    /// assert_eq!(barrier.arrived(), 0);
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitTimeoutError`] if the generation was not complete in time. The arrival is then taken
    /// back, as that of a dropped [`Wait`](crate::Wait) is. If the generation is complete but its
    /// [`Leader`](crate::Leader) still holds the release, nothing can be taken back, and the call
    /// goes on until the release, however late.
    ///
    /// # Panics
    ///
    /// As for [`wait_blocking`](Self::wait_blocking).
    pub fn wait_blocking_timeout(
        &self,
        timeout: Duration,
    ) -> Result<BarrierWaitResult, WaitTimeoutError> {
        self.block(Instant::now().checked_add(timeout))
    }

    fn block(&self, mut deadline: Option<Instant>) -> Result<BarrierWaitResult, WaitTimeoutError> {
        const SOURCE: &str = "Barrier::wait_blocking";
        let mut waiter = Waiter::new();
        let mut op = AsyncOp::new();
        self.step(&mut op, SOURCE, || waiter.arrive(self));

        let backoff = Backoff::new();
        while waiter.is_held_up(self) && !backoff.is_completed() {
            backoff.snooze();
        }

        let bed = Bed::take();
        let result = loop {
            let poll = self.poll(&mut op, SOURCE, || {
                waiter.poll(self, &bed.waker, Lead::Release)
            });
            if let Poll::Ready(result) = poll {
                break Ok(result);
            }
            match deadline {
                None => bed.parker.park(),
                Some(at) if Instant::now() < at => {
                    bed.parker.park_deadline(at);
                }
                Some(_) if waiter.withdraw(self) => break Err(WaitTimeoutError),
                Some(_) => deadline = None,
            }
        };
        bed.put_back();
        result
    }
}

/// The generation was not complete in time; from [`Barrier::wait_blocking_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutError;

impl fmt::Display for WaitTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out waiting for the other parties of a barrier")
    }
}

impl Error for WaitTimeoutError {}

/// What a thread sleeps in, and what wakes it. One a thread, made when first needed.
struct Bed {
    parker: Parker,
    waker: Waker,
}

thread_local! {
    static MADE: Cell<Option<Bed>> = Cell::default();
}

impl Bed {
    /// This thread's, or another if that is in use (a waker may block in its `wake`).
    fn take() -> Self {
        let made = MADE.try_with(Cell::take).ok().flatten();
        made.unwrap_or_else(|| {
            let parker = Parker::new();
            let waker = Waker::from(Arc::new(Unpark(parker.unparker().clone())));
            Self { parker, waker }
        })
    }

    fn put_back(self) {
        // A thread that is about to end has no use for it.
        let _ = MADE.try_with(|made| made.set(Some(self)));
    }
}

struct Unpark(Unparker);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
