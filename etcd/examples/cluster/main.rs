//! One process of a cluster, a whole cluster on this machine, and what a generation costs.

mod cost;
mod double_barrier;
#[expect(dead_code, reason = "the tests use the rest")]
mod etcd;
mod every_task;
mod history;
mod process;
mod run;
mod settings;

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use atomic_barrier_etcd::{EtcdError, etcd_client};
use clap::{Parser, Subcommand, ValueEnum};

use self::{process::Work, settings::Settings};

/// Tasks of many processes wait for each other: at atomic-barrier's barrier in each process, and by one
/// request of each process to etcd, for each generation.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts an etcd and processes on this machine, and checks in the end that nothing was lost
    Run(run::Options),

    /// Is one process. An etcd must be there already
    Process {
        #[command(flatten)]
        settings: Settings,

        #[command(flatten)]
        work: Work,

        /// Where to append a line for each task and generation
        #[arg(long, value_name = "FILE")]
        records: Option<PathBuf>,

        /// Another barrier to compare with
        #[arg(long, value_enum, default_value_t = Way::Crate, conflicts_with = "records")]
        way: Way,
    },

    /// Measures requests, bytes and time of a generation, on etcds of its own
    Cost(cost::Options),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Way {
    /// This crate's
    Crate,
    /// Every task arrives at etcd by itself
    EveryTask,
    /// etcd's recipe for a double barrier, entered once by each process
    DoubleBarrier,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (name, outcome) = match Options::parse().command {
        Command::Run(options) => ("run".to_owned(), run::run(options).await),
        Command::Cost(options) => ("cost".to_owned(), cost::run(options).await),
        Command::Process {
            settings,
            work,
            records,
            way,
        } => (
            settings.process.clone(),
            one_process(settings, work, records, way).await,
        ),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one piece, as many processes may write here at once.
            let line = format!("{name}: {error:#}\n");
            eprint!("{line}");
            ExitCode::FAILURE
        }
    }
}

async fn one_process(
    settings: Settings,
    work: Work,
    records: Option<PathBuf>,
    way: Way,
) -> Result<()> {
    let endpoints = settings.endpoints.clone();
    let summary = match way {
        Way::Crate => process::run(settings, work, records).await,
        Way::EveryTask => in_words(&endpoints, every_task::run(settings, work).await),
        Way::DoubleBarrier => in_words(&endpoints, double_barrier::run(settings, work).await),
    }?;
    println!("{} seconds", summary.time.as_secs_f64());
    Ok(())
}

/// Says where etcd is, and in words what its client has met.
fn in_words<T>(endpoints: &[String], outcome: Result<T>) -> Result<T> {
    outcome
        .map_err(|error| match error.downcast::<etcd_client::Error>() {
            Ok(error) => EtcdError::from(error).into(),
            Err(error) => error,
        })
        .with_context(|| format!("etcd at {}", endpoints.join(", ")))
}
