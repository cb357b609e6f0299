//! The futures of parties that have arrived.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{Barrier, BarrierWaitResult, party::Counted};

/// An arrival made by [`Barrier::arrive`], and the future of its generation's end.
///
/// # Examples
///
/// Dropping it, where nobody waits for the end, leaves the arrival counted:
///
/// ```
/// use atomic_barrier::{Barrier, barrier::Arrival};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Barrier::new(2);
/// let arrival: Arrival<'_> = barrier.arrive();
/// drop(arrival);
/// assert!(barrier.wait().await.is_leader());
/// # }
/// ```
#[must_use = "the arrival counts, but nothing is known about the others until it is awaited"]
pub struct Arrival<'a>(pub(super) Counted<&'a Barrier>);

impl Future for Arrival<'_> {
    type Output = BarrierWaitResult;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        self.0.poll_wait("Barrier::arrive", cx.waker())
    }
}

impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Arrival", f).finish_non_exhaustive()
    }
}
