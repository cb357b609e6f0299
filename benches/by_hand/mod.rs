//! Generations polled by hand: one thread, no runtime, nothing that varies from run to run.

use std::{
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::peers::Peer;

/// Crosses a barrier once, with one of `waits` for each of its parties.
///
/// Each place is first given a fresh `wait()`, so nothing is allocated here.
pub(crate) fn cross<B: Peer, F>(waits: &mut [Pin<Box<F>>], wait: impl Fn() -> F)
where
    F: Future<Output = B::Crossed>,
{
    let (leader, others) = waits.split_last_mut().expect("a barrier has a party");
    arrive(others, &wait);
    leader.set(wait());
    assert!(leads::<B>(poll(leader)), "the last to arrive leads");
    for other in others {
        assert!(!leads::<B>(poll(other)), "one leads");
    }
}

/// Arrives with a fresh `wait()` in each place, none of which is the last of its generation.
pub(crate) fn arrive<F: Future>(waits: &mut [Pin<Box<F>>], wait: impl Fn() -> F) {
    for place in waits {
        place.set(wait());
        assert!(poll(place).is_pending(), "an arrival is missing");
    }
}

fn poll<F: Future>(wait: &mut Pin<Box<F>>) -> Poll<F::Output> {
    wait.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn leads<B: Peer>(poll: Poll<B::Crossed>) -> bool {
    match poll {
        Poll::Ready(crossed) => B::is_leader(&crossed),
        Poll::Pending => panic!("a wait of a completed generation is ready"),
    }
}
