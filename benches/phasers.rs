//! The paired comparison of phasers: this crate's and asyncband's, whose members arrive and wait over
//! and over, and beside them barriers of as many parties. `cargo bench --bench phasers -- --help`
//! lists the options.

mod comparison;
mod crossing;
mod floor;
#[expect(dead_code, reason = "it does not matter who leads")]
mod peers;
mod plots;
mod rounds;

use std::sync::Arc;

use anyhow::Result;

use comparison::{Column, Comparison, column};
use crossing::{Flavour, Member};
use floor::Floor;

const COLUMNS: [Column; 5] = [
    column::<atomic_barrier::Participant>(),
    column::<asyncband::phaser::PhaserParticipant>(),
    column::<Arc<atomic_barrier::Barrier>>(),
    column::<Arc<tokio::sync::Barrier>>(),
    column::<Arc<Floor>>(),
];
const ASYNCBAND: usize = 1;

impl Member for atomic_barrier::Participant {
    const NAME: &str = "phaser";

    fn group(n: usize) -> Vec<Self> {
        let members = atomic_barrier::Phaser::new().register_many(n);
        members.expect("so many members fit")
    }

    async fn wait(&mut self) {
        self.wait().await.expect("nobody closes it");
    }
}

impl Member for asyncband::phaser::PhaserParticipant {
    const NAME: &str = "asyncband";

    fn group(n: usize) -> Vec<Self> {
        let members = asyncband::phaser::Phaser::new().register(n);
        members.expect("nobody closes it").collect()
    }

    async fn wait(&mut self) {
        self.wait().await.expect("nobody closes it");
    }
}

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
