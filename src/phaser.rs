//! [`Phaser`]: a barrier whose members may join, leave and fail.

#[cfg(feature = "std")]
mod blocking;
mod member;
mod observer;
mod seat;
mod state;

use alloc::{sync::Arc, vec::Vec};
#[cfg(feature = "std")]
use core::sync::atomic::AtomicBool;
use core::{error::Error, fmt, iter, panic::RefUnwindSafe};

#[cfg(feature = "std")]
pub use self::blocking::PhaserWaitError;
pub use self::{
    member::{Participant, PhaserLeader, PhaserWait, PhaserWaitLeader},
    observer::Observation,
};
use self::{
    seat::Seats,
    state::{Departure, MAX_PARTIES, State},
};
use crate::slab::Slab;
#[cfg(feature = "std")]
use crate::sync::Ordering;

/// A barrier whose members may join, leave and fail, and never hang the others.
///
/// Each phase ends when every present member has arrived or left. [`register`](Self::register) makes a
/// [`Participant`], which owes each phase one arrival and leaves when it is dropped: by a task that
/// returns, panics or is aborted. Use it in place of a [`Barrier`](crate::Barrier), which waits for a
/// fixed number whoever they are, where those who wait depend on who is still there.
///
/// A `Phaser` is a handle: its clones are the same phaser, and are not members.
///
/// # Examples
///
/// ```
/// use atomic_barrier::Phaser;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let phaser = Phaser::new();
/// let mut tasks = Vec::new();
/// for (i, mut member) in phaser.register_many(3)?.into_iter().enumerate() {
///     tasks.push(tokio::spawn(async move {
///         for _ in 0..i {
///             member.wait().await?;
///         }
///         // Leaves, and the others go on without it.
///         Ok::<_, atomic_barrier::Closed>(())
///     }));
/// }
/// for task in tasks {
///     task.await??;
/// }
/// assert_eq!(phaser.parties(), 0);
/// # Ok(())
/// # }
/// ```
///
/// # Phases
///
/// Phases are numbered from 0. A member joins in the present one, [`phase`](Self::phase), which then
/// needs its arrival. Whoever makes the last arrival that a phase needs leads it. If the last that
/// was missing leaves instead, the phase is complete, and of the members that wait for it the first to
/// be polled leads; if none waits it is over at once, without a leader. So is the present phase of a
/// phaser that its last member leaves, which then rests until someone registers.
///
/// # Limits
///
/// 1,048,575 members at a time; one more is refused with [`RegisterError::Full`], which changes nothing.
///
/// # Memory ordering
///
/// All that a member did before it arrived or left *happens before* all that any member of the same
/// phase does once its wait is ready, and before all that an observer of that phase does after. A wait
/// that was taken back or brought [`Closed`] orders nothing.
#[derive(Clone)]
pub struct Phaser {
    shared: Arc<Shared>,
}

struct Shared {
    state: State,
    seats: Seats,
    observers: Slab,
    #[cfg(feature = "std")]
    close_on_panic: AtomicBool,
}

// The seats hold wakers, which need not be unwind safe. No panic leaves a phaser in a state that it can
// be seen in otherwise.
impl RefUnwindSafe for Shared {}

impl Phaser {
    /// Creates a phaser that nobody is a member of, in phase 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let phaser = atomic_barrier::Phaser::new();
    /// assert_eq!((phaser.phase(), phaser.parties(), phaser.arrived()), (0, 0, 0));
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                state: State::new(),
                seats: Seats::new(),
                observers: Slab::new(),
                #[cfg(feature = "std")]
                close_on_panic: AtomicBool::new(false),
            }),
        }
    }

    /// Closes the phaser when a participant is dropped by a thread that is panicking, for groups in which
    /// a silent exit would be wrong.
    ///
    /// # Examples
    ///
    /// ```
    /// use atomic_barrier::{Closed, Phaser};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::new().close_on_panic();
    /// let (mut mine, other) = (phaser.register()?, phaser.register()?);
    /// let task = tokio::spawn(async move {
    ///     let _other = other;
    ///     panic!("did not do its part");
    /// });
    /// assert_eq!(mine.wait().await, Err(Closed));
    /// # assert!(task.await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "std")]
    #[must_use]
    pub fn close_on_panic(self) -> Self {
        // Ordering: none. Who must obey has the phaser from the caller.
        self.shared.close_on_panic.store(true, Ordering::Relaxed);
        self
    }

    /// Makes a new member, which owes the present phase its arrival.
    ///
    /// If that phase is complete and its leader holds the release, the new member belongs to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let member = phaser.register()?;
    /// assert_eq!(phaser.parties(), 1);
    /// drop(member);
    /// assert_eq!(phaser.parties(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError::Closed`] after [`close`](Self::close), and [`RegisterError::Full`] beyond
    /// 1,048,575 members.
    pub fn register(&self) -> Result<Participant, RegisterError> {
        let seat = self.shared.seats.take(self.parties());
        match self.join(1) {
            Ok(phase) => Ok(Participant::new(self.clone(), seat, phase)),
            Err(error) => {
                self.shared.seats.vacate(seat);
                Err(error)
            }
        }
    }

    /// Makes `n` new members at once, all in the same phase.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let members = phaser.register_many(10)?;
    /// assert_eq!((members.len(), phaser.parties()), (10, 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`register`](Self::register). Either all are registered or none.
    pub fn register_many(&self, n: usize) -> Result<Vec<Participant>, RegisterError> {
        if self.is_closed() {
            return Err(RegisterError::Closed);
        }
        // Before that many seats are taken.
        if n as u64 > MAX_PARTIES {
            return Err(RegisterError::Full);
        }
        let mut hint = self.parties();
        let seats = iter::repeat_with(|| {
            let seat = self.shared.seats.take(hint);
            hint = seat + 1;
            seat
        });
        let seats: Vec<usize> = seats.take(n).collect();
        match self.join(n as u64) {
            Ok(phase) => Ok(seats
                .into_iter()
                .map(|seat| Participant::new(self.clone(), seat, phase))
                .collect()),
            Err(error) => {
                for seat in seats {
                    self.shared.seats.vacate(seat);
                }
                Err(error)
            }
        }
    }

    /// Counts `parties` more, and returns the phase that they join.
    fn join(&self, parties: u64) -> Result<u64, RegisterError> {
        let state = &self.shared.state;
        let mut word = state.load();
        loop {
            if word.is_closed() {
                return Err(RegisterError::Closed);
            }
            if word.parties() + parties > MAX_PARTIES {
                return Err(RegisterError::Full);
            }
            match state.register(word, parties) {
                // The phase cannot end without the new members, so it still is the present one.
                Ok(()) => return Ok(state.phase()),
                Err(present) => word = present,
            }
        }
    }

    /// Awaits the end of `phase`, without being a member.
    ///
    /// It is ready at once if that phase is over, and may be one that has not begun.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let member = phaser.register()?;
    /// let (end, ()) = tokio::join!(phaser.observe(0), async { member.leave() });
    /// assert_eq!(end, Ok(()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Closed`] if the phaser was closed before `phase` was complete.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing, dropped or not.
    pub fn observe(&self, phase: u64) -> Observation<'_> {
        Observation::new(self, phase)
    }

    /// Closes the phaser for good: every present and future wait, arrival and registration gets an error.
    ///
    /// A phase that is complete stays so: its members' waits are ready without an error, at its leader's
    /// release if it has one. Participants may still leave. Closing once more does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// use atomic_barrier::{Closed, Phaser};
    ///
    /// let phaser = Phaser::new();
    /// let mut member = phaser.register()?;
    /// phaser.close();
    /// assert_eq!(member.wait().await, Err(Closed));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of `Waker::wake` or `wake_by_ref` of one that waits leaves through this call, once it
    /// has nobody left to wake.
    pub fn close(&self) {
        if let Some(phase) = self.shared.state.close() {
            let _observers = Finally(|| self.shared.observers.wake_all_in(phase..u64::MAX));
            self.shared.seats.wake(phase..phase + 1);
        }
    }

    /// Whether it has been closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let phaser = atomic_barrier::Phaser::new();
    /// assert!(!phaser.is_closed());
    /// phaser.close();
    /// assert!(phaser.is_closed());
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.state.load().is_closed()
    }

    /// The number, from 0, of the present phase: the one in which arrivals count.
    ///
    /// It never falls, and stays as it is once the phaser is closed. While a leader holds the release of
    /// a phase, the next is present. It orders nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let mut member = phaser.register()?;
    /// member.arrive()?;
    /// assert_eq!(phaser.phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.shared.state.phase()
    }

    /// The number of members, 0 to 1,048,575. It may be old by the time it is looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let members = phaser.register_many(3)?;
    /// assert_eq!(phaser.parties(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.shared.state.load().parties() as usize
    }

    /// How many of them have arrived in the present phase. It may be old by the time it is looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let mut members = phaser.register_many(3)?;
    /// members[0].arrive()?;
    /// assert_eq!(phaser.arrived(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.shared.state.load().arrived() as usize
    }
}

impl Default for Phaser {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Phaser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.shared.state.load();
        f.debug_struct("Phaser")
            .field("phase", &self.phase())
            .field("parties", &word.parties())
            .field("arrived", &word.arrived())
            .field("closed", &word.is_closed())
            .finish()
    }
}

impl Shared {
    #[cfg(feature = "std")]
    fn closes_on_panic(&self) -> bool {
        // Ordering: none, as in `close_on_panic`.
        self.close_on_panic.load(Ordering::Relaxed)
    }

    /// Wakes all who wait for the end of `phase`, which its leader, the caller, has released.
    fn released(&self, phase: u64) {
        self.state.note_release(phase);
        let _observers = Finally(|| self.observers.wake_all(phase));
        self.seats.release(phase);
    }

    /// Does what a departure leaves to do.
    fn departed(&self, departure: Departure) {
        match departure {
            Departure::Unnoticed => {}
            // There is no member whom to wake.
            Departure::Released(phase) => {
                self.state.note_release(phase);
                self.observers.wake_all_in(phase..phase + 1);
            }
            Departure::Orphaned(phase) => self.find_leader(phase),
        }
    }

    /// Finds a leader for `phase`, which is orphaned, and for which the caller is answerable. If nobody
    /// waits, that is its end.
    fn find_leader(&self, phase: u64) {
        let mut orphaned = phase;
        let is_led = loop {
            if self.seats.appoint(orphaned) {
                self.state.appoint();
                if self.seats.has_appointed(orphaned) {
                    break true;
                }
                // It has stopped to wait, and could not look for another; or it has led already.
                match self.state.orphan_again(orphaned) {
                    Some(again) => orphaned = again,
                    None => break true,
                }
            } else {
                let is_next_orphaned = self.state.release_unled();
                orphaned += 1;
                if !is_next_orphaned {
                    break false;
                }
            }
        };
        // Nobody else depends on this any more, so now the wakers may do as they like.
        let released = phase..orphaned;
        if let Some(last) = released.clone().next_back() {
            self.state.note_release(last);
        }
        let _observers = Finally(|| self.observers.wake_all_in(released.clone()));
        // Nobody waits for a phase that was released without a leader, but someone may have been about to.
        self.seats.wake(phase..orphaned + u64::from(is_led));
    }
}

/// Does the rest, whether or not a waker panics before.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What the end of a phase brought: which, and whether this wait led it.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let phaser = atomic_barrier::Phaser::new();
/// let mut member = phaser.register()?;
/// for phase in 0..3 {
///     let result = member.wait().await?;
///     assert!(result.is_leader());
///     assert_eq!(result.phase(), phase);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PhaserWaitResult {
    phase: u64,
    leader: bool,
}

impl PhaserWaitResult {
    /// Whether this wait led the phase. One at most does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let mut member = phaser.register()?;
    /// if member.wait().await?.is_leader() {
    ///     // Do what one of them has to do.
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader
    }

    /// The number, from 0, of the phase that ended.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let mut member = phaser.register()?;
    /// assert_eq!(member.wait().await?.phase(), 0);
    /// assert_eq!(member.wait().await?.phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.phase
    }
}

/// The phaser was closed before the phase was complete.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let phaser = atomic_barrier::Phaser::new();
/// let mut member = phaser.register()?;
/// phaser.close();
/// assert_eq!(member.arrive().unwrap_err().to_string(), "the phaser is closed");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the phaser is closed")
    }
}

impl Error for Closed {}

/// Why [`Phaser::register`] made no member.
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Phaser, RegisterError};
///
/// let phaser = Phaser::new();
/// let error = phaser.register_many(2_000_000).unwrap_err();
/// assert_eq!(error, RegisterError::Full);
/// assert_eq!(error.to_string(), "a phaser has at most 1048575 members");
/// phaser.close();
/// assert_eq!(phaser.register().unwrap_err(), RegisterError::Closed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegisterError {
    /// The phaser is closed.
    Closed,
    /// It would have more than 1,048,575 members.
    Full,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Closed.fmt(f),
            Self::Full => write!(f, "a phaser has at most {MAX_PARTIES} members"),
        }
    }
}

impl Error for RegisterError {}
