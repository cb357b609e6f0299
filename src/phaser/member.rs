//! [`Participant`]: what a member does in its phases, and the futures of its waits.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    Closed, Finally, Phaser, PhaserWaitResult,
    state::{Stage, Word},
};
use crate::wake::wake_all;

/// A member of a [`Phaser`], from [`Phaser::register`] until it is dropped.
///
/// Each phase needs one arrival of each member. Dropping the participant is to [`leave`](Self::leave):
/// whatever the present phase still needed from it is no longer needed. So a task that owns its
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
    seat: usize,
    phase: u64,
    step: Step,
}

/// How far a member has come in its phase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// It owes its arrival.
    Due,
    /// It has arrived, and does not know that the phase was released.
    Arrived,
    /// It has led the phase, which is released, but has not said so yet.
    Led,
    /// It leads the phase and holds its release.
    Holds,
}

/// What a member that becomes the leader does with the release.
#[derive(Clone, Copy)]
pub(super) enum Lead {
    Release,
    Hold,
}

impl Participant {
    pub(super) fn new(phaser: Phaser, seat: usize, phase: u64) -> Self {
        Self {
            phaser,
            seat,
            phase,
            step: Step::Due,
        }
    }

    /// The phaser of which this is a member.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let member = atomic_barrier::Phaser::new().register()?;
    /// let another = member.phaser().register()?;
    /// assert_eq!(another.phaser().parties(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phaser(&self) -> &Phaser {
        &self.phaser
    }

    /// Arrives, unless [`arrive`](Self::arrive) has done that, and waits until all members have
    /// arrived or left.
    ///
    /// Nothing happens before the future is first polled. The last to arrive is ready at once, with a
    /// result that says [`is_leader`](PhaserWaitResult::is_leader). If a phase is completed by a member
    /// that leaves, the first of those that wait to be polled after that leads it.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let (mut a, mut b) = (phaser.register()?, phaser.register()?);
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
    /// complete takes it back; the member still owes it. If the phase was complete by then, the next
    /// `wait` brings the result of that phase, so none is ever missed and none is seen twice:
    ///
    /// ```
    /// use std::time::Duration;
    /// use tokio::time::timeout;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let (mut mine, mut other) = (phaser.register()?, phaser.register()?);
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
    /// call that made it, the leader's or that of a member that helps it, once that has nobody left to wake.
    pub fn wait(&mut self) -> PhaserWait<'_> {
        PhaserWait(Waiting::new(self))
    }

    /// Waits like [`wait`](Self::wait), but if this member leads the phase, the others stay blocked
    /// until the [`PhaserLeader`] is released or dropped.
    ///
    /// The others get `None`. A newcomer that registers meanwhile is a member of the next phase.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let phaser = atomic_barrier::Phaser::new();
    /// # let mut member = phaser.register()?;
    /// if let Some(leader) = member.wait_leader().await? {
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
    /// that is leaked by [`mem::forget`](core::mem::forget) releases with its member's next call.
    pub fn wait_leader(&mut self) -> PhaserWaitLeader<'_> {
        PhaserWaitLeader(Waiting::new(self))
    }

    /// Arrives now and for good, and returns the phase in which that counts.
    ///
    /// A [`wait`](Self::wait) that follows observes this phase, even if it is over by then. Once more
    /// in the same phase, this does nothing; after the phase has ended it arrives in the next, and the end
    /// of the former is not observed any more.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let (mut a, mut b) = (phaser.register()?, phaser.register()?);
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
        if self.step == Step::Arrived {
            let word = self.phaser.shared.state.load();
            match word.stage_of(self.phase) {
                Stage::Released => self.next_phase(),
                // The phase is complete, and this call is the first of its members to come by.
                Stage::Complete if self.lead_complete(Lead::Release) => return Ok(self.phase),
                Stage::Open if word.is_closed() => return Err(Closed),
                Stage::Open | Stage::Complete | Stage::Held => return Ok(self.phase),
            }
        } else if self.step == Step::Led {
            self.next_phase();
        }
        self.arrive_with(None, Lead::Release)?;
        Ok(self.phase)
    }

    /// Leaves the phaser, as dropping does.
    ///
    /// If only this member was missing in the present phase, that is complete. A phaser that nobody is a
    /// member of rests, and can be used again.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let (mut a, b) = (phaser.register()?, phaser.register()?);
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
    pub fn leave(self) {}

    /// Ends what was left undone: a leader that was leaked.
    fn settle(&mut self) {
        if self.step == Step::Holds {
            self.release();
        }
    }

    /// Releases the phase that this member leads.
    pub(super) fn release(&mut self) {
        self.next_phase();
        let shared = &self.phaser.shared;
        shared.state.release();
        shared.released(self.phase - 1);
    }

    fn next_phase(&mut self) {
        self.phase += 1;
        self.step = Step::Due;
    }

    /// Arrives in its phase, with or without a waker. Returns whether that leads it.
    #[inline]
    fn arrive_with(&mut self, waker: Option<&Waker>, lead: Lead) -> Result<bool, Closed> {
        let mut word = self.phaser.shared.state.load();
        let mut holds = false;
        let mut _old = None;
        loop {
            if word.is_closed() {
                if holds {
                    self.phaser.shared.seats.seat(self.seat).unhold();
                }
                return Err(Closed);
            }
            let turned = if word.lacks_one() {
                self.lead(word, holds, lead)
            } else {
                let shared = &self.phaser.shared;
                if let (Some(waker), false) = (waker, holds) {
                    _old = shared.seats.hold(&mut self.seat, self.phase, waker);
                    holds = true;
                }
                shared.state.arrive(word).map(|()| {
                    self.step = Step::Arrived;
                    false
                })
            };
            match turned {
                Ok(leads) => return Ok(leads),
                Err(present) => word = present,
            }
        }
    }

    /// Becomes the leader of its phase, which is complete or lacks this arrival.
    ///
    /// Fails with the present word if that is no longer `word`.
    fn lead(&mut self, word: Word, holds: bool, lead: Lead) -> Result<bool, Word> {
        let shared = &self.phaser.shared;
        match lead {
            Lead::Release => shared.state.complete(word)?,
            Lead::Hold => shared.state.hold(word)?,
        }
        if holds {
            shared.seats.seat(self.seat).unhold();
        }
        // Before the wakers run: a panic in one does not undo the phase.
        match lead {
            Lead::Release => {
                self.step = Step::Led;
                shared.released(self.phase);
            }
            Lead::Hold => self.step = Step::Holds,
        }
        Ok(true)
    }

    /// Becomes the leader of its phase, if that is still complete and waits for one.
    #[cold]
    fn lead_complete(&mut self, lead: Lead) -> bool {
        let mut word = self.phaser.shared.state.load();
        while word.stage_of(self.phase) == Stage::Complete {
            match self.lead(word, true, lead) {
                Ok(leads) => return leads,
                Err(present) => word = present,
            }
        }
        false
    }

    /// Waits for the end of its phase. Ready with whether it led it.
    #[inline]
    fn poll(&mut self, waker: &Waker, lead: Lead) -> Poll<Result<bool, Closed>> {
        match self.step {
            Step::Due => match self.arrive_with(Some(waker), lead) {
                Ok(false) => Poll::Pending,
                ready => Poll::Ready(ready),
            },
            Step::Arrived => self.poll_arrived(waker, lead),
            Step::Led | Step::Holds => Poll::Ready(Ok(true)),
        }
    }

    #[inline]
    fn poll_arrived(&mut self, waker: &Waker, lead: Lead) -> Poll<Result<bool, Closed>> {
        let word = self.phaser.shared.state.load();
        if word.stage_of(self.phase) == Stage::Released {
            self.phaser.shared.seats.help(self.phase);
            return Poll::Ready(Ok(false));
        }
        self.poll_again(waker, lead)
    }

    #[cold]
    fn poll_again(&mut self, waker: &Waker, lead: Lead) -> Poll<Result<bool, Closed>> {
        let mut word = self.phaser.shared.state.load();
        // What it holds from before was published then.
        let mut is_published = self.phaser.shared.seats.holds(self.seat, self.phase, waker);
        let mut _old = None;
        loop {
            match word.stage_of(self.phase) {
                Stage::Released => return Poll::Ready(Ok(false)),
                Stage::Complete if self.lead_complete(lead) => return Poll::Ready(Ok(true)),
                Stage::Complete => word = self.phaser.shared.state.load(),
                Stage::Open if word.is_closed() => return Poll::Ready(Err(Closed)),
                Stage::Open | Stage::Held if is_published => return Poll::Pending,
                Stage::Open | Stage::Held => {
                    let shared = &self.phaser.shared;
                    // Only the first time can there be another waker.
                    _old = _old.or(shared.seats.hold(&mut self.seat, self.phase, waker));
                    match shared.state.publish(word) {
                        Ok(()) => is_published = true,
                        Err(present) => word = present,
                    }
                }
            }
        }
    }

    /// Stops waiting for the end of its phase, in which it has arrived. If it was to lead that, another
    /// is.
    fn stop_waiting(&self) {
        let shared = &self.phaser.shared;
        if shared.seats.seat(self.seat).stop(self.phase) && shared.state.orphan(self.phase) {
            shared.find_leader(self.phase);
        }
    }

    /// Takes its arrival back, unless the phase is complete. Returns whether it owes it now.
    fn withdraw(&mut self) -> bool {
        let taken = self.step == Step::Arrived && self.phaser.shared.state.withdraw(self.phase);
        if taken {
            self.step = Step::Due;
            self.phaser.shared.seats.seat(self.seat).unhold();
        }
        taken
    }

    /// Takes it out of the phaser.
    fn depart(&mut self) {
        if self.step == Step::Led {
            self.next_phase();
        }
        let has_arrived = self.step == Step::Arrived;
        let shared = &self.phaser.shared;
        let _rest = Finally(|| {
            let departure = shared.state.leave(self.phase, has_arrived);
            let mut waker = shared.seats.vacate(self.seat);
            let _waker = Finally(|| wake_all(waker.take().into_iter(), drop));
            shared.departed(departure);
        });
        if has_arrived {
            self.stop_waiting();
        }
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        #[cfg(feature = "std")]
        if self.phaser.shared.closes_on_panic() && std::thread::panicking() {
            self.phaser.close();
        }
        // Whatever wakers do, it leaves.
        struct Departing<'a>(&'a mut Participant);

        impl Drop for Departing<'_> {
            fn drop(&mut self) {
                self.0.depart();
            }
        }

        Departing(self).0.settle();
    }
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Participant")
            .field("phase", &self.phase)
            .field("step", &self.step)
            .field("phaser", &self.phaser)
            .finish()
    }
}

/// A member's wait, whatever it brings.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    /// Nobody, once it was ready.
    member: Option<&'a mut Participant>,
    /// Whether dropping it takes the arrival back.
    arrives: bool,
    is_polled: bool,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(member: &'a mut Participant) -> Self {
        Self {
            member: Some(member),
            arrives: false,
            is_polled: false,
        }
    }

    /// Ready with the member, and the phase that ended if it did not lead it.
    #[inline]
    fn poll(
        &mut self,
        waker: &Waker,
        lead: Lead,
    ) -> Poll<Result<(&'a mut Participant, bool), Closed>> {
        let Some(member) = &mut self.member else {
            panic!("a phaser's future was polled again after it was ready");
        };
        if member.step == Step::Due || member.step == Step::Holds {
            self.arrives = true;
            member.settle();
        }
        self.is_polled = true;
        let Poll::Ready(ready) = member.poll(waker, lead) else {
            return Poll::Pending;
        };
        let member = self.member.take().expect("seen above");
        Poll::Ready(ready.map(|led| (member, led)))
    }
}

impl Waiting<'_> {
    #[inline]
    pub(super) fn poll_result(&mut self, waker: &Waker) -> Poll<Result<PhaserWaitResult, Closed>> {
        let ready = self.poll(waker, Lead::Release);
        ready.map_ok(|(member, leader)| member.result(leader))
    }

    /// Arrives without a waker, if that has not been done.
    #[cfg(feature = "std")]
    pub(super) fn arrive(&mut self) -> Result<(), Closed> {
        let Some(member) = &mut self.member else {
            return Ok(());
        };
        member.settle();
        if member.step == Step::Due {
            self.arrives = true;
            member.arrive_with(None, Lead::Release)?;
        }
        Ok(())
    }

    /// Whether it has arrived and nothing but the release is missing.
    #[cfg(feature = "std")]
    pub(super) fn is_held_up(&self) -> bool {
        let Some(member) = &self.member else {
            return false;
        };
        let word = member.phaser.shared.state.load();
        member.step == Step::Arrived
            && match word.stage_of(member.phase) {
                Stage::Open => !word.is_closed(),
                Stage::Held => true,
                Stage::Complete | Stage::Released => false,
            }
    }

    /// Gives up, unless the phase is complete. Takes the arrival back if it made it.
    #[cfg(feature = "std")]
    pub(super) fn give_up(&mut self) -> bool {
        let Some(member) = &mut self.member else {
            return false;
        };
        let is_open = || {
            let word = member.phaser.shared.state.load();
            word.stage_of(member.phase) == Stage::Open
        };
        let gives_up = if self.arrives {
            member.withdraw()
        } else {
            is_open()
        };
        if gives_up {
            // With its arrival, if it was not this that made it.
            self.arrives = false;
            *self = Waiting {
                member: None,
                arrives: false,
                is_polled: false,
            };
        }
        gives_up
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(member) = &mut self.member else {
            return;
        };
        if self.is_polled && member.step == Step::Holds {
            // A panic has kept the leader from being returned.
            member.step = Step::Led;
            let shared = &member.phaser.shared;
            shared.state.release();
            shared.released(member.phase);
        } else if !(self.arrives && member.withdraw()) && member.step == Step::Arrived {
            member.stop_waiting();
        }
    }
}

/// The future of [`Participant::wait`]. Dropping it takes its arrival back, unless the phase is
/// complete.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, PhaserWait};
///
/// let mut member = Phaser::new().register()?;
/// let wait: PhaserWait<'_> = member.wait();
/// assert!(wait.await?.is_leader());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a wait arrives when it is first polled, and is taken back when it is dropped"]
pub struct PhaserWait<'a>(Waiting<'a>);

impl Future for PhaserWait<'_> {
    type Output = Result<PhaserWaitResult, Closed>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_result(cx.waker())
    }
}

impl Participant {
    /// What the end of its phase brings; the next is due.
    #[inline]
    fn result(&mut self, leader: bool) -> PhaserWaitResult {
        let phase = self.phase;
        self.next_phase();
        PhaserWaitResult { phase, leader }
    }
}

/// The future of [`Participant::wait_leader`]. Dropping it takes its arrival back, unless the phase is
/// complete.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, PhaserWaitLeader};
///
/// let mut member = Phaser::new().register()?;
/// let wait: PhaserWaitLeader<'_> = member.wait_leader();
/// assert!(wait.await?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a wait arrives when it is first polled, and is taken back when it is dropped"]
pub struct PhaserWaitLeader<'a>(Waiting<'a>);

impl<'a> Future for PhaserWaitLeader<'a> {
    type Output = Result<Option<PhaserLeader<'a>>, Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ready = self.0.poll(cx.waker(), Lead::Hold);
        ready.map_ok(|(member, leads)| {
            if leads && member.step == Step::Holds {
                Some(PhaserLeader { member })
            } else {
                // Also if it has arrived before, and by that released the others.
                member.next_phase();
                None
            }
        })
    }
}

/// The right to act while all other members of a phase are blocked, from
/// [`Participant::wait_leader`]. Dropping it releases them.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, PhaserLeader};
///
/// let phaser = Phaser::new();
/// let (mut a, mut b) = (phaser.register()?, phaser.register()?);
/// a.arrive()?;
/// let leader: PhaserLeader<'_> = b.wait_leader().await?.expect("the last to arrive");
/// // All have come: a newcomer belongs to the next phase, and `a` waits on.
/// assert_eq!(phaser.phase(), 1);
/// drop(leader);
/// assert_eq!(a.wait().await?.phase(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping the leader releases the others"]
pub struct PhaserLeader<'a> {
    member: &'a mut Participant,
}

impl PhaserLeader<'_> {
    /// The number, from 0, of the phase that this member leads.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let mut member = atomic_barrier::Phaser::new().register()?;
    /// if let Some(leader) = member.wait_leader().await? {
    ///     assert_eq!(leader.phase(), 0);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn phase(&self) -> u64 {
        self.member.phase
    }

    /// Releases the others, as dropping does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// # let mut member = atomic_barrier::Phaser::new().register()?;
    /// if let Some(leader) = member.wait_leader().await? {
    ///     leader.release();
    /// }
    /// assert_eq!(member.phaser().phase(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of one of their wakers leaves through this call, once it has nobody left to wake.
    pub fn release(self) {}
}

impl Drop for PhaserLeader<'_> {
    fn drop(&mut self) {
        self.member.release();
    }
}
