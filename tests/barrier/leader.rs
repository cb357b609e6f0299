//! The leader's section: what it blocks, which parties arrive meanwhile, and what ends it.

use core::{
    future::{self, Future},
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex},
    thread,
};

use atomic_barrier::barrier::{Barrier, Leader, WaitLeader};
use tokio::{
    sync::mpsc,
    task::{JoinSet, yield_now},
};

use support::{
    custom_clone::unclonable_waker,
    custom_wake::{panic_of, waker_that},
    polling::{CountingWaker, Outcome, Outcome::*, poll},
};

/// The ways to release, besides panics and cancellation.
const RELEASES: [fn(Leader<'_>); 2] = [|leader| leader.release(), |leader| drop(leader)];

fn poll_leader<'a>(wait: &mut WaitLeader<'a>, waker: &Waker) -> Poll<Option<Leader<'a>>> {
    Pin::new(wait).poll(&mut Context::from_waker(waker))
}

fn assert_blocked(wait: &mut WaitLeader<'_>, waker: &Waker) {
    assert!(poll_leader(wait, waker).is_pending());
}

fn assert_released(wait: &mut WaitLeader<'_>) {
    assert!(matches!(
        poll_leader(wait, Waker::noop()),
        Poll::Ready(None)
    ));
}

/// The last to arrive.
fn lead(barrier: &Barrier) -> Leader<'_> {
    match poll_leader(&mut barrier.wait_leader(), Waker::noop()) {
        Poll::Ready(Some(leader)) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

fn wakes<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::wakes)
}

fn held<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::clones)
}

// What the release is, and what brings it.

#[test]
fn the_others_stay_blocked_until_the_leader_releases_them() {
    for release in RELEASES {
        let barrier = Barrier::new(4);
        for generation in 0..3 {
            let wakers = [(); 4].map(|()| CountingWaker::new());
            let mut waits = [(); 4].map(|()| barrier.wait_leader());
            let (last, others) = waits.split_last_mut().unwrap();
            for (wait, waker) in others.iter_mut().zip(&wakers) {
                assert_blocked(wait, waker);
            }
            let Poll::Ready(Some(leader)) = poll_leader(last, &wakers[3]) else {
                panic!("the last is not the leader");
            };
            assert_eq!(leader.generation(), generation);

            for _ in 0..3 {
                for (wait, waker) in others.iter_mut().zip(&wakers) {
                    assert_blocked(wait, waker);
                }
                assert_eq!((barrier.arrived(), barrier.generation()), (4, generation));
                assert_eq!(wakes(&wakers), [0, 0, 0, 0]);
            }

            release(leader);
            assert_eq!(
                (barrier.arrived(), barrier.generation()),
                (0, generation + 1)
            );
            assert_eq!((wakes(&wakers), held(&wakers)), ([1, 1, 1, 0], [0; 4]));
            others.iter_mut().for_each(assert_released);
            assert_eq!(wakes(&wakers), [1, 1, 1, 0]);
        }
    }
}

#[test]
fn a_wait_polled_with_another_waker_while_held_is_woken_through_that() {
    let barrier = Barrier::new(2);
    let wakers = [(); 2].map(|()| CountingWaker::new());
    let mut wait = barrier.wait_leader();
    assert_blocked(&mut wait, &wakers[0]);
    let leader = lead(&barrier);
    assert_blocked(&mut wait, &wakers[1]);
    assert_eq!(held(&wakers), [0, 1]);
    leader.release();
    assert_eq!((wakes(&wakers), held(&wakers)), ([0, 1], [0, 0]));
    assert_released(&mut wait);
}

#[test]
fn a_leader_nobody_keeps_releases_at_once() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut wait = barrier.wait_leader();
    assert_blocked(&mut wait, &waker);
    drop(poll_leader(&mut barrier.wait_leader(), Waker::noop()));
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!(waker.wakes(), 1);
    assert_released(&mut wait);
}

#[test]
fn a_panic_of_the_leader_releases_the_others() {
    let barrier = Barrier::new(3);
    let wakers = [(); 2].map(|()| CountingWaker::new());
    let mut waits = [(); 2].map(|()| barrier.wait_leader());
    for (wait, waker) in waits.iter_mut().zip(&wakers) {
        assert_blocked(wait, waker);
    }
    let message = panic_of(|| {
        let _leader = lead(&barrier);
        assert_eq!(wakes(&wakers), [0, 0]);
        resume_unwind(Box::new("of the leader's own"))
    });
    assert_eq!(message, "of the leader's own");
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!(wakes(&wakers), [1, 1]);
    waits.iter_mut().for_each(assert_released);
}

#[tokio::test]
async fn a_leader_whose_task_is_aborted_releases_the_others() {
    let barrier = Arc::new(Barrier::new(3));
    let mut others = JoinSet::new();
    for _ in 1..3 {
        let barrier = barrier.clone();
        others.spawn(async move { barrier.wait_leader().await.is_none() });
    }
    while barrier.arrived() < 2 {
        yield_now().await;
    }
    let leader = tokio::spawn({
        let barrier = barrier.clone();
        async move {
            let _leader = barrier.wait_leader().await.unwrap();
            future::pending::<()>().await;
        }
    });
    while barrier.arrived() < 3 {
        yield_now().await;
    }
    for _ in 0..10 {
        yield_now().await;
        assert!(others.try_join_next().is_none());
        assert_eq!((barrier.arrived(), barrier.generation()), (3, 0));
    }

    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!(others.join_all().await, [true, true]);
}

#[test]
fn a_leader_may_release_from_another_thread() {
    let barrier = Barrier::new(2);
    let work = AtomicU64::new(0);
    let waker = CountingWaker::new();
    for generation in 0..100 {
        let mut wait = barrier.wait_leader();
        assert_blocked(&mut wait, &waker);
        let leader = lead(&barrier);
        assert_blocked(&mut wait, &waker);
        thread::scope(|scope| {
            let releaser = scope.spawn(|| {
                work.store(generation + 1, Ordering::Relaxed);
                leader.release();
            });
            while waker.wakes() as u64 == generation && !releaser.is_finished() {
                thread::yield_now();
            }
            // Nothing but the release itself makes the work visible here.
            assert_released(&mut wait);
            assert_eq!(work.load(Ordering::Relaxed), generation + 1);
        });
        assert_eq!(waker.wakes() as u64, generation + 1);
        assert_eq!(barrier.generation(), generation + 1);
    }
    assert_eq!(waker.clones(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_sees_what_all_did_and_all_see_what_it_did() {
    const PARTIES: usize = 5;
    const GENERATIONS: u64 = 300;
    struct Shared {
        barrier: Barrier,
        parts: [AtomicU64; PARTIES],
        sum: AtomicU64,
    }
    let shared = Arc::new(Shared {
        barrier: Barrier::new(PARTIES),
        parts: [const { AtomicU64::new(0) }; PARTIES],
        sum: AtomicU64::new(0),
    });
    let mut parties = JoinSet::new();
    for party in 0..PARTIES as u64 {
        let shared = shared.clone();
        parties.spawn(async move {
            let mut led = 0;
            for generation in 0..GENERATIONS {
                shared.parts[party as usize].store(party * generation, Ordering::Relaxed);
                if let Some(leader) = shared.barrier.wait_leader().await {
                    assert_eq!(leader.generation(), 2 * generation);
                    let parts = shared.parts.iter().map(|part| part.load(Ordering::Relaxed));
                    let sum = parts.sum();
                    yield_now().await;
                    shared.sum.store(sum, Ordering::Relaxed);
                    led += 1;
                }
                assert_eq!(shared.sum.load(Ordering::Relaxed), 10 * generation);
                // Else the next leader might already be at work.
                shared.barrier.wait().await;
            }
            led
        });
    }
    let led: u64 = parties.join_all().await.into_iter().sum();
    assert_eq!(led, GENERATIONS);
    assert_eq!(shared.barrier.generation(), 2 * GENERATIONS);
}

// Before the generation is complete, `wait_leader` is a wait like any other.

#[test]
fn a_dropped_wait_for_the_leader_withdraws_its_arrival() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    drop(barrier.wait_leader());
    for _ in 0..3 {
        let mut wait = barrier.wait_leader();
        assert_blocked(&mut wait, &waker);
        assert_eq!((barrier.arrived(), waker.clones()), (1, 1));
        drop(wait);
        assert_eq!((barrier.arrived(), waker.clones()), (0, 0));
    }
    assert_eq!((waker.wakes(), barrier.generation()), (0, 0));
}

#[test]
fn a_panic_in_clone_withdraws_the_arrival() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    let mut wait = barrier.wait_leader();
    for poll_before in [false, true] {
        if poll_before {
            assert_blocked(&mut wait, &waker);
            assert_eq!(barrier.arrived(), 1);
        }
        let message = panic_of(|| poll_leader(&mut wait, &unclonable_waker()));
        assert_eq!(message, "no clone of this waker");
        assert_eq!(barrier.arrived(), 0);
    }
    assert_blocked(&mut wait, &waker);
    assert_blocked(&mut barrier.wait_leader(), Waker::noop());
    assert_eq!((barrier.arrived(), waker.wakes()), (1, 0));
}

// Parties that arrived before the section stay.

#[test]
fn nobody_withdraws_while_the_release_is_held() {
    let barrier = Arc::new(Barrier::new(6));
    let wakers = [(); 5].map(|()| CountingWaker::new());
    let mut wait = barrier.wait();
    let mut owned = barrier.clone().wait_owned();
    let mut wait_leader = barrier.wait_leader();
    let mut arrival = barrier.arrive();
    let mut kept = barrier.wait();
    assert_eq!(poll(&mut wait, &wakers[0]), Pending);
    assert_eq!(poll(&mut owned, &wakers[1]), Pending);
    assert_blocked(&mut wait_leader, &wakers[2]);
    assert_eq!(poll(&mut arrival, &wakers[3]), Pending);
    assert_eq!(poll(&mut kept, &wakers[4]), Pending);
    let leader = lead(&barrier);

    let unchanged = || {
        assert_eq!((barrier.arrived(), barrier.generation()), (6, 0));
        assert_eq!(wakes(&wakers), [0; 5]);
    };
    unchanged();
    drop(wait);
    unchanged();
    drop(owned);
    unchanged();
    drop(wait_leader);
    unchanged();
    drop(arrival);
    unchanged();
    assert_eq!(poll(&mut kept, &wakers[4]), Pending);

    leader.release();
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!((wakers[4].wakes(), held(&wakers)), (1, [0; 5]));
    assert_eq!(poll(&mut kept, &wakers[4]), Released(0));
}

// Parties that arrive while the release is held.

#[test]
fn during_a_section_parties_arrive_in_the_next_generation_but_its_last_queues() {
    for release in RELEASES {
        let barrier = Barrier::new(3);
        let wakers = [(); 5].map(|()| CountingWaker::new());
        let mut waits = [(); 5].map(|()| barrier.wait());
        assert_eq!(poll(&mut waits[0], &wakers[0]), Pending);
        assert_eq!(poll(&mut waits[1], &wakers[1]), Pending);
        let leader = lead(&barrier);

        // Two early ones, and the one that would complete the generation.
        for i in [2, 3, 4, 4, 2] {
            assert_eq!(poll(&mut waits[i], &wakers[i]), Pending);
            assert_eq!((barrier.arrived(), barrier.generation()), (3, 0));
        }
        assert_eq!(wakes(&wakers), [0; 5]);

        release(leader);
        assert_eq!((barrier.arrived(), barrier.generation()), (2, 1));
        assert_eq!(wakes(&wakers), [1, 1, 0, 0, 1]);
        assert_eq!(poll(&mut waits[0], &wakers[0]), Released(0));
        assert_eq!(poll(&mut waits[2], &wakers[2]), Pending);

        assert_eq!(poll(&mut waits[4], &wakers[4]), Led(1));
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 2));
        assert_eq!((wakes(&wakers), held(&wakers)), ([1; 5], [0; 5]));
        assert_eq!(poll(&mut waits[2], &wakers[2]), Released(1));
        assert_eq!(poll(&mut waits[3], &wakers[3]), Released(1));
        assert_eq!(poll(&mut waits[1], &wakers[1]), Released(0));
    }
}

#[test]
fn an_early_arrival_may_be_withdrawn() {
    let barrier = Barrier::new(3);
    let wakers = [(); 5].map(|()| CountingWaker::new());
    let [mut a, mut b] = [(); 2].map(|()| barrier.wait_leader());
    assert_blocked(&mut a, &wakers[0]);
    assert_blocked(&mut b, &wakers[1]);
    let leader = lead(&barrier);

    // One for another, over and over again: were they not withdrawn, the third would queue.
    let mut early = barrier.wait();
    assert_eq!(poll(&mut early, &wakers[2]), Pending);
    for _ in 0..10 {
        assert_eq!(poll(&mut barrier.wait(), &wakers[3]), Pending);
        assert_blocked(&mut barrier.wait_leader(), &wakers[3]);
        assert_eq!((barrier.arrived(), barrier.generation()), (3, 0));
        assert_eq!(wakers[3].clones(), 0);
    }
    drop(early);
    let mut last = barrier.wait();
    assert_eq!(poll(&mut last, &wakers[4]), Pending);

    leader.release();
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
    assert_eq!(wakes(&wakers), [1, 1, 0, 0, 0]);
    assert_eq!(held(&wakers), [0, 0, 0, 0, 1]);
    drop(last);
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
}

#[test]
fn an_early_arrival_may_be_withdrawn_after_the_release() {
    let barrier = Barrier::new(2);
    let [of_this, of_next] = [(); 2].map(|()| CountingWaker::new());
    let [mut a, mut early] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &of_this), Pending);
    let leader = lead(&barrier);
    assert_eq!(poll(&mut early, &of_next), Pending);
    leader.release();
    drop(early);
    // A wait of the generation that is over withdraws nothing from the next.
    drop(a);
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!([of_this.wakes(), of_next.wakes()], [1, 0]);
    assert_eq!([of_this.clones(), of_next.clones()], [0, 0]);
}

#[test]
fn all_that_queue_are_woken_by_the_release_and_count_when_polled() {
    let barrier = Barrier::new(2);
    let wakers = [(); 4].map(|()| CountingWaker::new());
    let mut early = barrier.wait();
    let mut queued = [(); 3].map(|()| barrier.wait_leader());
    drop(barrier.arrive());
    let leader = lead(&barrier);
    assert_eq!(poll(&mut early, &wakers[3]), Pending);
    for (wait, waker) in queued.iter_mut().zip(&wakers) {
        assert_blocked(wait, waker);
    }
    leader.release();
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
    assert_eq!(
        (wakes(&wakers), held(&wakers)),
        ([1, 1, 1, 0], [0, 0, 0, 1])
    );

    // The first to be polled leads, and holds the release again; the second arrives early; the
    // third would be the last of generation 2, and queues once more.
    let [first, second, third] = &mut queued;
    let Poll::Ready(Some(leader)) = poll_leader(third, &wakers[2]) else {
        panic!("one that queued does not lead");
    };
    assert_eq!(leader.generation(), 1);
    assert_blocked(first, &wakers[0]);
    assert_blocked(second, &wakers[1]);
    assert_eq!((barrier.arrived(), barrier.generation()), (2, 1));
    assert_eq!(wakes(&wakers), [1, 1, 1, 0]);
    leader.release();
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 2));
    assert_eq!(wakes(&wakers), [1, 2, 1, 1]);
    assert_eq!(poll(&mut early, &wakers[3]), Released(1));

    drop(poll_leader(second, &wakers[1]));
    assert_eq!(barrier.generation(), 3);
    assert_eq!((wakes(&wakers), held(&wakers)), ([2, 2, 1, 1], [0; 4]));
    assert_released(first);
}

#[test]
fn a_queued_party_that_is_dropped_was_never_there() {
    let barrier = Barrier::new(2);
    let wakers = [(); 3].map(|()| CountingWaker::new());
    let [mut a, mut early] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &wakers[0]), Pending);
    let leader = lead(&barrier);
    assert_eq!(poll(&mut early, &wakers[1]), Pending);

    let [mut before, mut after] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut before, &wakers[2]), Pending);
    assert_eq!(poll(&mut after, &wakers[2]), Pending);
    assert_eq!(wakers[2].clones(), 2);
    drop(before);
    assert_eq!((wakes(&wakers), held(&wakers)), ([0; 3], [1; 3]));
    leader.release();
    drop(after);
    assert_eq!((wakes(&wakers), held(&wakers)), ([1, 0, 1], [0, 1, 0]));
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
}

#[test]
fn a_queued_party_is_woken_through_its_last_waker() {
    let barrier = Barrier::new(1);
    let wakers = [(); 3].map(|()| CountingWaker::new());
    let leader = lead(&barrier);
    let mut queued = barrier.wait();
    for waker in &wakers {
        assert_eq!(poll(&mut queued, waker), Pending);
        assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 1);
    }
    leader.release();
    assert_eq!((wakes(&wakers), held(&wakers)), ([0, 0, 1], [0; 3]));
    assert_eq!(poll(&mut queued, &wakers[0]), Led(1));
}

#[test]
fn a_party_whose_clone_panics_does_not_queue() {
    let barrier = Barrier::new(1);
    let waker = CountingWaker::new();
    let leader = lead(&barrier);
    let mut queued = barrier.wait();
    for poll_before in [false, true] {
        if poll_before {
            assert_eq!(poll(&mut queued, &waker), Pending);
        }
        let message = panic_of(|| poll(&mut queued, &unclonable_waker()));
        assert_eq!(message, "no clone of this waker");
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 0));
    }
    assert_eq!(poll(&mut queued, &waker), Pending);
    leader.release();
    assert_eq!(waker.wakes(), 1);
    assert_eq!(poll(&mut queued, &waker), Led(1));
}

#[test]
fn a_slot_lost_to_a_panic_is_never_used_again() {
    // Were it used, the waker left there would never be woken.
    let barrier = Barrier::new(1);
    for lost in 0..20 {
        let leader = lead(&barrier);
        let wakers = [(); 8].map(|()| CountingWaker::new());
        let mut queued = [(); 8].map(|()| barrier.wait());
        for (i, (wait, waker)) in queued.iter_mut().zip(&wakers).enumerate() {
            if i == lost % 8 {
                panic_of(|| poll(wait, &unclonable_waker()));
            }
            assert_eq!(poll(wait, waker), Pending);
            if i == lost % 5 {
                panic_of(|| poll(wait, &unclonable_waker()));
                assert_eq!(poll(wait, waker), Pending);
            }
        }
        leader.release();
        assert_eq!(wakes(&wakers), [1; 8]);
        for (wait, waker) in queued.iter_mut().zip(&wakers) {
            let generation = barrier.generation();
            assert_eq!(poll(wait, waker), Led(generation));
        }
    }
}

#[test]
fn a_queued_party_does_not_take_the_place_of_an_early_arrival_that_is_withdrawn() {
    let barrier = Barrier::new(2);
    let wakers = [(); 2].map(|()| CountingWaker::new());
    drop(barrier.arrive());
    let leader = lead(&barrier);
    let [mut early, mut queued] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut early, &wakers[0]), Pending);
    assert_eq!(poll(&mut queued, &wakers[1]), Pending);
    drop(early);
    assert_eq!(wakes(&wakers), [0, 0]);
    leader.release();
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!(wakes(&wakers), [0, 1]);
    assert_eq!(poll(&mut queued, &wakers[1]), Pending);
    assert_eq!((barrier.arrived(), wakers[1].clones()), (1, 1));
    assert_eq!(poll(&mut barrier.wait(), &wakers[0]), Led(1));
    assert_eq!(poll(&mut queued, &wakers[1]), Released(1));
    assert_eq!(wakes(&wakers), [0, 2]);
}

#[test]
fn a_queued_party_that_is_polled_generations_later_joins_the_open_generation() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    drop(barrier.arrive());
    let leader = lead(&barrier);
    drop(barrier.arrive());
    let mut queued = barrier.wait();
    assert_eq!(poll(&mut queued, &waker), Pending);
    leader.release();
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(1));
    for generation in 2..5 {
        drop(barrier.arrive());
        assert_eq!(lead(&barrier).generation(), generation);
    }
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(poll(&mut queued, &waker), Pending);
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 5));
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(5));
    assert_eq!(poll(&mut queued, &waker), Released(5));
    assert_eq!(waker.wakes(), 2);
}

// Alone, and among all other kinds.

#[test]
fn alone_each_party_leads_and_another_that_arrives_meanwhile_queues() {
    let barrier = Barrier::new(1);
    let wakers = [(); 2].map(|()| CountingWaker::new());
    for generation in [0, 2] {
        let leader = lead(&barrier);
        assert_eq!(leader.generation(), generation);
        assert_eq!((barrier.arrived(), barrier.generation()), (1, generation));
        let mut queued = barrier.wait();
        assert_eq!(poll(&mut queued, &wakers[0]), Pending);
        let mut dropped = barrier.wait_leader();
        assert_blocked(&mut dropped, &wakers[1]);
        drop(dropped);
        leader.release();
        assert_eq!(
            (barrier.arrived(), barrier.generation()),
            (0, generation + 1)
        );
        assert_eq!(poll(&mut queued, &wakers[0]), Led(generation + 1));
    }
    assert_eq!((wakes(&wakers), held(&wakers)), ([2, 0], [0, 0]));
}

#[test]
fn the_last_to_arrive_decides_whether_the_release_is_held() {
    type Last = fn(&Arc<Barrier>) -> Option<Leader<'_>>;
    fn led(outcome: Outcome) -> Option<Leader<'static>> {
        assert_eq!(outcome, Led(0));
        None
    }
    let lasts: &[Last] = &[
        |barrier| led(poll(&mut barrier.wait(), Waker::noop())),
        |barrier| led(poll(&mut barrier.clone().wait_owned(), Waker::noop())),
        |barrier| led(poll(&mut barrier.arrive(), Waker::noop())),
        #[cfg(feature = "std")]
        |barrier| {
            assert!(barrier.wait_blocking().is_leader());
            None
        },
        |barrier| Some(lead(barrier)),
    ];
    for last in lasts {
        let barrier = Arc::new(Barrier::new(5));
        let wakers = [(); 4].map(|()| CountingWaker::new());
        let mut wait = barrier.wait();
        let mut owned = barrier.clone().wait_owned();
        let mut arrival = barrier.arrive();
        let mut wait_leader = barrier.wait_leader();
        let mut poll_all = || {
            let blocked = poll_leader(&mut wait_leader, &wakers[3]).map(|leader| {
                assert!(leader.is_none());
                Released(0)
            });
            [
                poll(&mut wait, &wakers[0]),
                poll(&mut owned, &wakers[1]),
                poll(&mut arrival, &wakers[2]),
                match blocked {
                    Poll::Ready(outcome) => outcome,
                    Poll::Pending => Pending,
                },
            ]
        };
        assert_eq!(poll_all(), [Pending; 4]);
        if let Some(leader) = last(&barrier) {
            assert_eq!(poll_all(), [Pending; 4]);
            assert_eq!((barrier.arrived(), barrier.generation()), (5, 0));
            assert_eq!(wakes(&wakers), [0; 4]);
            leader.release();
        }
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        assert_eq!((wakes(&wakers), held(&wakers)), ([1; 4], [0; 4]));
        assert_eq!(poll_all(), [Released(0); 4]);
    }
}

#[tokio::test]
async fn each_generation_of_many_has_one_leader_whatever_the_others_do() {
    // Twice as many as make a generation, so that some arrive early and some queue.
    let barrier = Arc::new(Barrier::new(4));
    let (sender, mut led) = mpsc::unbounded_channel();
    let mut parties = JoinSet::new();
    for party in 0..8 {
        let barrier = barrier.clone();
        let sender = sender.clone();
        parties.spawn(async move {
            loop {
                let result = match party {
                    0..4 => {
                        if let Some(leader) = barrier.wait_leader().await {
                            sender.send(leader.generation()).unwrap();
                            for _ in 0..3 {
                                yield_now().await;
                                assert_eq!(barrier.generation(), leader.generation());
                            }
                        }
                        continue;
                    }
                    4 | 5 => barrier.wait().await,
                    6 => barrier.clone().wait_owned().await,
                    _ => barrier.arrive().await,
                };
                if result.is_leader() {
                    sender.send(result.generation()).unwrap();
                }
            }
        });
    }
    for generation in 0..200 {
        assert_eq!(led.recv().await, Some(generation));
    }
    parties.shutdown().await;
    // All but what was arrived for good is withdrawn.
    assert!(barrier.arrived() <= 1);
}

// Wakers that do something in the release.

#[test]
fn a_panic_in_wake_comes_out_of_the_release_after_all_are_woken() {
    for release in RELEASES {
        for place in 0..3 {
            let barrier = Barrier::new(3);
            let panicking = waker_that(|| panic!("in wake"));
            let counting = [(); 3].map(|()| CountingWaker::new());
            let waker = |i: usize| -> &Waker { if i == place { &panicking } else { &counting[i] } };
            let [mut a, mut b, mut queued] = [(); 3].map(|()| barrier.wait());
            assert_eq!(poll(&mut a, waker(0)), Pending);
            assert_eq!(poll(&mut b, waker(1)), Pending);
            let leader = lead(&barrier);
            drop([(); 2].map(|()| barrier.arrive()));
            assert_eq!(poll(&mut queued, waker(2)), Pending);

            assert_eq!(panic_of(|| release(leader)), "in wake");
            assert_eq!((barrier.arrived(), barrier.generation()), (2, 1));
            assert_eq!(wakes(&counting), [0, 1, 2].map(|i| usize::from(i != place)));
            assert_eq!(held(&counting), [0; 3]);
            assert_eq!(poll(&mut a, waker(0)), Released(0));
            assert_eq!(poll(&mut b, waker(1)), Released(0));
            assert_eq!(poll(&mut queued, waker(2)), Led(1));
        }
    }
}

#[test]
fn a_waker_may_begin_the_next_section_while_the_last_one_ends() {
    static BARRIER: Barrier = Barrier::new(2);
    let next: Arc<Mutex<Option<Leader<'static>>>> = Arc::default();
    let counting = [(); 2].map(|()| CountingWaker::new());
    let [mut a, mut early, mut queued] = [(); 3].map(|()| BARRIER.wait());
    let leads_next = waker_that({
        let next = next.clone();
        move || *next.lock().unwrap() = Some(lead(&BARRIER))
    });
    assert_eq!(poll(&mut a, &leads_next), Pending);
    let leader = lead(&BARRIER);
    assert_eq!(poll(&mut early, &counting[0]), Pending);
    assert_eq!(poll(&mut queued, &counting[1]), Pending);

    // Of the release of generation 0 is still left to wake the one that queues.
    leader.release();
    let leader = next.lock().unwrap().take().unwrap();
    assert_eq!(leader.generation(), 1);
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (2, 1));
    assert_eq!((wakes(&counting), held(&counting)), ([0, 1], [1, 0]));
    assert_eq!(poll(&mut a, &leads_next), Released(0));
    assert_eq!(poll(&mut early, &counting[0]), Pending);
    // It comes early now, in generation 2.
    assert_eq!(poll(&mut queued, &counting[1]), Pending);

    leader.release();
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (1, 2));
    assert_eq!((wakes(&counting), held(&counting)), ([1, 1], [0, 1]));
    assert_eq!(poll(&mut early, &counting[0]), Released(1));
    drop(queued);
    assert_eq!((BARRIER.arrived(), wakes(&counting)), (0, [1, 1]));
}
