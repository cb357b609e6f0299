//! Threads that are members of a phaser.

use core::{
    error::Error,
    fmt,
    task::{Poll, Waker},
    time::Duration,
};
use std::time::Instant;

use super::{Closed, Participant, PhaserWaitResult, participant::Waiting};
use crate::blocking::{Block, block};

impl Participant {
    /// Blocks this thread until all members have arrived or left, of which it is one.
    ///
    /// Threads and tasks may be members of the same phaser. The thread spins for a few microseconds and
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
    /// let (mut a, mut b) = (phaser.register()?, phaser.register()?);
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
    pub fn wait_blocking(&mut self) -> Result<PhaserWaitResult, Closed> {
        self.block(None).map_err(|error| match error {
            PhaserWaitError::Closed => Closed,
            PhaserWaitError::TimedOut => unreachable!("no deadline to miss"),
        })
    }

    /// Blocks this thread like [`wait_blocking`](Self::wait_blocking), for at most `timeout`.
    ///
    /// A `timeout` too long for the clock to add to the present time never ends.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use atomic_barrier::{Phaser, PhaserWaitError};
    ///
    /// # fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::new();
    /// let (mut a, _b) = (phaser.register()?, phaser.register()?);
    /// let result = a.wait_blocking_timeout(Duration::from_millis(1));
    /// assert_eq!(result, Err(PhaserWaitError::TimedOut));
    /// assert_eq!(phaser.arrived(), 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`PhaserWaitError::Closed`] if the phaser was closed before the phase was complete, and
    /// [`PhaserWaitError::TimedOut`] if it was not complete in time: the arrival is then taken back, unless
    /// [`arrive`](Self::arrive) had made it. If the phase is complete but its leader still holds the release,
    /// the call goes on until that, however late.
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_blocking_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<PhaserWaitResult, PhaserWaitError> {
        self.block(Instant::now().checked_add(timeout))
    }

    fn block(&mut self, deadline: Option<Instant>) -> Result<PhaserWaitResult, PhaserWaitError> {
        let mut wait = Waiting::new(self);
        if wait.arrive().is_err() {
            return Err(PhaserWaitError::Closed);
        }
        match block(wait, deadline) {
            Some(Ok(result)) => Ok(result),
            Some(Err(Closed)) => Err(PhaserWaitError::Closed),
            None => Err(PhaserWaitError::TimedOut),
        }
    }
}

impl Block for Waiting<'_> {
    type Output = Result<PhaserWaitResult, Closed>;

    fn is_held_up(&self) -> bool {
        self.is_held_up()
    }

    fn poll(&mut self, waker: &Waker) -> Poll<Self::Output> {
        self.poll_result(waker)
    }

    fn give_up(&mut self) -> bool {
        self.give_up()
    }
}

/// Why a wait brought nothing; from [`Participant::wait_blocking_timeout`].
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use std::time::Duration;
/// use atomic_barrier::{Phaser, PhaserWaitError};
///
/// let phaser = Phaser::new();
/// let (mut a, _b) = (phaser.register()?, phaser.register()?);
/// phaser.close();
/// let error = a.wait_blocking_timeout(Duration::from_secs(1)).unwrap_err();
/// assert_eq!(error, PhaserWaitError::Closed);
/// assert_eq!(error.to_string(), "the phaser is closed");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaserWaitError {
    /// The phase was not complete in time.
    TimedOut,
    /// The phaser was closed before the phase was complete.
    Closed,
}

impl fmt::Display for PhaserWaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out waiting for the other members of a phaser"),
            Self::Closed => Closed.fmt(f),
        }
    }
}

impl Error for PhaserWaitError {}
