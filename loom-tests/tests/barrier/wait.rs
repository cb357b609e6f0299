//! `Barrier::wait`: every race of two or three single steps, without a preemption bound.
//!
//! Each model builds its state step by step on one thread, and then races the steps that it is
//! named after.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use crate::support::{Counter, arrived, assert_clean, explore, explore_bounded, poll, ready, warm};
use atomic_barrier_over_loom::{Barrier, barrier::OwnedWait};
use loom::thread;

#[test]
fn a_leader_against_a_poll_with_a_fresh_waker() {
    let outcomes = [
        "ready, old waker 0, new waker 0",
        "ready, old waker 1, new waker 0",
        "waits, old waker 0, new waker 1",
    ];
    explore(30, &outcomes, || {
        let barrier = warm(2);
        let (old, new) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &old);
        let leader = thread::spawn({
            let barrier = barrier.clone();
            move || assert!(ready(&mut barrier.wait_owned(), &Counter::new()).is_leader())
        });

        let outcome = match poll(&mut wait, &new) {
            Poll::Ready(result) => {
                assert!(!result.is_leader());
                "ready"
            }
            Poll::Pending => "waits",
        };
        leader.join().unwrap();
        if outcome == "waits" {
            assert_eq!(ready(&mut wait, &new).generation(), 0);
        }
        let outcome = format!(
            "{outcome}, old waker {}, new waker {}",
            old.wakes(),
            new.wakes()
        );
        // No slot keeps either.
        assert_eq!([&old, &new].map(Arc::strong_count), [1, 1]);
        assert_clean(&barrier, 1);
        outcome
    });
}

#[test]
fn a_leader_against_a_poll_with_the_same_waker() {
    explore(5, &["ready", "waits"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let mut wait = arrived(&barrier, &counter);
        let waiter = thread::spawn({
            let counter = counter.clone();
            move || {
                let released = poll(&mut wait, &counter).is_ready();
                (wait, released)
            }
        });

        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let (mut wait, released) = waiter.join().unwrap();
        assert_eq!(counter.wakes(), 1);
        if !released {
            assert!(!ready(&mut wait, &counter).is_leader());
        }
        assert_clean(&barrier, 1);
        if released { "ready" } else { "waits" }.into()
    });
}

#[test]
fn a_leader_against_a_drop() {
    let outcomes = ["completed, waker 1", "withdrawn, waker 0"];
    explore(20, &outcomes, || {
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
        assert_eq!(barrier.arrived(), usize::from(!completed));
        drop(last);
        let outcome = if completed { "completed" } else { "withdrawn" };
        let outcome = format!("{outcome}, waker {}", counter.wakes());
        assert_clean(&barrier, u64::from(completed));
        outcome
    });
}

#[test]
fn three_waiters_one_poll_each() {
    explore_bounded(4, 30_000, &["one leader, each other woken once"], || {
        let barrier = warm(3);
        let wait_once = |barrier: Arc<Barrier>| {
            let counter = Counter::new();
            let mut wait = barrier.wait_owned();
            let polled = poll(&mut wait, &counter);
            (wait, counter, polled)
        };
        let others = [(); 2].map(|()| {
            let barrier = barrier.clone();
            thread::spawn(move || wait_once(barrier))
        });

        let mine = wait_once(barrier.clone());
        let [first, second] = others.map(|other| other.join().unwrap());
        let mut leaders = 0;
        for (mut wait, counter, polled) in [mine, first, second] {
            match polled {
                Poll::Ready(result) => {
                    assert!(result.is_leader());
                    leaders += 1;
                    assert_eq!(counter.wakes(), 0);
                }
                Poll::Pending => {
                    assert_eq!(counter.wakes(), 1);
                    assert!(!ready(&mut wait, &counter).is_leader());
                }
            }
        }
        assert_eq!(leaders, 1);
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        "one leader, each other woken once".into()
    });
}

#[test]
fn a_first_poll_against_a_generation_that_completes_meanwhile() {
    let outcomes = ["woken 1", "woken 2"];
    explore_bounded(5, 5_000, &outcomes, || {
        let barrier = warm(2);
        let (mine, other) = (Counter::new(), Counter::new());
        let pair = thread::spawn({
            let (barrier, other) = (barrier.clone(), other.clone());
            move || {
                let mut first = barrier.clone().wait_owned();
                let first_led = poll(&mut first, &other).is_ready();
                let mut second = barrier.wait_owned();
                let second_led = poll(&mut second, &other).is_ready();
                (first, second, first_led, second_led)
            }
        });

        let mut wait = barrier.clone().wait_owned();
        let led = poll(&mut wait, &mine).is_ready();
        let (first, second, first_led, second_led) = pair.join().unwrap();
        let leaders = [led, first_led, second_led];
        assert_eq!(leaders.map(usize::from).iter().sum::<usize>(), 1);
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
        // A first poll that is overtaken may be woken while it is still running.
        let woken = mine.wakes() + other.wakes();
        assert!(woken == 1 || woken == 2);
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        // The next leader finds the waiters that are left, and no others.
        assert_eq!(mine.wakes() + other.wakes(), woken + 1);
        drop((wait, first, second));
        assert_clean(&barrier, 2);
        format!("woken {woken}")
    });
}

#[test]
fn an_arrival_that_is_withdrawn_against_an_arrival() {
    let outcomes = ["it led", "the other led", "withdrawn"];
    explore(50, &outcomes, || {
        let barrier = warm(2);
        let counter = Counter::new();
        let fickle = thread::spawn({
            let barrier = barrier.clone();
            move || poll(&mut barrier.wait_owned(), &Counter::new()).is_ready()
        });

        let mut wait = barrier.clone().wait_owned();
        let polled = poll(&mut wait, &counter);
        let it_led = fickle.join().unwrap();
        let outcome = match polled {
            Poll::Ready(_) => {
                assert!(!it_led);
                "the other led"
            }
            Poll::Pending if it_led => {
                assert_eq!(counter.wakes(), 1);
                assert!(!ready(&mut wait, &counter).is_leader());
                "it led"
            }
            Poll::Pending => {
                assert_eq!((counter.wakes(), barrier.arrived()), (0, 1));
                drop(wait);
                "withdrawn"
            }
        };
        assert_clean(&barrier, u64::from(outcome != "withdrawn"));
        outcome.into()
    });
}

#[test]
fn a_leader_still_releasing_against_a_released_waiter_in_the_next_generation() {
    let outcomes = ["in the next", "not released yet"];
    explore(2_000, &outcomes, || {
        let barrier = warm(2);
        let (first, second) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &first);
        let waiter = thread::spawn({
            let (barrier, first, second) = (barrier.clone(), first.clone(), second.clone());
            move || {
                let released = poll(&mut wait, &first).is_ready();
                let next = released.then(|| arrived(&barrier, &second));
                (wait, next)
            }
        });

        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let (_wait, next) = waiter.join().unwrap();
        assert_eq!(first.wakes(), 1);
        let outcome = if let Some(next) = next {
            // The leader of generation 0 has not touched it.
            assert_eq!((second.wakes(), barrier.arrived()), (0, 1));
            drop(next);
            "in the next"
        } else {
            "not released yet"
        };
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

#[test]
fn a_leader_still_releasing_against_a_wait_of_the_next_generation_that_is_dropped() {
    let outcomes = ["in the next", "not released yet"];
    explore(2_000, &outcomes, || {
        let barrier = warm(2);
        let (first, second) = (Counter::new(), Counter::new());
        let mut wait = arrived(&barrier, &first);
        let waiter = thread::spawn({
            let (barrier, second) = (barrier.clone(), second.clone());
            move || {
                let released = poll(&mut wait, &first).is_ready();
                if released {
                    drop(arrived(&barrier, &second));
                }
                (wait, released)
            }
        });

        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let (_wait, released) = waiter.join().unwrap();
        assert_eq!(second.wakes(), 0);
        assert_clean(&barrier, 1);
        let outcome = if released {
            "in the next"
        } else {
            "not released yet"
        };
        outcome.into()
    });
}

#[test]
fn a_leader_still_releasing_and_its_helper_against_a_wait_of_the_next_generation() {
    let outcomes = ["in the next", "not released yet"];
    explore_bounded(3, 1_000, &outcomes, || {
        let barrier = warm(3);
        let (counter, next_counter) = (Counter::new(), Counter::new());
        let mut helper = arrived(&barrier, &counter);
        let mut wait = arrived(&barrier, &counter);
        let followers = thread::spawn({
            let (barrier, next_counter) = (barrier.clone(), next_counter.clone());
            move || {
                if poll(&mut wait, &counter).is_pending() {
                    return (helper, wait, None);
                }
                let next = arrived(&barrier, &next_counter);
                ready(&mut helper, &counter);
                assert_eq!(next_counter.wakes(), 0);
                (helper, wait, Some(next))
            }
        });

        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let (helper, wait, next) = followers.join().unwrap();
        assert_eq!(next_counter.wakes(), 0);
        let outcome = if next.is_some() {
            "in the next"
        } else {
            "not released yet"
        };
        drop((helper, wait, next));
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

/// No race: a wake that takes long stands for the leader that is overtaken.
#[test]
fn a_waiter_that_is_polled_during_a_wake_helps_the_leader() {
    struct PollsAnother {
        another: Mutex<OwnedWait>,
        last: Arc<Counter>,
    }

    impl Wake for PollsAnother {
        fn wake(self: Arc<Self>) {
            assert_eq!(self.last.wakes(), 0);
            ready(&mut self.another.lock().unwrap(), &Counter::new());
            assert_eq!(self.last.wakes(), 1);
        }
    }

    explore(1, &["helped"], || {
        let barrier = warm(4);
        let last = Counter::new();
        let mut first = barrier.clone().wait_owned();
        assert!(poll(&mut first, &Counter::new()).is_pending());
        let another = Mutex::new(arrived(&barrier, &Counter::new()));
        let mut third = arrived(&barrier, &last);
        let polls_another = Arc::new(PollsAnother {
            another,
            last: last.clone(),
        });
        let waker = Waker::from(polls_another);
        let again = Pin::new(&mut first).poll(&mut Context::from_waker(&waker));
        assert!(again.is_pending());

        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        ready(&mut first, &Counter::new());
        ready(&mut third, &last);
        assert_clean(&barrier, 1);
        "helped".into()
    });
}

#[test]
fn a_late_drop_against_an_arrival_of_the_next_generation() {
    explore(5, &["the next is counted"], || {
        let barrier = warm(2);
        let counter = Counter::new();
        let late = arrived(&barrier, &Counter::new());
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        let dropper = thread::spawn(move || drop(late));

        // It takes the slot that the late one had.
        let next = arrived(&barrier, &counter);
        dropper.join().unwrap();
        assert_eq!(barrier.arrived(), 1);
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        assert_eq!(counter.wakes(), 1);
        drop(next);
        assert_clean(&barrier, 2);
        "the next is counted".into()
    });
}

#[test]
fn a_drop_against_the_leader_which_then_arrives_in_the_next_generation() {
    let outcomes = ["completed, next waits", "withdrawn, next led"];
    explore(50, &outcomes, || {
        let barrier = warm(2);
        let counter = Counter::new();
        let wait = arrived(&barrier, &Counter::new());
        let other = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || {
                let mut first = barrier.clone().wait_owned();
                let completed = poll(&mut first, &counter).is_ready();
                let mut second = barrier.wait_owned();
                let led = poll(&mut second, &counter).is_ready();
                assert!(completed != led);
                (first, second, completed)
            }
        });

        drop(wait);
        let (mut first, second, completed) = other.join().unwrap();
        assert_eq!(barrier.generation(), 1);
        assert_eq!(barrier.arrived(), usize::from(completed));
        // The drop has woken nobody, and taken no one else's slot.
        assert_eq!(counter.wakes(), usize::from(!completed));
        if !completed {
            assert!(!ready(&mut first, &counter).is_leader());
        }
        drop((first, second));
        assert_clean(&barrier, 1);
        let outcome = if completed {
            "completed, next waits"
        } else {
            "withdrawn, next led"
        };
        outcome.into()
    });
}

#[test]
fn two_arrivals_that_grow_the_slab_at_once() {
    explore(500, &["both counted"], || {
        let barrier = warm(7);
        let counter = Counter::new();
        let mut waits: Vec<_> = (0..4).map(|_| arrived(&barrier, &counter)).collect();
        let other = thread::spawn({
            let (barrier, counter) = (barrier.clone(), counter.clone());
            move || arrived(&barrier, &counter)
        });

        waits.push(arrived(&barrier, &counter));
        waits.push(other.join().unwrap());
        assert!(ready(&mut barrier.clone().wait_owned(), &Counter::new()).is_leader());
        assert_eq!(counter.wakes(), 6);
        for wait in &mut waits {
            assert!(!ready(wait, &counter).is_leader());
        }
        assert_clean(&barrier, 1);
        "both counted".into()
    });
}

#[test]
fn a_leader_against_two_drops() {
    let outcomes = ["completed", "withdrawn 1", "withdrawn 2"];
    explore(1_000, &outcomes, || {
        let barrier = warm(3);
        let counter = Counter::new();
        let waits = [(); 2].map(|()| arrived(&barrier, &counter));
        let droppers = waits.map(|wait| thread::spawn(move || drop(wait)));

        let mut last = barrier.clone().wait_owned();
        let completed = poll(&mut last, &Counter::new()).is_ready();
        let arrived = barrier.arrived();
        for dropper in droppers {
            dropper.join().unwrap();
        }
        let outcome = match (completed, arrived) {
            (true, _) => {
                assert_eq!(counter.wakes(), 2);
                "completed"
            }
            (false, 2) => "withdrawn 1",
            (false, _) => "withdrawn 2",
        };
        if !completed {
            assert_eq!((barrier.arrived(), counter.wakes()), (1, 0));
        }
        drop(last);
        assert_clean(&barrier, u64::from(completed));
        outcome.into()
    });
}

#[test]
fn a_leader_against_a_drop_and_a_poll_with_a_fresh_waker() {
    let outcomes = ["completed, ready", "completed, waits", "withdrawn, waits"];
    explore(400, &outcomes, || {
        let barrier = warm(3);
        let (old, new) = (Counter::new(), Counter::new());
        let dropped = arrived(&barrier, &Counter::new());
        let mut wait = arrived(&barrier, &old);
        let dropper = thread::spawn(move || drop(dropped));
        let last = thread::spawn({
            let barrier = barrier.clone();
            move || {
                let mut wait = barrier.wait_owned();
                let completed = poll(&mut wait, &Counter::new()).is_ready();
                (wait, completed)
            }
        });

        let polled = poll(&mut wait, &new).is_ready();
        dropper.join().unwrap();
        let (last, completed) = last.join().unwrap();
        let outcome = match (completed, polled) {
            (true, true) => "completed, ready",
            (true, false) => {
                assert_eq!((old.wakes(), new.wakes()), (0, 1));
                assert!(!ready(&mut wait, &new).is_leader());
                "completed, waits"
            }
            (false, false) => {
                assert_eq!(barrier.arrived(), 2);
                "withdrawn, waits"
            }
            (false, true) => panic!("ready without a leader"),
        };
        drop((wait, last));
        assert_clean(&barrier, u64::from(completed));
        outcome.into()
    });
}

/// The party may claim, for a generation that it read long ago, the slot that the leader of that
/// generation has just taken from the poller.
#[test]
fn a_poll_with_a_fresh_waker_against_the_leader_and_a_party_with_an_old_view() {
    let outcomes = [
        "the party came later, ready",
        "the party came later, woken",
        "the party was of the generation",
    ];
    explore_bounded(3, 50_000, &outcomes, || {
        let barrier = warm(2);
        let (old, new) = (Counter::new(), Counter::new());
        let party = thread::spawn({
            let barrier = barrier.clone();
            move || {
                let mut wait = barrier.wait_owned();
                let led = poll(&mut wait, &Counter::new()).is_ready();
                (wait, led)
            }
        });
        let mut wait = barrier.clone().wait_owned();
        if poll(&mut wait, &old).is_ready() {
            drop(party.join().unwrap());
            return "the party was of the generation".into();
        }
        let last = thread::spawn({
            let barrier = barrier.clone();
            move || {
                let mut wait = barrier.wait_owned();
                let led = poll(&mut wait, &Counter::new()).is_ready();
                (wait, led)
            }
        });

        let polled = poll(&mut wait, &new).is_ready();
        let (party, party_led) = party.join().unwrap();
        let (last, last_led) = last.join().unwrap();
        // The three arrivals completed one generation, of which the first to poll is one.
        assert!(party_led != last_led);
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
        let outcome = match (party_led, polled) {
            (true, _) => "the party was of the generation",
            (false, true) => "the party came later, ready",
            (false, false) => "the party came later, woken",
        };
        if !polled {
            assert_eq!(new.wakes(), 1, "the waker of the last poll");
            assert!(!ready(&mut wait, &new).is_leader());
        }
        drop((party, last));
        assert_clean(&barrier, 1);
        outcome.into()
    });
}

#[test]
fn two_waiters_block_on() {
    explore(500, &["one leader"], || {
        let barrier = warm(2);
        let other = thread::spawn({
            let barrier = barrier.clone();
            move || loom::future::block_on(barrier.wait_owned())
        });
        let mine = loom::future::block_on(barrier.clone().wait_owned());
        let other = other.join().unwrap();
        assert!(mine.is_leader() != other.is_leader());
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        "one leader".into()
    });
}
