//! `Barrier::wait_leader`: what races with a release that is held.

use std::{sync::Arc, task::Poll, time::Duration};

use crate::support::{
    Counter, arrived, assert_clean, explore, explore_bounded, lead, poll, ready, warm,
};
use atomic_barrier_over_loom::Barrier;
use loom::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

#[test]
fn a_held_release_against_a_drop() {
    explore(5, &["kept, waker 1"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let wait = arrived(&barrier, &counter);
        let leader = lead(&barrier);
        assert_eq!((barrier.arrived(), barrier.generation()), (2, 0));
        let dropper = thread::spawn(move || drop(wait));

        leader.release();
        dropper.join().unwrap();
        assert_clean(&barrier, 1);
        format!("kept, waker {}", counter.wakes())
    });
}

#[test]
fn a_held_release_against_a_poll_with_a_fresh_waker() {
    let outcomes = ["ready", "waits"];
    explore(20, &outcomes, || {
        let barrier = warm(2);
        let (old, new) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &old);
        let leader = lead(&barrier);
        let poller = thread::spawn({
            let new = new.clone();
            move || {
                let polled = poll(&mut wait, &new);
                (wait, polled)
            }
        });

        leader.release();
        let (mut wait, polled) = poller.join().unwrap();
        let outcome = match polled {
            Poll::Ready(result) => {
                assert!(!result.is_leader());
                assert_eq!(new.wakes(), 0);
                "ready"
            }
            Poll::Pending => {
                assert_eq!((old.wakes(), new.wakes()), (0, 1));
                assert!(!ready(&mut wait, &new).is_leader());
                "waits"
            }
        };
        drop(wait);
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

#[test]
fn a_held_release_against_an_arrival_in_the_next_generation() {
    explore(20, &["counted in the next"], || {
        let barrier = warm(2);
        let (counter, next_counter) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &counter);
        let leader = lead(&barrier);
        let party = thread::spawn({
            let (barrier, counter) = (barrier.clone(), next_counter.clone());
            move || arrived(&barrier, &counter)
        });

        leader.release();
        let mut next = party.join().unwrap();
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
        assert_eq!((counter.wakes(), next_counter.wakes()), (1, 0));
        assert_eq!(ready(&mut wait, &counter).generation(), 0);
        assert!(ready(&mut barrier.clone().wait_owned(), &counter).is_leader());
        assert_eq!(next_counter.wakes(), 1);
        assert_eq!(ready(&mut next, &next_counter).generation(), 1);
        assert_clean(&barrier, 2);
        "counted in the next".into()
    });
}

#[test]
fn a_held_release_against_a_withdrawal_from_the_next_generation() {
    explore(20, &["withdrawn"], || {
        let barrier = warm(2);
        let (counter, next_counter) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &counter);
        let leader = lead(&barrier);
        let next = arrived(&barrier, &next_counter);
        let dropper = thread::spawn(move || drop(next));

        leader.release();
        dropper.join().unwrap();
        assert_eq!((counter.wakes(), next_counter.wakes()), (1, 0));
        assert_eq!(ready(&mut wait, &counter).generation(), 0);
        assert_clean(&barrier, 1);
        "withdrawn".into()
    });
}

#[test]
fn a_held_release_against_a_party_that_must_queue() {
    let outcomes = ["led", "queued and woken"];
    explore(20, &outcomes, || {
        // One party: the next generation cannot gather anyone before the release.
        let barrier = warm(1);
        let counter = Counter::new();
        let leader = lead(&barrier);
        let party = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || {
                let mut wait = barrier.wait_owned();
                let polled = poll(&mut wait, &counter);
                (wait, polled)
            }
        });

        leader.release();
        let (mut wait, polled) = party.join().unwrap();
        let outcome = match polled {
            Poll::Ready(result) => {
                assert!(result.is_leader());
                "led"
            }
            Poll::Pending => {
                assert_eq!((counter.wakes(), barrier.generation()), (1, 1));
                assert!(ready(&mut wait, &counter).is_leader());
                "queued and woken"
            }
        };
        // No slot keeps its waker.
        assert_eq!(Arc::strong_count(&counter), 1);
        assert_clean(&barrier, 2);
        outcome.into()
    });
}

#[test]
fn a_held_release_against_a_queued_party_that_is_dropped() {
    explore(20, &["gone"], || {
        let barrier = warm(1);
        let leader = lead(&barrier);
        let queued = {
            let mut wait = barrier.clone().wait_owned();
            assert!(poll(&mut wait, &Counter::new()).is_pending());
            wait
        };
        let dropper = thread::spawn(move || drop(queued));

        leader.release();
        dropper.join().unwrap();
        assert_clean(&barrier, 1);
        "gone".into()
    });
}

#[test]
fn a_held_release_against_a_queued_party_that_is_polled() {
    let outcomes = ["led", "woken"];
    explore(20, &outcomes, || {
        let barrier = warm(1);
        let (old, new) = (Counter::new(), Counter::new());
        let leader = lead(&barrier);
        let mut queued = barrier.clone().wait_owned();
        assert!(poll(&mut queued, &old).is_pending());
        let poller = thread::spawn({
            let new = new.clone();
            move || {
                let led = poll(&mut queued, &new).is_ready();
                (queued, led)
            }
        });

        leader.release();
        let (mut queued, led) = poller.join().unwrap();
        if !led {
            assert_eq!((old.wakes(), new.wakes()), (0, 1));
            assert!(ready(&mut queued, &new).is_leader());
        }
        assert_clean(&barrier, 2);
        if led { "led" } else { "woken" }.into()
    });
}

#[test]
fn the_last_of_a_plain_wait_and_a_leader_wait_against_a_drop() {
    let outcomes = ["led", "withdrawn"];
    explore(20, &outcomes, || {
        let barrier = warm(2);
        let counter = Counter::new();
        let wait = arrived(&barrier, &counter);
        let dropper = thread::spawn(move || drop(wait));

        let polled = poll(&mut barrier.wait_leader(), &Counter::new());
        let outcome = match polled {
            Poll::Ready(leader) => {
                dropper.join().unwrap();
                assert_eq!((barrier.arrived(), counter.wakes()), (2, 0));
                drop(leader);
                assert_eq!(counter.wakes(), 1);
                assert_clean(&barrier, 1);
                "led"
            }
            Poll::Pending => {
                dropper.join().unwrap();
                assert_clean(&barrier, 0);
                "withdrawn"
            }
        };
        outcome.into()
    });
}

#[test]
fn two_threads_block_and_one_leads() {
    explore_bounded(3, 1_000, &["first", "second"], || {
        let barrier = warm(2);
        let done = Arc::new(AtomicUsize::new(0));
        let meet = |barrier: &Barrier, done: &AtomicUsize| {
            let leader = barrier.wait_leader_blocking();
            let leads = leader.is_some();
            if let Some(leader) = leader {
                assert_eq!((barrier.arrived(), barrier.generation()), (2, 0));
                done.store(1, Relaxed);
                leader.release();
            }
            assert_eq!(done.load(Relaxed), 1);
            leads
        };
        let other = thread::spawn({
            let (barrier, done) = (barrier.clone(), done.clone());
            move || meet(&barrier, &done)
        });
        let mine = meet(&barrier, &done);
        assert!(mine != other.join().unwrap());
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        if mine { "first" } else { "second" }.into()
    });
}

#[test]
fn a_held_release_against_a_blocking_wait_that_times_out() {
    let outcomes = ["led", "released", "timed out"];
    explore_bounded(3, 500, &outcomes, || {
        let barrier = warm(2);
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || {
                let mut wait = barrier.clone().wait_leader_owned();
                let leads = match poll(&mut wait, &Counter::new()) {
                    Poll::Ready(leader) => {
                        leader.expect("the last to arrive").release();
                        true
                    }
                    Poll::Pending => false,
                };
                (wait, leads)
            }
        });

        let result = barrier.wait_leader_blocking_timeout(Duration::ZERO);
        let outcome = match result {
            Ok(Some(leader)) => {
                leader.release();
                "led"
            }
            Ok(None) => "released",
            Err(_) => "timed out",
        };
        let (wait, other_led) = other.join().unwrap();
        assert_eq!(other_led, outcome == "released");
        drop(wait);
        assert_clean(&barrier, u64::from(outcome != "timed out"));
        outcome.into()
    });
}
