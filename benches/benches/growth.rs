//! What a generation costs as it grows: up to 100,000 parties of one barrier, and up to 10,000 barriers of
//! 8 parties each.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use atomic_barrier_benches::{
    comparison::{Column, Figures, Options, Work, plot},
    peers::Peer,
    tasks,
};
use clap::Parser;
use tokio::runtime::Runtime;

const PARTIES: [usize; 15] = [
    2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 8192, 16_384, 32_768, 100_000,
];
const BARRIERS: [usize; 3] = [1, 100, 10_000];
/// Of each barrier, where there are many.
const OF: usize = 8;
/// Of many barriers, for each time that they are asked for.
const GENERATIONS: u64 = 16;

/// Interleaved comparison of ever larger barriers, and of ever more barriers.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

/// A generation of one barrier.
struct One<'a>(&'a Runtime);

impl Work for One<'_> {
    fn run<B: Peer>(&self, n: usize, generations: u64) -> Duration {
        tasks::run::<Arc<B>>(self.0, n, generations)
    }
}

/// Generations of so many barriers.
struct Many<'a>(&'a Runtime);

impl Work for Many<'_> {
    fn run<B: Peer>(&self, barriers: usize, times: u64) -> Duration {
        tasks::run_many::<Arc<B>>(self.0, barriers, OF, times * GENERATIONS)
    }
}

fn main() -> Result<()> {
    const PER: &str = "task and generation";
    let Command { options } = Command::parse();
    let parties = options.parties(&PARTIES);
    let flavours = options.flavours(&["1", "2"]);
    let mut tables = Vec::new();
    for flavour in &flavours {
        let runtime = flavour.runtime();
        let one = One(&runtime);
        let columns = Column::peers(&one);
        let title = flavour.to_string();
        tables.push(Figures::measure(
            &options,
            &title,
            PER,
            &parties,
            |n| n,
            &columns,
        ));
    }
    let title = format!("Spawned tasks, ns per {PER}");
    plot(
        &options,
        "growth.svg",
        &title,
        &tables.iter().collect::<Vec<_>>(),
    )?;

    for flavour in &flavours {
        let runtime = flavour.runtime();
        let many = Many(&runtime);
        let title = format!("n barriers of {OF}, {flavour}");
        let waits = |barriers| barriers * OF * GENERATIONS as usize;
        Figures::measure(
            &options,
            &title,
            PER,
            &BARRIERS,
            waits,
            &Column::peers(&many),
        );
    }
    Ok(())
}
