//! The action of a phase (`Builder::on_phase`): what it sees, and what is seen of it.
//!
//! loom watches the data for races: each access has to happen after the one before.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
    task::Poll,
};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_empty, assert_no_slot_is_lost},
    poll,
};
use atomic_barrier_over_loom::{Phaser, phaser::Participant};
use loom::{
    cell::UnsafeCell,
    thread::{self, JoinHandle},
};

/// A number in which a race is an error.
struct Data(UnsafeCell<u64>);

// SAFETY: a model fails at the first two accesses that are not ordered, before they can meet.
unsafe impl Sync for Data {}

impl Data {
    fn new() -> Arc<Self> {
        Arc::new(Self(UnsafeCell::new(0)))
    }

    fn set(&self, value: u64) {
        // SAFETY: loom has the pointer's uses in order, or ends the execution.
        self.0.with_mut(|it| unsafe { *it = value });
    }

    fn get(&self) -> u64 {
        // SAFETY: as in `set`.
        self.0.with(|it| unsafe { *it })
    }
}

/// A phaser with two participants, whose action reads what each has done before it arrived or left, and
/// then writes the last.
struct Scene {
    phaser: Phaser,
    participants: [Participant; 2],
    /// What the participants have done.
    done: [Arc<Data>; 2],
    /// What the action writes: one more than the phase.
    report: Arc<Data>,
}

fn scene() -> Scene {
    let (done, report) = ([Data::new(), Data::new()], Data::new());
    let phaser = Phaser::builder()
        .on_phase({
            let (done, report) = (done.clone(), report.clone());
            move |phase, _| {
                assert_eq!(done.each_ref().map(|it| it.get()), [1, 1]);
                report.set(phase + 1);
            }
        })
        .build();
    let participants = [(); 2].map(|()| phaser.register().unwrap());
    Scene {
        phaser,
        participants,
        done,
        report,
    }
}

/// Completes phase 0, and perhaps leaves.
type Complete = fn(Participant) -> Option<Participant>;

fn arrives(mut participant: Participant) -> Option<Participant> {
    participant.arrive().unwrap();
    Some(participant)
}

fn leads(mut participant: Participant) -> Option<Participant> {
    let Poll::Ready(Ok(Some(leader))) = poll(&mut participant.wait_leader(), &Counter::new())
    else {
        panic!("should lead");
    };
    leader.release();
    Some(participant)
}

fn leaves(participant: Participant) -> Option<Participant> {
    participant.leave();
    None
}

/// A participant that waits looks, once its wait is ready, against another that completes the phase.
fn a_participant_looks_against(floor: usize, complete: Complete) {
    explore(floor, &["saw", "waits"], move || {
        let Scene {
            phaser,
            participants: [a, b],
            done,
            report,
        } = scene();
        let counter = Counter::new();
        done[0].set(1);
        let mut a = Waiting::arrived(a, &counter);
        let reader = thread::spawn({
            let (report, counter) = (report.clone(), counter.clone());
            move || {
                let polled = a.poll(&counter);
                if polled.is_ready() {
                    assert_eq!(report.get(), 1);
                }
                (a, polled)
            }
        });

        done[1].set(1);
        let b = complete(b);
        let (a, polled) = reader.join().unwrap();
        let outcome = if polled.is_ready() { "saw" } else { "waits" };
        let (a, _) = a.end(polled, &counter, 1, 0);
        assert_eq!((report.get(), phaser.phase()), (1, 1));
        drop((a, b));
        assert_no_slot_is_lost(&phaser, &[&counter]);
        outcome.into()
    });
}

#[test]
fn a_participant_looks_against_the_last_arrival() {
    a_participant_looks_against(40, arrives);
}

#[test]
fn a_participant_looks_against_a_leader() {
    a_participant_looks_against(40, leads);
}

#[test]
fn a_participant_looks_against_the_last_departure() {
    a_participant_looks_against(48, leaves);
}

/// A thread that observes phase 0 once: if it is over, it looks at the report.
fn observes(phaser: &Phaser, report: &Arc<Data>, counter: &Arc<Counter>) -> JoinHandle<bool> {
    let (phaser, report, counter) = (phaser.clone(), report.clone(), counter.clone());
    thread::spawn(move || {
        let mut observation = phaser.observe(0);
        let is_over = poll(&mut observation, &counter).is_ready();
        if is_over {
            assert_eq!(report.get(), 1);
        } else {
            // It waits on.
            core::mem::forget(observation);
        }
        is_over
    })
}

/// An observer looks, once the phase is over, against a participant that completes it.
fn an_observer_looks_against(floor: usize, complete: Complete) {
    explore(floor, &["saw", "waits"], move || {
        let Scene {
            phaser,
            participants: [mut a, b],
            done,
            report,
        } = scene();
        // The first slots for observers are there.
        assert!(poll(&mut phaser.observe(0), &Counter::new()).is_pending());
        done[0].set(1);
        a.arrive().unwrap();
        let counter = Counter::new();
        let reader = observes(&phaser, &report, &counter);

        done[1].set(1);
        let b = complete(b);
        let is_over = reader.join().unwrap();
        assert!(is_over || counter.wakes() == 1);
        assert_eq!((report.get(), phaser.phase()), (1, 1));
        drop((a, b));
        assert_no_slot_is_lost(&phaser, &[&counter]);
        if is_over { "saw" } else { "waits" }.into()
    });
}

#[test]
fn an_observer_looks_against_the_last_arrival() {
    an_observer_looks_against(2_000, arrives);
}

#[test]
fn an_observer_looks_against_a_leader() {
    an_observer_looks_against(2_000, leads);
}

#[test]
fn an_observer_looks_against_the_last_departure() {
    an_observer_looks_against(2_400, leaves);
}

/// The action of phase 0 has the other replaced by one that arrives in phase 1, so that the departure leads
/// both.
#[test]
fn an_observer_looks_against_a_departure_that_completes_two_phases() {
    explore_bounded(3, 4_000, &["saw", "waits"], || {
        let (report, other) = (Data::new(), Arc::new(Mutex::new(None::<Participant>)));
        let phaser = Phaser::builder()
            .on_phase({
                let (report, other) = (report.clone(), other.clone());
                move |phase, _| {
                    if phase == 0 {
                        report.set(1);
                        let mut other = other.lock().unwrap();
                        let mut next = other.as_ref().unwrap().phaser().register().unwrap();
                        next.arrive().unwrap();
                        *other = Some(next);
                    }
                }
            })
            .build();
        let [mut a, b] = [(); 2].map(|()| phaser.register().unwrap());
        assert!(poll(&mut phaser.observe(0), &Counter::new()).is_pending());
        a.arrive().unwrap();
        *other.lock().unwrap() = Some(a);
        let counter = Counter::new();
        let reader = observes(&phaser, &report, &counter);

        b.leave();
        let is_over = reader.join().unwrap();
        assert!(is_over || counter.wakes() == 1);
        assert_eq!((phaser.phase(), phaser.parties()), (2, 1));
        let a = other.lock().unwrap().take();
        drop(a);
        assert_no_slot_is_lost(&phaser, &[&counter]);
        if is_over { "saw" } else { "waits" }.into()
    });
}

#[test]
fn a_participant_looks_against_an_action_that_panics() {
    let outcomes = ["closed", "woken to find it closed"];
    explore(140, &outcomes, || {
        let phaser = Phaser::builder()
            .on_phase(|_, _| resume_unwind(Box::new("in the action")))
            .build();
        let [a, mut b] = [(); 2].map(|()| phaser.register().unwrap());
        let counter = Counter::new();
        let mut a = Waiting::arrived(a, &counter);
        let reader = thread::spawn({
            let counter = counter.clone();
            move || {
                let polled = a.poll(&counter);
                (a, polled)
            }
        });

        assert!(catch_unwind(AssertUnwindSafe(|| b.arrive())).is_err());
        let (a, polled) = reader.join().unwrap();
        let (a, outcome) = a.end(polled, &counter, 1, 0);
        assert_eq!(phaser.phase(), 1);
        drop((a, b));
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}
