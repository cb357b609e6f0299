//! Wakers that run a function to be cloned, which the safe `Wake` cannot do.

use core::{
    mem::ManuallyDrop,
    task::{RawWaker, RawWakerVTable, Waker},
};
use std::panic::resume_unwind;

type Hook = Box<dyn Fn() -> Waker + Send + Sync>;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| {}, |_| {}, |_| {});

fn clone(data: *const ()) -> RawWaker {
    // SAFETY: `data` is the hook that `waker_with_clone` leaked: never freed, and only ever borrowed
    // here, as shared. `Hook` is `Sync`, so any thread may call it.
    let hook = unsafe { &*data.cast::<Hook>() };
    let clone = ManuallyDrop::new(hook());
    RawWaker::new(clone.data(), clone.vtable())
}

/// A waker whose clones are what the function returns. Waking and dropping it do nothing.
///
/// The function is leaked, so that the waker owns nothing.
pub fn waker_with_clone(hook: impl Fn() -> Waker + Send + Sync + 'static) -> Waker {
    let hook: Box<Hook> = Box::new(Box::new(hook));
    let raw = RawWaker::new(Box::into_raw(hook).cast_const().cast(), &VTABLE);
    // SAFETY: the functions of the table may be called on any thread, in any order and number:
    // one reads the data, which is never freed, and gives away a waker that it owns; the others
    // do nothing.
    unsafe { Waker::from_raw(raw) }
}

/// A waker whose clone panics, in silence: a message would allocate.
pub fn unclonable_waker() -> Waker {
    waker_with_clone(|| resume_unwind(Box::new("no clone of this waker")))
}

/// Another waker with the pointers of `hooked`.
pub fn twin(hooked: &Waker) -> Waker {
    assert!(core::ptr::eq(hooked.vtable(), &raw const VTABLE));
    // SAFETY: as in `waker_with_clone`, by which it was made: it owns nothing.
    unsafe { Waker::new(hooked.data(), hooked.vtable()) }
}
