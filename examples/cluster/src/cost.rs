//! What a generation costs: requests by etcd's own count, and time, beside a barrier in which every
//! task crosses etcd by itself.

use anyhow::{Context, Result};
use clap::Args;
use cluster::{
    process::Work,
    settings::{OnLoss, Terms},
};
use tokio::task::JoinSet;

use crate::run::{fresh_name, spawn, summary};

#[derive(Args)]
pub struct Options {
    /// Where etcd listens; nobody else should use it meanwhile
    #[arg(long, env = "ETCD_ENDPOINT", default_value = "http://127.0.0.1:2379")]
    endpoint: String,

    /// Numbers of processes
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: Vec<u32>,

    /// Numbers of tasks in each process
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tasks: Vec<u32>,

    /// Generations to measure over
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(3..))]
    generations: u64,

    /// Arrivals to measure over, at least 3 generations, where every task crosses etcd by itself
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(u64).range(1..))]
    arrivals: u64,
}

pub async fn run(options: Options) -> Result<()> {
    println!("A generation, in requests that etcd received, all kinds included, and in ms.\n");
    println!("| processes | tasks in each | requests | ms | every task by itself: requests | ms |");
    println!("|---:|---:|---:|---:|---:|---:|");
    for &processes in &options.processes {
        for &tasks in &options.tasks {
            let ours = measure(&options, processes, tasks, options.generations, false).await?;
            let few = options.arrivals / (u64::from(processes) * u64::from(tasks));
            let few = few.clamp(3, options.generations);
            let theirs = match measure(&options, processes, tasks, few, true).await {
                Ok((requests, ms)) => format!("{requests:.1} | {ms:.2}"),
                // With thousands of tasks it may be etcd that gives up, as the processes have said.
                Err(_) => "failed | ".to_owned(),
            };
            println!(
                "| {processes} | {tasks} | {:.2} | {:.2} | {theirs} |",
                ours.0, ours.1
            );
        }
    }
    Ok(())
}

/// Requests and milliseconds of one generation.
async fn measure(
    options: &Options,
    processes: u32,
    tasks: u32,
    generations: u64,
    every_task: bool,
) -> Result<(f64, f64)> {
    let terms = Terms {
        endpoint: options.endpoint.clone(),
        processes,
        on_loss: OnLoss::Fail,
        ttl: 5,
        patience: 30,
    };
    let work = Work { tasks, generations };
    let barrier = fresh_name();
    let before = requests(&options.endpoint)?;
    let mut ends = JoinSet::new();
    for process in 0..processes {
        let more = every_task.then(|| "--every-task".into());
        let child = spawn(&barrier, &format!("p{process}"), &terms, &work, more)?;
        ends.spawn(summary(child));
    }
    let mut seconds: f64 = 0.0;
    while let Some(end) = ends.join_next().await {
        seconds = seconds.max(end??.seconds);
    }
    let received = requests(&options.endpoint)? - before;
    Ok((
        received / generations as f64,
        // The first generation ends where the time begins.
        1000.0 * seconds / (generations - 1) as f64,
    ))
}

/// How many requests etcd has received so far.
fn requests(endpoint: &str) -> Result<f64> {
    let metrics = ureq::get(format!("{endpoint}/metrics"))
        .call()
        .and_then(|mut response| response.body_mut().read_to_string())
        .with_context(|| format!("no metrics from {endpoint}"))?;
    let received = metrics
        .lines()
        .filter(|line| line.starts_with("grpc_server_msg_received_total{"));
    received
        .map(|line| {
            let (_, count) = line.rsplit_once(' ').context("a metric without a value")?;
            Ok(count.parse::<f64>()?)
        })
        .sum()
}
