//! The composition: tasks meet at a [`Barrier`] in their process, and the last of them to arrive holds
//! the release while it meets the other processes.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use atomic_barrier::{Barrier, barrier};
use futures_core::Stream;
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio_stream::wrappers::WatchStream;
use tracing::Instrument as _;

use crate::{
    Builder, Error,
    member::{Command, Member, Progress},
};

/// A barrier for the tasks of this process and of all others that join it under the same name.
///
/// When it is dropped, the process leaves, as by [`leave`](Self::leave).
///
/// ```no_run
/// # async fn example() -> Result<(), atomic_barrier_etcd::Error> {
/// use atomic_barrier_etcd::EtcdBarrier;
///
/// let barrier = EtcdBarrier::builder("job-17")
///     .endpoints(["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"])
///     .processes(2)
///     .join()
///     .await?;
/// let result = barrier.wait().await?;
/// println!("{} processes have met in generation {}", result.processes(), result.generation());
/// # Ok(())
/// # }
/// ```
pub struct EtcdBarrier {
    local: Barrier,
    /// As many as there are parties, and kept until the outcome has been read: so that cannot be
    /// overwritten before.
    turns: Semaphore,
    /// Of the last generation of the local barrier.
    outcome: Mutex<Result<WaitResult, Error>>,
    /// Generations that this process has crossed.
    crossed: AtomicU64,
    member: Member,
}

/// What a task learns of the generation that it has crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitResult {
    generation: u64,
    processes: usize,
    leader: bool,
}

impl WaitResult {
    /// Its number, from 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// How many processes were counted in it: all that were live and had arrived when it was completed.
    ///
    /// Where this process could not hear of that at the time, and etcd has compacted its history since, it is
    /// as many as the completing process knew.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Whether this task led: of all tasks of all processes at most one, the last to arrive. Where that one
    /// was cancelled, nobody did.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// How a process's crossing ends.
enum Crossed {
    Through(WaitResult),
    Holds(WaitResult),
}

impl EtcdBarrier {
    /// Begins with the barrier's name, which is that of one run, and never used again: after a barrier has
    /// been broken, or its processes have ended, its last state stays in etcd.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(tasks: usize, member: Member) -> EtcdBarrier {
        // One that was held when this process joined is not its own.
        let generation = member
            .view
            .lock()
            .expect("nothing panics with it")
            .state
            .generation;
        EtcdBarrier {
            local: Barrier::new(tasks),
            turns: Semaphore::new(tasks.max(1)),
            outcome: Mutex::new(Err(Error::LeaderCancelled)),
            crossed: AtomicU64::new(generation),
            member,
        }
    }

    /// The barrier's name.
    pub fn name(&self) -> &str {
        &self.member.keys.barrier
    }

    /// This process's name.
    pub fn process(&self) -> &str {
        &self.member.keys.process
    }

    /// The lease of this process. It tells this membership from a later one under the same name; with a
    /// generation it makes a fencing token.
    pub fn lease(&self) -> i64 {
        self.member.keys.lease
    }

    /// The generation that this process is in, from 0: the one that the next wait is for.
    pub fn generation(&self) -> u64 {
        // Relaxed: a number alone. Who has waited finds its own by way of the local barrier.
        self.crossed.load(Relaxed)
    }

    /// How many tasks of this process meet.
    pub fn tasks(&self) -> usize {
        self.local.parties().max(1)
    }

    /// Arrives, and waits for all tasks of this process and for all live processes.
    ///
    /// # Errors
    ///
    /// [`Error::Lost`], [`Expired`](Error::Expired), [`Unreachable`](Error::Unreachable),
    /// [`Refused`](Error::Refused) and [`NotABarrier`](Error::NotABarrier), of which the first brings all
    /// processes to an end and the others this one; [`LeaderCancelled`](Error::LeaderCancelled), after which
    /// it may wait again; [`Left`](Error::Left).
    ///
    /// # Cancel safety
    ///
    /// A wait that is dropped while other tasks of this process are missing takes its arrival back. If it
    /// is dropped when it was the last, and on its way to the other processes, the others of its process
    /// get [`Error::LeaderCancelled`]. The process stays arrived; its tasks' next wait goes on with the same
    /// generation, also when that has been completed meanwhile. So nothing is lost, and nothing counted twice.
    pub async fn wait(&self) -> Result<WaitResult, Error> {
        match self.cross(false).await? {
            Turn::Follows(result) => Ok(result),
            Turn::Leads(leader) => leader.release().await,
        }
    }

    /// Arrives, and waits. The last task to arrive, of all tasks of all processes, gets a [`Leader`], and all
    /// the others, everywhere, stay blocked until that releases them.
    ///
    /// If the last to arrive has called [`wait`](Self::wait) instead, there is no leader.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait). If a leader's process is lost the others are released, with a barrier
    /// that goes on, or get [`Error::Lost`].
    ///
    /// # Cancel safety
    ///
    /// As for [`wait`](Self::wait). If the task that is dropped would have been the leader, all others stay
    /// blocked until its process waits again: by `wait_leader` the last of its tasks then leads, by `wait` it
    /// releases.
    pub async fn wait_leader(&self) -> Result<Option<Leader<'_>>, Error> {
        match self.cross(true).await? {
            Turn::Follows(_) => Ok(None),
            Turn::Leads(leader) => Ok(Some(leader)),
        }
    }

    /// Leaves: for the other processes this one is lost, at once.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if etcd did not hear of it: for the others this process is live until its
    /// lease ends. [`Error::Refused`] for the same reason. If the membership had ended before, why.
    ///
    /// # Cancel safety
    ///
    /// What is dropped goes on in the background.
    pub async fn leave(&self) -> Result<(), Error> {
        let (done, left) = oneshot::channel();
        self.member.send(Command::Leave(done));
        match left.await {
            Ok(left) => left,
            Err(_) => match self.end() {
                Some(Error::Left) => Ok(()),
                Some(error) => Err(error),
                None => Err(Error::Left),
            },
        }
    }

    /// The live processes, now and whenever that changes.
    pub fn members(&self) -> Members<'_> {
        Members {
            barrier: self,
            changes: WatchStream::new(self.member.roster.clone()),
        }
    }

    fn end(&self) -> Option<Error> {
        self.member.progress.borrow().end.clone()
    }

    async fn cross(&self, lead: bool) -> Result<Turn<'_>, Error> {
        let turn = self.turns.acquire().await.expect("it is never closed");
        let Some(local) = self.local.wait_leader().await else {
            let outcome = self.outcome.lock().expect("nothing panics with it");
            return outcome.clone().map(Turn::Follows);
        };
        // A leader that is dropped half-way releases the others with this, and not with what the last
        // generation brought.
        self.tell(Err(Error::LeaderCancelled));
        let generation = self.generation();
        let span = tracing::info_span!(
            "crossing",
            barrier = self.name(),
            process = self.process(),
            generation
        );
        match self.meet(generation, lead).instrument(span).await {
            Ok(Crossed::Through(result)) => {
                self.has_crossed(result);
                local.release();
                Ok(Turn::Follows(result))
            }
            Ok(Crossed::Holds(result)) => Ok(Turn::Leads(Leader {
                barrier: self,
                result,
                local: Some(local),
                _turn: turn,
            })),
            Err(error) => {
                self.tell(Err(error.clone()));
                local.release();
                Err(error)
            }
        }
    }

    async fn meet(&self, generation: u64, lead: bool) -> Result<Crossed, Error> {
        self.member.send(Command::Arrive { generation, lead });
        let progress = self
            .reached(|p| p.released > generation || p.holds == Some(generation))
            .await?;
        tracing::debug!(
            processes = progress.counted,
            leads = progress.led,
            "complete"
        );
        let result = WaitResult {
            generation,
            processes: progress.counted,
            leader: progress.led,
        };
        Ok(match progress.released > generation {
            true => Crossed::Through(result),
            false => Crossed::Holds(result),
        })
    }

    /// Waits for a progress, which counts also where the membership has ended after it.
    async fn reached(&self, enough: impl Fn(&Progress) -> bool) -> Result<Progress, Error> {
        let mut progress = self.member.progress.clone();
        let seen = progress.wait_for(|progress| enough(progress) || progress.end.is_some());
        let seen = match seen.await {
            Ok(progress) => progress.clone(),
            // The task that follows has ended, with its runtime.
            Err(_) => self.member.progress.borrow().clone(),
        };
        match enough(&seen) {
            true => Ok(seen),
            false => Err(seen.end.unwrap_or(Error::Left)),
        }
    }

    fn has_crossed(&self, result: WaitResult) {
        // Relaxed: the local barrier's release makes it visible to those who have waited.
        self.crossed.store(result.generation + 1, Relaxed);
        let leader = false;
        self.tell(Ok(WaitResult { leader, ..result }));
    }

    /// For the other tasks of this process.
    fn tell(&self, outcome: Result<WaitResult, Error>) {
        *self.outcome.lock().expect("nothing panics with it") = outcome;
    }
}

impl fmt::Debug for EtcdBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdBarrier")
            .field("name", &self.name())
            .field("process", &self.process())
            .field("generation", &self.generation())
            .finish_non_exhaustive()
    }
}

enum Turn<'a> {
    Follows(WaitResult),
    Leads(Leader<'a>),
}

/// The leader of a generation: all other tasks of all processes stay blocked until it releases them.
///
/// When it is dropped, the others are released as well, without anybody waiting for etcd's answer. If its
/// process is lost meanwhile the barrier breaks, or the others are released, as the barrier's
/// [`OnLoss`](crate::OnLoss) says. The process may have been lost and not know it yet: where the leader writes
/// to something shared, that should refuse what is older by [`generation`](WaitResult::generation).
#[must_use = "the others are released when this is dropped"]
pub struct Leader<'a> {
    barrier: &'a EtcdBarrier,
    result: WaitResult,
    /// None once it has been released.
    local: Option<barrier::Leader<'a>>,
    _turn: SemaphorePermit<'a>,
}

impl Leader<'_> {
    /// What the wait brings.
    pub fn result(&self) -> WaitResult {
        self.result
    }

    fn command(&self) -> Command {
        let generation = self.result.generation;
        Command::Release { generation }
    }

    /// Releases all others, and waits until etcd has taken that.
    ///
    /// # Errors
    ///
    /// As for [`EtcdBarrier::wait`]: the membership may have ended while it was held. The other tasks of this
    /// process get the same error.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, the others are released all the same.
    pub async fn release(mut self) -> Result<WaitResult, Error> {
        let (barrier, result) = (self.barrier, self.result);
        barrier.member.send(self.command());
        let released = barrier.reached(|p| p.released > result.generation).await;
        match &released {
            Ok(_) => barrier.has_crossed(result),
            Err(error) => barrier.tell(Err(error.clone())),
        }
        if let Some(local) = self.local.take() {
            local.release();
        }
        released.map(|_| result)
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        if let Some(local) = self.local.take() {
            self.barrier.member.send(self.command());
            self.barrier.has_crossed(self.result);
            local.release();
        }
    }
}

impl fmt::Debug for Leader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

/// The live processes by name, each with its lease.
pub type Membership = BTreeMap<String, i64>;

/// A stream of what [`EtcdBarrier::members`] says. It ends when this process is no member any more.
///
/// The first is there at once. Of several changes in short order only the last may be seen.
///
/// # Cancel safety
///
/// A `next()` that is dropped loses nothing.
pub struct Members<'a> {
    barrier: &'a EtcdBarrier,
    changes: WatchStream<i64>,
}

impl Stream for Members<'_> {
    type Item = Membership;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Membership>> {
        if ready!(Pin::new(&mut self.changes).poll_next(context)).is_none() {
            return Poll::Ready(None);
        }
        let view = self
            .barrier
            .member
            .view
            .lock()
            .expect("nothing panics with it");
        let live = view.live.iter();
        Poll::Ready(Some(
            live.map(|(name, live)| (name.to_string(), live.lease))
                .collect(),
        ))
    }
}

impl fmt::Debug for Members<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}
