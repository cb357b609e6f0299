//! A 64-bit atomic under loom whose weak CAS can fail spuriously.
//!
//! loom's never does, so loops that retry would go unexplored. A model asks for one failure; it is
//! counted for the thread of the system that the whole model runs on.

use core::{cell::Cell, ops::Deref};

use ::loom::sync::atomic::Ordering;

thread_local! {
    /// How many weak CASs are left until the one that fails.
    static UNTIL_FAILURE: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Lets the weak CAS fail that comes after `others` more, and no other one.
pub fn fail_weak_cas_after(others: usize) {
    UNTIL_FAILURE.set(Some(others));
}

/// Takes the failure back. Returns whether it has happened.
pub fn weak_cas_has_failed() -> bool {
    UNTIL_FAILURE.take().is_none()
}

/// Whether this weak CAS is the one.
fn fails() -> bool {
    let left = UNTIL_FAILURE.get();
    UNTIL_FAILURE.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

#[derive(Debug)]
pub struct AtomicU64(::loom::sync::atomic::AtomicU64);

impl AtomicU64 {
    pub fn new(value: u64) -> Self {
        Self(::loom::sync::atomic::AtomicU64::new(value))
    }

    pub fn compare_exchange_weak(
        &self,
        from: u64,
        to: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        if fails() {
            return Err(self.load(failure));
        }
        self.0.compare_exchange_weak(from, to, success, failure)
    }
}

impl Deref for AtomicU64 {
    type Target = ::loom::sync::atomic::AtomicU64;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}
