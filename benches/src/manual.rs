//! Generations without a runtime: one thread polls every wait itself, so nothing varies from run to
//! run.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::peers::Peer;

/// Completes a generation of a barrier, with one of `waits` for each of its parties.
///
/// Each of them is first replaced by a new `wait()`, so nothing is allocated here.
///
/// # Panics
///
/// If the barrier has more or fewer parties, or not exactly one leads.
pub fn run_generation<B: Peer, F>(waits: &mut [Pin<Box<F>>], wait: impl Fn() -> F)
where
    F: Future<Output = B::WaitResult>,
{
    let (leader, others) = waits.split_last_mut().expect("a barrier has a party");
    arrive(others, &wait);
    leader.set(wait());
    assert!(leads::<B>(poll(leader)), "the last to arrive leads");
    for other in others {
        assert!(!leads::<B>(poll(other)), "one leads");
    }
}

/// Arrives with a new `wait()` in place of each, none of which is the last of its generation.
///
/// # Panics
///
/// If a wait is ready.
pub fn arrive<F: Future>(waits: &mut [Pin<Box<F>>], wait: impl Fn() -> F) {
    for place in waits {
        place.set(wait());
        assert!(poll(place).is_pending(), "an arrival is missing");
    }
}

fn poll<F: Future>(wait: &mut Pin<Box<F>>) -> Poll<F::Output> {
    wait.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn leads<B: Peer>(poll: Poll<B::WaitResult>) -> bool {
    match poll {
        Poll::Ready(result) => B::is_leader(&result),
        Poll::Pending => panic!("a wait of a completed generation is ready"),
    }
}
