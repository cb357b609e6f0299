//! A slot: where one waiter leaves its waker.
//!
//! # States
//!
//! A slot is an owner word and two cells for a waker. The owner word says who may touch the cells, and
//! for a registered waiter it carries the generation, so that the leader of a generation finds the
//! slots of that generation and no others.
//!
//! | state | who may touch the cells | the cells |
//! |---|---|---|
//! | free | nobody | empty |
//! | claimed | the waiter that claimed it, which has not yet arrived | empty, then one is full |
//! | registered(g) | nobody | one is full |
//! | busy(g) | the waiter, which puts another waker there | either |
//! | taken | the thread that is about to free it | either |
//!
//! # Transitions
//!
//! | from | to | by | name |
//! |---|---|---|---|
//! | free | claimed | a waiter, before it arrives or publishes | [`Slot::claim`] |
//! | claimed | registered(g) | the same, about to arrive in g, or to publish if it has arrived | [`Access::register`] |
//! | claimed | registered(g) | the same, about to publish without an arrival | [`Access::register_late`] |
//! | registered(g) | busy(g), then registered(g) | the same, polled again with another waker | [`Slot::reregister`] |
//! | busy(g) | free | the same, if it finds then that g is released | [`Slot::reregister`] |
//! | registered(g) | taken, then free | the same, which waits no longer | [`Slot::deregister`] |
//! | registered(g) | taken, then free | a releaser of g | [`Slot::take_waker`] |
//! | busy(g) | taken | a releaser of g; the waiter frees the slot | [`Slot::take_waker`] |
//!
//! A releaser of g is its leader, or the waiter of g that helps it.
//!
//! # Access
//!
//! The moves to claimed, busy and taken give the thread that made them an [`Access`] to the cells, and
//! the move that follows consumes it. All `unsafe` code of the slab is behind that type.
//!
//! The waker of a party that is about to arrive or has arrived, and one that replaces another, is a plain
//! write to the first cell. The thread that takes the waker reads it there. A party that queues, and a
//! phaser's observer, go through the second cell, an `AtomicWaker`.
//!
//! No foreign code runs while there is an `Access`: a waker is cloned before, and the replaced one
//! dropped after. The one exception is `register_late`, since an `AtomicWaker` clones by itself.
//!
//! # Invariants
//!
//! 1. There is an `Access` to a slot, or one was lost to a panic, exactly while the owner word is
//!    claimed, busy or taken; and never more than one. For free and registered are left by a
//!    compare-and-swap, which gives an `Access` to the thread that succeeds and to no other, and they
//!    are entered by a move that consumes it. A releaser that moves busy to taken leaves the `Access`
//!    with the waiter.
//! 2. A free slot's cells are empty. Of a registered slot's cells one is full.
//! 3. Before g is released, only its own waiter moves a slot out of registered(g) or busy(g). A waiter
//!    that did not do so itself, and finds its slot in another state, was released.
//! 4. After g is released, a slot may become registered(g) again, by a stale waiter: one that read
//!    the word before. It does not arrive in g and needs no wake. So it does not matter who takes its
//!    waker: it, a releaser, or any waiter that had the slot for g before.
//! 5. A panic out of `Waker::clone` in `register_late` leaves the `AtomicWaker` locked. The slot stays
//!    claimed and is never used again.
//!
//! # Memory orderings
//!
//! A releaser finds the slots of its generation because their waiters arrived or published after they
//! had registered (see `state`). What happens here has to order the uses of the cells, and to hand on
//! that a generation was released:
//!
//! - Each move that gives an `Access` acquires, and each that consumes one releases. So every use of
//!   the cells happens before the next.
//! - The move from busy to taken releases, and the waiter whose way back fails acquires: it learns
//!   from its slot that g was released, and sees what it would have seen from the word.
//! - By then the slot may have gone through other hands, which saw the release when they claimed it.
//!   They release too: a waiter that fails to make its slot busy acquires from the thread that wrote
//!   its state.
//!
//! # What a stalled thread keeps
//!
//! A thread that is stalled after any of these moves keeps its slot. A releaser that is stalled between
//! taken and the wake keeps the waiter whose waker it has in hand. Neither keeps anybody else: a
//! releaser goes past a claimed, a busy and a taken slot, and a waiter claims another.

use core::task::Waker;

use crate::{
    sync::{AtomicU64, AtomicWaker, Ordering, UnsafeCell, const_fn},
    wake::wake_all,
};

/// The lowest two bits of this state and the next two are zero.
const FREE: u64 = 0b0000;
const CLAIMED: u64 = 0b0100;
const TAKEN: u64 = 0b1000;

/// The last generation that a slot can be registered for. At one in a nanosecond it comes in 146 years.
pub(crate) const LAST_GENERATION: u64 = u64::MAX >> 2;

const fn registered(generation: u64) -> u64 {
    generation << 2 | 0b01
}

const fn busy(generation: u64) -> u64 {
    generation << 2 | 0b10
}

pub(crate) struct Slot {
    owner: AtomicU64,
    /// Reached by way of an [`Access`] alone.
    cell: UnsafeCell<Option<Waker>>,
    /// Touched by way of an [`Access`] alone, although it could bear more.
    late: AtomicWaker,
}

// SAFETY: `cell` is reached by way of an `Access` alone, of which there is one at most, and each is
// handed on by a release and an acquire of `owner`: invariant 1. Wakers may go to other threads.
unsafe impl Sync for Slot {}

impl Slot {
    const_fn! {
        /// A free slot.
        const fn new() -> Self {
            Self {
                owner: AtomicU64::new(FREE),
                cell: UnsafeCell::new(None),
                late: AtomicWaker::new(),
            }
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        // A constant is written where it belongs. What the function returns would be put together on the
        // stack and copied from there, in pieces that the CPU cannot forward.
        #[cfg(not(atomic_barrier_loom))]
        return const { Self::new() };
        #[cfg(atomic_barrier_loom)]
        Self::new()
    }
}

/// The right to touch the cells of a slot that this thread moved to claimed, busy or taken.
///
/// A slot whose `Access` is dropped is lost.
#[must_use = "the next move consumes it"]
pub(crate) struct Access<'a>(&'a Slot);

impl Slot {
    /// A compare-and-swap out of free or registered to claimed, busy or taken.
    #[inline]
    fn enter(
        &self,
        from: u64,
        to: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Option<Access<'_>> {
        self.owner
            .compare_exchange(from, to, success, failure)
            .is_ok()
            .then_some(Access(self))
    }

    /// Free to claimed, unless another was first.
    #[inline]
    pub(super) fn claim(&self) -> Option<Access<'_>> {
        // Acquire: pairs with `free`, which left the cells empty.
        self.enter(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
    }

    /// A look that leaves the cache line of a slot in use where it is.
    pub(super) fn is_free(&self) -> bool {
        // Relaxed: `claim` decides.
        self.owner.load(Ordering::Relaxed) == FREE
    }

    /// Registered to busy and back, with `waker` in place of the one that is returned, for a waiter of
    /// `generation` that is polled again.
    ///
    /// Fails if `generation` has been released. Then the slot is not the waiter's any longer.
    /// `is_released` says, from the word, whether that has come.
    ///
    /// A panic comes out of this call only if that fails: out of the drop of a waker without use.
    #[inline]
    pub(crate) fn reregister(
        &self,
        generation: u64,
        waker: Waker,
        is_released: impl FnOnce() -> bool,
    ) -> Result<Option<Waker>, Released> {
        // Acquire: pairs with the release of the thread that wrote the state. On success that is
        // `register`, `register_late` or `leave_busy`. On failure it is `take_waker` or what followed.
        let (from, to) = (registered(generation), busy(generation));
        let Some(mut access) = self.enter(from, to, Ordering::Acquire, Ordering::Acquire) else {
            return Err(Released);
        };
        // A releaser may have taken the slot from this waiter, and a stale waiter have registered there
        // for the same generation since. That one claimed the slot after the release. So this look, which
        // comes after its registration, sees the release.
        if is_released() {
            drop(access.free());
            return Err(Released);
        }
        let replaced = access.replace(waker);
        match access.leave_busy(generation) {
            Ok(()) => Ok(replaced),
            Err(access) => {
                drop_each([replaced, access.free()]);
                Err(Released)
            }
        }
    }

    /// Registered to taken to free, for a waiter of `generation` that waits no longer: it has withdrawn,
    /// or was dropped, or the word moved on before it could arrive.
    ///
    /// Returns the waker that was there, if the slot still was registered for `generation`.
    pub(crate) fn deregister(&self, generation: u64) -> Option<Waker> {
        // Acquire: pairs with the release of `register` and the like, perhaps by a stale waiter.
        // On failure Relaxed: it tells nothing.
        self.enter(
            registered(generation),
            TAKEN,
            Ordering::Acquire,
            Ordering::Relaxed,
        )?
        .free()
    }

    /// The generation for which a waiter is registered here.
    pub(super) fn generation(&self) -> Option<u64> {
        // Relaxed, as the first look in `take_waker`.
        let owner = self.owner.load(Ordering::Relaxed);
        (owner & 0b11 != 0).then_some(owner >> 2)
    }

    /// Registered or busy to taken, and registered on to free, for a releaser of `generation`.
    ///
    /// Returns the waker to wake, if a waiter is registered here for `generation` and is not busy.
    #[inline]
    pub(super) fn take_waker(&self, generation: u64) -> Option<Waker> {
        // Relaxed: the slots to find were registered before their waiters arrived or published.
        let mut owner = self.owner.load(Ordering::Relaxed);
        while owner == registered(generation) || owner == busy(generation) {
            // Acquire: pairs with the release of `register`, `register_late` or `leave_busy`, which filled
            // a cell. Release: pairs with `reregister`, where it fails to make the slot busy, and with
            // `leave_busy`, where that fails. On failure Relaxed: another look, as the first.
            match self
                .owner
                .compare_exchange(owner, TAKEN, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if owner == registered(generation) => return Access(self).free(),
                Ok(_) => return None,
                Err(actual) => owner = actual,
            }
        }
        None
    }
}

/// Drops each of them, whatever the drop of another does.
#[cold]
fn drop_each(wakers: [Option<Waker>; 2]) {
    wake_all(wakers.into_iter().flatten(), drop);
}

/// The generation was released.
pub(crate) struct Released;

impl<'a> Access<'a> {
    /// Claimed to registered, for a waiter that is about to arrive in `generation`, or to publish its slot.
    #[inline]
    pub(crate) fn register(mut self, generation: u64, waker: Waker) -> &'a Slot {
        self.put(waker);
        self.leave(registered(generation))
    }

    /// Claimed to registered, for a waiter that publishes its slot and is counted later or never.
    ///
    /// If the clone of `waker` panics, the slot is lost.
    pub(crate) fn register_late(self, generation: u64, waker: &Waker) -> &'a Slot {
        self.0.late.register(waker);
        self.leave(registered(generation))
    }

    /// Busy to registered. Gives the access back if a releaser has made the slot taken meanwhile.
    fn leave_busy(self, generation: u64) -> Result<(), Self> {
        // Release: pairs with `take_waker` and the other moves out of registered. On failure Acquire: pairs
        // with `take_waker`.
        match self.0.owner.compare_exchange(
            busy(generation),
            registered(generation),
            Ordering::Release,
            Ordering::Acquire,
        ) {
            Ok(_) => Ok(()),
            Err(_) => Err(self),
        }
    }

    /// Taken to free, or busy to free by its waiter. The waker comes out when the slot is another's
    /// already, so that whatever its code does may use the barrier.
    #[inline]
    fn free(mut self) -> Option<Waker> {
        let waker = self.take();
        self.leave(FREE);
        waker
    }

    #[inline]
    fn leave(self, to: u64) -> &'a Slot {
        // Release: pairs with `enter` where that succeeds, and where it fails with the acquire of a waiter
        // that had the slot before: it must see the release of its generation, which this thread saw.
        self.0.owner.store(to, Ordering::Release);
        self.0
    }

    /// Puts `waker` into an empty cell.
    #[inline]
    fn put(&mut self, waker: Waker) {
        // SAFETY: this is the only `Access` to the slot. What the write replaces is `None`, and if it
        // were not, it would leak.
        self.0
            .cell
            .with_mut(|cell| unsafe { cell.write(Some(waker)) });
    }

    /// Puts `waker` in the place of the one that is returned.
    #[inline]
    fn replace(&mut self, waker: Waker) -> Option<Waker> {
        // SAFETY: this is the only `Access` to the slot.
        let replaced = self
            .0
            .cell
            .with_mut(|cell| unsafe { (*cell).replace(waker) });
        replaced.or_else(|| self.0.late.take())
    }

    /// The waker, from the cell that is full.
    #[inline]
    fn take(&mut self) -> Option<Waker> {
        // SAFETY: this is the only `Access` to the slot.
        let waker = self.0.cell.with_mut(|cell| unsafe { (*cell).take() });
        waker.or_else(|| self.0.late.take())
    }
}
