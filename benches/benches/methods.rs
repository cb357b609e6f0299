//! What each method of waiting costs, and what one generation with a leader's section saves against
//! two.

use std::{sync::Arc, time::Duration};

use atomic_barrier::{Barrier, BarrierWaitResult};
use tokio::runtime::Runtime;

use atomic_barrier_benches::{
    peers::Peer,
    report::Table,
    sampling::{interleave, quartile},
    tasks::{self, Flavour},
};

const ROUNDS: usize = 15;
const LENGTH: Duration = Duration::from_millis(8);

/// A method of waiting, as if it were another barrier. Its result is whether it led.
macro_rules! method {
    ($method:ident($inner:ty), $name:literal, |$barrier:ident| $wait:expr) => {
        struct $method($inner);

        impl Peer for $method {
            type WaitResult = bool;
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

method!(Wait(Barrier), "wait", |barrier| led(barrier.wait().await));
method!(Owned(Arc<Barrier>), "wait_owned", |barrier| led(barrier
    .clone()
    .wait_owned()
    .await));
method!(Split(Barrier), "arrive, then await", |barrier| led(barrier
    .arrive()
    .await));
method!(Section(Barrier), "wait_leader, release", |barrier| {
    match barrier.wait_leader().await {
        Some(leader) => {
            leader.release();
            true
        }
        None => false,
    }
});
method!(Twice(Barrier), "wait, act, wait", |barrier| {
    let led = led(barrier.wait().await);
    barrier.wait().await;
    led
});

type Sample = fn(&Runtime, n: usize, generations: u64) -> Duration;

const METHODS: [(&str, Sample); 5] = [
    (Wait::NAME, tasks::run::<Arc<Wait>>),
    (Owned::NAME, tasks::run::<Arc<Owned>>),
    (Split::NAME, tasks::run::<Arc<Split>>),
    (Section::NAME, tasks::run::<Arc<Section>>),
    (Twice::NAME, tasks::run::<Arc<Twice>>),
];

fn main() {
    for flavour in Flavour::named(&["ct", "2"]) {
        let runtime = flavour.runtime();
        let title = format!("Methods of waiting, {flavour}");
        let note = format!("ns per task and generation, medians of {ROUNDS} interleaved rounds");
        let table = Table::start(&title, &[&note], &["", "n = 8", "64", "512"]);
        let columns = [8, 64, 512].map(|n| {
            let samples = METHODS.map(|(_, sample)| {
                let runtime = &runtime;
                move |generations| sample(runtime, n, generations)
            });
            interleave(&samples, ROUNDS, LENGTH)
                .into_iter()
                .map(|times| quartile(times, 2) / n as f64)
                .collect::<Vec<_>>()
        });
        for (method, (name, _)) in METHODS.iter().enumerate() {
            let mut cells = vec![name.to_string()];
            cells.extend(
                columns
                    .iter()
                    .map(|column| format!("{:.1}", column[method])),
            );
            table.row(&cells);
        }
    }
}
