//! [`HeldRelease`]: what a leader owes that holds the release.

use core::{fmt, ops::Deref};

use super::Barrier;

/// The release of a complete generation, made when this is dropped.
pub(super) struct HeldRelease<B: Deref<Target = Barrier>> {
    barrier: B,
    pub(super) generation: u64,
}

impl<B: Deref<Target = Barrier>> HeldRelease<B> {
    /// For the party that completed `generation`, and held its release.
    pub(super) fn new(barrier: B, generation: u64) -> Self {
        Self {
            barrier,
            generation,
        }
    }

    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("barrier", &*self.barrier)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl<B: Deref<Target = Barrier>> Drop for HeldRelease<B> {
    fn drop(&mut self) {
        let barrier = &*self.barrier;
        barrier.state.release(self.generation);
        barrier.wake_all(self.generation);
    }
}
