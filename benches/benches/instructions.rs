//! Instructions of one generation at n = 64, counted by valgrind: a number that does not drift.
//!
//! The program runs itself under callgrind for few and for many generations; the difference is
//! the generations' own. `--check` compares with `instructions.txt`, and `--save` rewrites it.

use std::{
    env::{self, consts::ARCH},
    fs,
    io::ErrorKind,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use atomic_barrier_benches::{floor::Floor, manual, peers::Peer, report::Table};

const PARTIES: u64 = 64;
const FEW: u64 = 100;
const MANY: u64 = 1100;
const BASELINE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.txt");
/// How much worse than the baseline passes, in per cent: what a compiler's patch release may do.
const MARGIN: f64 = 3.0;

/// So many generations of a barrier.
type Run = fn(generations: u64);

const PEERS: [(&str, Run); 5] = [
    peer::<atomic_barrier::Barrier>(),
    peer::<tokio::sync::Barrier>(),
    peer::<async_lock::Barrier>(),
    peer::<asyncband::barrier::Barrier>(),
    peer::<Floor>(),
];

const THIS: usize = 0;
const TOKIO: usize = 1;

const fn peer<B: Peer>() -> (&'static str, Run) {
    (B::NAME, run::<B>)
}

/// Instructions of one generation of 64 parties, polled by hand on one thread.
#[derive(Parser)]
struct Options {
    /// Fail if this crate needs over 3 % more than the committed baseline, or if there is no
    /// valgrind
    #[arg(long, conflicts_with = "save")]
    check: bool,
    /// Write the baseline
    #[arg(long)]
    save: bool,
    /// What callgrind is to count: a barrier's place in the list
    #[arg(long, hide = true, requires = "generations")]
    run: Option<usize>,
    #[arg(long, hide = true)]
    generations: Option<u64>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// What callgrind counts.
fn run<B: Peer>(generations: u64) {
    let barrier = B::new(PARTIES as usize);
    let waker = manual::waker();
    let cx = &mut std::task::Context::from_waker(&waker);
    let mut waits: Vec<_> = (0..PARTIES).map(|_| Box::pin(barrier.wait())).collect();
    for _ in 0..generations {
        manual::run_generation::<B, _>(&mut waits, cx, || barrier.wait());
    }
}

/// All instructions of a process that runs so many generations of barrier `p`.
fn count(p: usize, generations: u64) -> Result<u64> {
    let out = tempfile::NamedTempFile::new()?;
    let valgrind = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(env::current_exe()?)
        .args(["--run", &p.to_string()])
        .args(["--generations", &generations.to_string()])
        .output()?;
    ensure!(
        valgrind.status.success(),
        "valgrind: {}\n{}",
        valgrind.status,
        String::from_utf8_lossy(&valgrind.stderr)
    );
    let profile = fs::read_to_string(out.path())?;
    let totals = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let totals = totals.context("callgrind's file has no line `totals: `")?;
    totals
        .trim()
        .parse()
        .with_context(|| format!("callgrind's totals: {totals}"))
}

fn has_valgrind() -> Result<bool> {
    let version = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    match version {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e).context("cannot run valgrind"),
    }
}

/// Instructions that the baseline has for this crate on this architecture.
fn baseline() -> Result<u64> {
    let file = fs::read_to_string(BASELINE).with_context(|| format!("cannot read {BASELINE}"))?;
    for (number, line) in file.lines().enumerate() {
        let named = || format!("{BASELINE}:{}: expected `ARCHITECTURE COUNT`", number + 1);
        let (arch, count) = line.split_once(' ').with_context(named)?;
        let count = count.parse().with_context(named)?;
        if arch == ARCH {
            return Ok(count);
        }
    }
    bail!("{BASELINE} has no line for {ARCH}; `--save` writes it");
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let (Some(p), Some(generations)) = (options.run, options.generations) {
        PEERS[p].1(generations);
        return Ok(());
    }
    if !has_valgrind()? {
        ensure!(
            !options.check && !options.save,
            "valgrind is not installed: there is nothing to count with"
        );
        println!("SKIPPED  valgrind is not installed: no instructions counted");
        return Ok(());
    }

    let title = format!("Instructions of one generation, n = {PARTIES}, without a runtime");
    let table = Table::start(
        &title,
        &[],
        &["", "instructions", "per party", "of tokio's"],
    );
    let mut counts = Vec::new();
    for (p, (name, _)) in PEERS.iter().enumerate() {
        let count = (count(p, MANY)? - count(p, FEW)?) / (MANY - FEW);
        counts.push((name, count));
    }
    let tokio = counts[TOKIO].1 as f64;
    for (name, count) in &counts {
        let count = *count as f64;
        let figures = [
            count.to_string(),
            format!("{:.1}", count / PARTIES as f64),
            format!("{:.0} %", 100.0 * count / tokio),
        ];
        let [count, per_party, share] = &figures;
        table.row(&[name, &count[..], per_party, share]);
    }

    let (name, count) = counts[THIS];
    if options.save {
        fs::write(BASELINE, format!("{ARCH} {count}\n"))
            .with_context(|| format!("cannot write {BASELINE}"))?;
    }
    if options.check {
        let baseline = baseline()?;
        let change = 100.0 * (count as f64 / baseline as f64 - 1.0);
        let verdict = format!("{name}: {count} against the baseline's {baseline} ({change:+.1} %)");
        ensure!(change <= MARGIN, "{verdict}: over the margin of {MARGIN} %");
        println!("PASS  {verdict}");
    }
    Ok(())
}
