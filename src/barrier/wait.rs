//! The futures of parties that wait.

use alloc::sync::Arc;
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{Barrier, BarrierWaitResult, party::Withdrawing};

/// The future of [`Barrier::wait`]. Dropping it withdraws its arrival, unless its generation is
/// complete.
///
/// # Examples
///
/// It can be awaited by reference, which keeps its arrival over several attempts:
///
/// ```
/// use std::time::Duration;
/// use atomic_barrier::{Barrier, barrier::Wait};
/// use tokio::time::timeout;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let barrier = Barrier::new(2);
/// let mut wait: Wait<'_> = barrier.wait();
/// assert!(timeout(Duration::from_secs(1), &mut wait).await.is_err());
/// assert_eq!(barrier.arrived(), 1);
/// drop(wait);
/// assert_eq!(barrier.arrived(), 0);
/// # }
/// ```
#[must_use = "a wait arrives when it is first polled, and withdraws when it is dropped"]
pub struct Wait<'a>(pub(super) Withdrawing<&'a Barrier>);

impl Future for Wait<'_> {
    type Output = BarrierWaitResult;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        self.0.poll_wait("Barrier::wait", cx.waker())
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("Wait", f).finish_non_exhaustive()
    }
}

/// The future of [`Barrier::wait_owned`]. Dropping it withdraws its arrival, unless its generation
/// is complete.
///
/// # Examples
///
/// It borrows nothing, so a struct can keep it:
///
/// ```
/// use std::sync::Arc;
/// use atomic_barrier::{Barrier, barrier::OwnedWait};
///
/// struct Player {
///     name: &'static str,
///     all_here: OwnedWait,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Arc::new(Barrier::new(2));
/// let players = ["ann", "bob"].map(|name| Player {
///     name,
///     all_here: barrier.clone().wait_owned(),
/// });
/// let [ann, bob] = players.map(|player| async move {
///     let result = player.all_here.await;
///     (player.name, result.is_leader())
/// });
/// assert_eq!(tokio::join!(ann, bob), (("ann", false), ("bob", true)));
/// # }
/// ```
#[must_use = "a wait arrives when it is first polled, and withdraws when it is dropped"]
pub struct OwnedWait(pub(super) Withdrawing<Arc<Barrier>>);

impl Future for OwnedWait {
    type Output = BarrierWaitResult;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        self.0.poll_wait("Barrier::wait_owned", cx.waker())
    }
}

impl fmt::Debug for OwnedWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.debug("OwnedWait", f).finish_non_exhaustive()
    }
}
