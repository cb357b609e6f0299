//! The slots in which waiters leave their wakers.
//!
//! # A slot's life
//!
//! A slot is an owner word and a waker cell. The owner word says who may touch the cell, and for
//! a waiter that has arrived it carries the generation, so that a leader finds the slots of the
//! generation that it completed and no others.
//!
//! | from | to | who | name |
//! |---|---|---|---|
//! | free | claimed | a waiter, before it arrives | [`Slot::claim`] |
//! | claimed | held(g) | the same, its waker registered, about to arrive in g or to publish | [`Slot::hold`] |
//! | held(g) | busy(g), then held(g) | the same, on a later poll: another waker | [`Slot::hold_again`] |
//! | busy(g) | free | the same, if it finds then that g is released | [`Slot::hold_again`] |
//! | held(g) | released, then free | the same, which does not wait any longer | [`Slot::vacate`] |
//! | held(g) | released, then free | a releaser of g, which takes the waker | [`Slot::release`] |
//! | busy(g) | released | a releaser of g; the waiter empties the slot | [`Slot::release`] |
//! | released | free | whoever moved it there, or the waiter it left busy | [`Slot::empty`] |
//!
//! The releasers of g are its leader and perhaps one of its waiters, which was polled before the
//! leader had got past it and helps from the other end ([`Slab::help`]). A phaser's observers have
//! slots too; whoever ends their phase or closes the phaser releases those ([`Slab::release_all`]).
//!
//! # Invariants
//!
//! 1. Every move out of free and held is a compare-and-swap. Claimed and released belong to one
//!    thread, which leaves them by a plain store. Busy belongs to one thread too, but a releaser may
//!    mark it released meanwhile; so the way back to held is a compare-and-swap, and either way it is
//!    that thread that empties the slot.
//! 2. The cell is touched only by the thread that moved the owner word to claimed, busy or
//!    released. So two registrations never meet, nor a registration and a wake: the cell's own
//!    arbitration, which would drop one of two registrations in silence, is never called upon.
//! 3. A free slot's cell is empty.
//! 4. Before g is released, only the slot's own waiter moves a slot out of held(g) or busy(g). So a
//!    waiter that did not do it itself and finds its slot in another state was released.
//! 5. After g is released, a slot may become held(g) again, by a stale waiter: one that read the word
//!    before. It does not arrive and nobody waits for its wake, so it does not matter who empties the
//!    slot first: it, a releaser, or any waiter that had the slot for g before.
//! 6. A panic out of `Waker::clone`, or out of the drop of the waker that a later poll replaces,
//!    leaves the cell locked. Such a slot stays claimed, busy or released, and is never used again.
//!
//! # Memory orderings
//!
//! A releaser finds the slots it must empty because their waiters arrived after they had registered
//! (see `state`); nothing here needs to repeat that. What remains:
//!
//! - `empty` (release) with `claim` (acquire): the next owner finds the cell as the last left it.
//! - `hold_again`'s way back (release) with `release` (acquire): the releaser finds the new waker.
//! - `release` (release) with `hold_again` (acquire): a waiter that learns from its slot that its
//!   generation was released sees what it would have seen from the word. The slot may have gone
//!   through other hands by then, so `hold` and `empty` release too: every plain store to an owner
//!   word hands on what its thread has seen.

use core::{ops::Range, task::Waker};

use crossbeam_utils::CachePadded;

use crate::{
    segments::Segments,
    sync::{AtomicU64, AtomicWaker, Ordering, const_fn},
    wake::wake_all,
};

/// Nobody's. The lowest two bits of this state and the next two are zero.
const FREE: u64 = 0b0000;
/// A waiter's that has not yet arrived. No leader looks at it.
const CLAIMED: u64 = 0b0100;
/// The thread's that is about to empty it.
const RELEASED: u64 = 0b1000;

/// A waiter's that arrives in `generation`, with its waker in the cell.
const fn held(generation: u64) -> u64 {
    generation << 2 | 0b01
}

/// Held, but the waiter is putting another waker into the cell.
const fn busy(generation: u64) -> u64 {
    generation << 2 | 0b10
}

/// The place of one waiter.
pub(crate) struct Slot {
    owner: AtomicU64,
    waker: AtomicWaker,
}

impl Default for Slot {
    fn default() -> Self {
        Self {
            owner: AtomicU64::new(FREE),
            waker: AtomicWaker::new(),
        }
    }
}

impl Slot {
    /// Free to claimed; returns whether it was this call that did it.
    fn claim(&self) -> bool {
        // Ordering: acquire, with the release of `empty`.
        self.owner
            .compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// A look that leaves the line of a taken slot where it is.
    fn is_free(&self) -> bool {
        // Ordering: none. `claim` decides.
        self.owner.load(Ordering::Relaxed) == FREE
    }

    /// Claimed to held, for a waiter that is about to arrive in `generation`.
    pub(crate) fn hold(&self, generation: u64, waker: &Waker) {
        self.waker.register(waker);
        // Ordering: release, not for the releaser, which is served by the arrival, but with the
        // acquire in `hold_again` of a waiter that had the slot before: it must see the release
        // that this thread saw when it claimed the slot.
        self.owner.store(held(generation), Ordering::Release);
    }

    /// Held to busy and back, for a waiter that has arrived in `generation` and is polled again.
    ///
    /// Returns false if the waiter has been released; then the slot is no longer its own.
    /// `is_released` says whether that has come, from the word.
    pub(crate) fn hold_again(
        &self,
        generation: u64,
        waker: &Waker,
        is_released: impl FnOnce() -> bool,
    ) -> bool {
        // Ordering: acquire, in both cases with the release of whoever wrote the present state. On
        // failure, that is the release in `release` or what came after it.
        if self
            .owner
            .compare_exchange(
                held(generation),
                busy(generation),
                Ordering::Acquire,
                Ordering::Acquire,
            )
            .is_err()
        {
            return false;
        }
        // The slot may have been taken from this waiter since it was polled, and be held by another
        // that has read the word long ago, and will find that it cannot arrive in this generation.
        // That one came after the release, and so does this look.
        if is_released() {
            drop(self.empty());
            return false;
        }
        self.waker.register(waker);
        // Ordering: release, with the acquire in `release`. On failure acquire, with its release.
        let back = self.owner.compare_exchange(
            busy(generation),
            held(generation),
            Ordering::Release,
            Ordering::Acquire,
        );
        if back.is_err() {
            // Nobody will use the waker just put there: this poll returns Ready.
            drop(self.empty());
        }
        back.is_ok()
    }

    /// Held to released to free, for a waiter that does not wait any longer: it has withdrawn, or was
    /// dropped, or the word moved on before it could arrive.
    ///
    /// A slot that is no longer held stays with the leader that found it.
    pub(crate) fn vacate(&self, generation: u64) {
        // Ordering: none. The waker may be a stale waiter's, but the cell hands that over by itself;
        // and losing tells nothing.
        if self
            .owner
            .compare_exchange(
                held(generation),
                RELEASED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
        {
            drop(self.empty());
        }
    }

    /// The generation of its waiter, if that has arrived or is about to.
    fn generation(&self) -> Option<u64> {
        // Ordering: none, as in `release`.
        let owner = self.owner.load(Ordering::Relaxed);
        (owner & 0b11 != 0).then_some(owner >> 2)
    }

    /// Held or busy to released, for a releaser of `generation`. Returns the waker to wake, if
    /// this slot is of that generation and its waiter is not busy with it.
    fn release(&self, generation: u64) -> Option<Waker> {
        // Ordering: none. The slots to release were held before their waiters arrived.
        let mut owner = self.owner.load(Ordering::Relaxed);
        while owner == held(generation) || owner == busy(generation) {
            // Ordering: acquire, with the way back of `hold_again`; release, with its failures.
            match self
                .owner
                .compare_exchange(owner, RELEASED, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if owner == held(generation) => return self.empty(),
                Ok(_) => return None,
                Err(present) => owner = present,
            }
        }
        None
    }

    /// Released to free, or busy to free by its waiter. The slot is another's before the waker is
    /// woken or dropped, so whatever that runs may use the barrier.
    fn empty(&self) -> Option<Waker> {
        let waker = self.waker.take();
        // Ordering: release, with the acquire of `claim`.
        self.owner.store(FREE, Ordering::Release);
        waker
    }
}

/// All slots of a barrier.
#[derive(Debug)]
pub(crate) struct Slab {
    slots: Segments<Slot>,
    /// One more than the generation whose leader is at work on the slots and has no help, or 0. A
    /// hint: of several leaders at work one is remembered, and a panic in a waker may leave one that
    /// is not.
    releasing: CachePadded<AtomicU64>,
}

impl Slab {
    const_fn! {
        /// No segment, no allocation.
        pub(crate) const fn new() -> Self {
            Self {
                slots: Segments::new(),
                releasing: CachePadded::new(AtomicU64::new(0)),
            }
        }
    }

    /// Claims a free slot and returns it with its index: the one at `hint` if that is free.
    pub(crate) fn claim(&self, hint: usize) -> (usize, &Slot) {
        match self.slots.get(hint) {
            Some(slot) if slot.claim() => (hint, slot),
            _ => self
                .slots
                .claim(hint, |slot| slot.is_free() && slot.claim()),
        }
    }

    /// The slot at `index`, which `claim` returned.
    pub(crate) fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).expect("a claimed slot stays")
    }

    /// Empties every slot of `generation` and wakes its waiter, in the order of the slots.
    ///
    /// A panic out of one waker's `wake` comes out of this call after it has woken all others that
    /// nobody else did.
    pub(crate) fn release(&self, generation: u64) {
        // Ordering: none, here and in `help`. Helping is never needed, and the word has told the
        // helper all that it must know.
        self.releasing.store(generation + 1, Ordering::Relaxed);
        let wakers = self
            .slots
            .iter()
            .filter_map(|slot| slot.release(generation));
        wake_all(wakers, Waker::wake);
        if self.releasing.load(Ordering::Relaxed) == generation + 1 {
            self.releasing.store(0, Ordering::Relaxed);
        }
    }

    /// Empties every slot of any of `generations` and wakes its waiter, without help.
    pub(crate) fn release_all(&self, generations: Range<u64>) {
        let wakers = self.slots.iter().filter_map(|slot| {
            let generation = slot.generation()?;
            generations
                .contains(&generation)
                .then(|| slot.release(generation))?
        });
        wake_all(wakers, Waker::wake);
    }

    /// Does what [`release`](Self::release) has to do after the slot `own`, from the other end, for
    /// the waiter of `generation` in that slot that is released while the leader has not got past it.
    ///
    /// A wake can take the leader far longer than the waiter needs to run, arrive again and leave its
    /// thread idle, to be woken again by the next. A waiter that helps ends that.
    #[inline]
    pub(crate) fn help(&self, generation: u64, own: usize) {
        if self.releasing.load(Ordering::Relaxed) == generation + 1 {
            self.release_backwards(generation, own);
        }
    }

    #[cold]
    fn release_backwards(&self, generation: u64, own: usize) {
        // A leader that has gone on to the next slot meanwhile is faster alone. If there is nobody to
        // tell by, nobody helps from here.
        let next = self.slots.get(own + 1).and_then(Slot::generation);
        // One helps: the waiters that it wakes, perhaps within this call, have other things to do.
        let asked = generation + 1;
        if next == Some(generation)
            && self
                .releasing
                .compare_exchange(asked, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let slots = self.slots.iter_backwards();
            let after_own = slots.take_while(|&(index, _)| index > own);
            wake_all(
                after_own.filter_map(|(_, slot)| slot.release(generation)),
                Waker::wake,
            );
        }
    }
}
