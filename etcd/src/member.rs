//! A process's membership: a task that follows etcd's events, and arrives when it is told to.
//!
//! The task learns what its transactions did from the watch alone, as it learns what other processes did. So
//! a request without an answer is sent again: if etcd had applied it, its comparisons fail now or it changes
//! nothing.

use std::{
    future::pending,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use etcd_client::{GetOptions, Txn, WatchResponse, WatchStream};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    Error, OnLoss,
    error::EtcdError,
    keys::Keys,
    lease::{Etcd, Lease, Outage, request},
    view::{Change, Kind, State, View},
};

/// How far this process has come. The last value is enough: a process does not arrive again before its tasks
/// have seen how the generation ended.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// Generations of which all have been released.
    pub(crate) released: u64,
    /// The processes counted in the last one that is complete.
    pub(crate) counted: usize,
    /// This process completed it.
    pub(crate) led: bool,
    /// The generation that this process is to release all from.
    pub(crate) holds: Option<u64>,
    /// Why the membership has ended.
    pub(crate) end: Option<Error>,
}

pub(crate) enum Command {
    Arrive { generation: u64, lead: bool },
    Release { generation: u64 },
    Leave(oneshot::Sender<Result<(), Error>>),
}

/// The handle of the task, which ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) keys: Keys,
    pub(crate) view: Arc<Mutex<View>>,
    pub(crate) progress: watch::Receiver<Progress>,
    /// The last revision at which a process has joined or gone.
    pub(crate) roster: watch::Receiver<i64>,
    commands: mpsc::UnboundedSender<Command>,
}

impl Member {
    pub(crate) fn start(
        etcd: Etcd,
        keys: Keys,
        lease: Lease,
        processes: usize,
        view: View,
    ) -> Member {
        let (commands, received) = mpsc::unbounded_channel();
        let (progress, progress_seen) = watch::channel(Progress {
            released: view.state.released(),
            counted: view.counted,
            led: false,
            holds: None,
            end: None,
        });
        let (roster, roster_seen) = watch::channel(view.revision);
        let view = Arc::new(Mutex::new(view));
        let follower = Follower {
            etcd,
            keys: keys.clone(),
            lease,
            processes,
            view: view.clone(),
            commands: received,
            progress,
            roster,
            changes: None,
            reading: None,
            read_again: Some(Instant::now()),
            read_outage: Outage::default(),
            compacted: false,
            wanted: None,
            releases: None,
            attempt: None,
            writing: None,
            write_again: None,
            write_outage: Outage::default(),
        };
        tokio::spawn(follower.run());
        Member {
            keys,
            view,
            progress: progress_seen,
            roster: roster_seen,
            commands,
        }
    }

    pub(crate) fn send(&self, command: Command) {
        // Where nobody listens any more, `progress` says why.
        let _ = self.commands.send(command);
    }
}

/// A transaction by which this process has arrived, or tried to.
#[derive(Debug)]
struct Attempt {
    /// The revision of the state that it compared.
    state_revision: i64,
    /// etcd's revision when it was applied. `None` before the answer.
    answered: Option<i64>,
    /// The revision of the first join that it did not know.
    joined: Option<i64>,
    /// A process has gone that it knew as live.
    gone: bool,
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

enum Read {
    /// A new view, where events have been missed, and what happens after it.
    Follows(Option<Box<View>>, WatchStream),
    Failed(EtcdError),
    Ends(Error),
}

struct Follower {
    etcd: Etcd,
    keys: Keys,
    lease: Lease,
    processes: usize,
    view: Arc<Mutex<View>>,
    commands: mpsc::UnboundedReceiver<Command>,
    progress: watch::Sender<Progress>,
    roster: watch::Sender<i64>,

    changes: Option<WatchStream>,
    reading: Option<Pending<Read>>,
    read_again: Option<Instant>,
    read_outage: Outage,
    /// etcd has compacted the events after the last known one.
    compacted: bool,

    /// The generation that this process is to arrive in, and whether it holds if it completes it.
    wanted: Option<(u64, bool)>,
    releases: Option<u64>,
    attempt: Option<Attempt>,
    writing: Option<Pending<Result<i64, EtcdError>>>,
    write_again: Option<Instant>,
    write_outage: Outage,
}

/// What is to be sent, and when.
struct Plan {
    due: Instant,
    txn: Txn,
    arrives: bool,
}

impl Follower {
    async fn run(mut self) {
        loop {
            let plan = self.plan();
            let write_due = plan.as_ref().map(|plan| plan.due);
            tokio::select! {
                command = self.commands.recv() => match command {
                    None => return,
                    Some(Command::Leave(done)) => {
                        self.end(Error::Left);
                        let left = self.lease.end().await;
                        let _ = done.send(left.map_err(|error| self.etcd.error(error)));
                        return;
                    }
                    Some(Command::Arrive { generation, lead }) => {
                        self.wanted = Some((generation, lead));
                    }
                    Some(Command::Release { generation }) => self.releases = Some(generation),
                },
                answer = until_some(&mut self.writing) => {
                    self.writing = None;
                    self.written(answer);
                }
                news = next(&mut self.changes) => self.heard(news),
                read = until_some(&mut self.reading) => {
                    self.reading = None;
                    self.read(read);
                }
                () = until(self.read_again) => self.start_reading(),
                () = until(write_due) => {
                    let Plan { txn, arrives, .. } = plan.expect("it has a time");
                    self.start_writing(txn, arrives);
                }
                end = self.lease.lapsed() => self.end(end),
            }
            let over = self.progress.borrow().end.is_some();
            // If the barrier is broken, this process may have to record that for those that join later.
            if over && !self.is_broken() {
                return;
            }
        }
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("nothing panics with it")
    }

    fn is_broken(&self) -> bool {
        matches!(self.progress.borrow().end, Some(Error::Lost { .. }))
    }

    fn end(&self, error: Error) {
        self.progress.send_if_modified(|progress| {
            let first = progress.end.is_none();
            if first {
                tracing::debug!(barrier = &*self.keys.barrier, process = &*self.keys.process,
                                %error, "the membership has ended");
                progress.end = Some(error);
            }
            first
        });
    }

    /// What there is to do, as far as this process knows.
    fn plan(&self) -> Option<Plan> {
        if self.writing.is_some() {
            return None;
        }
        let view = self.view();
        let now = self.write_again.unwrap_or_else(Instant::now);
        let replace = |due, state: &State| Plan {
            due,
            txn: self.keys.replace(&view, state),
            arrives: false,
        };
        if let Some(broken) = view.broken() {
            return (self.wanted.is_some()).then(|| replace(now + self.turn(&view), &broken));
        }
        if self.is_broken() {
            return None;
        }
        if view.state.kind == Kind::Held {
            let released = State {
                kind: Kind::Complete,
                at: view.state_revision,
                ..view.state.clone()
            };
            if view.state.lease == self.lease.id {
                return (self.releases == view.state.held()).then(|| replace(now, &released));
            }
            if !view.is_live(&view.state.name, view.state.lease) {
                // Its lease has ended: that is for good.
                return Some(replace(now + self.turn(&view), &released));
            }
        }
        let (_, lead) = (self.wanted).filter(|(wanted, _)| *wanted == view.state.generation)?;
        let enough = view.state.generation > 0 || view.live.len() >= self.processes;
        let due = match &self.attempt {
            Some(attempt) if attempt.state_revision == view.state_revision => {
                // A process had joined that this one did not know, so its transaction could not complete.
                let overtaken = (attempt.joined.zip(attempt.answered))
                    .is_some_and(|(joined, answered)| joined <= answered);
                if !enough || !(overtaken || attempt.gone) {
                    return None;
                }
                // Any process that waits can complete the generation now, if one can.
                now + self.turn(&view)
            }
            _ => now,
        };
        let complete = (enough && view.state.kind == Kind::Complete).then_some(match lead {
            true => Kind::Held,
            false => Kind::Complete,
        });
        Some(Plan {
            due,
            txn: self.keys.arrive(&view, complete),
            arrives: true,
        })
    }

    /// What any process may do they try one after the other, by rank of their names. The event of the first
    /// that succeeds stops the others.
    fn turn(&self, view: &View) -> Duration {
        let before = view.live.range(..self.keys.process.clone()).count();
        Duration::from_micros(50) * u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn start_writing(&mut self, txn: Txn, arrives: bool) {
        self.write_again = None;
        let state_revision = self.view().state_revision;
        self.attempt = arrives.then_some(Attempt {
            state_revision,
            answered: None,
            joined: None,
            gone: false,
        });
        let mut kv = self.etcd.client.kv_client();
        self.writing = Some(Box::pin(async move {
            let answer = request(kv.txn(txn)).await?;
            Ok(answer.header().map_or(0, |header| header.revision()))
        }));
    }

    fn written(&mut self, answer: Result<i64, EtcdError>) {
        match answer {
            Ok(revision) => {
                self.write_outage.over();
                if let Some(attempt) = &mut self.attempt {
                    attempt.answered = Some(revision);
                } else {
                    // This process has changed the state, or another has: wait for the event.
                    self.write_again = Some(Instant::now() + AGAIN);
                }
            }
            // The lease has ended, which is an event.
            Err(error) if error.is_lease_not_found() => {
                self.write_again = Some(Instant::now() + AGAIN)
            }
            Err(error) => {
                tracing::debug!(barrier = &*self.keys.barrier, %error, "a request failed");
                self.attempt = None;
                match self.write_outage.failed(error, self.etcd.patience) {
                    Ok(again) => self.write_again = Some(again),
                    Err(error) => self.end(self.etcd.error(error)),
                }
            }
        }
    }

    fn start_reading(&mut self) {
        self.read_again = None;
        let (etcd, keys) = (self.etcd.clone(), self.keys.clone());
        let before = self.view().clone();
        let missed = self.compacted;
        self.reading = Some(Box::pin(async move {
            let mut view = None;
            if missed {
                match look(&etcd, &keys, before.on_loss).await {
                    Ok(found) => view.insert(Box::new(found)).name_the_lost(&before),
                    Err(error) => return Read::Ends(error),
                }
            }
            let after = view.as_deref().unwrap_or(&before).revision;
            match watch_from(&etcd, &keys, after + 1).await {
                Ok(changes) => Read::Follows(view, changes),
                Err(error) => Read::Failed(error),
            }
        }));
    }

    fn read(&mut self, read: Read) {
        match read {
            Read::Follows(view, changes) => {
                self.changes = Some(changes);
                if let Some(view) = view {
                    self.compacted = false;
                    self.attempt = None;
                    let revision = view.revision;
                    *self.view() = *view;
                    self.roster.send_replace(revision);
                    self.publish();
                }
            }
            Read::Failed(error) => self.lost_sight(error),
            Read::Ends(error) => self.end(error),
        }
    }

    fn lost_sight(&mut self, error: EtcdError) {
        tracing::debug!(barrier = &*self.keys.barrier, %error, "the watch failed");
        self.changes = None;
        match self.read_outage.failed(error, self.etcd.patience) {
            Ok(again) => self.read_again = Some(again),
            Err(error) => self.end(self.etcd.error(error)),
        }
    }

    fn heard(&mut self, news: Result<WatchResponse, EtcdError>) {
        let news = match news {
            Ok(news) => news,
            Err(error) => return self.lost_sight(error),
        };
        if news.canceled() {
            if news.compact_revision() > 0 {
                self.compacted = true;
            }
            return self.lost_sight(EtcdError::watch_ended(news.cancel_reason()));
        }
        self.read_outage.over();
        for event in news.events() {
            match self.keys.change(event) {
                Ok(Some((revision, change))) => {
                    tracing::trace!(barrier = &*self.keys.barrier, revision, ?change, "event");
                    self.happened(revision, change);
                }
                Ok(None) => {}
                Err(error) => return self.end(error),
            }
        }
    }

    fn happened(&mut self, revision: i64, change: Change) {
        if let Some(attempt) = &mut self.attempt {
            match change {
                Change::Joined { .. } => drop(attempt.joined.get_or_insert(revision)),
                Change::Gone { .. } => attempt.gone = true,
                Change::State(_) => {}
            }
        }
        let moves = !matches!(change, Change::State(_));
        if let Change::Gone { name } = &change
            && *name != self.keys.process
        {
            let (barrier, process) = (&*self.keys.barrier, &**name);
            tracing::info_span!("loss", barrier, process)
                .in_scope(|| tracing::info!("a process has gone, and its lease with it"));
        }
        self.view().apply(revision, change);
        self.write_again = None;
        if moves {
            self.roster.send_replace(revision);
        }
        self.publish();
    }

    /// Tells the tasks of this process, after each event: a later event must not hide an earlier one.
    fn publish(&self) {
        let view = self.view();
        let (state, ours) = (&view.state, view.state.lease == self.lease.id);
        let end = if let Some(process) = &view.lost {
            let process = process.as_deref().map(str::to_owned);
            Some(Error::Lost { process })
        } else if !view.is_live(&self.keys.process, self.lease.id) {
            Some(Error::Expired)
        } else {
            None
        };
        let holds = state.held().filter(|_| ours && end.is_none());
        self.progress.send_if_modified(|progress| {
            if progress.end.is_some() {
                return false;
            }
            let before = (progress.released, progress.holds);
            progress.released = state.released();
            progress.holds = holds;
            (progress.counted, progress.led) = (view.counted, ours);
            progress.end = end;
            progress.end.is_some() || before != (progress.released, progress.holds)
        });
    }
}

/// How long to wait for the event of a change before asking again.
const AGAIN: Duration = Duration::from_millis(200);

/// Reads all that a process knows.
pub(crate) async fn look(etcd: &Etcd, keys: &Keys, on_loss: OnLoss) -> Result<View, Error> {
    let (first, end) = keys.watched();
    let found = etcd.get(first, GetOptions::new().with_range(end)).await;
    let found = found.map_err(|error| etcd.error(error))?;
    let mut view = keys.found(on_loss, &found)?;
    if let Some(revision) = view.must_recall() {
        let (key, options) = keys.live_at(revision);
        match etcd.get(key, options).await {
            Ok(then) => view.recall(Some(&keys.live_in(&then)?)),
            Err(error) if error.is_compacted() => view.recall(None),
            Err(error) => return Err(etcd.error(error)),
        }
    }
    Ok(view)
}

async fn watch_from(etcd: &Etcd, keys: &Keys, revision: i64) -> Result<WatchStream, EtcdError> {
    let (key, options) = keys.watch_from(revision);
    request(etcd.client.watch_client().watch(key, Some(options))).await
}

/// Waits until anything happens after `view`, or the watch fails.
pub(crate) async fn something(etcd: &Etcd, keys: &Keys, view: &View) {
    if let Ok(changes) = watch_from(etcd, keys, view.revision + 1).await {
        let mut changes = Some(changes);
        while let Ok(news) = next(&mut changes).await
            && !news.canceled()
        {
            if !news.events().is_empty() {
                return;
            }
        }
    }
    sleep(AGAIN).await;
}

async fn next(changes: &mut Option<WatchStream>) -> Result<WatchResponse, EtcdError> {
    match changes {
        None => pending().await,
        Some(changes) => (changes.message().await?)
            .ok_or_else(|| EtcdError::watch_ended("the connection is closed")),
    }
}

async fn until(time: Option<Instant>) {
    match time {
        None => pending().await,
        // A timer would take its millisecond.
        Some(time) if time <= Instant::now() => {}
        Some(time) => sleep_until(time).await,
    }
}

async fn until_some<T>(future: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match future {
        None => pending().await,
        Some(future) => future.await,
    }
}
