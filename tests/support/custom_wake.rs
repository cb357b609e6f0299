//! Wakers that run a function to be woken, and what comes out if it panics.

use core::{panic::AssertUnwindSafe, task::Waker};
use std::{panic::catch_unwind, sync::Arc, task::Wake};

/// A waker that runs a function when it is woken.
pub fn waker_that(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct OnWake<F>(F);

    impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    Arc::new(OnWake(on_wake)).into()
}

/// Runs what must panic and returns the message.
pub fn panic_of<T>(f: impl FnOnce() -> T) -> &'static str {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("no panic where there had to be one"),
        Err(panic) => panic.downcast_ref::<&str>().expect("a plain message"),
    }
}
