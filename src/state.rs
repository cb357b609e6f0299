//! The packed word: what its bits mean, every transition, and nothing else.
//!
//! # Glossary
//!
//! - *party*: one of the `n` that make a generation.
//! - *arrival*: a party that has been counted.
//! - *generation*: one meeting of `n` parties; also its number, counted from 0.
//! - *complete*: all `n` have arrived. From then on nobody withdraws.
//! - *leader*: the arrival that completes its generation.
//! - *release*: the end of a generation, when its waiters may go on. The leader does it, at once or,
//!   if it *holds* the release, later.
//! - *withdraw*: take an arrival back, before its generation is complete.
//!
//! # The word
//!
//! ```text
//!  63                      shift                     0
//! ┌─────────────────────────────┬─────────────────────┐
//! │  generation g               │  arrivals a         │
//! └─────────────────────────────┴─────────────────────┘
//! ```
//!
//! | a | meaning |
//! |---|---|
//! | 0 to n - 1 | generation g is open, and `a` have arrived in it |
//! | n to 2n - 1 | generation g is complete, its leader holds the release, and `a - n` have arrived in generation g + 1 |
//!
//! `shift` is the number of bits that `2n - 1` needs, so the generation has all the others. A full
//! turn of the word takes at least 2^62 arrivals: at one a nanosecond, 146 years. A stale
//! compare-and-swap can therefore not succeed by accident (no ABA).
//!
//! # Transitions
//!
//! Each is one compare-and-swap, and these are all the writes that the word ever sees.
//!
//! | from | to | who | name |
//! |---|---|---|---|
//! | (g, a), a + 1 not n nor 2n | (g, a + 1) | a party that is not the last | [`State::arrive`] |
//! | (g, n - 1) | (g + 1, 0) | the last party, now the leader: completes and releases | [`State::complete`] |
//! | (g, n - 1) | (g, n) | the last party, now the leader: completes and holds the release | [`State::hold`] |
//! | (g, a), n <= a | (g + 1, a - n) | the leader that held it | [`State::release`] |
//! | (g, a), 0 < a < n, or (g - 1, a), n < a | a less 1 | a party of generation g that gives up | [`State::withdraw`] |
//! | (g, a) | (g, a) | a waiter whose slot came after its arrival, or that cannot arrive yet | [`State::publish`] |
//!
//! Whether a dropped wait did arrive is decided by which comes first, `withdraw` or `complete` and
//! `hold`, and by nothing else. The one arrival that would complete g + 1 while the release of g is
//! held, at (g, 2n - 1), has to wait for the release: so there is never more than one leader that
//! holds a release.
//!
//! # Memory orderings
//!
//! Every write is a read-modify-write, so a release by any one of them is still there to be
//! acquired after any number of others, whatever their own orderings. The pairs:
//!
//! - `arrive` (release) with `complete` and `hold` (acquire): the leader sees all that each party
//!   did before it arrived, its registration in the slab first of all.
//! - `publish` (release) with `complete` and `release` (acquire): the leader finds the slot.
//! - `complete` and `release` (release) with `generation` (acquire): whoever learns that a
//!   generation was released sees all that its parties did before they arrived, and all that the
//!   leader did before the release.

use core::fmt;

use crate::{
    slab::Draining,
    sync::{AtomicU64, Ordering, const_fn},
};

/// The word of one barrier, and the number of parties that gives it its meaning.
pub(crate) struct State {
    parties: u64,
    /// How many of the low bits count arrivals, and those ahead in the next generation: 1 to 63.
    shift: u32,
    word: AtomicU64,
    /// A hint of the slab's, here because whoever looks at it has just looked at the word.
    pub(crate) draining: Draining,
}

/// A value that the word had at some time.
#[derive(Clone, Copy)]
pub(crate) struct Word(u64);

/// What becomes of a party that arrives at a given word.
#[derive(Clone, Copy)]
pub(crate) enum Next {
    /// It is counted in `generation`, after `before` others, and waits.
    Waits { generation: u64, before: u64 },
    /// It is the last of `generation`.
    Leads { generation: u64 },
    /// It cannot arrive until the generation `behind` is released.
    Queues { behind: u64 },
}

impl Next {
    pub(crate) fn waits_in(self, open: u64) -> bool {
        matches!(self, Next::Waits { generation, .. } if generation == open)
    }
}

impl State {
    const_fn! {
        /// Generation 0, nobody there. No party at all counts as one.
        pub(crate) const fn new(parties: usize) -> Self {
            let parties = if parties == 0 { 1 } else { parties as u64 };
            // 2n - 1 in binary is n - 1 and a one.
            let bits = u64::BITS - (parties - 1).leading_zeros() + 1;
            Self {
                parties,
                // Above 2^62 parties, the last arrivals do not fit. Nor do they ever come.
                shift: if bits < u64::BITS { bits } else { u64::BITS - 1 },
                word: AtomicU64::new(0),
                draining: Draining::nobody(),
            }
        }
    }

    pub(crate) fn parties(&self) -> usize {
        self.parties as usize
    }

    /// What a transition may start from. Its compare-and-swap finds out if it has become stale.
    pub(crate) fn load(&self) -> Word {
        // Ordering: none. What is read here decides nothing by itself.
        Word(self.word.load(Ordering::Relaxed))
    }

    /// The number of generations released.
    pub(crate) fn generation(&self) -> u64 {
        // Ordering: acquire, with the release of `complete` and `release`.
        self.generation_of(Word(self.word.load(Ordering::Acquire)))
    }

    /// Whether `generation` has been released.
    pub(crate) fn is_released(&self, generation: u64) -> bool {
        self.generation() > generation
    }

    pub(crate) fn generation_of(&self, word: Word) -> u64 {
        word.0 >> self.shift
    }

    /// The arrivals in the generation of `word`, which are all `n` while its release is held.
    pub(crate) fn arrived_of(&self, word: Word) -> u64 {
        self.arrivals(word).min(self.parties)
    }

    fn arrivals(&self, word: Word) -> u64 {
        word.0 & !(u64::MAX << self.shift)
    }

    /// What the next to arrive would be.
    pub(crate) fn next(&self, word: Word) -> Next {
        let generation = self.generation_of(word);
        let arrivals = self.arrivals(word);
        if arrivals + 1 < self.parties {
            return Next::Waits {
                generation,
                before: arrivals,
            };
        }
        if arrivals + 1 == self.parties {
            return Next::Leads { generation };
        }
        // The release is held.
        let before = arrivals - self.parties;
        if before + 1 < self.parties {
            Next::Waits {
                generation: generation + 1,
                before,
            }
        } else {
            Next::Queues { behind: generation }
        }
    }

    /// (g, a) to (g, a + 1), when the next arrival [waits](Next::Waits).
    ///
    /// Fails with the present word if that is no longer `from`, as do all that take one.
    pub(crate) fn arrive(&self, from: Word) -> Result<(), Word> {
        debug_assert!(matches!(self.next(from), Next::Waits { .. }));
        // Ordering: release, with the acquire of `complete` and `hold`. On failure none, here and
        // below, since the transition starts again.
        self.swap(from, Word(from.0 + 1), Ordering::Release)
    }

    /// (g, n - 1) to (g + 1, 0), when the next arrival [leads](Next::Leads): the caller is the
    /// leader, and g is released.
    pub(crate) fn complete(&self, from: Word) -> Result<(), Word> {
        debug_assert!(matches!(self.next(from), Next::Leads { .. }));
        let to = (self.generation_of(from) + 1) << self.shift;
        // Ordering: acquire, with the release of `arrive` and `publish`; release, with the acquire
        // of `generation`.
        self.swap(from, Word(to), Ordering::AcqRel)
    }

    /// (g, n - 1) to (g, n), when the next arrival [leads](Next::Leads): the caller is the leader,
    /// and owes a [`release`](Self::release).
    pub(crate) fn hold(&self, from: Word) -> Result<(), Word> {
        debug_assert!(matches!(self.next(from), Next::Leads { .. }));
        // Ordering: acquire, with the release of `arrive`.
        self.swap(from, Word(from.0 + 1), Ordering::Acquire)
    }

    /// (g, a) to (g + 1, a - n), for the leader that holds the release of `generation`.
    pub(crate) fn release(&self, generation: u64) {
        let mut word = self.load();
        loop {
            debug_assert!(self.generation_of(word) == generation);
            let early = self.arrivals(word) - self.parties;
            let to = (generation + 1) << self.shift | early;
            // Ordering: acquire, with the release of `publish`; release, with the acquire of
            // `generation`.
            match self.swap(word, Word(to), Ordering::AcqRel) {
                Ok(()) => return,
                Err(present) => word = present,
            }
        }
    }

    /// (g, a) to (g, a - 1), for a party that has arrived in `generation`.
    ///
    /// Returns whether the arrival was taken back; if not, the generation is complete.
    pub(crate) fn withdraw(&self, generation: u64) -> bool {
        let mut word = self.load();
        while self.is_open(generation, word) {
            // Ordering: none. An arrival that never was has nothing to publish, and who gets its
            // slot is settled at the slot.
            match self.swap(word, Word(word.0 - 1), Ordering::Relaxed) {
                Ok(()) => return true,
                Err(present) => word = present,
            }
        }
        false
    }

    /// Whether `generation`, in which the caller has arrived, still lacks a party.
    fn is_open(&self, generation: u64, word: Word) -> bool {
        let held = self.arrivals(word) >= self.parties;
        self.generation_of(word) + u64::from(held) == generation
    }

    /// (g, a) to (g, a), for a waiter whose slot the leader must find although no arrival comes
    /// after it.
    pub(crate) fn publish(&self, from: Word) -> Result<(), Word> {
        // Ordering: release, with the acquire of `complete` and `release`.
        self.swap(from, from, Ordering::Release)
    }

    /// [`publish`](Self::publish), for a party of `generation`. Returns false if that is released.
    pub(crate) fn publish_in(&self, generation: u64) -> bool {
        let mut word = self.load();
        while self.generation_of(word) <= generation {
            match self.publish(word) {
                Ok(()) => return true,
                Err(present) => word = present,
            }
        }
        false
    }

    fn swap(&self, from: Word, to: Word, success: Ordering) -> Result<(), Word> {
        // Weak, because every caller loops anyway.
        match self
            .word
            .compare_exchange_weak(from.0, to.0, success, Ordering::Relaxed)
        {
            Ok(_) => Ok(()),
            Err(present) => Err(Word(present)),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.load();
        f.debug_struct("State")
            .field("parties", &self.parties)
            .field("arrived", &self.arrived_of(word))
            .field("generation", &self.generation_of(word))
            .finish()
    }
}
