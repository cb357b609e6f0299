//! A phase of a `Phaser` that its last missing member has left: someone is answerable for it at any
//! time, whoever stops to wait.
//!
//! An observer waits for its end in most models, and must have been woken once nobody is left to act.

use std::{
    sync::{Arc, Mutex},
    task::{Poll, Wake, Waker},
};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_no_seat_is_lost, members},
    poll,
};
use atomic_barrier_over_loom::{Observation, Participant, Phaser};
use loom::thread;

/// Waits for the end of `phase`, from outside.
fn observe<'a>(phaser: &'a Phaser, phase: u64, counter: &Arc<Counter>) -> Observation<'a> {
    let mut observation = phaser.observe(phase);
    assert_eq!(poll(&mut observation, counter), Poll::Pending);
    observation
}

#[track_caller]
fn assert_over(mut observation: Observation<'_>, counter: &Arc<Counter>) {
    assert!(counter.wakes() > 0, "nobody is answerable");
    assert_eq!(poll(&mut observation, counter), Poll::Ready(Ok(())));
}

/// Two that wait, in a phase that a third has completed by leaving. The first is appointed.
fn appointed() -> (Phaser, [Waiting; 2], [Arc<Counter>; 2]) {
    let (phaser, [a, b, c]) = members();
    let counters = [Counter::new(), Counter::new()];
    let a = Waiting::arrived(a, &counters[0]);
    let b = Waiting::arrived(b, &counters[1]);
    c.leave();
    (phaser, [a, b], counters)
}

#[test]
fn a_departure_against_the_drop_of_the_only_wait() {
    let outcomes = ["over", "withdrawn"];
    explore(8_000, &outcomes, || {
        let (phaser, [a, b]) = members();
        let (counter, watcher) = (Counter::new(), Counter::new());
        let a = Waiting::arrived(a, &counter);
        let observation = observe(&phaser, 0, &watcher);
        let leaver = thread::spawn(move || b.leave());

        let a = a.stop();
        leaver.join().unwrap();
        assert_eq!((phaser.parties(), phaser.arrived()), (1, 0));
        let outcome = if phaser.phase() == 1 {
            assert_over(observation, &watcher);
            "over"
        } else {
            drop(observation);
            "withdrawn"
        };
        // Whether or not it was counted, it observes this phase.
        let (a, led) = Waiting::new(a).ready(0);
        assert_eq!(led, outcome == "withdrawn");
        assert_eq!(phaser.phase(), 1);
        drop(a);
        assert_no_seat_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_the_drop_of_one_wait_of_two() {
    let outcomes = ["withdrawn", "woken to lead"];
    explore_bounded(5, 1_200, &outcomes, || {
        let (phaser, [a, b, c]) = members();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let b = Waiting::arrived(b, &counters[1]);
        let leaver = thread::spawn(move || c.leave());

        let mut a = a.stop();
        leaver.join().unwrap();
        let outcome = if phaser.phase() == 0 {
            a.arrive().unwrap();
            let (b, _) = b.woken(&counters[1], 0);
            drop((a, b));
            "withdrawn"
        } else {
            let (b, outcome) = b.woken(&counters[1], 0);
            drop((a, b));
            outcome
        };
        assert_no_seat_is_lost(&phaser, &[&counters[0], &counters[1]]);
        outcome.into()
    });
}

#[test]
fn an_appointed_wait_is_dropped_against_a_poll_of_the_other() {
    explore(350, &["led", "woken to lead"], || {
        let (phaser, [a, mut b], [a_counter, b_counter]) = appointed();
        let dropper = thread::spawn(move || a.stop());

        let polled = b.poll(&b_counter);
        let a = dropper.join().unwrap();
        let (b, outcome) = b.end(polled, &b_counter, 2, 0);
        drop((a, b));
        assert_no_seat_is_lost(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

#[test]
fn an_appointed_wait_is_dropped_against_a_poll_of_the_other_with_a_fresh_waker() {
    explore_bounded(4, 800, &["led", "woken to lead"], || {
        let (phaser, [a, mut b], [a_counter, b_counter]) = appointed();
        let fresh = Counter::new();
        let dropper = thread::spawn(move || a.stop());

        let polled = b.poll(&fresh);
        let a = dropper.join().unwrap();
        let (b, outcome) = b.end(polled, &fresh, 1, 0);
        drop((a, b));
        assert_no_seat_is_lost(&phaser, &[&a_counter, &b_counter, &fresh]);
        outcome.into()
    });
}

#[test]
fn an_appointed_wait_is_dropped_against_the_drop_of_the_other() {
    explore(1_800, &["over"], || {
        let (phaser, [a, b], [a_counter, b_counter]) = appointed();
        let watcher = Counter::new();
        let observation = observe(&phaser, 0, &watcher);
        let dropper = thread::spawn(move || a.stop());

        let b = b.stop();
        let a = dropper.join().unwrap();
        assert_over(observation, &watcher);
        assert!([a, b].into_iter().all(|it| !Waiting::new(it).ready(0).1));
        assert_no_seat_is_lost(&phaser, &[&a_counter, &b_counter]);
        "over".into()
    });
}

#[test]
fn an_appointed_member_leaves_against_the_drop_of_the_other_wait() {
    explore_bounded(3, 1_500, &["over"], || {
        let (phaser, [a, b], [a_counter, b_counter]) = appointed();
        let watcher = Counter::new();
        let observation = observe(&phaser, 0, &watcher);
        let leaver = thread::spawn(move || drop(a));

        let b = b.stop();
        leaver.join().unwrap();
        assert_over(observation, &watcher);
        assert_eq!((phaser.phase(), phaser.parties()), (1, 1));
        let (b, led) = Waiting::new(b).ready(0);
        assert!(!led);
        drop(b);
        assert_no_seat_is_lost(&phaser, &[&a_counter, &b_counter]);
        "over".into()
    });
}

#[test]
fn an_appointed_member_leaves_against_a_poll_of_the_other() {
    explore_bounded(4, 5_000, &["led", "woken to lead"], || {
        let (phaser, [a, mut b], [a_counter, b_counter]) = appointed();
        let leaver = thread::spawn(move || drop(a));

        let polled = b.poll(&b_counter);
        leaver.join().unwrap();
        let (b, outcome) = b.end(polled, &b_counter, 2, 0);
        drop(b);
        assert_no_seat_is_lost(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

/// Of a leaked wait nothing but the seat is left, so its member stops to wait when it leaves.
#[test]
fn a_departure_against_that_of_a_member_whose_wait_was_leaked() {
    explore_bounded(3, 2_000, &["in 1", "in 2"], || {
        let (phaser, [mut a, b]) = members();
        let (counter, watcher) = (Counter::new(), Counter::new());
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &counter), Poll::Pending);
        core::mem::forget(wait);
        let observation = observe(&phaser, 0, &watcher);
        let leaver = thread::spawn(move || b.leave());

        a.leave();
        leaver.join().unwrap();
        assert_over(observation, &watcher);
        let phase = phaser.phase();
        assert_no_seat_is_lost(&phaser, &[&counter]);
        format!("in {phase}")
    });
}

#[test]
fn a_departure_against_the_drop_of_a_wait_that_did_not_make_the_arrival() {
    explore_bounded(3, 90, &["over"], || {
        let (phaser, [mut a, b]) = members();
        let (counter, watcher) = (Counter::new(), Counter::new());
        a.arrive().unwrap();
        let a = Waiting::arrived(a, &counter);
        let observation = observe(&phaser, 0, &watcher);
        let leaver = thread::spawn(move || b.leave());

        let a = a.stop();
        leaver.join().unwrap();
        assert_over(observation, &watcher);
        let (a, led) = Waiting::new(a).ready(0);
        assert!(!led);
        drop(a);
        assert_no_seat_is_lost(&phaser, &[&counter]);
        "over".into()
    });
}

/// Three threads: one that leaves, one that stops, and one that polls.
#[test]
fn a_departure_against_the_drop_of_one_wait_and_a_poll_of_the_other() {
    let outcomes = ["led", "withdrawn", "woken to lead"];
    explore_bounded(2, 10_000, &outcomes, || {
        let (phaser, [a, b, c]) = members();
        let counters = [Counter::new(), Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let mut b = Waiting::arrived(b, &counters[1]);
        let leaver = thread::spawn(move || c.leave());
        let dropper = thread::spawn(move || a.stop());

        let polled = b.poll(&counters[2]);
        leaver.join().unwrap();
        let mut a = dropper.join().unwrap();
        let withdrawn = phaser.phase() == 0;
        if withdrawn {
            a.arrive().unwrap();
        }
        let (b, outcome) = b.end(polled, &counters[2], 1, 0);
        drop((a, b));
        assert_no_seat_is_lost(&phaser, &counters.each_ref());
        if withdrawn { "withdrawn" } else { outcome }.into()
    });
}

/// Runs a step when it is woken for the first time, and counts its wakes.
struct Once<F: FnOnce()> {
    step: Mutex<Option<F>>,
    counter: Arc<Counter>,
}

impl<F: FnOnce() + Send + 'static> Wake for Once<F> {
    fn wake(self: Arc<Self>) {
        self.counter.count();
        let step = self.step.lock().unwrap().take();
        if let Some(step) = step {
            step();
        }
    }
}

/// A member that waits in phase 1, another on which that phase waits, and a fresh waker.
type Race = fn(Waiting, Participant, &Arc<Counter>) -> (Participant, &'static str);

/// The race happens in a wake, so there is a reader, and a member with a fresh waker takes a seat before
/// its own. Who looks for a leader may have come by there when it was free.
fn race_in_a_wake(floor: usize, outcomes: &[&str], race: Race) {
    explore_bounded(2, floor, outcomes, move || {
        let (phaser, [first, second, mut third, fourth]) = members();
        third.arrive().unwrap();
        // Its seat is free from now on.
        first.leave();
        let (old, fresh) = (Counter::new(), Counter::new());
        let place = Arc::new(Mutex::new(None::<(Waiting, Waker)>));
        let outcome = Arc::new(Mutex::new(None));
        let step = {
            let (place, outcome, fresh) = (place.clone(), outcome.clone(), fresh.clone());
            move || {
                let (wait, waker) = place.lock().unwrap().take().unwrap();
                let (member, led) = wait.ready(0);
                assert!(led);
                let mut wait = Waiting::new(member);
                assert_eq!(wait.poll_with(&waker), Poll::Pending);
                drop(waker);
                *outcome.lock().unwrap() = Some(race(wait, third, &fresh));
            }
        };
        let waker = Waker::from(Arc::new(Once {
            step: Mutex::new(Some(step)),
            counter: old.clone(),
        }));
        let mut wait = Waiting::new(fourth);
        assert_eq!(wait.poll_with(&waker), Poll::Pending);
        *place.lock().unwrap() = Some((wait, waker));

        second.leave();
        let (member, outcome) = outcome.lock().unwrap().take().unwrap();
        drop(member);
        assert_no_seat_is_lost(&phaser, &[&old, &fresh]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_a_member_that_goes_to_another_seat() {
    race_in_a_wake(
        3_000,
        &["led", "woken to lead"],
        |mut wait, other, fresh| {
            let leaver = thread::spawn(move || other.leave());

            let polled = wait.poll(fresh);
            leaver.join().unwrap();
            wait.end(polled, fresh, 1, 1)
        },
    );
}

#[test]
fn a_departure_against_a_member_that_goes_to_another_seat_and_stops_to_wait() {
    race_in_a_wake(
        1_000,
        &["led", "over", "withdrawn"],
        |mut wait, other, fresh| {
            let phaser = other.phaser().clone();
            let leaver = thread::spawn(move || other.leave());

            let led = wait.poll(fresh).is_ready();
            let member = wait.stop();
            leaver.join().unwrap();
            let is_over = poll(&mut phaser.observe(1), &Counter::new()).is_ready();
            assert_eq!(is_over, phaser.phase() == 2, "nobody is answerable");
            let outcome = match (led, is_over) {
                (true, _) => "led",
                (false, true) => "over",
                (false, false) => "withdrawn",
            };
            (member, outcome)
        },
    );
}

/// A member that has arrived without a wait is polled for the first time, against the arrival of another
/// and what `the_last` does, which may stay.
fn publishes_against(
    floor: usize,
    outcomes: &[&str],
    the_last: fn(Participant) -> Option<Participant>,
) {
    explore(floor, outcomes, move || {
        let (phaser, [mut a, mut b, c]) = members();
        let counter = Counter::new();
        a.arrive().unwrap();
        let mut a = Waiting::new(a);
        let others = thread::spawn(move || {
            b.arrive().unwrap();
            (b, the_last(c))
        });

        let polled = a.poll(&counter);
        let others = others.join().unwrap();
        let (a, outcome) = a.end(polled, &counter, 1, 0);
        drop((a, others));
        assert_no_seat_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn the_first_poll_after_an_arrival_against_the_arrivals_of_the_others() {
    publishes_against(80, &["released", "woken"], |mut c| {
        c.arrive().unwrap();
        Some(c)
    });
}

#[test]
fn the_first_poll_after_an_arrival_against_an_arrival_and_a_departure() {
    let outcomes = ["led", "released", "woken", "woken to lead"];
    publishes_against(25_000, &outcomes, |c| {
        c.leave();
        None
    });
}

/// The end of the orphaned phase 0 may leave phase 1 orphaned in the same step: all its members have
/// arrived.
#[test]
fn a_departure_against_a_newcomer_that_arrives_and_the_departure_of_the_others() {
    let outcomes = ["led 0", "led 1"];
    explore_bounded(3, 2_500, &outcomes, || {
        let (phaser, [mut a, b]) = members();
        let counter = Counter::new();
        a.arrive().unwrap();
        let leaver = thread::spawn(move || b.leave());

        let mut newcomer = Waiting::new(phaser.register().unwrap());
        let polled = newcomer.poll(&counter);
        a.leave();
        leaver.join().unwrap();
        assert!(polled.is_ready() || counter.wakes() > 0, "not woken");
        let Poll::Ready(Ok(result)) = (match polled {
            Poll::Ready(_) => polled,
            Poll::Pending => newcomer.poll(&counter),
        }) else {
            panic!("should be ready");
        };
        assert!(result.is_leader());
        drop(newcomer);
        assert_no_seat_is_lost(&phaser, &[&counter]);
        format!("led {}", result.phase())
    });
}
