//! [`Phaser`]: a barrier whose participants may join, leave and fail; what it hands out, and its errors.

#[cfg(feature = "std")]
mod blocking;
mod builder;
mod error;
mod observer;
mod participant;
#[expect(unsafe_code, reason = "wakers that are kept from phase to phase")]
mod slot;
mod state;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{array, fmt, iter, ops::Range, panic::RefUnwindSafe, task::Waker};

#[cfg(feature = "std")]
pub use self::error::WaitError;
pub use self::{
    builder::{Builder, Exit},
    error::{Closed, RegisterError},
    observer::Observation,
    participant::{Leader, Participant, Wait, WaitLeader},
};
use self::{
    slot::Slots,
    state::{Departure, Lead, MAX_PARTICIPANTS, Snapshot, State},
};
use crate::{
    slab::Slab,
    sync::{AtomicU64, Ordering},
    trace::{Kind, Numbers, Resource},
    wake::CallOnDrop,
};

/// A barrier whose participants may join, leave and fail.
///
/// Each phase ends when every participant has arrived or left. [`register`](Self::register) makes a
/// [`Participant`], which owes each phase one arrival and leaves when it is dropped: by a task that
/// returns, panics or is aborted. Use it in place of a [`Barrier`](crate::Barrier), which waits for a
/// fixed number of arrivals, where tasks come and go or may fail.
///
/// A `Phaser` is a handle: its clones are the same phaser, and are not participants.
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
/// for (i, mut participant) in phaser.register_many(3)?.into_iter().enumerate() {
///     tasks.push(tokio::spawn(async move {
///         for _ in 0..i {
///             participant.wait().await?;
///         }
///         // Leaves, and the others go on without it.
///         Ok::<_, atomic_barrier::phaser::Closed>(())
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
/// Phases are numbered from 0. A participant joins in the current one, [`phase`](Self::phase), which then
/// needs its arrival. The last arrival that a phase needs leads it. If the last that is missing leaves
/// instead, the phase is complete, and of the participants that wait for it the first to be polled leads;
/// if none waits, or phases have an [action](Builder::on_phase), it is over at once, without a leader. So is the current phase of a phaser that its last
/// participant leaves, which then rests until someone registers.
///
/// Participants that are registered one by one, each as its task is spawned, may complete phases while the
/// others are not there yet: register them together, or keep a participant of your own until all are there.
///
/// # Limits
///
/// [`MAX_PARTICIPANTS`](Self::MAX_PARTICIPANTS), 65,535, at a time; one more is refused with
/// [`RegisterError::Full`], which changes nothing.
///
/// # Memory ordering
///
/// All that a participant did before it arrived or left *happens before* all that any participant of the
/// same phase does once its wait is ready, and before all that an observer of that phase does after. A
/// wait that was withdrawn or brought [`Closed`] orders nothing.
#[derive(Clone)]
pub struct Phaser {
    shared: Arc<Shared>,
}

struct Shared {
    state: State,
    slots: Slots<Waker>,
    names: Slots<Arc<str>>,
    observers: Slab,
    close_on: Option<Exit>,
    on_phase: Option<Action>,
    /// One more than the phase whose action panicked, or 0.
    failed: AtomicU64,
    resource: Resource,
}

/// What is run once in each phase that completes.
type Action = Box<dyn Fn(u64, usize) + Send + Sync>;

// The slots have wakers, which need not be unwind safe. No panic leaves a phaser in a state that it can
// be seen in otherwise.
impl RefUnwindSafe for Shared {}

impl Phaser {
    /// The most participants that a phaser has at a time: 65,535.
    pub const MAX_PARTICIPANTS: usize = MAX_PARTICIPANTS as usize;

    /// Creates a phaser without participants, in phase 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let phaser = atomic_barrier::Phaser::new();
    /// assert_eq!((phaser.phase(), phaser.parties(), phaser.arrived()), (0, 0, 0));
    /// ```
    #[must_use]
    #[cfg_attr(feature = "tracing", track_caller)]
    pub fn new() -> Self {
        Self::with(None, None)
    }

    /// Returns the options of a new phaser, to be changed before it is built.
    ///
    /// # Examples
    ///
    /// ```
    /// use atomic_barrier::{Phaser, phaser::Exit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// // Nobody goes on if one panics.
    /// let phaser = Phaser::builder().close_on(Exit::Panic).build();
    /// let [mut mine, other] = phaser.register_array()?;
    /// let task = tokio::spawn(async move {
    ///     let _other = other;
    ///     panic!("did not do its part");
    /// });
    /// assert!(mine.wait().await.is_err());
    /// # assert!(task.await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder() -> Builder {
        Builder::default()
    }

    #[cfg_attr(feature = "tracing", track_caller)]
    fn with(close_on: Option<Exit>, on_phase: Option<Action>) -> Self {
        Self {
            shared: Arc::new(Shared {
                state: State::new(),
                slots: Slots::new(),
                names: Slots::new(),
                observers: Slab::new(),
                close_on,
                on_phase,
                failed: AtomicU64::new(0),
                resource: Resource::new(Kind::Phaser),
            }),
        }
    }

    /// Makes a new participant, which owes the current phase its arrival.
    ///
    /// If that phase is complete and waits to be led, it needs the new participant's arrival, too. If its
    /// leader holds the release, the new participant belongs to the next phase:
    /// [`Participant::phase`] says which.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let participant = phaser.register()?;
    /// assert_eq!(phaser.parties(), 1);
    /// drop(participant);
    /// assert_eq!(phaser.parties(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`RegisterError::Closed`] after [`close`](Self::close), and [`RegisterError::Full`] beyond
    /// [`MAX_PARTICIPANTS`](Self::MAX_PARTICIPANTS).
    pub fn register(&self) -> Result<Participant, RegisterError> {
        self.register_array().map(|[participant]| participant)
    }

    /// Makes `n` new participants at once, all in the same phase.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let participants = phaser.register_many(10)?;
    /// assert_eq!((participants.len(), phaser.parties()), (10, 10));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`register`](Self::register). Either all are registered or none.
    pub fn register_many(&self, n: usize) -> Result<Vec<Participant>, RegisterError> {
        let participants = iter::repeat_with(self.registering(n)?);
        Ok(self.registered(participants.take(n).collect()))
    }

    /// Makes `N` new participants at once, all in the same phase, for as many variables.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let [mut a, b] = phaser.register_array()?;
    /// a.arrive()?;
    /// b.leave();
    /// assert_eq!(phaser.phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`register`](Self::register). Either all are registered or none.
    pub fn register_array<const N: usize>(&self) -> Result<[Participant; N], RegisterError> {
        let mut participant = self.registering(N)?;
        Ok(self.registered(array::from_fn(|_| participant())))
    }

    /// Registers `n` participants, which the function that is returned makes one by one.
    fn registering(&self, n: usize) -> Result<impl FnMut() -> Participant, RegisterError> {
        let mut hint = self.parties();
        let phase = match n {
            0 if self.is_closed() => return Err(RegisterError::Closed),
            // Nobody joins it.
            0 => self.phase(),
            n => self.shared.state.register(n as u64)?,
        };
        Ok(move || {
            let slot = self.shared.slots.take(hint);
            hint = slot + 1;
            Participant::new(self.clone(), slot, phase)
        })
    }

    /// Reports that there are these `participants`.
    fn registered<P>(&self, participants: P) -> P {
        self.shared.parties_changed();
        participants
    }

    /// Awaits the end of `phase`, without being a participant.
    ///
    /// It is ready at once if that phase is over, and may be one that has not begun.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let participant = phaser.register()?;
    /// let (end, ()) = tokio::join!(phaser.observe(0), async { participant.leave() });
    /// assert_eq!(end, Ok(()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Closed`] if the phaser was closed before `phase` was over, and before a leader held its release.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing, dropped or not.
    ///
    /// # Panics
    ///
    /// A panic out of `Waker::clone` leaves through the poll that cloned; the next registers anew.
    ///
    /// # Memory ordering
    ///
    /// As for a participant of the phase: see [above](Self#memory-ordering).
    pub fn observe(&self, phase: u64) -> Observation<'_> {
        Observation::new(self, phase)
    }

    /// Closes the phaser for good: waits, arrivals and registrations get an error from now on.
    ///
    /// A phase that is complete stays so. Its participants' waits are ready without an error, at its
    /// leader's release if it has one. Participants may still leave. Closing once more wakes once more
    /// all that wait, so that nobody depends on the thread that closed first.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// use atomic_barrier::Phaser;
    ///
    /// let phaser = Phaser::new();
    /// let mut participant = phaser.register()?;
    /// phaser.close();
    /// assert!(participant.wait().await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of `Waker::wake` or `wake_by_ref` of a participant or observer that waits leaves through
    /// this call, once it has nobody left to wake.
    pub fn close(&self) {
        self.shared.closed(self.shared.state.close());
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

    /// The number, from 0, of the current phase: the first that is not over.
    ///
    /// It never falls, and grows by one at most once the phaser is closed, when a phase that was complete
    /// ends. While a leader holds the release of a phase, that phase is current, and arrivals
    /// already count in the next. It orders nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let mut participant = phaser.register()?;
    /// participant.arrive()?;
    /// assert_eq!(phaser.phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.shared.state.load_with_phase().1
    }

    /// The number of participants, 0 to 65,535. It may be old by the time it is looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let participants = phaser.register_many(3)?;
    /// assert_eq!(phaser.parties(), 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn parties(&self) -> usize {
        self.shared.state.load().participants() as usize
    }

    /// How many of them have arrived in the current phase: all, once it is complete. It may be old by the
    /// time it is looked at. After a close, a pending wait that is dropped lowers it, and one that is polled
    /// does not.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let mut participants = phaser.register_many(3)?;
    /// participants[0].arrive()?;
    /// assert_eq!(phaser.arrived(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.shared.state.load().arrived() as usize
    }

    /// The names of those that have not arrived in the current phase, of the participants that
    /// have [names](Participant::named), roughly in the order of their registration.
    ///
    /// It may be asked at any time and from anywhere, and delays nobody. How many are missing in all, also
    /// without names, is [`parties`](Self::parties) less [`arrived`](Self::arrived). Nobody is missing in a
    /// phase that is complete, also while its leader holds the release.
    ///
    /// A participant that has arrived or left before this call is not listed, and one that does not arrive
    /// before its end is; a dropped wait that has withdrawn its arrival is one that has not. A participant
    /// that arrives, withdraws or leaves meanwhile may or may not be listed, and one that gets another name by
    /// either, both or neither. The answer may be old by the time it is looked at, and orders nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use atomic_barrier::Phaser;
    /// use tokio::time::timeout;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::new();
    /// let mut mine = phaser.register()?.named("report");
    /// let [reader, mut writer] = [phaser.register()?.named("reader"), phaser.register()?.named("writer")];
    /// writer.arrive()?;
    /// if timeout(Duration::from_secs(5), mine.wait()).await.is_err() {
    ///     // The wait was dropped and its arrival withdrawn.
    ///     assert_eq!(phaser.missing().join(", "), "report, reader");
    /// }
    /// # drop(reader);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn missing(&self) -> Vec<Arc<str>> {
        self.shared.numbers().missing
    }
}

impl Default for Phaser {
    #[cfg_attr(feature = "tracing", track_caller)]
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Phaser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = self.shared.numbers();
        let mut fields = f.debug_struct("Phaser");
        fields
            .field("phase", &numbers.number)
            .field("parties", &numbers.parties)
            .field("arrived", &numbers.arrived)
            .field("closed", &numbers.is_closed);
        if !numbers.missing.is_empty() {
            fields.field("missing", &First(&numbers.missing));
        }
        fields.finish_non_exhaustive()
    }
}

/// Shows the first few names.
struct First<'a>(&'a [Arc<str>]);

impl fmt::Debug for First<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 8;
        let mut list = f.debug_list();
        list.entries(self.0.iter().take(MOST));
        if self.0.len() > MOST {
            list.finish_non_exhaustive()
        } else {
            list.finish()
        }
    }
}

impl Shared {
    /// Wakes all that wait for the end of `phase`, which the caller has led and released.
    fn released(&self, phase: u64) {
        let _report = CallOnDrop(|| self.resource.released(|| self.numbers()));
        self.wake_released(phase);
    }

    /// The same, for a caller that has more to wake and reports after that.
    fn wake_released(&self, phase: u64) {
        self.state.note_release(phase);
        self.wake(phase, phase..phase + 1);
    }

    /// Wakes all that wait for the end of `phase` or a later one in a phaser that the caller has closed.
    fn closed(&self, phase: u64) {
        let _report = CallOnDrop(|| self.parties_changed());
        self.wake(phase, phase..u64::MAX);
    }

    /// Wakes all participants that wait for the end of `phase`, and the observers of all `observed`.
    fn wake(&self, phase: u64, observed: Range<u64>) {
        let _observers = CallOnDrop(|| self.observers.wake_all_in(observed.clone()));
        self.slots.wake(phase);
    }

    /// Wakes the observers of `phase`, which the caller has ended. Participants have nothing to be woken
    /// for, or are woken by the caller.
    fn ended(&self, phase: u64) {
        self.state.note_release(phase);
        self.observers.wake_all_in(phase..phase + 1);
    }

    /// Does what a departure leaves to do.
    fn departed(&self, departure: Departure) {
        let _report = CallOnDrop(|| self.parties_changed());
        match departure {
            Departure::Unnoticed => {}
            Departure::Completed(phase) => self.slots.wake(phase),
            Departure::Ended(phase) => self.ended(phase),
            Departure::Leads { .. } => unreachable!("its participant has not left"),
        }
    }

    /// What a leader does with the release. The action of a phase is run while that is held.
    fn lead(&self, lead: Lead) -> Lead {
        if self.on_phase.is_some() {
            Lead::Hold
        } else {
            lead
        }
    }

    /// Reports that participants have come or gone, or may come no more.
    fn parties_changed(&self) {
        self.resource.parties_changed(|| self.numbers());
    }

    /// Reports an arrival, or one that was withdrawn.
    #[inline]
    fn arrivals_changed(&self) {
        self.resource.arrivals_changed(|| self.numbers());
    }

    fn numbers(&self) -> Numbers {
        let (word, phase) = self.state.load_with_phase();
        let is_complete = word.arrived() == word.participants();
        Numbers {
            parties: word.participants(),
            arrived: word.arrived(),
            number: phase,
            is_closed: word.is_closed(),
            missing: if is_complete {
                Vec::new()
            } else {
                self.names.missing(phase)
            },
        }
    }

    /// Whether the action of `phase` panicked, for a thread that has found the phase over in `word`.
    #[inline]
    fn has_failed(&self, phase: u64, word: Snapshot) -> bool {
        // Relaxed: the word has handed it on.
        word.is_closed() && self.failed.load(Ordering::Relaxed) == phase + 1
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
/// let mut participant = phaser.register()?;
/// for phase in 0..3 {
///     let result = participant.wait().await?;
///     assert!(result.is_leader());
///     assert_eq!(result.phase(), phase);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WaitResult {
    phase: u64,
    leader: bool,
}

impl fmt::Debug for WaitResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitResult")
            .field("phase", &self.phase)
            .field("is_leader", &self.leader)
            .finish_non_exhaustive()
    }
}

impl WaitResult {
    /// Whether this wait led the phase. One at most does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let mut participant = phaser.register()?;
    /// if participant.wait().await?.is_leader() {
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
    /// # let mut participant = phaser.register()?;
    /// assert_eq!(participant.wait().await?.phase(), 0);
    /// assert_eq!(participant.wait().await?.phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.phase
    }
}
