//! The slots of a `Phaser`: wakers that are read and changed at the same time, and readers that meet.
//!
//! loom's cells report every access to a waker that another does not come before or after.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex, Weak},
    task::{Wake, Waker},
};

use crate::support::{
    Counter, explore, explore_bounded,
    phaser::{Waiting, assert_empty, assert_no_slot_is_lost, participants},
};
use atomic_barrier_over_loom::{Phaser, phaser::Participant};
use loom::thread;

/// Runs something when it is woken, which must be once.
struct Runs(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Runs {
    fn new(run: impl FnOnce() + Send + 'static) -> Self {
        Self(Mutex::new(Some(Box::new(run))))
    }
}

impl Wake for Runs {
    fn wake(self: Arc<Self>) {
        let run = self.0.lock().unwrap().take().expect("woken twice");
        run();
    }
}

/// A participant that waits, while another leads. Returns what the first did with `next` once it was released, if
/// it was when polled.
fn come_back<T: Send + 'static>(
    old: &Arc<Counter>,
    next: impl FnOnce(Participant) -> T + Send + 'static,
) -> (Phaser, Participant, Option<T>) {
    let (phaser, [a, b]) = participants();
    let mut a = Waiting::arrived(a, old);
    let comes_back = thread::spawn({
        let old = old.clone();
        move || {
            if a.poll(&old).is_ready() {
                Ok(next(a.stop()))
            } else {
                Err(a)
            }
        }
    });

    let (b, led) = Waiting::new(b).ready(0);
    assert!(led);
    let next = comes_back.join().unwrap();
    let next = next.map_err(|a| a.woken(old, 0)).ok();
    (phaser, b, next)
}

#[test]
fn a_release_against_a_released_participant_that_comes_back_with_another_waker_and_leaves() {
    let outcomes = ["gone", "not yet"];
    explore_bounded(2, 2_400, &outcomes, || {
        let (old, new) = (Counter::new(), Counter::new());
        let next_counter = new.clone();
        let (phaser, b, gone) = come_back(&old, move |a| drop(Waiting::arrived(a, &next_counter)));
        assert_eq!(new.wakes(), 0);
        drop(b);
        assert_no_slot_is_lost(&phaser, &[&old, &new]);
        if gone.is_some() { "gone" } else { "not yet" }.into()
    });
}

#[test]
fn a_release_against_a_released_participant_that_waits_in_the_next_phase_with_another_waker() {
    let outcomes = ["not yet", "waits"];
    explore_bounded(3, 5_800, &outcomes, || {
        let (old, new) = (Counter::new(), Counter::new());
        let next_counter = new.clone();
        let (phaser, mut b, waits) = come_back(&old, move |a| Waiting::arrived(a, &next_counter));
        let outcome = if let Some(waits) = waits {
            assert_eq!(new.wakes(), 0);
            b.arrive().unwrap();
            assert_eq!(new.wakes(), 1);
            let (_, led) = waits.ready(1);
            assert!(!led);
            "waits"
        } else {
            "not yet"
        };
        drop(b);
        assert_no_slot_is_lost(&phaser, &[&old, &new]);
        outcome.into()
    });
}

/// Two threads read at once: the leader and the thread that closes.
#[test]
fn a_release_and_a_close_against_a_poll_with_a_fresh_waker() {
    let outcomes = ["closed", "released", "woken", "woken to find it closed"];
    explore_bounded(2, 1_800, &outcomes, || {
        let (phaser, [a, mut b]) = participants();
        let (old, new) = (Counter::new(), Counter::new());
        let mut a = Waiting::arrived(a, &old);
        let leader = thread::spawn(move || {
            let _ = b.arrive();
            b
        });
        let closer = thread::spawn({
            let phaser = phaser.clone();
            move || phaser.close()
        });

        let polled = a.poll(&new);
        let b = leader.join().unwrap();
        closer.join().unwrap();
        let (a, outcome) = a.end(polled, &new, 1, 0);
        drop((a, b));
        assert_empty(&phaser, &[&old, &new]);
        outcome.into()
    });
}

#[test]
fn a_waker_that_is_replaced_during_its_wake_is_dropped_when_that_ends() {
    explore(1, &["dropped"], || {
        let (phaser, [a, b]) = participants();
        let new = Counter::new();
        let a = Arc::new(Mutex::new(Some(Waiting::new(a))));
        let replaced = Arc::new_cyclic(|this: &Weak<Runs>| {
            let (a, new, this) = (a.clone(), new.clone(), this.clone());
            Runs::new(move || {
                let (participant, _) = a.lock().unwrap().take().unwrap().ready(0);
                *a.lock().unwrap() = Some(Waiting::arrived(participant, &new));
                // That of the reader, which has made this call, and its clone for this call.
                assert_eq!(this.strong_count(), 2);
            })
        });
        let weak = Arc::downgrade(&replaced);
        let waker = Waker::from(replaced);
        assert!(
            a.lock()
                .unwrap()
                .as_mut()
                .unwrap()
                .poll_with(&waker)
                .is_pending()
        );
        drop(waker);

        let (b, _) = Waiting::new(b).ready(0);
        assert_eq!(weak.strong_count(), 0);
        drop((a.lock().unwrap().take(), b));
        assert_no_slot_is_lost(&phaser, &[&new]);
        "dropped".into()
    });
}

/// The last reader sweeps, because a participant that it woke has left meanwhile, and may find a slot that
/// its participant has retired and not withdrawn.
#[test]
fn a_sweep_against_a_departure() {
    explore_bounded(2, 3_900, &["gone"], || {
        let (phaser, [a, b, c]) = participants();
        let counter = Counter::new();
        let a = Waiting::arrived(a, &counter);
        let b = Arc::new(Mutex::new(Some(Waiting::new(b))));
        let leaves = Waker::from(Arc::new(Runs::new({
            let b = b.clone();
            move || drop(b.lock().unwrap().take())
        })));
        let polled = b.lock().unwrap().as_mut().unwrap().poll_with(&leaves);
        assert!(polled.is_pending());
        drop(leaves);
        let leaver = thread::spawn(move || drop(a));

        phaser.close();
        leaver.join().unwrap();
        assert!(b.lock().unwrap().is_none());
        drop(c);
        assert_empty(&phaser, &[&counter]);
        "gone".into()
    });
}

/// A panic out of the drop of a replaced waker leaves the new one in the slot, and comes out after the
/// arrival.
#[test]
fn a_waker_that_is_kept_over_a_panic_against_a_close() {
    struct PanicsInDrop;

    impl Wake for PanicsInDrop {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            resume_unwind(Box::new("in drop"));
        }
    }

    let outcomes = ["closed", "woken to find it closed"];
    explore_bounded(3, 5_500, &outcomes, || {
        let (phaser, [a, b]) = participants();
        let counter = Counter::new();
        let mut a = Waiting::new(a);
        let waker = Waker::from(Arc::new(PanicsInDrop));
        assert!(a.poll_with(&waker).is_pending());
        // The last is the one in the slot.
        drop(waker);
        let a = a.stop();
        let poller = thread::spawn({
            let counter = counter.clone();
            move || {
                let mut a = Waiting::new(a);
                let panic = catch_unwind(AssertUnwindSafe(|| a.poll(&counter)));
                let mut a = Waiting::new(a.stop());
                let polled = a.poll(&counter);
                (a, panic.is_err(), polled)
            }
        });

        let close = catch_unwind(AssertUnwindSafe(|| phaser.close()));
        let (a, panicked, polled) = poller.join().unwrap();
        let (a, outcome) = a.end(polled, &counter, 1, 0);
        drop(b);
        let drop = catch_unwind(AssertUnwindSafe(|| drop(a)));
        // The thread that dropped the waker: that of the first poll, the close if it was being read then,
        // or the departure if the first poll came too late.
        let panics = [panicked, close.is_err(), drop.is_err()];
        assert_eq!(panics.iter().filter(|&&panics| panics).count(), 1);
        assert_empty(&phaser, &[&counter]);
        outcome.into()
    });
}
