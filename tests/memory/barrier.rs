//! What the barrier allocates and keeps, counted by the allocator and by the wakers.

use core::{
    future::Future,
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::{
    panic::{catch_unwind, resume_unwind},
    sync::Arc,
    task::Wake,
};

use atomic_barrier::{Barrier, barrier::Wait};
use futures::executor::block_on;
#[cfg(feature = "std")]
use {core::time::Duration, std::thread};

use support::counting_allocator::{ALLOCATIONS, allocations_in, live_bytes_after};
use support::{
    custom_clone::unclonable_waker,
    polling::{CountingWaker, Outcome::*, poll},
};

/// One generation, into and out of a vector that has room.
fn generation<'a>(barrier: &'a Barrier, waits: &mut Vec<Wait<'a>>, waker: &Waker) {
    let number = barrier.generation();
    for _ in 1..barrier.parties() {
        let mut wait = barrier.wait();
        assert_eq!(poll(&mut wait, waker), Pending);
        waits.push(wait);
    }
    assert_eq!(poll(&mut barrier.wait(), waker), Led(number));
    for mut wait in waits.drain(..) {
        assert_eq!(poll(&mut wait, waker), Released(number));
    }
}

/// How many waiters find a slot before one has to make the slab grow, three times over.
fn room(barrier: &Barrier) -> [usize; 3] {
    assert_eq!(barrier.parties(), usize::MAX);
    let waker = CountingWaker::new();
    let mut waits = Vec::with_capacity(10_000);
    [(); 3].map(|()| {
        waits.clear();
        loop {
            let mut wait = barrier.wait();
            let allocations = allocations_in(|| assert_eq!(poll(&mut wait, &waker), Pending));
            if allocations > 0 {
                return waits.len();
            }
            waits.push(wait);
        }
    })
}

/// A barrier that never completes and has its first slots.
fn roomy_barrier() -> Barrier {
    let barrier = Barrier::new(usize::MAX);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Pending);
    barrier
}

fn poll_once<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

fn assert_panics<T>(f: impl FnOnce() -> T) {
    assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
}

#[test]
fn a_new_barrier_allocates_nothing() {
    for n in [0, 1, 2, 1000, usize::MAX] {
        let allocations = allocations_in(|| {
            let barrier = Barrier::new(n);
            drop(barrier.wait());
            assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
        });
        assert_eq!(allocations, 0, "for {n}");
    }
}

#[test]
fn a_barrier_for_one_never_allocates() {
    let barrier = Barrier::new(1);
    let allocations = allocations_in(|| {
        for generation in 0..100 {
            assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(generation));
        }
    });
    assert_eq!(allocations, 0);
}

#[test]
fn memory_goes_with_the_waiters_and_not_with_the_parties() {
    let bytes = |n: usize, waiters: usize| {
        let barrier = Barrier::new(n);
        let mut waits: Vec<_> = (0..waiters).map(|_| barrier.wait()).collect();
        live_bytes_after(|| {
            for wait in &mut waits {
                assert_eq!(poll(wait, Waker::noop()), Pending);
            }
        })
    };
    for waiters in [1, 10, 100] {
        assert_eq!(bytes(usize::MAX, waiters), bytes(waiters + 1, waiters));
        assert!(bytes(usize::MAX, waiters) <= 1000 + 400 * waiters as isize);
    }
}

#[test]
fn a_warm_generation_allocates_nothing() {
    for n in [2, 64, 1000] {
        let barrier = Barrier::new(n);
        let waker = CountingWaker::new();
        let mut waits = Vec::with_capacity(n);
        generation(&barrier, &mut waits, &waker);
        for _ in 0..20 {
            let allocations = allocations_in(|| generation(&barrier, &mut waits, &waker));
            assert_eq!(allocations, 0, "for {n}");
        }
    }
}

#[test]
fn a_warm_generation_on_a_runtime_allocates_nothing() {
    static BARRIER: Barrier = Barrier::new(8);
    async fn party() {
        let mut before = 0;
        for generation in 0..1000 {
            let result = BARRIER.wait().await;
            assert_eq!(result.generation(), generation);
            if generation == 10 {
                before = ALLOCATIONS.get();
            }
        }
        assert_eq!(ALLOCATIONS.get(), before);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let parties: [_; 8] = [(); 8].map(|()| runtime.spawn(party()));
    for party in parties {
        runtime.block_on(party).unwrap();
    }
}

#[test]
fn warm_observers_and_owned_waits_allocate_nothing() {
    let barrier = Arc::new(Barrier::new(2));
    let waker = CountingWaker::new();
    let generation = || {
        let number = barrier.generation();
        let mut observations = [number, number + 1].map(|observed| barrier.observe(observed));
        for observation in &mut observations {
            assert!(poll_once(observation, &waker).is_pending());
        }
        let mut arrival = barrier.clone().arrive_owned();
        assert_eq!(poll(&mut arrival, &waker), Pending);
        let mut wait = barrier.clone().wait_leader_owned();
        let Poll::Ready(Some(leader)) = poll_once(&mut wait, &waker) else {
            panic!("the last to arrive does not lead");
        };
        leader.release();
        assert!(poll_once(&mut observations[0], &waker).is_ready());
        assert_eq!(poll(&mut arrival, &waker), Released(number));
    };
    generation();
    for _ in 0..20 {
        assert_eq!(allocations_in(generation), 0);
    }
    assert_eq!(waker.clones(), 0);
}

#[cfg(feature = "std")]
#[test]
fn a_warm_blocking_wait_allocates_nothing() {
    let barrier = Barrier::new(2);
    let time_out = |barrier: &Barrier| {
        let result = barrier.wait_blocking_timeout(Duration::ZERO);
        assert!(result.is_err());
    };
    time_out(&barrier);
    let party = || {
        let alone = Barrier::new(2);
        time_out(&alone);
        let allocations = allocations_in(|| {
            for _ in 0..1000 {
                time_out(&alone);
            }
            for _ in 0..1000 {
                barrier.wait_blocking();
            }
            for _ in 0..1000 {
                drop(barrier.wait_leader_blocking());
            }
            for _ in 0..1000 {
                barrier.arrive().wait_blocking();
            }
            barrier.observe(2999).wait_blocking();
        });
        assert_eq!(allocations, 0);
    };
    thread::scope(|scope| {
        scope.spawn(party);
        scope.spawn(party);
    });
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 3000));
}

#[test]
fn a_million_generations_with_cancellation_leave_nothing_behind() {
    let barrier = Barrier::new(3);
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let live_bytes = live_bytes_after(|| {
        let mut warm = 0;
        for generation in 0..1_000_000 {
            let [mut a, mut b, mut c] = [(); 3].map(|()| barrier.wait());
            assert_eq!(poll(&mut a, &wa), Pending);
            assert_eq!(poll(&mut b, &wb), Pending);
            drop(a);
            assert_eq!(poll(&mut b, &wa), Pending);
            assert_eq!(poll(&mut c, &wa), Pending);
            assert_eq!(poll(&mut barrier.wait(), &wb), Led(generation));
            // One gets to see it, the other is dropped or leaked before.
            assert_eq!(poll(&mut b, &wb), Released(generation));
            if generation % 2 == 0 {
                mem::forget(c);
            }
            if generation == 0 {
                warm = ALLOCATIONS.get();
            }
        }
        assert_eq!(ALLOCATIONS.get(), warm);
        assert_eq!([wa.wakes(), wb.wakes()], [2_000_000, 0]);
        assert_eq!([wa.clones(), wb.clones()], [0, 0]);
        drop(barrier);
    });
    assert_eq!(live_bytes, 0);
}

#[test]
fn all_clones_of_wakers_go_with_the_barrier() {
    let wakers = [(); 6].map(|()| CountingWaker::new());
    let live_bytes = live_bytes_after(|| {
        let barrier = Barrier::new(4);
        let [mut a, mut b, mut c] = [(); 3].map(|()| barrier.wait());
        for (wait, waker) in [&mut a, &mut b, &mut c].into_iter().zip(&wakers) {
            assert_eq!(poll(wait, waker), Pending);
        }
        drop(a);
        mem::forget(b);
        let mut d = barrier.wait();
        assert_eq!(poll(&mut d, &wakers[3]), Pending);
        assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
        assert_eq!(poll(&mut c, &wakers[2]), Released(0));
        assert!(wakers.iter().all(|waker| waker.clones() == 0));

        // Two that nobody takes out of their slots any more, of a wait and of an arrival.
        let mut e = barrier.wait();
        let mut f = barrier.arrive();
        assert_eq!(poll(&mut e, &wakers[4]), Pending);
        assert_eq!(poll(&mut f, &wakers[5]), Pending);
        mem::forget(e);
        mem::forget(f);
        let held = wakers.each_ref().map(CountingWaker::clones);
        assert_eq!(held, [0, 0, 0, 0, 1, 1]);
    });
    assert_eq!(live_bytes, 0);
    assert_eq!(wakers.each_ref().map(CountingWaker::clones), [0; 6]);
    let wakes = wakers.each_ref().map(CountingWaker::wakes);
    assert_eq!(wakes, [0, 1, 1, 1, 0, 0]);
}

#[test]
fn a_withdrawn_wait_leaves_its_slot() {
    let barrier = roomy_barrier();
    for _ in 0..1000 {
        assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Pending);
    }
    let [first, second, third] = room(&barrier);
    assert!(first > 0);
    // Nothing but free slots, whose number doubles.
    assert_eq!([second, third], [2 * first, 4 * first]);
}

#[test]
fn a_slot_left_free_among_others_is_found_again() {
    let [_, slots, _] = room(&roomy_barrier());
    let barrier = Barrier::new(usize::MAX);
    let mut waits: Vec<_> = (0..slots).map(|_| barrier.wait()).collect();
    for wait in &mut waits {
        assert_eq!(poll(wait, Waker::noop()), Pending);
    }
    let allocations = allocations_in(|| {
        for wait in &mut waits {
            *wait = barrier.wait();
            assert_eq!(poll(wait, Waker::noop()), Pending);
        }
    });
    assert_eq!((allocations, barrier.arrived()), (0, slots));
}

#[test]
fn a_leaked_wait_costs_its_slot_while_its_generation_lasts() {
    let free = room(&roomy_barrier());
    for leaked in 0..=3 {
        let barrier = roomy_barrier();
        for _ in 0..leaked {
            let mut wait = barrier.wait();
            assert_eq!(poll(&mut wait, Waker::noop()), Pending);
            mem::forget(wait);
        }
        assert_eq!(room(&barrier), free.map(|slots| slots - leaked));
    }
}

#[test]
fn a_leaked_wait_costs_nothing_once_its_generation_is_complete() {
    // As many waiters as slots, so that one slot less would show.
    let [_, slots, _] = room(&roomy_barrier());
    let barrier = Barrier::new(slots + 1);
    let mut waits = Vec::with_capacity(slots);
    generation(&barrier, &mut waits, Waker::noop());
    for number in 0..10 {
        let allocations = allocations_in(|| {
            for _ in 0..slots {
                let mut wait = barrier.wait();
                assert_eq!(poll(&mut wait, Waker::noop()), Pending);
                mem::forget(wait);
            }
            assert_eq!(
                poll(&mut barrier.wait(), Waker::noop()),
                Led(1 + 2 * number)
            );
            generation(&barrier, &mut waits, Waker::noop());
        });
        assert_eq!(allocations, 0);
    }
}

#[test]
fn a_clone_that_panics_costs_no_slot() {
    let free = room(&roomy_barrier());
    let unclonable = unclonable_waker();

    let barrier = roomy_barrier();
    assert_panics(|| poll(&mut barrier.wait(), &unclonable));
    assert_eq!(room(&barrier), free);

    let barrier = roomy_barrier();
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_panics(|| poll(&mut wait, &unclonable));
    assert_eq!(room(&barrier), free);

    let barrier = roomy_barrier();
    let mut arrival = barrier.arrive();
    assert_panics(|| poll(&mut arrival, &unclonable));
    assert_eq!(poll(&mut arrival, Waker::noop()), Pending);
    assert_panics(|| poll(&mut arrival, &unclonable));
    drop(arrival);
    assert_eq!(room(&barrier), free);
}

#[test]
fn a_slot_whose_withdrawn_waker_panics_in_drop_is_not_lost() {
    struct PanicsInDrop;

    impl Wake for PanicsInDrop {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            resume_unwind(Box::new("in drop"));
        }
    }

    let free = room(&roomy_barrier());
    let barrier = roomy_barrier();
    let mut wait = barrier.wait();
    let waker = Waker::from(Arc::new(PanicsInDrop));
    assert_eq!(poll(&mut wait, &waker), Pending);
    drop(waker);
    assert_panics(|| drop(wait));
    assert_eq!(room(&barrier), free);
}

#[test]
fn a_slot_that_the_clone_of_a_queued_party_costs_stays_lost_when_generations_complete() {
    let [_, slots, _] = room(&roomy_barrier());
    let barrier = Barrier::new(slots + 1);
    let mut waits = Vec::with_capacity(slots);
    generation(&barrier, &mut waits, Waker::noop());
    let arrive = |count| (0..count).for_each(|_| drop(barrier.arrive()));
    arrive(slots);
    let leader = block_on(barrier.wait_leader()).expect("the last to arrive");
    arrive(slots);
    assert_panics(|| poll(&mut barrier.wait(), &unclonable_waker()));
    leader.release();
    arrive(1);
    assert_eq!(barrier.generation(), 3);
    let mut allocations = [0; 4];
    for allocations in &mut allocations {
        *allocations = allocations_in(|| generation(&barrier, &mut waits, Waker::noop()));
    }
    // One waiter more than slots, once.
    assert_eq!(allocations, [1, 0, 0, 0]);
}
