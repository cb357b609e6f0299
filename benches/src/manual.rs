//! Generations without a runtime: one thread polls every wait itself, so nothing varies from run to
//! run.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::peers::Peer;

/// A waker that wakes nothing, and is cloned and dropped as a task's is, by counting references.
pub fn waker() -> Waker {
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    Arc::new(Nothing).into()
}

/// Completes a generation of a barrier, with one of `waits` for each of its parties.
///
/// Each of them is first replaced by a new `wait()`, so nothing is allocated here.
///
/// # Panics
///
/// If the barrier has more or fewer parties, or not exactly one leads.
pub fn run_generation<B: Peer, F>(
    waits: &mut [Pin<Box<F>>],
    cx: &mut Context<'_>,
    wait: impl Fn() -> F,
) where
    F: Future<Output = B::WaitResult>,
{
    let (leader, others) = waits.split_last_mut().expect("a barrier has a party");
    arrive(others, cx, &wait);
    leader.set(wait());
    release::<B, _>(leader.as_mut(), others.iter_mut().map(Pin::as_mut), cx);
}

/// Arrives with a new `wait()` in place of each, none of which is the last of its generation.
///
/// # Panics
///
/// If a wait is ready.
pub fn arrive<F: Future>(waits: &mut [Pin<Box<F>>], cx: &mut Context<'_>, wait: impl Fn() -> F) {
    for place in waits {
        place.set(wait());
        assert!(
            place.as_mut().poll(cx).is_pending(),
            "an arrival is missing"
        );
    }
}

/// Polls the last wait of a generation, and then those that it releases.
///
/// # Panics
///
/// If a wait is not ready, or not exactly the last leads.
pub fn release<'a, B: Peer, F>(
    leader: Pin<&mut F>,
    others: impl Iterator<Item = Pin<&'a mut F>>,
    cx: &mut Context<'_>,
) where
    F: Future<Output = B::WaitResult> + 'a,
{
    assert!(leads::<B>(leader.poll(cx)), "the last to arrive leads");
    for other in others {
        assert!(!leads::<B>(other.poll(cx)), "one leads");
    }
}

fn leads<B: Peer>(poll: Poll<B::WaitResult>) -> bool {
    match poll {
        Poll::Ready(result) => B::is_leader(&result),
        Poll::Pending => panic!("a wait of a completed generation is ready"),
    }
}
