//! The paired comparison: all that are compared in one process, round by round, as a table.
//!
//! Machines drift and are shared. A ratio of two samples taken one right after the other does not
//! care, so the ratios and distances here are medians over such pairs.

use std::{
    fs::{self, File},
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use clap::Parser;
use tokio::runtime::Runtime;

use crate::{
    plots,
    sampling::{interleave, quartile},
    tasks::{Flavour, PARTIES, Party, run},
};

/// Interleaved comparison on tokio's runtimes.
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
    /// How often each column is sampled in each cell
    #[arg(long)]
    repeats: Option<NonZeroUsize>,
    /// Write the figures to this file, one line a column and cell
    #[arg(long)]
    csv: Option<PathBuf>,
    /// Draw a plot for each runtime into this folder, as `BENCH-RUNTIME.svg`
    #[arg(long)]
    svg: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// One of those that are compared.
#[derive(Debug)]
pub struct Column {
    /// Its name in tables.
    pub name: &'static str,
    /// Times `generations` of `n` tasks.
    sample: fn(&Runtime, n: usize, generations: u64) -> Duration,
}

/// The column of what waits as a `P`.
pub const fn column<P: Party>() -> Column {
    Column {
        name: P::NAME,
        sample: run::<P>,
    }
}

/// What a bench compares.
#[derive(Debug)]
pub struct Comparison {
    /// The bench's name, as on the command line.
    pub bench: &'static str,
    /// The first is the subject, the second what all speeds are measured by, the last the floor,
    /// which is for the current-thread runtime alone.
    pub columns: &'static [Column],
    /// Where no other runtimes are asked for.
    pub flavours: Vec<Flavour>,
}

/// The column that the others are compared with.
pub const SUBJECT: usize = 0;
const REFERENCE: usize = 1;

/// All columns at one `n` on one runtime.
#[derive(Debug)]
pub struct Cell {
    /// The runtime.
    pub flavour: Flavour,
    /// The number of parties.
    pub n: usize,
    /// Nanoseconds per task and generation, by column and round. No entry for the floor except
    /// on the current-thread runtime.
    rounds: Vec<Vec<f64>>,
    floor: usize,
}

impl Cell {
    /// Quartile `q` of column `c`: 2 is the median.
    fn quartile(&self, c: usize, q: usize) -> f64 {
        quartile(self.rounds[c].iter().copied(), q)
    }

    /// How many times as fast as column `other` column `c` is.
    fn speed(&self, c: usize, other: usize) -> f64 {
        let pairs = self.rounds[c].iter().zip(&self.rounds[other]);
        quartile(pairs.map(|(c, other)| other / c), 2)
    }

    /// How many nanoseconds column `c` needs more than the floor.
    pub fn above_floor(&self, c: usize) -> Option<f64> {
        let pairs = self.rounds[c].iter().zip(self.rounds.get(self.floor)?);
        Some(quartile(pairs.map(|(c, floor)| c - floor), 2))
    }

    fn print(&self) {
        print!("{:>6}", self.n);
        for c in 0..self.rounds.len() {
            let (median, speed) = (self.quartile(c, 2), self.speed(c, REFERENCE));
            print!(" | {median:7.1} {speed:6.2}");
            if let Some(above) = self.above_floor(c) {
                print!(" {above:7.1}");
            }
        }
        println!();
    }
}

impl Comparison {
    /// Measures and prints what the command line asks for.
    ///
    /// # Errors
    ///
    /// If a file that it asks for cannot be written.
    pub fn run(&self) -> Result<Vec<Cell>> {
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
            flavours = if options.quick {
                Flavour::named(&["ct", "2"])
            } else {
                self.flavours.clone()
            };
        }
        if parties.is_empty() {
            parties = if options.quick {
                vec![2, 8, 64, 4096]
            } else {
                PARTIES.to_vec()
            };
        }

        // What cannot be written to is found before anything is measured.
        if let Some(folder) = &options.svg {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let mut csv = None;
        if let Some(path) = options.csv {
            let named = format!("cannot write {}", path.display());
            csv = Some((File::create(path).context(named.clone())?, named));
        }

        let mut cells = Vec::new();
        for flavour in flavours {
            let runtime = flavour.runtime();
            self.print_header(flavour, repeats);
            let first = cells.len();
            for &n in &parties {
                let cell = self.measure(flavour, &runtime, n, repeats, length);
                cell.print();
                cells.push(cell);
            }
            print_means(&cells[first..]);
            if let Some(folder) = &options.svg {
                self.plot(folder, &cells[first..])?;
            }
        }
        if let Some((mut file, named)) = csv {
            self.write_csv(&mut file, &cells).context(named)?;
        }
        Ok(cells)
    }

    fn floor(&self) -> usize {
        self.columns.len() - 1
    }

    fn columns_on(&self, flavour: Flavour) -> &[Column] {
        match flavour {
            Flavour::CurrentThread => self.columns,
            Flavour::Workers(_) => &self.columns[..self.floor()],
        }
    }

    fn measure(
        &self,
        flavour: Flavour,
        runtime: &Runtime,
        n: usize,
        repeats: usize,
        length: Duration,
    ) -> Cell {
        let samples: Vec<_> = self
            .columns_on(flavour)
            .iter()
            .map(|column| move |generations| (column.sample)(runtime, n, generations))
            .collect();
        let mut rounds = interleave(&samples, repeats, length);
        for time in rounds.iter_mut().flatten() {
            *time /= n as f64;
        }
        let floor = self.floor();
        Cell {
            flavour,
            n,
            rounds,
            floor,
        }
    }

    fn print_header(&self, flavour: Flavour, repeats: usize) {
        println!("\n{flavour}: medians of {repeats} rounds");
        println!(
            "  ns: per task and generation; speed: times as fast as {}, in the same round",
            self.columns[REFERENCE].name
        );
        let floor = flavour == Flavour::CurrentThread;
        if floor {
            println!("  +floor: ns above the unsynchronised floor, in the same round");
        }
        let width = if floor { 22 } else { 14 };
        print!("{:>6}", "");
        for column in self.columns_on(flavour) {
            print!(" | {:^width$}", column.name);
        }
        print!("\n{:>6}", "n");
        for _ in self.columns_on(flavour) {
            print!(" | {:>7} {:>6}", "ns", "speed");
            if floor {
                print!(" {:>7}", "+floor");
            }
        }
        println!();
    }

    /// One plot of all columns; `cells` are those of one runtime.
    fn plot(&self, folder: &Path, cells: &[Cell]) -> Result<()> {
        let Some(first) = cells.first() else {
            return Ok(());
        };
        let columns = self.columns_on(first.flavour).iter().enumerate();
        let lines: Vec<_> = columns
            .map(|(c, column)| {
                let points = cells
                    .iter()
                    .map(|cell| (cell.n as f64, cell.quartile(c, 2)));
                (column.name, points.collect())
            })
            .collect();
        let path = folder.join(format!("{}-{}.svg", self.bench, short(first.flavour)));
        plots::write(&path, &first.flavour.to_string(), &lines)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    fn write_csv(&self, file: &mut impl Write, cells: &[Cell]) -> io::Result<()> {
        writeln!(
            file,
            "runtime,n,column,q1_ns,median_ns,q3_ns,times_as_fast_as_{},ns_above_floor",
            self.columns[REFERENCE].name
        )?;
        for cell in cells {
            for (c, column) in self.columns_on(cell.flavour).iter().enumerate() {
                let [q1, median, q3] = [1, 2, 3].map(|q| cell.quartile(c, q));
                let workers = short(cell.flavour);
                let above = cell.above_floor(c).map(|ns| format!("{ns:.2}"));
                writeln!(
                    file,
                    "{workers},{},{},{q1:.2},{median:.2},{q3:.2},{:.3},{}",
                    cell.n,
                    column.name,
                    cell.speed(c, REFERENCE),
                    above.unwrap_or_default(),
                )?;
            }
        }
        Ok(())
    }

    /// Whether the subject is so many times as fast as the reference, in the geometric mean over
    /// some of `PARTIES`.
    pub fn judge_mean(&self, cells: &[Cell], flavour: Flavour, target: f64) {
        const TARGET_PARTIES: [usize; 5] = [2, 8, 64, 512, 4096];
        let asked = cells
            .iter()
            .filter(|cell| cell.flavour == flavour && TARGET_PARTIES.contains(&cell.n));
        let speeds: Vec<_> = asked
            .map(|cell| (cell.n, cell.speed(SUBJECT, REFERENCE)))
            .collect();
        if speeds.is_empty() {
            return;
        }
        let mean = geometric_mean(speeds.iter().map(|(_, speed)| *speed));
        verdict(
            mean >= target,
            &format!(
                "{flavour}: {target} times as fast as {}; is {mean:.2} (geometric mean over n = {})",
                self.columns[REFERENCE].name,
                list(speeds.iter().map(|(n, _)| n)),
            ),
        );
    }

    /// Whether the subject is faster than column `c` wherever both were measured.
    pub fn judge_every_cell(&self, cells: &[Cell], c: usize) {
        let slower: Vec<_> = cells
            .iter()
            .map(|cell| (cell, cell.speed(SUBJECT, c)))
            .filter(|(_, speed)| *speed <= 1.0)
            .map(|(cell, speed)| format!("{speed:.2} at n = {}, {}", cell.n, cell.flavour))
            .collect();
        let cells = cells.len();
        verdict(
            slower.is_empty(),
            &format!(
                "faster than {} in every cell; is in {} of {cells}{}{}",
                self.columns[c].name,
                cells - slower.len(),
                if slower.is_empty() { "" } else { ", but " },
                slower.join("; "),
            ),
        );
    }
}

fn print_means(cells: &[Cell]) {
    let Some(first) = cells.first() else { return };
    print!("{:>6}", "mean");
    for c in 0..first.rounds.len() {
        let mean = geometric_mean(cells.iter().map(|cell| cell.speed(c, REFERENCE)));
        print!(" | {:7} {mean:6.2}", "");
        if first.above_floor(c).is_some() {
            print!(" {:7}", "");
        }
    }
    println!("   (geometric)");
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

/// One line for a target: what it asks for, and what was measured.
pub fn verdict(met: bool, what: &str) {
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
