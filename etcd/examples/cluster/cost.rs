//! What a generation costs, by etcd's own count, beside two other ways to meet on etcd.

use std::{ops::Sub, time::Duration};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use tokio::task::JoinSet;

use crate::{
    Way,
    etcd::Etcd,
    process::Work,
    run::{fresh_name, spawn, time_of},
    settings::{Loss, Terms},
};

#[derive(Args)]
pub(crate) struct Options {
    /// Numbers of etcd members
    #[arg(long, value_delimiter = ',', default_value = "1,3",
          value_parser = clap::value_parser!(u32).range(1..=9))]
    members: Vec<u32>,

    /// Numbers of processes
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8",
          value_parser = clap::value_parser!(u32).range(1..=64))]
    processes: Vec<u32>,

    /// Numbers of tasks in each process
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    tasks: Vec<u32>,

    /// Generations to measure over; a tenth of them for etcd's double barrier
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(30..))]
    generations: u64,

    /// Arrivals to measure over, at least 3 generations, where every task arrives at etcd by itself
    #[arg(long, default_value_t = 4000, value_parser = clap::value_parser!(u64).range(1..))]
    arrivals: u64,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    println!(
        "A generation: requests that etcd has received, and bytes that it has received and sent, both for \
         each process, all kinds included; and ms.\n"
    );
    println!(
        "| etcd members | processes | tasks in each | requests | bytes | ms \
         | etcd's double barrier: requests | bytes | ms \
         | every task by itself: requests | bytes | ms |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for &members in &options.members {
        let etcd = Etcd::start(members as usize).await?;
        for &processes in &options.processes {
            for &tasks in &options.tasks {
                let few = options.arrivals / (u64::from(processes) * u64::from(tasks));
                let mut row = String::new();
                for (way, generations) in [
                    (Way::Crate, options.generations),
                    (Way::DoubleBarrier, options.generations / 10),
                    // What comes after it in the same row would find etcd busy with the rest of it.
                    (Way::EveryTask, few.clamp(3, options.generations)),
                ] {
                    let work = Work { tasks, generations };
                    row += &match measure(&etcd.endpoints(), processes, work, way).await {
                        Ok(cost) => format!(
                            " {:.1} | {:.0} | {:.2} |",
                            cost.used.requests, cost.used.bytes, cost.ms
                        ),
                        // With thousands of tasks it may be etcd that gives up, as the processes have said.
                        Err(_) => " failed | | |".to_owned(),
                    };
                }
                println!("| {members} | {processes} | {tasks} |{row}");
            }
        }
    }
    Ok(())
}

struct Cost {
    /// For a process and generation.
    used: Used,
    ms: f64,
}

async fn measure(endpoints: &[String], processes: u32, work: Work, way: Way) -> Result<Cost> {
    let terms = Terms {
        processes,
        on_loss: Loss::Fail,
        ttl: 5,
        patience: 30,
    };
    let generations = work.generations;
    let barrier = fresh_name();
    let before = used(endpoints)?;
    let mut ends = JoinSet::new();
    for process in 0..processes {
        let way = way.to_possible_value().expect("none is hidden");
        let more = ["--way".into(), way.get_name().into()];
        let name = format!("p{process}");
        let child = spawn(&barrier, &name, endpoints, &terms, &work, more)?;
        ends.spawn(time_of(child));
    }
    let mut longest = Duration::ZERO;
    while let Some(time) = ends.join_next().await {
        longest = longest.max(time??);
    }
    let used = used(endpoints)? - before;
    let each = f64::from(processes) * generations as f64;
    Ok(Cost {
        used: Used {
            requests: used.requests / each,
            bytes: used.bytes / each,
        },
        // The first generation ends where the time begins.
        ms: 1000.0 * longest.as_secs_f64() / (generations - 1) as f64,
    })
}

/// By etcd's own count.
#[derive(Default)]
struct Used {
    requests: f64,
    bytes: f64,
}

impl Sub for Used {
    type Output = Used;

    fn sub(self, before: Used) -> Used {
        Used {
            requests: self.requests - before.requests,
            bytes: self.bytes - before.bytes,
        }
    }
}

/// What all members have counted so far.
fn used(endpoints: &[String]) -> Result<Used> {
    let mut used = Used::default();
    for endpoint in endpoints {
        let metrics = ureq::get(format!("{endpoint}/metrics"))
            .call()
            .and_then(|mut response| response.body_mut().read_to_string())
            .with_context(|| format!("no metrics from {endpoint}"))?;
        for line in metrics.lines() {
            let (name, count) = line.rsplit_once(' ').unwrap_or_default();
            let sum = match name.split('{').next() {
                Some("grpc_server_msg_received_total") => &mut used.requests,
                Some(
                    "etcd_network_client_grpc_received_bytes_total"
                    | "etcd_network_client_grpc_sent_bytes_total",
                ) => &mut used.bytes,
                _ => continue,
            };
            *sum += count.parse::<f64>()?;
        }
    }
    Ok(used)
}
