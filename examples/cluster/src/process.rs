//! The composition: tasks meet at a [`Barrier`] in their process, and the last of them to arrive
//! holds the release while it meets the other processes.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use atomic_barrier::Barrier;
use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{rendezvous::Rendezvous, settings::Settings};

/// What a process does between two crossings, and how often.
#[derive(Args, Clone, Debug)]
pub struct Work {
    /// Tasks in each process
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub tasks: u32,

    /// Generations that are to be complete in the end
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    pub generations: u64,
}

/// What a process prints when it has come to its end.
#[derive(Debug, Serialize, Deserialize)]
pub struct Summary {
    /// Generations that it has crossed.
    pub crossed: u64,
    /// From the end of the first of them to the end of the last.
    pub seconds: f64,
}

/// How many processes were counted. All tasks share an error.
pub type Outcome = Result<usize, Arc<anyhow::Error>>;

/// A barrier for the tasks of this process and of all others.
pub struct Crossing {
    local: Barrier,
    others: tokio::sync::Mutex<Rendezvous>,
    /// Of the last generation. It cannot be overwritten before all tasks have read it: that takes the
    /// next arrival of each of them.
    outcome: Mutex<Outcome>,
}

impl Crossing {
    pub fn new(tasks: usize, rendezvous: Rendezvous) -> Crossing {
        Crossing {
            local: Barrier::new(tasks),
            others: rendezvous.into(),
            outcome: Mutex::new(Ok(0)),
        }
    }

    /// When the last task of this process has come, it calls `before`, and then the process arrives.
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped takes its arrival back while it is one of a local barrier that still
    /// waits for others. When the last task is dropped on its way to the other processes, the others
    /// get an error; the process stays arrived there, and its next generation here is the same there.
    pub async fn wait(&self, before: impl FnOnce() -> Result<()>) -> Outcome {
        if let Some(leader) = self.local.wait_leader().await {
            // A leader that is cancelled half-way releases the others with this, and not with what
            // the last generation brought.
            self.tell(Err(anyhow!("the leader never came back")));
            let outcome = async {
                before()?;
                Ok(self.others.lock().await.cross().await?)
            };
            self.tell(outcome.await);
            leader.release();
        }
        self.outcome.lock().unwrap().clone()
    }

    fn tell(&self, outcome: Result<usize>) {
        *self.outcome.lock().unwrap() = outcome.map_err(Arc::new);
    }
}

/// The work, of which nothing may be lost: each task counts itself, and the process writes down how
/// many have, a line for each generation, before it arrives.
struct Ledger {
    done: AtomicU32,
    lease: i64,
    file: Option<Mutex<File>>,
}

impl Ledger {
    fn write(&self, generation: u64) -> Result<()> {
        let done = self.done.swap(0, Relaxed);
        let Some(file) = &self.file else {
            return Ok(());
        };
        let line = format!("{generation} {} {done}\n", self.lease);
        // One write, which a kill does not cut in two.
        (file.lock().unwrap().write_all(line.as_bytes())).context("the work cannot be recorded")
    }
}

/// One process of the cluster, from joining to leaving.
pub async fn run(settings: Settings, work: Work, records: Option<PathBuf>) -> Result<Summary> {
    let file = records.map(|path| {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        file.with_context(|| format!("cannot write to {}", path.display()))
    });
    let file = file.transpose()?.map(Mutex::new);
    let rendezvous = (Rendezvous::join(settings.clone()).await)
        .with_context(|| format!("cannot join {}", settings.barrier))?;
    let first = rendezvous.generation();
    let ledger = Arc::new(Ledger {
        done: AtomicU32::new(0),
        lease: rendezvous.lease(),
        file,
    });
    let crossing = Arc::new(Crossing::new(work.tasks as usize, rendezvous));

    let mut tasks = JoinSet::new();
    for _ in 0..work.tasks {
        let (crossing, ledger) = (crossing.clone(), ledger.clone());
        tasks.spawn(async move {
            let mut since = None;
            for generation in first..work.generations {
                ledger.done.fetch_add(1, Relaxed);
                let outcome = crossing.wait(|| ledger.write(generation)).await;
                outcome.map_err(|error| (generation, error))?;
                since.get_or_insert_with(Instant::now);
            }
            Ok(since.map_or(Duration::ZERO, |since| since.elapsed()))
        });
    }
    let mut longest = Duration::ZERO;
    let mut failed = None;
    let mut failures = 0;
    while let Some(task) = tasks.join_next().await {
        match task.context("a task panicked")? {
            Ok(time) => longest = longest.max(time),
            Err(failure) => {
                failures += 1;
                failed = Some(failure);
            }
        }
    }
    crossing.others.lock().await.leave().await;
    match failed {
        Some((generation, error)) => Err(anyhow!(
            "{failures} of {} tasks stopped in generation {generation}: {error:#}",
            work.tasks
        )),
        None => Ok(Summary {
            crossed: work.generations.saturating_sub(first),
            seconds: longest.as_secs_f64(),
        }),
    }
}
