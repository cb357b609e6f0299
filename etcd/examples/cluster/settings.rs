//! What the processes of a barrier agree on, as arguments of the commands.

use std::time::Duration;

use atomic_barrier_etcd::{Error, EtcdBarrier, OnLoss};
use clap::{
    Args, ValueEnum,
    builder::{NonEmptyStringValueParser, TypedValueParser},
};

/// What a process must know to take part.
#[derive(Args, Clone, Debug)]
pub(crate) struct Settings {
    /// The barrier's name: of one run, and never used again
    #[arg(long, value_parser = name())]
    pub(crate) barrier: String,

    /// The name of this process, which no other has at the same time
    #[arg(long, value_parser = name())]
    pub(crate) process: String,

    /// Where etcd listens: one or more of its members, which must be there already
    #[arg(
        long = "endpoint",
        env = "ETCD_ENDPOINT",
        value_delimiter = ',',
        value_name = "URL",
        default_value = "http://127.0.0.1:2379"
    )]
    pub(crate) endpoints: Vec<String>,

    #[command(flatten)]
    pub(crate) terms: Terms,
}

/// What all processes of a barrier have in common.
#[derive(Args, Clone, Debug)]
pub(crate) struct Terms {
    /// Processes that must have joined before the first generation can complete
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) processes: u32,

    /// What the others do when a process that was counted has lost its lease
    #[arg(long, value_enum, default_value_t = Loss::Fail)]
    pub(crate) on_loss: Loss,

    /// Seconds until etcd takes a silent process for lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub(crate) ttl: u32,

    /// Seconds for which a process tries to reach etcd, or waits for its name, before it gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) patience: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loss {
    /// The barrier breaks: everybody gets an error, now and later
    Fail,
    /// The others go on without it
    Continue,
}

impl Settings {
    pub(crate) async fn join(&self, tasks: u32) -> Result<EtcdBarrier, Error> {
        let Terms {
            processes,
            on_loss,
            ttl,
            patience,
        } = self.terms;
        EtcdBarrier::builder(&self.barrier)
            .process(&self.process)
            .processes(processes as usize)
            .tasks(tasks as usize)
            .endpoints(&self.endpoints)
            .on_loss(match on_loss {
                Loss::Fail => OnLoss::Fail,
                Loss::Continue => OnLoss::Continue,
            })
            .ttl(Duration::from_secs(ttl.into()))
            .patience(Duration::from_secs(patience.into()))
            .join()
            .await
    }
}

/// Names are parts of keys.
fn name() -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new().try_map(|name| match name.contains('/') {
        true => Err("a name has no `/`"),
        false => Ok(name),
    })
}
