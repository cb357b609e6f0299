//! What a generation costs as it grows: up to 100,000 parties of one barrier, and up to 10,000 barriers of
//! 8 parties each.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use atomic_barrier::{Barrier, phaser::Participant};
use atomic_barrier_benches::{
    comparison::{Column, Figures, Options, plot},
    tasks::{self, Party},
};
use clap::Parser;
use tokio::runtime::Runtime;

const PARTIES: [usize; 15] = [
    2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192, 16_384, 32_768, 100_000,
];
const BARRIERS: [usize; 3] = [1, 100, 10_000];
/// Of each barrier, where there are many.
const OF: usize = 8;
/// In one sample of many barriers, or of more where that is asked for.
const GENERATIONS: u64 = 16;

/// Interleaved comparison of ever larger barriers, and of ever more barriers.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

type Sample = fn(&Runtime, usize, u64) -> Duration;

fn many<P: Party>(runtime: &Runtime, barriers: usize, times: u64) -> Duration {
    tasks::run_many::<P>(runtime, barriers, OF, times * GENERATIONS)
}

fn columns(runtime: &Runtime, samples: [Sample; 4]) -> Vec<Column<'_>> {
    let names = [
        <Arc<Barrier>>::NAME,
        <Arc<tokio::sync::Barrier>>::NAME,
        <Arc<asyncband::barrier::Barrier>>::NAME,
        Participant::NAME,
    ];
    let columns = names.into_iter().zip(samples);
    let columns =
        columns.map(|(name, sample)| Column::new(name, move |n, times| sample(runtime, n, times)));
    columns.collect()
}

fn main() -> Result<()> {
    let Command { options } = Command::parse();
    let mut grown = Vec::new();
    for flavour in options.flavours(&["1", "2"]) {
        let runtime = flavour.runtime();
        let columns = columns(
            &runtime,
            [
                tasks::run::<Arc<Barrier>>,
                tasks::run::<Arc<tokio::sync::Barrier>>,
                tasks::run::<Arc<asyncband::barrier::Barrier>>,
                tasks::run::<Participant>,
            ],
        );
        let title = flavour.to_string();
        let parties = options.parties(&PARTIES);
        let per = "task and generation";
        let figures = Figures::measure(&options, &title, per, &parties, |n| n, &columns);
        grown.push(figures);
    }
    let tables: Vec<_> = grown.iter().collect();
    plot(
        &options,
        "growth.svg",
        "Spawned tasks, ns per task and generation",
        &tables,
    )?;

    for flavour in options.flavours(&["1", "2"]) {
        let runtime = flavour.runtime();
        let columns = columns(
            &runtime,
            [
                many::<Arc<Barrier>>,
                many::<Arc<tokio::sync::Barrier>>,
                many::<Arc<asyncband::barrier::Barrier>>,
                many::<Participant>,
            ],
        );
        let title = format!("n barriers of {OF}, {flavour}");
        let waits = |barriers| barriers * OF * GENERATIONS as usize;
        let per = "task and generation";
        Figures::measure(&options, &title, per, &BARRIERS, waits, &columns);
    }
    Ok(())
}
