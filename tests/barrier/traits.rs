//! What the types promise beside their behaviour: auto traits, size, `const`, `Debug`, limits.

#[cfg(feature = "std")]
use atomic_barrier::barrier::WaitTimeoutError;
use atomic_barrier::{
    Barrier, BarrierWaitResult, Phaser,
    barrier::{
        Arrival, Leader, Observation as BarrierObservation, OwnedArrival, OwnedLeader, OwnedWait,
        OwnedWaitLeader, Wait, WaitLeader,
    },
    phaser::{self, Closed, Observation, Participant, RegisterError},
};
use core::{
    fmt::Debug,
    future::Future,
    panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe},
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::{panic::catch_unwind, sync::Arc};

fn poll<F: Future + Unpin>(wait: &mut F) -> Poll<F::Output> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

/// Compiles or does not; there is nothing to run.
const _: () = {
    const fn auto<T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    const fn value<T: Copy + Eq>() {}
    const fn future<F: Future<Output = T>, T>() {
        let spans = if cfg!(feature = "tracing") { 8 } else { 0 };
        assert!(size_of::<F>() <= 40 + spans);
    }
    auto::<Barrier>();
    assert!(cfg!(feature = "tracing") || size_of::<Barrier>() <= 224);
    auto::<BarrierWaitResult>();
    value::<BarrierWaitResult>();
    auto::<Wait<'static>>();
    future::<Wait<'static>, BarrierWaitResult>();
    auto::<OwnedWait>();
    future::<OwnedWait, BarrierWaitResult>();
    auto::<Arrival<'static>>();
    future::<Arrival<'static>, BarrierWaitResult>();
    auto::<WaitLeader<'static>>();
    future::<WaitLeader<'static>, Option<Leader<'static>>>();
    auto::<Leader<'static>>();
    auto::<OwnedArrival>();
    future::<OwnedArrival, BarrierWaitResult>();
    auto::<OwnedWaitLeader>();
    future::<OwnedWaitLeader, Option<OwnedLeader>>();
    auto::<OwnedLeader>();
    auto::<BarrierObservation<'static>>();
    future::<BarrierObservation<'static>, ()>();
    assert!(size_of::<Leader<'static>>() <= 40);

    auto::<Phaser>();
    assert!(size_of::<Phaser>() == size_of::<usize>());
    auto::<Participant>();
    assert!(size_of::<Participant>() <= 40);
    auto::<phaser::WaitResult>();
    value::<phaser::WaitResult>();
    // These borrow their participant for themselves, and so are not unwind safe.
    const fn borrows<T: Debug + Send + Sync + Unpin + RefUnwindSafe>() {}
    borrows::<phaser::Wait<'static>>();
    future::<phaser::Wait<'static>, Result<phaser::WaitResult, Closed>>();
    borrows::<phaser::WaitLeader<'static>>();
    future::<phaser::WaitLeader<'static>, Result<Option<phaser::Leader<'static>>, Closed>>();
    borrows::<phaser::Leader<'static>>();
    assert!(size_of::<phaser::Leader<'static>>() <= 40);
    auto::<Observation<'static>>();
    future::<Observation<'static>, Result<(), Closed>>();
    const fn error<T: core::error::Error + Copy + Eq + Send + Sync + Unpin + 'static>() {}
    error::<Closed>();
    error::<RegisterError>();
};

#[cfg(feature = "std")]
const _: () = {
    const fn error<T: core::error::Error + Copy + Eq>() {}
    const fn auto<T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    error::<WaitTimeoutError>();
    auto::<WaitTimeoutError>();
    error::<phaser::WaitError>();
    auto::<phaser::WaitError>();
    assert!(size_of::<WaitTimeoutError>() == 0);
};

#[test]
fn a_static_barrier_needs_no_arc() {
    static BARRIER: Barrier = Barrier::new(2);
    let other = std::thread::spawn(|| futures::executor::block_on(BARRIER.wait()));
    let here = futures::executor::block_on(BARRIER.wait());
    let there = other.join().unwrap();
    assert_eq!(here.is_leader(), !there.is_leader());
    assert_eq!((here.generation(), there.generation()), (0, 0));
}

#[test]
fn results_are_equal_if_generation_and_leadership_are() {
    let barrier = Barrier::new(2);
    let mut results = Vec::new();
    for _generation in 0..2 {
        let mut first = barrier.wait();
        assert!(poll(&mut first).is_pending());
        results.push(futures::executor::block_on(barrier.wait()));
        results.push(futures::executor::block_on(first));
    }
    for (i, a) in results.iter().enumerate() {
        for (j, b) in results.iter().enumerate() {
            assert_eq!(a == b, i == j);
        }
    }
    assert_eq!(
        format!("{:?}", results[2]),
        "BarrierWaitResult { generation: 1, is_leader: true, .. }"
    );
}

#[test]
fn parties_that_never_come_together_are_a_number_like_any_other() {
    for n in [
        usize::MAX,
        usize::MAX / 2 + 1,
        usize::MAX / 2,
        u32::MAX as usize,
    ] {
        let barrier = Barrier::new(n);
        assert_eq!(barrier.parties(), n);
        for _ in 0..3 {
            let mut waits: Vec<_> = (0..20).map(|_| barrier.wait()).collect();
            for (polled, wait) in waits.iter_mut().enumerate() {
                assert_eq!(barrier.arrived(), polled);
                assert!(poll(wait).is_pending());
            }
            for (dropped, wait) in waits.into_iter().enumerate() {
                assert_eq!(barrier.arrived(), 20 - dropped);
                drop(wait);
            }
            assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
        }
    }
}

#[test]
fn a_barrier_prints_its_parties_arrivals_and_generation() {
    let barrier = Barrier::new(3);
    let mut waits = [barrier.wait(), barrier.wait(), barrier.wait()];
    for (arrived, wait) in waits.iter_mut().enumerate() {
        assert_eq!(
            format!("{barrier:?}"),
            format!("Barrier {{ parties: 3, arrived: {arrived}, generation: 0, .. }}")
        );
        let _ = poll(wait);
    }
    assert_eq!(
        format!("{barrier:?}"),
        "Barrier { parties: 3, arrived: 0, generation: 1, .. }"
    );
    assert_eq!(
        format!("{:?}", Barrier::new(0)),
        "Barrier { parties: 1, arrived: 0, generation: 0, .. }"
    );
}

#[test]
fn futures_and_leaders_print_what_can_be_asked_of_them() {
    /// That of a future whose barrier is for two, before, between and after its polls.
    fn prints<F: Future + Debug + Unpin>(
        mut wait: F,
        name: &str,
        barrier: &Barrier,
        more: [&str; 3],
    ) {
        let printed = |wait: &F, more: &str| {
            assert_eq!(
                format!("{wait:?}"),
                format!("{name} {{ barrier: {barrier:?}, {more}.. }}")
            );
        };
        printed(&wait, more[0]);
        assert!(poll(&mut wait).is_pending());
        printed(&wait, more[0]);
        while barrier.generation() == 0 {
            drop(barrier.arrive());
        }
        printed(&wait, more[1]);
        assert!(poll(&mut wait).is_ready());
        printed(&wait, more[2]);
    }
    let barrier = || Arc::new(Barrier::new(2));
    let none = [""; 3];
    let arrival = [
        "generation: Some(0), is_released: false, ",
        "generation: Some(0), is_released: true, ",
        "generation: None, is_released: true, ",
    ];
    let b = barrier();
    prints(b.wait(), "Wait", &b, none);
    let b = barrier();
    prints(b.clone().wait_owned(), "OwnedWait", &b, none);
    let b = barrier();
    prints(b.wait_leader(), "WaitLeader", &b, none);
    let b = barrier();
    prints(b.clone().wait_leader_owned(), "OwnedWaitLeader", &b, none);
    let b = barrier();
    prints(b.arrive(), "Arrival", &b, arrival);
    let b = barrier();
    prints(b.clone().arrive_owned(), "OwnedArrival", &b, arrival);
    let b = barrier();
    prints(b.observe(0), "Observation", &b, none);

    let b = Arc::new(Barrier::new(1));
    let Poll::Ready(Some(leader)) = poll(&mut b.wait_leader()) else {
        panic!("the last to arrive does not lead");
    };
    assert_eq!(
        format!("{leader:?}"),
        format!("Leader {{ barrier: {b:?}, generation: 0, .. }}")
    );
    drop(leader);
    let Poll::Ready(Some(leader)) = poll(&mut b.clone().wait_leader_owned()) else {
        panic!("the last to arrive does not lead");
    };
    assert_eq!(
        format!("{leader:?}"),
        format!("OwnedLeader {{ barrier: {b:?}, generation: 1, .. }}")
    );
}

/// Checks it for a future that is ready.
fn panics_if_polled_again<F: Future + Unpin>(mut wait: F) {
    assert!(poll(&mut wait).is_ready());
    for _ in 0..2 {
        let Err(panic) = catch_unwind(AssertUnwindSafe(|| poll(&mut wait).is_ready())) else {
            panic!("polled again");
        };
        let message: &&str = panic.downcast_ref().unwrap();
        assert!(message.contains("polled again after it was ready"));
    }
}

#[test]
fn polling_a_leader_after_ready_panics() {
    let barrier = Arc::new(Barrier::new(1));
    panics_if_polled_again(barrier.wait());
    panics_if_polled_again(barrier.clone().wait_owned());
    panics_if_polled_again(barrier.arrive());
    panics_if_polled_again(barrier.wait_leader());
    panics_if_polled_again(barrier.clone().arrive_owned());
    panics_if_polled_again(barrier.clone().wait_leader_owned());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 6));
}

#[test]
fn polling_a_released_wait_after_ready_panics() {
    let barrier = Arc::new(Barrier::new(5));
    let mut wait = barrier.wait();
    let mut owned = barrier.clone().wait_owned();
    let mut arrival = barrier.arrive();
    let mut wait_leader = barrier.wait_leader();
    assert!(poll(&mut wait).is_pending());
    assert!(poll(&mut owned).is_pending());
    assert!(poll(&mut arrival).is_pending());
    assert!(poll(&mut wait_leader).is_pending());
    let mut observation = barrier.observe(0);
    assert!(poll(&mut observation).is_pending());
    assert!(poll(&mut barrier.wait()).is_ready());
    panics_if_polled_again(observation);
    panics_if_polled_again(barrier.observe(0));
    panics_if_polled_again(wait);
    panics_if_polled_again(owned);
    panics_if_polled_again(arrival);
    panics_if_polled_again(wait_leader);
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
}

#[test]
fn a_barrier_may_be_carried_across_a_panic() {
    let barrier = Barrier::new(2);
    let unwound = std::panic::catch_unwind(|| {
        let mut wait = barrier.wait();
        assert!(poll(&mut wait).is_pending());
        assert_eq!(barrier.arrived(), 1);
        std::panic::resume_unwind(Box::new("while waiting"));
    });
    assert!(unwound.is_err());
    assert_eq!(barrier.arrived(), 0);
}
