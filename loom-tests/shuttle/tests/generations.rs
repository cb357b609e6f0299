//! Tasks that meet over several generations, under random schedules and under those of few
//! preemptions at random places (PCT), which find what takes a rare order of few steps.
//!
//! A failure prints its schedule; `shuttle::replay` runs that again.

mod support;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_barrier_over_shuttle::{Barrier, BarrierWaitResult};
use shuttle::{
    rand::{Rng, thread_rng},
    thread::{self, Thread},
};

use support::explore;

const GENERATIONS: usize = 4;

/// Unparks a thread, and remembers that it did.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Unpark {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: thread::current(),
            woken: AtomicBool::new(false),
        })
    }

    /// Sleeps until this very waker is woken: a wake of an older one does not count.
    fn sleep(&self) {
        while !self.woken.load(SeqCst) {
            thread::park();
        }
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.thread.unpark();
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Arc<Unpark>) -> Poll<F::Output> {
    let waker = Waker::from(waker.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// Polls with a fresh waker each time, now and then without having been woken.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    loop {
        let waker = Unpark::new();
        if let Poll::Ready(output) = poll(&mut future, &waker) {
            return output;
        }
        if thread_rng().gen_ratio(1, 2) {
            waker.sleep();
        }
    }
}

/// What the tasks have done, on atomics that shuttle does not see: they add no schedules.
struct Tracker {
    entered: Vec<AtomicUsize>,
    leaders: Vec<AtomicUsize>,
}

impl Tracker {
    fn new(tasks: usize) -> Self {
        Self {
            entered: (0..tasks).map(|_| AtomicUsize::new(0)).collect(),
            leaders: (0..GENERATIONS).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    fn enter(&self, task: usize, generation: usize) {
        self.entered[task].store(generation + 1, SeqCst);
    }

    fn withdraw(&self, task: usize, generation: usize) {
        self.entered[task].store(generation, SeqCst);
    }

    /// No party goes on from a generation in which another has not arrived.
    fn leave(&self, generation: usize, leads: bool) {
        for entered in &self.entered {
            assert!(entered.load(SeqCst) > generation, "a party is missing");
        }
        self.leaders[generation].fetch_add(usize::from(leads), SeqCst);
    }
}

/// Runs as many tasks as parties, each through every generation by way of `wait`, which returns
/// whether the task led.
fn run_tasks(tasks: usize, wait: fn(&Barrier, &Tracker, task: usize, generation: usize) -> bool) {
    let barrier = Arc::new(Barrier::new(tasks));
    let tracker = Arc::new(Tracker::new(tasks));
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (barrier, tracker) = (barrier.clone(), tracker.clone());
            thread::spawn(move || {
                for generation in 0..GENERATIONS {
                    let leads = wait(&barrier, &tracker, task, generation);
                    tracker.leave(generation, leads);
                }
            })
        })
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    for leaders in &tracker.leaders {
        assert_eq!(leaders.load(SeqCst), 1, "leaders of a generation");
    }
    assert_eq!(barrier.arrived(), 0);
    assert_eq!(barrier.generation(), GENERATIONS as u64);
}

/// Withdraws at random and tries again, until the generation is over.
fn wait_or_withdraw(barrier: &Barrier, tracker: &Tracker, task: usize, generation: usize) -> bool {
    let check = |result: BarrierWaitResult| {
        assert_eq!(result.generation(), generation as u64);
        result.is_leader()
    };
    loop {
        if thread_rng().gen_ratio(1, 2) {
            tracker.enter(task, generation);
            return check(block_on(barrier.wait()));
        }
        tracker.enter(task, generation);
        let mut wait = barrier.wait();
        for _ in 0..thread_rng().gen_range(1..3) {
            if let Poll::Ready(result) = poll(&mut wait, &Unpark::new()) {
                return check(result);
            }
        }
        drop(wait);
        // No generation is complete without this task: so it knows whether it was counted.
        if barrier.generation() > generation as u64 {
            return false;
        }
        tracker.withdraw(task, generation);
    }
}

/// Waits by a random method.
fn wait_by_any_method(
    barrier: &Barrier,
    tracker: &Tracker,
    task: usize,
    generation: usize,
) -> bool {
    tracker.enter(task, generation);
    let result = match thread_rng().gen_range(0..4) {
        0 => block_on(barrier.wait()),
        1 => block_on(barrier.arrive()),
        2 => barrier.wait_blocking(),
        _ => {
            let Some(leader) = block_on(barrier.wait_leader()) else {
                return false;
            };
            assert_eq!(leader.generation(), generation as u64);
            // All have arrived, and none has gone on.
            assert_eq!(barrier.arrived(), barrier.parties());
            thread::yield_now();
            for entered in &tracker.entered {
                assert_eq!(entered.load(SeqCst), generation + 1);
            }
            return true;
        }
    };
    assert_eq!(result.generation(), generation as u64);
    result.is_leader()
}

#[test]
fn four_tasks_that_withdraw_at_random() {
    explore(1_000, || run_tasks(4, wait_or_withdraw));
}

#[test]
fn eight_tasks_that_withdraw_at_random() {
    explore(300, || run_tasks(8, wait_or_withdraw));
}

#[test]
fn sixteen_tasks_that_withdraw_at_random() {
    explore(100, || run_tasks(16, wait_or_withdraw));
}

#[test]
fn four_tasks_by_any_method() {
    explore(1_000, || run_tasks(4, wait_by_any_method));
}

#[test]
fn eight_tasks_by_any_method() {
    explore(300, || run_tasks(8, wait_by_any_method));
}

#[test]
fn sixteen_tasks_by_any_method() {
    explore(100, || run_tasks(16, wait_by_any_method));
}
