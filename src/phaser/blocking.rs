//! Threads that are participants of a phaser, or observe it.

use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::time::Instant;

use super::{
    Closed, Leader, Observation, Participant, WaitError, WaitResult, participant::Waiting,
    state::Lead,
};
use crate::blocking::{BlockingWait, block};

impl Participant {
    /// Blocks this thread until all participants have arrived or left.
    ///
    /// Threads and tasks may be participants of the same phaser. The thread spins for a few microseconds and
    /// then sleeps. Not for use inside a task: it blocks the thread that others may need in order to
    /// arrive.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let [mut a, mut b] = phaser.register_array()?;
    /// let other = thread::spawn(move || b.wait_blocking());
    /// assert_eq!(a.wait_blocking()?.phase(), 0);
    /// # assert!(other.join().unwrap().is_ok());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_blocking(&mut self) -> Result<WaitResult, Closed> {
        self.wait_until(None).map_err(never_timed_out)
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), for at most `timeout`.
    ///
    /// A `timeout` too long for the clock to add to the current time never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use atomic_barrier::{Phaser, phaser::WaitError};
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::new();
    /// let [mut a, _b] = phaser.register_array()?;
    /// let result = a.wait_blocking_timeout(Duration::from_millis(1));
    /// assert_eq!(result, Err(WaitError::TimedOut));
    /// assert_eq!(phaser.arrived(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`WaitError::Closed`] if the phaser was closed before the phase was complete, and
    /// [`WaitError::TimedOut`] if it was not complete in time: the arrival is then withdrawn, unless
    /// [`arrive`](Self::arrive) had made it. If the phase is complete but its leader still holds the release,
    /// the call goes on until that, however late.
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_blocking_timeout(&mut self, timeout: Duration) -> Result<WaitResult, WaitError> {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), until `deadline` at most.
    ///
    /// # Examples
    ///
    /// Several waits that have to end by the same time:
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use atomic_barrier::{Phaser, phaser::WaitError};
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::new();
    /// let mut participant = phaser.register()?;
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// for phase in 0..3 {
    ///     assert_eq!(participant.wait_blocking_deadline(deadline)?.phase(), phase);
    /// }
    /// let _other = phaser.register()?;
    /// let result = participant.wait_blocking_deadline(Instant::now());
    /// assert_eq!(result, Err(WaitError::TimedOut));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait_blocking_timeout`](Self::wait_blocking_timeout).
    pub fn wait_blocking_deadline(&mut self, deadline: Instant) -> Result<WaitResult, WaitError> {
        self.wait_until(Some(deadline))
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), but if this participant leads the
    /// phase, the others stay blocked until the [`Leader`] is released or dropped.
    ///
    /// The others get `None`. Threads and tasks may be led by each other.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let threads = phaser.register_many(3)?.into_iter().map(|mut participant| {
    ///     thread::spawn(move || {
    ///         let leader = participant.wait_leader_blocking()?;
    ///         if let Some(leader) = &leader {
    ///             // Act for all, while all are here.
    ///             assert_eq!(leader.phase(), 0);
    ///         }
    ///         Ok::<_, atomic_barrier::phaser::Closed>(leader.is_some())
    ///     })
    /// });
    /// let threads: Vec<_> = threads.collect();
    /// let mut leaders = 0;
    /// for thread in threads {
    ///     leaders += usize::from(thread.join().unwrap()?);
    /// }
    /// assert_eq!(leaders, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait_leader`](Self::wait_leader).
    pub fn wait_leader_blocking(&mut self) -> Result<Option<Leader<'_>>, Closed> {
        self.lead_until(None).map_err(never_timed_out)
    }

    /// Blocks this thread like [`wait_leader_blocking`](Self::wait_leader_blocking), for at most `timeout`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use atomic_barrier::{Phaser, phaser::WaitError};
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::new();
    /// let [mut a, b] = phaser.register_array()?;
    /// let result = a.wait_leader_blocking_timeout(Duration::from_millis(1));
    /// assert_eq!(result.unwrap_err(), WaitError::TimedOut);
    /// b.leave();
    /// assert!(a.wait_leader_blocking_timeout(Duration::from_millis(1))?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait_blocking_timeout`](Self::wait_blocking_timeout). A timeout does not end a
    /// [`Leader`].
    pub fn wait_leader_blocking_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<Option<Leader<'_>>, WaitError> {
        self.lead_until(Instant::now().checked_add(timeout))
    }

    /// Blocks this thread like [`wait_leader_blocking`](Self::wait_leader_blocking), until `deadline` at most.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let mut participant = atomic_barrier::Phaser::new().register()?;
    /// let deadline = Instant::now() + Duration::from_secs(60);
    /// assert!(participant.wait_leader_blocking_deadline(deadline)?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors and panics
    ///
    /// As for [`wait_leader_blocking_timeout`](Self::wait_leader_blocking_timeout).
    pub fn wait_leader_blocking_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<Leader<'_>>, WaitError> {
        self.lead_until(Some(deadline))
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<WaitResult, WaitError> {
        const SOURCE: &str = "Participant::wait_blocking";
        let (participant, leads) = self.block(SOURCE, Lead::Release, deadline)?;
        Ok(participant.result(leads))
    }

    fn lead_until(&mut self, deadline: Option<Instant>) -> Result<Option<Leader<'_>>, WaitError> {
        const SOURCE: &str = "Participant::wait_leader_blocking";
        let (participant, leads) = self.block(SOURCE, Lead::Hold, deadline)?;
        Ok(participant.leader(leads))
    }

    fn block(
        &mut self,
        source: &'static str,
        lead: Lead,
        deadline: Option<Instant>,
    ) -> Result<(&mut Participant, bool), WaitError> {
        let mut wait = Waiting::new(self);
        wait.arrive(source, lead)?;
        let wait = BlockingParticipant { wait, source, lead };
        Ok(block(wait, deadline).ok_or(WaitError::TimedOut)??)
    }
}

/// For a wait without a deadline.
fn never_timed_out(error: WaitError) -> Closed {
    debug_assert_eq!(error, WaitError::Closed);
    Closed(())
}

struct BlockingParticipant<'a> {
    wait: Waiting<'a>,
    source: &'static str,
    lead: Lead,
}

impl<'a> BlockingWait for BlockingParticipant<'a> {
    type Output = Result<(&'a mut Participant, bool), Closed>;

    fn should_spin(&self) -> bool {
        self.wait.should_spin()
    }

    fn poll(&mut self, waker: &Waker) -> Poll<Self::Output> {
        self.wait.poll(self.source, waker, self.lead)
    }

    fn withdraw(&mut self) -> bool {
        self.wait.withdraw()
    }
}

impl Observation<'_> {
    /// Blocks this thread until the phase is over.
    ///
    /// Not for use inside a task: it blocks the thread that others may need in order to arrive.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = atomic_barrier::Phaser::new();
    /// let mut participant = phaser.register()?;
    /// let other = thread::spawn(move || participant.arrive());
    /// phaser.observe(0).wait_blocking()?;
    /// assert_eq!(other.join().unwrap()?, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`observe`](super::Phaser::observe).
    pub fn wait_blocking(self) -> Result<(), Closed> {
        block(self, None).expect("no deadline to miss")
    }
}

impl BlockingWait for Observation<'_> {
    type Output = Result<(), Closed>;

    fn should_spin(&self) -> bool {
        self.end().is_none()
    }

    fn poll(&mut self, waker: &Waker) -> Poll<Self::Output> {
        Pin::new(self)
            .as_mut()
            .poll(&mut Context::from_waker(waker))
    }

    fn withdraw(&mut self) -> bool {
        false
    }
}
