//! Threads that meet at the barrier, among themselves and with tasks.

use core::{
    task::{Poll, Waker},
    time::Duration,
};
use std::time::Instant;

use super::{
    Barrier, BarrierWaitResult,
    waiter::{Lead, Waiter},
};
use crate::{
    blocking::{Block, WaitTimeoutError, block},
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

    fn block(&self, deadline: Option<Instant>) -> Result<BarrierWaitResult, WaitTimeoutError> {
        let mut waiter = Waiter::new();
        let mut op = AsyncOp::new();
        self.step(&mut op, SOURCE, || waiter.arrive(self));
        let wait = BlockingWait {
            barrier: self,
            waiter,
            op,
        };
        block(wait, deadline)
    }
}

/// The name of all blocking waits.
const SOURCE: &str = "Barrier::wait_blocking";

struct BlockingWait<'a> {
    barrier: &'a Barrier,
    waiter: Waiter,
    op: AsyncOp,
}

impl Block for BlockingWait<'_> {
    type Output = BarrierWaitResult;

    fn is_held_up(&self) -> bool {
        self.waiter.is_held_up(self.barrier)
    }

    fn poll(&mut self, waker: &Waker) -> Poll<BarrierWaitResult> {
        self.barrier.poll(&mut self.op, SOURCE, || {
            self.waiter.poll(self.barrier, waker, Lead::Release)
        })
    }

    fn give_up(&mut self) -> bool {
        self.waiter.withdraw(self.barrier)
    }
}
