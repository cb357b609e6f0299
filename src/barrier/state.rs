//! The packed word: what its bits mean, every transition, and nothing else.
//!
//! # Glossary
//!
//! - *party*: one of the `n` that make a generation.
//! - *arrival*: a party that has been counted.
//! - *generation*: one use of the barrier by `n` parties; also its number, counted from 0.
//! - *complete*: all `n` have arrived. From then on nobody withdraws.
//! - *leader*: the arrival that completes its generation.
//! - *release*: the end of a generation, when its waiters may go on. The leader does it, at once or,
//!   if it *holds* the release, later.
//! - *withdraw*: to undo an arrival, before its generation is complete.
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
//! turn of the word takes at least 2^62 arrivals: at one per nanosecond, 146 years. A stale
//! compare-and-swap (CAS) can therefore not succeed by accident (no ABA).
//!
//! # Transitions
//!
//! Each is one CAS, and these are all the writes that the word ever sees.
//!
//! | from | to | by | name |
//! |---|---|---|---|
//! | (g, a), a + 1 not n nor 2n | (g, a + 1) | a party that is not the last | [`State::arrive`] |
//! | (g, n - 1) | (g + 1, 0) | the last party, now the leader: completes and releases | [`State::complete`] |
//! | (g, n - 1) | (g, n) | the last party, now the leader: completes and holds the release | [`State::hold`] |
//! | (g, a), n <= a | (g + 1, a - n) | the leader that held it | [`State::release`] |
//! | (g, a), 0 < a < n, or (g - 1, a), n < a | a less 1 | a party of generation g that waits no longer | [`State::withdraw`] |
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
//! - `complete` and `release` (release) with `generation` (acquire): a thread that learns that
//!   a generation was released sees all that its parties did before they arrived, and all that the
//!   leader did before the release.

use core::convert::Infallible;

use crate::{
    slab::Draining,
    sync::{AtomicU64, Ordering, const_fn, try_update},
};

/// The word of one barrier, and the number of parties that gives it its meaning.
pub(super) struct State {
    parties: u64,
    /// How many of the low bits count arrivals, and those ahead in the next generation: 1 to 63.
    shift: u32,
    word: AtomicU64,
    /// A hint of the slab's, here because a thread that looks at it has just looked at the word.
    pub(super) draining: Draining,
}

/// A value that the word had at some time.
#[derive(Clone, Copy)]
pub(super) struct Snapshot(u64);

/// What becomes of a party that arrives at a given word.
#[derive(Clone, Copy)]
pub(super) enum NextArrival {
    /// It is counted in `generation`, after `before` others, and waits.
    Waits { generation: u64, before: u64 },
    /// It is the last of `generation`.
    Leads { generation: u64 },
    /// It cannot arrive until the generation `behind` is released.
    Queues { behind: u64 },
}

impl NextArrival {
    pub(super) fn waits_in(self, open: u64) -> bool {
        matches!(self, NextArrival::Waits { generation, .. } if generation == open)
    }
}

impl State {
    const_fn! {
        /// Generation 0, without arrivals. 0 parties count as 1.
        pub(super) const fn new(parties: usize) -> Self {
            let parties = if parties == 0 { 1 } else { parties as u64 };
            // 2n - 1 in binary is n - 1 and a one.
            let bits = u64::BITS - (parties - 1).leading_zeros() + 1;
            Self {
                parties,
                // Above 2^62 parties, the last arrivals do not fit. Nor do they ever come.
                shift: if bits < u64::BITS { bits } else { u64::BITS - 1 },
                word: AtomicU64::new(0),
                draining: Draining::none(),
            }
        }
    }

    pub(super) fn parties(&self) -> usize {
        self.parties as usize
    }

    /// What a transition may start from. Its CAS finds out if it has become stale.
    pub(super) fn load(&self) -> Snapshot {
        // Relaxed: what is read here decides nothing by itself.
        Snapshot(self.word.load(Ordering::Relaxed))
    }

    /// The number of generations released.
    pub(super) fn generation(&self) -> u64 {
        // Acquire: pairs with `complete` and `release`.
        self.generation_of(Snapshot(self.word.load(Ordering::Acquire)))
    }

    /// Whether `generation` has been released.
    pub(super) fn is_released(&self, generation: u64) -> bool {
        self.generation() > generation
    }

    pub(super) fn generation_of(&self, word: Snapshot) -> u64 {
        word.0 >> self.shift
    }

    /// The arrivals in the generation of `word`, which are all `n` while its release is held.
    pub(super) fn arrived_of(&self, word: Snapshot) -> u64 {
        self.arrivals(word).min(self.parties)
    }

    fn arrivals(&self, word: Snapshot) -> u64 {
        word.0 & !(u64::MAX << self.shift)
    }

    /// What the next to arrive would be.
    pub(super) fn next_arrival(&self, word: Snapshot) -> NextArrival {
        let generation = self.generation_of(word);
        let arrivals = self.arrivals(word);
        if arrivals + 1 < self.parties {
            return NextArrival::Waits {
                generation,
                before: arrivals,
            };
        }
        if arrivals + 1 == self.parties {
            return NextArrival::Leads { generation };
        }
        // The release is held.
        let before = arrivals - self.parties;
        if before + 1 < self.parties {
            NextArrival::Waits {
                generation: generation + 1,
                before,
            }
        } else {
            NextArrival::Queues { behind: generation }
        }
    }

    /// (g, a) to (g, a + 1), when the next arrival [waits](NextArrival::Waits).
    ///
    /// Fails with the current word if that is no longer `from`, as do all that take one.
    pub(super) fn arrive(&self, from: Snapshot) -> Result<(), Snapshot> {
        debug_assert!(matches!(self.next_arrival(from), NextArrival::Waits { .. }));
        // Release: pairs with `complete` and `hold`.
        self.compare_exchange(from, Snapshot(from.0 + 1), Ordering::Release)
    }

    /// (g, n - 1) to (g + 1, 0), when the next arrival [leads](NextArrival::Leads): the caller is the
    /// leader, and g is released.
    pub(super) fn complete(&self, from: Snapshot) -> Result<(), Snapshot> {
        debug_assert!(matches!(self.next_arrival(from), NextArrival::Leads { .. }));
        let to = (self.generation_of(from) + 1) << self.shift;
        // Acquire: pairs with `arrive` and `publish`. Release: pairs with `generation`.
        self.compare_exchange(from, Snapshot(to), Ordering::AcqRel)
    }

    /// (g, n - 1) to (g, n), when the next arrival [leads](NextArrival::Leads): the caller is the leader,
    /// and owes a [`release`](Self::release).
    pub(super) fn hold(&self, from: Snapshot) -> Result<(), Snapshot> {
        debug_assert!(matches!(self.next_arrival(from), NextArrival::Leads { .. }));
        // Acquire: pairs with `arrive`.
        self.compare_exchange(from, Snapshot(from.0 + 1), Ordering::Acquire)
    }

    /// (g, a) to (g + 1, a - n), for the leader that holds the release of `generation`.
    pub(super) fn release(&self, generation: u64) {
        let Ok(()): Result<(), Infallible> = self.try_update(|word| {
            debug_assert!(self.generation_of(word) == generation);
            let early = self.arrivals(word) - self.parties;
            let to = (generation + 1) << self.shift | early;
            // Acquire: pairs with `publish`. Release: pairs with `generation`.
            Ok((Snapshot(to), Ordering::AcqRel))
        });
    }

    /// (g, a) to (g, a - 1), for a party that has arrived in `generation`.
    ///
    /// Returns whether the arrival was withdrawn; if not, the generation is complete.
    pub(super) fn withdraw(&self, generation: u64) -> bool {
        self.try_update(|word| {
            if self.is_open(generation, word) {
                // Relaxed: an arrival that never was has nothing to publish, and the slot's own CAS
                // decides which thread gets it.
                Ok((Snapshot(word.0 - 1), Ordering::Relaxed))
            } else {
                Err(TooLate)
            }
        })
        .is_ok()
    }

    /// Whether `generation`, in which the caller has arrived, still lacks a party.
    fn is_open(&self, generation: u64, word: Snapshot) -> bool {
        let held = self.arrivals(word) >= self.parties;
        self.generation_of(word) + u64::from(held) == generation
    }

    /// (g, a) to (g, a), for a waiter whose slot the leader must find although no arrival comes
    /// after it.
    pub(super) fn publish(&self, from: Snapshot) -> Result<(), Snapshot> {
        // Release: pairs with `complete` and `release`.
        self.compare_exchange(from, from, Ordering::Release)
    }

    /// [`publish`](Self::publish), for a party of `generation`. Returns false if that is released.
    pub(super) fn publish_in(&self, generation: u64) -> bool {
        self.try_update(|word| {
            if self.generation_of(word) <= generation {
                // Release: as in `publish`.
                Ok((word, Ordering::Release))
            } else {
                Err(TooLate)
            }
        })
        .is_ok()
    }

    fn try_update<E>(
        &self,
        mut transition: impl FnMut(Snapshot) -> Result<(Snapshot, Ordering), E>,
    ) -> Result<(), E> {
        let Snapshot(current) = self.load();
        // On failure Relaxed: the transition starts again.
        try_update(&self.word, current, Ordering::Relaxed, |current| {
            let (Snapshot(to), success) = transition(Snapshot(current))?;
            Ok((to, success, ()))
        })
    }

    fn compare_exchange(
        &self,
        from: Snapshot,
        to: Snapshot,
        success: Ordering,
    ) -> Result<(), Snapshot> {
        // Weak: every caller loops anyway. On failure Relaxed: its transition starts again.
        match self
            .word
            .compare_exchange_weak(from.0, to.0, success, Ordering::Relaxed)
        {
            Ok(_) => Ok(()),
            Err(actual) => Err(Snapshot(actual)),
        }
    }
}

/// The word has gone past the state in which a transition may be made.
struct TooLate;
