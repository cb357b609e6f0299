//! The packed word of a phaser: what its bits mean, every transition, and nothing else.
//!
//! # Glossary
//!
//! - *phase*: one arrival of each participant, and its number, counted from 0.
//! - *participant*: owes each phase one arrival, from its registration until it leaves.
//! - *waits*: a wait of the participant was polled, was pending, and has neither been dropped nor
//!   ended. A leaked wait waits until its participant's next call.
//! - *complete*: all participants have arrived or left.
//! - *leader*: the participant that ends a complete phase, at once or, if it *holds* the release,
//!   later.
//!
//! # The word
//!
//! ```text
//!  63        51   50     49 48  47        32 31            16 15         0
//! ┌────────────┬────────┬───────┬────────────┬────────────────┬────────────┐
//! │ phase p    │ closed │ stage │ waiting w  │ participants n │ arrivals a │
//! └────────────┴────────┴───────┴────────────┴────────────────┴────────────┘
//! ```
//!
//! `n` counts the participants, `a` those that have arrived, and `w` those of them that wait.
//!
//! | stage | `a` and `w` count in | meaning |
//! |---|---|---|
//! | open | p | participants are missing (a < n), or there are none, or the phaser is closed |
//! | complete | p | nobody is missing (a = n) and someone waits (w > 0): the first that is polled leads |
//! | held | p + 1 | nobody is missing in p, and its leader holds the release |
//!
//! The phase in which arrivals count, p or p + 1, is the one that new participants join.
//!
//! # Transitions
//!
//! Each is one compare-and-swap (CAS). These are all the writes that the word ever sees; no more can
//! register or arrive once the closed bit is set, and an open phase then stays open. *End* is
//! (p + 1, n, 0, 0) open.
//!
//! | | from | to | when | then |
//! |---|---|---|---|---|
//! | R | any, not closed | n + k; *complete becomes open* | k participants [register](State::register) | each owes the phase that it joins |
//! | A | others missing, not closed | a + 1 | a participant [arrives](State::arrive) | |
//! | W | the same | a + 1, w + 1 | the first poll of a wait, its slot registered before; or a thread that spins, without a slot | |
//! | L | open, not closed, a = n - 1 | *end*, or held with a = w = 0 | the last arrival | it leads: at the release it wakes those that wait, and observers |
//! | C | its phase open | w + 1 | a [poll](State::wait) after an arrival without a wait, its slot registered before | |
//! | U | its phase open or held | the same | a [poll](State::wait) that has registered another waker | |
//! | G | complete | *end*, or held with a = w = 0 | any participant of p that is [polled](State::wait), or arrives again | it leads, as in L |
//! | H | held | (p + 1, n, a, w) open | the leader [releases](State::release) | it wakes those that wait, and observers |
//! | D1 | its phase open | a - 1, w - 1 | a wait that made the arrival [stops](State::stop) | |
//! | D2 | its phase open | w - 1 | a wait that did not make it [stops](State::stop) | |
//! | D3 | complete | w - 1, but *end* if that is 0 | any wait [stops](State::stop); its arrival stays | at the *end*, it wakes observers |
//! | E1 | any | n - 1 | a participant [leaves](State::leave) that has not arrived, others missing; or whose phase is held or over | |
//! | E2 | its phase open | n - 1, a - 1, and w - 1 if it waits | a participant that has arrived [leaves](State::leave) | |
//! | E3 | complete | the same, but *end* if then w = 0 | the same | at the *end*, it wakes observers |
//! | E4 | open, not closed, a = n - 1, w > 0 | n - 1, *complete* | the last that is missing [leaves](State::leave) | it wakes those that wait |
//! | E5 | the same, but w = 0 | n - 1, *end* | the same | it wakes observers |
//! | X | not closed | closed | anyone [closes](State::close) | it wakes those that wait in the phase in which arrivals count, and observers of that and later ones |
//! | O | any | the same | an observer [publishes](State::publish) its slot | it looks at the word again |
//!
//! A participant that leaves while it holds the release makes H and then E1, E4 or E5, in one CAS.
//!
//! If phases have an action, a last arrival always holds the release while that runs, and the last that is
//! missing does not make E4 or E5 but, as long as there are others, L: it runs the action, and then releases
//! and leaves in one. So no phase is complete without being held.
//!
//! # Invariants
//!
//! 1. 0 <= w <= a <= n, so no field borrows from another or carries into it.
//! 2. Complete means a = n > 0 and w > 0. A transition that would leave a complete phase with w = 0
//!    ends it instead. Open and not closed means a < n or n = 0.
//! 3. While p is held, its leader has not arrived in p + 1, so a < n.
//! 4. In an open phase a slot that is registered and published belongs to a participant that waits.
//!    So w = 0 means that no participant needs a wake.
//! 5. A participant that has not arrived in q keeps the word from going past q, and one that has
//!    arrived from going past q + 1. So two bits of the phase would tell it where q is. A participant that
//!    has left does not change the word again.
//! 6. No transition depends on how the word came about. So it does no harm that the word can wrap
//!    around (ABA), after 2^13 phases or after E4 and R.
//!
//! # What a stalled thread keeps
//!
//! | stalled | keeps |
//! |---|---|
//! | a participant before its transition | the phase, as any participant that does not come |
//! | a leader between its transition and its last wake | those that it has not woken; and p + 1, as any participant that does not come, unless it has left by that |
//! | a leader that holds the release | those of p; and the end of p + 1, in which others register, arrive, withdraw and leave |
//! | after E4, before the last wake | those that it has not woken, until any of p is polled or calls, until anyone registers and then arrives or leaves, or until a close; meanwhile observers of p |
//! | after an *end* by D3, E3 or E5 | the observers of p that it has not woken |
//! | after X | those that it has not woken, until another close |
//! | after R, A, W, C, U, D1, D2, E1, E2, O | nobody but, as any participant, those that need its next arrival |
//!
//! A leaked wait or leader keeps its phase until its participant's next call.
//!
//! # Memory orderings
//!
//! Every write is a read-modify-write, so a release by any one of them can be acquired after any number
//! of others. Failures acquire, as [`State::load`] does. The pairs:
//!
//! - A and W (release) with L, G, D3, E3, E4 and E5 (acquire): a thread that completes or ends a phase
//!   sees all that its participants did before they arrived, registrations of wakers first of all. The
//!   same holds for E1 and E2 (release), and what those that left did before.
//! - C and U (release) with L, G, H and E4 (acquire) and with the load after X: the thread that wakes finds
//!   the slot. O (release) with these and with D3, E3 and E5 (acquire).
//! - L, G, H and E1 to E5 (release) with `load` (acquire): a thread that learns that a phase is over sees all
//!   that its participants did before they arrived or left, and all that its leader did before the
//!   release.

use core::{convert::Infallible, task::Poll};

use crossbeam_utils::CachePadded;

use super::{Closed, RegisterError};
pub(super) use crate::lead::Lead;
use crate::sync::{AtomicU64, Ordering, try_update};

/// How many bits each of the three counts has.
const COUNT_BITS: u32 = 16;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// The largest number of participants.
pub(super) const MAX_PARTICIPANTS: u64 = COUNT;

const ARRIVAL: u64 = 1;
const PARTICIPANT: u64 = 1 << COUNT_BITS;
const WAIT: u64 = 1 << (2 * COUNT_BITS);
const STAGE: u64 = 0b11 << (3 * COUNT_BITS);
const COMPLETE: u64 = 0b01 << (3 * COUNT_BITS);
const HELD: u64 = 0b10 << (3 * COUNT_BITS);
const CLOSED: u64 = 0b100 << (3 * COUNT_BITS);
const PHASE: u64 = 0b1000 << (3 * COUNT_BITS);
/// The phase as far as the word has it.
const PHASE_MASK: u64 = u64::MAX / PHASE;

/// How many phases go by from one note in `recent` to the next. Notes may be late.
const PHASES_PER_NOTE: u64 = 1 << 9;

/// The word of one phaser.
pub(super) struct State {
    word: CachePadded<AtomicU64>,
    /// A phase that began not long ago, with all its bits.
    recent: AtomicU64,
}

/// A value that the word had at some time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Snapshot(u64);

/// Where a phase is, for a participant that owes it or has arrived in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Participants are missing, or the phaser is closed.
    Open,
    /// Nobody is missing, and any participant that waits may lead.
    Complete,
    /// Nobody is missing, and its leader holds the release.
    Held,
    /// It is over.
    Released,
}

/// What became of a wait that stops.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Its arrival is withdrawn.
    Withdrawn,
    /// Its arrival stays counted.
    Counts,
    /// Its arrival stays counted, and the phase is over, since nobody waits for it any more.
    Ended,
    /// It has not stopped: the phase is held or over, or complete and may not be ended.
    Not,
}

/// What a departure did to the phase.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    Unnoticed,
    /// The phase is complete, and waits for a leader.
    Completed(u64),
    /// The phase is over, and nobody waited for it but, perhaps, observers.
    Ended(u64),
    /// The participant has not left, but completed the phase, of so many participants, and holds its
    /// release.
    Leads {
        phase: u64,
        participants: u64,
    },
}

impl Snapshot {
    fn count(self, unit: u64) -> u64 {
        (self.0 / unit) & COUNT
    }

    pub(super) fn participants(self) -> u64 {
        self.count(PARTICIPANT)
    }

    /// How many have arrived in the phase of the word: all, if that is complete or held.
    pub(super) fn arrived(self) -> u64 {
        if self.is_held() {
            self.participants()
        } else {
            self.count(ARRIVAL)
        }
    }

    pub(super) fn is_closed(self) -> bool {
        self.0 & CLOSED != 0
    }

    /// The phase in which arrivals count, if its own is `phase`.
    pub(super) fn counting(self, phase: u64) -> u64 {
        phase + u64::from(self.is_held())
    }

    fn is_complete(self) -> bool {
        self.0 & STAGE == COMPLETE
    }

    fn is_held(self) -> bool {
        self.0 & STAGE == HELD
    }

    /// How far the phase of the word is ahead of `phase`.
    fn phases_since(self, phase: u64) -> u64 {
        (self.0 / PHASE).wrapping_sub(phase) & PHASE_MASK
    }

    /// Where `phase` is, for one of its participants: invariant 5.
    pub(super) fn stage_of(self, phase: u64) -> Stage {
        match (self.phases_since(phase), self.0 & STAGE) {
            (0, HELD) => Stage::Held,
            (0, COMPLETE) => Stage::Complete,
            (1, _) => Stage::Released,
            // Also if it is the one after the phase that is held.
            _ => Stage::Open,
        }
    }

    /// Whether `phase` is over and the phaser not closed, for a participant of `phase`.
    #[inline]
    pub(super) fn is_over_and_not_closed(self, phase: u64) -> bool {
        // Invariant 5. The closed bit is the lowest of those that are left, next to the phase.
        self.0 / CLOSED == ((phase + 1) & PHASE_MASK) * (PHASE / CLOSED)
    }

    /// Whether one more arrival completes the phase: it is open, and all others have arrived.
    fn next_completes(self) -> bool {
        self.0 & STAGE == 0 && self.count(ARRIVAL) + 1 == self.count(PARTICIPANT)
    }

    fn plus(self, units: u64) -> Self {
        Self(self.0 + units)
    }

    fn minus(self, units: u64) -> Self {
        Self(self.0 - units)
    }

    /// Open, and nobody has arrived.
    fn cleared(self) -> Self {
        Self(self.0 & !(STAGE | (COUNT * WAIT) | (COUNT * ARRIVAL)))
    }

    /// *End*.
    fn ended(self) -> Self {
        Self(self.cleared().0.wrapping_add(PHASE))
    }

    /// H.
    fn released(self) -> Self {
        debug_assert!(self.is_held());
        Self(self.minus(HELD).0.wrapping_add(PHASE))
    }

    /// L or G, with its ordering.
    fn led(self, lead: Lead) -> (Self, Ordering) {
        match lead {
            // Acquire: synchronizes with A, W, C, U, O, E1 and E2. Release: pairs with `load`.
            Lead::Release => (self.ended(), Ordering::AcqRel),
            // Acquire: the section sees what all did before A, W, E1 and E2.
            Lead::Hold => (self.cleared().plus(HELD), Ordering::Acquire),
        }
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            word: CachePadded::new(AtomicU64::new(0)),
            recent: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn load(&self) -> Snapshot {
        // Acquire: synchronizes with L, G, H and E1 to E5.
        Snapshot(self.word.load(Ordering::Acquire))
    }

    /// The phase in which arrivals count.
    pub(super) fn counting(&self) -> u64 {
        let (word, phase) = self.load_with_phase();
        word.counting(phase)
    }

    /// The word, and its phase with all bits.
    pub(super) fn load_with_phase(&self) -> (Snapshot, u64) {
        // Acquire: pairs with `note_release`, and keeps the loads in this order. A participant that noted
        // `recent` has since arrived or left, and the word acquires that.
        let mut recent = self.recent.load(Ordering::Acquire);
        loop {
            let word = self.load();
            let again = self.recent.load(Ordering::Acquire);
            if again == recent {
                return (word, recent + word.phases_since(recent));
            }
            // This thread was stalled, perhaps for so long that the word wrapped around.
            recent = again;
        }
    }

    /// Notes now and then how far the phases have come, for threads that are not participants.
    ///
    /// They go wrong only if more than 2^13 - 2^9 threads are stalled at once between the end of a phase
    /// and this. A leader is a participant of the next phase and so can be stalled once; only threads
    /// that left, or whose waits stopped, can pile up.
    #[inline]
    pub(super) fn note_release(&self, phase: u64) {
        let began = phase + 1;
        // Relaxed: a thread that does not see the last note makes one too many.
        if began.saturating_sub(self.recent.load(Ordering::Relaxed)) >= PHASES_PER_NOTE {
            // Release: pairs with `load_with_phase`. A maximum, because a thread that was stalled before
            // this must not put it back.
            self.recent.fetch_max(began, Ordering::Release);
        }
    }

    /// R: `count` participants, one or more, join the phase that is returned.
    pub(super) fn register(&self, count: u64) -> Result<u64, RegisterError> {
        debug_assert!(count > 0);
        self.try_update(|word| {
            if word.is_closed() {
                Err(RegisterError::Closed)
            } else if count > MAX_PARTICIPANTS - word.participants() {
                Err(RegisterError::Full)
            } else {
                let open = if word.is_complete() {
                    word.minus(COMPLETE)
                } else {
                    word
                };
                // Relaxed: a participant that has not arrived has nothing to publish.
                Ok((open.plus(count * PARTICIPANT), Ordering::Relaxed, ()))
            }
        })?;
        // That phase cannot end without the new participants.
        Ok(self.counting())
    }

    /// A, W or L, for a participant that has not arrived. Returns whether it leads.
    ///
    /// Before the last arrival of a phase it calls `lead`, and before any other `register`, each perhaps
    /// more than once.
    #[inline]
    pub(super) fn arrive(
        &self,
        waits: bool,
        mut lead: impl FnMut(Snapshot) -> Lead,
        mut register: impl FnMut(),
    ) -> Result<bool, Closed> {
        self.try_update(|word| {
            if word.is_closed() {
                Err(Closed(()))
            } else if word.next_completes() {
                let (to, ordering) = word.led(lead(word));
                Ok((to, ordering, true))
            } else {
                register();
                let units = ARRIVAL + if waits { WAIT } else { 0 };
                // Release: pairs with L, G, D3 and E3 to E5.
                Ok((word.plus(units), Ordering::Release, false))
            }
        })
    }

    /// G, C or U, for a participant that has arrived in `phase`. Ready with whether it leads.
    ///
    /// It `is_counted` if it waits, and `is_registered` if its slot has the waker since an earlier
    /// transition. If not, this calls `register` before C and U, perhaps more than once.
    pub(super) fn wait(
        &self,
        phase: u64,
        is_counted: bool,
        is_registered: bool,
        lead: Lead,
        mut register: impl FnMut(),
    ) -> Poll<Result<bool, Closed>> {
        let polled = self.try_update(|word| match word.stage_of(phase) {
            Stage::Released => Err(Poll::Ready(Ok(false))),
            Stage::Complete => {
                let (to, ordering) = word.led(lead);
                Ok((to, ordering, Poll::Ready(Ok(true))))
            }
            Stage::Open if word.is_closed() => Err(Poll::Ready(Err(Closed(())))),
            Stage::Open | Stage::Held if is_registered && is_counted => Err(Poll::Pending),
            stage => {
                register();
                let counts = stage == Stage::Open && !is_counted;
                let to = word.plus(if counts { WAIT } else { 0 });
                // Release: pairs with L, G, H and E4, and with the load after X.
                Ok((to, Ordering::Release, Poll::Pending))
            }
        });
        match polled {
            Ok(polled) | Err(polled) => polled,
        }
    }

    /// H, for the leader that holds the release.
    pub(super) fn release(&self) {
        let released: Result<(), Infallible> = self.try_update(|word| {
            // Acquire: synchronizes with U and O. Release: pairs with `load`.
            Ok((word.released(), Ordering::AcqRel, ()))
        });
        let Ok(()) = released;
    }

    /// D1, D2 or D3, for a wait of a participant that waits in `phase`.
    ///
    /// With D1 if it `made_arrival`, D2 if not; D3 only if it may `end` the phase.
    pub(super) fn stop(&self, phase: u64, made_arrival: bool, end: bool) -> Stopped {
        let stopped = self.try_update(|word| match word.stage_of(phase) {
            // Relaxed, three times: an arrival that never was, or a count, has nothing to publish.
            Stage::Open if made_arrival => Ok((
                word.minus(ARRIVAL + WAIT),
                Ordering::Relaxed,
                Stopped::Withdrawn,
            )),
            Stage::Open => Ok((word.minus(WAIT), Ordering::Relaxed, Stopped::Counts)),
            Stage::Complete if !end => Err(Stopped::Not),
            Stage::Complete if word.count(WAIT) > 1 => {
                Ok((word.minus(WAIT), Ordering::Relaxed, Stopped::Counts))
            }
            // Acquire: synchronizes with O. What the participants did before they arrived or left was
            // released by that.
            Stage::Complete => Ok((word.ended(), Ordering::Acquire, Stopped::Ended)),
            Stage::Held | Stage::Released => Err(Stopped::Not),
        });
        match stopped {
            Ok(stopped) | Err(stopped) => stopped,
        }
    }

    /// E1 to E5: takes a participant out that owes `phase` or, if it `has_arrived`, has arrived in it, and
    /// perhaps `waits`. If it `holds` the release of `phase`, with H before, all in one.
    ///
    /// If a phase has an action, the last that is missing does not make E4 or E5, as long as there are
    /// others, but completes the phase by L and holds the release.
    pub(super) fn leave(
        &self,
        phase: u64,
        holds: bool,
        has_arrived: bool,
        waits: bool,
        has_action: bool,
    ) -> Departure {
        let left: Result<Departure, Infallible> = self.try_update(|word| {
            let word = if holds { word.released() } else { word };
            let stage = word.stage_of(phase);
            let counts = has_arrived && matches!(stage, Stage::Open | Stage::Complete);
            let arrival = if counts { ARRIVAL } else { 0 };
            let wait = if counts && waits { WAIT } else { 0 };
            let less = word.minus(PARTICIPANT + arrival + wait);
            // If its own phase is over, the phase of the word is the next.
            let current = phase + u64::from(stage == Stage::Released);
            let is_final = !word.is_held() && (word.is_complete() || !word.is_closed());
            let (to, ordering, departure) = if !is_final || less.arrived() != less.participants() {
                // Release: pairs with L, G, D3, E3 to E5 and `load`.
                (less, Ordering::Release, Departure::Unnoticed)
            } else if has_action && less.participants() > 0 {
                let (held, ordering) = word.led(Lead::Hold);
                let leads = Departure::Leads {
                    phase: current,
                    participants: word.participants(),
                };
                (held, ordering, leads)
            } else if less.count(WAIT) == 0 {
                // Acquire: synchronizes with A, W, O, E1 and E2. Release: pairs with `load`.
                (less.ended(), Ordering::AcqRel, Departure::Ended(current))
            } else if word.is_complete() {
                // Release: pairs with G, D3, E3 and `load`.
                (less, Ordering::Release, Departure::Unnoticed)
            } else {
                // Acquire: synchronizes with W, C and U. Release: pairs with G, D3, E3 and `load`.
                let complete = less.plus(COMPLETE);
                (complete, Ordering::AcqRel, Departure::Completed(current))
            };
            // With H: that acquires and releases.
            let ordering = if holds { Ordering::AcqRel } else { ordering };
            Ok((to, ordering, departure))
        });
        let Ok(departure) = left;
        departure
    }

    /// X. Returns the phase in which arrivals count no more.
    pub(super) fn close(&self) -> u64 {
        let _: Result<(), ()> = self.try_update(|word| {
            // Relaxed: the load in `counting` comes after this and synchronizes with W, C, U and O. To find
            // a phaser closed orders nothing.
            let closed = (Snapshot(word.0 | CLOSED), Ordering::Relaxed, ());
            if word.is_closed() {
                Err(())
            } else {
                Ok(closed)
            }
        });
        self.counting()
    }

    /// O, for an observer that looks at the word again after this.
    pub(super) fn publish(&self) {
        // Release: pairs with L, G, H, D3, E3 and E5, and with the load after X.
        self.word.fetch_add(0, Ordering::Release);
    }

    #[inline]
    fn try_update<T, E>(
        &self,
        mut transition: impl FnMut(Snapshot) -> Result<(Snapshot, Ordering, T), E>,
    ) -> Result<T, E> {
        let Snapshot(current) = self.load();
        // Acquire: as `load`. No caller needs it: a poll that finds its phase over loads the word again, and
        // the transitions that need to acquire do so when they succeed.
        try_update(&self.word, current, Ordering::Acquire, |current| {
            let (Snapshot(to), success, outcome) = transition(Snapshot(current))?;
            Ok((to, success, outcome))
        })
    }
}
