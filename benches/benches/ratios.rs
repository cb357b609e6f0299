//! The paired comparison of barriers, with the targets. Its ratios and distances are what the
//! documentation quotes. `cargo bench --bench ratios -- --help` lists the options.

use std::sync::Arc;

use anyhow::Result;

use atomic_barrier_benches::{
    comparison::{Cell, Column, Comparison, SUBJECT, column, verdict},
    floor::Floor,
    tasks::Flavour,
};

const COLUMNS: [Column; 5] = [
    column::<Arc<atomic_barrier::Barrier>>(),
    column::<Arc<tokio::sync::Barrier>>(),
    column::<Arc<async_lock::Barrier>>(),
    column::<Arc<asyncband::barrier::Barrier>>(),
    column::<Arc<Floor>>(),
];
const ASYNC_LOCK: usize = 2;
const ASYNCBAND: usize = 3;

fn main() -> Result<()> {
    let comparison = Comparison {
        bench: "ratios",
        columns: &COLUMNS,
        flavours: Flavour::named(&["ct", "1", "2", "4"]),
    };
    let cells = comparison.run()?;
    println!("\nTargets, for {}:", COLUMNS[SUBJECT].name);
    for (flavour, target) in Flavour::named(&["ct", "2"]).into_iter().zip([3.0, 2.5]) {
        comparison.judge_mean(&cells, flavour, target);
    }
    judge_floor(&cells);
    for c in [ASYNC_LOCK, ASYNCBAND] {
        comparison.judge_every_cell(&cells, c);
    }
    Ok(())
}

fn judge_floor(cells: &[Cell]) {
    let above = cells
        .iter()
        .filter(|cell| cell.n >= 8)
        .filter_map(|cell| Some((cell.n, cell.above_floor(SUBJECT)?)));
    if let Some((n, worst)) = above.max_by(|a, b| a.1.total_cmp(&b.1)) {
        verdict(
            worst <= 12.0,
            &format!(
                "current-thread: within 12 ns of the floor from n = 8 on; at most {worst:.1}, at n = {n}"
            ),
        );
    }
}
