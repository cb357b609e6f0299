//! What each way to wait costs, and what one crossing with a leader's section saves against two.

#[expect(dead_code, reason = "few numbers of parties")]
mod crossing;
#[expect(dead_code, reason = "it does not matter who leads")]
mod peers;
mod rounds;

use std::{sync::Arc, time::Duration};

use atomic_barrier::{Barrier, BarrierWaitResult};
use tokio::runtime::Runtime;

use crossing::{Flavour, cross};
use peers::Peer;
use rounds::{interleave, quartile};

const ROUNDS: usize = 15;
const LENGTH: Duration = Duration::from_millis(8);

/// Another way to wait, as if it were another barrier. Its result is whether it led.
macro_rules! way {
    ($way:ident($inner:ty), $name:literal, |$barrier:ident| $wait:expr) => {
        struct $way($inner);

        impl Peer for $way {
            type Crossed = bool;
            const NAME: &str = $name;
            fn new(parties: usize) -> Self {
                Self(Barrier::new(parties).into())
            }
            async fn wait(&self) -> bool {
                let $barrier = &self.0;
                $wait
            }
            fn is_leader(led: &bool) -> bool {
                *led
            }
        }
    };
}

fn led(result: BarrierWaitResult) -> bool {
    result.is_leader()
}

way!(Wait(Barrier), "wait", |barrier| led(barrier.wait().await));
way!(Owned(Arc<Barrier>), "wait_owned", |barrier| led(barrier
    .clone()
    .wait_owned()
    .await));
way!(Split(Barrier), "arrive, then await", |barrier| led(barrier
    .arrive()
    .await));
way!(Section(Barrier), "wait_leader, release", |barrier| {
    match barrier.wait_leader().await {
        Some(leader) => {
            leader.release();
            true
        }
        None => false,
    }
});
way!(Twice(Barrier), "wait, act, wait", |barrier| {
    let led = led(barrier.wait().await);
    barrier.wait().await;
    led
});

type Sample = fn(&Runtime, n: usize, generations: u64) -> Duration;

const WAYS: [(&str, Sample); 5] = [
    (Wait::NAME, cross::<Arc<Wait>>),
    (Owned::NAME, cross::<Arc<Owned>>),
    (Split::NAME, cross::<Arc<Split>>),
    (Section::NAME, cross::<Arc<Section>>),
    (Twice::NAME, cross::<Arc<Twice>>),
];

fn main() {
    println!("Ways to wait: ns per task and round, medians of {ROUNDS} interleaved rounds");
    for flavour in Flavour::named(&["ct", "2"]) {
        let runtime = flavour.runtime();
        println!(
            "\n{flavour:<22} | {:>8} | {:>8} | {:>8}",
            "n = 8", "64", "512"
        );
        let columns = [8, 64, 512].map(|n| {
            let samples = WAYS.map(|(_, sample)| {
                let runtime = &runtime;
                move |rounds| sample(runtime, n, rounds)
            });
            interleave(&samples, ROUNDS, LENGTH)
                .into_iter()
                .map(|times| quartile(times, 2) / n as f64)
                .collect::<Vec<_>>()
        });
        for (way, (name, _)) in WAYS.iter().enumerate() {
            let [a, b, c] = [0, 1, 2].map(|column: usize| columns[column][way]);
            println!("{name:<22} | {a:>8.1} | {b:>8.1} | {c:>8.1}");
        }
    }
}
