//! The paired comparison: all barriers in one process, round by round, as ratios and distances.
//!
//! Machines drift and are shared. A ratio of two samples taken one right after the other does not
//! care, so the ratios and distances here are medians over such pairs, and they are what the
//! documentation quotes. `cargo bench --bench ratios -- --help` lists the options.

mod crossing;
mod floor;
mod peers;
mod plots;
mod rounds;

use std::{
    fs::File,
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::runtime::Runtime;

use crossing::{Flavour, PARTIES, cross};
use floor::Floor;
use peers::Peer;
use rounds::{interleave, quartile};

/// Interleaved comparison of async barriers on tokio's runtimes.
#[derive(Parser)]
struct Options {
    /// A look in a few seconds: n = 2, 8, 64, 4096 on the current thread and on 2 workers, in
    /// fewer and shorter rounds
    #[arg(long)]
    quick: bool,
    /// Numbers of parties to compare, separated by commas
    #[arg(long, value_delimiter = ',')]
    n: Vec<NonZeroUsize>,
    /// Runtimes to compare, separated by commas: `ct` (current-thread) or a number of workers
    #[arg(long, value_delimiter = ',')]
    workers: Vec<Flavour>,
    /// How often each barrier is sampled in each cell
    #[arg(long)]
    repeats: Option<NonZeroUsize>,
    /// Write the figures to this file, one line a barrier and cell
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Draw a plot for each runtime into this folder, as `ratios-RUNTIME.svg`
    #[arg(long)]
    svg: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// Times `generations` of `n` tasks.
type Sample = fn(&Runtime, n: usize, generations: u64) -> Duration;

/// In the order of the columns. The first is this crate, the second tokio, the last the floor.
const PEERS: [(&str, Sample); 5] = [
    peer::<atomic_barrier::Barrier>(),
    peer::<tokio::sync::Barrier>(),
    peer::<async_lock::Barrier>(),
    peer::<asyncband::barrier::Barrier>(),
    peer::<Floor>(),
];
const THIS: usize = 0;
const TOKIO: usize = 1;
const FLOOR: usize = 4;

const fn peer<B: Peer>() -> (&'static str, Sample) {
    (B::NAME, cross::<B>)
}

/// All barriers at one `n` on one runtime.
struct Cell {
    flavour: Flavour,
    n: usize,
    /// Nanoseconds per task and generation, by barrier and round. No entry for the floor except
    /// on the current-thread runtime.
    rounds: Vec<Vec<f64>>,
}

impl Cell {
    fn measure(
        flavour: Flavour,
        runtime: &Runtime,
        n: usize,
        repeats: usize,
        length: Duration,
    ) -> Self {
        let peers = match flavour {
            Flavour::CurrentThread => &PEERS[..],
            Flavour::Workers(_) => &PEERS[..FLOOR],
        };
        let samples: Vec<_> = peers
            .iter()
            .map(|(_, sample)| move |generations| sample(runtime, n, generations))
            .collect();
        let mut rounds = interleave(&samples, repeats, length);
        for time in rounds.iter_mut().flatten() {
            *time /= n as f64;
        }
        Self { flavour, n, rounds }
    }

    /// Quartile `q` of barrier `p`: 2 is the median.
    fn quartile(&self, p: usize, q: usize) -> f64 {
        quartile(self.rounds[p].iter().copied(), q)
    }

    /// How many times as fast as barrier `other` barrier `p` is.
    fn speed(&self, p: usize, other: usize) -> f64 {
        let pairs = self.rounds[p].iter().zip(&self.rounds[other]);
        quartile(pairs.map(|(p, other)| other / p), 2)
    }

    /// How many nanoseconds barrier `p` needs more than the floor.
    fn above_floor(&self, p: usize) -> Option<f64> {
        let pairs = self.rounds[p].iter().zip(self.rounds.get(FLOOR)?);
        Some(quartile(pairs.map(|(p, floor)| p - floor), 2))
    }

    fn print(&self) {
        print!("{:>6}", self.n);
        for p in 0..self.rounds.len() {
            let (median, speed) = (self.quartile(p, 2), self.speed(p, TOKIO));
            print!(" | {median:7.1} {speed:6.2}");
            if let Some(above) = self.above_floor(p) {
                print!(" {above:7.1}");
            }
        }
        println!();
    }
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

fn print_header(flavour: Flavour, repeats: usize) {
    println!("\n{flavour}: medians of {repeats} rounds");
    println!("  ns: per task and generation; speed: times as fast as tokio, in the same round");
    let floor = flavour == Flavour::CurrentThread;
    if floor {
        println!("  +floor: ns above the unsynchronised floor, in the same round");
    }
    let columns = if floor { PEERS.len() } else { FLOOR };
    let width = if floor { 22 } else { 14 };
    print!("{:>6}", "");
    for (name, _) in &PEERS[..columns] {
        print!(" | {name:^width$}");
    }
    print!("\n{:>6}", "n");
    for _ in 0..columns {
        print!(" | {:>7} {:>6}", "ns", "speed");
        if floor {
            print!(" {:>7}", "+floor");
        }
    }
    println!();
}

fn print_means(cells: &[Cell]) {
    let Some(first) = cells.first() else { return };
    print!("{:>6}", "mean");
    for p in 0..first.rounds.len() {
        let mean = geometric_mean(cells.iter().map(|cell| cell.speed(p, TOKIO)));
        print!(" | {:7} {mean:6.2}", "");
        if first.above_floor(p).is_some() {
            print!(" {:7}", "");
        }
    }
    println!("   (geometric)");
}

/// One line for each target: what it asks for, what was measured, over which `n`.
fn print_targets(cells: &[Cell]) {
    const TARGET_PARTIES: [usize; 5] = [2, 8, 64, 512, 4096];
    println!("\nTargets, for {}:", PEERS[THIS].0);

    let two_workers = Flavour::Workers(NonZeroUsize::new(2).expect("not 0"));
    for (flavour, target) in [(Flavour::CurrentThread, 3.0), (two_workers, 2.5)] {
        let asked = cells
            .iter()
            .filter(|cell| cell.flavour == flavour && TARGET_PARTIES.contains(&cell.n));
        let speeds: Vec<_> = asked
            .map(|cell| (cell.n, cell.speed(THIS, TOKIO)))
            .collect();
        if speeds.is_empty() {
            continue;
        }
        let mean = geometric_mean(speeds.iter().map(|(_, speed)| *speed));
        verdict(
            mean >= target,
            &format!(
                "{flavour}: {target} times as fast as tokio; is {mean:.2} (geometric mean over n = {})",
                list(speeds.iter().map(|(n, _)| n)),
            ),
        );
    }

    let above: Vec<_> = cells
        .iter()
        .filter(|cell| cell.n >= 8)
        .filter_map(|cell| Some((cell.n, cell.above_floor(THIS)?)))
        .collect();
    if let Some((n, worst)) = above.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) {
        verdict(
            worst <= 12.0,
            &format!(
                "current-thread: within 12 ns of the floor from n = 8 on; at most {worst:.1}, at n = {n}"
            ),
        );
    }

    for (p, (name, _)) in PEERS.iter().enumerate().take(FLOOR).skip(TOKIO + 1) {
        let slower: Vec<_> = cells
            .iter()
            .map(|cell| (cell, cell.speed(THIS, p)))
            .filter(|(_, speed)| *speed <= 1.0)
            .map(|(cell, speed)| format!("{speed:.2} at n = {}, {}", cell.n, cell.flavour))
            .collect();
        let cells = cells.len();
        verdict(
            slower.is_empty(),
            &format!(
                "faster than {name} in every cell; is in {} of {cells}{}{}",
                cells - slower.len(),
                if slower.is_empty() { "" } else { ", but " },
                slower.join("; "),
            ),
        );
    }
}

fn verdict(met: bool, what: &str) {
    println!("{}  {what}", if met { "PASS" } else { "FAIL" });
}

fn list(numbers: impl Iterator<Item = impl ToString>) -> String {
    let numbers: Vec<_> = numbers.map(|n| n.to_string()).collect();
    numbers.join(", ")
}

/// As in the option `--workers`.
fn short(flavour: Flavour) -> String {
    match flavour {
        Flavour::CurrentThread => "ct".to_owned(),
        Flavour::Workers(n) => n.to_string(),
    }
}

/// One plot of all barriers; `cells` are those of one runtime.
fn plot(folder: &Path, cells: &[Cell]) -> Result<()> {
    let Some(first) = cells.first() else {
        return Ok(());
    };
    let lines: Vec<_> = (0..first.rounds.len())
        .map(|p| {
            let points = cells
                .iter()
                .map(|cell| (cell.n as f64, cell.quartile(p, 2)));
            (PEERS[p].0, points.collect())
        })
        .collect();
    let path = folder.join(format!("ratios-{}.svg", short(first.flavour)));
    plots::write(&path, &first.flavour.to_string(), &lines)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn write_csv(file: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
    writeln!(
        file,
        "runtime,n,barrier,q1_ns,median_ns,q3_ns,times_as_fast_as_tokio,ns_above_floor"
    )?;
    for cell in cells {
        for (p, (name, _)) in PEERS.iter().enumerate().take(cell.rounds.len()) {
            let [q1, median, q3] = [1, 2, 3].map(|q| cell.quartile(p, q));
            let workers = short(cell.flavour);
            let above = cell.above_floor(p).map(|ns| format!("{ns:.2}"));
            writeln!(
                file,
                "{workers},{},{name},{q1:.2},{median:.2},{q3:.2},{:.3},{}",
                cell.n,
                cell.speed(p, TOKIO),
                above.unwrap_or_default(),
            )?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    let mut flavours = options.workers;
    let mut parties: Vec<usize> = options.n.iter().map(|n| n.get()).collect();
    let (repeats, length) = if options.quick {
        (15, Duration::from_millis(8))
    } else {
        (41, Duration::from_millis(10))
    };
    let repeats = options.repeats.map_or(repeats, NonZeroUsize::get);
    if flavours.is_empty() {
        flavours = Flavour::all();
        if options.quick {
            flavours.retain(|flavour| ["ct", "2"].map(str::parse).contains(&Ok(*flavour)));
        }
    }
    if parties.is_empty() {
        parties = if options.quick {
            vec![2, 8, 64, 4096]
        } else {
            PARTIES.to_vec()
        };
    }

    let mut csv = None;
    if let Some(path) = options.csv {
        let named = format!("cannot write {}", path.display());
        csv = Some((File::create(path).context(named.clone())?, named));
    }

    let mut cells = Vec::new();
    for flavour in flavours {
        let runtime = flavour.runtime();
        print_header(flavour, repeats);
        let first = cells.len();
        for &n in &parties {
            let cell = Cell::measure(flavour, &runtime, n, repeats, length);
            cell.print();
            cells.push(cell);
        }
        print_means(&cells[first..]);
        if let Some(folder) = &options.svg {
            plot(folder, &cells[first..])?;
        }
    }
    print_targets(&cells);
    if let Some((mut file, named)) = csv {
        write_csv(&mut file, &cells).context(named)?;
    }
    Ok(())
}
