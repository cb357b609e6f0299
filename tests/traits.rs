//! What the types promise beside their behaviour: auto traits, size, `const`, `Debug`, limits.

use atomic_barrier::{Barrier, BarrierWaitResult, Wait};
use core::{
    fmt::Debug,
    future::Future,
    panic::{RefUnwindSafe, UnwindSafe},
    pin::Pin,
    task::{Context, Poll, Waker},
};

fn poll(wait: &mut Wait<'_>) -> Poll<BarrierWaitResult> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

/// Compiles or does not; there is nothing to run.
const _: () = {
    const fn barrier<T: Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static>() {}
    const fn wait<T>()
    where
        T: Future<Output = BarrierWaitResult> + Debug + Send + Sync + Unpin,
        T: UnwindSafe + RefUnwindSafe,
    {
    }
    const fn result<T>()
    where
        T: Copy + Eq + Debug + Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + 'static,
    {
    }
    barrier::<Barrier>();
    wait::<Wait<'static>>();
    result::<BarrierWaitResult>();
};

const _: () = assert!(size_of::<Wait<'static>>() <= 40);

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
        "BarrierWaitResult { generation: 1, leader: true }"
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
            format!("Barrier {{ parties: 3, arrived: {arrived}, generation: 0 }}")
        );
        let _ = poll(wait);
    }
    assert_eq!(
        format!("{barrier:?}"),
        "Barrier { parties: 3, arrived: 0, generation: 1 }"
    );
    assert_eq!(
        format!("{:?}", Barrier::new(0)),
        "Barrier { parties: 1, arrived: 0, generation: 0 }"
    );
}

#[test]
fn a_wait_prints_its_barrier_and_how_far_it_has_come() {
    let barrier = Barrier::new(2);
    let mut wait = barrier.wait();
    let prints = |wait: &Wait<'_>, step: &str| {
        let printed = format!("{wait:?}");
        assert!(printed.contains(&format!("{barrier:?}")), "{printed}");
        assert!(printed.contains(step), "{printed}");
    };
    prints(&wait, "New");
    assert!(poll(&mut wait).is_pending());
    prints(&wait, "Arrived { generation: 0,");
    assert!(poll(&mut barrier.wait()).is_ready());
    prints(&wait, "Arrived { generation: 0,");
    assert!(poll(&mut wait).is_ready());
    prints(&wait, "Done");
}

#[test]
#[should_panic(expected = "polled again after it was ready")]
fn polling_a_leader_after_ready_panics() {
    let barrier = Barrier::new(1);
    let mut wait = barrier.wait();
    assert!(poll(&mut wait).is_ready());
    let _ = poll(&mut wait);
}

#[test]
#[should_panic(expected = "polled again after it was ready")]
fn polling_a_released_wait_after_ready_panics() {
    let barrier = Barrier::new(2);
    let mut wait = barrier.wait();
    assert!(poll(&mut wait).is_pending());
    assert!(poll(&mut barrier.wait()).is_ready());
    assert!(poll(&mut wait).is_ready());
    let _ = poll(&mut wait);
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
