//! Threads at a barrier: one crossing of `wait_blocking`, against the standard library's barrier
//! and async-lock's.

use std::{
    thread,
    time::{Duration, Instant},
};

use atomic_barrier_benches::sampling::quartile;

const ROUNDS: usize = 15;
const CROSSINGS: usize = 2_000;

trait Blocking: Sync {
    const NAME: &str;
    fn new(parties: usize) -> Self;
    fn wait(&self);
}

macro_rules! blocking {
    ($barrier:ty, $name:literal, $wait:ident) => {
        impl Blocking for $barrier {
            const NAME: &str = $name;
            fn new(parties: usize) -> Self {
                Self::new(parties)
            }
            fn wait(&self) {
                self.$wait();
            }
        }
    };
}

blocking!(atomic_barrier::Barrier, "atomic-barrier", wait_blocking);
blocking!(std::sync::Barrier, "std", wait);
blocking!(async_lock::Barrier, "async-lock", wait_blocking);

/// The median and the mean time of a crossing, seen by one of `parties` threads.
fn cross<B: Blocking>(parties: usize) -> [f64; 2] {
    let barrier = B::new(parties);
    let cross = || (0..CROSSINGS).for_each(|_| barrier.wait());
    let times: Vec<Duration> = thread::scope(|scope| {
        for _ in 1..parties {
            scope.spawn(cross);
        }
        barrier.wait();
        let time = |_| {
            let start = Instant::now();
            barrier.wait();
            start.elapsed()
        };
        (1..CROSSINGS).map(time).collect()
    });
    let nanos: Vec<f64> = times.iter().map(|time| time.as_nanos() as f64).collect();
    let mean = nanos.iter().sum::<f64>() / nanos.len() as f64;
    [quartile(nanos, 2), mean]
}

fn main() {
    use async_lock::Barrier as AsyncLock;
    use atomic_barrier::Barrier as This;
    use std::sync::Barrier as Std;

    println!("Threads: ns a crossing, medians of {ROUNDS} interleaved rounds of {CROSSINGS}");
    println!("  speed: times as fast as std, in the same round; median and mean of a round");
    println!(
        "{:>7} | {:>14} | {:>9} | {:>6} | {:>9} | {:>6}",
        "threads", "", "median", "speed", "mean", "speed"
    );
    for parties in [2, 4, 8] {
        let rounds: Vec<_> = (0..ROUNDS)
            .map(|_| {
                [
                    cross::<This>(parties),
                    cross::<Std>(parties),
                    cross::<AsyncLock>(parties),
                ]
            })
            .collect();
        for (who, name) in [This::NAME, Std::NAME, AsyncLock::NAME].iter().enumerate() {
            let of = |what: usize| quartile(rounds.iter().map(|round| round[who][what]), 2);
            let speed = |what: usize| {
                quartile(
                    rounds.iter().map(|round| round[1][what] / round[who][what]),
                    2,
                )
            };
            println!(
                "{parties:>7} | {name:>14} | {:>9.0} | {:>6.2} | {:>9.0} | {:>6.2}",
                of(0),
                speed(0),
                of(1),
                speed(1)
            );
        }
    }
}
