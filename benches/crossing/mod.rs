//! The work that is measured: `n` spawned tasks that meet over and over.

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

/// The party counts that are compared. tokio's local queue holds 256 tasks.
pub(crate) const PARTIES: [usize; 7] = [2, 8, 64, 255, 257, 512, 4096];

/// The runtimes that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavour {
    CurrentThread,
    Workers(NonZeroUsize),
}

impl Flavour {
    pub(crate) fn named(names: &[&str]) -> Vec<Flavour> {
        let flavours = names.iter().map(|name| name.parse().expect("a name"));
        flavours.collect()
    }

    pub(crate) fn runtime(self) -> Runtime {
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

/// One of those that meet, in a task of its own.
pub(crate) trait Member: Send + Sized + 'static {
    const NAME: &str;

    /// All that meet each other, as their documentation makes them.
    fn group(n: usize) -> Vec<Self>;
    fn wait(&mut self) -> impl Future<Output = ()> + Send;
}

/// Members of a barrier are those that share it.
impl<B: Peer> Member for Arc<B> {
    const NAME: &str = B::NAME;

    fn group(n: usize) -> Vec<Self> {
        let barrier = Arc::new(B::new(n));
        vec![barrier; n]
    }

    async fn wait(&mut self) {
        B::wait(self).await;
    }
}

/// How long a new group of `n` tasks takes to meet `generations` times.
///
/// The clock runs from when the first of them is through the last warm-up generation to when the
/// first is through the last generation: as many whole periods as there are generations. All members
/// are spawned tasks; the calling thread only awaits their ends.
pub(crate) fn cross<M: Member>(runtime: &Runtime, n: usize, generations: u64) -> Duration {
    let warm_up = 1 + generations / 8;
    let clock = Arc::new([OnceLock::new(), OnceLock::new()]);
    let tasks: Vec<_> = M::group(n)
        .into_iter()
        .map(|mut member| {
            let clock = clock.clone();
            runtime.spawn(async move {
                for (generations, time) in [warm_up, generations].into_iter().zip(&*clock) {
                    for _ in 0..generations {
                        member.wait().await;
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
    let [start, end] = [0, 1].map(|time| *clock[time].get().expect("all tasks are through"));
    end - start
}
