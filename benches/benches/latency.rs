//! How long the last arrival takes to release the others: the first of them, and all of them.
//!
//! Every task notes when it comes out of a wait, and goes straight into the next: what the leader
//! noted a generation ago is when the last party arrived. The leader's own way out is not
//! counted. Rounds of this crate and of tokio take turns.

use std::{num::NonZeroUsize, sync::Arc, time::Instant};

use clap::Parser;
use hdrhistogram::Histogram;
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinSet, yield_now},
};

use atomic_barrier_benches::peers::Peer;

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

/// Crossings in a round, all tasks together: some ten milliseconds.
const CROSSINGS: usize = 300_000;

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

fn round<B: Peer>(runtime: &Runtime, n: usize) -> Latencies {
    let generations = (CROSSINGS / n).max(100);
    let warm_up = generations / 10;
    let barrier = Arc::new(B::new(n));
    let start = Instant::now();
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let barrier = barrier.clone();
            // Not zero, so that the pages are there when the clock runs.
            let mut releases = vec![
                Release {
                    at: 1,
                    leader: true
                };
                generations
            ];
            runtime.spawn(async move {
                for release in &mut releases {
                    release.leader = B::is_leader(&barrier.wait().await);
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

/// A target, once measured.
struct Verdict {
    load: &'static str,
    /// This crate's p99 to the last release as a part of tokio's: the median over the rounds.
    ratio: f64,
}

type Round = fn(&Runtime, n: usize) -> Latencies;

const PEERS: [(&str, Round); 2] = [
    (
        atomic_barrier::Barrier::NAME,
        round::<atomic_barrier::Barrier>,
    ),
    (tokio::sync::Barrier::NAME, round::<tokio::sync::Barrier>),
];

/// Measures and prints one cell; returns the ratio of the p99s to the last release.
fn cell(runtime: &Runtime, n: usize, rounds: usize, label: &str) -> f64 {
    let mut all = PEERS.map(|_| Latencies::new());
    let mut ratios = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let both = PEERS.map(|(_, round)| round(runtime, n));
        for (all, latencies) in all.iter_mut().zip(&both) {
            all.add(latencies);
        }
        let [this, tokio] = both.map(|latencies| latencies.last.value_at_quantile(0.99) as f64);
        ratios.push(this / tokio);
    }
    for ((name, _), latencies) in PEERS.iter().zip(&all) {
        print!("{label} | {n:>4} | {name:<14}");
        for histogram in [&latencies.first, &latencies.last] {
            print!(" |");
            for quantile in [0.5, 0.99, 0.999, 1.0] {
                print!(
                    " {:>8.2}",
                    histogram.value_at_quantile(quantile) as f64 / 1000.0
                );
            }
        }
        println!();
    }
    ratios.sort_by(f64::total_cmp);
    ratios[rounds / 2]
}

fn main() {
    let options = Options::parse();
    println!("From the last arrival to the release of the others [µs]");
    println!(
        "{:>7} | {:<4} | {:>4} | {:<14} | {:^35} | {:^35}",
        "", "", "", "", "to the first release", "to the last release"
    );
    print!("{:>7} | {:<4} | {:>4} | {:<14}", "workers", "load", "n", "");
    for _ in 0..2 {
        print!(" | {:>8} {:>8} {:>8} {:>8}", "p50", "p99", "p99.9", "max");
    }
    println!();

    let mut verdicts = Vec::new();
    for workers in &options.workers {
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers.get())
            .build()
            .expect("the system has threads for the runtime");
        for (load, tasks) in [("idle", 0), ("busy", 2 * workers.get())] {
            let _background = background(&runtime, tasks);
            for &n in &options.n {
                let label = format!("{workers:>7} | {load}");
                let ratio = cell(&runtime, n, options.rounds.get(), &label);
                if (workers.get(), n) == (2, 64) {
                    verdicts.push(Verdict { load, ratio });
                }
            }
        }
    }
    println!(
        "  busy: as many yielding tasks as twice the workers; max: of {} rounds",
        options.rounds
    );
    println!("\nTargets, for {}:", PEERS[0].0);
    for Verdict { load, ratio } in verdicts {
        println!(
            "{}  2 workers, n = 64, {load}: p99 to the last release at most 0.5 of tokio's; is {ratio:.2} (median over rounds)",
            if ratio <= 0.5 { "PASS" } else { "FAIL" }
        );
    }
}
