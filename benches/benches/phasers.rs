//! The paired comparison of phasers: this crate's and asyncband's, and beside them barriers of as many
//! parties. `cargo bench --bench phasers -- --help`
//! lists the options.

use std::sync::Arc;

use anyhow::Result;

use atomic_barrier_benches::{
    comparison::{Column, Comparison, column},
    floor::Floor,
    tasks::Flavour,
};

const COLUMNS: [Column; 5] = [
    column::<atomic_barrier::Participant>(),
    column::<asyncband::phaser::PhaserParticipant>(),
    column::<Arc<atomic_barrier::Barrier>>(),
    column::<Arc<tokio::sync::Barrier>>(),
    column::<Arc<Floor>>(),
];
const ASYNCBAND: usize = 1;

fn main() -> Result<()> {
    let comparison = Comparison {
        bench: "phasers",
        columns: &COLUMNS,
        flavours: Flavour::named(&["ct", "1", "2"]),
    };
    let cells = comparison.run()?;
    println!("\nTargets, for this crate's phaser:");
    for flavour in Flavour::named(&["ct", "2"]) {
        comparison.judge_mean(&cells, flavour, 2.0);
    }
    comparison.judge_every_cell(&cells, ASYNCBAND);
    Ok(())
}
