//! What becomes visible to which thread: every promise of `Phaser`'s documentation on memory ordering.
//!
//! Data that has to be seen is stored and loaded without an ordering of its own, by threads that
//! are not joined before they have looked. Those that look are the ones spawned: loom then tries
//! all orders of their loads and the steps that they wait for.

use std::{sync::Arc, task::Poll};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, participants},
    poll,
};
use atomic_barrier_over_loom::phaser::Participant;
use loom::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

fn data() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

/// Polls in another thread, and looks whether all has been `done` if that is ready.
fn look(
    mut wait: Waiting,
    counter: Arc<Counter>,
    done: &[Arc<AtomicUsize>],
) -> thread::JoinHandle<(Waiting, bool)> {
    let done = done.to_vec();
    thread::spawn(move || {
        let ready = wait.poll(&counter).is_ready();
        if ready {
            for done in done {
                assert_eq!(done.load(Relaxed), 1);
            }
        }
        (wait, ready)
    })
}

fn outcome((_wait, ready): (Waiting, bool)) -> String {
    if ready { "seen" } else { "waits" }.into()
}

#[test]
fn a_leader_sees_what_another_did_before_it_arrived() {
    explore(7, &["seen", "waits"], || {
        let (_phaser, [mut a, b]) = participants();
        let done = data();
        let reader = look(
            Waiting::new(b),
            Counter::new(),
            core::slice::from_ref(&done),
        );

        done.store(1, Relaxed);
        a.arrive().unwrap();
        outcome(reader.join().unwrap())
    });
}

#[test]
fn a_leader_that_holds_the_release_sees_what_another_did_before_it_arrived() {
    explore(35, &["seen", "waits"], || {
        let (_phaser, [mut a, mut b]) = participants();
        let done = data();
        let reader = thread::spawn({
            let done = done.clone();
            move || {
                let ready = match poll(&mut b.wait_leader(), &Counter::new()) {
                    Poll::Ready(Ok(leader)) => {
                        assert_eq!(done.load(Relaxed), 1);
                        drop(leader);
                        true
                    }
                    Poll::Ready(Err(_)) => panic!("closed"),
                    Poll::Pending => false,
                };
                (b, ready)
            }
        });

        done.store(1, Relaxed);
        a.arrive().unwrap();
        let (_b, ready) = reader.join().unwrap();
        if ready { "seen" } else { "waits" }.into()
    });
}

/// One withdraws its arrival and waits again, against the last, which may have read the word before
/// that and finds it the same. `look_if_led` polls it and, if it leads, looks at the data.
fn arrives_again_against(look_if_led: fn(&mut Participant, &AtomicUsize) -> Option<usize>) {
    let outcomes = ["in between", "led the first", "seen"];
    explore(520, &outcomes, move || {
        let (phaser, [a, mut b]) = participants();
        let done = data();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let reader = thread::spawn({
            let done = done.clone();
            move || {
                let seen = look_if_led(&mut b, &done);
                (b, seen)
            }
        });

        let a = a.stop();
        // In this order: until the release is over, all have arrived.
        let withdrawn = phaser.arrived() == 0 && phaser.phase() == 0;
        done.store(1, Relaxed);
        // Counted as before.
        let mut a = Waiting::new(a);
        let _ = a.poll(&counter);
        let (_b, seen) = reader.join().unwrap();
        let outcome = match (withdrawn, seen) {
            (true, Some(seen)) => {
                assert_eq!(seen, 1);
                "seen"
            }
            (true, None) => "in between",
            (false, _) => "led the first",
        };
        outcome.into()
    });
}

#[test]
fn a_leader_sees_what_another_did_before_it_arrived_again() {
    arrives_again_against(|b, done| {
        let polled = poll(&mut b.wait(), &Counter::new());
        polled.is_ready().then(|| done.load(Relaxed))
    });
}

#[test]
fn a_leader_that_holds_the_release_sees_what_another_did_before_it_arrived_again() {
    arrives_again_against(|b, done| {
        // The release acquires, too, so this looks before it.
        let polled = poll(&mut b.wait_leader(), &Counter::new());
        polled.is_ready().then(|| done.load(Relaxed))
    });
}

#[test]
fn a_participant_that_waits_sees_what_the_leader_did_before_it_completed() {
    explore(10, &["seen", "waits"], || {
        let (_phaser, [a, mut b]) = participants();
        let done = data();
        let counter = Counter::new();
        let reader = look(
            Waiting::arrived(a, &counter),
            counter,
            core::slice::from_ref(&done),
        );

        done.store(1, Relaxed);
        b.arrive().unwrap();
        outcome(reader.join().unwrap())
    });
}

#[test]
fn a_participant_that_waits_sees_what_the_leader_did_while_it_held_the_release() {
    explore(10, &["seen", "waits"], || {
        let (_phaser, [a, mut b]) = participants();
        let done = data();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let Poll::Ready(Ok(Some(leader))) = poll(&mut b.wait_leader(), &Counter::new()) else {
            panic!("should lead");
        };
        let reader = look(a, counter, core::slice::from_ref(&done));

        done.store(1, Relaxed);
        leader.release();
        outcome(reader.join().unwrap())
    });
}

#[test]
fn a_participant_that_is_woken_to_lead_sees_what_the_last_did_before_it_left() {
    explore(1_100, &["seen", "waits"], || {
        let (_phaser, [a, b]) = participants();
        let done = data();
        let counter = Counter::new();
        let reader = look(
            Waiting::arrived(a, &counter),
            counter,
            core::slice::from_ref(&done),
        );

        done.store(1, Relaxed);
        b.leave();
        outcome(reader.join().unwrap())
    });
}

#[test]
fn a_leader_sees_what_another_did_before_it_left() {
    explore(32, &["seen", "waits"], || {
        let (_phaser, [a, b]) = participants();
        let done = data();
        let reader = look(
            Waiting::new(a),
            Counter::new(),
            core::slice::from_ref(&done),
        );

        done.store(1, Relaxed);
        b.leave();
        outcome(reader.join().unwrap())
    });
}

/// One leaves a complete phase, and another comes to lead that. The first does not register a waker, and
/// the other holds the release, so no look at the slots orders the two.
#[test]
fn a_leader_that_holds_the_release_sees_what_another_did_before_it_left_the_complete_phase() {
    explore(16, &["not yet", "seen"], || {
        let (_phaser, [mut a, mut b, c, d]) = participants();
        let (done, left) = (data(), data());
        a.arrive().unwrap();
        b.arrive().unwrap();
        let _waits = Waiting::arrived(d, &Counter::new());
        c.leave();
        let reader = thread::spawn({
            let (done, left) = (done.clone(), left.clone());
            move || {
                let has_left = left.load(Relaxed) == 1;
                if has_left {
                    let polled = poll(&mut a.wait_leader(), &Counter::new());
                    assert!(matches!(&polled, Poll::Ready(Ok(Some(_)))));
                    assert_eq!(done.load(Relaxed), 1);
                }
                (a, has_left)
            }
        });

        done.store(1, Relaxed);
        b.leave();
        left.store(1, Relaxed);
        let (_a, has_left) = reader.join().unwrap();
        if has_left { "seen" } else { "not yet" }.into()
    });
}

#[test]
fn a_participant_that_arrived_sees_what_the_last_did_before_it_left() {
    explore(11, &["seen", "waits"], || {
        let (_phaser, [mut a, b]) = participants();
        let done = data();
        a.arrive().unwrap();
        // Nobody can lead: the departure releases.
        let reader = look(
            Waiting::new(a),
            Counter::new(),
            core::slice::from_ref(&done),
        );

        done.store(1, Relaxed);
        b.leave();
        outcome(reader.join().unwrap())
    });
}

#[test]
fn a_participant_that_waits_sees_what_all_others_did_before_they_arrived_or_left() {
    explore_bounded(2, 4_700, &["seen", "waits"], || {
        let (_phaser, [a, mut b, c]) = participants();
        let done = [data(), data()];
        let counter = Counter::new();
        let reader = look(Waiting::arrived(a, &counter), counter, &done);
        let leaver = thread::spawn({
            let done = done[1].clone();
            move || {
                done.store(1, Relaxed);
                c.leave();
            }
        });

        done[0].store(1, Relaxed);
        b.arrive().unwrap();
        let outcome = outcome(reader.join().unwrap());
        leaver.join().unwrap();
        outcome
    });
}

/// Observes phase 0 in another thread while its only participant does `end`.
fn observe_while(end: fn(Participant)) {
    explore(290, &["seen", "waits"], move || {
        let (phaser, [participant]) = participants();
        let done = data();
        let reader = thread::spawn({
            let (phaser, done) = (phaser.clone(), done.clone());
            move || {
                let ready = poll(&mut phaser.observe(0), &Counter::new()).is_ready();
                if ready {
                    assert_eq!(done.load(Relaxed), 1);
                }
                ready
            }
        });

        done.store(1, Relaxed);
        end(participant);
        if reader.join().unwrap() {
            "seen"
        } else {
            "waits"
        }
        .into()
    });
}

#[test]
fn an_observer_sees_what_a_participant_did_before_it_arrived() {
    observe_while(|mut participant| {
        participant.arrive().unwrap();
    });
}

#[test]
fn an_observer_sees_what_a_participant_did_before_it_left() {
    observe_while(Participant::leave);
}

/// The number that is noted now and then is never seen before the phase that it says.
#[test]
fn the_current_phase_around_one_that_is_noted() {
    explore(32, &["1023", "1024"], || {
        let (phaser, [mut participant]) = participants();
        for phase in 0..1_023 {
            assert_eq!(participant.arrive().unwrap(), phase);
        }
        let reader = thread::spawn({
            let phaser = phaser.clone();
            move || phaser.phase()
        });

        participant.arrive().unwrap();
        let phase = reader.join().unwrap();
        assert_eq!(phaser.phase(), 1_024);
        phase.to_string()
    });
}
