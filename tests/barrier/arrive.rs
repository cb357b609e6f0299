//! Arrivals that are made apart from their wait: counted at once and for good.

use core::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use std::thread;

use atomic_barrier::barrier::{Barrier, Leader};
use futures::{FutureExt, executor::block_on};

use support::{
    custom_clone::unclonable_waker,
    custom_wake::{panic_of, waker_that},
    polling::{CountingWaker, Outcome::*, poll},
};

fn counts(barrier: &Barrier) -> (usize, u64) {
    (barrier.arrived(), barrier.generation())
}

/// The last to arrive, by `wait_leader`.
fn lead(barrier: &Barrier) -> Leader<'_> {
    match Pin::new(&mut barrier.wait_leader()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Some(leader)) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

#[test]
fn an_arrival_counts_at_once() {
    let barrier = Barrier::new(3);
    let mut arrivals = Vec::new();
    for arrived in 1..3 {
        arrivals.push(barrier.arrive());
        assert_eq!(counts(&barrier), (arrived, 0));
    }
    let waker = CountingWaker::new();
    for arrival in &mut arrivals {
        assert_eq!(poll(arrival, &waker), Pending);
    }
    // Polling adds nothing to it.
    assert_eq!((counts(&barrier), waker.clones()), ((2, 0), 2));
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!((waker.wakes(), waker.clones()), (2, 0));
    for arrival in &mut arrivals {
        assert_eq!(poll(arrival, &waker), Released(0));
    }
}

#[test]
fn a_dropped_arrival_still_counts() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    drop(barrier.arrive());
    assert_eq!(counts(&barrier), (1, 0));
    let mut polled = barrier.arrive();
    assert_eq!(poll(&mut polled, &waker), Pending);
    assert_eq!(waker.clones(), 1);
    drop(polled);
    // Its waker goes, its arrival stays.
    assert_eq!((counts(&barrier), waker.clones()), ((2, 0), 0));

    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!((counts(&barrier), waker.wakes()), ((0, 1), 0));
}

#[test]
fn the_last_arrival_leads_and_releases_the_others_within_the_call() {
    for n in [1, 2, 9, 40] {
        let barrier = Barrier::new(n);
        let wakers: Vec<_> = (0..n - 1).map(|_| CountingWaker::new()).collect();
        for generation in 0..3 {
            let mut waits: Vec<_> = wakers.iter().map(|_| barrier.wait()).collect();
            for (wait, waker) in waits.iter_mut().zip(&wakers) {
                assert_eq!(poll(wait, waker), Pending);
            }
            let mut last = barrier.arrive();
            assert_eq!(counts(&barrier), (0, generation + 1));
            for (wait, waker) in waits.iter_mut().zip(&wakers) {
                assert_eq!(waker.wakes() as u64, generation + 1);
                assert_eq!(waker.clones(), 0);
                assert_eq!(poll(wait, waker), Released(generation));
            }
            assert_eq!(poll(&mut last, &unclonable_waker()), Led(generation));
        }
    }
}

#[test]
fn the_last_arrival_may_be_dropped_or_asked_late() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    drop(barrier.arrive());
    assert_eq!((counts(&barrier), waker.wakes()), ((0, 1), 1));
    assert_eq!(poll(&mut wait, &waker), Released(0));

    drop(barrier.arrive());
    let mut last = barrier.arrive();
    for generation in 2..5 {
        drop(barrier.arrive());
        assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(generation));
    }
    assert_eq!(poll(&mut last, &waker), Led(1));
    assert_eq!((counts(&barrier), waker.wakes()), ((0, 5), 1));
}

#[test]
fn an_arrival_is_ready_however_late_it_is_asked() {
    let barrier = Barrier::new(2);
    for generations in [1, 2, 100] {
        let generation = barrier.generation();
        let mut late = barrier.arrive();
        drop(barrier.arrive());
        for _ in 1..generations {
            drop([barrier.arrive(), barrier.arrive()]);
        }
        drop(barrier.arrive());
        assert_eq!(counts(&barrier), (1, generation + generations));
        // Without a waker, and without a word to the generation that is open.
        assert_eq!(poll(&mut late, &unclonable_waker()), Released(generation));
        drop(late);
        assert_eq!(counts(&barrier), (1, generation + generations));
        drop(barrier.arrive());
    }
}

#[test]
fn alone_every_nth_arrival_leads() {
    for n in [1, 2, 3, 8] {
        let barrier = Barrier::new(n);
        for i in 0..10 * n {
            assert_eq!(counts(&barrier), (i % n, (i / n) as u64));
            let result = barrier.arrive().now_or_never();
            let led = result.map(|result| (result.is_leader(), result.generation()));
            assert_eq!(led, (i % n == n - 1).then_some((true, (i / n) as u64)));
        }
    }
}

// Wakers.

#[test]
fn only_the_last_waker_of_an_arrival_is_woken() {
    let barrier = Barrier::new(2);
    let wakers = [(); 4].map(|()| CountingWaker::new());
    let mut arrival = barrier.arrive();
    for waker in &wakers {
        for _ in 0..2 {
            assert_eq!(poll(&mut arrival, waker), Pending);
            assert_eq!(waker.clones(), 1);
            assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 1);
        }
    }
    assert_eq!(counts(&barrier), (1, 0));
    drop(barrier.arrive());
    let wakes = wakers.each_ref().map(CountingWaker::wakes);
    assert_eq!(wakes, [0, 0, 0, 1]);
    assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 0);
    assert_eq!(poll(&mut arrival, &wakers[0]), Released(0));
}

#[test]
fn an_arrival_polled_after_another_party_was_dropped_is_found_all_the_same() {
    // Its first look for a slot goes where one may be by now.
    let barrier = Barrier::new(4);
    let wakers = [(); 3].map(|()| CountingWaker::new());
    let mut gone = barrier.wait();
    assert_eq!(poll(&mut gone, &wakers[0]), Pending);
    let mut arrival = barrier.arrive();
    drop(gone);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, &wakers[1]), Pending);
    assert_eq!(poll(&mut arrival, &wakers[2]), Pending);
    assert_eq!(counts(&barrier), (2, 0));
    drop([barrier.arrive(), barrier.arrive()]);
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [0, 1, 1]);
    assert_eq!(poll(&mut arrival, &wakers[2]), Released(0));
    assert_eq!(poll(&mut wait, &wakers[1]), Released(0));
}

#[test]
fn a_panic_in_clone_leaves_the_arrival_counted() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    let mut arrival = barrier.arrive();
    for poll_before in [false, true] {
        if poll_before {
            assert_eq!(poll(&mut arrival, &waker), Pending);
        }
        let message = panic_of(|| poll(&mut arrival, &unclonable_waker()));
        assert_eq!(message, "no clone of this waker");
        assert_eq!(counts(&barrier), (1, 0));
    }
    // The waker of the poll before went with the panic, and the next poll brings another.
    assert_eq!(poll(&mut arrival, &waker), Pending);
    let mut other = barrier.arrive();
    panic_of(|| poll(&mut other, &unclonable_waker()));
    drop(other);
    assert_eq!(counts(&barrier), (2, 0));
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 1);
    assert_eq!(poll(&mut arrival, &waker), Released(0));
}

#[test]
fn a_panic_in_wake_comes_out_of_the_last_arrival_after_all_are_woken() {
    let barrier = Barrier::new(4);
    let panicking = waker_that(|| panic!("in wake"));
    let counting = [(); 2].map(|()| CountingWaker::new());
    let wakers: [&Waker; 3] = [&counting[0], &panicking, &counting[1]];
    let mut arrivals = [(); 3].map(|()| barrier.arrive());
    for (arrival, waker) in arrivals.iter_mut().zip(wakers) {
        assert_eq!(poll(arrival, waker), Pending);
    }
    assert_eq!(panic_of(|| barrier.arrive()), "in wake");
    assert_eq!(counts(&barrier), (0, 1));
    assert_eq!(counting.each_ref().map(CountingWaker::wakes), [1, 1]);
    for (arrival, waker) in arrivals.iter_mut().zip(wakers) {
        assert_eq!(poll(arrival, waker), Released(0));
    }
}

// While a leader holds the release.

#[test]
fn an_arrival_while_the_release_is_held_counts_in_the_next_generation() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    let mut of_this = barrier.arrive();
    drop(barrier.arrive());
    let leader = lead(&barrier);

    let mut of_next = barrier.arrive();
    drop(barrier.arrive());
    assert_eq!(counts(&barrier), (3, 0));
    assert_eq!(poll(&mut of_this, &waker), Pending);
    assert_eq!(poll(&mut of_next, &waker), Pending);
    leader.release();
    assert_eq!(counts(&barrier), (2, 1));
    assert_eq!((waker.wakes(), waker.clones()), (1, 1));
    assert_eq!(poll(&mut of_this, &waker), Released(0));
    assert_eq!(poll(&mut of_next, &waker), Pending);

    assert_eq!(poll(&mut barrier.arrive(), &waker), Led(1));
    assert_eq!((waker.wakes(), waker.clones()), (2, 0));
    assert_eq!(poll(&mut of_next, &waker), Released(1));
}

#[test]
fn the_arrival_that_would_complete_the_next_generation_counts_when_polled_after_the_release() {
    for n in [1, 2, 5] {
        let barrier = Barrier::new(n);
        let waker = CountingWaker::new();
        (1..n).for_each(|_| drop(barrier.arrive()));
        let leader = lead(&barrier);
        (1..n).for_each(|_| drop(barrier.arrive()));

        let [mut polled, mut unpolled, dropped] = [(); 3].map(|()| barrier.arrive());
        assert_eq!(poll(&mut polled, &waker), Pending);
        assert_eq!((counts(&barrier), waker.clones()), ((n, 0), 1));
        leader.release();
        assert_eq!(counts(&barrier), (n - 1, 1));
        assert_eq!((waker.wakes(), waker.clones()), (1, 0));
        // This one is lost.
        drop(dropped);
        assert_eq!(counts(&barrier), (n - 1, 1));

        assert_eq!(poll(&mut polled, &waker), Led(1));
        assert_eq!(counts(&barrier), (0, 2));
        (1..n).for_each(|_| drop(barrier.arrive()));
        assert_eq!(poll(&mut unpolled, &waker), Led(2));
        assert_eq!((counts(&barrier), waker.wakes()), ((0, 3), 1));
    }
}

#[test]
fn an_arrival_that_queued_counts_for_good_once_it_is_counted() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    drop(barrier.arrive());
    let leader = lead(&barrier);
    let mut early = barrier.wait();
    assert_eq!(poll(&mut early, Waker::noop()), Pending);
    let mut queued = barrier.arrive();
    assert_eq!(poll(&mut queued, &waker), Pending);
    drop(early);
    leader.release();
    assert_eq!((counts(&barrier), waker.wakes()), ((0, 1), 1));

    assert_eq!(poll(&mut queued, &waker), Pending);
    assert_eq!((counts(&barrier), waker.clones()), ((1, 1), 1));
    drop(queued);
    assert_eq!((counts(&barrier), waker.clones()), ((1, 1), 0));
}

#[test]
fn an_arrival_that_queues_and_is_dropped_takes_its_waker() {
    let barrier = Barrier::new(1);
    let waker = CountingWaker::new();
    let leader = lead(&barrier);
    let mut queued = barrier.arrive();
    assert_eq!(poll(&mut queued, &waker), Pending);
    assert_eq!(waker.clones(), 1);
    drop(queued);
    assert_eq!(waker.clones(), 0);
    leader.release();
    assert_eq!((counts(&barrier), waker.wakes()), ((0, 1), 0));
}

#[test]
fn an_arrival_orders_what_came_before_it() {
    let barrier = Barrier::new(2);
    let written = AtomicU64::new(0);
    for generation in 0..1000 {
        thread::scope(|scope| {
            scope.spawn(|| {
                written.store(generation + 1, Ordering::Relaxed);
                drop(barrier.arrive());
            });
            assert_eq!(block_on(barrier.arrive()).generation(), generation);
            assert_eq!(written.load(Ordering::Relaxed), generation + 1);
        });
    }
}

#[test]
fn an_arrival_knows_its_generation_until_it_was_awaited() {
    let barrier = Barrier::new(2);
    for generation in 0..3 {
        let [mut first, mut last] = [(); 2].map(|()| barrier.arrive());
        for arrival in [&first, &last] {
            assert_eq!(arrival.generation(), Some(generation));
        }
        assert_eq!(poll(&mut first, Waker::noop()), Released(generation));
        assert_eq!(poll(&mut last, Waker::noop()), Led(generation));
        for arrival in [&first, &last] {
            assert_eq!(arrival.generation(), None);
            assert!(arrival.is_released());
        }
    }
}

#[test]
fn an_arrival_is_released_when_its_generation_is() {
    let barrier = Barrier::new(3);
    let [mut polled, unpolled] = [(); 2].map(|()| barrier.arrive());
    assert_eq!(poll(&mut polled, Waker::noop()), Pending);
    let leader = lead(&barrier);
    // Two of the next generation, and the one that would complete it.
    let early = [(); 2].map(|()| barrier.arrive());
    let mut queued = barrier.arrive();
    assert_eq!(poll(&mut queued, Waker::noop()), Pending);
    for arrival in [&polled, &unpolled] {
        assert_eq!(
            (arrival.generation(), arrival.is_released()),
            (Some(0), false)
        );
    }
    for arrival in &early {
        assert_eq!(
            (arrival.generation(), arrival.is_released()),
            (Some(1), false)
        );
    }
    assert_eq!((queued.generation(), queued.is_released()), (None, false));

    leader.release();
    assert!(polled.is_released() && unpolled.is_released());
    assert!(!early.iter().any(|arrival| arrival.is_released()));
    assert_eq!((queued.generation(), queued.is_released()), (None, false));
    assert_eq!(poll(&mut queued, Waker::noop()), Led(1));
    assert!(early.iter().all(|arrival| arrival.is_released()));
}

#[test]
fn an_arrival_that_is_released_has_seen_what_the_others_did() {
    let barrier = Barrier::new(2);
    let work = AtomicU64::new(0);
    for generation in 0..300 {
        thread::scope(|scope| {
            let arrival = barrier.arrive();
            scope.spawn(|| {
                work.store(generation + 1, Ordering::Relaxed);
                drop(barrier.arrive());
            });
            while !arrival.is_released() {
                thread::yield_now();
            }
            assert_eq!(work.load(Ordering::Relaxed), generation + 1);
        });
    }
}
