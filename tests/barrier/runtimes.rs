//! The same parties on every executor: whatever polls them and however often they withdraw, each generation
//! has one leader and orders memory.

use core::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};
use std::{
    io::{Write, stderr},
    process,
    sync::Arc,
    thread,
};

use atomic_barrier::{Barrier, BarrierWaitResult};
use embassy_executor::Executor as EmbassyExecutor;
use futures::{
    executor::{LocalPool, ThreadPool},
    future::{join_all, try_join_all},
    task::{LocalSpawnExt, SpawnExt},
};
use smol::future::{or, yield_now};

use support::{block_on::block_on, random::Random};

const GENERATIONS: usize = 5000;

/// How long a meeting may last, which takes a second.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// How many waits were dropped before their generation was complete.
    withdrawn: AtomicU64,
}

impl Meeting {
    fn new(parties: usize) -> Arc<Self> {
        let zeros = |n| (0..n).map(|_| AtomicU64::new(0)).collect();
        let meeting = Arc::new(Self {
            barrier: Barrier::new(parties),
            leaders: zeros(GENERATIONS),
            wrong: AtomicU64::new(0),
            written: [zeros(parties), zeros(parties)],
            withdrawn: AtomicU64::new(0),
        });
        let watched = Arc::downgrade(&meeting);
        thread::spawn(move || {
            thread::sleep(PATIENCE);
            if let Some(meeting) = watched.upgrade() {
                let Self { barrier, wrong, .. } = &*meeting;
                // Past the test harness, which keeps what is printed until the test ends.
                let _ = writeln!(stderr(), "no end of {barrier:?}, {wrong:?} were wrong");
                process::exit(1);
            }
        });
        meeting
    }

    async fn party(self: Arc<Self>, me: usize) {
        let mut random = Random::of_party(me);
        for (generation, leaders) in (0..).zip(&self.leaders) {
            let bank = &self.written[generation as usize % 2];
            // Relaxed: only the barrier orders these.
            bank[me].store(generation + 1, Relaxed);
            let result = self.meet(generation, &mut random).await;
            let stale = |cell: &&AtomicU64| cell.load(Relaxed) != generation + 1;
            let mut wrong = bank.iter().filter(stale).count();
            if let Some(result) = result {
                wrong += usize::from(result.generation() != generation);
                leaders.fetch_add(u64::from(result.is_leader()), Relaxed);
            }
            self.wrong.fetch_add(wrong as u64, Relaxed);
        }
    }

    /// Drops its wait at most twice, after at most two more polls, and then waits for as long as it takes.
    ///
    /// No result if a wait was dropped when its generation was complete.
    async fn meet(&self, generation: u64, random: &mut Random) -> Option<BarrierWaitResult> {
        for _ in 0..random.below(3) {
            let patience = random.below(3);
            let result = or(async { Some(self.barrier.wait().await) }, async {
                for _ in 0..patience {
                    yield_now().await;
                }
                None
            });
            if let Some(result) = result.await {
                return Some(result);
            }
            // There are no more parties than it takes: this one did count, or it is still open.
            if self.barrier.generation() > generation {
                return None;
            }
            self.withdrawn.fetch_add(1, Relaxed);
        }
        Some(self.barrier.wait().await)
    }

    fn check(&self) {
        assert_eq!(self.wrong.load(Relaxed), 0);
        for leaders in &self.leaders {
            assert_eq!(leaders.load(Relaxed), 1);
        }
        assert_eq!(self.barrier.generation(), GENERATIONS as u64);
        assert_eq!(self.barrier.arrived(), 0);
        // Many times as many come about.
        assert!(self.withdrawn.load(Relaxed) > GENERATIONS as u64 / 50);
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
fn futures_local_pool() {
    let meeting = Meeting::new(8);
    let mut pool = LocalPool::new();
    for me in 0..8 {
        let party = meeting.clone().party(me);
        pool.spawner().spawn_local(party).unwrap();
    }
    pool.run();
    meeting.check();
}

#[test]
fn futures_thread_pool() {
    let meeting = Meeting::new(8);
    let pool = ThreadPool::builder().pool_size(2).create().unwrap();
    let parties = (0..8).map(|me| pool.spawn_with_handle(meeting.clone().party(me)).unwrap());
    block_on(join_all(parties));
    meeting.check();
}

#[test]
fn pollster_on_a_thread_for_each() {
    let meeting = Meeting::new(3);
    thread::scope(|scope| {
        for me in 0..3 {
            let meeting = meeting.clone();
            scope.spawn(move || pollster::block_on(meeting.party(me)));
        }
    });
    meeting.check();
}

#[test]
fn embassy_on_std() {
    #[embassy_executor::task(pool_size = 8)]
    async fn party(meeting: Arc<Meeting>, me: usize) {
        meeting.party(me).await;
    }

    let meeting = Meeting::new(8);
    // It wants to be static, as on a device.
    let executor = Box::leak(Box::new(EmbassyExecutor::new()));
    executor.run_until(
        |spawner| {
            for me in 0..8 {
                spawner.spawn(party(meeting.clone(), me).unwrap());
            }
        },
        // Each party has left.
        || Arc::strong_count(&meeting) == 1,
    );
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
