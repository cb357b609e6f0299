//! What a phaser allocates and keeps, counted by the allocator and by the wakers.

use core::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Waker},
};
use std::sync::Arc;

use atomic_barrier::{Phaser, phaser::Participant};

use support::counting_allocator::{ALLOCATIONS, allocations_in, live_bytes_after};
use support::phasers::{numbers, participants};
use support::polling::{CountingWaker, Outcome::*, poll};

/// One phase, led by the last, with every wait dropped and made again before the next arrives.
fn phase(participants: &mut [Participant], wakers: [&Waker; 2]) {
    let (last, others) = participants.split_last_mut().unwrap();
    for participant in &mut *others {
        for waker in wakers {
            assert_eq!(poll(&mut participant.wait(), waker), Pending);
        }
        let mut wait = participant.wait();
        assert_eq!(poll(&mut wait, wakers[0]), Pending);
        mem::forget(wait);
    }
    assert!(matches!(poll(&mut last.wait(), wakers[0]), Led(_)));
    for participant in others {
        assert!(matches!(
            poll(&mut participant.wait(), wakers[1]),
            Released(_)
        ));
    }
}

#[test]
fn a_warm_phase_allocates_nothing_whatever_the_wakers() {
    for n in [1, 2, 64, 1000] {
        let phaser = Phaser::new();
        let mut participants = phaser.register_many(n).unwrap();
        let wakers = [(); 4].map(|()| CountingWaker::new());
        phase(&mut participants, [&wakers[0], &wakers[1]]);
        for i in 0..8 {
            let pair = [&*wakers[i % 4], &*wakers[(i + 1) % 4]];
            let allocations = allocations_in(|| phase(&mut participants, pair));
            assert_eq!(allocations, 0, "for {n}");
        }
        assert_eq!(numbers(&phaser), (9, n, 0));
    }
}

#[test]
fn a_warm_phase_on_a_runtime_allocates_nothing() {
    let phaser = Phaser::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let participants = phaser.register_many(8).unwrap();
    let tasks = participants.into_iter().map(|mut participant| {
        runtime.spawn(async move {
            let mut before = 0;
            for phase in 0..1000 {
                assert_eq!(participant.wait().await.unwrap().phase(), phase);
                if phase == 10 {
                    before = ALLOCATIONS.get();
                }
            }
            assert_eq!(ALLOCATIONS.get(), before);
            participant
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for task in tasks {
        runtime.block_on(task).unwrap().leave();
    }
}

#[test]
fn participants_that_register_and_leave_allocate_nothing_once_warm() {
    let (phaser, [mut stays]) = participants();
    let mut others = Vec::with_capacity(20);
    let waker = CountingWaker::new();
    let mut phase = |number| {
        for _ in 0..20 {
            others.push(phaser.register().unwrap());
        }
        for other in &mut others {
            assert_eq!(poll(&mut other.wait(), &waker), Pending);
            assert_eq!(other.arrive(), Ok(number));
        }
        assert_eq!(poll(&mut stays.wait(), &waker), Led(number));
        // In another order than they came.
        others.rotate_left(7);
        others.clear();
    };
    phase(0);
    let allocations = allocations_in(|| (1..100).for_each(&mut phase));
    assert_eq!(allocations, 0);
    // It led every phase, and so never left its waker.
    assert_eq!((waker.clones(), waker.wakes()), (0, 0));
}

#[test]
fn names_are_not_copied_and_their_slots_are_used_again() {
    let (phaser, [mut stays]) = participants();
    let names = [(); 20].map(|()| Arc::<str>::from("leaves"));
    let mut others = Vec::with_capacity(20);
    let mut phase = |number| {
        for name in &names {
            let other = phaser.register().unwrap();
            others.push(other.named(name.clone()).named(name.clone()));
        }
        for other in &mut others {
            assert_eq!(poll(&mut other.wait(), Waker::noop()), Pending);
            assert_eq!(other.arrive(), Ok(number));
        }
        assert_eq!(stays.arrive(), Ok(number));
        others.rotate_left(7);
        others.clear();
    };
    phase(0);
    let allocations = allocations_in(|| (1..100).for_each(&mut phase));
    assert_eq!(allocations, 0);
    assert_eq!(names.each_ref().map(Arc::strong_count), [1; 20]);
}

#[test]
fn observers_that_register_and_leave_allocate_nothing_once_warm() {
    let (phaser, [mut participant]) = participants();
    let waker = CountingWaker::new();
    let mut observe = |phase| {
        let mut observations = [(); 5].map(|()| phaser.observe(phase));
        for observation in &mut observations {
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(observation).poll(&mut cx).is_pending());
        }
        let [_, leaked, ..] = observations;
        mem::forget(leaked);
        participant.arrive().unwrap();
    };
    observe(0);
    let allocations = allocations_in(|| (1..100).for_each(&mut observe));
    assert_eq!((allocations, waker.clones()), (0, 0));
    assert_eq!(waker.wakes(), 5 * 100);
}

#[test]
fn nothing_is_left_of_a_phaser_whatever_became_of_its_waits() {
    let wakers = [(); 4].map(|()| CountingWaker::new());
    let live_bytes = live_bytes_after(|| {
        let (phaser, [mut a, mut b, mut c, mut d]) = participants();
        for phase in 0..100 {
            let mut wait = a.wait();
            assert_eq!(poll(&mut wait, &wakers[phase % 4]), Pending);
            mem::forget(wait);
            assert_eq!(poll(&mut b.wait(), &wakers[1]), Pending);
            assert_eq!(
                (b.arrive(), c.arrive()),
                (Ok(phase as u64), Ok(phase as u64))
            );
            let mut wait = c.wait();
            assert_eq!(poll(&mut wait, &wakers[2]), Pending);
            assert_eq!(poll(&mut d.wait(), &wakers[3]), Led(phase as u64));
            assert_eq!(poll(&mut wait, &wakers[2]), Released(phase as u64));
            drop(wait);
            for participant in [&mut a, &mut b] {
                let outcome = poll(&mut participant.wait(), &wakers[0]);
                assert_eq!(outcome, Released(phase as u64));
            }
        }
        // In the middle of a phase.
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &wakers[0]), Pending);
        mem::forget(wait);
        let _ = poll(&mut b.wait(), &wakers[1]);
        drop((phaser, b, d, a, c));
    });
    assert_eq!(live_bytes, 0);
    assert_eq!(wakers.each_ref().map(CountingWaker::clones), [0; 4]);
}
