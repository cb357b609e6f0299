//! The names of a `Phaser`: a thread that looks who is missing, against the participants.
//!
//! loom's cells report every access to a name that another does not come before or after.

use std::sync::Arc;

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, participants},
};
use atomic_barrier_over_loom::{Phaser, phaser::Participant};
use loom::{
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
    thread,
};

/// Participants `a`, `b` and so on, and their names.
fn named<const N: usize>() -> (Phaser, [Participant; N], [Arc<str>; N]) {
    let (phaser, participants) = participants();
    let mut letters = ('a'..).map(|letter| Arc::<str>::from(letter.to_string()));
    let names = [(); N].map(|()| letters.next().unwrap());
    let mut name = names.iter();
    let participants = participants
        .map(|participant: Participant| participant.named(name.next().unwrap().clone()));
    (phaser, participants, names)
}

fn missing(phaser: &Phaser) -> String {
    phaser.missing().join(" ")
}

/// Asserts that nobody keeps the names, whose participants are gone.
#[track_caller]
fn assert_freed<const N: usize>(names: [Arc<str>; N]) {
    assert_eq!(names.each_ref().map(Arc::strong_count), [1; N]);
}

#[test]
fn a_look_against_arrivals() {
    explore(15, &["a b c", "a c", "c"], || {
        let (phaser, [mut a, mut b, c], names) = named();
        let arrives = thread::spawn(move || {
            b.arrive().unwrap();
            a.arrive().unwrap();
            (a, b)
        });

        let outcome = missing(&phaser);
        let arrived = arrives.join().unwrap();
        assert_eq!(missing(&phaser), "c");
        drop((c, arrived));
        assert_freed(names);
        outcome
    });
}

#[test]
fn a_participant_that_is_known_to_have_arrived_is_not_listed() {
    explore(43, &["a b", "b", "known: b"], || {
        let (phaser, [mut a, _b], _) = named();
        let known = Arc::new(AtomicBool::new(false));
        let arrives = thread::spawn({
            let known = known.clone();
            move || {
                a.arrive().unwrap();
                known.store(true, Release);
                a
            }
        });

        let known = if known.load(Acquire) { "known: " } else { "" };
        let outcome = missing(&phaser);
        drop(arrives.join().unwrap());
        format!("{known}{outcome}")
    });
}

/// The last to arrive does not note that.
#[test]
fn a_look_against_the_end_of_a_phase() {
    explore(6, &["a b", "b"], || {
        let (phaser, [mut a, mut b], _) = named();
        let ends = thread::spawn(move || {
            a.arrive().unwrap();
            b.arrive().unwrap();
            (a, b)
        });

        let outcome = missing(&phaser);
        let (mut a, b) = ends.join().unwrap();
        assert_eq!(missing(&phaser), "a b");
        a.arrive().unwrap();
        assert_eq!(missing(&phaser), "b");
        drop(b);
        outcome
    });
}

#[test]
fn a_look_against_a_wait_that_is_dropped() {
    explore(5, &["a b", "b"], || {
        let (phaser, [a, _b], _) = named();
        let a = Waiting::arrived(a, &Counter::new());
        let stops = thread::spawn(|| a.stop());

        let outcome = missing(&phaser);
        let _a = stops.join().unwrap();
        assert_eq!(missing(&phaser), "a b");
        outcome
    });
}

#[test]
fn a_look_against_a_departure_and_a_new_participant_with_a_name() {
    explore_bounded(3, 620, &["a b", "a b c", "b", "b c"], || {
        let (phaser, [a, b], names) = named();
        let c = Arc::<str>::from("c");
        let comes = thread::spawn({
            let (phaser, c) = (phaser.clone(), c.clone());
            move || {
                drop(a);
                phaser.register().unwrap().named(c)
            }
        });

        let outcome = missing(&phaser);
        let comes = comes.join().unwrap();
        assert_eq!(phaser.missing().len(), 2);
        drop((b, comes));
        assert_freed(names);
        assert_freed([c]);
        outcome
    });
}

#[test]
fn a_look_against_another_name() {
    explore_bounded(3, 2_300, &["a b", "a b x", "b", "b x", "x b"], || {
        let (phaser, [mut a, mut b], names) = named();
        // In a phase whose number is greater than the states of a slot that nobody owns.
        for phase in 0..2 {
            assert_eq!([a.arrive(), b.arrive()], [Ok(phase); 2]);
        }
        let x = Arc::<str>::from("x");
        let renames = thread::spawn({
            let x = x.clone();
            move || a.named(x)
        });

        let outcome = missing(&phaser);
        let a = renames.join().unwrap();
        assert_eq!(a.name(), Some("x"));
        drop((a, b));
        assert_freed(names);
        assert_freed([x]);
        outcome
    });
}

#[test]
fn two_looks_against_a_departure() {
    explore_bounded(3, 11_000, &["", "a"], || {
        let (phaser, [a], names) = named();
        // Another participant, without a name, keeps the phase open.
        let _other = phaser.register().unwrap();
        let looks = thread::spawn({
            let phaser = phaser.clone();
            move || _ = missing(&phaser)
        });
        let leaves = thread::spawn(move || drop(a));

        let outcome = missing(&phaser);
        looks.join().unwrap();
        leaves.join().unwrap();
        assert_eq!(missing(&phaser), "");
        assert_freed(names);
        outcome
    });
}
