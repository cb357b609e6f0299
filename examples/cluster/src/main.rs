//! One process of a cluster, a whole cluster on this machine, and what a crossing costs.

mod cost;
mod run;

use std::{io, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use cluster::{
    every_task,
    process::{self, Work},
    settings::Settings,
};

/// Tasks of many processes meet in one barrier: atomic-barrier's in each process, and one crossing
/// between the processes, on etcd, for each generation.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts processes on this machine, and checks in the end that nothing was lost
    Run(run::Options),

    /// Is one process
    Process {
        #[command(flatten)]
        settings: Settings,

        #[command(flatten)]
        work: Work,

        /// Where to append a line for each generation's work
        #[arg(long, value_name = "FILE")]
        records: Option<PathBuf>,

        /// Every task crosses etcd by itself, to compare with
        #[arg(long, conflicts_with = "records")]
        every_task: bool,
    },

    /// Measures requests and time of a generation
    Cost(cost::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let (who, outcome) = match Options::parse().command {
        Command::Run(options) => ("run".to_owned(), run::run(options).await),
        Command::Cost(options) => ("cost".to_owned(), cost::run(options).await),
        Command::Process {
            settings,
            work,
            records,
            every_task,
        } => (
            settings.process.clone(),
            one_process(settings, work, records, every_task).await,
        ),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // In one piece, as many processes may write here at once.
            let line = format!("{who}: {error:#}\n");
            eprint!("{line}");
            ExitCode::FAILURE
        }
    }
}

async fn one_process(
    settings: Settings,
    work: Work,
    records: Option<PathBuf>,
    every_task: bool,
) -> Result<()> {
    let summary = match every_task {
        true => every_task::run(settings, work).await?,
        false => process::run(settings, work, records).await?,
    };
    serde_json::to_writer(io::stdout(), &summary)?;
    println!();
    Ok(())
}
