//! Waits that own their barrier.

use std::sync::Arc;

use atomic_barrier::Barrier;
use tokio::task::{JoinSet, yield_now};

use support::by_hand::{CountingWaker, Outcome::*, poll};

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
    assert_eq!((waker.wakes(), waker.held()), (0, 1));
    drop(barrier);
    drop(b);
    assert_eq!((waker.wakes(), waker.held()), (0, 0));
}

#[tokio::test]
async fn aborted_tasks_of_a_set_take_their_arrivals_back() {
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
