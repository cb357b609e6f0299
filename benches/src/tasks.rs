//! Spawned tasks that wait for one another over and over, on one of tokio's runtimes.

use std::{
    fmt,
    num::NonZeroUsize,
    str::FromStr,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

use crate::peers::Peer;

/// The numbers of parties that are compared, and the geometric means are over.
pub const PARTIES: [usize; 5] = [2, 8, 64, 512, 4096];

/// A flavour of tokio's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// All tasks on the thread that calls.
    CurrentThread,
    /// So many worker threads.
    Workers(NonZeroUsize),
}

impl Flavour {
    /// Those with these names, as on the command line.
    ///
    /// # Panics
    ///
    /// If it is not the name of one.
    pub fn named(names: &[&str]) -> Vec<Flavour> {
        let flavours = names.iter().map(|name| name.parse().expect("a name"));
        flavours.collect()
    }

    /// A runtime of this flavour.
    ///
    /// # Panics
    ///
    /// If the system has no threads for it.
    pub fn runtime(self) -> Runtime {
        match self {
            Flavour::CurrentThread => Builder::new_current_thread().build(),
            Flavour::Workers(n) => Builder::new_multi_thread().worker_threads(n.get()).build(),
        }
        .expect("the system has threads for the runtime")
    }
}

impl FromStr for Flavour {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "ct" => Ok(Flavour::CurrentThread),
            _ => s
                .parse()
                .map(Flavour::Workers)
                .map_err(|e| format!("{e}; expected `ct` or a number of workers")),
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Flavour::Workers(n) = *self else {
            return write!(f, "current-thread");
        };
        write!(f, "{n} worker{}", if n.get() == 1 { "" } else { "s" })?;
        match thread::available_parallelism() {
            Ok(cores) if cores < n => write!(f, " on {cores} cores, oversubscribed"),
            _ => Ok(()),
        }
    }
}

/// A party of a barrier, or a participant of a phaser, for a task of its own.
pub trait Party: Send + Sized + 'static {
    /// Its name in tables.
    const NAME: &str;

    /// All `n` that wait for one another, made as their documentation makes them.
    fn group(n: usize) -> Vec<Self>;
    /// Waits for the end of the generation.
    fn wait(&mut self) -> impl Future<Output = ()> + Send;
}

/// Parties of a barrier share it.
impl<B: Peer> Party for Arc<B> {
    const NAME: &str = B::NAME;

    fn group(n: usize) -> Vec<Self> {
        let barrier = Arc::new(B::new(n));
        vec![barrier; n]
    }

    async fn wait(&mut self) {
        B::wait(self).await;
    }
}

impl Party for atomic_barrier::phaser::Participant {
    const NAME: &str = "phaser";

    fn group(n: usize) -> Vec<Self> {
        let participants = atomic_barrier::Phaser::new().register_many(n);
        participants.expect("so many participants fit")
    }

    async fn wait(&mut self) {
        self.wait().await.expect("nobody closes it");
    }
}

impl Party for asyncband::phaser::PhaserParticipant {
    const NAME: &str = "asyncband";

    fn group(n: usize) -> Vec<Self> {
        let participants = asyncband::phaser::Phaser::new().register(n);
        participants.expect("nobody closes it").collect()
    }

    async fn wait(&mut self) {
        self.wait().await.expect("nobody closes it");
    }
}

/// How long a new group of `n` tasks takes for so many generations.
///
/// The clock runs from when the first of them has completed the warm-up to when the first has
/// completed the last generation: as many whole periods as there are generations. All parties are
/// spawned tasks; the calling thread only awaits their ends.
pub fn run<P: Party>(runtime: &Runtime, n: usize, generations: u64) -> Duration {
    let warm_up = 1 + generations / 8;
    let clock = Arc::new([OnceLock::new(), OnceLock::new()]);
    let tasks: Vec<_> = P::group(n)
        .into_iter()
        .map(|mut party| {
            let clock = clock.clone();
            runtime.spawn(async move {
                for (generations, time) in [warm_up, generations].into_iter().zip(&*clock) {
                    for _ in 0..generations {
                        party.wait().await;
                    }
                    time.get_or_init(Instant::now);
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
    let [start, end] = [0, 1].map(|time| *clock[time].get().expect("every task ends"));
    end - start
}

/// How long `groups` groups of `n` tasks take for so many generations, each group for itself.
pub fn run_many<P: Party>(
    runtime: &Runtime,
    groups: usize,
    n: usize,
    generations: u64,
) -> Duration {
    let run = |parties: Vec<P>, generations: u64| {
        let start = Instant::now();
        let tasks: Vec<_> = parties
            .into_iter()
            .map(|mut party| {
                runtime.spawn(async move {
                    for _ in 0..generations {
                        party.wait().await;
                    }
                    party
                })
            })
            .collect();
        let parties: Vec<P> = runtime.block_on(async {
            let mut parties = Vec::with_capacity(tasks.len());
            for task in tasks {
                parties.push(task.await.expect("no task panics"));
            }
            parties
        });
        (start.elapsed(), parties)
    };
    let parties = (0..groups).flat_map(|_| P::group(n)).collect();
    let (_warm_up, parties) = run(parties, 2);
    run(parties, generations).0
}
