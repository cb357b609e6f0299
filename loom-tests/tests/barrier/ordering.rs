//! What becomes visible to which thread: every promise of the documentation on memory ordering.
//!
//! Data that has to be seen is stored and loaded without an ordering of its own, by threads that
//! are not joined before they have looked.

use std::{future::Future, sync::Arc, task::Poll};

use crate::support::{
    Counter, arrived, assert_clean, explore, explore_bounded, lead, poll, ready, warm,
};
use atomic_barrier_over_loom::{Barrier, barrier::OwnedWait};
use loom::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

fn data() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

/// Does something in another thread, and then arrives. Gives the wait, and whether it was ready.
fn arrive(
    barrier: &Arc<Barrier>,
    done: &Arc<AtomicUsize>,
) -> thread::JoinHandle<(OwnedWait, bool)> {
    let (barrier, done) = (barrier.clone(), done.clone());
    thread::spawn(move || {
        done.store(1, Relaxed);
        let mut wait = barrier.wait_owned();
        let ready = poll(&mut wait, &Counter::new()).is_ready();
        (wait, ready)
    })
}

/// Polls, and looks whether all has been `done` if that is ready.
fn look<F: Future + Unpin>(wait: &mut F, done: &[&Arc<AtomicUsize>]) -> bool {
    let ready = poll(wait, &Counter::new()).is_ready();
    if ready {
        for done in done {
            assert_eq!(done.load(Relaxed), 1);
        }
    }
    ready
}

fn outcome(released: bool) -> String {
    if released { "seen" } else { "waits" }.into()
}

#[test]
fn a_leader_sees_what_a_follower_did_before_it_arrived() {
    explore(50, &["seen", "the follower led"], || {
        let barrier = warm(2);
        let done = data();
        let follower = arrive(&barrier, &done);

        let mut wait = barrier.clone().wait_owned();
        let led = look(&mut wait, &[&done]);
        drop(follower.join().unwrap());
        assert_clean(&barrier, 1);
        if led { "seen" } else { "the follower led" }.into()
    });
}

#[test]
fn a_leader_that_holds_the_release_sees_what_a_follower_did_before_it_arrived() {
    explore(50, &["seen", "the follower led"], || {
        let barrier = warm(2);
        let done = data();
        let follower = arrive(&barrier, &done);

        let mut wait = barrier.wait_leader();
        let led = match poll(&mut wait, &Counter::new()) {
            Poll::Ready(leader) => {
                assert!(leader.is_some());
                assert_eq!(done.load(Relaxed), 1);
                true
            }
            Poll::Pending => false,
        };
        drop(follower.join().unwrap());
        drop(wait);
        assert_clean(&barrier, 1);
        if led { "seen" } else { "the follower led" }.into()
    });
}

/// Whichever way the follower learns of it: from the word, or from its slot before or after it has
/// put its new waker there.
#[test]
fn a_follower_sees_what_the_leader_did_before_it_completed() {
    explore(30, &["seen", "waits"], || {
        let barrier = warm(2);
        let done = data();
        let mut wait = arrived(&barrier, &Counter::new());
        let follower = thread::spawn({
            let done = done.clone();
            move || {
                let released = look(&mut wait, &[&done]);
                (wait, released)
            }
        });

        done.store(1, Relaxed);
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let (wait, released) = follower.join().unwrap();
        drop(wait);
        assert_clean(&barrier, 1);
        outcome(released)
    });
}

#[test]
fn a_follower_sees_what_the_leader_did_while_it_held_the_release() {
    explore(30, &["seen", "waits"], || {
        let barrier = warm(2);
        let done = data();
        let mut wait = arrived(&barrier, &Counter::new());
        let leader = lead(&barrier);
        let follower = thread::spawn({
            let done = done.clone();
            move || look(&mut wait, &[&done])
        });

        done.store(1, Relaxed);
        leader.release();
        let released = follower.join().unwrap();
        assert_clean(&barrier, 1);
        outcome(released)
    });
}

#[test]
fn an_arrival_sees_what_the_leader_did_when_it_is_first_polled() {
    explore(20, &["seen", "waits"], || {
        let barrier = warm(2);
        let done = data();
        let mut arrival = barrier.arrive();
        let leader = thread::spawn({
            let (barrier, done) = (barrier.clone(), done.clone());
            move || {
                done.store(1, Relaxed);
                assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader());
            }
        });

        let released = look(&mut arrival, &[&done]);
        leader.join().unwrap();
        assert_clean(&barrier, 1);
        outcome(released)
    });
}

#[test]
fn a_follower_sees_what_the_other_parties_did_before_they_arrived() {
    explore_bounded(3, 1_000, &["seen", "waits"], || {
        let barrier = warm(3);
        let mut wait = arrived(&barrier, &Counter::new());
        let done = [data(), data()];
        let others = done.each_ref().map(|done| arrive(&barrier, done));

        let released = look(&mut wait, &done.each_ref());
        drop(others.map(|other| other.join().unwrap()));
        assert_clean(&barrier, 1);
        outcome(released)
    });
}

#[test]
fn an_observer_of_the_generation_sees_what_its_parties_did() {
    explore(5, &["released", "too early"], || {
        let barrier = warm(2);
        let done = data();
        let wait = arrived(&barrier, &Counter::new());
        let observer = thread::spawn({
            let (barrier, done) = (barrier.clone(), done.clone());
            move || {
                let released = barrier.generation() == 1;
                if released {
                    assert_eq!(done.load(Relaxed), 1);
                }
                released
            }
        });

        done.store(1, Relaxed);
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let released = observer.join().unwrap();
        drop(wait);
        assert_clean(&barrier, 1);
        if released { "released" } else { "too early" }.into()
    });
}

#[test]
fn a_follower_whose_slot_is_another_waiters_by_now_sees_what_its_leader_did() {
    explore(50, &["seen", "waits"], || {
        let barrier = warm(2);
        let done = data();
        let mut wait = arrived(&barrier, &Counter::new());
        let leader = thread::spawn({
            let (barrier, done) = (barrier.clone(), done.clone());
            move || {
                done.store(1, Relaxed);
                let counter = Counter::new();
                assert!(ready(&mut barrier.clone().wait_owned(), &counter).is_leader());
                arrived(&barrier, &counter)
            }
        });

        let released = look(&mut wait, &[&done]);
        drop(leader.join().unwrap());
        assert_clean(&barrier, 1);
        outcome(released)
    });
}

#[test]
fn a_follower_whose_slot_is_a_third_partys_by_now_sees_what_its_leader_did() {
    let outcomes = ["led by the second", "seen", "waits"];
    explore_bounded(3, 1_000, &outcomes, || {
        let barrier = warm(2);
        let done = data();
        let mut wait = arrived(&barrier, &Counter::new());
        let first = arrive(&barrier, &done);
        let second = arrive(&barrier, &data());

        let released = poll(&mut wait, &Counter::new()).is_ready();
        let seen = done.load(Relaxed);
        let (first, first_led) = first.join().unwrap();
        let (second, second_led) = second.join().unwrap();
        assert!(first_led != second_led);
        drop((first, second));
        assert_clean(&barrier, 1);
        let outcome = match (first_led, released) {
            (true, true) => {
                assert_eq!(seen, 1);
                "seen"
            }
            (true, false) => "waits",
            (false, _) => "led by the second",
        };
        outcome.into()
    });
}
