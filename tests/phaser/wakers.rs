//! Wakers of a phaser's participants: changing, shared, panicking, and running the phaser's code themselves.

use core::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    task::{Context, Poll, Waker},
};
use std::{
    sync::{Arc, Mutex},
    task::Wake,
};

use atomic_barrier::{
    Phaser,
    phaser::{Participant, Wait},
};

use support::{
    custom_clone::{unclonable_waker, waker_with_clone},
    custom_wake::{panic_of, waker_that},
    phasers::{numbers, participants},
    polling::{CountingWaker, Outcome, Outcome::*, poll},
};

/// A participant and its wait, for wakers that poll.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<Wait<'static>>>>);

impl Shared {
    fn new(participant: Participant) -> Self {
        let wait = Box::leak(Box::new(participant)).wait();
        Self(Arc::new(Mutex::new(Some(wait))))
    }

    fn poll(&self, waker: &Waker) -> Outcome {
        poll(self.0.lock().unwrap().as_mut().unwrap(), waker)
    }
}

/// A waker that panics the first time it is woken.
fn panicking_waker() -> Waker {
    let woken = AtomicBool::new(false);
    waker_that(move || {
        if !woken.swap(true, Ordering::Relaxed) {
            panic!("in wake");
        }
    })
}

fn wakes<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::wakes)
}

fn held<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::clones)
}

// Changing.

#[test]
fn only_the_last_waker_is_woken() {
    let (phaser, [mut a, mut b]) = participants();
    let wakers = [(); 5].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    for waker in &wakers {
        assert_eq!(poll(&mut wait, waker), Pending);
        assert_eq!(poll(&mut wait, waker), Pending);
        assert_eq!(
            (held(&wakers).iter().sum(), numbers(&phaser)),
            (1, (0, 2, 1))
        );
    }
    assert_eq!(poll(&mut b.wait(), &wakers[0]), Led(0));
    assert_eq!(wakes(&wakers), [0, 0, 0, 0, 1]);
    assert_eq!(poll(&mut wait, &wakers[1]), Released(0));
}

#[test]
fn a_participant_may_come_with_another_waker_in_each_phase() {
    let (_phaser, [mut a, mut b]) = participants();
    let wakers = [(); 7].map(|()| CountingWaker::new());
    for (phase, waker) in wakers.iter().enumerate() {
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, waker), Pending);
        assert_eq!(
            (held(&wakers).iter().sum::<usize>(), waker.clones()),
            (1, 1)
        );
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(phase as u64));
        assert_eq!(poll(&mut wait, waker), Released(phase as u64));
    }
    assert_eq!(wakes(&wakers), [1; 7]);
}

#[test]
fn one_waker_may_stand_for_many_participants() {
    let (_phaser, [mut a, mut b, mut c, mut d]) = participants();
    let waker = CountingWaker::new();
    for phase in 0..3 {
        let mut waits = [&mut a, &mut b, &mut c].map(Participant::wait);
        for wait in &mut waits {
            assert_eq!(poll(wait, &waker), Pending);
        }
        assert_eq!(poll(&mut d.wait(), &waker), Led(phase));
        assert_eq!(waker.wakes() as u64, 3 * (phase + 1));
        for wait in &mut waits {
            assert_eq!(poll(wait, &waker), Released(phase));
        }
    }
}

#[test]
fn wakers_go_with_their_participants_and_with_the_phaser() {
    let (phaser, [mut a, mut b, mut c, missing]) = participants();
    let wakers = [(); 3].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &wakers[0]), Pending);
    // Dropped in the middle, at the end, and leaked.
    drop(wait);
    drop(a);
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, &wakers[1]), Pending);
    let mut leaked = c.wait();
    assert_eq!(poll(&mut leaked, &wakers[2]), Pending);
    core::mem::forget(leaked);
    missing.leave();
    assert_eq!(poll(&mut wait, &wakers[1]), Led(0));
    drop(wait);
    drop(b);
    assert_eq!(held(&wakers), [0, 0, 1]);
    core::mem::forget(c);
    drop(phaser);
    // That of a participant that was leaked stays with it.
    assert_eq!(held(&wakers), [0, 0, 1]);
}

// Panics out of `wake`.

/// What completes a phase, for the last participant and the phaser.
type Completion = fn(Participant, &Phaser);

const COMPLETIONS: [Completion; 5] = [
    |mut last, _| _ = poll(&mut last.wait(), Waker::noop()),
    |mut last, _| _ = last.arrive(),
    |last, _| last.leave(),
    |mut last, _| {
        let wait = Pin::new(&mut last.wait_leader()).poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Ok(Some(leader))) = wait else {
            panic!("{wait:?} instead of a leader");
        };
        leader.release();
    },
    |_last, phaser| phaser.close(),
];

#[test]
fn a_panic_in_wake_comes_out_of_the_call_after_all_are_woken() {
    for complete in COMPLETIONS {
        for place in 0..4 {
            let phaser = Phaser::new();
            let [mut a, mut b, mut c, mut d, last] = [(); 5].map(|()| phaser.register().unwrap());
            let panicking = panicking_waker();
            let counting = [(); 4].map(|()| CountingWaker::new());
            let waker = |i: usize| -> &Waker { if i == place { &panicking } else { &counting[i] } };
            let mut waits = [&mut a, &mut b, &mut c, &mut d].map(Participant::wait);
            for (i, wait) in waits.iter_mut().enumerate() {
                assert_eq!(poll(wait, waker(i)), Pending);
            }
            let observer = CountingWaker::new();
            let mut observation = phaser.observe(0);
            let mut cx = Context::from_waker(&observer);
            assert!(Pin::new(&mut observation).poll(&mut cx).is_pending());

            assert_eq!(panic_of(|| complete(last, &phaser)), "in wake");
            let expected = [0, 1, 2, 3].map(|i| usize::from(i != place));
            assert_eq!(wakes(&counting), expected);
            assert!(
                waits
                    .iter_mut()
                    .all(|wait| poll(wait, Waker::noop()) != Pending)
            );
            assert_eq!(observer.wakes(), 1);
        }
    }
}

#[test]
fn a_leader_whose_wakes_panicked_has_led() {
    let (phaser, [mut a, mut b]) = participants();
    // By `wait`, dropped then, and by `arrive`.
    for phase in [0, 1] {
        let waker = panicking_waker();
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        let completes = || match phase {
            0 => assert_eq!(poll(&mut b.wait(), Waker::noop()), Pending),
            _ => assert_eq!(b.arrive(), Ok(0)),
        };
        assert_eq!(panic_of(completes), "in wake");
        assert_eq!(numbers(&phaser), (phase + 1, 2, 0));
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(phase));
        assert_eq!(poll(&mut wait, &waker), Released(phase));
    }
}

#[test]
fn a_panic_in_the_observers_wake_comes_out_after_all_are_woken() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let panicking = panicking_waker();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    let mut observations = [0, 0].map(|phase| phaser.observe(phase));
    let wakers: [&Waker; 2] = [&panicking, &waker];
    for (observation, waker) in observations.iter_mut().zip(wakers) {
        let mut cx = Context::from_waker(waker);
        assert!(Pin::new(observation).poll(&mut cx).is_pending());
    }
    assert_eq!(panic_of(|| b.arrive()), "in wake");
    assert_eq!((waker.wakes(), numbers(&phaser)), (2, (1, 2, 0)));
    assert_eq!(poll(&mut wait, &waker), Released(0));
}

/// Without the feature `std` nothing can keep the first panic back, and the second aborts.
#[cfg(feature = "std")]
#[test]
fn a_participant_that_panics_may_wake_another_that_panics() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let waker = CountingWaker::new();
    let panicking = panicking_waker();
    let (mut wait, mut other) = (a.wait(), b.wait());
    assert_eq!(poll(&mut wait, &panicking), Pending);
    assert_eq!(poll(&mut other, &waker), Pending);
    let message = panic_of(|| {
        let _missing = missing;
        panic!("in its part")
    });
    assert_eq!(message, "in its part");
    assert_eq!((numbers(&phaser), waker.wakes()), ((0, 2, 2), 1));
    assert_eq!(poll(&mut other, &waker), Led(0));
}

// Panics out of `clone`.

#[test]
fn a_panic_in_clone_on_the_first_poll_counts_for_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    for _ in 0..3 {
        let message = panic_of(|| poll(&mut wait, &unclonable_waker()));
        assert_eq!(
            (message, numbers(&phaser)),
            ("no clone of this waker", (0, 2, 0))
        );
    }
    assert_eq!(poll(&mut wait, &waker), Pending);
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 1);
    assert_eq!(poll(&mut wait, &waker), Released(0));
}

#[test]
fn a_panic_in_clone_on_a_later_poll_loses_nothing() {
    let (phaser, [mut a, mut b, mut c]) = participants();
    let [first, last] = [(); 2].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    let mut other = b.wait();
    assert_eq!(poll(&mut wait, &first), Pending);
    assert_eq!(poll(&mut other, &last), Pending);
    let unclonable = unclonable_waker();
    let messages = [
        panic_of(|| poll(&mut wait, &unclonable)),
        panic_of(|| poll(&mut other, &unclonable)),
    ];
    assert_eq!(messages, ["no clone of this waker"; 2]);
    assert_eq!(numbers(&phaser), (0, 3, 2));
    // One is dropped, and withdraws its arrival as ever; the other is woken through its waker from before.
    drop(other);
    assert_eq!(numbers(&phaser), (0, 3, 1));
    assert_eq!((b.arrive(), c.arrive()), (Ok(0), Ok(0)));
    assert_eq!([first.wakes(), last.wakes()], [1, 0]);
    assert_eq!(poll(&mut wait, &first), Released(0));
}

#[test]
fn a_phase_completed_while_a_waker_is_cloned_is_the_one_waited_for() {
    for later in [false, true] {
        let (phaser, [mut a, b, missing]) = participants();
        let waker = CountingWaker::new();
        let other = Shared::new(b);
        let left = Arc::new(Mutex::new(Some(missing)));
        let mut wait = a.wait();
        if later {
            assert_eq!(poll(&mut wait, &waker), Pending);
        }
        assert_eq!(other.poll(Waker::noop()), Pending);
        let clone = Waker::clone(&waker);
        let slow = {
            let other = other.clone();
            waker_with_clone(move || {
                // The others go on as far as they can, whichever have arrived.
                drop(left.lock().unwrap().take());
                other.poll(Waker::noop());
                clone.clone()
            })
        };
        let outcome = poll(&mut wait, &slow);
        if later {
            assert_eq!(outcome, Released(0));
        } else {
            assert_eq!(outcome, Led(0));
            assert_eq!(other.poll(Waker::noop()), Released(0));
        }
        assert_eq!(numbers(&phaser), (1, 2, 0));
    }
}

/// A waker whose last clone panics when it is dropped.
fn undroppable_waker() -> Waker {
    struct Panics;

    impl Wake for Panics {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in drop");
        }
    }

    Arc::new(Panics).into()
}

/// A participant that has left an undroppable waker in its slot, in phase 1; and a waker whose clone lets
/// the other participant arrive.
fn about_to_replace() -> (Phaser, Participant, Waker) {
    let (phaser, [mut a, mut b]) = participants();
    let waker = undroppable_waker();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    b.arrive().unwrap();
    assert_eq!(poll(&mut wait, &waker), Released(0));
    drop(wait);
    let other = Mutex::new(b);
    let waker = waker_with_clone(move || {
        other.lock().unwrap().arrive().unwrap();
        Waker::noop().clone()
    });
    (phaser, a, waker)
}

#[test]
fn a_leader_that_panics_in_the_drop_of_a_replaced_waker_leads_when_it_is_polled_again() {
    let (phaser, mut a, waker) = about_to_replace();
    let mut wait = a.wait_leader();
    let mut context = Context::from_waker(&waker);
    let message = panic_of(|| Pin::new(&mut wait).poll(&mut context).is_ready());
    assert_eq!((message, numbers(&phaser)), ("in drop", (1, 2, 2)));
    let Poll::Ready(Ok(Some(leader))) = Pin::new(&mut wait).poll(&mut context) else {
        panic!("the section is lost");
    };
    assert_eq!(leader.phase(), 1);
    leader.release();
    assert_eq!(numbers(&phaser), (2, 2, 0));
}

#[test]
fn a_leader_that_panics_in_the_drop_of_a_replaced_waker_releases_when_it_is_dropped() {
    let (phaser, mut a, waker) = about_to_replace();
    let mut wait = a.wait_leader();
    let mut context = Context::from_waker(&waker);
    let message = panic_of(|| Pin::new(&mut wait).poll(&mut context).is_ready());
    assert_eq!((message, numbers(&phaser)), ("in drop", (1, 2, 2)));
    drop(wait);
    assert_eq!(numbers(&phaser), (2, 2, 0));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Led(1));
}

#[test]
fn a_plain_wait_that_panics_in_the_drop_of_a_replaced_waker_has_led() {
    let (phaser, mut a, waker) = about_to_replace();
    let mut wait = a.wait();
    assert_eq!(panic_of(|| poll(&mut wait, &waker)), "in drop");
    assert_eq!(numbers(&phaser), (2, 2, 0));
    assert_eq!(poll(&mut wait, Waker::noop()), Led(1));
}

// Wakers that use the phaser.

#[test]
fn a_waker_may_poll_another_task() {
    // First to be woken, and last.
    for order in [[0, 1], [1, 0]] {
        let (phaser, [a, b, mut c]) = participants();
        let shared = [a, b].map(Shared::new);
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let counting = CountingWaker::new();
        let [polled, polls] = order.map(|i| shared[i].clone());
        let inline = {
            let (polled, outcomes) = (polled.clone(), outcomes.clone());
            waker_that(move || {
                outcomes.lock().unwrap().push(polled.poll(Waker::noop()));
            })
        };
        assert_eq!(polled.poll(&counting), Pending);
        assert_eq!(polls.poll(&inline), Pending);
        assert_eq!(poll(&mut c.wait(), Waker::noop()), Led(0));
        assert_eq!(*outcomes.lock().unwrap(), [Released(0)]);
        assert_eq!(polls.poll(Waker::noop()), Released(0));
        assert_eq!((numbers(&phaser), counting.wakes()), ((1, 3, 0), 1));
    }
}

#[test]
fn a_waker_may_go_on_to_the_next_phase() {
    let (phaser, [mut a, b, c, mut d]) = participants();
    let counting = [(); 2].map(|()| CountingWaker::new());
    let b = Arc::new(Mutex::new(b));
    let kept = Arc::new(Mutex::new(c));
    let fresh = CountingWaker::new();
    let inline = {
        let (b, fresh) = (b.clone(), Waker::clone(&fresh));
        waker_that(move || {
            // Of the next phase, with a waker of its own, while the leader of this one wakes.
            let mut b = b.lock().unwrap();
            let _ = poll(&mut b.wait(), Waker::noop());
            let mut wait = b.wait();
            assert_eq!(poll(&mut wait, &fresh), Pending);
            core::mem::forget(wait);
        })
    };
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &inline), Pending);
    {
        let mut b = b.lock().unwrap();
        let mut wait = b.wait();
        assert_eq!(poll(&mut wait, &counting[0]), Pending);
        core::mem::forget(wait);
    }
    let mut c = kept.lock().unwrap();
    let mut other = c.wait();
    assert_eq!(poll(&mut other, &counting[1]), Pending);

    assert_eq!(poll(&mut d.wait(), Waker::noop()), Led(0));
    assert_eq!((numbers(&phaser), fresh.wakes()), ((1, 4, 1), 0));
    assert_eq!(counting[1].wakes(), 1);
    // Its former waker went when nobody was reading it any more.
    assert_eq!((counting[0].clones(), fresh.clones()), (0, 2));
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    assert_eq!(poll(&mut other, Waker::noop()), Released(0));
    drop((wait, other));
    assert_eq!((a.arrive(), c.arrive(), d.arrive()), (Ok(1), Ok(1), Ok(1)));
    assert_eq!((numbers(&phaser), fresh.wakes()), ((2, 4, 0), 1));
    assert_eq!(
        poll(&mut b.lock().unwrap().wait(), Waker::noop()),
        Released(1)
    );
}

#[test]
fn a_waker_may_join_leave_and_close() {
    let phaser = Phaser::new();
    let [mut a, mut b, mut c, leaves] = [(); 4].map(|()| phaser.register().unwrap());
    let counting = CountingWaker::new();
    let kept = Arc::new(Mutex::new(vec![leaves]));
    let inline = {
        let (phaser, kept) = (phaser.clone(), kept.clone());
        waker_that(move || {
            let mut kept = kept.lock().unwrap();
            kept.clear();
            kept.extend(phaser.register_many(20).unwrap());
            phaser.close();
        })
    };
    kept.lock().unwrap()[0].arrive().unwrap();
    let (mut wait, mut other) = (a.wait(), b.wait());
    assert_eq!(poll(&mut wait, &inline), Pending);
    assert_eq!(poll(&mut other, &counting), Pending);
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Led(0));
    assert_eq!((numbers(&phaser), counting.wakes()), ((1, 23, 0), 1));
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    assert_eq!(poll(&mut other, Waker::noop()), Released(0));
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Refused);
}

#[test]
fn a_waker_that_is_dropped_may_use_the_phaser() {
    struct OnDrop(Phaser);

    impl Wake for OnDrop {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for OnDrop {
        fn drop(&mut self) {
            let mut participant = self.0.register().unwrap();
            participant.arrive().unwrap();
        }
    }

    let (phaser, [mut a, mut b]) = participants();
    let waker = Waker::from(Arc::new(OnDrop(phaser.clone())));
    let counting = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    drop(waker);
    // Replaced.
    assert_eq!(poll(&mut wait, &counting), Pending);
    assert_eq!(numbers(&phaser), (0, 2, 1));
    assert_eq!(b.arrive(), Ok(0));
    assert_eq!(counting.wakes(), 1);
    // Left behind.
    let waker = Waker::from(Arc::new(OnDrop(phaser.clone())));
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, &waker), Led(0));
    drop(wait);
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    drop((wait, waker));
    b.leave();
    assert_eq!(numbers(&phaser), (1, 1, 0));
}

#[test]
fn a_participant_that_changes_its_waker_in_each_wake_is_not_woken_without_end() {
    /// As an executor that polls within `wake`, and gives each poll a waker of its own.
    struct Polls(Shared, u32);

    impl Wake for Polls {
        fn wake(self: Arc<Self>) {
            self.wake_by_ref();
        }

        fn wake_by_ref(self: &Arc<Self>) {
            assert!(self.1 < 100, "woken again and again by one departure");
            let another = Arc::new(Self(self.0.clone(), self.1 + 1));
            assert_eq!(self.0.poll(&another.into()), Pending);
        }
    }

    let (phaser, [leader, participant, missing]) = participants();
    let wait = Arc::new(Mutex::new(Box::leak(Box::new(leader)).wait_leader()));
    let held = Arc::new(Mutex::new(None));
    // In the first slot: it is woken first, leads at once, and holds the release.
    let lead = waker_that({
        let (wait, held) = (wait.clone(), held.clone());
        move || {
            let mut context = Context::from_waker(Waker::noop());
            let Poll::Ready(Ok(Some(leader))) =
                Pin::new(&mut *wait.lock().unwrap()).poll(&mut context)
            else {
                panic!("must lead");
            };
            *held.lock().unwrap() = Some(leader);
        }
    });
    let mut context = Context::from_waker(&lead);
    assert!(
        Pin::new(&mut *wait.lock().unwrap())
            .poll(&mut context)
            .is_pending()
    );
    let participant = Shared::new(participant);
    let waker = Waker::from(Arc::new(Polls(participant.clone(), 0)));
    assert_eq!(participant.poll(&waker), Pending);

    missing.leave();
    assert_eq!(participant.poll(Waker::noop()), Pending);
    drop(held.lock().unwrap().take());
    assert_eq!(participant.poll(Waker::noop()), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}
