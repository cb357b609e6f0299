//! [`Builder`]: what a phaser does beyond the plain one, decided before it is shared.

use super::Phaser;

/// Makes a [`Phaser`] that does more than the plain one; from [`Phaser::builder`].
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Phaser, phaser::Exit};
///
/// let phaser = Phaser::builder().close_on(Exit::Drop).build();
/// assert_eq!(phaser.parties(), 0);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder makes nothing before `build`"]
pub struct Builder {
    close_on: Option<Exit>,
}

/// The ends of a participant that close its phaser, from [`Builder::close_on`].
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Phaser, phaser::Exit};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// for (exit, is_closed) in [(Exit::Panic, false), (Exit::Drop, true)] {
///     let phaser = Phaser::builder().close_on(exit).build();
///     let participant = phaser.register()?;
///     let task = tokio::spawn(async move {
///         let _participant = participant;
///         std::future::pending::<()>().await;
///     });
///     tokio::task::yield_now().await;
///     task.abort();
/// #   let _ = task.await;
///     assert_eq!(phaser.is_closed(), is_closed);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Exit {
    /// It is dropped by a thread that is panicking. A task that is aborted or returns early closes nothing.
    #[cfg(feature = "std")]
    Panic,
    /// It is dropped without [`leave`](super::Participant::leave): by a task that is aborted, returns early,
    /// or panics.
    Drop,
}

impl Builder {
    /// Closes the phaser when a participant ends so, for groups in which nobody may go on without one that
    /// has gone. The last call of this counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use atomic_barrier::{Phaser, phaser::Exit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::builder().close_on(Exit::Drop).build();
    /// let (mut mine, mut done, other) = (phaser.register()?, phaser.register()?, phaser.register()?);
    /// done.arrive()?;
    /// // One that has done its part says so.
    /// done.leave();
    /// let task = tokio::spawn(async move {
    ///     let _other = other;
    ///     Err::<(), _>("gave up")
    /// });
    /// assert!(mine.wait().await.is_err());
    /// # assert!(task.await?.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of a waker that the close wakes leaves through the drop of the participant, once
    /// that has left and nobody is left to wake; not if the thread is panicking already.
    pub fn close_on(self, exit: Exit) -> Self {
        Self {
            close_on: Some(exit),
        }
    }

    /// Makes the phaser, which nobody has registered with, in phase 0.
    ///
    /// # Examples
    ///
    /// ```
    /// let phaser = atomic_barrier::Phaser::builder().build();
    /// assert_eq!((phaser.phase(), phaser.parties(), phaser.arrived()), (0, 0, 0));
    /// ```
    #[must_use]
    pub fn build(self) -> Phaser {
        Phaser::with(self.close_on)
    }
}

impl Exit {
    /// Whether a participant that is dropped now, and perhaps `left`, ends so.
    pub(super) fn is_now(self, left: bool) -> bool {
        match self {
            #[cfg(feature = "std")]
            Self::Panic => std::thread::panicking(),
            Self::Drop => !left,
        }
    }
}
