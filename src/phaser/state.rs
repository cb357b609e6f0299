//! The packed word of a phaser: what its bits mean, every transition, and nothing else.
//!
//! # Glossary
//!
//! The words of the barrier's `state`, and these:
//!
//! - *phase*: what a barrier calls a generation; here the parties may be others in each.
//! - *member*: a party that has registered and not left. It owes each phase one arrival.
//! - *newcomer*: a member that registered when a phase was complete but not released. It owes the
//!   next one.
//!
//! # The word
//!
//! ```text
//!  63            43  42     41 40     39              20 19               0
//! ┌────────────────┬────────┬────────┬──────────────────┬──────────────────┐
//! │ phase p        │ closed │ stage  │ parties n        │ arrivals a       │
//! └────────────────┴────────┴────────┴──────────────────┴──────────────────┘
//! ```
//!
//! | stage | meaning |
//! |---|---|
//! | open | `a` of the `n` members have arrived in phase p; `a < n`, or both are 0 |
//! | orphaned | all of p have arrived or left, the last by leaving, and one thread looks for a leader; `a` newcomers have arrived in p + 1 |
//! | complete | the same, one that waits is appointed to lead, and any that waits may |
//! | held | all of p have arrived or left, and the leader holds the release; `a` newcomers have arrived in p + 1 |
//!
//! In an orphaned phase nobody but that thread moves the stage. It is no member, or about to leave, and
//! so this is what keeps the phase from moving on meanwhile.
//!
//! # Transitions
//!
//! Each is one compare-and-swap, and these are all the writes that the word ever sees. The closed
//! bit, once set, stays; with it set, no more register, arrive, or complete a phase that is open.
//!
//! | from | to | who | name |
//! |---|---|---|---|
//! | (p, n, a) | (p, n + k, a) | `k` that join | [`State::register`] |
//! | (p, n, a), not the last | (p, n, a + 1) | a member that has not arrived | [`State::arrive`] |
//! | (p, n, n - 1) open | (p + 1, n, 0) open | the last member, now the leader: completes and releases | [`State::complete`] |
//! | (p, n, n - 1) open | (p, n, 0) held | the last member, now the leader: completes and holds the release | [`State::hold`] |
//! | (p, n, a) complete | (p + 1, n, a) open, or (p, n, a) held | a member of p, now the leader | [`State::complete`], [`State::hold`] |
//! | (p, n, a) held | (p + 1, n, a) open | the leader | [`State::release`] |
//! | (p, n, a) | (p, n, a - 1) | a member that gives up, its phase not complete | [`State::withdraw`] |
//! | (p, n, a) | (p, n - 1, a), or a - 1 if it counted there | a member that leaves | [`State::leave`] |
//! | (p, n, n - 1) open | (p, n - 1, 0) orphaned | the only member that was missing leaves, and looks for a leader | [`State::leave`] |
//! | (p, 1, 0) open | (p + 1, 0, 0) open | the last member leaves: an empty phaser rests | [`State::leave`] |
//! | (p, n, a) orphaned | (p, n, a) complete | who looked for a leader has appointed one | [`State::appoint`] |
//! | (p, n, a) complete | (p, n, a) orphaned | who was appointed stops waiting, or who appointed it finds that it did, and looks for another | [`State::orphan`], [`State::orphan_again`] |
//! | (p, n, a) orphaned | (p + 1, n, a) open, or (p + 1, n, 0) orphaned if a = n > 0 | who looked for a leader has found none | [`State::release_unled`] |
//! | any | the same, closed | anyone | [`State::close`] |
//! | any | the same | a waiter whose slot came after its arrival, an observer | [`State::publish`] |
//!
//! # No ABA
//!
//! The phase has 21 bits, so the word comes round. That does no harm: whether a transition may
//! happen depends on the present word and on who asks, and not on how the word came about. A member
//! that has not arrived in p keeps the phaser from going past p, one that has keeps it from going past
//! p + 1, and who looks for a leader of an orphaned p keeps it where it is. So these are never further
//! than one phase away from the word, and tell the phases apart by the bits that there are. Who is not a
//! member asks [`State::phase`], which has all 64.
//!
//! # Memory orderings
//!
//! As for a barrier, with `leave` on both sides: every write is a read-modify-write, so a release by
//! any one of them can be acquired after any number of others. The pairs:
//!
//! - `arrive` and `leave` (release) with `complete`, `hold` and `leave` (acquire): whoever completes a
//!   phase sees all that its members did before they arrived or left, registrations of wakers first
//!   of all.
//! - `publish` (release) with `complete`, `release`, `release_unled`, `leave`, `appoint` and `orphan`
//!   (acquire), and with the `load` after `close`: they find the slot.
//! - `complete`, `release`, `release_unled` and `leave` (release) with `load` (acquire): whoever learns
//!   that a phase was released sees all that its members did before, and all that the leader did before
//!   the release.

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// How many bits count parties, and how many count arrivals.
const COUNT_BITS: u32 = 20;
/// The largest number of parties.
pub(crate) const MAX_PARTIES: u64 = (1 << COUNT_BITS) - 1;

const ARRIVAL: u64 = 1;
const PARTY: u64 = 1 << COUNT_BITS;
const STAGE: u64 = 0b11 << (2 * COUNT_BITS);
const ORPHANED: u64 = 0b01 << (2 * COUNT_BITS);
const COMPLETE: u64 = 0b10 << (2 * COUNT_BITS);
const HELD: u64 = 0b11 << (2 * COUNT_BITS);
const CLOSED: u64 = 0b100 << (2 * COUNT_BITS);
const PHASE: u64 = 0b1000 << (2 * COUNT_BITS);
/// The phase as far as the word has it.
const PHASE_MASK: u64 = u64::MAX / PHASE;

/// How many phases go by from one note in `recent` to the next. Notes may be late.
const NOTED: u64 = 1 << 10;

/// The word of one phaser.
#[derive(Debug)]
pub(crate) struct State {
    word: CachePadded<AtomicU64>,
    /// A phase that began not long ago, with all its bits.
    recent: AtomicU64,
}

/// A value that the word had at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

/// How the word stands to a phase that the asking member owes or has arrived in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Its arrivals are being counted.
    Open,
    /// All have come or gone, and any of its members that wait may lead.
    Complete,
    /// All have come or gone, and its leader holds the release, or is being looked for.
    Held,
    /// It is over.
    Released,
}

/// What a departure did to the phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Departure {
    /// Nothing.
    Unnoticed,
    /// It released it. Nobody is left.
    Released(u64),
    /// It completed it, and the caller must find a leader.
    Orphaned(u64),
}

impl Word {
    pub(crate) fn arrived(self) -> u64 {
        self.0 & MAX_PARTIES
    }

    pub(crate) fn parties(self) -> u64 {
        (self.0 / PARTY) & MAX_PARTIES
    }

    pub(crate) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    fn is_open(self) -> bool {
        self.0 & STAGE == 0
    }

    /// The phase in which arrivals count, as far as the word has it, less `phase`.
    fn open_minus(self, phase: u64) -> u64 {
        let open = self.0 / PHASE + u64::from(!self.is_open());
        open.wrapping_sub(phase) & PHASE_MASK
    }

    /// Where `phase` is, for one of its members.
    pub(crate) fn stage_of(self, phase: u64) -> Stage {
        match self.open_minus(phase) {
            0 => Stage::Open,
            _ if (self.0 / PHASE).wrapping_sub(phase) & PHASE_MASK != 0 => Stage::Released,
            _ if self.0 & STAGE == COMPLETE => Stage::Complete,
            _ => Stage::Held,
        }
    }

    /// Whether one more arrival completes the phase: it is open, and all others have arrived.
    pub(crate) fn lacks_one(self) -> bool {
        self.is_open() && self.arrived() + 1 == self.parties()
    }

    /// The same with the next phase open, in which the newcomers have arrived.
    fn released(self) -> Word {
        Word((self.0 & !STAGE).wrapping_add(PHASE))
    }
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(0)),
            recent: AtomicU64::new(0),
        }
    }

    /// What a transition may start from, and what a wait that is polled goes by.
    #[inline]
    pub(crate) fn load(&self) -> Word {
        // Ordering: acquire, with the release of `complete`, `release` and `leave`.
        Word(self.word.load(Ordering::Acquire))
    }

    /// The phase in which arrivals count.
    pub(crate) fn phase(&self) -> u64 {
        let (word, phase) = self.load_with_phase();
        phase + u64::from(!word.is_open())
    }

    /// The word, and its phase with all bits.
    pub(crate) fn load_with_phase(&self) -> (Word, u64) {
        // Ordering: acquire, so that the loads stay in this order. Whoever noted `recent` has since
        // arrived, and the word acquires that.
        let mut recent = self.recent.load(Ordering::Acquire);
        loop {
            let word = self.load();
            let again = self.recent.load(Ordering::Acquire);
            if again == recent {
                return (
                    word,
                    recent + ((word.0 / PHASE).wrapping_sub(recent) & PHASE_MASK),
                );
            }
            // This thread was away, perhaps for long enough to see the wrong turn of the word.
            recent = again;
        }
    }

    /// Notes now and then how far the phases have come, for who is not a member.
    #[inline]
    pub(crate) fn note_release(&self, phase: u64) {
        let began = phase + 1;
        // Ordering: none. Who does not see the last note makes one too many.
        if began.saturating_sub(self.recent.load(Ordering::Relaxed)) >= NOTED {
            // Ordering: release, with the acquire of `load_with_phase`. A maximum, because one that
            // was away in between must not put it back.
            self.recent.fetch_max(began, Ordering::Release);
        }
    }

    /// (p, n, a) to (p, n + k, a), if that many fit.
    pub(crate) fn register(&self, from: Word, parties: u64) -> Result<(), Word> {
        debug_assert!(!from.is_closed() && from.parties() + parties <= MAX_PARTIES);
        // Ordering: none. A member that has not arrived has nothing to publish.
        self.swap(from, from.0 + parties * PARTY, Ordering::Relaxed)
    }

    /// (p, n, a) to (p, n, a + 1), for a member that has not arrived and is not the last.
    ///
    /// Fails with the present word if that is no longer `from`, as do all that take one.
    #[inline]
    pub(crate) fn arrive(&self, from: Word) -> Result<(), Word> {
        debug_assert!(!from.is_closed() && !from.lacks_one());
        // Ordering: release, with the acquire of `complete`, `hold` and `leave`. On failure acquire,
        // here and below, as for `load`.
        self.swap(from, from.0 + ARRIVAL, Ordering::Release)
    }

    /// Completes the phase if it is open and lacks one, and releases it: (p + 1, n, ...) open.
    #[inline]
    pub(crate) fn complete(&self, from: Word) -> Result<(), Word> {
        debug_assert!(from.0 & STAGE == COMPLETE || from.lacks_one());
        let Word(to) = Self::all_arrived(from).released();
        // Ordering: acquire, with the release of `arrive`, `leave` and `publish`; release, with the
        // acquire of `load`.
        self.swap(from, to, Ordering::AcqRel)
    }

    /// Completes the phase if it is open and lacks one, and holds the release: (p, n, ...) held.
    pub(crate) fn hold(&self, from: Word) -> Result<(), Word> {
        debug_assert!(from.0 & STAGE == COMPLETE || from.lacks_one());
        let Word(to) = Self::all_arrived(from);
        // Ordering: acquire, with the release of `arrive` and `leave`.
        self.swap(from, to & !STAGE | HELD, Ordering::Acquire)
    }

    /// With no arrivals but those of newcomers.
    fn all_arrived(word: Word) -> Word {
        if word.is_open() {
            Word(word.0 & !MAX_PARTIES)
        } else {
            word
        }
    }

    /// (p, n, a) held to (p + 1, n, a) open, for the leader that holds the release.
    pub(crate) fn release(&self) {
        let mut word = self.load();
        loop {
            debug_assert!(word.0 & STAGE == HELD);
            // Ordering: acquire, with the release of `publish`; release, with the acquire of `load`.
            match self.swap(word, word.released().0, Ordering::AcqRel) {
                Ok(()) => return,
                Err(present) => word = present,
            }
        }
    }

    /// (p, n, a) to (p, n, a - 1), for a member that has arrived in `phase`.
    ///
    /// Returns whether the arrival was taken back; if not, the phase is complete.
    pub(crate) fn withdraw(&self, phase: u64) -> bool {
        let mut word = self.load();
        while word.stage_of(phase) == Stage::Open {
            // Ordering: none. An arrival that never was has nothing to publish.
            match self.swap(word, word.0 - ARRIVAL, Ordering::Relaxed) {
                Ok(()) => return true,
                Err(present) => word = present,
            }
        }
        false
    }

    /// Takes a member out that owes `phase` or, if it `has_arrived`, was counted in it.
    pub(crate) fn leave(&self, phase: u64, has_arrived: bool) -> Departure {
        let mut word = self.load();
        loop {
            let stage = word.stage_of(phase);
            let counts = has_arrived && stage == Stage::Open;
            let less = Word(word.0 - PARTY - if counts { ARRIVAL } else { 0 });
            // It owes the open phase then: its own, or the one after if it has not seen that end.
            let open = if stage == Stage::Released {
                phase + 1
            } else {
                phase
            };
            let (to, departure) = if !word.lacks_one() || word.is_closed() || counts {
                (less, Departure::Unnoticed)
            } else if less.parties() == 0 {
                (less.released(), Departure::Released(open))
            } else {
                let all_arrived = Self::all_arrived(less).0;
                (Word(all_arrived | ORPHANED), Departure::Orphaned(open))
            };
            // Ordering: release, with the acquire of `complete`, `hold` and `leave`; acquire, with
            // the release of `arrive`, `leave` and `publish`, in case it completes the phase; release,
            // with the acquire of `load`, in case it releases it.
            match self.swap(word, to.0, Ordering::AcqRel) {
                Ok(()) => return departure,
                Err(present) => word = present,
            }
        }
    }

    /// Orphaned to complete, for who has appointed a leader.
    pub(crate) fn appoint(&self) {
        let mut word = self.load();
        loop {
            debug_assert!(word.0 & STAGE == ORPHANED);
            // Ordering: acquire, with the release of `publish`: whom this does not let lead, it wakes; and
            // who stopped to wait before this is seen. Release, with the acquire of `load`: what a member
            // that leads writes to its seat comes after the appointment.
            match self.swap(word, word.0 & !STAGE | COMPLETE, Ordering::AcqRel) {
                Ok(()) => return,
                Err(present) => word = present,
            }
        }
    }

    /// Complete to orphaned, for a member of `phase` that was appointed and waits no longer. Returns
    /// whether it must look for another.
    pub(crate) fn orphan(&self, phase: u64) -> bool {
        let mut word = self.load();
        loop {
            let turned = match word.stage_of(phase) {
                // Ordering: acquire, with the release of `arrive` and `publish`.
                Stage::Complete => self
                    .swap(word, word.0 & !STAGE | ORPHANED, Ordering::Acquire)
                    .map(|()| true),
                // Who appointed it will look again, and see that it does not wait.
                Stage::Held => self.publish(word).map(|()| false),
                Stage::Open | Stage::Released => return false,
            };
            match turned {
                Ok(orphaned) => return orphaned,
                Err(present) => word = present,
            }
        }
    }

    /// Complete to orphaned, for who has appointed one for `phase` that may have stopped to wait. Returns
    /// the phase for which it must look again.
    ///
    /// It is no member. So it may take a later phase for this one, if that comes at the right turn of the
    /// word; but that is as good, since it asks for the phase when that cannot move on any more.
    pub(crate) fn orphan_again(&self, phase: u64) -> Option<u64> {
        loop {
            let (word, present) = self.load_with_phase();
            if present != phase || word.0 & STAGE != COMPLETE {
                return None;
            }
            // Ordering: acquire, with the release of `arrive` and `publish`.
            if self
                .swap(word, word.0 & !STAGE | ORPHANED, Ordering::Acquire)
                .is_ok()
            {
                return Some(self.load_with_phase().1);
            }
        }
    }

    /// Releases the orphaned phase, for who has found no leader. Returns whether the next one is
    /// orphaned then: if all members are newcomers that have arrived.
    pub(crate) fn release_unled(&self) -> bool {
        let mut word = self.load();
        loop {
            debug_assert!(word.0 & STAGE == ORPHANED);
            let mut to = word.released();
            let is_full = to.parties() > 0 && to.arrived() == to.parties() && !to.is_closed();
            if is_full {
                to = Word(Self::all_arrived(to).0 | ORPHANED);
            }
            // Ordering: acquire, with the release of `arrive`, `leave` and `publish`; release, with the
            // acquire of `load`.
            match self.swap(word, to.0, Ordering::AcqRel) {
                Ok(()) => return is_full,
                Err(present) => word = present,
            }
        }
    }

    /// Sets the closed bit. Fails with no word if that had been done.
    ///
    /// On success the open phase, which will not be completed any more.
    pub(crate) fn close(&self) -> Option<u64> {
        let mut word = self.load();
        while !word.is_closed() {
            // Ordering: none. `phase` loads the word after this, and acquires the release of `arrive` and
            // `publish`. Who finds it closed is not promised anything.
            match self.swap(word, word.0 | CLOSED, Ordering::Relaxed) {
                Ok(()) => return Some(self.phase()),
                Err(present) => word = present,
            }
        }
        None
    }

    /// The word to itself, for a waiter whose slot must be found although no arrival comes after it.
    pub(crate) fn publish(&self, from: Word) -> Result<(), Word> {
        // Ordering: release, with the acquire of `complete`, `release`, `leave` and `close`.
        self.swap(from, from.0, Ordering::Release)
    }

    #[inline]
    fn swap(&self, from: Word, to: u64, success: Ordering) -> Result<(), Word> {
        // Weak, because every caller loops anyway.
        match self
            .word
            .compare_exchange_weak(from.0, to, success, Ordering::Acquire)
        {
            Ok(_) => Ok(()),
            Err(present) => Err(Word(present)),
        }
    }
}
