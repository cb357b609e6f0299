//! `Barrier::arrive` and the blocking waits: arrivals whose waker, if any, comes later.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::support::{
    Counter, arrived, assert_clean, explore, explore_bounded, lead, poll, ready, warm,
};
use loom::thread;

#[test]
fn a_leader_against_the_first_poll_of_an_arrival() {
    let outcomes = ["ready", "waits"];
    explore(20, &outcomes, || {
        let barrier = warm(2);
        let counter = Counter::new();
        let mut arrival = barrier.arrive();
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader())
        });

        let polled = poll(&mut arrival, &counter);
        leader.join().unwrap();
        let outcome = match polled {
            Poll::Ready(result) => {
                assert!(!result.is_leader());
                "ready"
            }
            Poll::Pending => {
                assert_eq!(counter.wakes(), 1);
                assert!(poll(&mut arrival, &counter).is_ready());
                "waits"
            }
        };
        drop(arrival);
        // No slot keeps its waker.
        assert_eq!(Arc::strong_count(&counter), 1);
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

#[test]
fn a_leader_against_the_drop_of_a_polled_arrival() {
    let outcomes = ["counted, waker 0", "counted, waker 1"];
    explore(20, &outcomes, || {
        let barrier = warm(2);
        let counter = Counter::new();
        let mut arrival = barrier.arrive();
        assert!(poll(&mut arrival, &counter).is_pending());
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader())
        });

        drop(arrival);
        leader.join().unwrap();
        assert_clean(&barrier, 1);
        format!("counted, waker {}", counter.wakes())
    });
}

/// The party claims, for a generation that it read long ago, the slot that the leader of that
/// generation has taken from the arrival.
#[test]
fn the_drop_of_a_polled_arrival_against_a_party_with_an_old_view_in_its_slot() {
    let outcomes = ["the party led", "the party waits"];
    explore_bounded(3, 5_000, &outcomes, || {
        let barrier = warm(3);
        let first = arrived(&barrier, &Counter::new());
        let mut arrival = barrier.arrive();
        assert!(poll(&mut arrival, &Counter::new()).is_pending());
        drop(first);
        let party = thread::spawn({
            let barrier = barrier.clone();
            move || {
                let mut wait = barrier.wait_owned();
                let led = poll(&mut wait, &Counter::new()).is_ready();
                (wait, led)
            }
        });
        let others = thread::spawn({
            let barrier = barrier.clone();
            move || drop([barrier.arrive(), barrier.arrive()])
        });

        drop(arrival);
        others.join().unwrap();
        let (party, led) = party.join().unwrap();
        // Of the four that arrived, three made a generation.
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
        drop(party);
        if led {
            "the party led"
        } else {
            "the party waits"
        }
        .into()
    });
}

/// No race: a panic that leaves an arrival counted, with its slot and the new waker.
#[test]
fn an_arrival_whose_poll_panicked_keeps_its_slot() {
    struct PanicsInDrop;

    impl Wake for PanicsInDrop {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    explore(1, &["waits"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let mut arrival = barrier.arrive();
        let waker = Waker::from(Arc::new(PanicsInDrop));
        let polled = Pin::new(&mut arrival).poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        drop(waker);

        let replaced = catch_unwind(AssertUnwindSafe(|| poll(&mut arrival, &counter)));
        assert!(replaced.is_err());
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        assert_eq!(counter.wakes(), 1);
        assert!(poll(&mut arrival, &counter).is_ready());
        drop(arrival);
        assert_clean(&barrier, 1);
        "waits".into()
    });
}

#[test]
fn a_held_release_against_an_arrival_in_the_next_generation_and_its_first_poll() {
    explore(50, &["counted in the next"], || {
        let barrier = warm(2);
        let (counter, next_counter) = (Counter::new(), Counter::new());
        let wait = arrived(&barrier, &counter);
        let leader = lead(&barrier);
        let party = thread::spawn({
            let (barrier, counter) = (barrier.clone(), next_counter.clone());
            move || {
                let mut arrival = barrier.arrive();
                assert!(poll(&mut arrival, &counter).is_pending());
                // The arrival stays; only its waker goes.
                drop(arrival);
            }
        });

        leader.release();
        party.join().unwrap();
        assert_eq!((counter.wakes(), next_counter.wakes()), (1, 0));
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
        drop(wait);
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        assert_clean(&barrier, 2);
        "counted in the next".into()
    });
}

#[test]
fn two_arrivals_one_leads() {
    explore(5, &["first", "second"], || {
        let barrier = warm(2);
        let leads = |barrier: &atomic_barrier_over_loom::Barrier| {
            let mut arrival = barrier.arrive();
            let polled = Pin::new(&mut arrival).poll(&mut Context::from_waker(Waker::noop()));
            matches!(polled, Poll::Ready(result) if result.is_leader())
        };
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || leads(&barrier)
        });

        let mine = leads(&barrier);
        let other = other.join().unwrap();
        assert!(mine != other);
        assert_clean(&barrier, 1);
        if mine { "first" } else { "second" }.into()
    });
}

#[test]
fn two_threads_block() {
    explore(100, &["one leader"], || {
        let barrier = warm(2);
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || barrier.wait_blocking()
        });
        let mine = barrier.wait_blocking();
        assert!(mine.is_leader() != other.join().unwrap().is_leader());
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        "one leader".into()
    });
}

#[test]
fn a_leader_against_a_blocking_wait_that_times_out() {
    let outcomes = ["in time", "led", "timed out"];
    explore_bounded(3, 800, &outcomes, || {
        let barrier = warm(2);
        let counter = Counter::new();
        let other = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || {
                let mut wait = barrier.wait_owned();
                let completed = poll(&mut wait, &counter).is_ready();
                (wait, completed)
            }
        });

        let result = barrier.wait_blocking_timeout(Duration::ZERO);
        let (wait, completed) = other.join().unwrap();
        let outcome = match result {
            Ok(result) if result.is_leader() => {
                assert_eq!(counter.wakes(), 1);
                "led"
            }
            Ok(_) => {
                assert!(completed);
                "in time"
            }
            Err(_) => {
                assert!(!completed);
                assert_eq!(barrier.arrived(), 1);
                "timed out"
            }
        };
        drop(wait);
        assert_clean(&barrier, u64::from(outcome != "timed out"));
        outcome.into()
    });
}
