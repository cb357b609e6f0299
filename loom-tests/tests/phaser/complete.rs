//! Complete phases of a `Phaser`: all have arrived or left, the last by leaving, and one of those that wait has
//! to lead, whichever participants drop their waits, leave or register.
//!
//! An observer waits for the end in most models, and must have been woken once nobody is left to act.

use std::{
    sync::{Arc, Mutex},
    task::{Poll, Wake, Waker},
};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_no_slot_is_lost, participants},
    poll,
};
use atomic_barrier_over_loom::{
    Phaser,
    phaser::{Observation, Participant},
};
use loom::thread;

/// Waits for the end of `phase`, from outside.
fn observe<'a>(phaser: &'a Phaser, phase: u64, counter: &Arc<Counter>) -> Observation<'a> {
    let mut observation = phaser.observe(phase);
    assert_eq!(poll(&mut observation, counter), Poll::Pending);
    observation
}

#[track_caller]
fn assert_over(mut observation: Observation<'_>, counter: &Arc<Counter>) {
    assert!(counter.wakes() > 0, "not woken at the end");
    assert_eq!(poll(&mut observation, counter), Poll::Ready(Ok(())));
}

/// Two that wait, in a phase that a third has completed by leaving.
fn complete() -> (Phaser, [Waiting; 2], [Arc<Counter>; 2]) {
    let (phaser, [a, b, c]) = participants();
    let counters = [Counter::new(), Counter::new()];
    let a = Waiting::arrived(a, &counters[0]);
    let b = Waiting::arrived(b, &counters[1]);
    c.leave();
    assert_eq!(counters.each_ref().map(|it| it.wakes()), [1, 1]);
    (phaser, [a, b], counters)
}

// The departure that completes the phase.

#[test]
fn a_departure_against_the_drop_of_the_only_wait() {
    let outcomes = ["over", "withdrawn"];
    explore(11, &outcomes, || {
        let (phaser, [a, b]) = participants();
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
        assert_no_slot_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_the_drop_of_one_wait_of_two() {
    let outcomes = ["withdrawn", "woken to lead"];
    explore(11, &outcomes, || {
        let (phaser, [a, b, c]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let b = Waiting::arrived(b, &counters[1]);
        let leaver = thread::spawn(move || c.leave());

        let mut a = a.stop();
        leaver.join().unwrap();
        let outcome = if phaser.arrived() < phaser.parties() {
            a.arrive().unwrap();
            let (b, _) = b.woken(&counters[1], 0);
            drop((a, b));
            "withdrawn"
        } else {
            let (b, outcome) = b.woken(&counters[1], 0);
            drop((a, b));
            outcome
        };
        assert_no_slot_is_lost(&phaser, &[&counters[0], &counters[1]]);
        outcome.into()
    });
}

#[test]
fn a_dropped_wait_against_a_poll_of_the_other() {
    explore(39, &["led"], || {
        let (phaser, [a, mut b], [a_counter, b_counter]) = complete();
        let dropper = thread::spawn(move || a.stop());

        let polled = b.poll(&b_counter);
        let a = dropper.join().unwrap();
        let (b, outcome) = b.end(polled, &b_counter, 1, 0);
        drop((a, b));
        assert_no_slot_is_lost(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

#[test]
fn a_dropped_wait_against_a_poll_of_the_other_with_a_fresh_waker() {
    explore(39, &["led"], || {
        let (phaser, [a, mut b], [a_counter, b_counter]) = complete();
        let fresh = Counter::new();
        let dropper = thread::spawn(move || a.stop());

        let polled = b.poll(&fresh);
        let a = dropper.join().unwrap();
        let (b, outcome) = b.end(polled, &fresh, 1, 0);
        drop((a, b));
        assert_no_slot_is_lost(&phaser, &[&a_counter, &b_counter, &fresh]);
        outcome.into()
    });
}

#[test]
fn a_dropped_wait_against_the_drop_of_the_other() {
    explore(7, &["over"], || {
        let (phaser, [a, b], [a_counter, b_counter]) = complete();
        let watcher = Counter::new();
        let observation = observe(&phaser, 0, &watcher);
        let dropper = thread::spawn(move || a.stop());

        let b = b.stop();
        let a = dropper.join().unwrap();
        assert_over(observation, &watcher);
        assert!([a, b].into_iter().all(|it| !Waiting::new(it).ready(0).1));
        assert_no_slot_is_lost(&phaser, &[&a_counter, &b_counter]);
        "over".into()
    });
}

#[test]
fn a_departure_of_a_participant_that_waits_against_the_drop_of_the_other_wait() {
    explore(15, &["over"], || {
        let (phaser, [a, b], [a_counter, b_counter]) = complete();
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
        assert_no_slot_is_lost(&phaser, &[&a_counter, &b_counter]);
        "over".into()
    });
}

#[test]
fn a_departure_of_a_participant_that_waits_against_a_poll_of_the_other() {
    explore_bounded(3, 520, &["led"], || {
        let (phaser, [a, mut b], [a_counter, b_counter]) = complete();
        let leaver = thread::spawn(move || drop(a));

        let polled = b.poll(&b_counter);
        leaver.join().unwrap();
        let (b, outcome) = b.end(polled, &b_counter, 1, 0);
        drop(b);
        assert_no_slot_is_lost(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

/// Of a leaked wait nothing but the slot is left, so its participant stops waiting when it leaves.
#[test]
fn a_departure_against_that_of_a_participant_whose_wait_was_leaked() {
    explore_bounded(3, 63, &["in 1"], || {
        let (phaser, [mut a, b]) = participants();
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
        assert_no_slot_is_lost(&phaser, &[&counter]);
        format!("in {phase}")
    });
}

#[test]
fn a_departure_against_the_drop_of_a_wait_that_did_not_make_the_arrival() {
    explore(11, &["over"], || {
        let (phaser, [mut a, b]) = participants();
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
        assert_no_slot_is_lost(&phaser, &[&counter]);
        "over".into()
    });
}

/// Three threads: one that leaves, one that stops, and one that polls.
#[test]
fn a_departure_against_the_drop_of_one_wait_and_a_poll_of_the_other() {
    let outcomes = ["led", "withdrawn", "woken to lead"];
    explore_bounded(2, 4_000, &outcomes, || {
        let (phaser, [a, b, c]) = participants();
        let counters = [Counter::new(), Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let mut b = Waiting::arrived(b, &counters[1]);
        let leaver = thread::spawn(move || c.leave());
        let dropper = thread::spawn(move || a.stop());

        let polled = b.poll(&counters[2]);
        leaver.join().unwrap();
        let mut a = dropper.join().unwrap();
        let withdrawn = phaser.phase() == 0 && phaser.arrived() < phaser.parties();
        if withdrawn {
            a.arrive().unwrap();
        }
        let (b, outcome) = b.end(polled, &counters[2], 1, 0);
        drop((a, b));
        assert_no_slot_is_lost(&phaser, &counters.each_ref());
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

/// A participant that waits in phase 1, another on which that phase waits, and a fresh waker.
type Race = fn(Waiting, Participant, &Arc<Counter>) -> (Participant, &'static str);

/// The race happens in a wake, so there is a reader, and a participant with a fresh waker takes a slot before
/// its own. A search for a leader may have passed it when it was free.
fn race_in_a_wake(floor: usize, outcomes: &[&str], race: Race) {
    explore_bounded(3, floor, outcomes, move || {
        let (phaser, [first, second, mut third, fourth]) = participants();
        third.arrive().unwrap();
        // Its slot is free from now on.
        first.leave();
        let (old, fresh) = (Counter::new(), Counter::new());
        let place = Arc::new(Mutex::new(None::<(Waiting, Waker)>));
        let outcome = Arc::new(Mutex::new(None));
        let step = {
            let (place, outcome, fresh) = (place.clone(), outcome.clone(), fresh.clone());
            move || {
                let (wait, waker) = place.lock().unwrap().take().unwrap();
                let (participant, led) = wait.ready(0);
                assert!(led);
                let mut wait = Waiting::new(participant);
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
        let (participant, outcome) = outcome.lock().unwrap().take().unwrap();
        drop(participant);
        assert_no_slot_is_lost(&phaser, &[&old, &fresh]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_a_participant_that_goes_to_another_slot() {
    race_in_a_wake(
        2_400,
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
fn a_departure_against_a_participant_that_goes_to_another_slot_and_stops_waiting() {
    race_in_a_wake(
        2_400,
        &["led", "over", "withdrawn"],
        |mut wait, other, fresh| {
            let phaser = other.phaser().clone();
            let leaver = thread::spawn(move || other.leave());

            let led = wait.poll(fresh).is_ready();
            let participant = wait.stop();
            leaver.join().unwrap();
            let is_over = poll(&mut phaser.observe(1), &Counter::new()).is_ready();
            assert_eq!(is_over, phaser.phase() == 2, "nobody is responsible");
            let outcome = match (led, is_over) {
                (true, _) => "led",
                (false, true) => "over",
                (false, false) => "withdrawn",
            };
            (participant, outcome)
        },
    );
}

/// A participant that has arrived without a wait is polled for the first time, against the arrival of another
/// and what `the_last` does, which may stay.
fn publishes_against(
    floor: usize,
    outcomes: &[&str],
    the_last: fn(Participant) -> Option<Participant>,
) {
    explore(floor, outcomes, move || {
        let (phaser, [mut a, mut b, c]) = participants();
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
        assert_no_slot_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn the_first_poll_after_an_arrival_against_the_arrivals_of_the_others() {
    publishes_against(340, &["released", "woken"], |mut c| {
        c.arrive().unwrap();
        Some(c)
    });
}

#[test]
fn the_first_poll_after_an_arrival_against_an_arrival_and_a_departure() {
    let outcomes = ["released", "woken to lead"];
    publishes_against(15, &outcomes, |c| {
        c.leave();
        None
    });
}

#[test]
fn a_new_participant_that_arrives_against_a_departure() {
    let outcomes = ["a led, new participant in 0", "new participant led"];
    explore(370, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let (counter, watcher) = (Counter::new(), Counter::new());
        let mut a = Waiting::arrived(a, &counter);
        let observation = observe(&phaser, 0, &watcher);
        let leaver = thread::spawn(move || b.leave());

        let mut new_participant = phaser.register().unwrap();
        let phase = new_participant.arrive().unwrap();
        leaver.join().unwrap();
        assert!(counter.wakes() > 0, "not woken");
        let Poll::Ready(Ok(result)) = a.poll(&counter) else {
            panic!("should be ready");
        };
        assert_eq!(result.phase(), 0);
        assert_over(observation, &watcher);
        drop((a, new_participant));
        assert_no_slot_is_lost(&phaser, &[&counter]);
        if result.is_leader() {
            format!("a led, new participant in {phase}")
        } else {
            "new participant led".into()
        }
    });
}

// A new participant makes the phase open again.

/// What has become of a wait.
enum Acted {
    /// It is pending, and what it was polled with must be woken so often by the end.
    Waits(Waiting, Arc<Counter>, usize),
    Stopped(Participant),
    Left,
}

/// A new participant `joins` while another that waits in a complete phase `acts`.
fn reopened_against(
    preemptions: Option<usize>,
    floor: usize,
    outcomes: &[&str],
    joins: fn(Participant) -> Option<Participant>,
    acts: fn(Waiting, Arc<Counter>) -> Acted,
) {
    explore_bounded(preemptions, floor, outcomes, move || {
        let (phaser, [a, b]) = participants();
        let (counter, watcher) = (Counter::new(), Counter::new());
        let a = Waiting::arrived(a, &counter);
        b.leave();
        let observation = observe(&phaser, 0, &watcher);
        let new_participant = thread::spawn({
            let phaser = phaser.clone();
            move || joins(phaser.register().unwrap())
        });

        let acted = acts(a, counter.clone());
        let new_participant = new_participant.join().unwrap();
        let outcome = if phaser.phase() == 0 {
            "not over"
        } else {
            "over"
        };
        let (wait, stopped) = match acted {
            Acted::Waits(wait, counter, wakes) => (Some((wait, counter, wakes)), None),
            Acted::Stopped(participant) => (None, Some(participant)),
            Acted::Left => (None, None),
        };
        let waits = wait.is_some();
        // Those that owe phase 0 an arrival make it now.
        let mut others: Vec<_> = new_participant.into_iter().chain(stopped).collect();
        for participant in &mut others {
            if (participant.phase(), phaser.phase()) == (0, 0) {
                participant.arrive().unwrap();
            }
        }
        if let Some((wait, counter, wakes)) = wait {
            others.push(wait.end(Poll::Pending, &counter, wakes, 0).0);
        }
        assert_over(observation, &watcher);
        drop(others);
        assert_no_slot_is_lost(&phaser, &[&counter]);
        let acted = if waits { "waits" } else { "does not" };
        format!("{outcome}, {acted}")
    });
}

fn polls(mut wait: Waiting, counter: Arc<Counter>) -> Acted {
    match wait.poll(&counter) {
        Poll::Pending => Acted::Waits(wait, counter, 2),
        Poll::Ready(_) => Acted::Stopped(wait.stop()),
    }
}

fn polls_with_a_fresh_waker(wait: Waiting, _: Arc<Counter>) -> Acted {
    match polls(wait, Counter::new()) {
        Acted::Waits(wait, counter, _) => Acted::Waits(wait, counter, 1),
        acted => acted,
    }
}

fn stops(wait: Waiting, _: Arc<Counter>) -> Acted {
    Acted::Stopped(wait.stop())
}

fn leaves(wait: Waiting, _: Arc<Counter>) -> Acted {
    drop(wait);
    Acted::Left
}

fn arrives(mut new_participant: Participant) -> Option<Participant> {
    new_participant.arrive().unwrap();
    Some(new_participant)
}

fn goes(new_participant: Participant) -> Option<Participant> {
    new_participant.leave();
    None
}

#[test]
fn a_registration_against_a_poll_in_a_complete_phase() {
    reopened_against(
        None,
        12,
        &["not over, waits", "over, does not"],
        Some,
        polls,
    );
}

#[test]
fn a_registration_against_a_poll_with_a_fresh_waker_in_a_complete_phase() {
    reopened_against(
        None,
        15,
        &["not over, waits", "over, does not"],
        Some,
        polls_with_a_fresh_waker,
    );
}

#[test]
fn a_registration_against_a_dropped_wait_in_a_complete_phase() {
    reopened_against(
        None,
        15,
        &["not over, does not", "over, does not"],
        Some,
        stops,
    );
}

#[test]
fn a_registration_against_a_departure_from_a_complete_phase() {
    reopened_against(
        None,
        330,
        &["not over, does not", "over, does not"],
        Some,
        leaves,
    );
}

#[test]
fn a_new_participant_that_arrives_against_a_poll_in_a_complete_phase() {
    reopened_against(None, 14, &["over, does not", "over, waits"], arrives, polls);
}

#[test]
fn a_new_participant_that_arrives_against_a_poll_with_a_fresh_waker_in_a_complete_phase() {
    reopened_against(
        Some(3),
        59,
        &["over, does not", "over, waits"],
        arrives,
        polls_with_a_fresh_waker,
    );
}

#[test]
fn a_new_participant_that_arrives_against_a_dropped_wait_in_a_complete_phase() {
    reopened_against(
        None,
        43,
        &["not over, does not", "over, does not"],
        arrives,
        stops,
    );
}

#[test]
fn a_new_participant_that_arrives_against_a_departure_from_a_complete_phase() {
    reopened_against(Some(3), 5_000, &["over, does not"], arrives, leaves);
}

#[test]
fn a_new_participant_that_leaves_against_a_poll_in_a_complete_phase() {
    reopened_against(
        None,
        280,
        &["not over, waits", "over, does not"],
        goes,
        polls,
    );
}

#[test]
fn a_new_participant_that_leaves_against_a_poll_with_a_fresh_waker_in_a_complete_phase() {
    reopened_against(
        Some(3),
        94,
        &["not over, waits", "over, does not"],
        goes,
        polls_with_a_fresh_waker,
    );
}

#[test]
fn a_new_participant_that_leaves_against_a_dropped_wait_in_a_complete_phase() {
    reopened_against(
        None,
        43,
        &["not over, does not", "over, does not"],
        goes,
        stops,
    );
}

#[test]
fn a_new_participant_that_leaves_against_a_departure_from_a_complete_phase() {
    reopened_against(Some(7), 10_000, &["over, does not"], goes, leaves);
}

// Threads.

/// A thread that has arrived and not yet slept is counted, and leads or is woken.
#[test]
fn a_thread_that_waits_without_a_slot_against_a_departure() {
    explore_bounded(3, 700, &["led"], || {
        let (phaser, [mut a, b]) = participants();
        let leaver = thread::spawn(move || b.leave());

        let result = a.wait_blocking().unwrap();
        leaver.join().unwrap();
        assert!(result.is_leader());
        drop(a);
        assert_no_slot_is_lost(&phaser, &[]);
        "led".into()
    });
}

#[test]
fn a_thread_whose_time_is_up_against_a_departure() {
    explore_bounded(3, 770, &["led", "timed out"], || {
        let (phaser, [mut a, b]) = participants();
        let leaver = thread::spawn(move || b.leave());

        let result = a.wait_blocking_timeout(core::time::Duration::ZERO);
        leaver.join().unwrap();
        let outcome = match result {
            Ok(result) => {
                assert!(result.is_leader());
                "led"
            }
            Err(_) => {
                // Withdrawn, before the other left.
                assert_eq!((phaser.phase(), phaser.arrived()), (0, 0));
                assert!(Waiting::new(a).ready(0).1);
                return "timed out".into();
            }
        };
        drop(a);
        assert_no_slot_is_lost(&phaser, &[]);
        outcome.into()
    });
}

// Observers of a phase that ends without a leader.

/// An observer's first poll against what ends a complete phase in which one waits.
fn observer_against(floor: usize, end: fn(Waiting) -> Option<Participant>) {
    explore(floor, &["at once", "woken"], move || {
        let (phaser, [a, b]) = participants();
        // The first slots for observers are there.
        drop(observe(&phaser, 0, &Counter::new()));
        let (counter, watcher) = (Counter::new(), Counter::new());
        let a = Waiting::arrived(a, &counter);
        b.leave();
        let ends = thread::spawn(move || end(a));

        let mut observation = phaser.observe(0);
        let polled = poll(&mut observation, &watcher);
        let a = ends.join().unwrap();
        let outcome = if polled.is_ready() {
            "at once"
        } else {
            assert_over(observation, &watcher);
            "woken"
        };
        drop(a);
        assert_no_slot_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn an_observers_first_poll_against_the_drop_of_the_last_wait() {
    observer_against(540, |wait| Some(wait.stop()));
}

#[test]
fn an_observers_first_poll_against_the_departure_of_the_last_that_waits() {
    observer_against(7_300, |wait| {
        drop(wait);
        None
    });
}

// The action of a phase.

#[test]
fn an_action_runs_once_of_an_arrival_against_a_departure() {
    let outcomes = ["led", "released"];
    explore_bounded(3, 12, &outcomes, || {
        let runs = Counter::new();
        let data = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let phaser = Phaser::builder()
            .on_phase({
                let (runs, data) = (runs.clone(), data.clone());
                move |_, _| {
                    runs.count();
                    data.store(1, loom::sync::atomic::Ordering::Relaxed);
                }
            })
            .build();
        let [mut a, b, c] = [(); 3].map(|()| phaser.register().unwrap());
        let counter = Counter::new();
        let c = Waiting::arrived(c, &counter);
        let leaver = thread::spawn(move || b.leave());

        a.arrive().unwrap();
        leaver.join().unwrap();
        assert_eq!(runs.wakes(), 1);
        let (a, led) = Waiting::new(a).ready(0);
        let (c, _) = c.woken(&counter, 0);
        assert_eq!(data.load(loom::sync::atomic::Ordering::Relaxed), 1);
        drop((a, c));
        assert_no_slot_is_lost(&phaser, &[&counter]);
        if led { "led" } else { "released" }.into()
    });
}
