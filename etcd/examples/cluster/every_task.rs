//! To compare with: a barrier in which every task arrives at etcd by itself. It is made to be cheap, not to
//! last: no leases, one request per task, one watch per process; an error ends it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use atomic_barrier_etcd::etcd_client::{Client, Txn, TxnOp, TxnOpResponse, WatchOptions};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    process::{Summary, Work},
    settings::Settings,
};

/// One process, all of whose tasks arrive in etcd.
pub(crate) async fn run(settings: Settings, work: Work) -> Result<Summary> {
    let mut client = Client::connect(&settings.endpoints, None).await?;
    let parties = i64::from(settings.terms.processes) * i64::from(work.tasks);
    let done = format!("{}/done", settings.barrier);
    let from_the_start = WatchOptions::new().with_start_revision(1);
    let mut changes = client.watch(done.clone(), Some(from_the_start)).await?;
    let (complete, completed) = watch::channel(0);
    let mut follow = JoinSet::<Result<()>>::new();
    follow.spawn(async move {
        while let Some(news) = changes.message().await? {
            for event in news.events() {
                let value = event.kv().context("an event without a key")?.value_str()?;
                complete.send_replace(value.parse::<u64>()?);
            }
        }
        bail!("etcd ended the watch")
    });

    let mut tasks = JoinSet::<Result<Duration>>::new();
    for _ in 0..work.tasks {
        let (mut client, mut completed) = (client.clone(), completed.clone());
        let (settings, done) = (settings.clone(), done.clone());
        tasks.spawn(async move {
            let mut since = None;
            for generation in 0..work.generations {
                // How often a key was put is its version: etcd counts the arrivals.
                let arrivals = format!("{}/arrivals/{generation}", settings.barrier);
                let arrive = Txn::new().and_then([
                    TxnOp::put(arrivals.clone(), "", None),
                    TxnOp::get(arrivals.clone(), None),
                ]);
                let arrived = match client.txn(arrive).await?.op_responses().pop() {
                    Some(TxnOpResponse::Get(found)) => found.kvs().first().map(|kv| kv.version()),
                    _ => None,
                };
                if arrived.context("etcd did not count")? == parties {
                    let next = (generation + 1).to_string();
                    let release = Txn::new().and_then([
                        TxnOp::put(done.clone(), next, None),
                        TxnOp::delete(arrivals, None),
                    ]);
                    client.txn(release).await?;
                }
                completed.wait_for(|&done| done > generation).await?;
                since.get_or_insert_with(Instant::now);
            }
            Ok(since.map_or(Duration::ZERO, |since| since.elapsed()))
        });
    }
    let mut time = Duration::ZERO;
    while let Some(task) = tasks.join_next().await {
        time = time.max(task??);
    }
    Ok(Summary { time })
}
