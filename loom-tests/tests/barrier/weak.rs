//! Every retry after a CAS that failed spuriously.
//!
//! Each model runs once for each weak CAS that it may execute, which then fails.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::support::{
    Counter, arrived, assert_clean, counts_matter, explore_bounded, lead, poll, ready, warm,
};
use loom::thread;
use model_doubles::loom::weak::{fail_weak_cas_after, weak_cas_has_failed};

/// Explores `model` with its first weak CAS failing, its second, and so on, as long
/// as there is one in any execution. There must be `swaps` of them.
#[track_caller]
fn explore_failures(
    swaps: usize,
    outcomes: &[&str],
    model: impl Fn() -> String + Clone + Send + Sync + 'static,
) {
    for others in 0.. {
        let failures = Arc::new(AtomicUsize::new(0));
        let (model, counted) = (model.clone(), failures.clone());
        explore_bounded(3, 1, outcomes, move || {
            fail_weak_cas_after(others);
            let outcome = model();
            counted.fetch_add(usize::from(weak_cas_has_failed()), Relaxed);
            outcome
        });
        if failures.load(Relaxed) == 0 {
            if counts_matter() {
                assert_eq!(others, swaps, "weak CASs in one execution");
            }
            return;
        }
    }
}

#[test]
fn a_leader_against_a_drop() {
    explore_failures(9, &["completed", "withdrawn"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let wait = arrived(&barrier, &counter);
        let last = thread::spawn({
            let barrier = barrier.clone();
            move || {
                let mut wait = barrier.wait_owned();
                let completed = poll(&mut wait, &Counter::new()).is_ready();
                (wait, completed)
            }
        });

        drop(wait);
        let (last, completed) = last.join().unwrap();
        drop(last);
        assert_eq!(counter.wakes(), usize::from(completed));
        assert_clean(&barrier, u64::from(completed));
        if completed { "completed" } else { "withdrawn" }.into()
    });
}

#[test]
fn two_waiters_one_poll_each() {
    explore_failures(7, &["first led", "second led"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let other = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || {
                let mut wait = barrier.wait_owned();
                let led = poll(&mut wait, &counter).is_ready();
                (wait, led)
            }
        });

        let mut wait = barrier.clone().wait_owned();
        let led = poll(&mut wait, &counter).is_ready();
        let (mut other, other_led) = other.join().unwrap();
        assert!(led != other_led);
        assert_eq!(counter.wakes(), 1);
        assert!(!ready(if led { &mut other } else { &mut wait }, &counter).is_leader());
        assert_clean(&barrier, 1);
        if led { "first led" } else { "second led" }.into()
    });
}

#[test]
fn a_held_release_against_an_arrival_in_the_next_generation_and_its_first_poll() {
    explore_failures(12, &["counted in the next"], || {
        let barrier = warm(2);
        let (counter, next_counter) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &counter);
        let leader = lead(&barrier);
        let party = thread::spawn({
            let (barrier, counter) = (barrier.clone(), next_counter.clone());
            move || assert!(poll(&mut barrier.arrive(), &counter).is_pending())
        });

        leader.release();
        party.join().unwrap();
        assert_eq!((counter.wakes(), next_counter.wakes()), (1, 0));
        assert_eq!(ready(&mut wait, &counter).generation(), 0);
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
        assert!(ready(&mut barrier.clone().wait_owned(), &counter).is_leader());
        assert_clean(&barrier, 2);
        "counted in the next".into()
    });
}

#[test]
fn a_held_release_against_a_party_that_must_queue() {
    explore_failures(5, &["led", "queued and woken"], || {
        let barrier = warm(1);
        let counter = Counter::new();
        let leader = lead(&barrier);
        let party = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || {
                let mut wait = barrier.wait_owned();
                let led = poll(&mut wait, &counter).is_ready();
                (wait, led)
            }
        });

        leader.release();
        let (mut wait, led) = party.join().unwrap();
        if !led {
            // A release that came while it was about to queue may have woken it for an earlier try.
            assert_ne!(counter.wakes(), 0);
            assert!(ready(&mut wait, &counter).is_leader());
        }
        assert_clean(&barrier, 2);
        if led { "led" } else { "queued and woken" }.into()
    });
}

#[test]
fn a_held_release_against_a_withdrawal_from_the_next_generation() {
    explore_failures(10, &["withdrawn"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let mut wait = arrived(&barrier, &counter);
        let leader = lead(&barrier);
        let next = arrived(&barrier, &Counter::new());
        let dropper = thread::spawn(move || drop(next));

        leader.release();
        dropper.join().unwrap();
        assert_eq!(counter.wakes(), 1);
        assert_eq!(ready(&mut wait, &counter).generation(), 0);
        assert_clean(&barrier, 1);
        "withdrawn".into()
    });
}
