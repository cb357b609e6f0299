//! Many generations on real runtimes: whoever polls, each has one leader and orders memory.

mod block_on;

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{sync::Arc, thread};

use atomic_barrier::Barrier;
use futures::future::{join_all, try_join_all};

use block_on::block_on;

const GENERATIONS: usize = 5000;

/// Parties that meet over and over, each writing before and reading what the others wrote after.
struct Meeting {
    barrier: Barrier,
    /// How many led each generation.
    leaders: Vec<AtomicU64>,
    /// Results and cells that were not as they must be. Counted, because a party that panicked
    /// would leave the others waiting.
    wrong: AtomicU64,
    /// A cell a party, in two banks: while one is read, the fastest party writes the other.
    written: [Vec<AtomicU64>; 2],
}

impl Meeting {
    fn new(parties: usize) -> Arc<Self> {
        let zeros = |n| (0..n).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            barrier: Barrier::new(parties),
            leaders: zeros(GENERATIONS),
            wrong: AtomicU64::new(0),
            written: [zeros(parties), zeros(parties)],
        })
    }

    async fn party(self: Arc<Self>, me: usize) {
        for (generation, leaders) in (0..).zip(&self.leaders) {
            let bank = &self.written[generation as usize % 2];
            // Relaxed: only the barrier orders these.
            bank[me].store(generation + 1, Relaxed);
            let result = self.barrier.wait().await;
            let stale = |cell: &&AtomicU64| cell.load(Relaxed) != generation + 1;
            let wrong =
                bank.iter().filter(stale).count() + usize::from(result.generation() != generation);
            self.wrong.fetch_add(wrong as u64, Relaxed);
            leaders.fetch_add(u64::from(result.is_leader()), Relaxed);
        }
    }

    fn check(&self) {
        assert_eq!(self.wrong.load(Relaxed), 0);
        for leaders in &self.leaders {
            assert_eq!(leaders.load(Relaxed), 1);
        }
        assert_eq!(self.barrier.generation(), GENERATIONS as u64);
        assert_eq!(self.barrier.arrived(), 0);
    }
}

async fn meet_on_tokio(parties: usize) {
    let meeting = Meeting::new(parties);
    let tasks: Vec<_> = (0..parties)
        .map(|me| tokio::spawn(meeting.clone().party(me)))
        .collect();
    try_join_all(tasks).await.unwrap();
    meeting.check();
}

#[tokio::test]
async fn tokio_on_one_thread() {
    meet_on_tokio(8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokio_on_two_workers() {
    meet_on_tokio(2).await;
    meet_on_tokio(20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn tokio_on_more_workers_than_parties() {
    meet_on_tokio(5).await;
}

#[test]
fn smol_on_two_threads() {
    let meeting = Meeting::new(8);
    let executor = smol::Executor::new();
    let (done, finished) = smol::channel::bounded::<()>(1);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| block_on(executor.run(finished.recv())));
        }
        block_on(join_all(
            (0..8).map(|me| executor.spawn(meeting.clone().party(me))),
        ));
        drop(done);
    });
    meeting.check();
}

#[test]
fn plain_threads() {
    for parties in [2, 5] {
        let meeting = Meeting::new(parties);
        thread::scope(|scope| {
            for me in 0..parties {
                let meeting = meeting.clone();
                scope.spawn(move || block_on(meeting.party(me)));
            }
        });
        meeting.check();
    }
}

#[test]
fn waits_joined_in_one_task() {
    let meeting = Meeting::new(30);
    block_on(join_all((0..30).map(|me| meeting.clone().party(me))));
    meeting.check();
}

#[test]
fn parties_of_different_runtimes() {
    let meeting = Meeting::new(4);
    thread::scope(|scope| {
        scope.spawn(|| block_on(meeting.clone().party(0)));
        scope.spawn(|| smol::block_on(smol::LocalExecutor::new().run(meeting.clone().party(1))));
        scope.spawn(|| futures::executor::block_on(meeting.clone().party(2)));
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build();
        tokio.unwrap().block_on(meeting.clone().party(3));
    });
    meeting.check();
}
