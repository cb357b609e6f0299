//! Paired comparisons: all that are compared in one process, round by round, as a table.
//!
//! Machines drift and are shared. A ratio of two samples taken one right after the other is not
//! affected by that, so the ratios here are medians over such pairs.

use std::{fmt, fs, io, num::NonZeroUsize, path::PathBuf, time::Duration};

use anyhow::{Context, Result};
use clap::Args;

use crate::{
    floor::Floor,
    machine,
    peers::Peer,
    plots::{self, Line},
    report::{Table, geometric_mean, verdict},
    sampling::{interleave, quartile},
    tasks::Flavour,
};

/// The options of every comparison.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// A look in a few seconds: fewer and shorter rounds, and two runtimes
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
    rounds: Option<NonZeroUsize>,
    /// Draw the tables that have plots into this folder
    #[arg(long, value_parser = folder)]
    svg: Option<PathBuf>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(skip)]
    longer: bool,
}

/// What cannot be written to is found before anything is measured.
fn folder(path: &str) -> io::Result<PathBuf> {
    fs::create_dir_all(path)?;
    Ok(path.into())
}

impl Options {
    /// The runtimes that the command line asks for, or else these.
    pub fn flavours(&self, usual: &[&str]) -> Vec<Flavour> {
        match (self.workers.is_empty(), self.quick) {
            (false, _) => self.workers.clone(),
            (true, false) => Flavour::named(usual),
            (true, true) => Flavour::named(&["ct", "2"]),
        }
    }

    /// The numbers of parties that the command line asks for, or else these.
    pub fn parties(&self, usual: &[usize]) -> Vec<usize> {
        if self.n.is_empty() {
            usual.to_vec()
        } else {
            self.n.iter().map(|n| n.get()).collect()
        }
    }

    /// The same with fewer rounds, whose samples are longer.
    pub fn longer(&self) -> Self {
        Self {
            longer: true,
            ..self.clone()
        }
    }

    fn rounds(&self) -> usize {
        let usual = if self.quick { 15 } else { 41 };
        let rounds = self.rounds.map_or(usual, NonZeroUsize::get);
        if self.longer {
            rounds.div_ceil(5)
        } else {
            rounds
        }
    }

    fn length(&self) -> Duration {
        let usual = Duration::from_millis(if self.quick { 5 } else { 10 });
        if self.longer { usual * 20 } else { usual }
    }
}

/// Something that can be done with any of the peers.
pub trait Work {
    /// Does it `times` times with barriers for `n` parties; returns how long that took.
    fn run<B: Peer>(&self, n: usize, times: u64) -> Duration;
}

type Sample<'a> = Box<dyn Fn(usize, u64) -> Duration + 'a>;

/// One of those that are compared.
pub struct Column<'a> {
    name: &'static str,
    sample: Sample<'a>,
}

impl fmt::Debug for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl<'a> Column<'a> {
    /// A column whose figures come from `sample`, which does what is measured for so many parties, so
    /// many times.
    pub fn new(name: &'static str, sample: impl Fn(usize, u64) -> Duration + 'a) -> Self {
        let sample = Box::new(sample);
        Self { name, sample }
    }

    /// This crate's barrier and its peers.
    pub fn peers<W: Work>(work: &'a W) -> Vec<Self> {
        fn column<'a, B: Peer>(work: &'a impl Work) -> Column<'a> {
            Column::new(B::NAME, |n, times| work.run::<B>(n, times))
        }
        vec![
            column::<atomic_barrier::Barrier>(work),
            column::<tokio::sync::Barrier>(work),
            column::<async_lock::Barrier>(work),
            column::<asyncband::barrier::Barrier>(work),
        ]
    }

    /// The same, and the floor.
    pub fn peers_and_floor<W: Work>(work: &'a W) -> Vec<Self> {
        let mut columns = Self::peers(work);
        columns.push(Self::new(Floor::NAME, |n, times| {
            work.run::<Floor>(n, times)
        }));
        columns
    }
}

/// The figures of one table, in nanoseconds. The first column is the subject.
#[derive(Debug)]
pub struct Figures {
    title: String,
    names: Vec<&'static str>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    n: usize,
    /// By column and round.
    rounds: Vec<Vec<f64>>,
}

impl Row {
    fn median(&self, column: usize) -> f64 {
        quartile(self.rounds[column].iter().copied(), 2)
    }

    /// How many times as long as the subject a column takes.
    fn ratio(&self, column: usize) -> f64 {
        let pairs = self.rounds[0].iter().zip(&self.rounds[column]);
        quartile(pairs.map(|(subject, other)| other / subject), 2)
    }
}

impl Figures {
    /// Measures and prints a table, with a row for each of `parties`. What a sample does once is
    /// `of(n)` times what the figures are per.
    pub fn measure(
        options: &Options,
        title: &str,
        per: &str,
        parties: &[usize],
        of: impl Fn(usize) -> usize,
        columns: &[Column],
    ) -> Self {
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        let subject = names[0];
        let head = ["n", subject].into_iter();
        let head: Vec<_> = head
            .chain(names[1..].iter().flat_map(|name| [*name, "×"]))
            .collect();
        let notes = [
            &format!(
                "ns per {per}, medians of {} interleaved rounds",
                options.rounds()
            ) as &str,
            &format!("×: times as long as {subject} takes, in the same round"),
        ];
        let table = Table::start(title, &notes, &head);
        let rows = parties.iter().map(|&n| {
            let samples: Vec<_> = columns
                .iter()
                .map(|column| move |times| (column.sample)(n, times))
                .collect();
            let mut rounds = interleave(&samples, options.rounds(), options.length());
            for time in rounds.iter_mut().flatten() {
                *time /= of(n) as f64;
            }
            let row = Row { n, rounds };
            let mut cells = vec![n.to_string(), format!("{:.1}", row.median(0))];
            for column in 1..names.len() {
                cells.push(format!("{:.1}", row.median(column)));
                cells.push(format!("{:.2}", row.ratio(column)));
            }
            table.row(&cells);
            row
        });
        let figures = Self {
            title: title.to_owned(),
            rows: rows.collect(),
            names,
        };
        if figures.rows.len() > 1 {
            let mut cells = vec!["mean".to_owned(), String::new()];
            for column in 1..figures.names.len() {
                cells.push(String::new());
                cells.push(format!("{:.2}", figures.mean(column)));
            }
            table.row(&cells);
        }
        figures
    }

    fn column(&self, name: &str) -> usize {
        let column = self.names.iter().position(|other| *other == name);
        column.expect("the table has a column of this name")
    }

    fn mean(&self, column: usize) -> f64 {
        geometric_mean(self.rows.iter().map(|row| row.ratio(column)))
    }

    /// Whether the subject is `target` times as fast as `other` in the geometric mean.
    pub fn judge_mean(&self, other: &str, target: f64) {
        let mean = self.mean(self.column(other));
        verdict(
            mean >= target,
            &format!(
                "{}: {target} times as fast as {other}; is {mean:.2}",
                self.title
            ),
        );
    }

    /// Whether the subject is at least `target` times as fast as `other` for each number of
    /// parties.
    pub fn judge_every_row(&self, other: &str, target: f64) {
        let column = self.column(other);
        let ratios = self.rows.iter().map(|row| (row.n, row.ratio(column)));
        let Some((n, worst)) = ratios.min_by(|a, b| a.1.total_cmp(&b.1)) else {
            return;
        };
        verdict(
            worst >= target,
            &format!(
                "{}: {target} times as fast as {other} for every n; at the least {worst:.2}, at n = {n}",
                self.title
            ),
        );
    }

    /// Whether the subject is faster than every other but the floor for each number of parties.
    pub fn judge_ahead(&self) {
        let others = (1..self.names.len()).filter(|&column| self.names[column] != Floor::NAME);
        let behind: Vec<_> = others
            .filter_map(|column| {
                let rows = self.rows.iter().map(|row| (row.n, row.ratio(column)));
                let slower: Vec<_> = rows.filter(|(_, ratio)| *ratio <= 1.0).collect();
                let least = slower.iter().map(|(_, ratio)| *ratio).reduce(f64::min)?;
                let parties: Vec<_> = slower.iter().map(|(n, _)| n.to_string()).collect();
                let (name, parties) = (self.names[column], parties.join(", "));
                Some(format!("behind {name} at n = {parties} ({least:.2})"))
            })
            .collect();
        let met = behind.is_empty();
        let is = if met {
            "is".to_owned()
        } else {
            behind.join("; ")
        };
        let title = &self.title;
        verdict(
            met,
            &format!("{title}: ahead of every peer for every n; {is}"),
        );
    }

    /// The subject's largest median.
    pub fn largest(&self) -> f64 {
        self.rows
            .iter()
            .map(|row| row.median(0))
            .fold(0.0, f64::max)
    }

    /// How many times as long as the subject `other` takes, if `n` was measured.
    pub fn ratio(&self, n: usize, other: &str) -> Option<f64> {
        let row = self.rows.iter().find(|row| row.n == n)?;
        Some(row.ratio(self.column(other)))
    }

    /// The medians as lines.
    pub fn lines(&self) -> Vec<Line<'_>> {
        let columns = self.names.iter().enumerate();
        let lines = columns.map(|(column, name)| {
            let points = self.rows.iter();
            let points = points.map(|row| (row.n as f64, row.median(column)));
            (*name, points.collect())
        });
        lines.collect()
    }
}

/// Draws tables side by side, if the command line asks for it.
///
/// # Errors
///
/// If the file cannot be written.
pub fn plot(options: &Options, file: &str, title: &str, tables: &[&Figures]) -> Result<()> {
    let Some(folder) = &options.svg else {
        return Ok(());
    };
    let panels: Vec<_> = tables
        .iter()
        .map(|table| (table.title.clone(), table.lines()))
        .collect();
    let path = folder.join(file);
    plots::write(&path, &format!("{title}; {}", machine::cpu()), &panels)
        .with_context(|| format!("cannot write {}", path.display()))
}
