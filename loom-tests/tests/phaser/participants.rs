//! `Phaser`: participants that leave and join, against all that the others do.
//!
//! Each model builds its state step by step on one thread, and then races the steps that it is
//! named after.

use std::{sync::Arc, task::Poll};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_empty, assert_meets, assert_no_slot_is_lost, participants},
    poll,
};
use atomic_barrier_over_loom::{
    Phaser,
    phaser::{Leader, Participant},
};
use loom::thread;

#[test]
fn a_departure_against_the_last_arrival() {
    explore(14, &["led", "woken to lead"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let leaver = thread::spawn(move || b.leave());

        let mut a = Waiting::new(a);
        let polled = a.poll(&counter);
        leaver.join().unwrap();
        let (a, outcome) = a.end(polled, &counter, 1, 0);
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 1, 0)
        );
        drop(a);
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_the_last_arrival_while_another_waits() {
    let outcomes = ["b led, a woken", "b woken to lead, a woken"];
    explore(14, &outcomes, || {
        let (phaser, [a, b, c]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let leaver = thread::spawn(move || c.leave());

        let mut b = Waiting::new(b);
        let polled = b.poll(&counters[1]);
        leaver.join().unwrap();
        let (b, b_outcome) = b.end(polled, &counters[1], 1, 0);
        let (a, a_outcome) = a.woken(&counters[0], 0);
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 2, 0)
        );
        drop(assert_meets([a, b]));
        assert_empty(&phaser, &[&counters[0], &counters[1]]);
        format!("b {b_outcome}, a {a_outcome}")
    });
}

#[test]
fn a_departure_against_an_arrival_that_nobody_waits_for() {
    explore(14, &["arrived in 0"], || {
        let (phaser, [mut a, b]) = participants();
        let leaver = thread::spawn(move || b.leave());

        let phase = a.arrive().unwrap();
        leaver.join().unwrap();
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 1, 0)
        );
        // Not left for anyone to lead.
        let mut observation = phaser.observe(0);
        assert!(poll(&mut observation, &Counter::new()).is_ready());
        drop(observation);
        let (a, _) = Waiting::new(a).ready(0);
        drop(a);
        assert_empty(&phaser, &[]);
        format!("arrived in {phase}")
    });
}

#[test]
fn a_departure_against_an_arrival_of_a_participant_that_no_longer_waits() {
    explore(14, &["released"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let mut a = Waiting::arrived(a, &counter).stop();
        let leaver = thread::spawn(move || b.leave());

        a.arrive().unwrap();
        leaver.join().unwrap();
        let mut observation = phaser.observe(0);
        assert!(poll(&mut observation, &Counter::new()).is_ready());
        drop((observation, a));
        assert_eq!(counter.wakes(), 0);
        assert_empty(&phaser, &[&counter]);
        "released".into()
    });
}

#[test]
fn a_departure_against_a_poll_with_a_fresh_waker() {
    let outcomes = ["led", "woken to lead"];
    explore_bounded(3, 1_900, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let (old, new) = (Counter::new(), Counter::new());
        let mut a = Waiting::arrived(a, &old);
        let leaver = thread::spawn(move || b.leave());

        let polled = a.poll(&new);
        leaver.join().unwrap();
        let (a, outcome) = a.end(polled, &new, 1, 0);
        assert_eq!((phaser.phase(), phaser.parties()), (1, 1));
        drop(a);
        assert_no_slot_is_lost(&phaser, &[&old, &new]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_a_wait_that_is_dropped_with_its_participant() {
    explore_bounded(3, 100, &["in 1", "in 2"], || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let leaver = thread::spawn(move || b.leave());

        drop(a.stop());
        leaver.join().unwrap();
        // If its wait was to lead phase 0, dropping that released it, and its participant left phase 1.
        let phase = phaser.phase();
        assert_no_slot_is_lost(&phaser, &[&counter]);
        format!("in {phase}")
    });
}

#[test]
fn a_departure_against_another() {
    explore(39, &["woken to lead"], || {
        let (phaser, [a, b, c]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let leaver = thread::spawn(move || b.leave());

        c.leave();
        leaver.join().unwrap();
        let (a, outcome) = a.woken(&counter, 0);
        assert_eq!((phaser.phase(), phaser.parties()), (1, 1));
        drop(a);
        assert_no_slot_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_departure_against_that_of_a_participant_that_has_arrived() {
    explore(39, &["woken to lead"], || {
        let (phaser, [a, mut b, c]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        b.arrive().unwrap();
        let leaver = thread::spawn(move || b.leave());

        c.leave();
        leaver.join().unwrap();
        let (a, outcome) = a.woken(&counter, 0);
        assert_eq!((phaser.phase(), phaser.parties()), (1, 1));
        drop(a);
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn the_last_two_departures() {
    explore(7, &["rests"], || {
        let (phaser, [a, b]) = participants();
        let leaver = thread::spawn(move || b.leave());

        a.leave();
        leaver.join().unwrap();
        assert_eq!(phaser.phase(), 1);
        assert_no_slot_is_lost(&phaser, &[]);
        "rests".into()
    });
}

/// Two that wait, in a phase that a third has completed by leaving.
fn left_by_the_last() -> (Phaser, [Waiting; 2], [Arc<Counter>; 2]) {
    let (phaser, [a, b, c]) = participants();
    let counters = [Counter::new(), Counter::new()];
    let a = Waiting::arrived(a, &counters[0]);
    let b = Waiting::arrived(b, &counters[1]);
    c.leave();
    assert_eq!(counters.each_ref().map(|it| it.wakes()), [1, 1]);
    (phaser, [a, b], counters)
}

#[test]
fn two_that_are_woken_to_lead() {
    let outcomes = ["led, released", "released, led"];
    explore(11, &outcomes, || {
        let (phaser, [mut a, mut b], [a_counter, b_counter]) = left_by_the_last();
        let poller = thread::spawn({
            let counter = b_counter.clone();
            move || {
                let polled = b.poll(&counter);
                (b, polled)
            }
        });

        let a_polled = a.poll(&a_counter);
        let (b, b_polled) = poller.join().unwrap();
        let (a, a_outcome) = a.end(a_polled, &a_counter, 2, 0);
        let (b, b_outcome) = b.end(b_polled, &b_counter, 2, 0);
        drop(assert_meets([a, b]));
        assert_empty(&phaser, &[&a_counter, &b_counter]);
        format!("{a_outcome}, {b_outcome}")
    });
}

#[test]
fn a_participant_that_is_woken_to_lead_against_the_drop_of_the_other_wait() {
    explore(39, &["led"], || {
        let (phaser, [mut a, b], [a_counter, b_counter]) = left_by_the_last();
        let dropper = thread::spawn(move || b.stop());

        let polled = a.poll(&a_counter);
        let b = dropper.join().unwrap();
        let (a, outcome) = a.end(polled, &a_counter, 2, 0);
        // A leader does not wake itself.
        assert_eq!(a_counter.wakes(), 1);
        // It is too late to withdraw.
        assert_eq!(phaser.phase(), 1);
        let (b, led) = Waiting::new(b).ready(0);
        assert!(!led);
        drop(assert_meets([a, b]));
        assert_empty(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

#[test]
fn a_participant_that_is_woken_to_lead_against_the_departure_of_the_other() {
    explore_bounded(3, 520, &["led"], || {
        let (phaser, [mut a, b], [a_counter, b_counter]) = left_by_the_last();
        let leaver = thread::spawn(move || drop(b.stop()));

        let polled = a.poll(&a_counter);
        leaver.join().unwrap();
        let (a, outcome) = a.end(polled, &a_counter, 2, 0);
        assert_eq!((phaser.phase(), phaser.parties()), (1, 1));
        drop(a);
        assert_no_slot_is_lost(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

/// Whether the participant leads when polled once. Then its next call releases.
fn holds(participant: &mut Participant, counter: &Arc<Counter>) -> bool {
    match poll(&mut participant.wait_leader(), counter) {
        Poll::Ready(Ok(Some(leader))) => {
            core::mem::forget(leader);
            true
        }
        Poll::Ready(Ok(None)) => false,
        other => panic!("somebody leads: {other:?}"),
    }
}

#[test]
fn a_participant_that_is_woken_to_lead_against_another_that_comes_to_hold_the_release() {
    let outcomes = ["led, released", "waits, holds"];
    explore(11, &outcomes, || {
        let (phaser, [mut a, b], [a_counter, b_counter]) = left_by_the_last();
        let mut b = b.stop();
        let holder = thread::spawn({
            let counter = b_counter.clone();
            move || {
                let holds = holds(&mut b, &counter);
                (b, holds)
            }
        });

        let polled = a.poll(&a_counter);
        let (b, holds) = holder.join().unwrap();
        let outcome = match &polled {
            Poll::Ready(_) => "led, released",
            Poll::Pending => "waits, holds",
        };
        assert_eq!(holds, polled.is_pending());
        let wakes = a_counter.wakes();
        drop(b);
        let (a, _) = a.end(polled, &a_counter, wakes + 1, 0);
        drop(a);
        assert_empty(&phaser, &[&a_counter, &b_counter]);
        outcome.into()
    });
}

#[test]
fn a_registration_against_the_last_arrival() {
    let outcomes = ["a participant of 0", "a participant of 1"];
    explore(15, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let new_participant = thread::spawn({
            let phaser = phaser.clone();
            move || phaser.register().unwrap()
        });

        let mut b = Waiting::new(b);
        let polled = b.poll(&counters[1]);
        let mut new_participant = new_participant.join().unwrap();
        let in_0 = polled.is_pending();
        assert_eq!(phaser.phase(), u64::from(!in_0));
        assert_eq!(counters[0].wakes(), usize::from(!in_0));
        let phase = new_participant.arrive().unwrap();
        assert_eq!(phase, u64::from(!in_0));
        let (b, _) = b.end(polled, &counters[1], 1, 0);
        let (a, _) = a.woken(&counters[0], 0);
        drop((a, b, new_participant));
        assert_no_slot_is_lost(&phaser, &[&counters[0], &counters[1]]);
        format!("a participant of {phase}")
    });
}

#[test]
fn a_registration_against_another() {
    explore(120, &["two slots"], || {
        let (phaser, [a]) = participants();
        let new_participant = thread::spawn({
            let phaser = phaser.clone();
            move || phaser.register().unwrap()
        });

        let b = phaser.register().unwrap();
        let c = new_participant.join().unwrap();
        assert_eq!(phaser.parties(), 3);
        drop(assert_meets([a, b, c]));
        assert_no_slot_is_lost(&phaser, &[]);
        "two slots".into()
    });
}

/// A participant that waits, and the leader of its phase.
fn one_waits() -> (Phaser, Waiting, Participant, Arc<Counter>) {
    let (phaser, [a, b]) = participants();
    let counter = Counter::new();
    let a = Waiting::arrived(a, &counter);
    (phaser, a, b, counter)
}

#[track_caller]
fn lead(participant: &mut Participant) -> Leader<'_> {
    match poll(&mut participant.wait_leader(), &Counter::new()) {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("should lead: {other:?}"),
    }
}

#[test]
fn a_held_release_against_a_new_participant_that_arrives_early() {
    explore(300, &["counted in the next"], || {
        let (phaser, a, mut b, counter) = one_waits();
        let leader = lead(&mut b);
        let early = Counter::new();
        let new_participant = thread::spawn({
            let (phaser, early) = (phaser.clone(), early.clone());
            move || Waiting::arrived(phaser.register().unwrap(), &early)
        });

        leader.release();
        let new_participant = new_participant.join().unwrap();
        assert_eq!(early.wakes(), 0);
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 3, 1)
        );
        let (mut a, outcome) = a.woken(&counter, 0);
        assert_eq!(outcome, "woken");
        a.arrive().unwrap();
        b.arrive().unwrap();
        let (new_participant, _) = new_participant.woken(&early, 1);
        drop((a, b, new_participant));
        assert_no_slot_is_lost(&phaser, &[&counter, &early]);
        "counted in the next".into()
    });
}

#[test]
fn a_held_release_against_a_withdrawal_from_the_next_phase() {
    explore(39, &["withdrawn"], || {
        let (phaser, a, mut b, counter) = one_waits();
        let leader = lead(&mut b);
        let early = Counter::new();
        let new_participant = Waiting::arrived(phaser.register().unwrap(), &early);
        let dropper = thread::spawn(move || new_participant.stop());

        leader.release();
        let new_participant = dropper.join().unwrap();
        assert_eq!(early.wakes(), 0);
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 3, 0)
        );
        let (a, _) = a.woken(&counter, 0);
        drop(assert_meets([a, b, new_participant]));
        assert_no_slot_is_lost(&phaser, &[&counter, &early]);
        "withdrawn".into()
    });
}

#[test]
fn a_held_release_against_a_new_participant_that_leaves() {
    explore_bounded(3, 520, &["gone"], || {
        let (phaser, a, mut b, counter) = one_waits();
        let leader = lead(&mut b);
        let early = Counter::new();
        let new_participant = Waiting::arrived(phaser.register().unwrap(), &early);
        let leaver = thread::spawn(move || drop(new_participant));

        leader.release();
        leaver.join().unwrap();
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 2, 0)
        );
        let (a, _) = a.woken(&counter, 0);
        drop(assert_meets([a, b]));
        assert_no_slot_is_lost(&phaser, &[&counter, &early]);
        "gone".into()
    });
}

#[test]
fn a_held_release_against_a_departure() {
    explore_bounded(3, 680, &["gone"], || {
        let (phaser, [a, b, mut c]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let a = Waiting::arrived(a, &counters[0]);
        let b = Waiting::arrived(b, &counters[1]);
        let leader = lead(&mut c);
        let leaver = thread::spawn(move || drop(b));

        leader.release();
        leaver.join().unwrap();
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 2, 0)
        );
        let (a, outcome) = a.woken(&counters[0], 0);
        assert_eq!(outcome, "woken");
        drop(assert_meets([a, c]));
        assert_no_slot_is_lost(&phaser, &[&counters[0], &counters[1]]);
        "gone".into()
    });
}

#[test]
fn a_held_release_against_a_wait_that_is_dropped() {
    explore(33, &["kept"], || {
        let (phaser, a, mut b, counter) = one_waits();
        let leader = lead(&mut b);
        let dropper = thread::spawn(move || a.stop());

        leader.release();
        let a = dropper.join().unwrap();
        let (a, led) = Waiting::new(a).ready(0);
        assert!(!led);
        drop(assert_meets([a, b]));
        assert_empty(&phaser, &[&counter]);
        "kept".into()
    });
}

#[test]
fn a_held_release_against_a_poll_with_a_fresh_waker() {
    let outcomes = ["released", "woken"];
    explore_bounded(3, 670, &outcomes, || {
        let (phaser, mut a, mut b, old) = one_waits();
        let leader = lead(&mut b);
        let new = Counter::new();
        let poller = thread::spawn({
            let new = new.clone();
            move || {
                let polled = a.poll(&new);
                (a, polled)
            }
        });

        leader.release();
        let (a, polled) = poller.join().unwrap();
        let (a, outcome) = a.end(polled, &new, 1, 0);
        drop((a, b));
        assert_no_slot_is_lost(&phaser, &[&old, &new]);
        outcome.into()
    });
}

#[test]
fn a_leader_against_a_wait_that_is_dropped() {
    let outcomes = ["led", "withdrawn"];
    explore(32, &outcomes, || {
        let (phaser, a, b, counter) = one_waits();
        let dropper = thread::spawn(move || a.stop());

        let mut b = Waiting::new(b);
        let b_counter = Counter::new();
        let polled = b.poll(&b_counter);
        let a = dropper.join().unwrap();
        let led = polled.is_ready();
        assert_eq!(phaser.phase(), u64::from(led));
        let (a, a_led) = Waiting::new(a).ready(0);
        assert!(led != a_led);
        let (b, _) = b.end(polled, &b_counter, 1, 0);
        drop(assert_meets([a, b]));
        assert_empty(&phaser, &[&counter, &b_counter]);
        if led { "led" } else { "withdrawn" }.into()
    });
}

#[test]
fn two_participants_one_poll_each() {
    let outcomes = ["led, woken", "woken, led"];
    explore(7, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let counters = [Counter::new(), Counter::new()];
        let other = thread::spawn({
            let counter = counters[1].clone();
            move || {
                let mut b = Waiting::new(b);
                let polled = b.poll(&counter);
                (b, polled)
            }
        });

        let mut a = Waiting::new(a);
        let polled = a.poll(&counters[0]);
        let (b, b_polled) = other.join().unwrap();
        let (a, a_outcome) = a.end(polled, &counters[0], 1, 0);
        let (b, b_outcome) = b.end(b_polled, &counters[1], 1, 0);
        drop(assert_meets([a, b]));
        assert_empty(&phaser, &[&counters[0], &counters[1]]);
        format!("{a_outcome}, {b_outcome}")
    });
}

#[test]
fn two_participants_block_on() {
    explore_bounded(3, 240, &["one leader"], || {
        let (phaser, [mut a, mut b]) = participants();
        let other = thread::spawn(move || {
            let result = loom::future::block_on(b.wait()).unwrap();
            (b, result)
        });

        let mine = loom::future::block_on(a.wait()).unwrap();
        let (b, other) = other.join().unwrap();
        assert!(mine.is_leader() != other.is_leader());
        drop((a, b));
        assert_eq!((phaser.phase(), phaser.parties()), (2, 0));
        "one leader".into()
    });
}

#[test]
fn two_threads_block() {
    explore(1_700, &["one leader"], || {
        let (phaser, [mut a, mut b]) = participants();
        let other = thread::spawn(move || {
            let result = b.wait_blocking().unwrap();
            (b, result)
        });

        let mine = a.wait_blocking().unwrap();
        let (b, other) = other.join().unwrap();
        assert!(mine.is_leader() != other.is_leader());
        drop((a, b));
        assert_eq!((phaser.phase(), phaser.parties()), (2, 0));
        "one leader".into()
    });
}

#[test]
fn three_participants_two_phases_and_one_leaves() {
    let outcomes = ["in 0", "in 1"];
    explore_bounded(3, 3_300, &outcomes, || {
        let (phaser, [a, b, mut c]) = participants();
        let counter = Counter::new();
        let twice = thread::spawn(move || {
            let mut b = b;
            b.arrive().unwrap();
            let phase = b.arrive().unwrap();
            (b, phase)
        });
        let leaver = thread::spawn(move || {
            c.arrive().unwrap();
            c.leave();
        });

        let mut a = Waiting::new(a);
        let polled = a.poll(&counter);
        let (b, phase) = twice.join().unwrap();
        leaver.join().unwrap();
        let (a, _) = a.end(polled, &counter, 1, 0);
        assert_eq!(
            (phaser.phase(), phaser.parties(), phaser.arrived()),
            (1, 2, phase as usize)
        );
        // If the other has arrived, a departure ends this phase.
        drop((a, b));
        assert_eq!(phaser.phase(), 2 + phase);
        assert_empty(&phaser, &[&counter]);
        format!("in {phase}")
    });
}
