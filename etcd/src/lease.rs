//! The lease that a membership is bound to, and requests that are made again.

use std::{future::pending, sync::Arc, time::Duration};

use etcd_client::{Client, GetOptions, GetResponse, Txn, TxnResponse};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{Error, error::EtcdError};

/// A request without an answer is sent again after this time.
pub(crate) const REQUEST: Duration = Duration::from_secs(5);
/// How long a process that leaves waits for etcd's answer.
const GOODBYE: Duration = Duration::from_secs(2);

/// One request.
pub(crate) async fn request<T>(
    asked: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    match timeout(REQUEST, asked).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(EtcdError::no_answer(REQUEST)),
    }
}

/// How long requests have failed, and when to try again.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Option<Instant>,
    pause: Duration,
}

impl Outage {
    pub(crate) fn over(&mut self) {
        *self = Outage::default();
    }

    /// When to try again; the error, if that is of no use or patience is over.
    ///
    /// Patience begins at the first failure, not at the last success: a process that was stopped in between
    /// tries once more, and learns what has happened.
    pub(crate) fn failed(
        &mut self,
        error: EtcdError,
        patience: Duration,
    ) -> Result<Instant, EtcdError> {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        if !error.is_temporary() || now - since >= patience {
            return Err(error);
        }
        // If one endpoint of three is down, the next attempt most likely takes another.
        self.pause = (self.pause * 2).clamp(Duration::from_millis(5), Duration::from_millis(200));
        Ok(now + self.pause)
    }
}

/// A client, where it looks for etcd, and how long it tries.
#[derive(Clone)]
pub(crate) struct Etcd {
    pub(crate) client: Client,
    pub(crate) endpoints: Arc<str>,
    pub(crate) patience: Duration,
}

impl Etcd {
    pub(crate) async fn get(
        &self,
        key: String,
        options: GetOptions,
    ) -> Result<GetResponse, EtcdError> {
        let kv = self.client.kv_client();
        insist(self.patience, || {
            let (mut kv, key, options) = (kv.clone(), key.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        })
        .await
    }

    pub(crate) async fn txn(&self, txn: Txn) -> Result<TxnResponse, EtcdError> {
        let kv = self.client.kv_client();
        insist(self.patience, || {
            let (mut kv, txn) = (kv.clone(), txn.clone());
            async move { kv.txn(txn).await }
        })
        .await
    }

    pub(crate) fn error(&self, error: EtcdError) -> Error {
        error.at(&self.endpoints)
    }
}

/// Makes a request until it is answered, or for as long as patience lasts.
pub(crate) async fn insist<T, F>(
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<T, EtcdError>
where
    F: Future<Output = Result<T, etcd_client::Error>>,
{
    let mut outage = Outage::default();
    loop {
        match request(ask()).await {
            Ok(answer) => return Ok(answer),
            Err(error) => sleep_until(outage.failed(error, patience)?).await,
        }
    }
}

/// A lease that is kept alive, and ended when this is dropped.
pub(crate) struct Lease {
    client: Client,
    pub(crate) id: i64,
    health: watch::Receiver<Option<Error>>,
    keeper: JoinSet<()>,
    ended: bool,
}

impl Lease {
    pub(crate) async fn grant(etcd: &Etcd, ttl: Duration) -> Result<Lease, Error> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let granted = insist(etcd.patience, || {
            let mut leases = etcd.client.lease_client();
            async move { leases.grant(seconds, None).await }
        });
        let granted = granted.await.map_err(|error| etcd.error(error))?;
        let id = granted.id();
        // It may be longer than what was asked for.
        let every = Duration::from_secs(granted.ttl().unsigned_abs().max(1)) / 3;
        let (report, health) = watch::channel(None);
        let mut keeper = JoinSet::new();
        let keep = keep_alive(etcd.clone(), id, every);
        keeper.spawn(async move {
            report.send_replace(Some(keep.await));
        });
        Ok(Lease {
            client: etcd.client.clone(),
            id,
            health,
            keeper,
            ended: false,
        })
    }

    /// Why it is no longer kept alive.
    pub(crate) async fn lapsed(&mut self) -> Error {
        let end = self.health.wait_for(Option::is_some).await;
        match end.ok().and_then(|end| end.clone()) {
            Some(end) => end,
            // It has been ended.
            None => pending().await,
        }
    }

    /// Ends it now, if etcd answers.
    pub(crate) async fn end(&mut self) -> Result<(), EtcdError> {
        self.ended = true;
        self.keeper.abort_all();
        revoke(&self.client, self.id).await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (false, Ok(runtime)) = (self.ended, Handle::try_current()) {
            let (client, id) = (self.client.clone(), self.id);
            runtime.spawn(async move {
                let _ = revoke(&client, id).await;
            });
        }
    }
}

async fn revoke(client: &Client, id: i64) -> Result<(), EtcdError> {
    let mut leases = client.lease_client();
    match timeout(GOODBYE, leases.revoke(id)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => match EtcdError::from(error) {
            gone if gone.is_lease_not_found() => Ok(()),
            error => Err(error),
        },
        Err(_) => Err(EtcdError::no_answer(GOODBYE)),
    }
}

/// Returns when the lease cannot be kept alive any more.
async fn keep_alive(etcd: Etcd, id: i64, every: Duration) -> Error {
    let mut outage = Outage::default();
    let mut leases = etcd.client.lease_client();
    loop {
        let error = match timeout(every.min(REQUEST), leases.keep_alive(id)).await {
            Ok(Ok(_)) => {
                outage.over();
                sleep(every).await;
                continue;
            }
            Ok(Err(error)) => EtcdError::from(error),
            Err(_) => EtcdError::no_answer(every.min(REQUEST)),
        };
        if error.is_lease_not_found() {
            // The end of the lease is an event, and the watch brings the events before it first.
            sleep(etcd.patience).await;
            return Error::Expired;
        }
        match outage.failed(error, etcd.patience) {
            Ok(again) => sleep_until(again).await,
            Err(error) => return etcd.error(error),
        }
    }
}
