//! `Phaser::close`, and observers of a phase, against all that participants do.

use std::task::Poll;

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_empty, assert_no_slot_is_lost, participants},
    poll,
};
use atomic_barrier_over_loom::{
    Phaser,
    phaser::{Participant, RegisterError},
};
use loom::thread;

fn closes(phaser: &Phaser) -> thread::JoinHandle<()> {
    let phaser = phaser.clone();
    thread::spawn(move || phaser.close())
}

#[test]
fn a_close_against_a_first_poll() {
    let outcomes = ["closed", "woken to find it closed"];
    explore(380, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let closer = closes(&phaser);

        let mut a = Waiting::new(a);
        let polled = a.poll(&counter);
        closer.join().unwrap();
        let (a, outcome) = a.end(polled, &counter, 1, 0);
        drop((a, b));
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_close_against_a_poll_with_a_fresh_waker() {
    let outcomes = ["closed", "woken to find it closed"];
    explore_bounded(3, 850, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let (old, new) = (Counter::new(), Counter::new());
        let mut a = Waiting::arrived(a, &old);
        let closer = closes(&phaser);

        let polled = a.poll(&new);
        closer.join().unwrap();
        let (a, outcome) = a.end(polled, &new, 1, 0);
        drop((a, b));
        assert_empty(&phaser, &[&old, &new]);
        outcome.into()
    });
}

#[test]
fn a_close_against_a_wait_that_is_dropped() {
    explore(54, &["withdrawn"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let closer = closes(&phaser);

        let a = a.stop();
        closer.join().unwrap();
        assert_eq!(phaser.arrived(), 0);
        assert!(matches!(
            Waiting::new(a).poll(&counter),
            Poll::Ready(Err(_))
        ));
        drop(b);
        assert_empty(&phaser, &[&counter]);
        "withdrawn".into()
    });
}

#[test]
fn a_close_against_the_departure_of_a_participant_that_waits() {
    explore_bounded(3, 2_600, &["gone"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let closer = closes(&phaser);

        drop(a);
        closer.join().unwrap();
        assert_eq!((phaser.parties(), phaser.arrived()), (1, 0));
        drop(b);
        assert_empty(&phaser, &[&counter]);
        "gone".into()
    });
}

#[test]
fn a_close_against_a_departure_that_would_complete() {
    let outcomes = ["woken to find it closed", "woken to lead"];
    explore(350, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let closer = closes(&phaser);

        b.leave();
        closer.join().unwrap();
        assert!(phaser.is_closed());
        let (a, outcome) = a.woken(&counter, 0);
        assert_eq!(phaser.phase(), u64::from(outcome == "woken to lead"));
        drop(a);
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_close_against_the_last_arrival() {
    let outcomes = ["closed, woken to find it closed", "led, woken"];
    explore(73, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let closer = closes(&phaser);

        let mut b = Waiting::new(b);
        let polled = b.poll(&counters[1]);
        closer.join().unwrap();
        assert!(polled.is_ready());
        let (b, b_outcome) = b.end(polled, &counters[1], 0, 0);
        let (a, a_outcome) = a.woken(&counters[0], 0);
        assert_eq!(phaser.phase(), u64::from(b_outcome == "led"));
        assert!(matches!(
            Waiting::new(a).poll(&counters[0]),
            Poll::Ready(Err(_))
        ));
        drop(b);
        assert_empty(&phaser, &[&counters[0], &counters[1]]);
        format!("{b_outcome}, {a_outcome}")
    });
}

#[test]
fn a_close_against_a_held_release() {
    let outcomes = ["woken, new participant woken to find it closed"];
    explore(130, &outcomes, || {
        let (phaser, [a, mut b]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let Poll::Ready(Ok(Some(leader))) = poll(&mut b.wait_leader(), &Counter::new()) else {
            panic!("should lead");
        };
        let new_participant = Waiting::arrived(phaser.register().unwrap(), &counters[1]);
        let closer = closes(&phaser);

        leader.release();
        closer.join().unwrap();
        assert_eq!(phaser.phase(), 1);
        let (a, outcome) = a.woken(&counters[0], 0);
        let (new_participant, its_outcome) = new_participant.woken(&counters[1], 1);
        drop((a, b, new_participant));
        assert_empty(&phaser, &[&counters[0], &counters[1]]);
        format!("{outcome}, new participant {its_outcome}")
    });
}

#[test]
fn a_close_against_a_participant_that_is_woken_to_lead() {
    explore(610, &["led"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let mut a = Waiting::arrived(a, &counter);
        b.leave();
        let closer = closes(&phaser);

        let polled = a.poll(&counter);
        closer.join().unwrap();
        let (a, outcome) = a.end(polled, &counter, 1, 0);
        assert_eq!(phaser.phase(), 1);
        drop(a);
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_close_against_a_registration() {
    let outcomes = ["refused", "registered"];
    explore(43, &outcomes, || {
        let (phaser, [a]) = participants();
        let closer = closes(&phaser);

        let registered = phaser.register();
        closer.join().unwrap();
        assert_eq!(phaser.parties(), 1 + usize::from(registered.is_ok()));
        drop(a);
        let outcome = match registered {
            Ok(mut participant) => {
                assert!(participant.arrive().is_err());
                "registered"
            }
            Err(error) => {
                assert_eq!(error, RegisterError::Closed);
                "refused"
            }
        };
        assert_empty(&phaser, &[]);
        outcome.into()
    });
}

#[test]
fn a_close_against_another() {
    explore(110, &["woken to find it closed"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let closer = closes(&phaser);

        phaser.close();
        // The second does not leave the waking to the first, which may be stalled.
        let wakes = counter.wakes();
        assert!(wakes > 0);
        closer.join().unwrap();
        let (a, outcome) = a.woken(&counter, 0);
        drop((a, b));
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

/// A phaser with the first slots for observers.
fn observed<const N: usize>() -> (Phaser, [Participant; N]) {
    let (phaser, participants) = participants();
    assert!(poll(&mut phaser.observe(0), &Counter::new()).is_pending());
    (phaser, participants)
}

/// Observes phase 0 by a first poll, or by one with a fresh waker, against its `end`.
fn observe_against(floor: usize, outcomes: &[&str], again: bool, end: fn(&Phaser, Participant)) {
    explore(floor, outcomes, move || {
        let (phaser, [participant]) = observed();
        let (old, counter) = (Counter::new(), Counter::new());
        let mut observation = phaser.observe(0);
        if again {
            assert!(poll(&mut observation, &old).is_pending());
        }
        let other = thread::spawn({
            let phaser = phaser.clone();
            move || end(&phaser, participant)
        });

        let polled = poll(&mut observation, &counter);
        other.join().unwrap();
        let (result, when) = match polled {
            Poll::Ready(result) => (result, "at once"),
            Poll::Pending => {
                assert!(counter.wakes() > 0, "not woken");
                let Poll::Ready(result) = poll(&mut observation, &counter) else {
                    panic!("should be ready");
                };
                (result, "woken")
            }
        };
        drop(observation);
        assert_empty(&phaser, &[&old, &counter]);
        format!("{result:?} {when}")
    });
}

#[test]
fn an_observers_first_poll_against_the_end_of_its_phase() {
    observe_against(
        7_300,
        &["Ok(()) at once", "Ok(()) woken"],
        false,
        |_, mut participant| {
            participant.arrive().unwrap();
        },
    );
}

#[test]
fn an_observers_poll_with_a_fresh_waker_against_the_end_of_its_phase() {
    observe_against(
        730,
        &["Ok(()) at once", "Ok(()) woken"],
        true,
        |_, mut participant| {
            participant.arrive().unwrap();
        },
    );
}

#[test]
fn an_observers_first_poll_against_the_last_departure() {
    observe_against(
        540,
        &["Ok(()) at once", "Ok(()) woken"],
        false,
        |_, participant| {
            participant.leave();
        },
    );
}

#[test]
fn an_observers_first_poll_against_a_close() {
    let outcomes = ["Err(Closed) at once", "Err(Closed) woken"];
    observe_against(5_100, &outcomes, false, |phaser, _participant| {
        phaser.close()
    });
}

#[test]
fn an_observers_poll_with_a_fresh_waker_against_a_close() {
    let outcomes = ["Err(Closed) at once", "Err(Closed) woken"];
    observe_against(550, &outcomes, true, |phaser, _participant| phaser.close());
}

#[test]
fn an_observers_first_poll_against_a_held_release() {
    let outcomes = ["at once", "woken"];
    explore(2_300, &outcomes, || {
        let (phaser, [mut participant]) = observed();
        let counter = Counter::new();
        core::mem::forget(poll(&mut participant.wait_leader(), &Counter::new()));
        assert_eq!((phaser.phase(), phaser.arrived()), (0, 1));
        // Its leader was leaked: leaving releases it, and then ends the next phase.
        let leader = thread::spawn(move || participant.leave());

        let mut observation = phaser.observe(0);
        let polled = poll(&mut observation, &counter);
        leader.join().unwrap();
        let outcome = if polled.is_ready() {
            "at once"
        } else {
            assert!(counter.wakes() > 0, "not woken");
            assert_eq!(poll(&mut observation, &counter), Poll::Ready(Ok(())));
            "woken"
        };
        drop(observation);
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn an_observer_that_is_dropped_against_the_end_of_its_phase() {
    explore(39, &["0 wakes", "1 wakes"], || {
        let (phaser, [mut participant]) = observed();
        let counter = Counter::new();
        let mut observation = phaser.observe(0);
        assert!(poll(&mut observation, &counter).is_pending());
        let other = thread::spawn(move || {
            participant.arrive().unwrap();
        });

        drop(observation);
        other.join().unwrap();
        assert_no_slot_is_lost(&phaser, &[&counter]);
        format!("{} wakes", counter.wakes())
    });
}

#[test]
fn a_close_against_a_registration_in_a_complete_phase() {
    explore(43, &["woken to find it closed", "woken to lead"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        b.leave();
        let closer = closes(&phaser);

        let new_participant = phaser.register();
        closer.join().unwrap();
        // Open again, and closed; or complete.
        let (a, outcome) = a.end(Poll::Pending, &counter, 2, 0);
        assert_eq!(
            outcome == "woken to find it closed",
            new_participant.is_ok()
        );
        drop((a, new_participant));
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_close_against_the_drop_of_the_only_wait_in_a_complete_phase() {
    explore(1_000, &["over"], || {
        let (phaser, [a, b]) = participants();
        let (counter, watcher) = (Counter::new(), Counter::new());
        let a = Waiting::arrived(a, &counter);
        let mut observation = phaser.observe(0);
        assert!(poll(&mut observation, &watcher).is_pending());
        b.leave();
        let closer = closes(&phaser);

        let a = a.stop();
        closer.join().unwrap();
        assert!(watcher.wakes() > 0, "not woken");
        assert_eq!(poll(&mut observation, &watcher), Poll::Ready(Ok(())));
        assert_eq!(phaser.phase(), 1);
        let (a, _) = Waiting::new(a).ready(0);
        drop((a, observation));
        assert_empty(&phaser, &[&counter]);
        "over".into()
    });
}
