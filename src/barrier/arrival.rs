//! The futures of parties that have arrived.

use alloc::sync::Arc;
use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::{Barrier, BarrierWaitResult, party::Counted};

/// An arrival made by [`Barrier::arrive`], and the future of the end of its generation.
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

impl Arrival<'_> {
    /// The number, from 0, of the generation in which the arrival counts.
    ///
    /// `None` if it is not counted yet: the last arrival of the next generation is not while a
    /// [`Leader`](super::Leader) holds the release. `None` too once the arrival was awaited, when the
    /// result says it.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// assert_eq!(barrier.arrive().generation(), Some(0));
    /// assert_eq!(barrier.arrive().generation(), Some(0));
    /// assert_eq!(barrier.arrive().generation(), Some(1));
    /// ```
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.0.generation()
    }

    /// Whether the generation is over, so that awaiting is ready at once.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = atomic_barrier::Barrier::new(2);
    /// let arrival = barrier.arrive();
    /// assert!(!arrival.is_released());
    /// drop(barrier.arrive());
    /// assert!(arrival.is_released());
    /// ```
    ///
    /// # Memory ordering
    ///
    /// If it is, all that the parties of the generation did before they arrived *happens before* all
    /// that the caller does next.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.0.is_released()
    }

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
    ///     scope.spawn(|| barrier.wait_blocking());
    ///     let arrival = barrier.arrive();
    ///     // What the other need not wait for ...
    ///     assert_eq!(arrival.wait_blocking().generation(), 0);
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// If it was awaited before and was ready; and as for [`wait_blocking`](Barrier::wait_blocking).
    #[cfg(feature = "std")]
    pub fn wait_blocking(self) -> BarrierWaitResult {
        self.0
            .block(|party, waker| party.poll_wait("Barrier::arrive", waker))
    }
}

impl Future for Arrival<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        self.0.poll_wait("Barrier::arrive", cx.waker())
    }
}

impl fmt::Debug for Arrival<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .debug("Arrival", f)
            .field("generation", &self.generation())
            .field("is_released", &self.is_released())
            .finish_non_exhaustive()
    }
}

/// An arrival made by [`Barrier::arrive_owned`], and the future of the end of its generation.
///
/// # Examples
///
/// It borrows nothing, so a struct can keep it:
///
/// ```
/// use std::sync::Arc;
/// use atomic_barrier::{Barrier, barrier::OwnedArrival};
///
/// struct Upload {
///     bytes: usize,
///     all_sent: OwnedArrival,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let barrier = Arc::new(Barrier::new(2));
/// let uploads = [10, 20].map(|bytes| Upload {
///     bytes,
///     all_sent: barrier.clone().arrive_owned(),
/// });
/// let mut sent = 0;
/// for upload in uploads {
///     assert_eq!(upload.all_sent.await.generation(), 0);
///     sent += upload.bytes;
/// }
/// assert_eq!(sent, 30);
/// # }
/// ```
#[must_use = "the arrival counts, but nothing is known about the others until it is awaited"]
pub struct OwnedArrival(pub(super) Counted<Arc<Barrier>>);

impl OwnedArrival {
    /// The number, from 0, of the generation in which the arrival counts, as
    /// [`Arrival::generation`] gives it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// let barrier = Arc::new(atomic_barrier::Barrier::new(1));
    /// assert_eq!(barrier.clone().arrive_owned().generation(), Some(0));
    /// assert_eq!(barrier.arrive_owned().generation(), Some(1));
    /// ```
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.0.generation()
    }

    /// Whether the generation is over, as [`Arrival::is_released`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// let barrier = Arc::new(atomic_barrier::Barrier::new(1));
    /// assert!(barrier.arrive_owned().is_released());
    /// ```
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.0.is_released()
    }

    /// Blocks this thread until the generation is over, as [`Arrival::wait_blocking`] does.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::Arc, thread};
    ///
    /// let barrier = Arc::new(atomic_barrier::Barrier::new(2));
    /// let arrival = barrier.clone().arrive_owned();
    /// let waiting = thread::spawn(move || arrival.wait_blocking());
    /// assert!(barrier.wait_blocking().is_leader());
    /// assert_eq!(waiting.join().unwrap().generation(), 0);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Arrival::wait_blocking`] does.
    #[cfg(feature = "std")]
    pub fn wait_blocking(self) -> BarrierWaitResult {
        self.0
            .block(|party, waker| party.poll_wait("Barrier::arrive_owned", waker))
    }
}

impl Future for OwnedArrival {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        self.0.poll_wait("Barrier::arrive_owned", cx.waker())
    }
}

impl fmt::Debug for OwnedArrival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .debug("OwnedArrival", f)
            .field("generation", &self.generation())
            .field("is_released", &self.is_released())
            .finish_non_exhaustive()
    }
}
