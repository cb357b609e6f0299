//! The paired comparison of phasers: this crate's and asyncband's, and beside them barriers of as many
//! parties. `cargo bench --bench phasers -- --help` lists the options.

use std::sync::Arc;

use asyncband::phaser::PhaserParticipant;
use atomic_barrier::{Barrier, phaser::Participant};
use atomic_barrier_benches::{
    comparison::{Column, Figures, Options},
    floor::Floor,
    report::targets,
    tasks::{self, Flavour, PARTIES, Party},
};
use clap::Parser;
use tokio::runtime::Runtime;

/// Interleaved comparison of phasers.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

fn column<P: Party>(runtime: &Runtime) -> Column<'_> {
    Column::new(P::NAME, |n, generations| {
        tasks::run::<P>(runtime, n, generations)
    })
}

fn main() {
    let Command { options } = Command::parse();
    let mut tables = Vec::new();
    for flavour in options.flavours(&["ct", "1", "2"]) {
        let runtime = flavour.runtime();
        let mut columns = vec![
            column::<Participant>(&runtime),
            column::<PhaserParticipant>(&runtime),
            column::<Arc<Barrier>>(&runtime),
            column::<Arc<tokio::sync::Barrier>>(&runtime),
        ];
        if flavour == Flavour::CurrentThread {
            columns.push(column::<Arc<Floor>>(&runtime));
        }
        let title = format!("Participants of a phaser, {flavour}");
        let parties = options.parties(&PARTIES);
        let per = "task and phase";
        let figures = Figures::measure(&options, &title, per, &parties, |n| n, &columns);
        tables.push(figures);
    }
    targets();
    for figures in tables {
        figures.judge_mean(PhaserParticipant::NAME, 1.8);
        figures.judge_every_row(PhaserParticipant::NAME, 1.3);
    }
}
