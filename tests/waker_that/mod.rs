//! Wakers that run a function.

use core::task::Waker;
use std::{sync::Arc, task::Wake};

/// A waker that runs a function when it is woken.
pub(crate) fn waker_that(on_wake: impl Fn() + Send + Sync + 'static) -> Waker {
    struct OnWake<F>(F);

    impl<F: Fn() + Send + Sync> Wake for OnWake<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }

    Arc::new(OnWake(on_wake)).into()
}
