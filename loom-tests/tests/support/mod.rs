//! What every model needs: an exploration that proves it explored, and wakers that count.
//!
//! The wakers are built on the standard library's atomics, which loom does not see: they add
//! nothing to the state space.

#![allow(dead_code, reason = "each crate of models uses a part of this")]

pub(crate) mod phaser;

use std::{
    collections::BTreeMap,
    env,
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_barrier_over_loom::{
    Barrier, BarrierWaitResult,
    barrier::{Leader, OwnedWait},
};

/// Explores every execution of `model`, with no bound on preemptions, and asserts that there were
/// at least `floor` of them and that they ended in exactly the `outcomes` named.
///
/// A model that no longer races, or that no longer reaches what it is there for, fails.
#[track_caller]
pub(crate) fn explore(
    floor: usize,
    outcomes: &[&str],
    model: impl Fn() -> String + Send + Sync + 'static,
) {
    explore_bounded(None, floor, outcomes, model);
}

/// The same with at most `preemptions` preemptions an execution; `LOOM_MAX_PREEMPTIONS` overrides.
#[track_caller]
pub(crate) fn explore_bounded(
    preemptions: impl Into<Option<usize>>,
    floor: usize,
    outcomes: &[&str],
    model: impl Fn() -> String + Send + Sync + 'static,
) {
    let mut builder = loom::model::Builder::new();
    if let (None, Some(bound)) = (builder.preemption_bound, preemptions.into()) {
        builder.preemption_bound = Some(bound);
    }
    builder.max_branches = 100_000;

    let seen = Arc::new(Mutex::new(BTreeMap::<String, usize>::new()));
    let record = seen.clone();
    builder.check(move || {
        let outcome = model();
        *record.lock().unwrap().entry(outcome).or_default() += 1;
    });

    let seen = seen.lock().unwrap();
    let executions: usize = seen.values().sum();
    println!("{executions} executions: {seen:#?}");
    assert!(
        executions >= floor || !counts_matter(),
        "explored {executions} executions, expected {floor} at least"
    );
    assert_eq!(
        seen.keys().map(String::as_str).collect::<Vec<_>>(),
        outcomes,
        "outcomes"
    );
}

/// Whether numbers of executions are asserted. Not so for mutants: an edit that takes a step out
/// leaves less to explore, and that catches nothing.
pub(crate) fn counts_matter() -> bool {
    env::var_os("ANY_NUMBER_OF_EXECUTIONS").is_none()
}

/// Counts its wakes.
#[derive(Default)]
pub(crate) struct Counter(AtomicUsize);

impl Counter {
    pub(crate) fn new() -> Arc<Self> {
        let counter = Arc::<Self>::default();
        // Keeps its address from being used again. A waker that is compared with one that is gone would be
        // equal to it or not, as the allocator and the models on other threads have it, and loom cannot
        // repeat that.
        mem::forget(Arc::downgrade(&counter));
        counter
    }

    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(crate) fn wakes(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.count();
    }
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F, counter: &Arc<Counter>) -> Poll<F::Output> {
    let waker = Waker::from(counter.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// A barrier with its first four slots, so that no model grows the slab that is not about that.
pub(crate) fn warm(parties: usize) -> Arc<Barrier> {
    let barrier = Arc::new(Barrier::new(parties));
    if parties > 1 {
        drop(arrived(&barrier, &Counter::new()));
    }
    barrier
}

/// A wait that has arrived and is not the last.
pub(crate) fn arrived(barrier: &Arc<Barrier>, counter: &Arc<Counter>) -> OwnedWait {
    let mut wait = barrier.clone().wait_owned();
    assert!(poll(&mut wait, counter).is_pending());
    wait
}

/// The leader of the current generation, which lacks one party.
#[track_caller]
pub(crate) fn lead(barrier: &Barrier) -> Leader<'_> {
    match poll(&mut barrier.wait_leader(), &Counter::new()) {
        Poll::Ready(Some(leader)) => leader,
        other => panic!("should lead: {other:?}"),
    }
}

/// The result of a wait that must be ready.
#[track_caller]
pub(crate) fn ready(wait: &mut OwnedWait, counter: &Arc<Counter>) -> BarrierWaitResult {
    match poll(wait, counter) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("should be ready"),
    }
}

/// Asserts that nothing is left over after `generation` generations: nobody is counted, and one
/// more generation takes `n` arrivals and wakes each of its waiters once.
#[track_caller]
pub(crate) fn assert_clean(barrier: &Arc<Barrier>, generation: u64) {
    assert_eq!((barrier.arrived(), barrier.generation()), (0, generation));
    let followers = barrier.parties() - 1;
    let counters: Vec<_> = (0..followers).map(|_| Counter::new()).collect();
    let mut waits: Vec<_> = counters.iter().map(|it| arrived(barrier, it)).collect();
    let last = ready(&mut barrier.clone().wait_owned(), &Counter::new());
    assert!(last.is_leader());
    assert_eq!(last.generation(), generation);
    for (wait, counter) in waits.iter_mut().zip(&counters) {
        assert_eq!(counter.wakes(), 1);
        assert!(!ready(wait, counter).is_leader());
    }
}
