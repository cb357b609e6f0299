//! Threads that meet at the barrier, among themselves and with tasks.

use core::{
    error::Error,
    fmt,
    ops::Deref,
    task::{Poll, Waker},
};
use std::time::Instant;

use super::{Barrier, party::Party};
use crate::blocking::{BlockingWait, block};

impl<B: Deref<Target = Barrier>, const WITHDRAWS: bool> Party<B, WITHDRAWS> {
    /// Blocks this thread until `poll` is ready.
    pub(super) fn block<T>(self, poll: impl FnMut(&mut Self, &Waker) -> Poll<T>) -> T {
        let ready = block(BlockingParty { party: self, poll }, None);
        ready.expect("no deadline to miss")
    }

    /// Blocks this thread until `poll` is ready, or until the party could withdraw at the `deadline`.
    /// Without one it never does.
    pub(super) fn block_until<T>(
        self,
        deadline: Option<Instant>,
        poll: impl FnMut(&mut Self, &Waker) -> Poll<T>,
    ) -> Result<T, WaitTimeoutError> {
        let ready = block(BlockingParty { party: self, poll }, deadline);
        ready.ok_or(WaitTimeoutError(()))
    }
}

struct BlockingParty<P, F> {
    party: P,
    poll: F,
}

impl<B, const WITHDRAWS: bool, F, T> BlockingWait for BlockingParty<Party<B, WITHDRAWS>, F>
where
    B: Deref<Target = Barrier>,
    F: FnMut(&mut Party<B, WITHDRAWS>, &Waker) -> Poll<T>,
{
    type Output = T;

    fn should_spin(&self) -> bool {
        self.party.should_spin()
    }

    fn poll(&mut self, waker: &Waker) -> Poll<T> {
        (self.poll)(&mut self.party, waker)
    }

    fn withdraw(&mut self) -> bool {
        self.party.withdraw()
    }
}

/// The generation was not complete in time; from [`Barrier::wait_blocking_timeout`].
///
/// # Examples
///
/// ```
/// use std::{error::Error, time::Duration};
/// use atomic_barrier::Barrier;
///
/// fn meet(barrier: &Barrier) -> Result<u64, Box<dyn Error>> {
///     Ok(barrier.wait_blocking_timeout(Duration::from_millis(1))?.generation())
/// }
///
/// let error = meet(&Barrier::new(2)).unwrap_err();
/// assert_eq!(error.to_string(), "timed out waiting for the other parties of a barrier");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutError(());

impl fmt::Debug for WaitTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WaitTimeoutError")
    }
}

impl fmt::Display for WaitTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("timed out waiting for the other parties of a barrier")
    }
}

impl Error for WaitTimeoutError {}
