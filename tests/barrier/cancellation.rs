//! Waits that are dropped, timed out, aborted or leaked.

use core::{mem, panic::AssertUnwindSafe, time::Duration};
use std::{
    panic::{catch_unwind, resume_unwind},
    sync::Arc,
};

use atomic_barrier::Barrier;
use tokio::{task::yield_now, time::timeout};

use support::polling::{CountingWaker, Outcome::*, poll};

#[test]
fn a_dropped_wait_withdraws_its_arrival() {
    let barrier = Barrier::new(3);
    let wakers = [(); 4].map(|()| CountingWaker::new());
    let [mut a, mut b, mut c, mut d] = [(); 4].map(|()| barrier.wait());

    assert_eq!(poll(&mut a, &wakers[0]), Pending);
    assert_eq!(poll(&mut b, &wakers[1]), Pending);
    assert_eq!(barrier.arrived(), 2);
    drop(a);
    assert_eq!(barrier.arrived(), 1);

    // Still three to come together, `a` not among them.
    assert_eq!(poll(&mut c, &wakers[2]), Pending);
    assert_eq!(barrier.arrived(), 2);
    assert_eq!(poll(&mut d, &wakers[3]), Led(0));
    assert_eq!(poll(&mut b, &wakers[1]), Released(0));
    assert_eq!(poll(&mut c, &wakers[2]), Released(0));
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [0, 1, 1, 0]);
}

#[test]
fn all_waits_dropped_leave_an_empty_barrier() {
    // Whatever the order in which they go.
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let barrier = Barrier::new(4);
        let waker = CountingWaker::new();
        let mut waits = [(); 3].map(|()| Some(barrier.wait()));
        for wait in waits.iter_mut().flatten() {
            assert_eq!(poll(wait, &waker), Pending);
        }
        for (gone, place) in order.into_iter().enumerate() {
            waits[place] = None;
            assert_eq!(barrier.arrived(), 2 - gone);
            assert_eq!(waker.clones(), 2 - gone);
        }
        assert_eq!((waker.wakes(), barrier.generation()), (0, 0));
    }
}

#[test]
fn withdrawals_do_not_add_up() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    for generation in 0..3 {
        for _ in 0..1000 {
            assert_eq!(poll(&mut barrier.wait(), &waker), Pending);
            assert_eq!(barrier.arrived(), 0);
        }
        assert_eq!(barrier.generation(), generation);
        let [mut a, mut b] = [barrier.wait(), barrier.wait()];
        assert_eq!(poll(&mut a, &waker), Pending);
        assert_eq!(poll(&mut b, &waker), Led(generation));
        assert_eq!(poll(&mut a, &waker), Released(generation));
    }
    assert_eq!(waker.wakes(), 3);
}

#[test]
fn a_wait_that_was_never_polled_was_never_there() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut a = barrier.wait();
    drop(barrier.wait());
    assert_eq!(barrier.arrived(), 0);
    assert_eq!(poll(&mut a, &waker), Pending);
    drop(barrier.wait());
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 0));
    assert_eq!((waker.wakes(), waker.clones()), (0, 1));
}

#[test]
fn a_wait_dropped_after_its_generation_did_count() {
    let barrier = Barrier::new(3);
    let wakers = [(); 5].map(|()| CountingWaker::new());
    let [mut a, mut b, mut leader, mut next] = [(); 4].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &wakers[0]), Pending);
    assert_eq!(poll(&mut b, &wakers[1]), Pending);
    assert_eq!(poll(&mut leader, &wakers[2]), Led(0));
    assert_eq!(poll(&mut b, &wakers[1]), Released(0));
    assert_eq!(poll(&mut next, &wakers[3]), Pending);

    // Released but not polled since, ready, and the leader: the next generation notices none.
    for dropped in [a, b, leader] {
        drop(dropped);
        assert_eq!((barrier.arrived(), barrier.generation()), (1, 1));
    }
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [1, 1, 0, 0, 0]);
    assert_eq!(wakers.each_ref().map(|w| w.clones()), [0, 0, 0, 1, 0]);

    let [mut d, mut e] = [barrier.wait(), barrier.wait()];
    assert_eq!(poll(&mut d, &wakers[4]), Pending);
    assert_eq!(poll(&mut e, &wakers[4]), Led(1));
    assert_eq!(poll(&mut next, &wakers[3]), Released(1));
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [1, 1, 0, 1, 1]);
}

#[test]
fn a_wait_dropped_generations_later_changes_nothing() {
    let barrier = Barrier::new(2);
    let [late, waker] = [CountingWaker::new(), CountingWaker::new()];
    let mut a = barrier.wait();
    assert_eq!(poll(&mut a, &late), Pending);
    for generation in 0..5 {
        assert_eq!(poll(&mut barrier.wait(), &waker), Led(generation));
        mem::forget({
            let mut next = barrier.wait();
            assert_eq!(poll(&mut next, &waker), Pending);
            next
        });
    }
    drop(a);
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 5));
    assert_eq!((late.wakes(), late.clones()), (1, 0));
}

#[test]
fn a_withdrawn_waker_is_dropped_and_never_woken() {
    let barrier = Barrier::new(2);
    let [withdrawn, waker] = [CountingWaker::new(), CountingWaker::new()];
    let mut a = barrier.wait();
    assert_eq!(poll(&mut a, &withdrawn), Pending);
    assert_eq!(withdrawn.clones(), 1);
    drop(a);
    assert_eq!(withdrawn.clones(), 0);

    let mut b = barrier.wait();
    assert_eq!(poll(&mut b, &waker), Pending);
    assert_eq!(poll(&mut barrier.wait(), &waker), Led(0));
    assert_eq!(poll(&mut b, &waker), Released(0));
    assert_eq!((withdrawn.wakes(), waker.wakes()), (0, 1));
    assert_eq!((withdrawn.clones(), waker.clones()), (0, 0));
}

#[test]
fn a_leaked_wait_counts_once_and_then_no_more() {
    let barrier = Barrier::new(3);
    let [lost, waker] = [CountingWaker::new(), CountingWaker::new()];
    let mut leaked = barrier.wait();
    assert_eq!(poll(&mut leaked, &lost), Pending);
    mem::forget(leaked);
    assert_eq!((barrier.arrived(), lost.clones()), (1, 1));

    // It stands for one party of generation 0, whichever others arrive and withdraw.
    assert_eq!(poll(&mut barrier.wait(), &waker), Pending);
    assert_eq!(barrier.arrived(), 1);
    let mut a = barrier.wait();
    assert_eq!(poll(&mut a, &waker), Pending);
    assert_eq!(poll(&mut barrier.wait(), &waker), Led(0));
    assert_eq!(poll(&mut a, &waker), Released(0));
    assert_eq!((lost.wakes(), lost.clones()), (1, 0));

    // Generation 1 needs three others.
    let [mut b, mut c] = [barrier.wait(), barrier.wait()];
    assert_eq!(poll(&mut b, &waker), Pending);
    assert_eq!(poll(&mut c, &waker), Pending);
    assert_eq!((barrier.arrived(), barrier.generation()), (2, 1));
    assert_eq!(poll(&mut barrier.wait(), &waker), Led(1));
    assert_eq!((lost.wakes(), lost.clones()), (1, 0));
    assert_eq!((waker.wakes(), waker.clones()), (3, 0));
}

#[test]
fn any_n_of_more_waits_make_a_generation() {
    let barrier = Barrier::new(3);
    let wakers = [(); 7].map(|()| CountingWaker::new());
    let mut waits = [(); 7].map(|()| barrier.wait());
    let mut outcomes = Vec::new();
    for (wait, waker) in waits.iter_mut().zip(&wakers) {
        outcomes.push(poll(wait, waker));
    }
    assert_eq!(
        outcomes,
        [Pending, Pending, Led(0), Pending, Pending, Led(1), Pending]
    );
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 2));
    for (place, outcome) in [(0, 0), (1, 0), (3, 1), (4, 1)] {
        assert_eq!(poll(&mut waits[place], &wakers[place]), Released(outcome));
    }
    assert_eq!(poll(&mut waits[6], &wakers[6]), Pending);
    let wakes = wakers.each_ref().map(CountingWaker::wakes);
    assert_eq!(wakes, [1, 1, 0, 1, 1, 0, 0]);
}

#[test]
fn a_panic_withdraws_the_arrivals_of_its_task() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let mut wait = barrier.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        assert_eq!(barrier.arrived(), 1);
        resume_unwind(Box::new("the task's own panic"));
    }));
    assert_eq!(
        panic.unwrap_err().downcast_ref(),
        Some(&"the task's own panic")
    );
    assert_eq!(barrier.arrived(), 0);
    assert_eq!((waker.wakes(), waker.clones()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_loop_is_never_counted_twice() {
    let barrier = Arc::new(Barrier::new(2));
    let other = tokio::spawn({
        let barrier = barrier.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1050)).await;
            assert_eq!((barrier.arrived(), barrier.generation()), (1, 0));
            barrier.wait().await
        }
    });
    let mut timeouts = 0;
    let result = loop {
        match timeout(Duration::from_millis(100), barrier.wait()).await {
            Ok(result) => break result,
            Err(_) => timeouts += 1,
        }
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
    };
    assert_eq!(timeouts, 10);
    assert!(!result.is_leader());
    assert!(other.await.unwrap().is_leader());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
}

#[tokio::test]
async fn a_select_loop_is_never_counted_twice() {
    let barrier = Arc::new(Barrier::new(2));
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let other = tokio::spawn({
        let barrier = barrier.clone();
        async move {
            for message in 0..10 {
                sender.send(message).await.unwrap();
            }
            barrier.wait().await
        }
    });
    let mut messages = Vec::new();
    let result = loop {
        tokio::select! {
            biased;
            result = barrier.wait() => break result,
            Some(message) = receiver.recv() => messages.push(message),
        }
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
    };
    assert_ne!(result.is_leader(), other.await.unwrap().is_leader());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    // The last message may still be on its way.
    assert!(messages.len() >= 9);
}

#[tokio::test]
async fn an_aborted_task_withdraws_its_arrival() {
    let barrier = Arc::new(Barrier::new(2));
    let wait = |barrier: Arc<Barrier>| async move { barrier.wait().await };
    let aborted = tokio::spawn(wait(barrier.clone()));
    while barrier.arrived() == 0 {
        yield_now().await;
    }
    aborted.abort();
    assert!(aborted.await.unwrap_err().is_cancelled());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));

    let a = tokio::spawn(wait(barrier.clone()));
    let b = tokio::spawn(wait(barrier.clone()));
    assert_ne!(a.await.unwrap().is_leader(), b.await.unwrap().is_leader());
}

#[test]
fn a_cancelled_smol_task_withdraws_its_arrival() {
    let barrier = Barrier::new(2);
    let executor = smol::LocalExecutor::new();
    smol::block_on(executor.run(async {
        let cancelled = executor.spawn(barrier.wait());
        while barrier.arrived() == 0 {
            smol::future::yield_now().await;
        }
        assert_eq!(cancelled.cancel().await, None);
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));

        let a = executor.spawn(barrier.wait());
        let b = executor.spawn(barrier.wait());
        assert_ne!(a.await.is_leader(), b.await.is_leader());
    }));
}
