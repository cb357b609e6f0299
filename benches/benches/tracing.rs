//! ns per wait with nobody listening: to be built with the feature `tracing` and without it, and the two
//! programs to be run in turns (`docs/performance.md`).

use std::{env, task::Context, time::Instant};

use atomic_barrier::Barrier;
use atomic_barrier_benches::{manual, peers::Peer};

const PARTIES: usize = 64;
const GENERATIONS: u32 = 2_000;
const ROUNDS: usize = 200;

fn main() {
    // Never so; but a program in which nobody could listen is compiled as if without the feature.
    if env::args().any(|arg| arg == "--listen") {
        let nobody = tracing_subscriber::Registry::default();
        tracing::subscriber::set_global_default(nobody).expect("the only one");
    }
    let barrier = <Barrier as Peer>::new(PARTIES);
    let new_wait = || Peer::wait(&barrier);
    let mut waits: Vec<_> = (0..PARTIES).map(|_| Box::pin(new_wait())).collect();
    let waker = manual::waker();
    let cx = &mut Context::from_waker(&waker);
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..GENERATIONS {
                manual::run_generation::<Barrier, _>(&mut waits, cx, new_wait);
            }
            start.elapsed().as_nanos() as f64 / f64::from(GENERATIONS) / PARTIES as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let feature = if cfg!(feature = "tracing") {
        "with"
    } else {
        "without"
    };
    println!(
        "{} {feature:>7} the feature: {:.2} ns per wait, best of {ROUNDS} rounds; median {:.2}",
        Barrier::NAME,
        rounds[0],
        rounds[ROUNDS / 2]
    );
}
