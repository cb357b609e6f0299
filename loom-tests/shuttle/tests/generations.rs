//! Tasks that meet over several generations, under random schedules and under those of few
//! preemptions at random places (PCT), which find what takes a rare order of few steps.
//!
//! A failure prints its schedule; `shuttle::replay` runs that again.

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
    Config, Runner,
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
    thread::{self, Thread},
};

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
struct Books {
    entered: Vec<AtomicUsize>,
    leaders: Vec<AtomicUsize>,
}

impl Books {
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

    /// Nobody leaves a generation that somebody has not entered.
    fn leave(&self, generation: usize, leads: bool) {
        for entered in &self.entered {
            assert!(entered.load(SeqCst) > generation, "a party is missing");
        }
        self.leaders[generation].fetch_add(usize::from(leads), SeqCst);
    }
}

/// Runs as many tasks as parties, each through every generation by way of `cross`, which returns
/// whether the task led.
fn meet(tasks: usize, cross: fn(&Barrier, &Books, task: usize, generation: usize) -> bool) {
    let barrier = Arc::new(Barrier::new(tasks));
    let books = Arc::new(Books::new(tasks));
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (barrier, books) = (barrier.clone(), books.clone());
            thread::spawn(move || {
                for generation in 0..GENERATIONS {
                    let leads = cross(&barrier, &books, task, generation);
                    books.leave(generation, leads);
                }
            })
        })
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    for leaders in &books.leaders {
        assert_eq!(leaders.load(SeqCst), 1, "leaders of a generation");
    }
    assert_eq!(barrier.arrived(), 0);
    assert_eq!(barrier.generation(), GENERATIONS as u64);
}

/// Gives up at random and tries again, until the generation is over.
fn cross_or_give_up(barrier: &Barrier, books: &Books, task: usize, generation: usize) -> bool {
    let check = |result: BarrierWaitResult| {
        assert_eq!(result.generation(), generation as u64);
        result.is_leader()
    };
    loop {
        if thread_rng().gen_ratio(1, 2) {
            books.enter(task, generation);
            return check(block_on(barrier.wait()));
        }
        books.enter(task, generation);
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
        books.withdraw(task, generation);
    }
}

/// Takes any of the ways to wait.
fn cross_by_any_way(barrier: &Barrier, books: &Books, task: usize, generation: usize) -> bool {
    books.enter(task, generation);
    let result = match thread_rng().gen_range(0..4) {
        0 => block_on(barrier.wait()),
        1 => block_on(barrier.arrive()),
        2 => barrier.wait_blocking(),
        _ => {
            let Some(leader) = block_on(barrier.wait_leader()) else {
                return false;
            };
            assert_eq!(leader.generation(), generation as u64);
            // Everybody is there, and nobody has gone on.
            assert_eq!(barrier.arrived(), barrier.parties());
            thread::yield_now();
            for entered in &books.entered {
                assert_eq!(entered.load(SeqCst), generation + 1);
            }
            return true;
        }
    };
    assert_eq!(result.generation(), generation as u64);
    result.is_leader()
}

fn run(scheduler: impl Scheduler + 'static, body: fn()) {
    let mut config = Config::new();
    config.stack_size = 0x2_0000;
    Runner::new(scheduler, config).run(body);
}

fn random(schedules: usize, body: fn()) {
    run(RandomScheduler::new(schedules), body);
}

fn pct(schedules: usize, body: fn()) {
    run(PctScheduler::new(3, schedules), body);
}

#[test]
fn four_tasks_that_give_up_at_random() {
    random(1_000, || meet(4, cross_or_give_up));
    pct(1_000, || meet(4, cross_or_give_up));
}

#[test]
fn eight_tasks_that_give_up_at_random() {
    random(300, || meet(8, cross_or_give_up));
    pct(300, || meet(8, cross_or_give_up));
}

#[test]
fn sixteen_tasks_that_give_up_at_random() {
    random(100, || meet(16, cross_or_give_up));
    pct(100, || meet(16, cross_or_give_up));
}

#[test]
fn four_tasks_by_any_way() {
    random(1_000, || meet(4, cross_by_any_way));
    pct(1_000, || meet(4, cross_by_any_way));
}

#[test]
fn eight_tasks_by_any_way() {
    random(300, || meet(8, cross_by_any_way));
    pct(300, || meet(8, cross_by_any_way));
}

#[test]
fn sixteen_tasks_by_any_way() {
    random(100, || meet(16, cross_by_any_way));
    pct(100, || meet(16, cross_by_any_way));
}
