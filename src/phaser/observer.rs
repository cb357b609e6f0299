//! [`Observation`]: the future of an observer, which is not a participant, of the end of a phase.

use core::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{Closed, Phaser};
use crate::{slab::LAST_GENERATION, trace::AsyncOp};

/// The future of [`Phaser::observe`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use atomic_barrier::{Phaser, phaser::Observation};
///
/// let phaser = Phaser::new();
/// let mut participant = phaser.register()?;
/// let end: Observation<'_> = phaser.observe(0);
/// participant.arrive()?;
/// assert_eq!(end.await, Ok(()));
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is known about the phase until it is awaited"]
pub struct Observation<'a> {
    phaser: &'a Phaser,
    phase: u64,
    slot: Option<usize>,
    op: AsyncOp,
}

impl<'a> Observation<'a> {
    pub(super) fn new(phaser: &'a Phaser, phase: u64) -> Self {
        Self {
            phaser,
            phase,
            slot: None,
            op: AsyncOp::new(),
        }
    }

    /// What has become of the phase, once there is no more to wait for.
    pub(super) fn end(&self) -> Option<Result<(), Closed>> {
        let (word, current) = self.phaser.shared.state.load_with_phase();
        if current > self.phase {
            let failed = self.phaser.shared.has_failed(self.phase, word);
            Some(if failed { Err(Closed(())) } else { Ok(()) })
        } else if word.is_closed() && word.counting(current) <= self.phase {
            Some(Err(Closed(())))
        } else {
            None
        }
    }

    fn poll_with(&mut self, waker: &Waker) -> Poll<Result<(), Closed>> {
        let shared = &self.phaser.shared;
        loop {
            if let Some(end) = self.end() {
                self.deregister();
                return Poll::Ready(end);
            }
            let phase = self.phase.min(LAST_GENERATION);
            if let Some(index) = self.slot {
                let slot = shared.observers.slot(index);
                let is_over = || self.end().is_some();
                match slot.reregister(phase, waker.clone(), is_over) {
                    Ok(replaced) => {
                        drop(replaced);
                        return Poll::Pending;
                    }
                    Err(_) => self.slot = None,
                }
            } else {
                let (index, access) = shared.observers.claim(0);
                access.register_late(phase, waker);
                self.slot = Some(index);
                // A thread that ends the phase after this finds the slot.
                shared.state.publish();
                if self.end().is_none() {
                    return Poll::Pending;
                }
            }
        }
    }

    fn deregister(&mut self) {
        if let Some(index) = self.slot.take() {
            let slot = self.phaser.shared.observers.slot(index);
            drop(slot.deregister(self.phase.min(LAST_GENERATION)));
        }
    }
}

impl Future for Observation<'_> {
    type Output = Result<(), Closed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = &self.phaser.shared;
        let step = self
            .op
            .step("Phaser::observe", &shared.resource, || shared.numbers());
        step.poll(|| self.poll_with(cx.waker()))
    }
}

impl Drop for Observation<'_> {
    fn drop(&mut self) {
        self.deregister();
    }
}

impl fmt::Debug for Observation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observation")
            .field("phase", &self.phase)
            .field("phaser", self.phaser)
            .finish_non_exhaustive()
    }
}
