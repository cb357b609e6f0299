//! The future of an observer, which awaits the end of a generation without being one of its parties.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{Barrier, party::Counted};

/// The future of [`Barrier::observe`].
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Barrier, barrier::Observation};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Barrier::new(1);
/// let end: Observation<'_> = barrier.observe(0);
/// barrier.wait().await;
/// end.await;
/// # }
/// ```
#[must_use = "nothing is known about the generation until it is awaited"]
pub struct Observation<'a>(pub(super) Counted<&'a Barrier>);

impl Observation<'_> {
    /// Blocks this thread until the generation is over.
    ///
    /// Not for use inside a task: it blocks the thread that others may need in order to arrive.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::thread;
    ///
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// thread::scope(|scope| {
    ///     for _ in 0..2 {
    ///         scope.spawn(|| barrier.wait_blocking());
    ///     }
    ///     barrier.observe(0).wait_blocking();
    ///     assert_eq!(barrier.generation(), 1);
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If it was awaited before and was ready; and as for [`wait_blocking`](Barrier::wait_blocking).
    #[cfg(feature = "std")]
    pub fn wait_blocking(self) {
        self.0.block(|party, waker| party.poll_wait(SOURCE, waker));
    }
}

const SOURCE: &str = "Barrier::observe";

impl Future for Observation<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_wait(SOURCE, cx.waker()).map(drop)
    }
}

impl fmt::Debug for Observation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Observation", f).finish_non_exhaustive()
    }
}
