//! The slots in which a phaser's participants register their wakers.
//!
//! A slot belongs to a participant from its registration until it leaves, so nothing is claimed in a
//! phase, and its waker stays as long as the participant comes with the same one: then a phase costs a
//! participant one read-modify-write, its arrival.
//!
//! # A slot's life
//!
//! A slot is an owner word and a cell for a waker. The threads that wake read both; the owner word says
//! whether they shall:
//!
//! | from | to | by | name |
//! |---|---|---|---|
//! | free | idle | a new participant | [`Slot::take`] |
//! | idle, registered(q) | registered(p) | its participant, before it arrives in p or publishes | [`Slots::register`] |
//! | registered(p) | idle | its participant, which no longer waits or changes the waker | [`Slot::deregister`], [`Slots::register_anew`] |
//! | idle, registered(p) | retired | its participant, which leaves or goes to another slot | [`Slots::vacate`], [`Slots::register_anew`] |
//! | retired | idle | the same thread or the last reader, to empty it | [`Slots::reclaim`] |
//! | idle | retired | the same, if a reader has come in between | [`Slots::reclaim`] |
//! | idle | free | the same | [`Slots::free`] |
//!
//! Registered(p) means that the participant waits for the end of p with the waker in the cell.
//!
//! # Readers
//!
//! A thread that wakes counts among the [`Readers`] meanwhile. It looks at all slots and wakes by
//! reference those that are registered(p). So a waker may be changed only while no reader can be looking
//! at it: the participant first makes the slot idle or retired, and then asks whether there are
//! readers, by a read-modify-write on their number. If there are none, any reader that comes later
//! comes after it in the order of that number, and finds the slot so. If there are some, the
//! participant does not wait for them: it leaves the slot as it is, retired, takes another, and the last
//! reader empties it. A cell without a waker was never registered, so nobody reads it.
//!
//! While a reader is stalled, each participant that leaves or changes its waker leaves a slot behind,
//! which is reclaimed in the next moment without readers.
//!
//! # Invariants
//!
//! 1. Free and retired are left by a CAS. The other states are left by the participant alone, or
//!    by the thread that reclaims the slot.
//! 2. A waker is changed only by the thread that moved its slot to idle and then found no readers, or found
//!    the cell empty.
//! 3. A free slot has no waker.
//! 4. A participant never registers for an earlier phase than before.
//!
//! # Memory orderings
//!
//! - `register` (release) with `waker_of` (acquire): a reader that finds a slot registered sees its
//!   waker.
//! - `Readers::is_quiescent` (release) with `Readers::enter` (acquire): a reader that comes later finds the
//!   slot idle or retired.
//! - `Readers::exit` (release) with `is_quiescent` (acquire): all reading is over; and the other way round:
//!   the last reader finds the slots that were left to it.
//! - the stores of free and retired (release) with the CASs that leave them (acquire).

use core::{convert::Infallible, task::Waker};

use crossbeam_utils::CachePadded;

use crate::{
    segments::Segments,
    sync::{AtomicU64, Ordering, UnsafeCell, try_update},
    wake::wake_all,
};

/// Without a participant. The lowest bit of this and the next two is zero.
const FREE: u64 = 0b000;
/// A participant's that does not wait, or that changes its waker.
const IDLE: u64 = 0b010;
/// Left by its participant. A thread may still be reading the waker.
const RETIRED: u64 = 0b100;

/// A participant's that waits for the end of `phase`.
const fn registered(phase: u64) -> u64 {
    phase << 1 | 1
}

/// Where one participant has its waker.
pub(super) struct Slot {
    owner: AtomicU64,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: `waker` is read by many threads or changed by one: invariant 2.
unsafe impl Sync for Slot {}

impl Default for Slot {
    fn default() -> Self {
        Self {
            owner: AtomicU64::new(FREE),
            waker: UnsafeCell::new(None),
        }
    }
}

impl Slot {
    /// The waker in the cell. For its participant.
    #[inline]
    fn with_waker<R>(&self, look: impl FnOnce(Option<&Waker>) -> R) -> R {
        self.waker.with(|cell| {
            // SAFETY: the slot is the participant's, and nobody else changes its waker.
            look(unsafe { &*cell }.as_ref())
        })
    }

    /// Whether the cell has such a waker. For its participant.
    #[inline]
    fn will_wake(&self, waker: &Waker) -> bool {
        self.with_waker(|kept| kept.is_some_and(|kept| kept.will_wake(waker)))
    }

    /// Whether it was never registered since it was free. For its participant.
    fn is_unused(&self) -> bool {
        self.with_waker(|kept| kept.is_none())
    }

    /// Puts `waker` in the place of the one that is returned.
    ///
    /// # Safety
    ///
    /// The slot is the caller's, and no reader can be looking at it: invariant 2.
    unsafe fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        self.waker.with_mut(|cell| {
            // SAFETY: nobody else looks at it, as the caller promises.
            unsafe { cell.replace(waker) }
        })
    }

    /// The waker, if the slot is registered for `phase`. For a reader.
    #[inline]
    fn waker_of(&self, phase: u64) -> Option<&Waker> {
        // Acquire: synchronizes with the stores in `register` and `register_anew`.
        if self.owner.load(Ordering::Acquire) != registered(phase) {
            return None;
        }
        self.waker.with(|cell| {
            // SAFETY: the slot was registered after this reader came, so it is not changed until that
            // goes.
            unsafe { &*cell }.as_ref()
        })
    }

    /// Registered to idle.
    pub(super) fn deregister(&self) {
        // Relaxed: a reader that comes too early wakes once too often.
        self.owner.store(IDLE, Ordering::Relaxed);
    }

    /// Free to idle.
    fn take(&self) -> bool {
        // Relaxed: a look that leaves the line of a taken slot where it is.
        self.owner.load(Ordering::Relaxed) == FREE && self.leave(FREE)
    }

    /// Free or retired to idle.
    fn leave(&self, from: u64) -> bool {
        // Acquire: synchronizes with the store of `from`.
        self.owner
            .compare_exchange(from, IDLE, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

/// How many threads are reading wakers, and whether a slot was retired meanwhile.
#[derive(Debug)]
struct Readers(CachePadded<AtomicU64>);

/// Added by one reader; the lowest bit says that a slot was retired.
const READER: u64 = 2;
const RETIRED_MEANWHILE: u64 = 1;

impl Readers {
    fn enter(&self) {
        // Acquire: synchronizes with `is_quiescent`, so that a slot that was retired before is seen to be.
        self.0.fetch_add(READER, Ordering::Acquire);
    }

    /// Returns whether there may be slots to empty, and no reader is left.
    fn exit(&self) -> bool {
        // Release: pairs with `is_quiescent`.
        let before = self.0.fetch_sub(READER, Ordering::Release);
        before == READER | RETIRED_MEANWHILE
            && self
                .0
                // Acquire: synchronizes with `is_quiescent`, so that the sweep finds what is retired.
                .compare_exchange(RETIRED_MEANWHILE, 0, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether no thread is reading a slot that the caller has retired. If one is, the last reader will see
    /// to the slot.
    fn is_quiescent(&self) -> bool {
        // Relaxed: the compare-and-swap decides.
        let readers = self.0.load(Ordering::Relaxed);
        let none: Result<bool, Infallible> =
            try_update(&self.0, readers, Ordering::Relaxed, |readers| {
                let none = readers < READER;
                let to = if none {
                    readers
                } else {
                    readers | RETIRED_MEANWHILE
                };
                // Acquire: synchronizes with `exit`. Release: pairs with `enter`, and with `exit`.
                Ok((to, Ordering::AcqRel, none))
            });
        let Ok(none) = none;
        none
    }
}

/// All slots of a phaser.
pub(super) struct Slots {
    slots: Segments<Slot>,
    readers: Readers,
}

/// One reader.
struct Reading<'a>(&'a Slots);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.0.readers.exit() {
            self.0.sweep();
        }
    }
}

impl Slots {
    pub(super) fn new() -> Self {
        Self {
            slots: Segments::new(),
            readers: Readers(CachePadded::new(AtomicU64::new(0))),
        }
    }

    /// A slot for a new participant, perhaps the one at `hint`.
    pub(super) fn take(&self, hint: usize) -> usize {
        self.slots
            .find_or_grow(hint, |slot| slot.take().then_some(()))
            .0
    }

    /// The slot at `index`, which is the caller's.
    pub(super) fn slot(&self, index: usize) -> &Slot {
        self.slots.get(index).expect("a participant has a slot")
    }

    /// Whether `waker` is registered already, to be woken at the end of `phase`.
    pub(super) fn is_registered(&self, index: usize, phase: u64, waker: &Waker) -> bool {
        let slot = self.slot(index);
        // Relaxed: it is the caller's own.
        slot.owner.load(Ordering::Relaxed) == registered(phase) && slot.will_wake(waker)
    }

    /// Registers `waker` in the slot `index`, to be woken at the end of `phase` from the caller's next
    /// transition on.
    ///
    /// Returns the waker that it replaces, to be dropped when that is done. The participant may have got
    /// another slot.
    #[inline]
    pub(super) fn register(&self, index: &mut usize, phase: u64, waker: &Waker) -> Option<Waker> {
        let slot = self.slot(*index);
        if !slot.will_wake(waker) {
            return self.register_anew(index, phase, waker);
        }
        // Relaxed: nobody else writes here.
        if slot.owner.load(Ordering::Relaxed) != registered(phase) {
            // Release: pairs with `waker_of`.
            slot.owner.store(registered(phase), Ordering::Release);
        }
        None
    }

    #[cold]
    fn register_anew(&self, index: &mut usize, phase: u64, waker: &Waker) -> Option<Waker> {
        // Before anything is changed: it may panic.
        let waker = waker.clone();
        let old = self.slot(*index);
        // Relaxed: `is_quiescent` releases it.
        old.owner.store(IDLE, Ordering::Relaxed);
        let may_change = old.is_unused() || self.readers.is_quiescent();
        if !may_change {
            *index = self.take(*index);
        }
        let slot = self.slot(*index);
        // SAFETY: the slot was never registered since it was free, or is idle and there are no readers.
        let replaced = unsafe { slot.replace(Some(waker)) };
        // Release: pairs with `waker_of`.
        slot.owner.store(registered(phase), Ordering::Release);
        if may_change {
            replaced
        } else {
            self.retire(old)
        }
    }

    /// Frees the slot `index`, for a participant that leaves. Returns the waker that was there, if
    /// nobody is reading it.
    pub(super) fn vacate(&self, index: usize) -> Option<Waker> {
        let slot = self.slot(index);
        if slot.is_unused() {
            return self.free(slot);
        }
        self.retire(slot)
    }

    /// Idle or registered to retired, and on to free if nobody is reading.
    fn retire(&self, slot: &Slot) -> Option<Waker> {
        // Release: pairs with `leave`.
        slot.owner.store(RETIRED, Ordering::Release);
        self.reclaim(slot).then(|| self.free(slot))?
    }

    /// Retired to idle, if nobody is reading and no other thread was first.
    fn reclaim(&self, slot: &Slot) -> bool {
        // The first look sees to it that the last reader finds the slot retired. The second is the one
        // that counts: no reader that comes after it finds the slot registered.
        while self.readers.is_quiescent() && slot.leave(RETIRED) {
            if self.readers.is_quiescent() {
                return true;
            }
            // Release: pairs with `leave`.
            slot.owner.store(RETIRED, Ordering::Release);
        }
        false
    }

    /// Idle to free, for a thread that may change the waker.
    fn free(&self, slot: &Slot) -> Option<Waker> {
        // SAFETY: it is unused, or was reclaimed when there was no reader.
        let waker = unsafe { slot.replace(None) };
        // Release: pairs with `leave`.
        slot.owner.store(FREE, Ordering::Release);
        waker
    }

    /// Wakes all participants that wait for the end of `phase`, in the order of their slots. A panic out of
    /// one waker comes out of this call after all others are woken.
    pub(super) fn wake(&self, phase: u64) {
        self.readers.enter();
        let _reading = Reading(self);
        // A participant that is polled from within this, and changes its waker, takes another slot. It is
        // not woken there once more.
        let slots = self.slots.iter().take(self.slots.count());
        wake_all(
            slots.filter_map(|slot| slot.waker_of(phase)),
            Waker::wake_by_ref,
        );
    }

    /// Empties the slots that were retired while others read.
    #[cold]
    fn sweep(&self) {
        // Relaxed: `reclaim` decides.
        let slots = self.slots.iter();
        let retired = slots.filter(|slot| slot.owner.load(Ordering::Relaxed) == RETIRED);
        let reclaimed = retired.filter(|slot| self.reclaim(slot));
        // To drop a waker may panic, as to wake it may.
        wake_all(reclaimed.filter_map(|slot| self.free(slot)), drop);
    }
}
