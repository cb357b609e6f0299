//! To compare with: the double barrier of etcd's Go client (`client/v3/experimental/recipes/double_barrier.go`,
//! in 3.4 `contrib/recipes`), step by step, entered once by each process for all of its tasks. A generation is
//! an `Enter` and a `Leave` under a key of its own: under the same key, one that is slow to leave would meet
//! those that have entered again.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use atomic_barrier::Barrier;
use atomic_barrier_etcd::etcd_client::{
    Client, Compare, CompareOp, EventType, GetOptions, GetResponse, KeyValue, PutOptions, Txn,
    TxnOp, WatchOptions,
};
use tokio::{sync::Mutex, task::JoinSet, time::sleep};

use crate::{
    process::{Summary, Work},
    settings::Settings,
};

struct DoubleBarrier {
    client: Client,
    barrier: String,
    key: String,
    count: usize,
    lease: i64,
    mine: String,
}

impl DoubleBarrier {
    async fn enter(&mut self, generation: u64) -> Result<()> {
        self.key = format!("{}/{generation}", self.barrier);
        // `newUniqueEphemeralKey`: put if there is none of that name.
        self.mine = format!("{}/waiters/{:x}", self.key, self.lease);
        let none = Compare::version(self.mine.clone(), CompareOp::Equal, 0);
        let bound = PutOptions::new().with_lease(self.lease);
        let put = TxnOp::put(self.mine.clone(), "", Some(bound));
        let put = self
            .client
            .txn(Txn::new().when([none]).and_then([put]))
            .await?;
        let revision = put.header().context("no header")?.revision();

        let waiters = self.waiters().await?;
        let ready = format!("{}/ready", self.key);
        if waiters.kvs().len() == self.count {
            self.client.put(ready, "", None).await?;
            return Ok(());
        }
        self.wait_for(ready, revision, EventType::Put).await
    }

    async fn leave(&mut self) -> Result<()> {
        let mut mine_is_there = true;
        loop {
            let waiters = self.waiters().await?;
            let by_age = |kv: &&KeyValue| kv.mod_revision();
            let (Some(lowest), Some(highest)) = (
                waiters.kvs().iter().min_by_key(by_age),
                waiters.kvs().iter().max_by_key(by_age),
            ) else {
                return Ok(());
            };
            let is_lowest = lowest.key() == self.mine.as_bytes();
            if waiters.kvs().len() == 1 {
                self.client
                    .delete(format!("{}/ready", self.key), None)
                    .await?;
                self.client.delete(self.mine.clone(), None).await?;
                return Ok(());
            }
            let awaited = if is_lowest {
                highest
            } else {
                if mine_is_there {
                    self.client.delete(self.mine.clone(), None).await?;
                    mine_is_there = false;
                }
                lowest
            };
            let (key, revision) = (awaited.key_str()?.to_owned(), awaited.mod_revision());
            self.wait_for(key, revision, EventType::Delete).await?;
        }
    }

    async fn waiters(&mut self) -> Result<GetResponse> {
        let all = GetOptions::new().with_prefix();
        let waiters = format!("{}/waiters", self.key);
        Ok(self.client.get(waiters, Some(all)).await?)
    }

    async fn wait_for(&mut self, key: String, revision: i64, kind: EventType) -> Result<()> {
        let from = WatchOptions::new().with_start_revision(revision);
        let mut changes = self.client.watch(key, Some(from)).await?;
        while let Some(news) = changes.message().await? {
            if news.events().iter().any(|event| event.event_type() == kind) {
                return Ok(());
            }
        }
        anyhow::bail!("etcd ended the watch")
    }
}

pub(crate) async fn run(settings: Settings, work: Work) -> Result<Summary> {
    let mut client = Client::connect(&settings.endpoints, None).await?;
    let ttl = settings.terms.ttl;
    let lease = client.lease_grant(ttl.into(), None).await?.id();
    let mut keeper = JoinSet::new();
    let mut leases = client.lease_client();
    keeper.spawn(async move {
        while leases.keep_alive(lease).await.is_ok() {
            sleep(Duration::from_secs(ttl.into()) / 3).await;
        }
    });
    let others = Arc::new(Mutex::new(DoubleBarrier {
        client: client.clone(),
        barrier: settings.barrier.clone(),
        key: String::new(),
        count: settings.terms.processes as usize,
        lease,
        mine: String::new(),
    }));
    let local = Arc::new(Barrier::new(work.tasks as usize));
    let mut tasks = JoinSet::<Result<Duration>>::new();
    for _ in 0..work.tasks {
        let (local, others) = (local.clone(), others.clone());
        tasks.spawn(async move {
            let mut since = None;
            for generation in 0..work.generations {
                if let Some(leader) = local.wait_leader().await {
                    let mut others = others.lock().await;
                    others.enter(generation).await?;
                    others.leave().await?;
                    leader.release();
                }
                since.get_or_insert_with(Instant::now);
            }
            Ok(since.map_or(Duration::ZERO, |since| since.elapsed()))
        });
    }
    let mut time = Duration::ZERO;
    while let Some(task) = tasks.join_next().await {
        time = time.max(task??);
    }
    client.lease_revoke(lease).await?;
    Ok(Summary { time })
}
