//! Conway's Game of Life in lockstep: a plane split into bands, a task a band, and one crossing of
//! a barrier a generation.
//!
//! ```text
//! cargo run --release --example lockstep
//! cargo run --release --example lockstep -- acorn --bands 16 --png acorn.png
//! cargo run --release --example lockstep -- path/to/pattern.rle --generations 2000
//! ```

mod life;
mod picture;
mod rle;
mod runs;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use anyhow::{Context, Result};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime;

use life::Size;
use runs::{Course, Life, Times};

/// Conway's Game of Life in lockstep: a plane split into bands, a task a band, and one crossing of
/// a barrier a generation.
///
/// The same run is made with atomic-barrier's Barrier and with tokio's, and both must end as a
/// sequential run does.
#[derive(Parser)]
struct Options {
    /// r-pentomino, acorn, die-hard, pi-heptomino, glider-gun, or the path of an RLE file
    #[arg(default_value = "r-pentomino")]
    pattern: PathBuf,

    /// How far to go [default: until a built-in pattern has settled, otherwise 1000]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    generations: Option<u32>,

    /// Bands that the plane is split into, with a task each
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    bands: u32,

    /// Threads that run the tasks [default: one a processor]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    workers: Option<u32>,

    /// How often to measure with each barrier, in turns
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,

    /// Where to write the last generation as a picture, a pixel a cell
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
}

struct BuiltIn {
    name: &'static str,
    file: &'static [u8],
    /// When it has settled, if it ever does.
    generations: u32,
}

const BUILT_IN: [BuiltIn; 5] = [
    BuiltIn {
        name: "r-pentomino",
        file: include_bytes!("../patterns/r-pentomino.rle"),
        generations: 1103,
    },
    BuiltIn {
        name: "acorn",
        file: include_bytes!("../patterns/acorn.rle"),
        generations: 5206,
    },
    BuiltIn {
        name: "die-hard",
        file: include_bytes!("../patterns/die-hard.rle"),
        generations: 130,
    },
    BuiltIn {
        name: "pi-heptomino",
        file: include_bytes!("../patterns/pi-heptomino.rle"),
        generations: 173,
    },
    BuiltIn {
        name: "glider-gun",
        file: include_bytes!("../patterns/glider-gun.rle"),
        generations: 1000,
    },
];

fn main() -> ExitCode {
    let options = Options::parse();
    let fail = |code: u8, error: anyhow::Error| {
        eprintln!("error: {error:#}");
        ExitCode::from(code)
    };
    match load(&options) {
        Err(error) => fail(2, error),
        Ok(life) => match run(&life, &options) {
            Err(error) => fail(1, error),
            Ok(()) => ExitCode::SUCCESS,
        },
    }
}

fn load(options: &Options) -> Result<Life> {
    let path = &options.pattern;
    let built_in = BUILT_IN
        .iter()
        .find(|built_in| path == Path::new(built_in.name));
    let (file, generations) = match built_in {
        Some(built_in) => (built_in.file.to_vec(), built_in.generations),
        None => {
            let names = BUILT_IN.map(|built_in| built_in.name).join(", ");
            let file = fs::read(path).with_context(|| {
                format!(
                    "cannot read {}: expected an RLE file or one of {names}",
                    path.display()
                )
            })?;
            (file, 1000)
        }
    };
    let pattern = rle::parse(&file).with_context(|| path.display().to_string())?;
    let generations = options.generations.unwrap_or(generations);
    let size = Size::new(&pattern, generations).with_context(|| path.display().to_string())?;
    Ok(Life {
        name: pattern.name.clone().unwrap_or(path.display().to_string()),
        pattern,
        generations,
        size,
    })
}

fn run(life: &Life, options: &Options) -> Result<()> {
    let workers = match options.workers {
        Some(workers) => workers,
        None => thread::available_parallelism()?.get().try_into()?,
    };
    let runs = 1 + 2 * options.rounds;
    // Draws nothing where standard error is not a terminal.
    let bar = ProgressBar::new(u64::from(life.generations) * u64::from(runs)).with_style(
        ProgressStyle::with_template("{msg:14} [{bar:40}] {pos}/{len} generations")?
            .progress_chars("=> "),
    );
    let course = Course {
        life,
        bands: options.bands as usize,
        // As many arrivals for any number of tasks.
        crossings: (40_000 / options.bands).max(100),
        runtime: runtime::Builder::new_multi_thread()
            .worker_threads(workers as usize)
            .build()
            .context("cannot start the workers")?,
        bar,
    };

    let (census, sequential) = course.sequential();
    let (mut ours, mut tokios) = (Times::default(), Times::default());
    for round in 0..options.rounds {
        // In turns, and not always the same one first.
        if round % 2 == 0 {
            ours.measure::<atomic_barrier::Barrier>(&course, &census)?;
            tokios.measure::<tokio::sync::Barrier>(&course, &census)?;
        } else {
            tokios.measure::<tokio::sync::Barrier>(&course, &census)?;
            ours.measure::<atomic_barrier::Barrier>(&course, &census)?;
        }
    }
    course.bar.finish_with_message("done");

    let [run, tokios_run] = [ours.run, tokios.run].map(|times| median(times) * 1e3);
    let [crossing, tokios_crossing] =
        [ours.crossing, tokios.crossing].map(|times| median(times) * 1e9);
    let report = format!(
        "
{name}: {population} live cells at generation {generations}, the same cells in all {runs} runs
{bands} on {workers}, medians of {rounds}; one sequential run took {sequential:.2} ms

                              atomic-barrier           tokio     ratio
whole run                     {run:>11.2} ms  {tokios_run:>11.2} ms  {run_ratio:>8.2}
synchronisation a generation  {crossing:>11.0} ns  {tokios_crossing:>11.0} ns  {crossing_ratio:>8.2}

Synchronisation is timed by itself: after each run, as many tasks cross a barrier {crossings} times
and do nothing else.
",
        name = life.name,
        population = census.population(),
        generations = life.generations,
        bands = counted(options.bands, "band"),
        workers = counted(workers, "worker"),
        rounds = counted(options.rounds, "round"),
        sequential = sequential * 1e3,
        run_ratio = tokios_run / run,
        crossing_ratio = tokios_crossing / crossing,
        crossings = course.crossings,
    );
    io::stdout()
        .write_all(report.trim_start().as_bytes())
        .context("cannot print the results")?;

    if let Some(path) = &options.png {
        picture::save(&picture::encode(&census)?, path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn counted(number: u32, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
