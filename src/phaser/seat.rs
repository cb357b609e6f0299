//! The seats of a phaser's members, in which they leave their wakers.
//!
//! A seat is a member's from its registration until it leaves, so nothing is claimed in a phase, and
//! its waker stays as long as the member comes with the same: then a phase costs a member one
//! read-modify-write, its arrival.
//!
//! # A seat's life
//!
//! A seat is an owner word and a waker. Only its member writes to either; those who release a phase
//! read both. The word says whether they shall:
//!
//! | from | to | who | name |
//! |---|---|---|---|
//! | free | idle | a new member | [`Seats::take`] |
//! | idle, held(q) | held(p) | the member, before it arrives in p or publishes | [`Seats::hold`] |
//! | held(p) | idle | the member, if it is not to be woken at the end of p | [`Seat::unhold`] |
//! | idle, held(p) | retired | the member, which wants to change the waker or leaves | [`Seats::retire`] |
//! | retired | idle | the member, if nobody is reading: it may change the waker | [`Seats::reclaim`] |
//! | retired | idle | the last reader, for a member that went elsewhere meanwhile | [`Seats::reclaim`] |
//! | idle | retired | either of them, if someone has begun to read in between | [`Seats::reclaim`] |
//! | idle | free | a member that leaves, the last reader | [`Seats::empty`] |
//!
//! # Readers
//!
//! Who reads wakers counts among the [`Readers`] meanwhile. A reader goes through all seats and wakes
//! those that are held(p); it changes nothing. A waker may be changed only if no reader can be looking at
//! it: so the member first retires the seat, and then asks whether there are readers, by a
//! read-modify-write on their number. If that is 0, who starts reading later comes after it in the
//! order of that number, and finds the seat retired. If not, the member never waits: it leaves the seat
//! as it is and takes another, and the last reader to end empties it.
//!
//! # Invariants
//!
//! 1. Free and retired are left by compare-and-swap, idle and held by their member alone.
//! 2. A waker is changed only by who moved its seat from retired to idle and then found no readers, or
//!    moved it from free to idle.
//! 3. A free seat has no waker.
//! 4. A member never holds its seat for an earlier phase than before.
//!
//! # Memory orderings
//!
//! - `hold` (release) with `wake` (acquire): a reader that finds a seat held sees its waker.
//! - `Readers::are_none` (release) with `Readers::enter` (acquire): who begins to read later finds the
//!   seat retired.
//! - `Readers::exit` (release) with `are_none` (acquire): all reading is over.
//! - the stores of free and retired (release) with the compare-and-swaps that leave them (acquire).

use core::{mem, ops::Range, task::Waker};

use crossbeam_utils::CachePadded;

use crate::{
    segments::Segments,
    sync::{AtomicU64, Ordering, UnsafeCell},
    wake::wake_all,
};

/// Nobody's. The lowest bit of this state and the next two is zero.
const FREE: u64 = 0b000;
/// A member's that does not wait.
const IDLE: u64 = 0b010;
/// Whose waker someone may still be reading.
const RETIRED: u64 = 0b100;

/// A member's that waits for the end of `phase`.
const fn held(phase: u64) -> u64 {
    phase << 1 | 1
}

/// The place of one member.
pub(crate) struct Seat {
    owner: AtomicU64,
    waker: UnsafeCell<Option<Waker>>,
}

// SAFETY: `waker` is read by many threads or changed by one: invariant 2.
unsafe impl Sync for Seat {}

impl Default for Seat {
    fn default() -> Self {
        Self {
            owner: AtomicU64::new(FREE),
            waker: UnsafeCell::new(None),
        }
    }
}

impl Seat {
    /// Whether it has such a waker. For its member.
    #[inline]
    fn will_wake(&self, waker: &Waker) -> bool {
        self.waker.with(|cell| {
            // SAFETY: the seat is the member's, and nobody else changes its waker.
            let kept = unsafe { &*cell };
            kept.as_ref().is_some_and(|kept| kept.will_wake(waker))
        })
    }

    /// Puts `waker` in the place of the one that is returned.
    ///
    /// # Safety
    ///
    /// The caller has moved the seat from retired or free to idle, and no reader is left.
    unsafe fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        self.waker.with_mut(|cell| {
            // SAFETY: readers look at held seats alone, and those that found it held are gone.
            mem::replace(unsafe { &mut *cell }, waker)
        })
    }

    /// The waker, if the seat is held for one of `phases`. For a reader.
    #[inline]
    fn waker_of(&self, phases: &Range<u64>) -> Option<&Waker> {
        // Ordering: acquire, with the release of `hold`.
        let owner = self.owner.load(Ordering::Acquire);
        if owner & 1 == 0 || !phases.contains(&(owner >> 1)) {
            return None;
        }
        self.waker.with(|cell| {
            // SAFETY: the seat was held after this reader began, so it is not changed until that ends.
            unsafe { &*cell }.as_ref()
        })
    }

    /// Held to idle.
    pub(crate) fn unhold(&self) {
        // Ordering: none. A reader that comes too early wakes once too often.
        self.owner.store(IDLE, Ordering::Relaxed);
    }

    /// Free to idle.
    fn take(&self) -> bool {
        // Ordering: none. A look that leaves the line of a taken seat where it is.
        self.owner.load(Ordering::Relaxed) == FREE && self.leave(FREE, IDLE)
    }

    fn leave(&self, from: u64, to: u64) -> bool {
        // Ordering: acquire, with the release of who stored `from`.
        self.owner
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

/// How many are reading wakers, and whether a seat was retired meanwhile.
#[derive(Debug)]
struct Readers(CachePadded<AtomicU64>);

/// Added by one reader; the lowest bit says that a seat was retired.
const READER: u64 = 2;
const LEFTOVERS: u64 = 1;

impl Readers {
    fn enter(&self) {
        // Ordering: acquire, with the release of `are_none`: a seat that was retired before is seen
        // to be.
        self.0.fetch_add(READER, Ordering::Acquire);
    }

    /// Returns whether there may be seats to empty, and nobody is left who reads them.
    fn exit(&self) -> bool {
        // Ordering: release, with the acquire of `are_none`.
        let before = self.0.fetch_sub(READER, Ordering::Release);
        before == READER | LEFTOVERS
            && self
                .0
                // Ordering: none. `are_none` decides on each seat.
                .compare_exchange(LEFTOVERS, 0, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether nobody is reading a seat that the caller has retired. If not, the last reader will see
    /// to it.
    fn are_none(&self) -> bool {
        // Ordering: none. The swap decides.
        let mut readers = self.0.load(Ordering::Relaxed);
        loop {
            let none = readers < READER;
            let to = if none { readers } else { readers | LEFTOVERS };
            // Ordering: acquire, with the release of `exit`; release, with the acquire of `enter`.
            match self
                .0
                .compare_exchange_weak(readers, to, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return none,
                Err(present) => readers = present,
            }
        }
    }
}

/// How the leader of a phase and a helper share the seats: the leader goes forwards, the helper
/// backwards, until they meet.
///
/// There is one leader at a time, and one helper: neither has arrived in the next phase, so that cannot
/// end before both have. Who does not see how far the other has come goes on for longer, and at worst
/// wakes a member twice.
#[derive(Debug)]
struct Meeting {
    /// One more than the phase whose leader is at work and has no help, or 0.
    asks: CachePadded<AtomicU64>,
    /// The seat that the leader has come to.
    front: CachePadded<AtomicU64>,
    /// The seat from which on the helper has been at all of them.
    back: CachePadded<AtomicU64>,
}

impl Meeting {
    fn new() -> Self {
        Self {
            asks: CachePadded::new(AtomicU64::new(0)),
            front: CachePadded::new(AtomicU64::new(0)),
            back: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// For the leader of `phase`, before it begins.
    fn ask(&self, phase: u64) {
        // Ordering: none, here and below. A helper that finds the ends as they were before, or whose own
        // is overwritten here, helps less; and what either has done needs no looking at.
        self.back.store(u64::MAX, Ordering::Relaxed);
        self.front.store(0, Ordering::Relaxed);
        self.asks.store(phase + 1, Ordering::Relaxed);
    }

    /// For the leader, once it has ended.
    fn ask_no_more(&self) {
        // Help that comes too late finds nothing to do.
        if self.asks.load(Ordering::Relaxed) != 0 {
            self.asks.store(0, Ordering::Relaxed);
        }
    }

    /// Whether a member of `phase` might help.
    #[inline]
    fn is_asked(&self, phase: u64) -> bool {
        // `offer` decides.
        self.asks.load(Ordering::Relaxed) == phase + 1
    }

    /// Whether a member of `phase` is the one that helps.
    fn offer(&self, phase: u64) -> bool {
        self.asks
            .compare_exchange(phase + 1, 0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// For the leader that has come to `seat`: whether the helper has not.
    fn goes_on(&self, seat: usize) -> bool {
        self.front.store(seat as u64, Ordering::Relaxed);
        (seat as u64) < self.back.load(Ordering::Relaxed)
    }

    /// For the helper that has come to `seat`, and been at all after it: whether the leader has not.
    fn goes_back(&self, seat: usize) -> bool {
        self.back.store(seat as u64 + 1, Ordering::Relaxed);
        self.front.load(Ordering::Relaxed) < seat as u64
    }
}

/// All seats of a phaser.
pub(crate) struct Seats {
    seats: Segments<Seat>,
    readers: Readers,
    meeting: Meeting,
}

/// One who reads wakers.
struct Reading<'a>(&'a Seats);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if self.0.readers.exit() {
            self.0.sweep();
        }
    }
}

impl Seats {
    pub(crate) fn new() -> Self {
        Self {
            seats: Segments::new(),
            readers: Readers(CachePadded::new(AtomicU64::new(0))),
            meeting: Meeting::new(),
        }
    }

    /// A seat for a new member, perhaps the one at `hint`.
    pub(crate) fn take(&self, hint: usize) -> usize {
        self.seats.claim(hint, Seat::take).0
    }

    /// The seat at `index`, which is the caller's.
    pub(crate) fn seat(&self, index: usize) -> &Seat {
        self.seats.get(index).expect("a member has a seat")
    }

    /// Leaves `waker` at the seat `index`, to be woken at the end of `phase` from the next arrival or
    /// publication on. Returns the seat that it is at now.
    #[inline]
    #[must_use]
    pub(crate) fn hold(&self, index: usize, phase: u64, waker: &Waker) -> usize {
        let seat = self.seat(index);
        if seat.will_wake(waker) {
            // Ordering: release, with the acquire of `waker_of`.
            seat.owner.store(held(phase), Ordering::Release);
            return index;
        }
        self.hold_anew(index, phase, waker)
    }

    /// Whether `waker` is there already, to be woken at the end of `phase`.
    pub(crate) fn holds(&self, index: usize, phase: u64, waker: &Waker) -> bool {
        let seat = self.seat(index);
        // Ordering: none. It is the caller's own.
        seat.owner.load(Ordering::Relaxed) == held(phase) && seat.will_wake(waker)
    }

    /// Whether anyone waits for the end of `phase`.
    pub(crate) fn are_held(&self, phase: u64) -> bool {
        // Ordering: none. Who arrived before the caller read the word is seen.
        let mut owners = self
            .seats
            .iter()
            .map(|seat| seat.owner.load(Ordering::Relaxed));
        owners.any(|owner| owner == held(phase))
    }

    #[cold]
    fn hold_anew(&self, index: usize, phase: u64, waker: &Waker) -> usize {
        // Before anything is changed: it may panic.
        let waker = waker.clone();
        let (index, seat) = if self.retire(index) {
            (index, self.seat(index))
        } else {
            self.seats.claim(index, Seat::take)
        };
        // SAFETY: `retire` says that nobody is reading, and nobody ever reads a seat that was free.
        let old = unsafe { seat.replace(Some(waker)) };
        // Ordering: release, with the acquire of `waker_of`.
        seat.owner.store(held(phase), Ordering::Release);
        drop(old);
        index
    }

    /// Gives the seat `index` back, for a member that leaves. Returns the waker that was there, if
    /// nobody is reading it.
    pub(crate) fn vacate(&self, index: usize) -> Option<Waker> {
        if self.retire(index) {
            self.empty(self.seat(index))
        } else {
            None
        }
    }

    /// Retires the seat `index`, and takes it back as idle if nobody is reading; else it is not the
    /// caller's any longer.
    fn retire(&self, index: usize) -> bool {
        let seat = self.seat(index);
        // Ordering: release, with the acquire of `leave`.
        seat.owner.store(RETIRED, Ordering::Release);
        self.reclaim(seat)
    }

    /// Retired to idle, if nobody is reading and nobody else was first.
    fn reclaim(&self, seat: &Seat) -> bool {
        // The first look sees to it that the last reader finds the seat retired. The second is the one
        // that counts: no reader that comes after it finds the seat held.
        while self.readers.are_none() && seat.leave(RETIRED, IDLE) {
            if self.readers.are_none() {
                return true;
            }
            // Ordering: release, with the acquire of `leave`.
            seat.owner.store(RETIRED, Ordering::Release);
        }
        false
    }

    /// Idle to free, for who may change the waker.
    fn empty(&self, seat: &Seat) -> Option<Waker> {
        // SAFETY: both callers have taken it back from retired while there was no reader.
        let waker = unsafe { seat.replace(None) };
        // Ordering: release, with the acquire of `leave`.
        seat.owner.store(FREE, Ordering::Release);
        waker
    }

    /// Wakes all members that wait for the end of one of `phases`. A panic out of one waker comes out of
    /// this call after all others are woken, here and below.
    pub(crate) fn wake(&self, phases: Range<u64>) {
        let _reading = self.read();
        let wakers = self.seats.iter().filter_map(|seat| seat.waker_of(&phases));
        wake_all(wakers, Waker::wake_by_ref);
    }

    /// Wakes all members that wait for the end of `phase`, for its leader that has released it and has not
    /// arrived in the next; in the order of the seats and, perhaps, with [help](Self::help).
    pub(crate) fn release(&self, phase: u64) {
        let _reading = self.read();
        self.meeting.ask(phase);
        let seats = self.seats.iter().enumerate();
        let wakers = seats
            .take_while(|&(index, _)| self.meeting.goes_on(index))
            .filter_map(|(_, seat)| seat.waker_of(&(phase..phase + 1)));
        wake_all(wakers, Waker::wake_by_ref);
        self.meeting.ask_no_more();
    }

    /// Does the rest of [`release`](Self::release) from the other end, for a member of `phase` that finds
    /// it released while the leader is still at work. (`Slab::help` says why.)
    #[inline]
    pub(crate) fn help(&self, phase: u64) {
        if self.meeting.is_asked(phase) {
            self.release_backwards(phase);
        }
    }

    #[cold]
    fn release_backwards(&self, phase: u64) {
        // One helps: those that it wakes, perhaps within this call, have other things to do.
        if self.meeting.offer(phase) {
            let _reading = self.read();
            let seats = self.seats.iter_backwards();
            let wakers = seats
                .take_while(|&(index, _)| self.meeting.goes_back(index))
                .filter_map(|(_, seat)| seat.waker_of(&(phase..phase + 1)));
            wake_all(wakers, Waker::wake_by_ref);
        }
    }

    fn read(&self) -> Reading<'_> {
        self.readers.enter();
        Reading(self)
    }

    /// Empties the seats that were retired while others read.
    #[cold]
    fn sweep(&self) {
        for seat in self.seats.iter() {
            // Ordering: none. `reclaim` decides.
            if seat.owner.load(Ordering::Relaxed) == RETIRED && self.reclaim(seat) {
                drop(self.empty(seat));
            }
        }
    }
}
