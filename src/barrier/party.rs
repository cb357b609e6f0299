//! [`Party`]: what every future and every blocking call is made of.

use core::{
    fmt,
    ops::Deref,
    task::{Poll, Waker},
};

use super::{Barrier, BarrierWaitResult, release::HeldRelease, waiter::Waiter};
use crate::{lead::Lead, trace::AsyncOp};

/// A party of the barrier that `B` points to, or an observer of it.
///
/// `WITHDRAWS` says what becomes of its arrival when it is dropped, or when a waker's code panics in
/// a poll: it is withdrawn if its generation is not complete, or it stays counted.
pub(super) struct Party<B: Deref<Target = Barrier>, const WITHDRAWS: bool> {
    barrier: B,
    waiter: Waiter,
    op: AsyncOp,
}

/// A party that withdraws when it is dropped.
pub(super) type Withdrawing<B> = Party<B, true>;

/// A party that stays counted when it is dropped.
pub(super) type Counted<B> = Party<B, false>;

impl<'a> Counted<&'a Barrier> {
    /// An observer of `generation`.
    pub(super) fn observing(barrier: &'a Barrier, generation: u64) -> Self {
        Self {
            barrier,
            // No party looks there first.
            waiter: Waiter::observing(generation, barrier.parties()),
            op: AsyncOp::new(),
        }
    }
}

impl<B: Deref<Target = Barrier>, const WITHDRAWS: bool> Party<B, WITHDRAWS> {
    pub(super) fn new(barrier: B) -> Self {
        Self {
            barrier,
            waiter: Waiter::new(),
            op: AsyncOp::new(),
        }
    }

    /// Arrives without a waker, for the method `source`.
    ///
    /// Where it would have to queue, or to hold the release, that is left to its first poll.
    pub(super) fn arrive(&mut self, source: &'static str, lead: Lead) {
        let barrier = &*self.barrier;
        let step = self
            .op
            .step(source, &barrier.resource, || barrier.numbers());
        step.take(|| self.waiter.arrive(barrier, lead));
    }

    /// Polls it, for the method `source`. If it leads, its generation is released.
    #[inline]
    pub(super) fn poll_wait(
        &mut self,
        source: &'static str,
        waker: &Waker,
    ) -> Poll<BarrierWaitResult> {
        self.poll_as(source, waker, Lead::Release, |_, result| result)
    }

    /// Polls it, for the method `source`. If it leads, it holds the release.
    #[inline]
    pub(super) fn poll_leader(
        &mut self,
        source: &'static str,
        waker: &Waker,
    ) -> Poll<Option<HeldRelease<B>>>
    where
        B: Clone,
    {
        self.poll_as(source, waker, Lead::Hold, |barrier, result| {
            let hold = || HeldRelease::new(barrier.clone(), result.generation());
            result.is_leader().then(hold)
        })
    }

    #[inline]
    fn poll_as<T>(
        &mut self,
        source: &'static str,
        waker: &Waker,
        lead: Lead,
        ready: impl FnOnce(&B, BarrierWaitResult) -> T,
    ) -> Poll<T> {
        let barrier = &*self.barrier;
        let step = self
            .op
            .step(source, &barrier.resource, || barrier.numbers());
        step.poll(|| {
            let poll = if WITHDRAWS {
                self.waiter.poll_or_withdraw(barrier, waker, lead)
            } else {
                self.waiter.poll(barrier, waker, lead)
            };
            poll.map(|result| ready(&self.barrier, result))
        })
    }

    /// Withdraws, unless the generation is complete. Returns false in that case.
    #[cfg(feature = "std")]
    pub(super) fn withdraw(&mut self) -> bool {
        self.waiter.withdraw(&self.barrier)
    }

    /// Whether it has arrived and nothing but the release is missing.
    #[cfg(feature = "std")]
    pub(super) fn should_spin(&self) -> bool {
        self.waiter.should_spin(&self.barrier)
    }

    /// The generation that it waits for or leads, before it was ready.
    pub(super) fn generation(&self) -> Option<u64> {
        self.waiter.generation()
    }

    /// Whether the next poll is ready, for a party that does not hold the release.
    pub(super) fn is_released(&self) -> bool {
        self.waiter.is_released(&self.barrier)
    }

    /// Begins what [`fmt::Debug`] prints of a future: its name and its barrier.
    pub(super) fn debug<'a, 'b>(
        &self,
        name: &str,
        f: &'a mut fmt::Formatter<'b>,
    ) -> fmt::DebugStruct<'a, 'b> {
        let mut debug = f.debug_struct(name);
        debug.field("barrier", &*self.barrier);
        debug
    }
}

impl<B: Deref<Target = Barrier>, const WITHDRAWS: bool> Drop for Party<B, WITHDRAWS> {
    #[inline]
    fn drop(&mut self) {
        if WITHDRAWS {
            self.waiter.withdraw(&self.barrier);
        } else {
            self.waiter.deregister(&self.barrier);
        }
    }
}
