//! Threads that wait at a `Phaser`, and what they see once they have been woken.
//!
//! Data is stored and loaded without an ordering of its own, by threads that are not joined before they
//! have looked.

use core::time::Duration;
use std::{sync::Arc, time::Instant};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_meets, assert_no_slot_is_lost, participants},
    poll,
};
use atomic_barrier_over_loom::{
    Phaser,
    phaser::{Participant, WaitError},
};
use loom::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

fn data() -> Arc<AtomicUsize> {
    Arc::new(AtomicUsize::new(0))
}

#[test]
fn two_threads_block_and_one_leads() {
    explore_bounded(3, 700, &["first", "second"], || {
        let (phaser, [mut a, mut b]) = participants();
        let done = data();
        let meet = |participant: &mut Participant, done: &AtomicUsize| {
            let phaser = participant.phaser().clone();
            let leader = participant.wait_leader_blocking().unwrap();
            let leads = leader.is_some();
            if let Some(leader) = leader {
                assert_eq!((phaser.phase(), phaser.arrived()), (0, 2));
                done.store(1, Relaxed);
                leader.release();
            }
            assert_eq!(done.load(Relaxed), 1);
            leads
        };
        let other = thread::spawn({
            let done = done.clone();
            move || {
                let leads = meet(&mut b, &done);
                (b, leads)
            }
        });

        let mine = meet(&mut a, &done);
        let (b, other) = other.join().unwrap();
        assert!(mine != other);
        drop(assert_meets([a, b]));
        assert_no_slot_is_lost(&phaser, &[]);
        if mine { "first" } else { "second" }.into()
    });
}

#[test]
fn a_thread_that_comes_to_hold_the_release_against_a_departure() {
    explore_bounded(3, 700, &["holds"], || {
        let (phaser, [mut a, b]) = participants();
        let done = data();
        let leaver = thread::spawn({
            let done = done.clone();
            move || {
                done.store(1, Relaxed);
                b.leave();
            }
        });

        let leader = a.wait_leader_blocking().unwrap();
        assert_eq!(done.load(Relaxed), 1);
        let leader = leader.expect("alone");
        assert_eq!((phaser.phase(), phaser.arrived()), (0, 1));
        leader.release();
        leaver.join().unwrap();
        assert_eq!(phaser.phase(), 1);
        drop(a);
        assert_no_slot_is_lost(&phaser, &[]);
        "holds".into()
    });
}

/// A thread whose time is up against another participant, which may hold the release meanwhile.
fn times_out_against_a_leader(floor: usize, wait: fn(&mut Participant) -> Result<bool, WaitError>) {
    let outcomes = ["led", "released", "timed out"];
    explore_bounded(3, floor, &outcomes, move || {
        let (phaser, [mut a, mut b]) = participants();
        let done = data();
        let other = thread::spawn({
            let done = done.clone();
            move || {
                let mut wait = b.wait_leader();
                let leader = poll(&mut wait, &Counter::new());
                let leads = leader.is_ready();
                done.store(1, Relaxed);
                drop(leader);
                // Withdraws, if the phase is not complete.
                drop(wait);
                (b, leads)
            }
        });

        let result = wait(&mut a);
        if result == Ok(false) {
            assert_eq!(done.load(Relaxed), 1);
        }
        let (b, other_leads) = other.join().unwrap();
        let outcome = match result {
            Ok(true) => "led",
            Ok(false) => "released",
            Err(_) => "timed out",
        };
        assert_eq!(other_leads, outcome == "released");
        assert_eq!(phaser.phase(), u64::from(outcome != "timed out"));
        // What the other has not seen comes first.
        let b = match outcome {
            "led" => Waiting::new(b).ready(0).0,
            _ => b,
        };
        drop(assert_meets([a, b]));
        assert_no_slot_is_lost(&phaser, &[]);
        outcome.into()
    });
}

#[test]
fn a_held_release_against_a_wait_at_its_deadline() {
    times_out_against_a_leader(900, |participant| {
        let result = participant.wait_blocking_deadline(Instant::now())?;
        Ok(result.is_leader())
    });
}

#[test]
fn a_held_release_against_a_leader_wait_that_times_out() {
    times_out_against_a_leader(900, |participant| {
        let leader = participant.wait_leader_blocking_timeout(Duration::ZERO)?;
        Ok(leader.is_some())
    });
}

/// A thread that observes phase 0 against its `end`, and sees what was done before that unless it was
/// closed.
fn observes_against(floor: usize, outcomes: &[&str], end: fn(&Phaser, Participant)) {
    explore(floor, outcomes, move || {
        let (phaser, [participant]) = participants();
        // The first slots for observers are there.
        assert!(poll(&mut phaser.observe(0), &Counter::new()).is_pending());
        let done = data();
        let other = thread::spawn({
            let (phaser, done) = (phaser.clone(), done.clone());
            move || {
                done.store(1, Relaxed);
                end(&phaser, participant);
            }
        });

        let result = phaser.observe(0).wait_blocking();
        if result.is_ok() {
            assert_eq!(done.load(Relaxed), 1);
        }
        other.join().unwrap();
        assert_no_slot_is_lost(&phaser, &[]);
        format!("{result:?}")
    });
}

#[test]
fn a_thread_that_observes_against_the_last_arrival() {
    observes_against(16_000, &["Ok(())"], |_, mut participant| {
        participant.arrive().unwrap();
    });
}

#[test]
fn a_thread_that_observes_against_the_last_departure() {
    observes_against(1_500, &["Ok(())"], |_, participant| participant.leave());
}

#[test]
fn a_thread_that_observes_against_a_close() {
    observes_against(7_500, &["Err(Closed)"], |phaser, _participant| {
        phaser.close()
    });
}
