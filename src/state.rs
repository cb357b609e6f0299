//! The packed word: what its bits mean, every transition, and nothing else.
//!
//! # Glossary
//!
//! - *party*: one of the `n` waits that make a generation.
//! - *arrival*: a party that has been counted.
//! - *generation*: one meeting of `n` parties; also its number, counted from 0.
//! - *leader*: the arrival that completes its generation.
//! - *release*: what the leader does to the waiters of the generation that it completed.
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
//! `shift` is the number of bits that `n` needs, so the generation has all the others. A full
//! turn of the word takes at least 2^63 arrivals: at one a nanosecond, 292 years. A stale
//! compare-and-swap can therefore not succeed by accident (no ABA).
//!
//! # Transitions
//!
//! Each is one compare-and-swap, and these are all the writes that the word ever sees.
//!
//! | from | to | who | name |
//! |---|---|---|---|
//! | (g, a), a + 1 < n | (g, a + 1) | a waiter, registered in its slot | [`State::arrive`] |
//! | (g, n - 1) | (g + 1, 0) | the last arriver, from then on the leader | [`State::complete`] |
//! | (g, a), 0 < a | (g, a - 1) | a waiter of generation g that is dropped | [`State::withdraw`] |
//!
//! Whether a dropped wait did arrive is decided by which of `complete` and `withdraw` comes first,
//! and by nothing else.
//!
//! # Memory orderings
//!
//! Every write is a read-modify-write, so an arrival's release sequence runs through all later
//! writes, whatever their own ordering. Two pairs follow, and they are the only ones:
//!
//! - `arrive` (release) with `complete` (acquire): the leader sees all that each waiter did
//!   before it arrived, its registration in the slab first of all.
//! - `complete` (release) with `is_completed` and `generation` (acquire): whoever learns that a
//!   generation is complete sees all that its parties did before they arrived.

use core::fmt;

use crossbeam_utils::CachePadded;

use crate::sync::{AtomicU64, Ordering, const_fn};

/// The word of one barrier, and the number of parties that gives it its meaning.
pub(crate) struct State {
    parties: u64,
    /// How many of the low bits count arrivals: 1 to 63.
    shift: u32,
    word: CachePadded<AtomicU64>,
}

/// A value that the word had at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl State {
    const_fn! {
        /// Generation 0, nobody there. No party at all counts as one.
        pub(crate) const fn new(parties: usize) -> Self {
            let parties = if parties == 0 { 1 } else { parties as u64 };
            let bits = u64::BITS - parties.leading_zeros();
            Self {
                parties,
                // From 2^63 parties on, the last arrival does not fit. Nor does it ever come.
                shift: if bits < u64::BITS { bits } else { u64::BITS - 1 },
                word: CachePadded::new(AtomicU64::new(0)),
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

    /// The number of generations completed.
    pub(crate) fn generation(&self) -> u64 {
        // Ordering: acquire, with the release of `complete`.
        self.generation_of(Word(self.word.load(Ordering::Acquire)))
    }

    /// Whether `generation`, in which the caller arrived, has been completed.
    pub(crate) fn is_completed(&self, generation: u64) -> bool {
        self.generation() != generation
    }

    pub(crate) fn generation_of(&self, word: Word) -> u64 {
        word.0 >> self.shift
    }

    pub(crate) fn arrived_of(&self, word: Word) -> u64 {
        word.0 & !(u64::MAX << self.shift)
    }

    /// Whether one more arrival completes the generation.
    pub(crate) fn lacks_one(&self, word: Word) -> bool {
        self.arrived_of(word) + 1 == self.parties
    }

    /// (g, a) to (g, a + 1), for a waiter whose slot holds its waker.
    ///
    /// Fails with the present word if that is no longer `from`.
    pub(crate) fn arrive(&self, from: Word) -> Result<(), Word> {
        debug_assert!(!self.lacks_one(from));
        // Ordering: release, with the acquire of `complete`: the leader must find the slot. On
        // failure none, since the transition starts again.
        self.swap(from, Word(from.0 + 1), Ordering::Release)
    }

    /// (g, n - 1) to (g + 1, 0): makes the caller the leader of generation g.
    ///
    /// Fails with the present word if that is no longer `from`.
    pub(crate) fn complete(&self, from: Word) -> Result<(), Word> {
        debug_assert!(self.lacks_one(from));
        let next = (self.generation_of(from).wrapping_add(1)) << self.shift;
        // Ordering: acquire, with the release of each `arrive` of this generation; release, with
        // the acquire of `generation`. On failure none.
        self.swap(from, Word(next), Ordering::AcqRel)
    }

    /// (g, a) to (g, a - 1), for a waiter that has arrived in `generation`.
    ///
    /// Returns whether the arrival was taken back; if not, the generation is complete.
    pub(crate) fn withdraw(&self, generation: u64) -> bool {
        let mut word = self.load();
        while self.generation_of(word) == generation {
            debug_assert!(self.arrived_of(word) > 0);
            // Ordering: none. An arrival that was never there has nothing to publish, and who
            // gets the slot is settled at the slot.
            match self.swap(word, Word(word.0 - 1), Ordering::Relaxed) {
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
