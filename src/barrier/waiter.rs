//! The steps that a party takes, whatever kind of future or thread it is.

use core::{
    mem, ptr,
    task::{Poll, RawWakerVTable, Waker},
};

use super::{
    Barrier, BarrierWaitResult,
    state::{NextArrival, Snapshot},
};
use crate::{lead::Lead, slab::LAST_GENERATION, wake::CallOnDrop};

/// How far one party has come.
pub(super) struct Waiter {
    state: WaitState,
}

#[derive(Clone, Copy)]
enum WaitState {
    /// Not counted.
    New,
    /// Not counted: its waker is registered in `slot` until the generation `behind` is released.
    Queued {
        behind: u64,
        slot: u32,
        waker: Option<WakerId>,
    },
    /// Counted in `generation`, with no waker registered. `hint` is where to look for a slot.
    Counted { generation: u64, hint: u32 },
    /// Counted in `generation`, its waker registered in `slot` until that is released.
    Waiting {
        generation: u64,
        slot: u32,
        waker: Option<WakerId>,
    },
    /// Leads `generation`, but has not said so yet.
    Leading { generation: u64 },
    /// Was ready.
    Done,
}

/// What [`Waker::will_wake`] compares, of the waker in a slot. Unknown of one that the slot has cloned by
/// itself.
///
/// It means something for as long as that waker is there: afterwards another may have the same.
#[derive(Clone, Copy)]
struct WakerId {
    data: usize,
    vtable: &'static RawWakerVTable,
}

impl WakerId {
    fn of(waker: &Waker) -> Self {
        Self {
            data: waker.data().addr(),
            vtable: waker.vtable(),
        }
    }

    #[inline]
    fn is_of(self, waker: &Waker) -> bool {
        self.data == waker.data().addr() && ptr::eq(self.vtable, waker.vtable())
    }
}

impl Waiter {
    pub(super) const fn new() -> Self {
        Self {
            state: WaitState::New,
        }
    }

    /// An observer of `generation`: it waits like a party that has arrived there, but is not counted.
    pub(super) fn observing(generation: u64, hint: usize) -> Self {
        let generation = generation.min(LAST_GENERATION);
        let hint = hint as u32;
        Self {
            state: WaitState::Counted { generation, hint },
        }
    }

    /// Arrives without a waker, and releases the others if that completes the generation.
    ///
    /// Where it would have to queue, or to hold the release, the waiter stays new.
    pub(super) fn arrive(&mut self, barrier: &Barrier, lead: Lead) {
        let mut word = barrier.state.load();
        loop {
            let outcome = match barrier.state.next_arrival(word) {
                NextArrival::Waits { generation, before } => barrier.state.arrive(word).map(|()| {
                    let hint = before as u32;
                    self.state = WaitState::Counted { generation, hint };
                    barrier.report_arrival();
                }),
                NextArrival::Leads { .. } if matches!(lead, Lead::Hold) => return,
                NextArrival::Leads { generation } => barrier.state.complete(word).map(|()| {
                    self.state = WaitState::Leading { generation };
                    barrier.wake_all(generation);
                }),
                NextArrival::Queues { .. } => return,
            };
            match outcome {
                Ok(()) => return,
                Err(actual) => word = actual,
            }
        }
    }

    /// Arrives, if that has not been done, and leaves `waker` behind. Ready when this waiter leads
    /// its generation, or when that is released.
    ///
    /// A panic out of the code of a waker leaves the waiter counted if it was.
    #[inline]
    pub(super) fn poll(
        &mut self,
        barrier: &Barrier,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<BarrierWaitResult> {
        match self.state {
            WaitState::New => self.poll_new(barrier, waker, lead),
            WaitState::Queued {
                behind,
                slot,
                waker: registered,
            } => {
                if self.stays_registered(barrier, behind, slot, registered, waker) {
                    return Poll::Pending;
                }
                self.state = WaitState::New;
                self.poll_new(barrier, waker, lead)
            }
            WaitState::Counted { generation, hint } => {
                self.poll_counted(barrier, generation, hint, waker)
            }
            WaitState::Waiting {
                generation,
                slot,
                waker: registered,
            } => {
                if self.stays_registered(barrier, generation, slot, registered, waker) {
                    return Poll::Pending;
                }
                let ready = self.ready(generation, false);
                let draining = &barrier.state.draining;
                barrier.slab.help(generation, slot as usize, draining);
                ready
            }
            WaitState::Leading { generation } => self.ready(generation, true),
            WaitState::Done => panic!("a barrier's future was polled again after it was ready"),
        }
    }

    /// [`poll`](Self::poll) for a waiter that is not to be counted any longer if that panics.
    #[inline]
    pub(super) fn poll_or_withdraw(
        &mut self,
        barrier: &Barrier,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<BarrierWaitResult> {
        struct WithdrawOnUnwind<'a>(&'a mut Waiter, &'a Barrier);

        impl Drop for WithdrawOnUnwind<'_> {
            fn drop(&mut self) {
                self.0.withdraw(self.1);
            }
        }

        let unwinding = WithdrawOnUnwind(self, barrier);
        let poll = unwinding.0.poll(barrier, waker, lead);
        mem::forget(unwinding);
        poll
    }

    #[inline]
    fn poll_new(
        &mut self,
        barrier: &Barrier,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<BarrierWaitResult> {
        let mut word = barrier.state.load();
        loop {
            let outcome = match barrier.state.next_arrival(word) {
                NextArrival::Waits { generation, before } => {
                    self.wait(barrier, word, generation, before as usize, waker)
                }
                NextArrival::Leads { generation } => self.lead(barrier, word, generation, lead),
                NextArrival::Queues { behind } => self.queue(barrier, word, behind, waker),
            };
            match outcome {
                Ok(poll) => return poll,
                Err(actual) => word = actual,
            }
        }
    }

    /// Registers, then arrives: the party that completes the generation finds the waker.
    ///
    /// Fails with the current word if the next arrival no longer waits in `generation`.
    #[inline]
    fn wait(
        &mut self,
        barrier: &Barrier,
        mut word: Snapshot,
        generation: u64,
        hint: usize,
        waker: &Waker,
    ) -> Result<Poll<BarrierWaitResult>, Snapshot> {
        // Cloned before there is a slot: a panic costs none.
        let clone = waker.clone();
        let id = WakerId::of(&clone);
        // The hint is right unless others are about to arrive, or have left.
        let (index, access) = barrier.slab.claim(hint);
        let slot = access.register(generation, clone);
        while let Err(actual) = barrier.state.arrive(word) {
            word = actual;
            if !barrier.state.next_arrival(word).waits_in(generation) {
                drop(slot.deregister(generation));
                return Err(word);
            }
        }
        self.state = WaitState::Waiting {
            generation,
            slot: index as u32,
            waker: Some(id),
        };
        barrier.report_arrival();
        Ok(Poll::Pending)
    }

    /// Completes the generation. Out of line, to keep the path of all the others short.
    ///
    /// Fails with the current word if that is no longer `word`.
    #[inline(never)]
    fn lead(
        &mut self,
        barrier: &Barrier,
        word: Snapshot,
        generation: u64,
        lead: Lead,
    ) -> Result<Poll<BarrierWaitResult>, Snapshot> {
        match lead {
            Lead::Release => {
                barrier.state.complete(word)?;
                // Before the wakers run: a panic in one does not undo the generation.
                let ready = self.ready(generation, true);
                barrier.wake_all(generation);
                Ok(ready)
            }
            Lead::Hold => {
                barrier.state.hold(word)?;
                barrier.report_arrival();
                Ok(self.ready(generation, true))
            }
        }
    }

    /// Leaves `waker` for the release of the generation `behind`.
    ///
    /// Fails with the current word if that is no longer `word`.
    #[cold]
    fn queue(
        &mut self,
        barrier: &Barrier,
        word: Snapshot,
        behind: u64,
        waker: &Waker,
    ) -> Result<Poll<BarrierWaitResult>, Snapshot> {
        let (index, access) = barrier.slab.claim(barrier.parties());
        let slot = access.register_late(behind, waker);
        if let Err(actual) = barrier.state.publish(word) {
            drop(slot.deregister(behind));
            return Err(actual);
        }
        self.state = WaitState::Queued {
            behind,
            slot: index as u32,
            waker: None,
        };
        Ok(Poll::Pending)
    }

    #[cold]
    fn poll_counted(
        &mut self,
        barrier: &Barrier,
        generation: u64,
        hint: u32,
        waker: &Waker,
    ) -> Poll<BarrierWaitResult> {
        while !barrier.state.is_released(generation) {
            // Cloned before there is a slot, as in `wait`.
            let clone = waker.clone();
            let id = WakerId::of(&clone);
            let (index, access) = barrier.slab.claim(hint as usize);
            let slot = access.register(generation, clone);
            if barrier.state.publish_in(generation) {
                self.state = WaitState::Waiting {
                    generation,
                    slot: index as u32,
                    waker: Some(id),
                };
                return Poll::Pending;
            }
            drop(slot.deregister(generation));
        }
        self.ready(generation, false)
    }

    /// Makes sure that `waker` is registered in `slot`, where `registered` tells what this waiter registered
    /// last. Returns false if the release of `generation` has come.
    #[inline]
    fn stays_registered(
        &mut self,
        barrier: &Barrier,
        generation: u64,
        slot: u32,
        registered: Option<WakerId>,
        waker: &Waker,
    ) -> bool {
        if barrier.state.is_released(generation) {
            return false;
        }
        // The waker is still in the slot, or was woken so recently that this load has not seen the release.
        // A wake happens before the poll that it asks for, so that one will.
        registered.is_some_and(|id| id.is_of(waker))
            || self.reregister(barrier, generation, slot, waker)
    }

    /// Registers another waker. Returns false if the release of `generation` has come meanwhile.
    ///
    /// A panic out of the clone leaves the registration as it was, and a panic out of the drop of the
    /// replaced waker leaves the new one registered.
    #[inline(never)]
    fn reregister(&mut self, barrier: &Barrier, generation: u64, slot: u32, waker: &Waker) -> bool {
        let slot = barrier.slab.slot(slot as usize);
        let clone = waker.clone();
        let id = WakerId::of(&clone);
        let is_released = || barrier.state.is_released(generation);
        let Ok(replaced) = slot.reregister(generation, clone, is_released) else {
            return false;
        };
        if let WaitState::Waiting { waker, .. } | WaitState::Queued { waker, .. } = &mut self.state
        {
            *waker = Some(id);
        }
        drop(replaced);
        true
    }

    fn ready(&mut self, generation: u64, leader: bool) -> Poll<BarrierWaitResult> {
        self.state = WaitState::Done;
        Poll::Ready(BarrierWaitResult { generation, leader })
    }

    /// Withdraws, unless the generation is complete. Returns false in that case.
    #[inline]
    pub(super) fn withdraw(&mut self, barrier: &Barrier) -> bool {
        !matches!(self.state, WaitState::Done) && self.withdraw_before_ready(barrier)
    }

    #[cold]
    fn withdraw_before_ready(&mut self, barrier: &Barrier) -> bool {
        let state = self.state;
        let was_counted = match state {
            WaitState::Counted { generation, .. } | WaitState::Waiting { generation, .. } => {
                if !barrier.state.withdraw(generation) {
                    return false;
                }
                true
            }
            WaitState::New | WaitState::Queued { .. } => false,
            WaitState::Leading { .. } | WaitState::Done => return false,
        };
        let _report = CallOnDrop(|| {
            if was_counted {
                barrier.resource.arrivals_changed(|| barrier.numbers());
            }
        });
        // Before foreign code runs: a panic does not make it withdraw once more.
        self.state = WaitState::New;
        state.deregister(barrier);
        true
    }

    /// The generation that it waits for or leads, before it was ready.
    pub(super) fn generation(&self) -> Option<u64> {
        match self.state {
            WaitState::Counted { generation, .. }
            | WaitState::Waiting { generation, .. }
            | WaitState::Leading { generation } => Some(generation),
            WaitState::New | WaitState::Queued { .. } | WaitState::Done => None,
        }
    }

    /// Whether the next poll is ready, for a waiter that does not hold the release.
    pub(super) fn is_released(&self, barrier: &Barrier) -> bool {
        match self.state {
            WaitState::New | WaitState::Queued { .. } => false,
            WaitState::Counted { generation, .. } | WaitState::Waiting { generation, .. } => {
                barrier.state.is_released(generation)
            }
            WaitState::Leading { .. } | WaitState::Done => true,
        }
    }

    /// Whether it has arrived and nothing but the release is missing.
    #[cfg(feature = "std")]
    pub(super) fn should_spin(&self, barrier: &Barrier) -> bool {
        matches!(self.state, WaitState::Counted { generation, .. } if !barrier.state.is_released(generation))
    }

    /// Deregisters the waker. The arrival stays.
    pub(super) fn deregister(&mut self, barrier: &Barrier) {
        match self.state {
            // The slot is the releaser's.
            WaitState::Waiting { generation, .. } if barrier.state.is_released(generation) => {}
            state => state.deregister(barrier),
        }
    }
}

impl WaitState {
    fn deregister(self, barrier: &Barrier) {
        if let WaitState::Waiting {
            generation, slot, ..
        }
        | WaitState::Queued {
            behind: generation,
            slot,
            ..
        } = self
        {
            drop(barrier.slab.slot(slot as usize).deregister(generation));
        }
    }
}
