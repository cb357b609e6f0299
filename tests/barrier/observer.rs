//! Observers: they await the end of a generation and are not parties of it.

use core::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use atomic_barrier::barrier::{Barrier, Observation};

use support::{
    custom_clone::unclonable_waker,
    custom_wake::{panic_of, waker_that},
    polling::{CountingWaker, Outcome::*, poll},
};

fn look(observation: &mut Observation<'_>, waker: &Waker) -> Poll<()> {
    Pin::new(observation).poll(&mut Context::from_waker(waker))
}

fn wakes<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::wakes)
}

#[test]
fn an_observer_is_no_party() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut observation = barrier.observe(0);
    for _ in 0..3 {
        assert_eq!(look(&mut observation, &waker), Poll::Pending);
        assert_eq!((barrier.arrived(), waker.clones()), (0, 1));
    }
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    assert_eq!(waker.wakes(), 0);

    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(look(&mut observation, &waker), Poll::Ready(()));
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
}

#[test]
fn a_past_generation_is_over_and_a_future_one_is_awaited() {
    let barrier = Barrier::new(1);
    let wakers = [(); 4].map(|()| CountingWaker::new());
    drop([(); 3].map(|()| barrier.arrive()));
    for generation in 0..3 {
        let mut observation = barrier.observe(generation);
        assert_eq!(look(&mut observation, &wakers[0]), Poll::Ready(()));
    }
    let mut observations = [3, 4, 5, u64::MAX].map(|generation| barrier.observe(generation));
    for generation in 3..6 {
        let mut pending = observations.iter_mut().zip(&wakers).skip(generation - 3);
        assert!(pending.all(|(observation, waker)| look(observation, waker).is_pending()));
        drop(barrier.arrive());
        let woken = [3, 4, 5, 6].map(|observed| usize::from(observed <= generation));
        assert_eq!(wakes(&wakers), woken);
        let over = &mut observations[generation - 3];
        assert_eq!(look(over, Waker::noop()), Poll::Ready(()));
    }
}

#[test]
fn a_generation_that_never_comes_is_awaited_all_the_same() {
    for generation in [1 << 61, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX] {
        let barrier = Barrier::new(1);
        let waker = CountingWaker::new();
        let mut observation = barrier.observe(generation);
        for _ in 0..3 {
            assert_eq!(look(&mut observation, &waker), Poll::Pending);
            drop(barrier.arrive());
        }
        drop(observation);
        assert_eq!((waker.wakes(), waker.clones()), (0, 0));
    }
}

#[test]
fn an_observer_that_is_late_finds_its_generation_over() {
    let barrier = Barrier::new(1);
    let waker = CountingWaker::new();
    let mut observation = barrier.observe(0);
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    drop([(); 5].map(|()| barrier.arrive()));
    assert_eq!(waker.wakes(), 1);
    assert_eq!(look(&mut observation, &waker), Poll::Ready(()));
}

#[test]
fn any_number_of_observers_see_the_same_end_beside_the_parties() {
    let barrier = Barrier::new(20);
    let wakers: Vec<_> = (0..50).map(|_| CountingWaker::new()).collect();
    for generation in 0..3 {
        let mut observations: Vec<_> = wakers.iter().map(|_| barrier.observe(generation)).collect();
        for (observation, waker) in observations.iter_mut().zip(&wakers) {
            assert_eq!(look(observation, waker), Poll::Pending);
        }
        let of_parties = CountingWaker::new();
        let mut waits: Vec<_> = (1..20).map(|_| barrier.wait()).collect();
        for wait in &mut waits {
            assert_eq!(poll(wait, &of_parties), Pending);
        }
        drop(barrier.arrive());
        assert_eq!((of_parties.wakes(), of_parties.clones()), (19, 0));
        for (observation, waker) in observations.iter_mut().zip(&wakers) {
            assert_eq!((waker.wakes() as u64, waker.clones()), (generation + 1, 0));
            assert_eq!(look(observation, waker), Poll::Ready(()));
        }
        for wait in &mut waits {
            assert_eq!(poll(wait, Waker::noop()), Released(generation));
        }
    }
}

#[test]
fn only_the_last_waker_is_woken() {
    let barrier = Barrier::new(1);
    let wakers = [(); 4].map(|()| CountingWaker::new());
    let mut observation = barrier.observe(0);
    for waker in &wakers {
        assert_eq!(look(&mut observation, waker), Poll::Pending);
        assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 1);
    }
    drop(barrier.arrive());
    assert_eq!(wakes(&wakers), [0, 0, 0, 1]);
    assert_eq!(look(&mut observation, &wakers[0]), Poll::Ready(()));
}

#[test]
fn a_dropped_observer_is_not_woken_and_a_leaked_one_stays_until_the_end() {
    let barrier = Barrier::new(1);
    let [dropped, leaked] = [(); 2].map(|()| CountingWaker::new());
    let [mut first, mut second] = [(); 2].map(|()| barrier.observe(0));
    assert_eq!(look(&mut first, &dropped), Poll::Pending);
    assert_eq!(look(&mut second, &leaked), Poll::Pending);
    drop(first);
    mem::forget(second);
    assert_eq!([dropped.clones(), leaked.clones()], [0, 1]);
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
    drop(barrier.arrive());
    assert_eq!([dropped.wakes(), leaked.wakes()], [0, 1]);
    assert_eq!([dropped.clones(), leaked.clones()], [0, 0]);
}

#[test]
fn a_generation_is_not_over_before_its_leader_releases_it() {
    let barrier = Barrier::new(2);
    let wakers = [(); 2].map(|()| CountingWaker::new());
    drop(barrier.arrive());
    let mut of_this = barrier.observe(0);
    assert_eq!(look(&mut of_this, &wakers[0]), Poll::Pending);
    let mut wait = barrier.wait_leader();
    let Poll::Ready(Some(leader)) =
        Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("the last to arrive does not lead");
    };
    let mut of_next = barrier.observe(1);
    // An observer that comes while the release is held is woken by it too.
    let late = CountingWaker::new();
    let mut of_this_late = barrier.observe(0);
    assert_eq!(look(&mut of_this, &wakers[0]), Poll::Pending);
    assert_eq!(look(&mut of_next, &wakers[1]), Poll::Pending);
    assert_eq!(look(&mut of_this_late, &late), Poll::Pending);
    leader.release();
    assert_eq!((wakes(&wakers), late.wakes()), ([1, 0], 1));
    assert_eq!(look(&mut of_this, &wakers[0]), Poll::Ready(()));
    assert_eq!(look(&mut of_this_late, &late), Poll::Ready(()));
    assert_eq!(look(&mut of_next, &wakers[1]), Poll::Pending);
}

#[test]
fn a_party_that_withdraws_leaves_the_observers_waiting() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut observation = barrier.observe(0);
    for _ in 0..3 {
        let mut wait = barrier.wait();
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        assert_eq!(look(&mut observation, &waker), Poll::Pending);
        drop(wait);
        assert_eq!((barrier.arrived(), waker.wakes()), (0, 0));
    }
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    drop([(); 2].map(|()| barrier.arrive()));
    assert_eq!(waker.wakes(), 1);
}

#[test]
fn a_panic_in_clone_leaves_an_observer_out_of_it() {
    let barrier = Barrier::new(1);
    let waker = CountingWaker::new();
    let mut observation = barrier.observe(0);
    for _ in 0..2 {
        let panics = AssertUnwindSafe(|| look(&mut observation, &unclonable_waker()));
        assert!(catch_unwind(panics).is_err());
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
        assert_eq!(look(&mut observation, &waker), Poll::Pending);
    }
    drop(barrier.arrive());
    assert_eq!(waker.wakes(), 1);
    assert_eq!(look(&mut observation, &waker), Poll::Ready(()));
}

#[test]
fn a_panic_in_the_wake_of_an_observer_comes_out_of_the_leaders_call_after_all_are_woken() {
    let barrier = Barrier::new(2);
    let [of_party, of_observer] = [(); 2].map(|()| CountingWaker::new());
    let panicking = waker_that(|| panic!("in wake"));
    let [mut first, mut second] = [(); 2].map(|()| barrier.observe(0));
    let mut wait = barrier.wait();
    assert_eq!(look(&mut first, &panicking), Poll::Pending);
    assert_eq!(look(&mut second, &of_observer), Poll::Pending);
    assert_eq!(poll(&mut wait, &of_party), Pending);
    assert_eq!(panic_of(|| barrier.arrive()), "in wake");
    assert_eq!([of_party.wakes(), of_observer.wakes()], [1, 1]);
    assert_eq!(look(&mut first, &panicking), Poll::Ready(()));
    assert_eq!(poll(&mut wait, &of_party), Released(0));
}

#[test]
fn a_waker_may_observe_the_next_generation() {
    let barrier = Arc::new(Barrier::new(1));
    let woken = CountingWaker::new();
    let observes = waker_that({
        let (barrier, waker) = (barrier.clone(), Waker::clone(&woken));
        move || {
            let mut next = barrier.observe(barrier.generation());
            assert_eq!(look(&mut next, &waker), Poll::Pending);
            mem::forget(next);
        }
    });
    let mut observation = barrier.observe(0);
    assert_eq!(look(&mut observation, &observes), Poll::Pending);
    drop(barrier.arrive());
    assert_eq!((barrier.generation(), woken.wakes()), (1, 0));
    drop(barrier.arrive());
    assert_eq!(woken.wakes(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_what_the_parties_did_before_the_end() {
    const GENERATIONS: u64 = 300;
    let barrier = Arc::new(Barrier::new(3));
    let work = Arc::new([const { AtomicU64::new(0) }; 3]);
    let parties = [0, 1, 2].map(|i| {
        let (barrier, work) = (barrier.clone(), work.clone());
        tokio::spawn(async move {
            for generation in 0..GENERATIONS {
                work[i].store(generation + 1, Ordering::Relaxed);
                assert_eq!(barrier.wait().await.generation(), generation);
            }
        })
    });
    for generation in 0..GENERATIONS {
        barrier.observe(generation).await;
        for part in work.iter() {
            assert!(part.load(Ordering::Relaxed) > generation);
        }
    }
    for party in parties {
        party.await.unwrap();
    }
}

#[cfg(feature = "std")]
#[test]
fn a_thread_observes_without_being_a_party() {
    const GENERATIONS: u64 = 300;
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..GENERATIONS {
                    barrier.wait_blocking();
                }
            });
        }
        for generation in 0..GENERATIONS {
            barrier.observe(generation).wait_blocking();
            assert!(barrier.generation() > generation);
        }
    });
    // A generation that is over keeps nobody.
    barrier.observe(0).wait_blocking();
    assert_eq!((barrier.arrived(), barrier.generation()), (0, GENERATIONS));
}
