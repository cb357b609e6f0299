//! A word count by several workers that stop together every few lines, and whose counts then go to
//! disk as one consistent snapshot: the checkpoint of a service, small.
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
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail, ensure};
use atomic_barrier::Barrier;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{
    runtime::Runtime,
    task::{JoinSet, spawn_blocking},
};

/// Counts the words of a text with several workers, and saves the counts every few lines.
///
/// The workers take the lines in turns, and meet after every few of them. The last to come writes
/// down what all have counted while the others stand still, so every snapshot is of the text up to
/// one line. It replaces the one before only once it is whole and on the disk.
#[derive(Parser)]
struct Options {
    /// A text in UTF-8, or - for standard input; read to its end before the count begins
    /// [default: the Gettysburg Address]
    text: Option<PathBuf>,

    /// Tasks that count
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: u32,

    /// Lines from one snapshot to the next [default: 5 of the built-in text, otherwise 1000]
    #[arg(long, value_name = "LINES", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,

    /// Where the snapshot is kept [default: atomic-barrier-snapshot.txt, among temporary files]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Makes the worker fail that comes to this line, counted from 1
    #[arg(long, value_name = "LINE", value_parser = clap::value_parser!(u32).range(1..))]
    fail_at: Option<u32>,
}

const BUILT_IN: &str = include_str!("texts/gettysburg.txt");

fn main() -> ExitCode {
    let options = Options::parse();
    let fail = |code: u8, error: anyhow::Error| {
        eprintln!("error: {error:#}");
        ExitCode::from(code)
    };
    match load(&options) {
        Err(error) => fail(2, error),
        Ok((name, job)) => match run(&name, job) {
            Err(error) => fail(1, error),
            Ok(()) => ExitCode::SUCCESS,
        },
    }
}

/// What is to be counted, under what name.
fn load(options: &Options) -> Result<(String, Job)> {
    let (name, text, every) = match &options.text {
        None => ("the Gettysburg Address".to_string(), BUILT_IN.into(), 5),
        Some(path) if path == Path::new("-") => {
            let mut text = Vec::new();
            io::stdin()
                .read_to_end(&mut text)
                .context("cannot read standard input")?;
            ("standard input".to_string(), text, 1000)
        }
        Some(path) => {
            let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            (path.display().to_string(), text, 1000)
        }
    };
    let text = String::from_utf8(text).map_err(|error| {
        let (good, bad) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
        let line = 1 + good.iter().filter(|&&byte| byte == b'\n').count();
        anyhow::anyhow!(
            "{name}: line {line}: expected UTF-8, found the byte 0x{:02x}",
            bad[0]
        )
    })?;
    let lines: Vec<String> = text.lines().map(str::to_string).collect();
    ensure!(!lines.is_empty(), "{name}: expected a text, found nothing");

    let fail_at = options.fail_at.map(|line| line as usize);
    if let Some(line) = fail_at {
        ensure!(
            line <= lines.len(),
            "--fail-at {line}: {name} ends with line {}",
            lines.len()
        );
    }

    let out = match &options.out {
        Some(path) => path.clone(),
        None => env::temp_dir().join("atomic-barrier-snapshot.txt"),
    };
    let out = match out.canonicalize() {
        // What it leads to if it is a link, which stays one.
        Ok(out) => {
            let text = options
                .text
                .as_ref()
                .and_then(|path| path.canonicalize().ok());
            ensure!(
                text.as_ref() != Some(&out),
                "--out {}: this is the text itself",
                out.display()
            );
            ensure!(
                out.is_file(),
                "--out {}: there is something that is not a file",
                out.display()
            );
            out
        }
        Err(_) => out,
    };

    let workers = options.workers as usize;
    let job = Job {
        bar: ProgressBar::new(lines.len() as u64),
        lines,
        every: options.every.unwrap_or(every) as usize,
        fail_at,
        out,
        barrier: Barrier::new(workers),
        tallies: (0..workers).map(|_| Mutex::default()).collect(),
    };
    Ok((name, job))
}

fn run(name: &str, job: Job) -> Result<()> {
    // Draws nothing where standard error is not a terminal.
    job.bar.set_style(
        ProgressStyle::with_template("counting [{bar:40}] {pos}/{len} lines")?
            .progress_chars("=> "),
    );
    let job = Arc::new(job);
    let runtime = Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(in_rounds(&job))?;
    job.bar.finish();

    let mut expected = Tally::default();
    for line in &job.lines {
        expected.count(line);
    }
    let tally = job.total();
    ensure!(
        tally == expected,
        "{name}: the workers have counted {} words, one after the other they are {}",
        tally.total(),
        expected.total()
    );
    let report = format!(
        "{name}: {lines} lines, {words} words, {different} of them different\n\
         workers: {workers}, with the same counts as a sequential run\n\
         snapshots: {snapshots}, the last one in {out}\n",
        lines = tally.lines,
        words = tally.total(),
        different = tally.words.len(),
        workers = job.tallies.len(),
        snapshots = job.barrier.generation(),
        out = job.out.display(),
    );
    io::stdout()
        .write_all(report.as_bytes())
        .context("cannot print the results")
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
        // The others wait, or soon will, for one that never comes. Dropping their waits takes the
        // arrivals back.
        workers.shutdown().await;
        assert_eq!(job.barrier.arrived(), 0);
        return Err(failure);
    }
    Ok(())
}

struct Job {
    lines: Vec<String>,
    every: usize,
    fail_at: Option<usize>,
    out: PathBuf,
    barrier: Barrier,
    /// One for each worker. Nobody else takes its lock before the worker is at the barrier.
    tallies: Vec<Mutex<Tally>>,
    bar: ProgressBar,
}

impl Job {
    async fn work(self: Arc<Self>, worker: usize) -> Result<()> {
        let mut line = 0;
        for round in self.lines.chunks(self.every) {
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
                // Not in the way of other tasks while the disk works. Should this one be dropped
                // meanwhile, then the others go on, but the snapshot is made already.
                spawn_blocking(move || save(&snapshot, &job.out))
                    .await?
                    .with_context(|| format!("cannot write {}", self.out.display()))?;
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
    /// Words are what stands between spaces, without the punctuation around it.
    fn count(&mut self, line: &str) {
        self.lines += 1;
        for word in line.split_whitespace() {
            let word = word.trim_matches(|char: char| !char.is_alphanumeric());
            if !word.is_empty() {
                *self.words.entry(word.to_lowercase()).or_default() += 1;
            }
        }
    }

    fn total(&self) -> u64 {
        self.words.values().sum()
    }
}

/// Replaces the file when all of the new one is on the disk, or leaves it as it is.
fn save(snapshot: &str, path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().make_in(folder, |path| File::create_new(path))?;
    file.write_all(snapshot.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The new name is on the disk only when the folder is.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
