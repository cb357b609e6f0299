//! The waker cell that the other models use: that it is as good as the real one.

use std::{sync::Arc, task::Waker};

use crate::support::{Counter, explore};
use loom::thread;
use model_doubles::loom::waker::{AtomicWaker, Cell};

#[test]
fn a_wake_against_a_registration_is_never_lost() {
    let outcomes = [
        "took a waker, old woken 0, new woken 1",
        "took a waker, old woken 1, new woken 0",
        "took a waker, old woken 1, new woken 1",
        "took none, old woken 0, new woken 1",
    ];
    explore(10, &outcomes, || {
        let (old, new) = (Counter::new(), Counter::new());
        let cell = Arc::new(Cell::new());
        cell.register(&Waker::from(old.clone()));
        let taker = thread::spawn({
            let cell = cell.clone();
            move || cell.take().map(Waker::wake).is_some()
        });

        cell.register(&Waker::from(new.clone()));
        let taken = taker.join().unwrap();
        let stays = cell.take().is_some();
        // The second of the two has seen to it.
        assert!(stays != (new.wakes() == 1));
        let taken = if taken { "took a waker" } else { "took none" };
        let (old, new) = (old.wakes(), new.wakes());
        format!("{taken}, old woken {old}, new woken {new}")
    });
}

#[test]
#[should_panic = "two registrations at once in one slot"]
fn two_registrations_at_once_panic() {
    loom::model(|| {
        let cell = Arc::new(Cell::new());
        let other = thread::spawn({
            let cell = cell.clone();
            move || cell.register(Waker::noop())
        });
        cell.register(Waker::noop());
        other.join().unwrap();
    });
}

#[test]
#[should_panic = "Causality violation"]
fn two_uses_that_only_the_cell_itself_orders_panic() {
    loom::model(|| {
        let cell = Arc::new(AtomicWaker::new());
        let other = thread::spawn({
            let cell = cell.clone();
            move || cell.take()
        });
        cell.register(Waker::noop());
        other.join().unwrap();
    });
}
