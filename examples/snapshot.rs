//! The checkpoint of a service, small: several workers count words, and wait for each other every few lines.
//! The last to arrive saves what all have counted before any of them goes on, so each snapshot is consistent.
//!
//! ```text
//! cargo run --example snapshot
//! cargo run --example snapshot -- path/to/text --workers 8 --every 100 --out counts.txt
//! cat path/to/text | cargo run --example snapshot -- -
//! cargo run --example snapshot -- --fail-at 18
//! ```

use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex},
    thread,
};

use anyhow::{Result, bail, ensure};
use atomic_barrier::Barrier;
use clap::Parser;
use examples::{Output, Text, counted, number, print, progress, runtime, words};
use indicatif::ProgressBar;
use tokio::task::{JoinSet, spawn_blocking};

/// Counts the words of a text with several workers, and saves the counts every few lines.
///
/// The workers take the lines in turns, and wait for each other after every few lines. The last to arrive
/// saves what all have counted while the others wait, so each snapshot is of the text up to one line. It
/// replaces the one before only once it is whole and on the disk.
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
    Ok(Job {
        bar: progress(lines as u64, "counting", "lines"),
        every: options.every.unwrap_or(every) as usize,
        fail_at,
        out: Mutex::new(out),
        barrier: Barrier::new(workers),
        tallies: (0..workers).map(|_| Mutex::default()).collect(),
        text,
    })
}

fn run(job: Job) -> Result<()> {
    let job = Arc::new(job);
    let runtime = runtime(thread::available_parallelism()?.get())?;
    runtime.block_on(in_rounds(&job))?;
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
    print(&format!(
        "{name}: {lines}, {words}, {different} of them different\n\
         workers: {workers}, with the same counts as a sequential run\n\
         snapshots: {snapshots}, the last one in {out}\n",
        lines = counted(tally.lines, "line"),
        words = counted(tally.total() as usize, "word"),
        different = tally.words.len(),
        workers = job.tallies.len(),
        snapshots = job.barrier.generation(),
        out = job.out.lock().unwrap().name(),
    ))
}

/// Runs all workers, to the first failure among them.
async fn in_rounds(job: &Arc<Job>) -> Result<()> {
    let mut workers: JoinSet<_> = (0..job.tallies.len())
        .map(|worker| job.clone().work(worker))
        .collect();
    while let Some(end) = workers.join_next().await {
        let failure = match end {
            Ok(Ok(())) => continue,
            Ok(Err(failure)) => failure,
            Err(panic) => panic.into(),
        };
        // The others wait, or soon will, for a worker that never arrives. Waits that are dropped withdraw.
        workers.shutdown().await;
        assert_eq!(job.barrier.arrived(), 0);
        return Err(failure);
    }
    Ok(())
}

struct Job {
    text: Text,
    every: usize,
    fail_at: Option<usize>,
    out: Mutex<Output>,
    barrier: Barrier,
    /// One for each worker, which alone locks it until it arrives at the barrier.
    tallies: Vec<Mutex<Tally>>,
    bar: ProgressBar,
}

impl Job {
    async fn work(self: Arc<Self>, worker: usize) -> Result<()> {
        let mut line = 0;
        for round in self.text.lines.chunks(self.every) {
            {
                let mut tally = self.tallies[worker].lock().unwrap();
                for text in round {
                    line += 1;
                    if (line - 1) % self.tallies.len() != worker {
                        continue;
                    }
                    if self.fail_at == Some(line) {
                        bail!("worker {worker} failed at line {line}, as it was told to");
                    }
                    tally.count(text);
                }
            }
            if let Some(leader) = self.barrier.wait_leader().await {
                // All lines so far are counted, and none after them.
                let snapshot = self.snapshot(leader.generation(), line)?;
                let job = self.clone();
                // Other tasks run while the disk works. If this one is dropped meanwhile, the others go on,
                // but the snapshot is made already.
                spawn_blocking(move || job.out.lock().unwrap().write(snapshot.as_bytes()))
                    .await??;
                self.bar.set_position(line as u64);
                leader.release();
            }
        }
        Ok(())
    }

    fn snapshot(&self, generation: u64, lines: usize) -> Result<String> {
        let total = self.total();
        let shares = self
            .tallies
            .iter()
            .map(|tally| tally.lock().unwrap().lines.to_string());
        let shares = shares.collect::<Vec<_>>().join(" + ");
        ensure!(
            total.lines == lines,
            "snapshot {generation} would have {shares} lines, but {lines} were read"
        );
        let mut text = format!(
            "snapshot {generation}\nlines {lines} = {shares}\nwords {}\n\n",
            total.total()
        );
        for (word, number) in &total.words {
            writeln!(text, "{word} {number}")?;
        }
        Ok(text)
    }

    /// What all workers have counted.
    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for tally in &self.tallies {
            let tally = tally.lock().unwrap();
            total.lines += tally.lines;
            for (word, number) in &tally.words {
                *total.words.entry(word.clone()).or_default() += number;
            }
        }
        total
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
