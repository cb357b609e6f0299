//! Waits, arrivals and leaders that own their barrier.

use core::{
    future::{Future, pending},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::sync::Arc;

use atomic_barrier::{
    Barrier,
    barrier::{OwnedLeader, OwnedWaitLeader},
};
use tokio::task::{JoinSet, yield_now};

use support::polling::{CountingWaker, Outcome::*, poll};

#[test]
fn an_owned_wait_keeps_its_barrier() {
    let barrier = Arc::new(Barrier::new(2));
    let weak = Arc::downgrade(&barrier);
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let [mut a, mut b] = [barrier.clone().wait_owned(), barrier.wait_owned()];
    assert_eq!(poll(&mut a, &wa), Pending);
    assert_eq!(poll(&mut b, &wb), Led(0));
    drop(b);
    assert_eq!([wa.wakes(), wb.wakes()], [1, 0]);
    assert_eq!(poll(&mut a, &wa), Released(0));
    assert_eq!(weak.strong_count(), 1);
    drop(a);
    assert_eq!(weak.strong_count(), 0);
}

#[test]
fn a_dropped_owned_wait_takes_its_arrival_and_its_barrier_with_it() {
    let barrier = Arc::new(Barrier::new(3));
    let waker = CountingWaker::new();
    let [mut a, mut b] = [(); 2].map(|()| barrier.clone().wait_owned());
    assert_eq!(poll(&mut a, &waker), Pending);
    assert_eq!(poll(&mut b, &waker), Pending);
    drop(a);
    assert_eq!((barrier.arrived(), Arc::strong_count(&barrier)), (1, 2));
    assert_eq!((waker.wakes(), waker.clones()), (0, 1));
    drop(barrier);
    drop(b);
    assert_eq!((waker.wakes(), waker.clones()), (0, 0));
}

#[tokio::test]
async fn aborted_tasks_of_a_set_withdraw_their_arrivals() {
    let barrier = Arc::new(Barrier::new(4));
    let mut set = JoinSet::new();
    for _ in 0..3 {
        set.spawn(barrier.clone().wait_owned());
    }
    while barrier.arrived() < 3 {
        yield_now().await;
    }
    set.shutdown().await;
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
    assert_eq!(Arc::strong_count(&barrier), 1);

    for _ in 0..4 {
        set.spawn(barrier.clone().wait_owned());
    }
    let results = set.join_all().await;
    assert!(results.iter().all(|result| result.generation() == 0));
    assert_eq!(
        results.iter().filter(|result| result.is_leader()).count(),
        1
    );
}

#[test]
fn an_owned_arrival_counts_at_once_and_keeps_its_barrier() {
    let barrier = Arc::new(Barrier::new(3));
    let weak = Arc::downgrade(&barrier);
    let waker = CountingWaker::new();
    let mut arrival = barrier.clone().arrive_owned();
    drop(barrier.clone().arrive_owned());
    assert_eq!((barrier.arrived(), Arc::strong_count(&barrier)), (2, 2));
    assert_eq!(arrival.generation(), Some(0));
    assert_eq!(poll(&mut arrival, &waker), Pending);
    assert!(!arrival.is_released());

    let mut last = barrier.arrive_owned();
    assert!(arrival.is_released() && last.is_released());
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(poll(&mut arrival, &waker), Released(0));
    assert_eq!(poll(&mut last, &waker), Led(0));
    drop(arrival);
    assert_eq!(weak.strong_count(), 1);
    drop(last);
    assert_eq!(weak.strong_count(), 0);
}

#[test]
fn a_dropped_owned_arrival_stays_counted_and_drops_its_waker() {
    let barrier = Arc::new(Barrier::new(2));
    let waker = CountingWaker::new();
    let mut arrival = barrier.clone().arrive_owned();
    assert_eq!(poll(&mut arrival, &waker), Pending);
    assert_eq!(waker.clones(), 1);
    drop(arrival);
    assert_eq!((barrier.arrived(), waker.clones()), (1, 0));
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 0);
}

fn poll_leader(wait: &mut OwnedWaitLeader, waker: &Waker) -> Poll<Option<OwnedLeader>> {
    Pin::new(wait).poll(&mut Context::from_waker(waker))
}

#[test]
fn an_owned_leader_keeps_its_barrier_and_the_others_until_the_release() {
    for release in [OwnedLeader::release, drop] {
        let barrier = Arc::new(Barrier::new(2));
        let weak = Arc::downgrade(&barrier);
        let waker = CountingWaker::new();
        let [mut a, mut b] = [(); 2].map(|()| barrier.clone().wait_leader_owned());
        drop(barrier);
        assert!(poll_leader(&mut a, &waker).is_pending());
        let Poll::Ready(Some(leader)) = poll_leader(&mut b, Waker::noop()) else {
            panic!("the last to arrive does not lead");
        };
        drop(b);
        assert_eq!(leader.generation(), 0);
        assert!(poll_leader(&mut a, &waker).is_pending());
        assert_eq!((weak.strong_count(), waker.wakes()), (2, 0));

        release(leader);
        assert_eq!((weak.strong_count(), waker.wakes()), (1, 1));
        assert!(matches!(poll_leader(&mut a, &waker), Poll::Ready(None)));
        assert_eq!(weak.upgrade().unwrap().generation(), 1);
        drop(a);
        assert_eq!(weak.strong_count(), 0);
    }
}

#[test]
fn a_dropped_owned_wait_for_the_leader_takes_its_arrival_and_its_barrier_with_it() {
    let barrier = Arc::new(Barrier::new(2));
    let waker = CountingWaker::new();
    let mut wait = barrier.clone().wait_leader_owned();
    assert!(poll_leader(&mut wait, &waker).is_pending());
    assert_eq!((barrier.arrived(), waker.clones()), (1, 1));
    drop(wait);
    assert_eq!((barrier.arrived(), waker.clones()), (0, 0));
    assert_eq!(Arc::strong_count(&barrier), 1);
}

#[tokio::test]
async fn an_owned_leader_may_end_in_a_task_that_is_aborted() {
    let barrier = Arc::new(Barrier::new(2));
    let other = barrier.clone().arrive_owned();
    let leader = barrier.clone().wait_leader_owned().await.unwrap();
    let section = tokio::spawn(async move {
        let _leader = leader;
        pending::<()>().await;
    });
    yield_now().await;
    assert!(!other.is_released());
    section.abort();
    assert_eq!(other.await.generation(), 0);
    assert!(section.await.unwrap_err().is_cancelled());
}
