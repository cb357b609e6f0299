//! The slots in which a phaser's participants register their wakers, and those that have their names.
//!
//! A slot belongs to a participant from its registration until it leaves, so nothing is claimed in a
//! phase, and its waker stays as long as the participant comes with the same one: then a phase costs a
//! participant one read-modify-write, its arrival. A name, which has a slot of its own, costs it a store.
//!
//! # A slot's life
//!
//! A slot is an owner word and a cell for a waker or a name. The threads that wake, or list the missing, read
//! the owner word first, and the cell if that says so:
//!
//! | from | to | by | name |
//! |---|---|---|---|
//! | free | idle | a new participant, or one that gets a name | [`Slot::take`] |
//! | idle, registered(q) | registered(p) | its participant: a waker before it arrives in p or publishes, a name after it has arrived in q = p - 1 or withdrawn from p = q - 1 | [`Slot::register`] |
//! | registered(p) | idle | its participant, which no longer waits, or changes the waker or the name | [`Slot::deregister`], [`Slots::register_anew`] |
//! | idle, registered(p) | retired | its participant, which leaves or goes to another slot | [`Slots::vacate`], [`Slots::register_anew`] |
//! | retired | idle | the same thread or the last reader, to empty it | [`Slots::reclaim`] |
//! | idle | retired | the same, if a reader has come in between | [`Slots::reclaim`] |
//! | idle | free | the same | [`Slots::free`] |
//!
//! Registered(p) means that the participant waits for the end of p with the waker in the cell, or that the
//! one with that name owes p. The owner word of a name may be late, but never by a phase: a participant is
//! missing in p if what it owes is at most p, and a leader need not change it, since p is over or held. So a
//! participant that is stalled after its arrival is still listed, one that is stalled after it has withdrawn
//! is not listed yet, and neither keeps any other thread.
//!
//! # Readers
//!
//! A thread that wakes counts among the [`Readers`] meanwhile, as does one that clones names. It looks at
//! all slots and wakes by reference those that are registered(p). So a waker may be changed only while no
//! reader can be looking at it: the participant first makes the slot idle or retired, and then asks whether
//! there are readers, by a read-modify-write on their number. If there are none, any reader that comes later
//! comes after it in the order of that number, and finds the slot idle or retired. If there are some, the
//! participant does not wait for them: it leaves the slot as it is, retired, takes another, and the last
//! reader empties it. An empty cell was never registered, so nobody reads it.
//!
//! While a reader is stalled, each participant that leaves, or changes its waker or name, leaves a slot
//! behind, which is reclaimed in the next moment without readers.
//!
//! # Invariants
//!
//! 1. Free and retired are left by a CAS. The other states are left by the participant alone, or
//!    by the thread that reclaims the slot.
//! 2. A cell is changed only by the thread that moved its slot to idle and then found no readers, or found
//!    the cell empty.
//! 3. The cell of a free slot is empty.
//! 4. A participant never registers a waker for an earlier phase than before.
//!
//! # Memory orderings
//!
//! - `register` (release) with `read` (acquire): a reader that finds a slot registered sees what is in its
//!   cell.
//! - `Readers::is_quiescent` (release) with `Readers::enter` (acquire): a reader that comes later finds the
//!   slot idle or retired.
//! - `Readers::exit` (release) with `is_quiescent` (acquire): all reading is over; and the other way round:
//!   the last reader finds the slots that were left to it.
//! - the stores of free and retired (release) with the CASs that leave them (acquire).

use alloc::{sync::Arc, vec::Vec};
use core::{convert::Infallible, task::Waker};

use crossbeam_utils::CachePadded;

use crate::{
    segments::Segments,
    sync::{AtomicU64, Ordering, UnsafeCell, try_update},
    wake::wake_all,
};

/// Without a participant. The lowest bit of this and the next two is zero.
const FREE: u64 = 0b000;
/// A participant's that does not wait, or that changes what is in the cell.
const IDLE: u64 = 0b010;
/// Left by its participant. A thread may still be reading the cell.
const RETIRED: u64 = 0b100;

/// A participant's that waits for the end of `phase`, or owes it.
const fn registered(phase: u64) -> u64 {
    phase << 1 | 1
}

/// Where one participant has its waker or its name.
pub(super) struct Slot<T> {
    owner: AtomicU64,
    cell: UnsafeCell<Option<T>>,
}

// SAFETY: `cell` is read by many threads or changed by one: invariant 2.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            owner: AtomicU64::new(FREE),
            cell: UnsafeCell::new(None),
        }
    }
}

impl<T> Slot<T> {
    /// What is in the cell. For its participant, or a reader that has found the slot registered.
    #[inline]
    pub(super) fn get(&self) -> Option<&T> {
        self.cell.with(|cell| {
            // SAFETY: nobody changes it: the slot is the participant's, or was registered after this
            // reader came, which has not gone.
            unsafe { &*cell }.as_ref()
        })
    }

    /// Puts `content` in the place of what is returned.
    ///
    /// # Safety
    ///
    /// The slot is the caller's, and no reader can be looking at it: invariant 2.
    unsafe fn replace(&self, content: Option<T>) -> Option<T> {
        self.cell.with_mut(|cell| {
            // SAFETY: nobody else looks at it, as the caller promises.
            unsafe { cell.replace(content) }
        })
    }

    /// What is in the cell, if the owner word `is_wanted`, which is registered. For a reader.
    #[inline]
    fn read(&self, is_wanted: impl Fn(u64) -> bool) -> Option<&T> {
        // Acquire: synchronizes with `register`.
        is_wanted(self.owner.load(Ordering::Acquire)).then(|| self.get())?
    }

    /// Idle or registered to registered(`phase`).
    #[inline]
    fn register(&self, phase: u64) {
        // Release: pairs with `read`.
        self.owner.store(registered(phase), Ordering::Release);
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

/// How many threads are reading, and whether a slot was retired meanwhile.
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

/// All slots of a phaser that have wakers, or all that have names.
pub(super) struct Slots<T: Send + Sync> {
    slots: Segments<Slot<T>>,
    readers: Readers,
}

/// One reader.
struct Reading<'a, T: Send + Sync>(&'a Slots<T>);

impl<T: Send + Sync> Reading<'_, T> {
    /// What is in the slots whose owner words, which are registered, are wanted, in the order of the slots.
    #[inline]
    fn find(&self, is_wanted: impl Fn(u64) -> bool) -> impl Iterator<Item = &T> {
        // A participant that is polled from within a wake, and changes its waker, takes another slot. It is
        // not woken there once more.
        let slots = self.0.slots.iter().take(self.0.slots.count());
        slots.filter_map(move |slot| slot.read(&is_wanted))
    }
}

impl<T: Send + Sync> Drop for Reading<'_, T> {
    fn drop(&mut self) {
        if self.0.readers.exit() {
            self.0.sweep();
        }
    }
}

impl Slots<Waker> {
    /// Whether `waker` is registered already, to be woken at the end of `phase`.
    pub(super) fn is_registered(&self, index: usize, phase: u64, waker: &Waker) -> bool {
        let slot = self.slot(index);
        // Relaxed: it is the caller's own.
        slot.owner.load(Ordering::Relaxed) == registered(phase)
            && slot.get().is_some_and(|kept| kept.will_wake(waker))
    }

    /// Registers `waker` in the slot `index`, to be woken at the end of `phase` from the caller's next
    /// transition on.
    ///
    /// Returns the waker that it replaces, to be dropped when that is done. The participant may have got
    /// another slot.
    #[inline]
    pub(super) fn register(&self, index: &mut usize, phase: u64, waker: &Waker) -> Option<Waker> {
        let slot = self.slot(*index);
        if !slot.get().is_some_and(|kept| kept.will_wake(waker)) {
            return self.register_anew(index, phase, || waker.clone());
        }
        // Relaxed: nobody else writes here.
        if slot.owner.load(Ordering::Relaxed) != registered(phase) {
            slot.register(phase);
        }
        None
    }

    /// Wakes all participants that wait for the end of `phase`, in the order of their slots. A panic out of
    /// one waker comes out of this call after all others are woken.
    pub(super) fn wake(&self, phase: u64) {
        let reading = self.enter();
        wake_all(
            reading.find(|owner| owner == registered(phase)),
            Waker::wake_by_ref,
        );
    }
}

impl Slots<Arc<str>> {
    /// Says that the participant whose name is in the slot `index` owes `phase`.
    #[cold]
    pub(super) fn owe(&self, index: usize, phase: u64) {
        self.slot(index).register(phase);
    }

    /// The names of the participants that owe `phase`, in the order of their slots.
    pub(super) fn missing(&self, phase: u64) -> Vec<Arc<str>> {
        let is_missing = |owner| owner & 1 == 1 && owner <= registered(phase);
        self.enter().find(is_missing).cloned().collect()
    }
}

impl<T: Send + Sync> Slots<T> {
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
    pub(super) fn slot(&self, index: usize) -> &Slot<T> {
        self.slots.get(index).expect("a participant has a slot")
    }

    /// Puts what `make` makes into the slot `index`, and registers it for `phase`. Returns what it
    /// replaces. The participant may have got another slot.
    #[cold]
    pub(super) fn register_anew(
        &self,
        index: &mut usize,
        phase: u64,
        make: impl FnOnce() -> T,
    ) -> Option<T> {
        // Before anything is changed: it may panic.
        let content = make();
        let old = self.slot(*index);
        // Relaxed: `is_quiescent` releases it.
        old.owner.store(IDLE, Ordering::Relaxed);
        let may_change = old.get().is_none() || self.readers.is_quiescent();
        if !may_change {
            *index = self.take(*index);
        }
        let slot = self.slot(*index);
        // SAFETY: the slot was never registered since it was free, or is idle and there are no readers.
        let replaced = unsafe { slot.replace(Some(content)) };
        slot.register(phase);
        if may_change {
            replaced
        } else {
            self.retire(old)
        }
    }

    /// Frees the slot `index`, for a participant that leaves. Returns what was there, if nobody is reading
    /// it.
    pub(super) fn vacate(&self, index: usize) -> Option<T> {
        let slot = self.slot(index);
        if slot.get().is_none() {
            return self.free(slot);
        }
        self.retire(slot)
    }

    /// Idle or registered to retired, and on to free if nobody is reading.
    fn retire(&self, slot: &Slot<T>) -> Option<T> {
        // Release: pairs with `leave`.
        slot.owner.store(RETIRED, Ordering::Release);
        self.reclaim(slot).then(|| self.free(slot))?
    }

    /// Retired to idle, if nobody is reading and no other thread was first.
    fn reclaim(&self, slot: &Slot<T>) -> bool {
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

    /// Idle to free, for a thread that may change the cell.
    fn free(&self, slot: &Slot<T>) -> Option<T> {
        // SAFETY: it is empty, or was reclaimed when there was no reader.
        let content = unsafe { slot.replace(None) };
        // Release: pairs with `leave`.
        slot.owner.store(FREE, Ordering::Release);
        content
    }

    fn enter(&self) -> Reading<'_, T> {
        self.readers.enter();
        Reading(self)
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
