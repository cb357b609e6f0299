//! The slots of a barrier, in which waiters leave their wakers. `slot` has the life of one.
//!
//! The releaser of a generation drains the slab: it takes the waker out of each slot that is registered
//! for that generation, frees the slot, and wakes. The releasers of a generation are its leader and
//! perhaps one of its waiters, which was polled before the leader had got past it and helps from the
//! other end ([`Slab::help`]). A phaser's observers have slots too: a thread that ends their phase or
//! closes the phaser drains those ([`Slab::wake_all_in`]).

#[expect(unsafe_code, reason = "wakers that are registered by plain writes")]
mod slot;

use core::{ops::Range, task::Waker};

pub(crate) use self::slot::{Access, LAST_GENERATION, Slot};
use crate::{
    segments::Segments,
    sync::{AtomicU64, Ordering, const_fn},
    wake::wake_all,
};

/// All slots of a barrier.
pub(crate) struct Slab {
    slots: Segments<Slot>,
}

/// The leader that is at work on a slab and has no help: one more than its generation, or 0.
///
/// A hint: of several leaders at work one is remembered, and a panic in a waker may leave one that is not.
pub(crate) struct Draining(AtomicU64);

impl Draining {
    const_fn! {
        pub(crate) const fn none() -> Self {
            Self(AtomicU64::new(0))
        }
    }
}

impl Slab {
    const_fn! {
        /// No segment, no allocation.
        pub(crate) const fn new() -> Self {
            Self {
                slots: Segments::new(),
            }
        }
    }

    /// Claims a free slot and returns its index: the one at `hint` if that is free.
    #[inline]
    pub(crate) fn claim(&self, hint: usize) -> (usize, Access<'_>) {
        match self.slots.get(hint).and_then(Slot::claim) {
            Some(access) => (hint, access),
            None => self
                .slots
                .find_or_grow(hint, |slot| slot.is_free().then(|| slot.claim()).flatten()),
        }
    }

    /// The slot at `index`, which `claim` returned.
    pub(crate) fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).expect("a claimed slot stays")
    }

    /// Drains the slab of `generation`: takes each of its wakers, frees the slot and wakes, in the order of
    /// the slots.
    ///
    /// A panic out of one waker's `wake` comes out of this call after it has woken all others that
    /// nobody else did.
    pub(crate) fn wake_all(&self, generation: u64, draining: &Draining) {
        // Relaxed, here and in `help`: helping is never needed, and the word has told the helper all that
        // it must know.
        draining.0.store(generation + 1, Ordering::Relaxed);
        let wakers = self
            .slots
            .iter()
            .filter_map(|slot| slot.take_waker(generation));
        wake_all(wakers, Waker::wake);
        if draining.0.load(Ordering::Relaxed) == generation + 1 {
            draining.0.store(0, Ordering::Relaxed);
        }
    }

    /// [`wake_all`](Self::wake_all) for several generations, without help.
    pub(crate) fn wake_all_in(&self, generations: Range<u64>) {
        let wakers = self.slots.iter().filter_map(|slot| {
            let generation = slot.generation()?;
            generations
                .contains(&generation)
                .then(|| slot.take_waker(generation))?
        });
        wake_all(wakers, Waker::wake);
    }

    /// Does what [`wake_all`](Self::wake_all) has to do after the slot `own`, from the other end, for the
    /// waiter of `generation` in that slot that is released while the leader has not got past it.
    ///
    /// A wake can take the leader far longer than the waiter needs to run, arrive again and leave its
    /// thread idle, to be woken again by the next. A waiter that helps ends that.
    #[inline]
    pub(crate) fn help(&self, generation: u64, own: usize, draining: &Draining) {
        if draining.0.load(Ordering::Relaxed) == generation + 1 {
            self.drain_backwards(generation, own, draining);
        }
    }

    #[cold]
    fn drain_backwards(&self, generation: u64, own: usize, draining: &Draining) {
        // A leader that has gone on to the next slot meanwhile is faster alone. If that slot does not
        // tell, nobody helps from here.
        let next = self.slots.get(own + 1).and_then(Slot::generation);
        // One helps: the waiters that it wakes, perhaps within this call, have other things to do.
        let asked = generation + 1;
        if next == Some(generation)
            && draining
                .0
                .compare_exchange(asked, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
        {
            let slots = self.slots.iter_backwards();
            let after_own = slots.take_while(|&(index, _)| index > own);
            wake_all(
                after_own.filter_map(|(_, slot)| slot.take_waker(generation)),
                Waker::wake,
            );
        }
    }
}
