//! Names of participants, and who is missing.

use core::{
    future::Future,
    mem,
    panic::AssertUnwindSafe,
    pin::pin,
    task::{Context, Waker},
};
use std::{
    panic::{catch_unwind, panic_any},
    sync::{Arc, Mutex},
    task::Wake,
};

use atomic_barrier::{Phaser, phaser::Participant};
use futures::executor::block_on;

use support::{
    phasers::numbers,
    polling::{Outcome::*, poll},
};

/// A phaser with participants of these names, in their order.
fn named<const N: usize>(names: [&str; N]) -> (Phaser, [Participant; N]) {
    let phaser = Phaser::new();
    let participants = names.map(|name| phaser.register().unwrap().named(name));
    (phaser, participants)
}

/// The names of those that are missing, in alphabetical order.
fn missing(phaser: &Phaser) -> String {
    let mut names = phaser.missing();
    names.sort();
    names.join(" ")
}

#[test]
fn named_participants_are_missing_until_they_arrive_in_each_phase() {
    let (phaser, [mut a, mut b, mut c]) = named(["a", "b", "c"]);
    for phase in 0..5 {
        assert_eq!(missing(&phaser), "a b c");
        assert_eq!(b.arrive(), Ok(phase));
        assert_eq!(missing(&phaser), "a c");
        let mut wait = a.wait();
        assert_eq!(missing(&phaser), "a c");
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        assert_eq!(missing(&phaser), "c");
        assert_eq!(poll(&mut c.wait(), Waker::noop()), Led(phase));
        // They owe the next phase, whether or not they know that this one is over.
        assert_eq!(missing(&phaser), "a b c");
        assert_eq!(poll(&mut wait, Waker::noop()), Released(phase));
    }
}

#[test]
fn participants_without_a_name_are_counted_and_not_listed() {
    let (phaser, [mut a, _b]) = named(["a", "b"]);
    let mut unnamed = phaser.register_many(3).unwrap();
    unnamed[0].arrive().unwrap();
    a.arrive().unwrap();
    assert_eq!(missing(&phaser), "b");
    assert_eq!(phaser.parties() - phaser.arrived(), 3);
    assert_eq!((a.name(), unnamed[0].name()), (Some("a"), None));
}

#[test]
fn a_wait_that_withdraws_is_missing_again() {
    let (phaser, [mut a, b]) = named(["a", "b"]);
    for _ in 0..3 {
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        assert_eq!(missing(&phaser), "b");
        drop(wait);
        assert_eq!(missing(&phaser), "a b");
    }
    // An arrival that is not the wait's stays.
    a.arrive().unwrap();
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Pending);
    assert_eq!(missing(&phaser), "b");
    // So does one that is leaked.
    let (phaser, [mut c, _d]) = named(["c", "d"]);
    let mut wait = c.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    mem::forget(wait);
    assert_eq!(missing(&phaser), "d");
    drop(b);
}

#[cfg(feature = "std")]
#[test]
fn a_thread_that_has_timed_out_is_missing_again() {
    use core::time::Duration;
    let (phaser, [mut a, mut b]) = named(["a", "b"]);
    a.wait_blocking_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(missing(&phaser), "a b");
    a.arrive().unwrap();
    a.wait_blocking_timeout(Duration::ZERO).unwrap_err();
    assert_eq!(missing(&phaser), "b");
    assert!(b.wait_blocking().unwrap().is_leader());
    assert_eq!(missing(&phaser), "a b");
    // A thread that blocks has arrived.
    let blocked = std::thread::spawn(move || b.wait_blocking());
    while phaser.arrived() == 0 || missing(&phaser) != "a" {
        std::thread::yield_now();
    }
    assert_eq!(a.arrive(), Ok(1));
    blocked.join().unwrap().unwrap();
}

#[test]
fn a_participant_that_leaves_is_not_missing_and_its_slot_serves_another() {
    let (phaser, [a, b, mut c]) = named(["a", "b", "c"]);
    drop(a);
    assert_eq!(missing(&phaser), "b c");
    c.arrive().unwrap();
    b.leave();
    assert_eq!((missing(&phaser), phaser.phase()), ("c".into(), 1));
    for phase in 1..100 {
        let [mut first, other] =
            ["first", "other"].map(|name| phaser.register().unwrap().named(name));
        assert_eq!(phaser.missing().len(), 3);
        first.arrive().unwrap();
        drop(first);
        assert_eq!(phaser.missing().len(), 2);
        c.arrive().unwrap();
        assert_eq!((missing(&phaser), phaser.phase()), ("other".into(), phase));
        drop(other);
        assert_eq!(missing(&phaser), "c");
    }
}

#[test]
fn nobody_is_missing_in_a_phase_that_is_complete_or_held() {
    let (phaser, [mut a, b, mut c]) = named(["a", "b", "c"]);
    c.arrive().unwrap();
    {
        let mut wait = pin!(a.wait_leader());
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(cx).is_pending());
        b.leave();
        assert_eq!(
            (numbers(&phaser), missing(&phaser)),
            ((0, 2, 2), String::new())
        );
        let leader = wait.poll(cx);
        assert_eq!(
            (numbers(&phaser), missing(&phaser)),
            ((0, 2, 2), String::new())
        );
        // They belong to the next phase, in which the leader has not arrived either.
        let [mut early, _late] =
            ["early", "late"].map(|name| phaser.register().unwrap().named(name));
        early.arrive().unwrap();
        assert_eq!(missing(&phaser), "");
        drop(leader);
        assert_eq!(missing(&phaser), "a c late");
    }
    assert_eq!(missing(&phaser), "a c");
}

#[test]
fn the_action_of_a_phase_finds_nobody_missing() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let this = Arc::new(Mutex::new(None::<Phaser>));
    let phaser = Phaser::builder()
        .on_phase({
            let (this, seen) = (this.clone(), seen.clone());
            move |_, _| {
                let this = this.lock().unwrap();
                seen.lock().unwrap().push(missing(this.as_ref().unwrap()));
            }
        })
        .build();
    *this.lock().unwrap() = Some(phaser.clone());
    let [mut a, b] = ["a", "b"].map(|name| phaser.register().unwrap().named(name));
    a.arrive().unwrap();
    // A departure runs it, too.
    drop(b);
    assert_eq!(missing(&phaser), "a");
    a.arrive().unwrap();
    assert_eq!(missing(&phaser), "a");
    assert_eq!(*seen.lock().unwrap(), ["", ""]);
    *this.lock().unwrap() = None;
}

#[test]
fn another_name_replaces_the_first_wherever_the_participant_is() {
    let (phaser, [mut a, mut b]) = named(["a", "b"]);
    a = a.named("x").named("y");
    assert_eq!((a.name(), missing(&phaser)), (Some("y"), "b y".into()));
    a.arrive().unwrap();
    a = a.named("arrived");
    assert_eq!(missing(&phaser), "b");
    // Also one that did not have any.
    let mut c = phaser.register().unwrap();
    c.arrive().unwrap();
    c = c.named("c");
    assert_eq!(missing(&phaser), "b");
    b.arrive().unwrap();
    assert_eq!(missing(&phaser), "arrived b c");
    // It has not seen the end of its phase, and owes the next.
    a = a.named("late");
    assert_eq!(missing(&phaser), "b c late");
    // A leader that was leaked, which has not arrived in the next phase.
    for participant in [&mut a, &mut b] {
        participant.arrive().unwrap();
    }
    assert!(!block_on(c.wait()).unwrap().is_leader());
    mem::forget(block_on(c.wait_leader()).unwrap());
    c = c.named("leads");
    assert_eq!(
        (numbers(&phaser), missing(&phaser)),
        ((1, 3, 3), String::new())
    );
    a.arrive().unwrap();
    drop(b);
    c.arrive().unwrap();
    assert_eq!(
        (numbers(&phaser), missing(&phaser)),
        ((2, 2, 1), "late".into())
    );
}

#[test]
fn a_closed_phaser_says_who_was_missing() {
    let (phaser, [mut a, mut b, mut c]) = named(["a", "b", "c"]);
    a.arrive().unwrap();
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    phaser.close();
    assert_eq!(missing(&phaser), "c");
    c.arrive().unwrap_err();
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Refused);
    assert_eq!(missing(&phaser), "c");
    drop(wait);
    assert_eq!(missing(&phaser), "b c");
    // A refusal after the end of a phase changes nothing.
    let (phaser, [mut a, mut b]) = named(["a", "b"]);
    for participant in [&mut a, &mut b] {
        participant.arrive().unwrap();
    }
    phaser.close();
    for participant in [&mut a, &mut b] {
        participant.arrive().unwrap_err();
    }
    assert_eq!(
        (numbers(&phaser), missing(&phaser)),
        ((1, 2, 0), "a b".into())
    );
}

#[test]
fn a_panic_in_the_making_of_a_name_drops_the_participant() {
    struct Panics;

    impl From<Panics> for Arc<str> {
        fn from(Panics: Panics) -> Self {
            panic_any("no name")
        }
    }

    let (phaser, [a, mut b]) = named(["a", "b"]);
    let panic = catch_unwind(AssertUnwindSafe(|| a.named(Panics))).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"no name"));
    assert_eq!((missing(&phaser), phaser.parties()), ("b".into(), 1));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
}

#[test]
fn names_are_freed_when_they_are_replaced_and_when_their_participants_leave() {
    let phaser = Phaser::new();
    let [first, second] = ["first", "second"].map(Arc::<str>::from);
    let held = || [&first, &second].map(|name| Arc::strong_count(name) - 1);
    let a = phaser.register().unwrap().named(first.clone());
    assert_eq!(held(), [1, 0]);
    let missing = phaser.missing();
    // The same string, and no copy.
    assert!(Arc::ptr_eq(&missing[0], &first));
    let a = a.named(second.clone());
    drop(missing);
    assert_eq!(held(), [0, 1]);
    drop(a);
    assert_eq!(held(), [0, 0]);
    let _b = phaser.register().unwrap().named(first.clone());
    assert_eq!(held(), [1, 0]);
}

#[test]
fn a_phaser_prints_the_first_few_that_are_missing() {
    let (phaser, [a, b]) = named(["a", "b"]);
    let print = |missing| {
        format!(
            "Phaser {{ phase: 0, parties: 2, arrived: 0, closed: false, missing: [{missing}], .. }}"
        )
    };
    assert_eq!(format!("{phaser:?}"), print("\"a\", \"b\""));
    assert_eq!(
        format!("{a:?}"),
        format!("Participant {{ name: \"a\", phase: 0, phaser: {phaser:?}, .. }}")
    );
    drop((a, b));
    let mut many: Vec<_> = (0..9)
        .map(|i| phaser.register().unwrap().named(i.to_string()))
        .collect();
    let eight = (0..8).map(|i| format!("\"{i}\"")).collect::<Vec<_>>();
    let eight = eight.join(", ");
    assert!(format!("{phaser:?}").ends_with(&format!("missing: [{eight}, ..], .. }}")));
    many.pop();
    assert!(format!("{phaser:?}").ends_with(&format!("missing: [{eight}], .. }}")));
    many.clear();
    assert!(format!("{phaser:?}").ends_with("closed: false, .. }"));
}

#[test]
fn an_arrival_is_noted_also_if_the_waker_that_it_replaces_panics() {
    struct PanicsWhenDropped;

    impl Wake for PanicsWhenDropped {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic_any("dropped");
        }
    }

    let (phaser, [mut x, mut y]) = named(["x", "y"]);
    let waker = Waker::from(Arc::new(PanicsWhenDropped));
    let mut wait = x.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    // The slot has the last clone.
    drop(waker);
    y.arrive().unwrap();
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    drop(wait);
    let mut wait = x.wait();
    let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut wait, Waker::noop())));
    assert!(panic.is_err());
    assert_eq!((phaser.arrived(), &missing(&phaser)[..]), (1, "y"));
}
