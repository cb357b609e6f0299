//! Waits that time out, are dropped, aborted and leaked at random, audited generation by generation.

use core::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use std::{
    io,
    panic::resume_unwind,
    sync::{Mutex, mpsc::channel},
    thread,
};

use atomic_barrier::{Barrier, BarrierWaitResult, barrier::Wait};
use futures::{
    future::{join_all, try_join_all},
    poll,
};
use smol::future::{or, yield_now};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use support::{
    block_on::block_on,
    random::Random,
    stress_run::{pass, time_of_each, watch},
};

/// What is known of the arrivals in one generation.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Those that counted.
    arrivals: u8,
    /// Those that counted or were withdrawn, which cannot be told from outside.
    unsure: u8,
    leaders: u8,
}

/// One barrier under stress.
struct Stress {
    barrier: Barrier,
    /// A record for each generation.
    generations: Mutex<Vec<Record>>,
    stop: AtomicBool,
    /// Of the parties, as the watchdog wants to see it.
    progress: AtomicU64,
    withdrawn: AtomicU64,
    /// Waits that were dropped after they had been released, and before they were ready.
    dropped_late: AtomicU64,
}

impl Stress {
    fn new(parties: usize) -> Self {
        Self {
            barrier: Barrier::new(parties),
            generations: Mutex::default(),
            stop: AtomicBool::new(false),
            progress: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
            dropped_late: AtomicU64::new(0),
        }
    }

    fn record(&self, generation: u64, record: impl FnOnce(&mut Record)) {
        let current = self.barrier.generation();
        assert!(generation <= current, "{generation} is after {current}");
        let mut generations = self.generations.lock().unwrap();
        let index = generation as usize;
        if generations.len() <= index {
            generations.resize(index + 1, Record::default());
        }
        record(&mut generations[index]);
    }

    fn record_result(&self, result: BarrierWaitResult) {
        self.record(result.generation(), |record| {
            record.arrivals += 1;
            record.leaders += u8::from(result.is_leader());
        });
    }

    /// Arrives as often as completes a generation, whatever has arrived.
    fn complete_a_generation(&'static self) {
        let parties = self.barrier.parties();
        let mut waits: Vec<_> = (0..parties).map(|_| Audited::new(self, true)).collect();
        for wait in &mut waits {
            let _ = Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// To be called when no party is left.
    fn check(&'static self, name: &str) {
        // With the waits that were leaked.
        self.complete_a_generation();
        let parties = self.barrier.parties() as u8;
        let generations = mem::take(&mut *self.generations.lock().unwrap());
        let unsure = generations
            .iter()
            .filter(|record| record.unsure > 0)
            .count();
        let withdrawn = self.withdrawn.load(Ordering::Relaxed);
        let dropped_late = self.dropped_late.load(Ordering::Relaxed);
        println!(
            "{name}: {} generations of {parties}, of which {unsure} not exact; \
            {withdrawn} withdrawn, {dropped_late} dropped too late",
            generations.len(),
        );
        for (generation, record) in generations.iter().enumerate() {
            let possible = record.arrivals..=record.arrivals + record.unsure;
            assert!(
                possible.contains(&parties),
                "{name}: generation {generation}: {record:?}"
            );
            assert_eq!(
                record.leaders, 1,
                "{name}: generation {generation}: {record:?}"
            );
        }
        assert_eq!(self.barrier.generation(), generations.len() as u64);
        assert_eq!(self.barrier.arrived(), 0);
        assert!(self.has_seen_all());
        assert!(unsure < generations.len() / 4);
    }

    /// Whether the run has seen all that it is for.
    fn has_seen_all(&self) -> bool {
        let shown = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
        shown(&self.withdrawn) && shown(&self.dropped_late)
    }
}

/// A wait that is accounted for whatever becomes of it.
struct Audited {
    stress: &'static Stress,
    /// `None` once it was ready.
    wait: Option<Wait<'static>>,
    /// Whether to find out the generation at once, so that nothing stands between the arrival and
    /// the drop, or only before the drop, so that until then it is polled like any wait.
    early: bool,
    polled: bool,
    arrived_in: Option<u64>,
}

impl Audited {
    fn new(stress: &'static Stress, early: bool) -> Self {
        Self {
            stress,
            wait: Some(stress.barrier.wait()),
            early,
            polled: false,
            arrived_in: None,
        }
    }

    fn poll_wait(&mut self, waker: &Waker) -> Poll<()> {
        self.polled = true;
        let wait = self.wait.as_mut().expect("not ready yet");
        let poll = Pin::new(wait).poll(&mut Context::from_waker(waker));
        poll.map(|result| {
            self.wait = None;
            self.stress.record_result(result);
        })
    }

    /// If a later poll is pending, the generation that was read before it is the wait's: not an
    /// earlier one, since the wait had arrived, nor a later one, since its own was not complete.
    fn find_generation(&mut self, waker: &Waker) -> Poll<()> {
        let generation = self.stress.barrier.generation();
        let poll = self.poll_wait(waker);
        self.arrived_in = Some(generation);
        poll
    }

    /// The wait and its generation, if it has arrived and is not ready.
    fn take_pending(&mut self) -> Option<(Wait<'static>, u64)> {
        if self.polled && self.wait.is_some() && self.arrived_in.is_none() {
            let _ = self.find_generation(Waker::noop());
        }
        Some((self.wait.take()?, self.arrived_in?))
    }

    fn leak(mut self) {
        if let Some((wait, generation)) = self.take_pending() {
            mem::forget(wait);
            self.stress
                .record(generation, |record| record.arrivals += 1);
        }
    }
}

impl Future for Audited {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let first = !self.polled;
        if self.poll_wait(cx.waker()).is_ready() {
            return Poll::Ready(());
        }
        if first && self.early {
            return self.find_generation(cx.waker());
        }
        Poll::Pending
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        let Some((wait, generation)) = self.take_pending() else {
            return;
        };
        let barrier = &self.stress.barrier;
        let late = barrier.generation() != generation;
        drop(wait);
        if late {
            self.stress.dropped_late.fetch_add(1, Ordering::Relaxed);
            self.stress
                .record(generation, |record| record.arrivals += 1);
        } else if barrier.generation() != generation {
            // Completed before the wait was dropped, or after.
            self.stress.record(generation, |record| record.unsure += 1);
        } else {
            self.stress.withdrawn.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn yields(n: u64) {
    for _ in 0..n {
        yield_now().await;
    }
}

async fn leak(mut wait: Audited) {
    if poll!(&mut wait).is_pending() {
        wait.leak();
    }
}

async fn tokio_party(stress: &'static Stress, mut random: Random) {
    while !stress.stop.load(Ordering::Relaxed) {
        let wait = Audited::new(stress, random.coin());
        let soon = random.below(10);
        match random.below(9) {
            0 => drop(wait),
            1 => _ = timeout(random.short_time(), wait).await,
            2 | 3 => tokio::select! {
                () = wait => {}
                () = yields(soon) => {}
            },
            4 => {
                let task = tokio::spawn(wait);
                yields(soon).await;
                task.abort();
                if let Err(error) = task.await {
                    assert!(error.is_cancelled(), "{error}");
                }
            }
            5 => leak(wait).await,
            _ => stress.record_result(stress.barrier.wait().await),
        }
        stress.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// On any executor. Without one there are no tasks to abort.
async fn party(
    stress: &'static Stress,
    mut random: Random,
    executor: Option<&smol::Executor<'static>>,
) {
    while !stress.stop.load(Ordering::Relaxed) {
        let wait = Audited::new(stress, random.coin());
        let soon = random.below(10);
        match (random.below(9), executor) {
            (0, _) => drop(wait),
            (1, _) => {
                let time_is_up = async {
                    smol::Timer::after(random.short_time()).await;
                };
                or(time_is_up, wait).await;
            }
            (2 | 3, _) => or(yields(soon), wait).await,
            (4, Some(executor)) => {
                let task = executor.spawn(wait);
                yields(soon).await;
                task.cancel().await;
            }
            (5, _) => leak(wait).await,
            _ => stress.record_result(stress.barrier.wait().await),
        }
        stress.progress.fetch_add(1, Ordering::Relaxed);
    }
}

fn randoms(parties: usize) -> impl Iterator<Item = Random> {
    (0..parties).map(Random::of_party)
}

/// Runs parties against several barriers. `drive` starts so many and returns when they are done.
fn run(name: &str, drive: impl Fn(&'static Stress, usize) + Sync) {
    const RUNTIMES: usize = 5;
    // Always more tasks than parties.
    const SHAPES: [(usize, usize); 3] = [(2, 3), (4, 7), (8, 20)];

    let time = time_of_each(RUNTIMES * SHAPES.len(), 20.0);

    for (parties, tasks) in SHAPES {
        let stress: &'static Stress = Box::leak(Box::new(Stress::new(parties)));
        let (watched, over) = channel();
        thread::scope(|scope| {
            scope.spawn(move || watch(name, &stress.progress, &stress.barrier, &over));
            let driver = scope.spawn(|| drive(stress, tasks));
            pass(time, || stress.has_seen_all());
            stress.stop.store(true, Ordering::Relaxed);
            // Some still wait for parties that have left by now.
            while !driver.is_finished() {
                stress.complete_a_generation();
                thread::yield_now();
            }
            let driven = driver.join();
            drop(watched);
            if let Err(panic) = driven {
                resume_unwind(panic);
            }
        });
        stress.check(name);
    }
}

fn run_on_tokio(name: &str, runtime: impl Fn() -> io::Result<Runtime> + Sync) {
    run(name, |stress, tasks| {
        runtime().unwrap().block_on(async {
            let parties = randoms(tasks).map(|random| tokio::spawn(tokio_party(stress, random)));
            try_join_all(parties.collect::<Vec<_>>()).await.unwrap();
        });
    });
}

#[test]
fn tokio_on_one_thread() {
    run_on_tokio("tokio, one thread", || {
        Builder::new_current_thread().enable_time().build()
    });
}

#[test]
fn tokio_on_two_workers() {
    run_on_tokio("tokio, 2 workers", || {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
    });
}

#[test]
fn tokio_on_eight_workers() {
    run_on_tokio("tokio, 8 workers", || {
        Builder::new_multi_thread()
            .worker_threads(8)
            .enable_time()
            .build()
    });
}

#[test]
fn smol_on_two_threads() {
    run("smol, 2 threads", |stress, tasks| {
        let executor: &'static smol::Executor<'static> = Box::leak(Box::default());
        let (done, finished) = smol::channel::bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| block_on(executor.run(finished.recv())));
            }
            let party = |random| executor.spawn(party(stress, random, Some(executor)));
            block_on(join_all(randoms(tasks).map(party)));
            drop(done);
        });
    });
}

#[test]
fn plain_threads() {
    run("threads", |stress, tasks| {
        thread::scope(|scope| {
            for random in randoms(tasks) {
                scope.spawn(|| block_on(party(stress, random, None)));
            }
        });
    });
}
