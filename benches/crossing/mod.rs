//! The work that is measured: `n` spawned tasks that cross one barrier over and over.

use std::{
    fmt,
    num::NonZeroUsize,
    str::FromStr,
    sync::Arc,
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
    pub(crate) fn all() -> Vec<Flavour> {
        let names = ["ct", "1", "2", "4"];
        names.map(|name| name.parse().expect("a name")).to_vec()
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

/// How long `n` tasks take to cross a new barrier `generations` times.
///
/// The clock runs from when the leader of the last warm-up generation is through to when the
/// leader of the last generation is: as many whole periods as there are generations. All parties
/// are spawned tasks; the calling thread only awaits their ends.
pub(crate) fn cross<B: Peer>(runtime: &Runtime, n: usize, generations: u64) -> Duration {
    async fn cross<B: Peer>(barrier: &B, generations: u64) -> Option<Instant> {
        let mut leads = false;
        for _ in 0..generations {
            leads = B::is_leader(&barrier.wait().await);
        }
        leads.then(Instant::now)
    }

    let warm_up = 1 + generations / 8;
    let barrier = Arc::new(B::new(n));
    let tasks: Vec<_> = (0..n)
        .map(|_| {
            let barrier = barrier.clone();
            runtime.spawn(async move {
                let start = cross(&*barrier, warm_up).await;
                let end = cross(&*barrier, generations).await;
                (start, end)
            })
        })
        .collect();
    runtime.block_on(async {
        let (mut start, mut end) = (None, None);
        for task in tasks {
            let (led_first, led_last) = task.await.expect("no task panics");
            start = start.or(led_first);
            end = end.or(led_last);
        }
        let leader = "every generation has a leader";
        end.expect(leader) - start.expect(leader)
    })
}
