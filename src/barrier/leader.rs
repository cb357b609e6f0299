//! The futures and the guards of a leader that acts while all others of its generation stay blocked.

use alloc::sync::Arc;
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{Barrier, party::Withdrawing, release::HeldRelease};

/// The future of [`Barrier::wait_leader`]. Dropping it withdraws its arrival, unless its
/// generation is complete.
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Barrier, barrier::WaitLeader};
/// use futures::poll;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Barrier::new(2);
/// let mut first: WaitLeader<'_> = barrier.wait_leader();
/// assert!(poll!(&mut first).is_pending());
/// let leader = barrier.wait_leader().await.expect("the last to arrive");
/// // All are here, and still blocked.
/// assert!(poll!(&mut first).is_pending());
/// leader.release();
/// assert!(first.await.is_none());
/// # }
/// ```
#[must_use = "a wait arrives when it is first polled, and withdraws when it is dropped"]
pub struct WaitLeader<'a>(pub(super) Withdrawing<&'a Barrier>);

impl<'a> Future for WaitLeader<'a> {
    type Output = Option<Leader<'a>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.0.poll_leader("Barrier::wait_leader", cx.waker());
        poll.map(|release| release.map(Leader))
    }
}

impl fmt::Debug for WaitLeader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("WaitLeader", f).finish_non_exhaustive()
    }
}

/// The future of [`Barrier::wait_leader_owned`]. Dropping it withdraws its arrival, unless its
/// generation is complete.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use atomic_barrier::{Barrier, barrier::OwnedWaitLeader};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Arc::new(Barrier::new(1));
/// let wait: OwnedWaitLeader = barrier.wait_leader_owned();
/// assert!(wait.await.is_some());
/// # }
/// ```
#[must_use = "a wait arrives when it is first polled, and withdraws when it is dropped"]
pub struct OwnedWaitLeader(pub(super) Withdrawing<Arc<Barrier>>);

impl Future for OwnedWaitLeader {
    type Output = Option<OwnedLeader>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let poll = self.0.poll_leader("Barrier::wait_leader_owned", cx.waker());
        poll.map(|release| release.map(OwnedLeader))
    }
}

impl fmt::Debug for OwnedWaitLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("OwnedWaitLeader", f).finish_non_exhaustive()
    }
}

/// The right to act while all other parties of a generation are blocked, from
/// [`Barrier::wait_leader`]. Dropping it releases them.
///
/// # Examples
///
/// An error on the way out of the section does not leave the others behind:
///
/// ```
/// use std::num::ParseIntError;
/// use atomic_barrier::Barrier;
///
/// async fn read_limit(barrier: &Barrier, text: &str) -> Result<Option<u32>, ParseIntError> {
///     match barrier.wait_leader().await {
///         Some(_leader) => Ok(Some(text.parse()?)),
///         None => Ok(None),
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Barrier::new(2);
/// let (other, leader) = tokio::join!(read_limit(&barrier, "12"), read_limit(&barrier, "twelve"));
/// assert_eq!(other, Ok(None));
/// assert!(leader.is_err());
/// # }
/// ```
#[must_use = "dropping the leader releases the others"]
pub struct Leader<'a>(pub(super) HeldRelease<&'a Barrier>);

impl Leader<'_> {
    /// The number, from 0, of the generation that this leader completed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(1);
    /// let leader = barrier.wait_leader().await.expect("the only party");
    /// assert_eq!(leader.generation(), 0);
    /// # }
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Releases the others, as dropping does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// let other = barrier.arrive();
    /// let leader = barrier.wait_leader().await.expect("the last to arrive");
    /// assert_eq!(barrier.generation(), 0);
    /// leader.release();
    /// assert_eq!(barrier.generation(), 1);
    /// assert!(!other.await.is_leader());
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// A panic out of one of their wakers may leave through this call, once it has nobody left to wake.
    pub fn release(self) {}
}

impl fmt::Debug for Leader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("Leader", f)
    }
}

/// The right to act while all other parties of a generation are blocked, from
/// [`Barrier::wait_leader_owned`]. Dropping it releases them.
///
/// # Examples
///
/// The leader's section may go on in another task:
///
/// ```
/// use std::sync::Arc;
/// use atomic_barrier::{Barrier, barrier::OwnedLeader};
///
/// async fn checkpoint(leader: OwnedLeader) {
///     println!("checkpoint {}, while all others wait", leader.generation());
///     leader.release();
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Arc::new(Barrier::new(2));
/// let other = barrier.arrive();
/// let leader = barrier.clone().wait_leader_owned().await.expect("the last to arrive");
/// tokio::spawn(checkpoint(leader));
/// assert_eq!(other.await.generation(), 0);
/// # }
/// ```
#[must_use = "dropping the leader releases the others"]
pub struct OwnedLeader(pub(super) HeldRelease<Arc<Barrier>>);

impl OwnedLeader {
    /// The number, from 0, of the generation that this leader completed.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = std::sync::Arc::new(atomic_barrier::Barrier::new(1));
    /// let leader = barrier.wait_leader_owned().await.expect("the only party");
    /// assert_eq!(leader.generation(), 0);
    /// # }
    /// ```
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Releases the others, as dropping does.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = std::sync::Arc::new(atomic_barrier::Barrier::new(1));
    /// let leader = barrier.clone().wait_leader_owned().await.expect("the only party");
    /// leader.release();
    /// assert_eq!(barrier.generation(), 1);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Leader::release`] does.
    pub fn release(self) {}
}

impl fmt::Debug for OwnedLeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt_as("OwnedLeader", f)
    }
}
