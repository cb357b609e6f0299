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
//! | free | idle | a new member | [`Seat::take`] |
//! | idle, held(q) | held(p) | the member, before it arrives in p or publishes | [`Seats::hold`] |
//! | held(p) | busy(p), then held(p) | the member, which changes the waker | [`Seats::hold_anew`] |
//! | held(p), busy(p) | the same, appointed | who looks for a leader of p | [`Seats::appoint`] |
//! | held(p) | idle | the member, which does not wait any longer | [`Seat::unhold`], [`Seat::stop`] |
//! | idle, held(p), busy(p) | retired | the member, which leaves, or goes to another seat | [`Seats::vacate`], [`Seats::hold_anew`] |
//! | retired | idle | the member or the last reader, to empty it | [`Seats::reclaim`] |
//! | idle | retired | either of them, if someone has begun to read in between | [`Seats::reclaim`] |
//! | idle | free | either of them | [`Seats::empty`] |
//!
//! Held(p) means that the member waits for the end of p with the waker that is there, busy(p) that it
//! waits and has no waker there at the moment.
//!
//! # The appointed
//!
//! Who looks for a leader of an orphaned phase appoints one that waits. It is answerable for the phase from
//! then on: when it is polled, it leads, unless another that was polled before it did; when it stops to
//! wait, it makes the phase orphaned again and looks for another. It cannot do that while the phase still
//! is orphaned; so who has appointed it looks again, once the phase is complete.
//!
//! # Readers
//!
//! Who reads wakers counts among the [`Readers`] meanwhile. A reader goes through all seats and wakes
//! those that are held(p). A waker may be changed only if no reader can be looking at it: so the member
//! first makes the seat busy or retired, and then asks whether there are readers, by a read-modify-write
//! on their number. If that is 0, who starts reading later comes after it in the order of that number,
//! and finds the seat so. If not, the member never waits: it leaves the seat as it is, retired, takes
//! another, and the last reader to end empties it. A seat without a waker has never been held, so nobody
//! reads it.
//!
//! While a reader is stopped, each member that leaves or changes its waker leaves a seat behind until the
//! reader goes on.
//!
//! # Invariants
//!
//! 1. Free and retired are left by compare-and-swap. The other states are left by their member alone; but
//!    held and busy may become appointed at any time that their phase is orphaned.
//! 2. A waker is changed only by who moved its seat to busy or, from retired, to idle, and then found no
//!    readers, or found it empty.
//! 3. A free seat has no waker.
//! 4. A member never holds its seat for an earlier phase than before.
//!
//! # Memory orderings
//!
//! - `hold` (release) with `waker_of` and `appoint` (acquire): a reader that finds a seat held sees its
//!   waker.
//! - `Readers::are_none` (release) with `Readers::enter` (acquire): who begins to read later finds the
//!   seat busy or retired.
//! - `Readers::exit` (release) with `are_none` (acquire): all reading is over; and the other way round:
//!   the last reader finds the seats that were left to it.
//! - the stores of free and retired (release) with the compare-and-swaps that leave them (acquire).
//! - `appoint` (release) with `stop` (acquire): who was appointed and stops to wait finds the word
//!   orphaned, or what it became after.

use core::{mem, ops::Range, task::Waker};

use crossbeam_utils::CachePadded;

use crate::{
    segments::Segments,
    sync::{AtomicU64, Ordering, UnsafeCell},
    wake::wake_all,
};

/// Nobody's. The lowest three bits of this state and the next two are zero.
const FREE: u64 = 0b00000;
/// A member's that does not wait.
const IDLE: u64 = 0b01000;
/// Whose waker someone may still be reading.
const RETIRED: u64 = 0b10000;

/// What it takes from held to busy and back.
const CHANGE: u64 = 0b011;
/// Of a held or busy seat whose member is appointed.
const APPOINTED: u64 = 0b100;

/// A member's that waits for the end of `phase`.
const fn held(phase: u64) -> u64 {
    phase << 3 | 0b001
}

/// The same, while it puts another waker there.
const fn busy(phase: u64) -> u64 {
    phase << 3 | 0b010
}

/// Whether it is held or busy, and appointed or not.
const fn waits(owner: u64, phase: u64) -> bool {
    owner & !APPOINTED == held(phase) || owner & !APPOINTED == busy(phase)
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
    /// The seat is the caller's, and no reader can be looking at it: invariant 2.
    unsafe fn replace(&self, waker: Option<Waker>) -> Option<Waker> {
        self.waker.with_mut(|cell| {
            // SAFETY: nobody else looks at it, as the caller promises.
            mem::replace(unsafe { &mut *cell }, waker)
        })
    }

    /// The waker, if the seat is held for one of `phases`. For a reader.
    #[inline]
    fn waker_of(&self, phases: &Range<u64>) -> Option<&Waker> {
        // Ordering: acquire, with the release of `hold`.
        let owner = self.owner.load(Ordering::Acquire);
        if owner & CHANGE != held(0) || !phases.contains(&(owner >> 3)) {
            return None;
        }
        self.waker.with(|cell| {
            // SAFETY: the seat was held after this reader began, so it is not changed until that ends.
            unsafe { &*cell }.as_ref()
        })
    }

    /// Whether it never had a waker since it was free. For its member.
    fn is_unused(&self) -> bool {
        self.waker.with(|cell| {
            // SAFETY: the seat is the member's, and nobody else changes its waker.
            unsafe { &*cell }.is_none()
        })
    }

    /// Held to idle, for a member whose phase is not orphaned or that leads it.
    pub(crate) fn unhold(&self) {
        // Ordering: none. A reader that comes too early wakes once too often.
        self.owner.store(IDLE, Ordering::Relaxed);
    }

    /// Held to idle. Returns whether it was appointed for `phase`.
    #[must_use]
    pub(crate) fn stop(&self, phase: u64) -> bool {
        // Ordering: acquire, with the release of `appoint`: who was appointed finds the word orphaned, or
        // what it became after.
        self.owner.swap(IDLE, Ordering::Acquire) == held(phase) | APPOINTED
    }

    /// Whether its member is appointed to lead `phase`.
    fn is_appointed(&self, phase: u64) -> bool {
        // Ordering: acquire, with the release of the move in `hold_anew`.
        let owner = self.owner.load(Ordering::Acquire);
        waits(owner, phase) && owner & APPOINTED != 0
    }

    /// Appoints its member, if that waits for the end of `phase`.
    fn appoint(&self, phase: u64) -> bool {
        // Ordering: acquire, here and below, as for `is_appointed`.
        let mut owner = self.owner.load(Ordering::Acquire);
        while waits(owner, phase) {
            // Ordering: release, with the acquire of `stop`.
            match self.owner.compare_exchange(
                owner,
                owner | APPOINTED,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(present) => owner = present,
            }
        }
        false
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
                // Ordering: acquire, with the release of `are_none`: the sweep finds what is retired.
                .compare_exchange(LEFTOVERS, 0, Ordering::Acquire, Ordering::Relaxed)
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
    /// How often a member has gone to another seat.
    moves: AtomicU64,
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
            moves: AtomicU64::new(0),
            meeting: Meeting::new(),
        }
    }

    /// A seat for a new member, perhaps the one at `hint`.
    pub(crate) fn take(&self, hint: usize) -> usize {
        self.seats
            .find_or_grow(hint, |seat| seat.take().then_some(()))
            .0
    }

    /// The seat at `index`, which is the caller's.
    pub(crate) fn seat(&self, index: usize) -> &Seat {
        self.seats.get(index).expect("a member has a seat")
    }

    /// Whether `waker` is there already, to be woken at the end of `phase`.
    pub(crate) fn holds(&self, index: usize, phase: u64, waker: &Waker) -> bool {
        let seat = self.seat(index);
        // Ordering: none. It is the caller's own.
        seat.owner.load(Ordering::Relaxed) == held(phase) && seat.will_wake(waker)
    }

    /// Leaves `waker` at the seat `index`, to be woken at the end of `phase` from the next arrival or
    /// publication on.
    ///
    /// Returns the waker that was there, to be dropped when that is done. The member may have got another
    /// seat.
    #[inline]
    pub(crate) fn hold(&self, index: &mut usize, phase: u64, waker: &Waker) -> Option<Waker> {
        let seat = self.seat(*index);
        if !seat.will_wake(waker) {
            return self.hold_anew(index, phase, waker);
        }
        // Ordering: none. Who else writes here changes nothing else.
        if seat.owner.load(Ordering::Relaxed) & !APPOINTED != held(phase) {
            // Ordering: release, with the acquire of `waker_of`.
            seat.owner.store(held(phase), Ordering::Release);
        }
        None
    }

    #[cold]
    fn hold_anew(&self, index: &mut usize, phase: u64, waker: &Waker) -> Option<Waker> {
        // Before anything is changed: it may panic.
        let waker = waker.clone();
        let seat = self.seat(*index);
        if seat.is_unused() {
            // SAFETY: nobody reads a seat that was never held.
            let none = unsafe { seat.replace(Some(waker)) };
            // Ordering: release, with the acquire of `waker_of`.
            seat.owner.store(held(phase), Ordering::Release);
            return none;
        }
        // Ordering: none, three times. `are_none` releases it.
        if seat.owner.load(Ordering::Relaxed) & !APPOINTED == held(phase) {
            seat.owner.fetch_xor(CHANGE, Ordering::Relaxed);
        } else {
            seat.owner.store(busy(phase), Ordering::Relaxed);
        }
        if self.readers.are_none() {
            // SAFETY: the seat is busy, and nobody is reading.
            let old = unsafe { seat.replace(Some(waker)) };
            // Ordering: release, with the acquire of `waker_of`.
            seat.owner.fetch_xor(CHANGE, Ordering::Release);
            return old;
        }
        let find = |seat| Seat::take(seat).then_some(seat);
        let (another, new) = self.seats.find_or_grow(*index, find);
        // SAFETY: nobody reads a seat that was free.
        let none = unsafe { new.replace(Some(waker)) };
        debug_assert!(none.is_none());
        // Ordering: release, with the acquire of `waker_of`.
        new.owner.store(held(phase), Ordering::Release);
        *index = another;
        // Ordering: release, with the acquire in `find`.
        self.moves.fetch_add(1, Ordering::Release);
        // Ordering: release, with the acquire of `leave` and of `appoint`.
        if seat.owner.swap(RETIRED, Ordering::Release) & APPOINTED != 0 {
            // Ordering: none. A member is appointed, wherever it sits.
            new.owner.fetch_or(APPOINTED, Ordering::Relaxed);
        }
        self.reclaim(seat).then(|| self.empty(seat))?
    }

    /// Appoints one that waits for the end of `phase` to lead it. Returns false if none does.
    pub(crate) fn appoint(&self, phase: u64) -> bool {
        self.find(|seat| seat.appoint(phase))
    }

    /// Whether one that waits for the end of `phase` is appointed to lead it.
    pub(crate) fn has_appointed(&self, phase: u64) -> bool {
        self.find(|seat| seat.is_appointed(phase))
    }

    fn find(&self, is_it: impl Fn(&Seat) -> bool) -> bool {
        loop {
            // Ordering: acquire, here and below, with the release in `hold_anew`.
            let moves = self.moves.load(Ordering::Acquire);
            if self.seats.iter().any(&is_it) {
                return true;
            }
            // A member may have gone from a seat not seen yet to one that was not its own.
            if moves == self.moves.load(Ordering::Acquire) {
                return false;
            }
        }
    }

    /// Gives the seat `index` back, for a member that leaves. Returns the waker that was there, if
    /// nobody is reading it.
    pub(crate) fn vacate(&self, index: usize) -> Option<Waker> {
        let seat = self.seat(index);
        if seat.is_unused() {
            return self.empty(seat);
        }
        // Ordering: release, with the acquire of `leave`.
        seat.owner.store(RETIRED, Ordering::Release);
        self.reclaim(seat).then(|| self.empty(seat))?
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
        // SAFETY: it is unused, or was taken back from retired when there was no reader.
        let waker = unsafe { seat.replace(None) };
        // Ordering: release, with the acquire of `leave`.
        seat.owner.store(FREE, Ordering::Release);
        waker
    }

    /// Wakes all members that wait for the end of one of `phases`. A panic out of one waker comes out of
    /// this call after all others are woken, here and below.
    pub(crate) fn wake(&self, phases: Range<u64>) {
        let _reading = self.read();
        // A member that is polled from within this, and changes its waker, must take another seat. It is
        // not woken there once more.
        let seats = self.seats.iter().take(self.seats.count());
        wake_all(
            seats.filter_map(|seat| seat.waker_of(&phases)),
            Waker::wake_by_ref,
        );
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
        // Ordering: none. `reclaim` decides.
        let seats = self.seats.iter();
        let retired = seats.filter(|seat| seat.owner.load(Ordering::Relaxed) == RETIRED);
        let reclaimed = retired.filter(|seat| self.reclaim(seat));
        // To drop a waker may panic, as to wake it may.
        wake_all(reclaimed.filter_map(|seat| self.empty(seat)), drop);
    }
}
