//! Waking many, whatever one of the wakers does.

/// Calls the function when it is dropped, whether or not a waker panics before.
pub(crate) struct CallOnDrop<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> Drop for CallOnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Wakes every waker. The first panic comes out once all are woken, unless this thread is panicking
/// already, when a second would abort.
#[cfg(feature = "std")]
pub(crate) fn wake_all<W>(mut wakers: impl Iterator<Item = W>, wake: impl Fn(W)) {
    use core::{mem, panic::AssertUnwindSafe};
    use std::{
        panic::{catch_unwind, resume_unwind},
        thread,
    };

    let mut first_panic = None;
    while let Err(panic) = catch_unwind(AssertUnwindSafe(|| {
        wakers.by_ref().for_each(&wake);
    })) {
        if first_panic.is_none() {
            first_panic = Some(panic);
        } else {
            // Dropping it may panic.
            mem::forget(panic);
        }
    }
    match first_panic {
        Some(panic) if thread::panicking() => mem::forget(panic),
        Some(panic) => resume_unwind(panic),
        None => {}
    }
}

/// Wakes every waker, also those after one that panics.
///
/// Without `std` a panic cannot be kept back: a second one aborts, as any panic during another.
#[cfg(not(feature = "std"))]
pub(crate) fn wake_all<W>(wakers: impl Iterator<Item = W>, wake: impl Fn(W)) {
    struct Rest<I: Iterator, F: Fn(I::Item)>(I, F);

    impl<I: Iterator, F: Fn(I::Item)> Rest<I, F> {
        fn wake(&mut self) {
            self.0.by_ref().for_each(&self.1);
        }
    }

    impl<I: Iterator, F: Fn(I::Item)> Drop for Rest<I, F> {
        fn drop(&mut self) {
            self.wake();
        }
    }

    Rest(wakers, wake).wake();
}
