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
    /// One permit per party. A task keeps its permit until it has read the outcome, so the next generation
    /// cannot overwrite it before.
    turns: Semaphore,
    /// Of the last generation of the local barrier.
    outcome: Mutex<Result<WaitResult, Error>>,
    /// Generations that have ended for this process.
    generation: AtomicU64,
    member: Member,
}

/// What [`EtcdBarrier::wait`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitResult {
    generation: u64,
    processes: usize,
    leader: bool,
}

impl WaitResult {
    /// The number of the generation, from 0.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The number of processes counted in the generation: those that were live when it was completed. All of
    /// them had arrived.
    ///
    /// If this process was disconnected meanwhile, and etcd has compacted its history since, this is the number
    /// of processes that the completing process knew.
    pub fn processes(&self) -> usize {
        self.processes
    }

    /// Whether this task led: it was the last to arrive of all tasks of all processes. At most one task per
    /// generation leads, and none if that task was dropped.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// A generation that is complete, for the leader of one process.
enum Completed {
    Released(WaitResult),
    /// It is to release the other processes.
    Holds(WaitResult),
}

impl EtcdBarrier {
    /// Names the barrier. A name is for one run and is never used again: the last state stays in etcd after
    /// the barrier is broken or its processes have ended.
    pub fn builder(name: impl Into<String>) -> Builder {
        Builder::new(name.into())
    }

    pub(crate) fn new(tasks: usize, member: Member) -> EtcdBarrier {
        // A generation that was held when this process joined is complete without it.
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
            generation: AtomicU64::new(generation),
            member,
        }
    }

    /// The barrier's name.
    pub fn name(&self) -> &str {
        &self.member.keys.barrier
    }

    /// The name of this process.
    pub fn process(&self) -> &str {
        &self.member.keys.process
    }

    /// The lease of this process. A later process of the same name has another. With a generation it makes a
    /// fencing token.
    pub fn lease(&self) -> i64 {
        self.member.keys.lease
    }

    /// The generation that the next wait is for, from 0.
    pub fn generation(&self) -> u64 {
        // Relaxed: a number alone, which nothing is read by. A task that has waited synchronizes with the leader
        // of its process by the local barrier.
        self.generation.load(Relaxed)
    }

    /// The number of tasks of this process that wait for a generation.
    pub fn tasks(&self) -> usize {
        self.local.parties().max(1)
    }

    /// Arrives, and waits for all tasks of this process and for all live processes.
    ///
    /// # Errors
    ///
    /// After [`Error::LeaderCancelled`] the tasks of this process may wait again. Any other error is final:
    /// [`Lost`](Error::Lost) for all processes; [`Expired`](Error::Expired),
    /// [`Unreachable`](Error::Unreachable), [`Refused`](Error::Refused), [`NotABarrier`](Error::NotABarrier) and
    /// [`Left`](Error::Left) for this one.
    ///
    /// # Cancel safety
    ///
    /// If other tasks of this process have not arrived, a wait that is dropped withdraws its arrival. The last
    /// task to arrive waits for the other processes on behalf of its own: if that wait is dropped, the other
    /// tasks of the process get [`Error::LeaderCancelled`], and the process stays arrived. The next wait of its
    /// tasks is for the same generation, which may be complete by then. So no generation is missed and none is
    /// counted twice.
    pub async fn wait(&self) -> Result<WaitResult, Error> {
        match self.wait_for_all(false).await? {
            Turn::Follows(result) => Ok(result),
            Turn::Leads(leader) => leader.release().await,
        }
    }

    /// Arrives, and waits as [`wait`](Self::wait) does. The last to arrive of all tasks of all processes gets a
    /// [`Leader`]. All other tasks of all processes stay blocked until it releases them, and get `None`.
    ///
    /// If the last task to arrive has called [`wait`](Self::wait), nobody gets a `Leader`.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait). If the leader's process is lost, the others are released or get
    /// [`Error::Lost`], as [`OnLoss`](crate::OnLoss) says.
    ///
    /// # Cancel safety
    ///
    /// As for [`wait`](Self::wait). If the dropped task would have been the leader, all other processes stay
    /// blocked until the tasks of this process wait again. If the last of these has called `wait_leader`, it is
    /// the leader; if it has called `wait`, it releases the others.
    pub async fn wait_leader(&self) -> Result<Option<Leader<'_>>, Error> {
        match self.wait_for_all(true).await? {
            Turn::Follows(_) => Ok(None),
            Turn::Leads(leader) => Ok(Some(leader)),
        }
    }

    /// Leaves: for the other processes this one is lost, at once.
    ///
    /// # Errors
    ///
    /// With [`Error::Unreachable`] or [`Error::Refused`] etcd has not ended the lease: for the other processes
    /// this one is live until the lease ends by itself. If this process was no member any more, the error is the
    /// one that its waits get.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped after its first poll, the process leaves all the same.
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

    /// A stream of the live processes: now, and after each change.
    pub fn members(&self) -> Members<'_> {
        Members {
            barrier: self,
            changes: WatchStream::new(self.member.roster.clone()),
        }
    }

    fn end(&self) -> Option<Error> {
        self.member.progress.borrow().end.clone()
    }

    async fn wait_for_all(&self, lead: bool) -> Result<Turn<'_>, Error> {
        let turn = self.turns.acquire().await.expect("it is never closed");
        let Some(local) = self.local.wait_leader().await else {
            let outcome = self.outcome.lock().expect("nothing panics with it");
            return outcome.clone().map(Turn::Follows);
        };
        // What the others get if this task is dropped below, in place of the last generation's outcome.
        self.tell(Err(Error::LeaderCancelled));
        let generation = self.generation();
        let span = tracing::info_span!(
            "wait",
            barrier = self.name(),
            process = self.process(),
            generation
        );
        match self.meet(generation, lead).instrument(span).await {
            Ok(Completed::Released(result)) => {
                self.has_completed(result);
                local.release();
                Ok(Turn::Follows(result))
            }
            Ok(Completed::Holds(result)) => Ok(Turn::Leads(Leader {
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

    async fn meet(&self, generation: u64, lead: bool) -> Result<Completed, Error> {
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
            true => Completed::Released(result),
            false => Completed::Holds(result),
        })
    }

    /// Waits for a progress. It counts also if the membership has ended after it.
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

    fn has_completed(&self, result: WaitResult) {
        // Relaxed: the local barrier's release makes it visible to the tasks that have waited.
        self.generation.store(result.generation + 1, Relaxed);
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

/// The leader of a generation, from [`EtcdBarrier::wait_leader`]: all other tasks of all processes stay blocked
/// until it releases them.
///
/// Dropping it releases them too, without waiting for etcd's answer. If its process is lost, the barrier breaks
/// or the others are released, as [`OnLoss`](crate::OnLoss) says. A process can be lost without knowing it yet: if
/// the leader writes to something shared, that should refuse a [`generation`](WaitResult::generation) older than
/// the newest it has seen.
#[must_use = "the others are released when this is dropped"]
pub struct Leader<'a> {
    barrier: &'a EtcdBarrier,
    result: WaitResult,
    /// None once it has been released.
    local: Option<barrier::Leader<'a>>,
    _turn: SemaphorePermit<'a>,
}

impl Leader<'_> {
    /// What [`EtcdBarrier::wait`] would have returned.
    pub fn result(&self) -> WaitResult {
        self.result
    }

    fn command(&self) -> Command {
        let generation = self.result.generation;
        Command::Release { generation }
    }

    /// Releases all others, and waits until etcd has recorded the release.
    ///
    /// # Errors
    ///
    /// As for [`EtcdBarrier::wait`]: the membership may have ended meanwhile. The other tasks of this process get
    /// the same error.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, the others are released all the same.
    pub async fn release(mut self) -> Result<WaitResult, Error> {
        let (barrier, result) = (self.barrier, self.result);
        barrier.member.send(self.command());
        let released = barrier.reached(|p| p.released > result.generation).await;
        match &released {
            Ok(_) => barrier.has_completed(result),
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
            self.barrier.has_completed(self.result);
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

/// A stream of the live processes, from [`EtcdBarrier::members`]. It ends when this process is no member any
/// more.
///
/// The first item is ready at once. If the processes change several times between two polls, only the last
/// change is seen.
///
/// # Cancel safety
///
/// If a wait for the next item is dropped, the item is not lost.
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
