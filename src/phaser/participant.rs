//! [`Participant`]: what it does in its phases, and the futures of its waits.

use alloc::sync::Arc;
use core::{
    fmt,
    future::Future,
    iter, mem,
    num::NonZero,
    pin::Pin,
    task::{Context, Poll, Waker},
};

#[cfg(feature = "std")]
use super::state::Stage;
use super::{
    CallOnDrop, Closed, Phaser, WaitResult,
    state::{Departure, Lead, Stopped},
};
use crate::{
    sync::Ordering,
    trace::{AsyncOp, Step, op_arrived, op_named},
    wake::wake_all,
};

/// A participant of a [`Phaser`], from [`Phaser::register`] until it is dropped.
///
/// Each phase needs one arrival of each participant. Dropping it is to [`leave`](Self::leave):
/// whatever the current phase still needed from it is no longer needed. So a task that owns its
/// participant cannot hang the others by ending, whether it returns, is aborted or panics, and
/// wherever it was.
///
/// # Examples
///
/// ```
/// use atomic_barrier::Phaser;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let phaser = Phaser::new();
/// let mut mine = phaser.register()?;
/// let mut other = phaser.register()?;
/// let task = tokio::spawn(async move {
///     let _ = other.wait().await;
///     panic!("in phase 1");
/// });
/// assert_eq!(mine.wait().await?.phase(), 0);
/// // The other never arrives in phase 1, but it has left.
/// assert_eq!(mine.wait().await?.phase(), 1);
/// # assert!(task.await.unwrap_err().is_panic());
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a participant is to leave"]
pub struct Participant {
    phaser: Phaser,
    slot: usize,
    /// One more than the slot of its name.
    name: Option<NonZero<usize>>,
    phase: u64,
    state: WaitState,
    /// Whether it is dropped by [`leave`](Self::leave).
    leaves: bool,
}

/// How far a participant has come in its phase.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WaitState {
    /// It owes its arrival.
    Due,
    /// It has arrived, and does not know that the phase is over.
    Arrived,
    /// The same, and it waits: the word counts that, unless the phase is held or over.
    Waits,
    /// It has led the phase, which is over, but has not said so yet.
    Led,
    /// It leads the phase and holds its release.
    Holds,
}

impl Participant {
    pub(super) fn new(phaser: Phaser, slot: usize, phase: u64) -> Self {
        Self {
            phaser,
            slot,
            name: None,
            phase,
            state: WaitState::Due,
            leaves: false,
        }
    }

    /// Gives it a name, in place of any that it has, by which [`Phaser::missing`] and the phaser's `Debug`
    /// list it while it has not arrived. The name is freed once it is replaced or its participant has
    /// left, and no thread looks.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let workers = phaser.register_many(3)?.into_iter().enumerate();
    /// let mut workers: Vec<_> = workers.map(|(i, worker)| worker.named(format!("worker {i}"))).collect();
    /// workers[0].arrive()?;
    /// workers[2].arrive()?;
    /// assert_eq!(phaser.missing(), ["worker 1".into()]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of `into` leaves through this call, and the participant is dropped.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        let name = name.into();
        let names = &self.phaser.shared.names;
        let mut index = self.name_slot().unwrap_or_else(|| names.take(self.slot));
        names.register_anew(&mut index, self.owed(), || name);
        self.name = NonZero::new(index + 1);
        self.phaser.shared.parties_changed();
        self
    }

    /// Its name, if it has [one](Self::named).
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let participant = atomic_barrier::Phaser::new().register()?;
    /// assert_eq!(participant.name(), None);
    /// assert_eq!(participant.named("worker").name(), Some("worker"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.phaser
            .shared
            .names
            .slot(self.name_slot()?)
            .get()
            .map(|name| &**name)
    }

    fn name_slot(&self) -> Option<usize> {
        self.name.map(|index| index.get() - 1)
    }

    /// The first phase in which it has not arrived.
    fn owed(&self) -> u64 {
        self.phase + u64::from(self.state != WaitState::Due)
    }

    /// Says what it owes now, and reports the arrival. To be called once it has arrived, unless it leads.
    #[inline]
    fn note_arrival(&self) {
        self.note_owed();
        self.phaser.shared.arrivals_changed();
    }

    /// Says what it owes now, for those that look who is missing. To be called once it has arrived or
    /// withdrawn, unless it leads.
    #[inline]
    fn note_owed(&self) {
        if let Some(index) = self.name_slot() {
            self.phaser.shared.names.owe(index, self.owed());
        }
    }

    /// The phaser that this participates in.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let participant = atomic_barrier::Phaser::new().register()?;
    /// let another = participant.phaser().register()?;
    /// assert_eq!(another.phaser().parties(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phaser(&self) -> &Phaser {
        &self.phaser
    }

    /// The number of the phase whose end its next [`wait`](Self::wait) brings.
    ///
    /// This is the phase that it owes an arrival or has arrived in. It is one more than [`Phaser::phase`]
    /// while another leader holds the release of the phase before, and one less if the phase is over and
    /// no wait has brought its end.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let mut participant = phaser.register()?;
    /// assert_eq!(participant.arrive()?, 0);
    /// // It has not waited for the end of phase 0.
    /// assert_eq!((participant.phase(), phaser.phase()), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.phase + u64::from(self.state == WaitState::Holds)
    }

    /// Arrives, unless [`arrive`](Self::arrive) has done that, and waits until all participants have
    /// arrived or left.
    ///
    /// Nothing happens before the future is first polled. The last to arrive is ready at once, with a
    /// result that says [`is_leader`](WaitResult::is_leader). If a phase is completed by a participant
    /// that leaves, those that wait are woken, and the first to be polled leads it; the others are woken
    /// once more at its end. If phases have an [action](super::Builder::on_phase), such a phase has no leader.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let [mut a, mut b] = phaser.register_array()?;
    /// let (a, b) = tokio::join!(a.wait(), b.wait());
    /// assert!(!a?.is_leader() && b?.is_leader());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Closed`] if the phaser was closed before the phase was complete.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe. A wait that made the arrival and is dropped before the phase is
    /// complete withdraws it; the participant still owes it. If the phase was complete by then, the next
    /// `wait` brings the result of that phase, so none is ever missed and none is seen twice. A wait that is
    /// leaked by [`mem::forget`](core::mem::forget) goes on until its participant's next call; if nobody
    /// else waits, a phase that a departure completes is not over before that. A time-out can be tried again:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::timeout;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let [mut mine, mut other] = phaser.register_array()?;
    /// # tokio::spawn(async move {
    /// #     tokio::time::sleep(Duration::from_secs(1)).await;
    /// #     let _ = other.wait().await;
    /// # });
    /// let result = loop {
    ///     if let Ok(result) = timeout(Duration::from_millis(300), mine.wait()).await {
    ///         break result?;
    ///     }
    /// };
    /// assert_eq!(result.phase(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// Polling the future again after it was ready panics. A panic out of `Waker::clone` leaves through
    /// the poll that cloned, before it arrives. A panic out of `Waker::wake_by_ref` leaves through the
    /// call that made it, once that has nobody left to wake.
    pub fn wait(&mut self) -> Wait<'_> {
        Wait(Waiting::new(self))
    }

    /// Waits like [`wait`](Self::wait), but if this participant leads the phase, the others stay blocked
    /// until the [`Leader`] is released or dropped.
    ///
    /// The others get `None`. A participant that registers meanwhile belongs to the next phase. A phase whose
    /// last arrival is made by [`arrive`](Self::arrive) or a plain `wait` is led by that, and has no
    /// `Leader`.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let mut participant = phaser.register()?;
    /// if let Some(leader) = participant.wait_leader().await? {
    ///     // Act for all, while all are here.
    ///     leader.release();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors, cancel safety and panics
    ///
    /// As for [`wait`](Self::wait). Once the phase is complete nobody can withdraw from it, and a leader
    /// that is leaked by [`mem::forget`](core::mem::forget) releases with its participant's next call.
    pub fn wait_leader(&mut self) -> WaitLeader<'_> {
        WaitLeader(Waiting::new(self))
    }

    /// Arrives now and for good, and returns the phase in which that counts.
    ///
    /// A [`wait`](Self::wait) that follows observes this phase, even if it is over by then. Once more
    /// in the same phase, this does nothing, but leads a phase that a departure has completed; after the
    /// phase has ended it arrives in the next, and the end of the former is not observed any more. If it is
    /// refused, nothing is forgotten.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let [mut a, mut b] = phaser.register_array()?;
    /// assert_eq!(a.arrive()?, 0);
    /// assert_eq!(a.arrive()?, 0);
    /// assert_eq!(b.arrive()?, 0);
    /// assert_eq!(phaser.phase(), 1);
    /// assert_eq!(a.wait().await?.phase(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Closed`] if the phaser was closed before this.
    ///
    /// # Panics
    ///
    /// A panic out of `Waker::wake_by_ref` of one of the others leaves through this call if it completes
    /// the phase, once it has nobody left to wake.
    pub fn arrive(&mut self) -> Result<u64, Closed> {
        self.settle();
        let before = (self.phase, self.state);
        match self.state {
            WaitState::Arrived | WaitState::Waits => {
                match self.poll_arrived(None, Lead::Release)? {
                    Poll::Ready(false) => self.next_phase(),
                    Poll::Ready(true) => return Ok(self.phase),
                    Poll::Pending => {
                        self.stop(false, true);
                        return Ok(self.phase);
                    }
                }
            }
            WaitState::Led => self.next_phase(),
            WaitState::Due | WaitState::Holds => {}
        }
        match self.arrive_with(false, None, Lead::Release) {
            Ok(true) => {}
            Ok(false) => self.note_arrival(),
            Err(closed) => {
                // A refused arrival changes nothing.
                (self.phase, self.state) = before;
                return Err(closed);
            }
        }
        Ok(self.phase)
    }

    /// Leaves the phaser, as dropping does, but never closes it, whatever
    /// [`Builder::close_on`](super::Builder::close_on) says.
    ///
    /// If only this participant was missing in the current phase, that is complete. A phaser without
    /// participants completes no phase, and can be used again.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let [mut a, b] = phaser.register_array()?;
    /// a.arrive()?;
    /// b.leave();
    /// assert_eq!((phaser.phase(), phaser.parties()), (1, 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of `Waker::wake_by_ref` of one of the others leaves through this call if it completes
    /// the phase, once it has nobody left to wake.
    pub fn leave(mut self) {
        self.leaves = true;
    }

    /// Ends what was left undone: a leader that was leaked.
    #[inline]
    fn settle(&mut self) {
        if self.state == WaitState::Holds {
            self.release();
        }
    }

    /// Releases the phase that this participant leads.
    #[cold]
    fn release(&mut self) {
        self.next_phase();
        let shared = &self.phaser.shared;
        shared.state.release();
        shared.released(self.phase - 1);
    }

    fn next_phase(&mut self) {
        self.phase += 1;
        self.state = WaitState::Due;
    }

    /// Arrives in its phase, which it owes, and waits. Returns whether it leads.
    #[inline]
    fn arrive_and_wait(&mut self, waker: Option<&Waker>, lead: Lead) -> Result<bool, Closed> {
        let leads = self.arrive_with(true, waker, lead)?;
        if !leads {
            self.note_arrival();
            op_arrived();
        }
        Ok(leads)
    }

    /// Arrives in its phase, which it owes, and perhaps waits. Returns whether it leads; if not, it has to
    /// [note](Self::note_arrival) that it has arrived.
    ///
    /// A thread that waits may do so without a waker until it sleeps.
    #[inline]
    fn arrive_with(
        &mut self,
        waits: bool,
        waker: Option<&Waker>,
        lead: Lead,
    ) -> Result<bool, Closed> {
        let shared = &self.phaser.shared;
        let (slot, phase) = (&mut self.slot, self.phase);
        let (mut is_registered, mut replaced, mut participants) = (false, None, 0);
        let arrived = shared.state.arrive(
            waits,
            |word| {
                participants = word.participants();
                shared.lead(lead)
            },
            || {
                if let (Some(waker), false) = (waker, is_registered) {
                    replaced = shared.slots.register(slot, phase, waker);
                    is_registered = true;
                }
            },
        );
        if is_registered && arrived != Ok(false) {
            shared.slots.slot(self.slot).deregister();
        }
        match arrived {
            Ok(false) if waits => self.state = WaitState::Waits,
            Ok(false) => self.state = WaitState::Arrived,
            Ok(true) => self.completed(lead, replaced.take(), participants),
            Err(_) => {}
        }
        if replaced.is_some() {
            // To drop it may panic.
            self.note_owed();
        }
        arrived
    }

    /// Leads the phase, which this participant has completed and so many take part in.
    fn completed(&mut self, lead: Lead, replaced: Option<Waker>, participants: u64) {
        if self.phaser.shared.on_phase.is_none() {
            return self.lead(lead, replaced);
        }
        self.state = WaitState::Holds;
        drop_after(replaced, || {
            self.act(participants);
            match lead {
                Lead::Hold => self.phaser.shared.arrivals_changed(),
                Lead::Release => self.release_led(),
            }
        });
    }

    /// Runs the action of the phase whose release this participant holds.
    ///
    /// If it panics, the phaser is closed, and the phase is over and has failed.
    #[cold]
    fn act(&mut self, participants: u64) {
        struct FailOnUnwind<'a>(&'a mut Participant);

        impl Drop for FailOnUnwind<'_> {
            fn drop(&mut self) {
                let phaser = self.0.phaser.clone();
                // Relaxed: the release hands it on.
                let failed = &phaser.shared.failed;
                failed.store(self.0.phase + 1, Ordering::Relaxed);
                let next = phaser.shared.state.close();
                let _others = CallOnDrop(|| phaser.shared.closed(next));
                self.0.next_phase();
                phaser.shared.state.release();
                phaser.shared.wake_released(self.0.phase - 1);
            }
        }

        let phaser = self.phaser.clone();
        if let Some(action) = &phaser.shared.on_phase {
            let phase = self.phase;
            let failing = iter::once(FailOnUnwind(self));
            wake_all(failing, |failing| {
                action(phase, participants as usize);
                mem::forget(failing);
            });
        }
    }

    /// Leads the phase, which this participant has completed or found complete.
    fn lead(&mut self, lead: Lead, replaced: Option<Waker>) {
        // Before any waker runs or is dropped: a panic in one does not undo the phase.
        self.state = match lead {
            Lead::Hold => WaitState::Holds,
            Lead::Release => WaitState::Led,
        };
        let shared = &self.phaser.shared;
        drop_after(replaced, || match lead {
            Lead::Hold => shared.arrivals_changed(),
            Lead::Release => shared.released(self.phase),
        });
    }

    /// Waits for the end of its phase. Ready with whether it leads.
    #[inline]
    fn poll(&mut self, waker: &Waker, lead: Lead) -> Poll<Result<bool, Closed>> {
        match self.state {
            WaitState::Due => match self.arrive_and_wait(Some(waker), lead) {
                Ok(false) => Poll::Pending,
                ready => Poll::Ready(ready),
            },
            WaitState::Arrived | WaitState::Waits => self.poll_arrived(Some(waker), lead),
            WaitState::Led | WaitState::Holds => Poll::Ready(Ok(true)),
        }
    }

    /// The same, for a participant that has arrived. Without a waker it does not begin to wait.
    #[inline]
    fn poll_arrived(&mut self, waker: Option<&Waker>, lead: Lead) -> Poll<Result<bool, Closed>> {
        let word = self.phaser.shared.state.load();
        if word.is_over_and_not_closed(self.phase) {
            return Poll::Ready(Ok(false));
        }
        self.poll_unreleased(waker, lead)
    }

    /// The same, unless the phase is over in a phaser that is not closed.
    #[cold]
    fn poll_unreleased(&mut self, waker: Option<&Waker>, lead: Lead) -> Poll<Result<bool, Closed>> {
        let shared = &self.phaser.shared;
        let (slot, phase) = (&mut self.slot, self.phase);
        let is_counted = self.state == WaitState::Waits || waker.is_none();
        // A waker that is registered from before was published then.
        let was_registered =
            waker.is_none_or(|waker| shared.slots.is_registered(*slot, phase, waker));
        let (mut is_registered, mut replaced) = (was_registered, None);
        let polled = shared
            .state
            .wait(phase, is_counted, was_registered, lead, || {
                // Once: a second time would drop what the first replaced, before the waker is published.
                if let (Some(waker), false) = (waker, is_registered) {
                    replaced = shared.slots.register(slot, phase, waker);
                    is_registered = true;
                }
            });
        match polled {
            Poll::Pending if waker.is_some() => self.state = WaitState::Waits,
            Poll::Ready(Ok(true)) => {
                shared.slots.slot(self.slot).deregister();
                self.lead(lead, replaced);
            }
            Poll::Ready(Err(_)) => shared.slots.slot(self.slot).deregister(),
            Poll::Ready(Ok(false)) if shared.has_failed(phase, shared.state.load()) => {
                return Poll::Ready(Err(Closed(())));
            }
            Poll::Pending | Poll::Ready(Ok(false)) => {}
        }
        polled
    }

    /// Stops waiting, which may end a complete phase if it `may_end` that. Withdraws its arrival if the
    /// wait `made_arrival` and the phase is not complete. Returns false if it is too late for either.
    fn stop(&mut self, made_arrival: bool, may_end: bool) -> bool {
        if self.state != WaitState::Waits {
            return false;
        }
        let shared = &self.phaser.shared;
        let stopped = shared.state.stop(self.phase, made_arrival, may_end);
        shared.slots.slot(self.slot).deregister();
        self.state = match stopped {
            Stopped::Withdrawn => WaitState::Due,
            Stopped::Counts | Stopped::Ended => WaitState::Arrived,
            Stopped::Not => return false,
        };
        self.note_owed();
        match stopped {
            Stopped::Withdrawn => shared.arrivals_changed(),
            Stopped::Ended => {
                let _report = CallOnDrop(|| shared.resource.released(|| shared.numbers()));
                shared.ended(self.phase);
            }
            Stopped::Counts | Stopped::Not => {}
        }
        true
    }

    /// What the end of its phase brings; the next is due.
    #[inline]
    pub(super) fn result(&mut self, leader: bool) -> WaitResult {
        let phase = self.phase;
        self.next_phase();
        WaitResult { phase, leader }
    }

    /// The same, or its leader if it holds the release.
    pub(super) fn leader(&mut self, leads: bool) -> Option<Leader<'_>> {
        if leads && self.state == WaitState::Holds {
            return Some(Leader { participant: self });
        }
        // Also if it has led by `arrive`, which released the others.
        self.next_phase();
        None
    }

    /// Releases the phase that this participant holds. Its next poll is ready, and says that it led.
    fn release_led(&mut self) {
        self.state = WaitState::Led;
        let shared = &self.phaser.shared;
        shared.state.release();
        shared.released(self.phase);
    }

    /// Does what is left to do for a wait that was polled and is dropped before it was ready.
    #[cold]
    fn abandon(&mut self, made_arrival: bool) {
        if self.state == WaitState::Holds {
            // A panic has kept the leader from being returned.
            self.release_led();
        } else {
            self.stop(made_arrival, true);
        }
    }

    /// Takes it out of the phaser, whatever wakers and actions do meanwhile.
    ///
    /// As long as it completes phases that have an action, it leads these first.
    fn depart(&mut self) {
        while let Some((released, participants)) = self.try_depart() {
            let released = released.map(|phase| (self.phaser.clone(), phase));
            let departing = DepartOnDrop(self);
            {
                let _acting = CallOnDrop(|| departing.0.act(participants));
                if let Some((phaser, phase)) = released {
                    phaser.shared.wake_released(phase);
                }
            }
            mem::forget(departing);
        }
    }

    /// The same, unless it then leads a phase: returns which one it has released before that, and how many
    /// take part.
    fn try_depart(&mut self) -> Option<(Option<u64>, u64)> {
        if self.state == WaitState::Led {
            self.next_phase();
        }
        let holds = self.state == WaitState::Holds;
        let waits = self.state == WaitState::Waits;
        let has_arrived = waits || self.state == WaitState::Arrived;
        let released = holds.then_some(self.phase);
        let shared = &self.phaser.shared;
        let has_action = shared.on_phase.is_some();
        let departure = shared
            .state
            .leave(self.phase, holds, has_arrived, waits, has_action);
        if let Departure::Leads {
            phase,
            participants,
        } = departure
        {
            self.phase = phase;
            self.state = WaitState::Holds;
            return Some((released, participants));
        }
        let waker = shared.slots.vacate(self.slot);
        if let Some(name) = self.name_slot() {
            shared.names.vacate(name);
        }
        drop_after(waker, || {
            let _departed = CallOnDrop(|| shared.departed(departure));
            if let Some(phase) = released {
                shared.wake_released(phase);
            }
        });
        None
    }
}

/// Drops `waker`, which may panic, once `others` have been woken, which may panic too.
fn drop_after(mut waker: Option<Waker>, others: impl FnOnce()) {
    let _waker = CallOnDrop(|| wake_all(waker.take().into_iter(), drop));
    others();
}

/// A participant that leaves, also if a waker or an action panics.
struct DepartOnDrop<'a>(&'a mut Participant);

impl Drop for DepartOnDrop<'_> {
    fn drop(&mut self) {
        self.0.depart();
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        let close_on = self.phaser.shared.close_on;
        let closes = close_on.is_some_and(|exit| exit.is_now(self.leaves));
        let _closed = closes.then(|| {
            let phaser = self.phaser.clone();
            let phase = phaser.shared.state.close();
            CallOnDrop(move || phaser.shared.closed(phase))
        });
        self.depart();
    }
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Participant");
        if let Some(name) = self.name() {
            fields.field("name", &name);
        }
        fields
            .field("phase", &self.phase())
            .field("phaser", &self.phaser)
            .finish_non_exhaustive()
    }
}

/// A participant's wait, whatever it brings.
pub(super) struct Waiting<'a> {
    /// `None` once it was ready.
    participant: Option<&'a mut Participant>,
    /// Whether dropping it withdraws the arrival.
    made_arrival: bool,
    is_polled: bool,
    op: AsyncOp,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(participant: &'a mut Participant) -> Self {
        Self {
            participant: Some(participant),
            made_arrival: false,
            is_polled: false,
            op: AsyncOp::new(),
        }
    }

    /// The next step of this wait, which the method `source` made.
    #[inline]
    fn step(&mut self, source: &'static str) -> Step {
        let Some(participant) = &self.participant else {
            panic!("a phaser's future was polled again after it was ready");
        };
        let shared = &participant.phaser.shared;
        self.op.step(source, &shared.resource, || shared.numbers())
    }

    /// The participant, before anything else is done for this wait.
    #[inline]
    fn begin(&mut self) -> &mut Participant {
        let participant = self.participant.as_mut().expect("it was not ready");
        if !self.is_polled {
            self.is_polled = true;
            participant.settle();
            op_named(|| participant.name());
            if participant.state != WaitState::Due {
                op_arrived();
            }
        }
        self.made_arrival |= participant.state == WaitState::Due;
        participant
    }

    /// Ready with the participant, and whether it leads the phase.
    #[inline]
    pub(super) fn poll(
        &mut self,
        source: &'static str,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<Result<(&'a mut Participant, bool), Closed>> {
        let step = self.step(source);
        let Poll::Ready(ready) = step.poll(|| self.begin().poll(waker, lead)) else {
            return Poll::Pending;
        };
        let participant = self.participant.take().expect("seen above");
        Poll::Ready(ready.map(|leads| (participant, leads)))
    }

    /// Arrives and waits without a waker, if it has not arrived.
    #[cfg(feature = "std")]
    pub(super) fn arrive(&mut self, source: &'static str, lead: Lead) -> Result<(), Closed> {
        let step = self.step(source);
        step.take(|| {
            let participant = self.begin();
            if participant.state == WaitState::Due {
                participant.arrive_and_wait(None, lead)?;
            }
            Ok(())
        })
    }

    /// Whether it has arrived and nothing but the release is missing.
    #[cfg(feature = "std")]
    pub(super) fn should_spin(&self) -> bool {
        let Some(participant) = &self.participant else {
            return false;
        };
        let word = participant.phaser.shared.state.load();
        matches!(participant.state, WaitState::Arrived | WaitState::Waits)
            && match word.stage_of(participant.phase) {
                Stage::Open => !word.is_closed(),
                Stage::Held => true,
                Stage::Complete | Stage::Released => false,
            }
    }

    /// Stops waiting, unless the phase is complete, and withdraws the arrival if it made it.
    #[cfg(feature = "std")]
    pub(super) fn withdraw(&mut self) -> bool {
        let made_arrival = self.made_arrival;
        let participant = self.participant.as_mut();
        participant.is_some_and(|participant| participant.stop(made_arrival, false))
    }
}

impl Waiting<'_> {
    fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct(name);
        if let Some(participant) = &self.participant {
            fields.field("participant", participant);
        }
        fields.finish_non_exhaustive()
    }
}

impl Drop for Waiting<'_> {
    #[inline]
    fn drop(&mut self) {
        if let (Some(participant), true) = (&mut self.participant, self.is_polled) {
            participant.abandon(self.made_arrival);
        }
    }
}

/// The future of [`Participant::wait`]. Dropping it withdraws its arrival, unless the phase is
/// complete.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, phaser::Wait};
///
/// let mut participant = Phaser::new().register()?;
/// let wait: Wait<'_> = participant.wait();
/// assert!(wait.await?.is_leader());
/// # Ok(())
/// # }
/// ```
#[must_use = "a wait arrives when it is first polled, and withdraws when it is dropped"]
pub struct Wait<'a>(Waiting<'a>);

impl Future for Wait<'_> {
    type Output = Result<WaitResult, Closed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = self.0.poll("Participant::wait", cx.waker(), Lead::Release);
        ready.map_ok(|(participant, leads)| participant.result(leads))
    }
}

/// The future of [`Participant::wait_leader`]. Dropping it withdraws its arrival, unless the phase is
/// complete.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, phaser::WaitLeader};
///
/// let mut participant = Phaser::new().register()?;
/// let wait: WaitLeader<'_> = participant.wait_leader();
/// assert!(wait.await?.is_some());
/// # Ok(())
/// # }
/// ```
#[must_use = "a wait arrives when it is first polled, and withdraws when it is dropped"]
pub struct WaitLeader<'a>(Waiting<'a>);

impl<'a> Future for WaitLeader<'a> {
    type Output = Result<Option<Leader<'a>>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = self
            .0
            .poll("Participant::wait_leader", cx.waker(), Lead::Hold);
        ready.map_ok(|(participant, leads)| participant.leader(leads))
    }
}

/// The right to act while all other participants of a phase are blocked, from
/// [`Participant::wait_leader`]. Dropping it releases them.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, phaser::Leader};
///
/// let phaser = Phaser::new();
/// let [mut a, mut b] = phaser.register_array()?;
/// a.arrive()?;
/// let leader: Leader<'_> = b.wait_leader().await?.expect("the last to arrive");
/// // All have come: the phase is complete, and `a` waits on.
/// assert_eq!((phaser.phase(), phaser.arrived()), (0, 2));
/// drop(leader);
/// assert_eq!(a.wait().await?.phase(), 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping the leader releases the others"]
pub struct Leader<'a> {
    participant: &'a mut Participant,
}

impl Leader<'_> {
    /// The number, from 0, of the phase that this participant leads.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let mut participant = atomic_barrier::Phaser::new().register()?;
    /// if let Some(leader) = participant.wait_leader().await? {
    ///     assert_eq!(leader.phase(), 0);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.participant.phase
    }

    /// Releases the others, as dropping does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let mut participant = atomic_barrier::Phaser::new().register()?;
    /// if let Some(leader) = participant.wait_leader().await? {
    ///     leader.release();
    /// }
    /// assert_eq!(participant.phaser().phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of one of their wakers leaves through this call, once it has nobody left to wake.
    pub fn release(self) {}
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.participant.release();
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("Wait", f)
    }
}

impl fmt::Debug for WaitLeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("WaitLeader", f)
    }
}

impl fmt::Debug for Leader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("phase", &self.phase())
            .field("phaser", &self.participant.phaser)
            .finish_non_exhaustive()
    }
}
