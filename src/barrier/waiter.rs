//! The steps that a party takes, whatever kind of future or thread it is.

use core::{
    mem,
    task::{Poll, Waker},
};

use super::{Barrier, BarrierWaitResult, leader::HeldRelease};
use crate::state::{Next, Word};

/// How far one party has come.
#[derive(Debug)]
pub(super) struct Waiter {
    step: Step,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Not counted.
    New,
    /// Not counted: its waker waits for the release of the generation `behind`.
    Queued { behind: u64, slot: usize },
    /// Counted in `generation`, with no waker anywhere. `hint` is where to look for a slot.
    Counted { generation: u64, hint: usize },
    /// Counted in `generation`, its waker in a slot until that is released.
    Waiting { generation: u64, slot: usize },
    /// Leads `generation`, but has not said so yet.
    Leading { generation: u64 },
    /// Was ready.
    Done,
}

/// What a party that becomes the leader does with the release.
#[derive(Clone, Copy)]
pub(super) enum Lead {
    Release,
    Hold,
}

impl Waiter {
    pub(super) const fn new() -> Self {
        Self { step: Step::New }
    }

    /// Arrives without a waker, and releases the others if that completes the generation.
    ///
    /// Where it would have to queue, the waiter stays new.
    pub(super) fn arrive(&mut self, barrier: &Barrier) {
        let mut word = barrier.state.load();
        loop {
            let turned = match barrier.state.next(word) {
                Next::Waits { generation, before } => barrier.state.arrive(word).map(|()| {
                    let hint = before as usize;
                    self.step = Step::Counted { generation, hint };
                    barrier.resource.arrived(|| barrier.numbers());
                }),
                Next::Leads { generation } => barrier.state.complete(word).map(|()| {
                    self.step = Step::Leading { generation };
                    barrier.slab.release(generation);
                    barrier.resource.released(|| barrier.numbers());
                }),
                Next::Queues { .. } => return,
            };
            match turned {
                Ok(()) => return,
                Err(present) => word = present,
            }
        }
    }

    /// Arrives, if that has not been done, and leaves `waker` behind. Ready when this waiter leads
    /// its generation, or when that is released.
    ///
    /// A panic out of the waker's own code leaves the waiter counted if it was, but with no waker.
    #[inline]
    pub(super) fn poll(
        &mut self,
        barrier: &Barrier,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<BarrierWaitResult> {
        match self.step {
            Step::New => self.poll_new(barrier, waker, lead),
            Step::Queued { behind, slot } => self.poll_queued(barrier, behind, slot, waker, lead),
            Step::Counted { generation, hint } => {
                self.poll_counted(barrier, generation, hint, waker)
            }
            Step::Waiting { generation, slot } => {
                self.poll_waiting(barrier, generation, slot, waker)
            }
            Step::Leading { generation } => self.ready(generation, true),
            Step::Done => panic!("a barrier's future was polled again after it was ready"),
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
        struct Unwinding<'a>(&'a mut Waiter, &'a Barrier);

        impl Drop for Unwinding<'_> {
            fn drop(&mut self) {
                self.0.withdraw(self.1);
            }
        }

        let unwinding = Unwinding(self, barrier);
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
            let turned = match barrier.state.next(word) {
                Next::Waits { generation, before } => {
                    self.wait(barrier, word, generation, before as usize, waker)
                }
                Next::Leads { generation } => self.lead(barrier, word, generation, lead),
                Next::Queues { behind } => self.queue(barrier, word, behind, waker),
            };
            match turned {
                Ok(poll) => return poll,
                Err(present) => word = present,
            }
        }
    }

    /// Registers, then arrives: whoever completes the generation finds the waker.
    ///
    /// Fails with the present word if the next arrival no longer waits in `generation`.
    #[inline]
    fn wait(
        &mut self,
        barrier: &Barrier,
        mut word: Word,
        generation: u64,
        hint: usize,
        waker: &Waker,
    ) -> Result<Poll<BarrierWaitResult>, Word> {
        // The hint is right unless others are about to arrive, or have left.
        let (index, slot) = barrier.slab.claim(hint);
        slot.hold(generation, waker);
        while let Err(present) = barrier.state.arrive(word) {
            word = present;
            if !barrier.state.next(word).waits_in(generation) {
                slot.vacate(generation);
                return Err(word);
            }
        }
        self.step = Step::Waiting {
            generation,
            slot: index,
        };
        barrier.resource.arrived(|| barrier.numbers());
        Ok(Poll::Pending)
    }

    /// Completes the generation. Out of line, to keep the path of all the others short.
    ///
    /// Fails with the present word if that is no longer `word`.
    #[inline(never)]
    fn lead(
        &mut self,
        barrier: &Barrier,
        word: Word,
        generation: u64,
        lead: Lead,
    ) -> Result<Poll<BarrierWaitResult>, Word> {
        match lead {
            Lead::Release => barrier.state.complete(word)?,
            Lead::Hold => barrier.state.hold(word)?,
        }
        // Before the wakers run: a panic in one does not undo the generation.
        let ready = self.ready(generation, true);
        match lead {
            Lead::Release => {
                barrier.slab.release(generation);
                barrier.resource.released(|| barrier.numbers());
            }
            Lead::Hold => {
                // In case a subscriber panics.
                let release = HeldRelease::new(barrier, generation);
                barrier.resource.arrived(|| barrier.numbers());
                mem::forget(release);
            }
        }
        Ok(ready)
    }

    /// Leaves `waker` for the release of the generation `behind`.
    ///
    /// Fails with the present word if that is no longer `word`.
    #[cold]
    fn queue(
        &mut self,
        barrier: &Barrier,
        word: Word,
        behind: u64,
        waker: &Waker,
    ) -> Result<Poll<BarrierWaitResult>, Word> {
        let (index, slot) = barrier.slab.claim(barrier.parties());
        slot.hold(behind, waker);
        if let Err(present) = barrier.state.publish(word) {
            slot.vacate(behind);
            return Err(present);
        }
        self.step = Step::Queued {
            behind,
            slot: index,
        };
        Ok(Poll::Pending)
    }

    #[cold]
    fn poll_queued(
        &mut self,
        barrier: &Barrier,
        behind: u64,
        slot: usize,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<BarrierWaitResult> {
        // New, also in case the waker's code panics: the slot is lost then.
        self.step = Step::New;
        if !barrier.state.is_released(behind) && hold_again(barrier, behind, slot, waker) {
            self.step = Step::Queued { behind, slot };
            return Poll::Pending;
        }
        self.poll_new(barrier, waker, lead)
    }

    #[cold]
    fn poll_counted(
        &mut self,
        barrier: &Barrier,
        generation: u64,
        hint: usize,
        waker: &Waker,
    ) -> Poll<BarrierWaitResult> {
        while !barrier.state.is_released(generation) {
            let (index, slot) = barrier.slab.claim(hint);
            slot.hold(generation, waker);
            if barrier.state.publish_in(generation) {
                self.step = Step::Waiting {
                    generation,
                    slot: index,
                };
                return Poll::Pending;
            }
            slot.vacate(generation);
        }
        self.ready(generation, false)
    }

    #[inline]
    fn poll_waiting(
        &mut self,
        barrier: &Barrier,
        generation: u64,
        slot: usize,
        waker: &Waker,
    ) -> Poll<BarrierWaitResult> {
        if !barrier.state.is_released(generation) && self.stays(barrier, generation, slot, waker) {
            return Poll::Pending;
        }
        let ready = self.ready(generation, false);
        barrier.slab.help(generation, slot);
        ready
    }

    /// Leaves another waker. Returns false if the release has come meanwhile.
    #[cold]
    fn stays(&mut self, barrier: &Barrier, generation: u64, slot: usize, waker: &Waker) -> bool {
        // In case the waker's code panics: the slot is lost then.
        self.step = Step::Counted {
            generation,
            hint: slot,
        };
        let stays = hold_again(barrier, generation, slot, waker);
        if stays {
            self.step = Step::Waiting { generation, slot };
        }
        stays
    }

    fn ready(&mut self, generation: u64, leader: bool) -> Poll<BarrierWaitResult> {
        self.step = Step::Done;
        Poll::Ready(BarrierWaitResult { generation, leader })
    }

    /// Gives up, unless the generation is complete. Returns false in that case.
    #[inline]
    pub(super) fn withdraw(&mut self, barrier: &Barrier) -> bool {
        !matches!(self.step, Step::Done) && self.withdraw_undone(barrier)
    }

    /// [`withdraw`](Self::withdraw) for one that was not ready.
    #[cold]
    fn withdraw_undone(&mut self, barrier: &Barrier) -> bool {
        let step = self.step;
        match step {
            Step::Counted { generation, .. } | Step::Waiting { generation, .. } => {
                if !barrier.state.withdraw(generation) {
                    return false;
                }
                barrier.resource.withdrew(|| barrier.numbers());
            }
            Step::New | Step::Queued { .. } => {}
            Step::Leading { .. } | Step::Done => return false,
        }
        self.step = Step::New;
        step.leave_slot(barrier);
        true
    }

    /// Whether it has arrived and nothing but the release is missing.
    #[cfg(feature = "std")]
    pub(super) fn is_held_up(&self, barrier: &Barrier) -> bool {
        matches!(self.step, Step::Counted { generation, .. } if !barrier.state.is_released(generation))
    }

    /// Takes the waker back, but not the arrival.
    pub(super) fn leave_slot(&mut self, barrier: &Barrier) {
        self.step.leave_slot(barrier);
    }
}

impl Step {
    fn leave_slot(self, barrier: &Barrier) {
        if let Step::Waiting { generation, slot }
        | Step::Queued {
            behind: generation,
            slot,
        } = self
        {
            barrier.slab.slot(slot).vacate(generation);
        }
    }
}

/// Puts `waker` into a slot that waits for the release of `generation`. Returns false if that has
/// come.
fn hold_again(barrier: &Barrier, generation: u64, slot: usize, waker: &Waker) -> bool {
    let is_released = || barrier.state.is_released(generation);
    let slot = barrier.slab.slot(slot);
    slot.hold_again(generation, waker, is_released)
}
