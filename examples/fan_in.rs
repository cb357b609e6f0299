//! A parallel hash join of which some partitions are cancelled, as under a LIMIT: each partition builds its
//! part of a table, waits until all parts are built, and looks its own words up in the others. A phaser goes
//! on without a cancelled partition; a barrier with a fixed number of parties waits for it.
//!
//! ```text
//! cargo run --example fan_in
//! cargo run --example fan_in -- --barrier tokio --deadline 500
//! cargo run --example fan_in -- --barrier atomic --deadline 500
//! cargo run --example fan_in -- path/to/text --partitions 100 --cancel 0.7 --seed 1
//! ```

use std::{
    collections::HashMap,
    fmt,
    future::{Future, pending, poll_fn},
    ops::Range,
    path::PathBuf,
    pin::pin,
    process::ExitCode,
    sync::{Arc, OnceLock},
    task::Poll,
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow, ensure};
use atomic_barrier::{Barrier, Phaser, phaser::Participant};
use clap::{Parser, ValueEnum};
use examples::{Text, counted, number, print, runtime, words};
use fastrand::Rng;
use tokio::{
    select,
    task::{JoinSet, yield_now},
    time::timeout,
};

/// Joins the words of a text's partitions with each other, while some partitions are cancelled.
///
/// The lines are split into partitions, with a task each. A task counts the words of its lines, which
/// is its part of the table, then waits for the others, and then looks each of its words up in the other
/// parts. Partitions are cancelled while they build, when they have built, and while they wait for the
/// others. The part of a partition that is cancelled while it builds is not in the table. The result is
/// compared with that of a sequential run.
#[derive(Parser)]
struct Options {
    /// A text in UTF-8, or - for standard input [default: the Gettysburg Address]
    text: Option<PathBuf>,

    /// What the partitions wait at
    #[arg(long, value_enum, default_value_t = Kind::Phaser)]
    barrier: Kind,

    /// Partitions of the text, some of them empty if it has fewer lines
    #[arg(long, default_value_t = 8, value_parser = number(1..=10_000))]
    partitions: u32,

    /// How likely it is that a partition is cancelled, from 0 to 1
    #[arg(long, value_name = "RATE", default_value_t = 0.5, value_parser = rate)]
    cancel: f64,

    /// Decides which partitions are cancelled, and when
    #[arg(long, default_value_t = 2, value_parser = number(0..=u32::MAX))]
    seed: u32,

    /// How long all may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000,
          value_parser = number(1..=3_600_000))]
    deadline: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// This crate's phaser: a participant that is dropped leaves
    Phaser,
    /// This crate's barrier: a fixed number of parties, and a wait that is dropped withdraws its arrival
    Atomic,
    /// tokio's barrier: a fixed number of parties, and a wait that is dropped stays counted
    Tokio,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.0..=1.0).contains(&rate) => Ok(rate),
        _ => Err("expected a number from 0 to 1".to_string()),
    }
}

fn main() -> ExitCode {
    examples::main(load, run)
}

fn load(options: Options) -> Result<(Options, Text)> {
    let text = Text::read(options.text.as_deref())?;
    Ok((options, text))
}

fn run((options, text): (Options, Text)) -> Result<()> {
    let name = text.name;
    let query = Arc::new(Query::new(&options, text.lines));
    let barrier = AnyBarrier::new(options.barrier, query.partitions.len());
    let runtime = runtime(thread::available_parallelism()?.get())?;
    let deadline = Duration::from_millis(options.deadline.into());
    let answers = runtime.block_on(answers(&query, &barrier, deadline))?;
    query.check(&answers)?;

    let total = Answer {
        words: answers.iter().flatten().map(|answer| answer.words).sum(),
        joined: answers.iter().flatten().map(|answer| answer.joined).sum(),
        pairs: answers.iter().flatten().map(|answer| answer.pairs).sum(),
    };
    print(&format!(
        "{name}: {lines} in {partitions}, which waited at {barrier}
cancelled while building:       {building}
cancelled when built:           {built}
cancelled while waiting:        {waiting}
in the table, whole parts only: {table}
looked their words up:          {answered}
Of their {words} words, each counted once a partition, {joined} are in another part of the table, and make
{pairs} pairs of occurrences. A sequential run over the same partitions agrees.
",
        lines = counted(query.lines.len(), "line"),
        partitions = counted(query.partitions.len(), "partition"),
        building = query.list(|p| matches!(p.cancel, Some(Cancel::Building { .. }))),
        built = query.list(|p| matches!(p.cancel, Some(Cancel::Built))),
        waiting = query.list(|p| matches!(p.cancel, Some(Cancel::Waiting))),
        table = query.list(|p| p.part.get().is_some()),
        answered = query.list(|p| answers[p.number].is_some()),
        words = total.words,
        joined = total.joined,
        pairs = total.pairs,
    ))
}

/// The first partitions, and how many more there are.
fn list(partitions: impl Iterator<Item = impl fmt::Display>, most: usize) -> String {
    let mut names: Vec<_> = partitions.map(|partition| partition.to_string()).collect();
    if names.is_empty() {
        return "none".to_string();
    }
    let more = names.len().saturating_sub(most);
    names.truncate(most);
    let names = names.join(", ");
    if more == 0 {
        names
    } else {
        format!("{names} and {more} more")
    }
}

/// Runs all partitions, and returns the answers of those that were not cancelled.
async fn answers(
    query: &Arc<Query>,
    barrier: &AnyBarrier,
    deadline: Duration,
) -> Result<Vec<Option<Answer>>> {
    let phaser = Phaser::new();
    // At another barrier the phaser only says who is missing: its phase does not end without this one.
    let _open = match barrier {
        AnyBarrier::Phaser => None,
        _ => Some(phaser.register()?),
    };
    let mut tasks = JoinSet::new();
    // All of them at once: participants that registered one by one could complete a phase without the rest.
    let participants = phaser.register_many(query.partitions.len())?;
    for (number, participant) in participants.into_iter().enumerate() {
        let polls = query.partitions[number].polls();
        let party = Party {
            participant: participant.named(number.to_string()),
            barrier: barrier.clone(),
        };
        let join = query.clone().join(number, party);
        tasks.spawn(async move { (number, limited(join, polls).await) });
    }

    let mut answers = vec![None; query.partitions.len()];
    let mut ended = vec![false; query.partitions.len()];
    let all = async {
        while let Some(end) = tasks.join_next().await {
            let (number, answer) = end?;
            answers[number] = answer.transpose()?;
            ended[number] = true;
        }
        anyhow::Ok(())
    };
    match timeout(deadline, all).await {
        Ok(end) => end?,
        Err(_) => {
            let late = query.late(&phaser, barrier, &ended);
            tasks.shutdown().await;
            if let AnyBarrier::Atomic(barrier) = barrier {
                assert_eq!(barrier.arrived(), 0, "waits that are dropped withdraw");
            }
            return Err(late.context(format!("not done after {} ms", deadline.as_millis())));
        }
    }
    Ok(answers)
}

/// Polls a task `polls` times and then drops it wherever it is, as a consumer that has enough rows does.
async fn limited<T>(task: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut task = pin!(task);
    let mut left = polls;
    poll_fn(|cx| {
        if left > 0 {
            left -= 1;
            if let Poll::Ready(output) = task.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await
}

/// What all partitions wait at.
#[derive(Clone)]
enum AnyBarrier {
    Phaser,
    Atomic(Arc<Barrier>),
    Tokio(Arc<tokio::sync::Barrier>),
}

/// What one partition waits with.
struct Party {
    participant: Participant,
    barrier: AnyBarrier,
}

impl AnyBarrier {
    fn new(kind: Kind, n: usize) -> AnyBarrier {
        match kind {
            Kind::Phaser => AnyBarrier::Phaser,
            Kind::Atomic => AnyBarrier::Atomic(Arc::new(Barrier::new(n))),
            Kind::Tokio => AnyBarrier::Tokio(Arc::new(tokio::sync::Barrier::new(n))),
        }
    }
}

impl fmt::Display for AnyBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AnyBarrier::Phaser => "a phaser",
            AnyBarrier::Atomic(_) => "an atomic barrier",
            AnyBarrier::Tokio(_) => "tokio's barrier",
        })
    }
}

impl Party {
    async fn wait(&mut self) -> Result<()> {
        let meets = async {
            match &self.barrier {
                AnyBarrier::Phaser => pending().await,
                AnyBarrier::Atomic(barrier) => _ = barrier.wait().await,
                AnyBarrier::Tokio(barrier) => _ = barrier.wait().await,
            }
        };
        select! {
            biased;
            end = self.participant.wait() => end.map(drop)?,
            // It is missing at the phaser again: its wait is dropped.
            () = meets => {}
        }
        Ok(())
    }
}

struct Query {
    lines: Vec<String>,
    partitions: Vec<Partition>,
}

/// How often each word occurs.
type Part = HashMap<String, u64>;

struct Partition {
    number: usize,
    lines: Range<usize>,
    cancel: Option<Cancel>,
    /// Its part of the table, once that is whole.
    part: OnceLock<Part>,
}

/// When a partition is cancelled.
#[derive(Clone, Copy)]
enum Cancel {
    /// After so many lines.
    Building { lines: usize },
    /// Before it has arrived.
    Built,
    /// When it has arrived.
    Waiting,
}

impl fmt::Display for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cancel::Building { .. } => "cancelled while building",
            Cancel::Built => "cancelled when built",
            Cancel::Waiting => "cancelled while waiting",
        })
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)
    }
}

impl Partition {
    /// How often it is polled. Each poll does one of the steps of [`Query::join`].
    fn polls(&self) -> usize {
        match self.cancel {
            Some(Cancel::Building { lines }) => lines,
            Some(Cancel::Built) => self.lines.len() + 1,
            Some(Cancel::Waiting) => self.lines.len() + 2,
            None => usize::MAX,
        }
    }
}

/// What a partition has found: its different words, how many of them are in other parts too, and in
/// how many pairs of one occurrence here and one there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Answer {
    words: u64,
    joined: u64,
    pairs: u64,
}

impl Answer {
    /// A word that occurs `here` times, and in the other parts of the table `there` times.
    fn add(&mut self, here: u64, there: u64) {
        self.words += 1;
        self.joined += u64::from(there > 0);
        self.pairs += here * there;
    }
}

impl Query {
    fn new(options: &Options, lines: Vec<String>) -> Query {
        let mut random = Rng::with_seed(options.seed.into());
        let n = options.partitions as usize;
        let partitions = (0..n)
            .map(|number| {
                let [start, end] = [number, number + 1].map(|number| lines.len() * number / n);
                let mut cancel = None;
                if random.f64() < options.cancel {
                    let lines = random.usize(..=end - start);
                    let whens = [Cancel::Building { lines }, Cancel::Built, Cancel::Waiting];
                    cancel = random.choice(whens);
                }
                Partition {
                    number,
                    lines: start..end,
                    cancel,
                    part: OnceLock::new(),
                }
            })
            .collect();
        Query { lines, partitions }
    }

    /// The numbers of the partitions for which `belongs` is true.
    fn list(&self, belongs: impl Fn(&Partition) -> bool) -> String {
        list(
            self.partitions
                .iter()
                .filter(|partition| belongs(partition)),
            100,
        )
    }

    /// The task of a partition. It yields between its steps, as an engine does after each batch.
    async fn join(self: Arc<Self>, number: usize, mut party: Party) -> Result<Answer> {
        let partition = &self.partitions[number];
        let mut part = Part::new();
        for line in &self.lines[partition.lines.clone()] {
            for word in words(line) {
                *part.entry(word).or_default() += 1;
            }
            yield_now().await;
        }
        let part = partition.part.get_or_init(|| part);
        yield_now().await;

        party.wait().await?;
        // The table is complete: each partition has built its part, or was cancelled before.
        yield_now().await;

        let others = || {
            self.partitions
                .iter()
                .filter(|other| other.number != number)
        };
        let mut answer = Answer::default();
        for (word, here) in part {
            let there = others().filter_map(|other| other.part.get()?.get(word));
            answer.add(*here, there.sum());
        }
        Ok(answer)
    }

    /// Which partitions are missing when the deadline has passed.
    fn late(&self, phaser: &Phaser, barrier: &AnyBarrier, ended: &[bool]) -> anyhow::Error {
        let at_work = phaser.missing();
        if !at_work.is_empty() {
            return anyhow!("still at work are {}", list(at_work.iter(), 8));
        }
        let (arrived, n) = (phaser.arrived(), self.partitions.len());
        if let AnyBarrier::Tokio(_) = barrier {
            return anyhow!(
                "{arrived} of {n} partitions hang at {barrier}, which does not say for whom"
            );
        }
        let missing = self
            .partitions
            .iter()
            .filter(|missing| ended[missing.number]);
        let missing = missing.map(|partition| match partition.cancel {
            Some(cancel) => format!("{partition} ({cancel})"),
            None => partition.to_string(),
        });
        anyhow!(
            "{arrived} of {n} partitions have arrived at {barrier}, missing are {}",
            list(missing, 8)
        )
    }

    /// Compares with what a sequential run finds, for each partition that was not to be cancelled.
    fn check(&self, answers: &[Option<Answer>]) -> Result<()> {
        // For each word, how often it occurs in each partition that is in the table.
        let mut table: HashMap<String, HashMap<usize, u64>> = HashMap::new();
        for partition in &self.partitions {
            if !matches!(partition.cancel, Some(Cancel::Building { .. })) {
                for word in self.lines[partition.lines.clone()]
                    .iter()
                    .flat_map(|line| words(line))
                {
                    *table
                        .entry(word)
                        .or_default()
                        .entry(partition.number)
                        .or_default() += 1;
                }
            }
        }
        let mut expected: Vec<_> = self
            .partitions
            .iter()
            .map(|partition| partition.cancel.is_none().then(Answer::default))
            .collect();
        for counts in table.values() {
            let total: u64 = counts.values().sum();
            for (&number, here) in counts {
                if let Some(answer) = &mut expected[number] {
                    answer.add(*here, total - here);
                }
            }
        }
        for (number, (found, expected)) in answers.iter().zip(&expected).enumerate() {
            ensure!(
                found == expected,
                "partition {number} has found {found:?}, but one after the other it is {expected:?}"
            );
        }
        Ok(())
    }
}
