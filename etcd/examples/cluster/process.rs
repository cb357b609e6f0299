//! One process of the cluster: tasks that work, write down that they have, and meet.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use tokio::task::JoinSet;

use crate::settings::Settings;

/// What a process does between two generations, and how often.
#[derive(Args, Clone, Debug)]
pub(crate) struct Work {
    /// Tasks in each process
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tasks: u32,

    /// Generations that are to be complete in the end
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) generations: u64,
}

/// What a process prints when it has come to its end.
#[derive(Debug)]
pub(crate) struct Summary {
    /// From the end of the first generation that it has waited for to the end of the last.
    pub(crate) time: Duration,
}

/// The work, of which nothing may be lost: each task writes a line before it arrives.
struct Ledger {
    lease: i64,
    file: Option<File>,
}

impl Ledger {
    fn write(&self, generation: u64) -> Result<()> {
        let Some(mut file) = self.file.as_ref() else {
            return Ok(());
        };
        let line = format!("{generation} {}\n", self.lease);
        // One write, which a kill does not cut in two.
        (file.write_all(line.as_bytes())).context("the work cannot be recorded")
    }
}

/// One process of the cluster, from joining to leaving.
pub(crate) async fn run(
    settings: Settings,
    work: Work,
    records: Option<PathBuf>,
) -> Result<Summary> {
    let file = records.map(|path| {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.with_context(|| format!("cannot write to {}", path.display()))
    });
    let file = file.transpose()?;
    let joined = settings.join(work.tasks).await;
    let barrier = joined.with_context(|| format!("cannot join {}", settings.barrier))?;
    let barrier = Arc::new(barrier);
    let lease = barrier.lease();
    let ledger = Arc::new(Ledger { lease, file });

    let first = barrier.generation();
    let mut tasks = JoinSet::new();
    for _ in 0..work.tasks {
        let (barrier, ledger) = (barrier.clone(), ledger.clone());
        tasks.spawn(async move {
            let mut since = None;
            for generation in first..work.generations {
                let failed = |error| (generation, error);
                ledger.write(generation).map_err(failed)?;
                let result = barrier.wait().await;
                result.map_err(|error| failed(error.into()))?;
                since.get_or_insert_with(Instant::now);
            }
            Ok(since.map_or(Duration::ZERO, |since| since.elapsed()))
        });
    }
    let mut time = Duration::ZERO;
    let mut failed = None;
    let mut failures = 0;
    while let Some(task) = tasks.join_next().await {
        match task.context("a task panicked")? {
            Ok(its) => time = time.max(its),
            Err(failure) => {
                failures += 1;
                failed = Some(failure);
            }
        }
    }
    // Where that fails the lease will end.
    let _ = barrier.leave().await;
    match failed {
        Some((generation, error)) => Err(anyhow!(
            "{failures} of {} tasks stopped in generation {generation}: {error:#}",
            work.tasks
        )),
        None => Ok(Summary { time }),
    }
}
