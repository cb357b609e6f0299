//! A whole cluster on this machine: starts its processes, may kill one, and checks the records.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{self, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use tokio::{
    process::{Child, Command},
    task::JoinSet,
};

use crate::{
    etcd::Etcd,
    history::{self, History},
    in_words,
    process::Work,
    settings::{Loss, Terms},
};

#[derive(Args)]
pub(crate) struct Options {
    /// Where etcd listens; without this three members are started, and stopped in the end
    #[arg(long = "endpoint", value_delimiter = ',', value_name = "URL")]
    endpoints: Vec<String>,

    #[command(flatten)]
    terms: Terms,

    #[command(flatten)]
    work: Work,

    /// Kills the last process with SIGKILL as soon as this many generations are complete
    #[arg(long, value_name = "GENERATIONS")]
    kill_at: Option<u64>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let Options {
        mut endpoints,
        terms,
        work,
        kill_at,
    } = options;
    ensure!(
        kill_at.is_none_or(|at| at < work.generations),
        "--kill-at must come before the end, at {} generations",
        work.generations
    );
    let mut own = None;
    if endpoints.is_empty() {
        endpoints = own.insert(Etcd::start(3).await?).endpoints();
    }
    let records = tempfile::tempdir().context("no folder for the records")?;
    let barrier = fresh_name();
    let start = Instant::now();
    let mut children = Vec::new();
    for process in 0..terms.processes {
        let name = format!("p{process}");
        let mut more: Vec<OsString> = vec!["--records".into()];
        more.push(records.path().join(&name).into());
        children.push(spawn(&barrier, &name, &endpoints, &terms, &work, more)?);
    }

    if let Some(at) = kill_at {
        let victim = children.last_mut().expect("there is at least one");
        let name = format!("p{}", terms.processes - 1);
        tokio::select! {
            _ = victim.wait() => {}
            reached = history::until_complete(&endpoints, &barrier, at) => {
                in_words(&endpoints, reached)?;
                victim.kill().await?;
                println!("{at} generations are complete: {name} is killed");
            }
        }
    }
    let expected = children.len() - usize::from(kill_at.is_some());
    let mut ends = JoinSet::new();
    for child in children {
        ends.spawn(child.wait_with_output());
    }
    let mut well = 0;
    while let Some(end) = ends.join_next().await {
        well += usize::from(end??.status.success());
    }

    let seconds = start.elapsed().as_secs_f64();
    let events = in_words(&endpoints, history::read(&endpoints, &barrier, 1).await)?;
    let history = history::replay(&events, terms.on_loss == Loss::Fail)?;
    report(&history, records.path(), work.tasks)?;
    println!("{seconds:.1} s in all");
    ensure!(
        well >= expected,
        "{} of {} processes stopped with an error",
        expected - well,
        terms.processes
    );
    Ok(())
}

fn report(history: &History, records: &Path, tasks: u32) -> Result<()> {
    let tally = history::check(history, records, tasks).context("work was lost, or done twice")?;
    let mut first = 0;
    for same in history.counted.chunk_by(|a, b| a == b) {
        let names: Vec<_> = same[0].keys().map(String::as_str).collect();
        let last = first + same.len() - 1;
        println!("generations {first} to {last}: {}", names.join(" "));
        first = last + 1;
    }
    println!(
        "{} generations, each completed once; {} times a process was counted, each time with its \
         work done once by each of {tasks} tasks; {} times work was done and not counted",
        history.counted.len(),
        tally.counted,
        tally.uncounted
    );
    Ok(())
}

/// Starts this program as one process of the cluster.
pub(crate) fn spawn(
    barrier: &str,
    name: &str,
    endpoints: &[String],
    terms: &Terms,
    work: &Work,
    more: impl IntoIterator<Item = OsString>,
) -> Result<Child> {
    let on_loss = terms.on_loss.to_possible_value().expect("none is hidden");
    Command::new(env::current_exe()?)
        .arg("process")
        .args(["--barrier", barrier, "--process", name])
        .args(["--endpoint", &endpoints.join(",")])
        .args(["--processes", &terms.processes.to_string()])
        .args(["--on-loss", on_loss.get_name()])
        .args(["--ttl", &terms.ttl.to_string()])
        .args(["--patience", &terms.patience.to_string()])
        .args(["--tasks", &work.tasks.to_string()])
        .args(["--generations", &work.generations.to_string()])
        .args(more)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process")
}

/// Of a barrier that never was before.
pub(crate) fn fresh_name() -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("cluster-{}-{}", process::id(), now.as_nanos())
}

/// How long a process that has come to its end has taken.
pub(crate) async fn time_of(child: Child) -> Result<Duration> {
    let end = child.wait_with_output().await?;
    ensure!(end.status.success(), "a process stopped with an error");
    let text = String::from_utf8_lossy(&end.stdout);
    let seconds = text.trim().strip_suffix(" seconds").context("no time")?;
    Ok(Duration::from_secs_f64(seconds.parse()?))
}
