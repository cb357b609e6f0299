//! The checkpoint of a service, small: several workers count words, and wait for each other every few lines.
//! What all have counted is saved before any of them goes on; if a worker is lost, the others take over its
//! lines, or all stop.
//!
//! ```text
//! cargo run --example snapshot
//! cargo run --example snapshot -- path/to/text --workers 8 --every 100 --out counts.txt
//! cat path/to/text | cargo run --example snapshot -- -
//! cargo run --example snapshot -- --fail-at 18
//! cargo run --example snapshot -- --fail-at 18 --on-loss continue
//! ```

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    mem,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use anyhow::{Error, Result, bail, ensure};
use atomic_barrier::{
    Phaser,
    phaser::{Closed, Exit, Participant},
};
use clap::{Parser, ValueEnum};
use examples::{Output, Text, counted, number, print, progress, runtime, words};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

/// Counts the words of a text with several workers, and saves the counts every few lines.
///
/// The workers take the lines in turns, and wait for each other after every few lines. The last saves what all
/// have counted while the others wait, so each snapshot is of the text up to one line. It replaces the one
/// before only once it is whole and on the disk.
#[derive(Parser)]
struct Options {
    /// A text in UTF-8, or - for standard input; read to its end before the count begins
    /// [default: the Gettysburg Address]
    text: Option<PathBuf>,

    /// Tasks that count
    #[arg(long, default_value_t = 4, value_parser = number(1..=1000))]
    workers: u32,

    /// Lines from one snapshot to the next [default: 5 of the built-in text, otherwise 1000]
    #[arg(long, value_name = "LINES", value_parser = number(1..=u32::MAX))]
    every: Option<u32>,

    /// Where the snapshot is kept [default: atomic-barrier-snapshot.txt, among temporary files]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Makes the worker fail that comes to this line, counted from 1
    #[arg(long, value_name = "LINE", value_parser = number(1..=u32::MAX))]
    fail_at: Option<u32>,

    /// What the others do when a worker has failed
    #[arg(long, value_enum, default_value_t = OnLoss::Stop)]
    on_loss: OnLoss,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum OnLoss {
    /// Count its lines among them, and go on
    Continue,
    /// Stop, and leave the last snapshot
    Stop,
}

fn main() -> ExitCode {
    examples::main(load, run)
}

fn load(options: Options) -> Result<Job> {
    let text = Text::read(options.text.as_deref())?;
    let lines = text.lines.len();
    let fail_at = options.fail_at.map(|line| line as usize);
    if let Some(line) = fail_at {
        ensure!(
            line <= lines,
            "--fail-at {line}: {} ends with line {lines}",
            text.name
        );
    }
    let out = match &options.out {
        Some(path) => path.clone(),
        None => env::temp_dir().join("atomic-barrier-snapshot.txt"),
    };
    let out = Output::open(&out, &[("the text", text.place.clone())])?;
    let every = if options.text.is_none() { 5 } else { 1000 };
    let workers = options.workers as usize;
    let every = options.every.unwrap_or(every) as usize;
    Ok(Job {
        bar: progress(lines as u64, "counting", "lines"),
        every,
        fail_at: Mutex::new(fail_at),
        on_loss: options.on_loss,
        out: Mutex::new(out),
        plan: Mutex::new(Plan {
            lines: (0..lines.min(every)).collect(),
            workers: (0..workers).collect(),
            ..Plan::default()
        }),
        tallies: (0..workers).map(|_| Mutex::default()).collect(),
        text,
    })
}

fn run(job: Job) -> Result<()> {
    let job = Arc::new(job);
    let runtime = runtime(thread::available_parallelism()?.get())?;
    let lost = runtime.block_on(work(&job))?;
    job.bar.finish();

    let mut expected = Tally::default();
    for line in &job.text.lines {
        expected.count(line);
    }
    let tally = job.total();
    let name = &job.text.name;
    ensure!(
        tally == expected,
        "{name}: the workers have counted {} words, one after the other they are {}",
        tally.total(),
        expected.total()
    );
    let mut report = format!(
        "{name}: {lines}, {words}, {different} of them different\n\
         workers: {workers}, with the same counts as a sequential run\n\
         snapshots: {snapshots}, the last one in {out}\n",
        lines = counted(tally.lines, "line"),
        words = counted(tally.total() as usize, "word"),
        different = tally.words.len(),
        workers = job.tallies.len(),
        snapshots = job.plan().snapshots,
        out = job.out.lock().unwrap().name(),
    );
    for failure in lost {
        writeln!(report, "lost: {failure}; the others counted its lines")?;
    }
    print(&report)
}

/// Runs all workers. Returns the failures of those that were lost, if the others went on to the end.
async fn work(job: &Arc<Job>) -> Result<Vec<Error>> {
    let saving = job.clone();
    // Once in each phase, also in one that is complete because a worker was lost.
    let builder = Phaser::builder().on_phase(move |_, _| saving.end_phase());
    let phaser = match job.on_loss {
        OnLoss::Stop => builder.close_on(Exit::Drop).build(),
        OnLoss::Continue => builder.build(),
    };
    let participants = phaser.register_many(job.tallies.len())?;
    let mut workers: JoinSet<_> = participants
        .into_iter()
        .enumerate()
        .map(|(worker, participant)| job.clone().work(worker, participant))
        .collect();
    let mut lost = Vec::new();
    while let Some(end) = workers.join_next().await {
        match end {
            Ok(Ok(())) => {}
            // Another has failed.
            Ok(Err(failure)) if failure.is::<Closed>() => {}
            Ok(Err(failure)) => lost.push(failure),
            Err(panic) => lost.push(panic.into()),
        }
    }
    let mut plan = job.plan();
    if let Some(failure) = plan.failure.take() {
        return Err(failure);
    }
    // Stopped, or no worker is left to go on.
    if !plan.lines.is_empty() {
        lost.pop().map_or(Ok(()), Err)?;
    }
    Ok(lost)
}

struct Job {
    text: Text,
    every: usize,
    fail_at: Mutex<Option<usize>>,
    on_loss: OnLoss,
    out: Mutex<Output>,
    plan: Mutex<Plan>,
    /// One for each worker, which alone locks it until it arrives.
    tallies: Vec<Mutex<Tally>>,
    bar: ProgressBar,
}

/// What the workers do in the current phase. Changed between two phases, but for what is lost.
#[derive(Default)]
struct Plan {
    /// The lines to count, from 0. None are left at the end.
    lines: Vec<usize>,
    /// The workers among which they are dealt out.
    workers: Vec<usize>,
    /// The workers that were lost in this phase, and the lines that these left.
    lost: Vec<usize>,
    left: Vec<usize>,
    snapshots: usize,
    /// Why nothing could be saved.
    failure: Option<Error>,
}

impl Job {
    /// Drops its participant without `leave` when it fails: the phaser then closes, or the others go on.
    async fn work(self: Arc<Self>, worker: usize, mut participant: Participant) -> Result<()> {
        loop {
            let lines = self.plan().lines_of(worker);
            let Some(lines) = lines else {
                participant.leave();
                return Ok(());
            };
            self.count_lines(worker, &lines)?;
            participant.wait().await?;
        }
    }

    fn count_lines(&self, worker: usize, lines: &[usize]) -> Result<()> {
        let mut tally = self.tallies[worker].lock().unwrap();
        for (counted, &line) in lines.iter().enumerate() {
            let number = line + 1;
            let mut fail_at = self.fail_at.lock().unwrap();
            if fail_at.take_if(|fail_at| *fail_at == number).is_some() {
                let mut plan = self.plan();
                plan.lost.push(worker);
                plan.left.extend(&lines[counted..]);
                bail!("worker {worker} failed at line {number}, as it was told to");
            }
            tally.count(&self.text.lines[line]);
        }
        Ok(())
    }

    /// Ends a phase, in which all workers that are left have arrived.
    fn end_phase(&self) {
        if let Err(failure) = self.save_and_plan() {
            let mut plan = self.plan();
            plan.lines.clear();
            plan.failure = Some(failure);
        }
    }

    /// Saves what the workers have counted, and plans the next phase.
    fn save_and_plan(&self) -> Result<()> {
        let left = mem::take(&mut self.plan().left);
        let lines = if left.is_empty() {
            let snapshots = self.plan().snapshots;
            let end = self.text.lines.len().min((snapshots + 1) * self.every);
            // All lines up to `end` are counted, and none after them.
            let snapshot = self.snapshot(snapshots, end)?;
            // It blocks its thread, which has nothing else to do: all tasks wait for this.
            self.out.lock().unwrap().write(snapshot.as_bytes())?;
            self.bar.set_position(end as u64);
            self.plan().snapshots += 1;
            (end..self.text.lines.len().min(end + self.every)).collect()
        } else {
            left
        };
        let mut plan = self.plan();
        let lost = mem::take(&mut plan.lost);
        plan.workers.retain(|worker| !lost.contains(worker));
        plan.lines = lines;
        Ok(())
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap()
    }

    fn snapshot(&self, number: usize, lines: usize) -> Result<String> {
        let total = self.total();
        let shares = self
            .tallies
            .iter()
            .map(|tally| tally.lock().unwrap().lines.to_string());
        let shares = shares.collect::<Vec<_>>().join(" + ");
        ensure!(
            total.lines == lines,
            "snapshot {number} would have {shares} lines, but {lines} were read"
        );
        let mut text = format!(
            "snapshot {number}\nlines {lines} = {shares}\nwords {}\n\n",
            total.total()
        );
        for (word, count) in &total.words {
            writeln!(text, "{word} {count}")?;
        }
        Ok(text)
    }

    /// What all workers have counted.
    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in &self.tallies {
            let tally = tally.lock().unwrap();
            total.lines += tally.lines;
            for (word, count) in &tally.words {
                *total.words.entry(word.clone()).or_default() += count;
            }
        }
        total
    }
}

impl Plan {
    /// The lines that a worker is to count; none at the end.
    fn lines_of(&self, worker: usize) -> Option<Vec<usize>> {
        if self.lines.is_empty() {
            return None;
        }
        let turn = self.workers.iter().position(|&other| other == worker)?;
        let lines = self.lines.iter().copied();
        Some(
            lines
                .filter(|line| line % self.workers.len() == turn)
                .collect(),
        )
    }
}

#[derive(Default, PartialEq, Eq)]
struct Tally {
    lines: usize,
    words: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, line: &str) {
        self.lines += 1;
        for word in words(line) {
            *self.words.entry(word).or_default() += 1;
        }
    }

    fn total(&self) -> u64 {
        self.words.values().sum()
    }
}
