//! One crossing in which the leader acts while the others stay blocked.

use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{
    Barrier,
    waiter::{Lead, Waiter},
};
use crate::trace::AsyncOp;

impl Barrier {
    /// Waits until `n` parties have arrived, and makes the last of them a [`Leader`] while all the
    /// others stay blocked.
    ///
    /// The last arrival is ready at once with `Some(Leader)`. The others get `None` when that
    /// `Leader` is [released](Leader::release) or dropped. This is one crossing where `wait`, the
    /// leader acts, `wait` again would be two. It mixes with every other way to wait: whoever comes
    /// last, by whatever way, decides whether the release is held.
    ///
    /// While the release is held the generation is complete: nobody withdraws from it. It is not
    /// counted by [`generation`](Self::generation) yet, and [`arrived`](Self::arrived) is `n`.
    /// Newcomers arrive in the next generation, which cannot complete before the release: so there
    /// is never more than one `Leader` of a barrier.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let barrier = atomic_barrier::Barrier::new(3);
    /// let config = AtomicU32::new(1);
    /// let task = async || {
    ///     if let Some(leader) = barrier.wait_leader().await {
    ///         // All three are here and only this one runs, over awaits as well.
    ///         tokio::task::yield_now().await;
    ///         config.store(2, Relaxed);
    ///         leader.release();
    ///     }
    ///     config.load(Relaxed)
    /// };
    /// assert_eq!(tokio::join!(task(), task(), task()), (2, 2, 2));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe as [`wait`](Self::wait) is. Note that a wait which is dropped while
    /// the release is held counts, and leaves its task free to go on while the leader is at work. A task
    /// that gives up on a deadline and must not do that waits until [`generation`](Self::generation)
    /// has grown, or uses no deadline once all have come ([`arrived`](Self::arrived) is `n`).
    ///
    /// A leader whose task is cancelled or
    /// panics drops its `Leader`, which releases the others. One that leaks it with
    /// [`mem::forget`](core::mem::forget) keeps them for ever.
    ///
    /// # Panics
    ///
    /// As for [`wait`](Self::wait), except that a panic out of a `Waker::wake` leaves through the
    /// release.
    ///
    /// # Memory ordering
    ///
    /// What the leader does before the release *happens before* all that the others do once their
    /// wait is ready.
    pub fn wait_leader(&self) -> WaitLeader<'_> {
        WaitLeader {
            barrier: self,
            waiter: Waiter::new(),
            op: AsyncOp::new(),
        }
    }
}

/// The future of [`Barrier::wait_leader`]. Dropping it takes its arrival back, unless its
/// generation is complete.
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Barrier, WaitLeader};
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
#[derive(Debug)]
#[must_use = "a wait arrives when it is first polled, and is taken back when it is dropped"]
pub struct WaitLeader<'a> {
    barrier: &'a Barrier,
    waiter: Waiter,
    op: AsyncOp,
}

impl<'a> Future for WaitLeader<'a> {
    type Output = Option<Leader<'a>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let poll = this.barrier.poll(&mut this.op, "Barrier::wait_leader", || {
            this.waiter
                .poll_or_withdraw(this.barrier, cx.waker(), Lead::Hold)
        });
        poll.map(|result| {
            result.is_leader().then(|| Leader {
                barrier: this.barrier,
                generation: result.generation(),
            })
        })
    }
}

impl Drop for WaitLeader<'_> {
    fn drop(&mut self) {
        self.waiter.withdraw(self.barrier);
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
#[derive(Debug)]
#[must_use = "dropping the leader releases the others"]
pub struct Leader<'a> {
    barrier: &'a Barrier,
    generation: u64,
}

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
        self.generation
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

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.barrier.state.release(self.generation);
        self.barrier.slab.release(self.generation);
        let barrier = self.barrier;
        barrier.resource.released(|| barrier.numbers());
    }
}
