//! What the processes of a barrier agree on, as arguments of the commands.

use clap::{
    Args, ValueEnum,
    builder::{NonEmptyStringValueParser, TypedValueParser},
};

/// What a process must know to take part.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// The barrier's name: of one run, and never used again
    #[arg(long, value_parser = name())]
    pub barrier: String,

    /// The name of this process, which no other has at the same time
    #[arg(long, value_parser = name())]
    pub process: String,

    #[command(flatten)]
    pub terms: Terms,
}

/// What all processes of a barrier have in common.
#[derive(Args, Clone, Debug)]
pub struct Terms {
    /// Where etcd listens
    #[arg(long, env = "ETCD_ENDPOINT", default_value = "http://127.0.0.1:2379")]
    pub endpoint: String,

    /// Processes that must have joined before the first generation can complete
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=128))]
    pub processes: u32,

    /// What the others do when a process that was counted has lost its lease
    #[arg(long, value_enum, default_value_t = OnLoss::Fail)]
    pub on_loss: OnLoss,

    /// Seconds until etcd takes a silent process for lost
    #[arg(long, value_name = "SECONDS", default_value_t = 5,
          value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub ttl: u32,

    /// Seconds for which a process tries to reach etcd, or waits for its name, before it gives up
    #[arg(long, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub patience: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnLoss {
    /// The barrier breaks: everybody gets an error, now and later
    Fail,
    /// The others go on without it
    Continue,
}

/// Names are parts of keys.
fn name() -> impl TypedValueParser<Value = String> {
    NonEmptyStringValueParser::new().try_map(|name| match name.contains('/') {
        true => Err("a name has no `/`"),
        false => Ok(name),
    })
}
