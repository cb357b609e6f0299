//! How long the last arrival takes to release the others: the first of them, and all of them.
//!
//! Every task notes when it comes out of a wait, and goes straight into the next: what the leader
//! noted a generation ago is when the last party arrived. The leader's own way out is not
//! counted. Rounds of this crate's barrier and phaser, of the floor and of tokio's barrier take turns.

use std::{
    future::poll_fn,
    num::NonZeroUsize,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Instant,
};

use clap::Parser;
use hdrhistogram::Histogram;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
};

use atomic_barrier::{Barrier, phaser::Participant};
use atomic_barrier_benches::{
    peers::Peer,
    report::{Table, targets, verdict},
    sampling::quartile,
    tasks::Party,
};

/// Time from the last arrival to the first and to the last release.
#[derive(Parser)]
struct Options {
    /// Numbers of parties, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "8,64,512", value_parser = parties)]
    n: Vec<usize>,
    /// Numbers of workers, separated by commas
    #[arg(long, value_delimiter = ',', default_value = "2,4")]
    workers: Vec<NonZeroUsize>,
    /// How often each barrier has its turn in each cell
    #[arg(long, default_value = "15")]
    rounds: NonZeroUsize,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

fn parties(s: &str) -> Result<usize, String> {
    match s.parse() {
        Ok(n) if n >= 2 => Ok(n),
        Ok(_) => Err("nobody waits where there are fewer than 2 parties".to_owned()),
        Err(e) => Err(format!("{e}")),
    }
}

/// Waits in a round, all tasks together: some ten milliseconds.
const WAITS: usize = 300_000;

/// When a task came out of a wait.
#[derive(Clone)]
struct Release {
    /// Nanoseconds since the start of the round.
    at: u64,
    leader: bool,
}

/// Nanoseconds from the last arrival.
struct Latencies {
    first: Histogram<u64>,
    last: Histogram<u64>,
}

impl Latencies {
    fn new() -> Self {
        let histogram = || Histogram::new(3).expect("3 digits are in range");
        Self {
            first: histogram(),
            last: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        let resizable = "a histogram that grows takes every value";
        self.first.add(&other.first).expect(resizable);
        self.last.add(&other.last).expect(resizable);
    }
}

/// A party that learns whether it led.
trait Led: Party {
    fn wait(&mut self) -> impl Future<Output = bool> + Send;
}

impl<B: Peer> Led for Arc<B> {
    async fn wait(&mut self) -> bool {
        B::is_leader(&B::wait(self).await)
    }
}

impl Led for Participant {
    async fn wait(&mut self) -> bool {
        self.wait().await.expect("nobody closes it").is_leader()
    }
}

/// A party of the floor: what the runtime needs to wake and poll the tasks, and next to nothing else.
///
/// A wait is one read-modify-write, and clones no waker: each task leaves its own once, in a place of its own.
struct FloorParty {
    floor: Arc<Floor>,
    place: usize,
    generation: u64,
}

struct Floor {
    arrived: AtomicUsize,
    generation: AtomicU64,
    wakers: Vec<OnceLock<Waker>>,
}

impl Party for FloorParty {
    const NAME: &str = "floor";

    fn group(n: usize) -> Vec<Self> {
        let floor = Arc::new(Floor {
            arrived: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            wakers: vec![OnceLock::new(); n],
        });
        let places = (0..n).map(|place| Self {
            floor: floor.clone(),
            place,
            generation: 0,
        });
        places.collect()
    }

    async fn wait(&mut self) {
        Led::wait(self).await;
    }
}

impl Led for FloorParty {
    async fn wait(&mut self) -> bool {
        let Self {
            floor,
            place,
            generation,
        } = self;
        let mut arrived = false;
        let led = poll_fn(|cx| {
            if arrived {
                // Acquire: pairs with the leader's store.
                let released = floor.generation.load(Ordering::Acquire) > *generation;
                return if released {
                    Poll::Ready(false)
                } else {
                    Poll::Pending
                };
            }
            arrived = true;
            floor.wakers[*place].get_or_init(|| cx.waker().clone());
            // Release: the wakers are there. Acquire: the leader sees all of them.
            if floor.arrived.fetch_add(1, Ordering::AcqRel) + 1 < floor.wakers.len() {
                return Poll::Pending;
            }
            floor.arrived.store(0, Ordering::Relaxed);
            // Release: the count starts again before anybody arrives.
            floor.generation.store(*generation + 1, Ordering::Release);
            let others = floor.wakers.iter().enumerate();
            for (_, waker) in others.filter(|(other, _)| other != place) {
                waker.get().expect("all have arrived").wake_by_ref();
            }
            Poll::Ready(true)
        })
        .await;
        *generation += 1;
        led
    }
}

fn round<P: Led>(runtime: &Runtime, n: usize) -> Latencies {
    let generations = (WAITS / n).max(100);
    let warm_up = generations / 10;
    let start = Instant::now();
    let tasks: Vec<_> = P::group(n)
        .into_iter()
        .map(|mut party| {
            // Not zero, so that the pages are there when the clock runs.
            let release = Release {
                at: 1,
                leader: true,
            };
            let mut releases = vec![release; generations];
            runtime.spawn(async move {
                for release in &mut releases {
                    release.leader = Led::wait(&mut party).await;
                    release.at = start.elapsed().as_nanos() as u64;
                }
                releases
            })
        })
        .collect();
    let tasks: Vec<_> = tasks
        .into_iter()
        .map(|task| runtime.block_on(task).expect("no task panics"))
        .collect();

    let mut latencies = Latencies::new();
    for g in warm_up..generations {
        let leader = tasks.iter().find(|releases| releases[g].leader);
        let arrival = leader.expect("every generation has a leader")[g - 1].at;
        let released = || {
            let others = tasks.iter().filter(|releases| !releases[g].leader);
            others.map(|releases| releases[g].at - arrival)
        };
        let others = "there are 2 parties or more";
        latencies.first += released().min().expect(others);
        latencies.last += released().max().expect(others);
    }
    latencies
}

/// Tasks that keep the workers busy, a microsecond or so at a time, until the set is dropped.
fn background(runtime: &Runtime, tasks: usize) -> JoinSet<()> {
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let busy = async {
            loop {
                for _ in 0..50 {
                    std::hint::spin_loop();
                }
                yield_now().await;
            }
        };
        set.spawn_on(busy, runtime.handle());
    }
    set
}

type Round = fn(&Runtime, n: usize) -> Latencies;

/// tokio's is the last.
const PEERS: [(&str, Round); 4] = [
    (<Arc<Barrier>>::NAME, round::<Arc<Barrier>>),
    (Participant::NAME, round::<Participant>),
    (FloorParty::NAME, round::<FloorParty>),
    (
        <Arc<tokio::sync::Barrier>>::NAME,
        round::<Arc<tokio::sync::Barrier>>,
    ),
];

/// Measures and prints one cell; returns the p99 to the last release as a part of tokio's.
fn cell(
    table: &Table,
    label: [&str; 2],
    runtime: &Runtime,
    n: usize,
    rounds: usize,
) -> [f64; PEERS.len()] {
    let mut all = PEERS.map(|_| Latencies::new());
    let mut ratios = PEERS.map(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        let latencies = PEERS.map(|(_, round)| round(runtime, n));
        let p99 = latencies
            .each_ref()
            .map(|latencies| latencies.last.value_at_quantile(0.99));
        for (peer, latencies) in latencies.iter().enumerate() {
            all[peer].add(latencies);
            ratios[peer].push(p99[peer] as f64 / p99[PEERS.len() - 1] as f64);
        }
    }
    let ratios = ratios.map(|ratios| quartile(ratios, 2));
    for (peer, (name, _)) in PEERS.iter().enumerate() {
        let [workers, load] = label.map(str::to_owned);
        let mut cells = vec![name.to_string(), workers, load, n.to_string()];
        let micros = |histogram: &Histogram<u64>, quantile| {
            format!(
                "{:.2}",
                histogram.value_at_quantile(quantile) as f64 / 1000.0
            )
        };
        let Latencies { first, last } = &all[peer];
        cells.extend([0.5, 0.99].map(|quantile| micros(first, quantile)));
        cells.extend([0.5, 0.99, 0.999].map(|quantile| micros(last, quantile)));
        cells.push(format!("{:.2}", ratios[peer]));
        table.row(&cells);
    }
    ratios
}

fn main() {
    let options = Options::parse();
    let rounds = options.rounds.get();
    let head = [
        "",
        "workers",
        "load",
        "n",
        "first: p50",
        "p99",
        "last: p50",
        "p99",
        "p99.9",
        "of tokio's",
    ];
    let notes = [
        &format!("µs to the first and to the last release, of {rounds} interleaved rounds") as &str,
        "of tokio's: p99 to the last release as a part of tokio's, the median over the rounds",
        "busy: as many yielding tasks as twice the workers",
    ];
    let table = Table::start("From the last arrival to the release", &notes, &head);
    let mut verdicts = Vec::new();
    for workers in &options.workers {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers.get())
            .build()
            .expect("the system has threads for the runtime");
        for (load, tasks) in [("idle", 0), ("busy", 2 * workers.get())] {
            let _background = background(&runtime, tasks);
            for &n in &options.n {
                let label = [&workers.to_string() as &str, load];
                let ratios = cell(&table, label, &runtime, n, rounds);
                verdicts.push((format!("{workers} workers, n = {n}, {load}"), ratios));
            }
        }
    }
    targets();
    for (cell, [ratio, _, floor, _]) in verdicts {
        let what = "p99 to the last release at most half of tokio's";
        let is = format!("is {ratio:.2}, the floor's {floor:.2}");
        verdict(ratio <= 0.5, &format!("{cell}: {what}; {is}"));
    }
}
