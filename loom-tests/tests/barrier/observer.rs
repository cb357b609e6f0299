//! `Barrier::observe`: what races with the end of a generation that an observer awaits.

use std::{sync::Arc, task::Poll};

use crate::support::{
    Counter, arrived, assert_clean, explore, explore_bounded, lead, poll, ready, warm,
};
use atomic_barrier_over_loom::Barrier;
use loom::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

/// Completes the current generation of a barrier for two.
fn complete(barrier: &Barrier) {
    drop(barrier.arrive());
    drop(barrier.arrive());
}

#[test]
fn a_leader_against_the_first_poll_of_an_observer() {
    explore(20, &["ready", "waits"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        drop(barrier.arrive());
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader())
        });

        let mut observation = barrier.observe(0);
        let polled = poll(&mut observation, &counter);
        leader.join().unwrap();
        let outcome = match polled {
            Poll::Ready(()) => "ready",
            Poll::Pending => {
                assert_eq!(counter.wakes(), 1);
                assert!(poll(&mut observation, &counter).is_ready());
                "waits"
            }
        };
        drop(observation);
        // No slot keeps its waker.
        assert_eq!(Arc::strong_count(&counter), 1);
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

#[test]
fn a_leader_against_an_observer_that_is_dropped() {
    explore(20, &["waker 0", "waker 1"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        drop(barrier.arrive());
        let mut observation = barrier.observe(0);
        assert!(poll(&mut observation, &counter).is_pending());
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader())
        });

        drop(observation);
        leader.join().unwrap();
        assert_eq!(Arc::strong_count(&counter), 1);
        assert_clean(&barrier, 1);
        format!("waker {}", counter.wakes())
    });
}

#[test]
fn a_leader_against_an_observer_that_is_polled_with_a_fresh_waker() {
    explore(20, &["ready", "waits"], || {
        let barrier = warm(2);
        let (old, new) = (Counter::new(), Counter::new());
        drop(barrier.arrive());
        let mut observation = barrier.observe(0);
        assert!(poll(&mut observation, &old).is_pending());
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader())
        });

        let polled = poll(&mut observation, &new);
        leader.join().unwrap();
        let outcome = match polled {
            Poll::Ready(()) => "ready",
            Poll::Pending => {
                assert_eq!((old.wakes(), new.wakes()), (0, 1));
                assert!(poll(&mut observation, &new).is_ready());
                "waits"
            }
        };
        drop(observation);
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

#[test]
fn two_generations_against_the_first_poll_of_an_observer_of_the_second() {
    explore_bounded(3, 500, &["ready", "waits"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || {
                complete(&barrier);
                complete(&barrier);
            }
        });

        let mut observation = barrier.observe(1);
        let polled = poll(&mut observation, &counter);
        leader.join().unwrap();
        let outcome = match polled {
            Poll::Ready(()) => "ready",
            Poll::Pending => {
                assert_eq!(counter.wakes(), 1);
                assert!(poll(&mut observation, &counter).is_ready());
                "waits"
            }
        };
        drop(observation);
        assert_eq!(Arc::strong_count(&counter), 1);
        assert_clean(&barrier, 2);
        outcome.into()
    });
}

#[test]
fn a_held_release_against_the_first_poll_of_an_observer() {
    explore(20, &["ready", "waits"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        drop(barrier.arrive());
        let leader = lead(&barrier);
        let observer = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || {
                let mut observation = barrier.observe(0);
                let polled = poll(&mut observation, &counter);
                // Forgotten, as it cannot leave the thread: it waits on.
                std::mem::forget(observation);
                polled.is_ready()
            }
        });

        leader.release();
        let is_ready = observer.join().unwrap();
        assert!(is_ready || counter.wakes() == 1);
        assert_eq!(Arc::strong_count(&counter), 1);
        assert_clean(&barrier, 1);
        if is_ready { "ready" } else { "waits" }.into()
    });
}

#[test]
fn an_observer_against_a_withdrawal() {
    explore(7, &["waits"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let wait = arrived(&barrier, &Counter::new());
        let dropper = thread::spawn(move || drop(wait));

        let mut observation = barrier.observe(0);
        assert!(poll(&mut observation, &counter).is_pending());
        dropper.join().unwrap();
        assert_eq!((counter.wakes(), barrier.arrived()), (0, 0));
        complete(&barrier);
        assert_eq!(counter.wakes(), 1);
        assert!(poll(&mut observation, &counter).is_ready());
        drop(observation);
        assert_clean(&barrier, 1);
        "waits".into()
    });
}

#[test]
fn an_observer_sees_what_the_parties_did_before_the_end() {
    explore(20, &["seen", "waits"], || {
        let barrier = warm(2);
        let done = Arc::new(AtomicUsize::new(0));
        drop(barrier.arrive());
        let leader = thread::spawn({
            let (barrier, done) = (barrier.clone(), done.clone());
            move || {
                done.store(1, Relaxed);
                drop(barrier.arrive());
            }
        });

        let mut observation = barrier.observe(0);
        let is_ready = poll(&mut observation, &Counter::new()).is_ready();
        if is_ready {
            assert_eq!(done.load(Relaxed), 1);
        }
        leader.join().unwrap();
        drop(observation);
        assert_clean(&barrier, 1);
        if is_ready { "seen" } else { "waits" }.into()
    });
}

#[test]
fn a_thread_that_observes_against_a_leader() {
    explore(900, &["over"], || {
        let barrier = warm(2);
        let done = Arc::new(AtomicUsize::new(0));
        drop(barrier.arrive());
        let leader = thread::spawn({
            let (barrier, done) = (barrier.clone(), done.clone());
            move || {
                done.store(1, Relaxed);
                drop(barrier.arrive());
            }
        });

        barrier.observe(0).wait_blocking();
        assert_eq!(done.load(Relaxed), 1);
        leader.join().unwrap();
        assert_clean(&barrier, 1);
        "over".into()
    });
}
