//! A waker that runs a function whenever it is cloned, for what the safe `Wake` cannot do.

use core::task::{RawWaker, RawWakerVTable, Waker};

type Hook = Box<dyn Fn() + Send + Sync>;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| {}, |_| {}, |_| {});

fn clone(data: *const ()) -> RawWaker {
    // SAFETY: `data` is the hook that `hooked_waker` leaked: never freed, and only ever borrowed
    // here, as shared. `Hook` is `Sync`, so any thread may call it.
    let hook = unsafe { &*data.cast::<Hook>() };
    hook();
    RawWaker::new(data, &VTABLE)
}

/// A waker whose clone calls `on_clone` first. Waking and dropping it do nothing.
///
/// The hook is leaked, so that the waker owns nothing.
pub(crate) fn hooked_waker(on_clone: impl Fn() + Send + Sync + 'static) -> Waker {
    let hook: Box<Hook> = Box::new(Box::new(on_clone));
    let raw = RawWaker::new(Box::into_raw(hook).cast_const().cast(), &VTABLE);
    // SAFETY: the functions of the table own nothing and may be called on any thread, in any
    // order and number; the one that reads the data reads what is never freed.
    unsafe { Waker::from_raw(raw) }
}

/// A waker whose clone panics, in silence: a message would allocate.
pub(crate) fn unclonable_waker() -> Waker {
    hooked_waker(|| std::panic::resume_unwind(Box::new("no clone of this waker")))
}
