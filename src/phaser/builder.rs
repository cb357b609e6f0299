//! [`Builder`]: the options of a phaser.

use alloc::boxed::Box;
use core::fmt;

use super::{Action, Phaser};

/// The options of a [`Phaser`], from [`Phaser::builder`].
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Phaser, phaser::Exit};
///
/// let phaser = Phaser::builder().close_on(Exit::Drop).build();
/// assert_eq!(phaser.parties(), 0);
/// ```
#[derive(Default)]
#[must_use = "a builder makes nothing before `build`"]
pub struct Builder {
    close_on: Option<Exit>,
    on_phase: Option<Action>,
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
    /// Closes the phaser when a participant ends in the way of `exit`, for groups in which nobody may go on
    /// without a participant that has ended. The last call of this counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use atomic_barrier::{Phaser, phaser::Exit};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let phaser = Phaser::builder().close_on(Exit::Drop).build();
    /// let [mut mine, mut done, other] = phaser.register_array()?;
    /// done.arrive()?;
    /// // This participant has done its part and says so.
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
    pub fn close_on(mut self, exit: Exit) -> Self {
        self.close_on = Some(exit);
        self
    }

    /// Runs `action` once in each phase that completes, with the number of the phase and of its participants,
    /// one whose departure completes it included. The last call of this counts.
    ///
    /// It runs in the call that completes the phase, an arrival or a departure, before anybody is released
    /// and before any leader's section. A phase that a departure completes has no leader then: it is over
    /// once the action has run. If all others have by then arrived in the next phase, the departure completes
    /// that too. A phase that all leave without an arrival has nobody to act for, and is over without it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering::Relaxed}};
    /// use atomic_barrier::Phaser;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
    /// let (sum, report) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    /// let phaser = Phaser::builder().on_phase({
    ///     let (sum, report) = (sum.clone(), report.clone());
    ///     // All have added their part, and nobody has gone on.
    ///     move |_phase, _participants| report.store(sum.swap(0, Relaxed), Relaxed)
    /// }).build();
    /// let [mut a, mut b] = phaser.register_array()?;
    /// let work = async |mine: u64, participant: &mut atomic_barrier::phaser::Participant| {
    ///     sum.fetch_add(mine, Relaxed);
    ///     participant.wait().await
    /// };
    /// let (one, other) = tokio::join!(work(1, &mut a), work(2, &mut b));
    /// assert_eq!((one?.phase(), other?.phase()), (0, 0));
    /// assert_eq!(report.load(Relaxed), 3);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # What it may do
    ///
    /// Everything on the phaser that does not wait: register, leave, arrive, poll, close. The release is
    /// held meanwhile, as by a [`Leader`](super::Leader): a registration or arrival belongs to the next
    /// phase, and a close ends that one.
    ///
    /// # Cancel safety
    ///
    /// It runs to its end within one call, so that no dropped wait interrupts it.
    ///
    /// # Panics
    ///
    /// A panic out of it comes out of the call that ran it, unless that thread is panicking already. The phaser
    /// is closed by that, and the phase is over for [`Phaser::phase`], but every wait and observation of it
    /// brings [`Closed`](super::Closed).
    ///
    /// # Memory ordering
    ///
    /// All that the participants did before they arrived or left happens before the action, and the action
    /// before all that any does once its wait is ready.
    pub fn on_phase(mut self, action: impl Fn(u64, usize) + Send + Sync + 'static) -> Self {
        self.on_phase = Some(Box::new(action));
        self
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
    #[cfg_attr(feature = "tracing", track_caller)]
    pub fn build(self) -> Phaser {
        Phaser::with(self.close_on, self.on_phase)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("close_on", &self.close_on)
            .finish_non_exhaustive()
    }
}

impl Exit {
    /// Whether a participant that is dropped now, and perhaps `left`, ends in this way.
    pub(super) fn is_now(self, left: bool) -> bool {
        let is_one = match self {
            #[cfg(feature = "std")]
            Self::Panic => std::thread::panicking(),
            Self::Drop => true,
        };
        is_one && !left
    }
}
