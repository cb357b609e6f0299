//! The recipe: a barrier between processes, on etcd's leases, transactions and watches.
//!
//! Under the barrier's name there are
//!
//! | key | holds | bound to a lease | written |
//! |---|---|---|---|
//! | `NAME/arrived/GENERATION/PROCESS` | nothing | its process's | when a process arrives and is not the last |
//! | `NAME/live/PROCESS` | nothing | its process's | when a process joins |
//! | `NAME/state` | [`State`] | no | when a generation completes, or the barrier breaks |
//!
//! `NAME/state` decides, as the packed word does inside a process. Every step is one transaction,
//! and etcd takes it only if what it relies on still holds:
//!
//! | step | takes | if, in etcd, at that moment |
//! |---|---|---|
//! | join | `live/ME` put | nobody of that name is live |
//! | arrive | `arrived/G/ME` put | the state is the one I know, and `live/ME` has my lease |
//! | complete | state `G + 1`, the members counted; arrivals of `G` deleted | as to arrive; and nobody is live that I do not know, and each that I know has arrived in `G`, with the lease that I know |
//! | break | state broken | the state is the one I know, and a process that it counted has gone, with its lease: that is for good |
//!
//! Arrive and complete are the two branches of one transaction, so the last to arrive completes, and
//! a generation costs one request a process. What a transaction did is never read from its response:
//! it comes through the watch, like what the others do. So a request whose response was lost is
//! simply made again: if it had been taken, its comparisons fail or it changes nothing.

use std::{collections::BTreeMap, time::Duration};

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, DeleteOptions, EventType, GetOptions, KeyValue,
    PutOptions, Txn, TxnOp, WatchOptions, WatchStream,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};

use crate::settings::{OnLoss, Settings, Terms};

/// The value of `NAME/state`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How many generations are complete.
    pub generation: u64,
    /// The processes counted in the last of them, with their leases.
    pub counted: BTreeMap<String, i64>,
    /// The process whose loss broke the barrier.
    pub lost: Option<String>,
}

/// Why a process could not cross.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Failure {
    #[error("process {0} was lost: its lease has ended, and the barrier is broken")]
    Broken(String),
    #[error(
        "this process was silent for longer than its lease: it is no member any more, and was not counted"
    )]
    Expired,
    #[error("a live process has the name {0} already")]
    NameTaken(String),
    #[error("etcd cannot be reached: {0}")]
    Unreachable(String),
    #[error("etcd refuses: {0}")]
    Refused(String),
}

impl From<etcd_client::Error> for Failure {
    fn from(error: etcd_client::Error) -> Self {
        use tonic::Code::{Cancelled, DeadlineExceeded, Internal, Unavailable, Unknown};
        match error {
            etcd_client::Error::GRpcStatus(status) => match status.code() {
                Unavailable | Cancelled | DeadlineExceeded | Internal | Unknown => {
                    Failure::Unreachable(status.message().to_owned())
                }
                _ => Failure::Refused(status.message().to_owned()),
            },
            other => Failure::Unreachable(other.to_string()),
        }
    }
}

/// What this process knows: all that `NAME/live/` and `NAME/state` held at `revision`.
#[derive(Default)]
struct View {
    revision: i64,
    live: BTreeMap<String, i64>,
    state: State,
    state_revision: i64,
}

/// A process's membership in a barrier. Without [`leave`](Self::leave) it ends with the lease.
pub struct Rendezvous {
    settings: Settings,
    client: Client,
    lease: i64,
    view: View,
    /// What happens after `view.revision`; none when that must be looked up anew.
    changes: Option<WatchStream>,
    /// Why the lease is no longer kept alive.
    health: watch::Receiver<Option<Failure>>,
    _keeper: JoinSet<()>,
}

impl Rendezvous {
    /// Joins: the present generation, and each one after it, needs this process from now on.
    ///
    /// While a process of the same name is live, such as one that was killed and started again,
    /// this waits for the end of its lease.
    pub async fn join(settings: Settings) -> Result<Rendezvous, Failure> {
        let options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_keep_alive(Duration::from_secs(10), Duration::from_secs(5))
            .with_require_leader(true);
        let mut client = Client::connect([&settings.terms.endpoint], Some(options)).await?;
        let lease = client.lease_grant(settings.terms.ttl.into(), None).await?;
        let (report, health) = watch::channel(None);
        let mut keeper = JoinSet::new();
        keeper.spawn(keep_alive(
            client.clone(),
            lease.id(),
            settings.terms.clone(),
            report,
        ));
        let mut this = Rendezvous {
            client,
            lease: lease.id(),
            view: View::default(),
            changes: None,
            health,
            _keeper: keeper,
            settings,
        };
        let name = this.settings.process.clone();
        let deadline = Instant::now() + this.patience();
        loop {
            this.look().await?;
            match this.view.live.get(&name) {
                Some(&lease) if lease == this.lease => return Ok(this),
                Some(_) => match timeout_at(deadline, this.follow()).await {
                    Ok(followed) => followed?,
                    Err(_) => return Err(Failure::NameTaken(name)),
                },
                None => {
                    let key = this.live_key(&name);
                    let nobody = Compare::version(key.clone(), CompareOp::Equal, 0);
                    let join = Txn::new().when([nobody]).and_then([this.bound(key)]);
                    this.client.txn(join).await?;
                }
            }
        }
    }

    /// The generation that this process is in, from 0.
    pub fn generation(&self) -> u64 {
        self.view.state.generation
    }

    /// Tells this membership from a later one under the same name.
    pub fn lease(&self) -> i64 {
        self.lease
    }

    /// Arrives, and waits until all live processes have. Brings the number of those that were counted.
    ///
    /// # Cancel safety
    ///
    /// The arrival stays counted when this is dropped. The next call goes on with the same generation.
    pub async fn cross(&mut self) -> Result<usize, Failure> {
        let mut health = self.health.clone();
        tokio::select! {
            biased;
            outcome = self.meet() => outcome,
            Ok(failure) = health.wait_for(Option::is_some) => Err(failure.clone().expect("just seen")),
        }
    }

    /// Ends the lease at once, if etcd answers. For the others this is as if it had run out.
    pub async fn leave(&mut self) {
        let revoke = self.client.lease_revoke(self.lease);
        let _ = timeout(Duration::from_secs(1), revoke).await;
    }

    async fn meet(&mut self) -> Result<usize, Failure> {
        let generation = self.generation();
        loop {
            match self.step(generation).await {
                Ok(Some(counted)) => return Ok(counted),
                Ok(None) => {}
                // `keep_alive` knows when to give up.
                Err(Failure::Unreachable(_)) => {
                    self.changes = None;
                    sleep(RETRY).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Once around: is it decided? If not, does what is to be done, and waits for news.
    async fn step(&mut self, generation: u64) -> Result<Option<usize>, Failure> {
        if self.changes.is_none() {
            self.look().await?;
        }
        let View { state, live, .. } = &self.view;
        let me = &self.settings.process;
        if state.generation > generation {
            // With me in it, it cannot have gone on from there: that needs me as well.
            let counted =
                state.generation == generation + 1 && state.counted.get(me) == Some(&self.lease);
            return match counted {
                true => Ok(Some(state.counted.len())),
                false => Err(Failure::Expired),
            };
        }
        if let Some(process) = &state.lost {
            return Err(Failure::Broken(process.clone()));
        }
        if live.get(me) != Some(&self.lease) {
            return Err(Failure::Expired);
        }
        self.client.txn(self.transaction()).await?;
        self.follow().await?;
        Ok(None)
    }

    /// To break the barrier if a member is lost and that is the rule; otherwise to complete the
    /// generation if all others have arrived, and to arrive if not.
    fn transaction(&self) -> Txn {
        let View { state, live, .. } = &self.view;
        let (me, terms) = (&self.settings.process, &self.settings.terms);
        let same_state = Compare::mod_revision(
            self.key("state"),
            CompareOp::Equal,
            self.view.state_revision,
        );
        let lost = (state.counted.iter()).find(|(name, lease)| live.get(*name) != Some(lease));
        if let (OnLoss::Fail, Some((name, _))) = (terms.on_loss, lost) {
            let broken = State {
                lost: Some(name.clone()),
                ..state.clone()
            };
            let broken = self.put_state(&broken);
            return Txn::new().when([same_state]).and_then([broken]);
        }

        let arrivals = self.key(&format!("arrived/{}/", state.generation));
        let arrive = self.bound(format!("{arrivals}{me}"));
        let act = if state.generation == 0 && live.len() < terms.processes as usize {
            arrive
        } else {
            let mut all = Vec::with_capacity(live.len());
            for (name, &lease) in live.iter().filter(|(name, _)| *name != me) {
                let arrival = format!("{arrivals}{name}");
                all.push(Compare::lease(arrival, CompareOp::Equal, lease));
            }
            let newcomers = self.view.revision + 1;
            all.push(
                Compare::mod_revision(self.live_key(""), CompareOp::Less, newcomers).with_prefix(),
            );
            let complete = self.put_state(&State {
                generation: state.generation + 1,
                counted: live.clone(),
                lost: None,
            });
            let forget = TxnOp::delete(arrivals, Some(DeleteOptions::new().with_prefix()));
            TxnOp::txn((Txn::new().when(all).and_then([complete, forget])).or_else([arrive]))
        };
        let alive = Compare::lease(self.live_key(me), CompareOp::Equal, self.lease);
        Txn::new().when([same_state, alive]).and_then([act])
    }

    /// Reads all, and watches from there on, so that nothing is missed in between.
    async fn look(&mut self) -> Result<(), Failure> {
        // In the order of the keys, `live/` and `state` are neighbours: one watch sees both, and none
        // of the arrivals.
        let (first, end) = (self.key("live/"), self.key("state\0"));
        let all = GetOptions::new().with_range(end.clone());
        let found = self.client.get(first.clone(), Some(all)).await?;
        let mut view = View::default();
        for kv in found.kvs() {
            view.apply(&self.key(""), EventType::Put, kv)?;
        }
        view.revision = found.header().map_or(0, |header| header.revision());
        let after = WatchOptions::new()
            .with_range(end)
            .with_start_revision(view.revision + 1);
        self.changes = Some(self.client.watch(first, Some(after)).await?);
        self.view = view;
        Ok(())
    }

    /// Waits until something has changed.
    async fn follow(&mut self) -> Result<(), Failure> {
        let prefix = self.key("");
        while let Some(changes) = &mut self.changes {
            let news = changes.message().await?;
            let Some(news) = news.filter(|news| !news.canceled()) else {
                self.changes = None;
                break;
            };
            for event in news.events() {
                let kv = event.kv().expect("an event is about a key");
                self.view.apply(&prefix, event.event_type(), kv)?;
            }
            if !news.events().is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.settings.barrier)
    }

    fn live_key(&self, process: &str) -> String {
        self.key(&format!("live/{process}"))
    }

    fn bound(&self, key: String) -> TxnOp {
        TxnOp::put(key, "", Some(PutOptions::new().with_lease(self.lease)))
    }

    fn put_state(&self, state: &State) -> TxnOp {
        let json = serde_json::to_vec(state).expect("names and numbers");
        TxnOp::put(self.key("state"), json, None)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.settings.terms.patience.into())
    }
}

impl View {
    fn apply(&mut self, prefix: &str, kind: EventType, kv: &KeyValue) -> Result<(), Failure> {
        let key = kv.key_str()?;
        // Not the revision of the response: that may be ahead of what has been sent.
        self.revision = self.revision.max(kv.mod_revision());
        match (key.strip_prefix(prefix).unwrap_or_default(), kind) {
            ("state", EventType::Put) => {
                self.state_revision = kv.mod_revision();
                self.state = serde_json::from_slice(kv.value())
                    .map_err(|error| Failure::Refused(format!("{key} is no state: {error}")))?;
            }
            (rest, kind) => {
                if let Some(process) = rest.strip_prefix("live/") {
                    match kind {
                        EventType::Put => self.live.insert(process.to_owned(), kv.lease()),
                        EventType::Delete => self.live.remove(process),
                    };
                }
            }
        }
        Ok(())
    }
}

/// Between two attempts to reach etcd.
const RETRY: Duration = Duration::from_millis(100);

/// Keeps the lease alive until it has ended, or etcd has not answered for as long as `terms` allow.
async fn keep_alive(
    mut client: Client,
    lease: i64,
    terms: Terms,
    report: watch::Sender<Option<Failure>>,
) {
    let every = Duration::from_secs(terms.ttl.into()) / 3;
    let mut silent_since = None;
    loop {
        let error = match timeout(every, client.lease_keep_alive(lease)).await {
            Ok(Ok(_)) => None,
            Ok(Err(etcd_client::Error::LeaseKeepAliveError(_))) => {
                report.send_replace(Some(Failure::Expired));
                return;
            }
            Ok(Err(error)) => Some(Failure::from(error)),
            Err(_) => Some(Failure::Unreachable("no answer".to_owned())),
        };
        match error {
            None => silent_since = None,
            // From the first failure, not from the last answer: a process that was stopped in
            // between asks once more, and learns that its lease has ended.
            Some(failure) => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_secs(terms.patience.into()) {
                    report.send_replace(Some(failure));
                    return;
                }
            }
        }
        sleep(every).await;
    }
}
