//! Conway's Game of Life in lockstep: a task for each band of the plane, which waits for the other bands after
//! each generation. It checks the result against a sequential run, and compares what this crate's barrier,
//! its phaser and tokio's barrier cost.
//!
//! ```text
//! cargo run --release --example lockstep
//! cargo run --release --example lockstep -- --gif life.gif
//! cargo run --release --example lockstep -- acorn --bands 16 --png acorn.png
//! cargo run --release --example lockstep -- path/to/pattern.rle --generations 2000
//! ```

mod life;
mod picture;
mod rle;
mod runs;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    thread,
};

use anyhow::{Context, Result, anyhow};
use atomic_barrier::{Barrier, phaser::Participant};
use clap::Parser;
use examples::{Input, Output, counted, number, print, progress, runtime};

use life::Size;
use runs::{Course, Life, Times};

/// Conway's Game of Life in lockstep: a plane split into bands, a task for each band, and a wait for each
/// generation.
///
/// The same run is made with atomic-barrier's Barrier and Phaser and with tokio's Barrier, and all must end as
/// a sequential run does.
#[derive(Parser)]
struct Options {
    /// r-pentomino, acorn, die-hard, pi-heptomino, glider-gun, or the path of an RLE file
    #[arg(default_value = "r-pentomino")]
    pattern: PathBuf,

    /// How far to go [default: until a built-in pattern has settled, otherwise 1000]
    #[arg(long, value_parser = number(1..=u32::MAX))]
    generations: Option<u32>,

    /// Bands that the plane is split into, with a task for each
    #[arg(long, default_value_t = 8, value_parser = number(1..=10_000))]
    bands: u32,

    /// Threads that run the tasks [default: one for each processor]
    #[arg(long, value_parser = number(1..=1000))]
    workers: Option<u32>,

    /// How often to measure each kind, in turns
    #[arg(long, default_value_t = 15, value_parser = number(1..=10_000))]
    rounds: u32,

    /// Where to write the last generation as a picture, with a pixel for each cell
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,

    /// Where to write the run as a film, of at most 300 frames and 480 x 480 pixels
    #[arg(long, value_name = "FILE")]
    gif: Option<PathBuf>,
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
    examples::main(load, run)
}

/// What a run needs.
struct Job {
    options: Options,
    life: Life,
    png: Option<Output>,
    gif: Option<Output>,
}

fn load(options: Options) -> Result<Job> {
    let path = &options.pattern;
    let built_in = BUILT_IN
        .iter()
        .find(|built_in| path == Path::new(built_in.name));
    let (input, generations) = match built_in {
        Some(built_in) => (
            Input::built_in(built_in.name, built_in.file),
            built_in.generations,
        ),
        None => {
            let names = BUILT_IN.map(|built_in| built_in.name).join(", ");
            let input =
                Input::read(path).map_err(|error| anyhow!("{error:#}; built in are {names}"))?;
            (input, 1000)
        }
    };
    let name = &input.name;
    let pattern = rle::parse(&input.bytes).with_context(|| name.clone())?;
    let generations = options.generations.unwrap_or(generations);
    let size = Size::new(&pattern, generations).with_context(|| name.clone())?;
    let life = Life {
        name: pattern.name.clone().unwrap_or(name.clone()),
        pattern,
        generations,
        size,
    };

    let mut taken = vec![("the pattern", input.place)];
    let mut open = |option, path: &Option<PathBuf>| match path {
        None => Ok(None),
        Some(path) => {
            let out = Output::open(path, &taken)?;
            taken.push((option, out.place().cloned()));
            anyhow::Ok(Some(out))
        }
    };
    let png = open("the file of --png", &options.png)?;
    let gif = open("the file of --gif", &options.gif)?;
    Ok(Job {
        options,
        life,
        png,
        gif,
    })
}

fn run(job: Job) -> Result<()> {
    let Job {
        options,
        life,
        mut png,
        mut gif,
    } = job;
    let workers = match options.workers {
        Some(workers) => workers,
        None => thread::available_parallelism()?.get().try_into()?,
    };
    let runs = 1 + 3 * options.rounds;
    let films = if gif.is_some() { 2 } else { 0 };
    let generations = u64::from(life.generations) * u64::from(runs + films);
    let course = Course {
        life: &life,
        bands: options.bands as usize,
        // As many arrivals for any number of tasks.
        waits: (40_000 / options.bands).max(100),
        runtime: runtime(workers as usize)?,
        bar: progress(generations, "sequential", "generations"),
    };

    let (census, sequential) = course.sequential();
    let mut times = [(); 3].map(|()| Times::default());
    let [barrier, phaser, tokio] = &mut times;
    for round in 0..options.rounds {
        // In turns, and not always the same one first.
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => barrier.measure::<Arc<Barrier>>(&course, &census)?,
                1 => phaser.measure::<Participant>(&course, &census)?,
                _ => tokio.measure::<Arc<tokio::sync::Barrier>>(&course, &census)?,
            }
        }
    }

    let mut pictures = || {
        if let Some(out) = &mut png {
            out.write(&picture::png(&census)?)?;
        }
        if let Some(out) = &mut gif {
            course.bar.set_message("film");
            out.write(&picture::gif(&life, &course.bar)?)?;
        }
        anyhow::Ok(())
    };
    // What has been found out is printed whatever becomes of the pictures.
    let written = pictures();
    course.bar.finish_with_message("done");

    let [
        (run, wait),
        (phasers_run, phasers_wait),
        (tokios_run, tokios_wait),
    ] = times.map(|times| (median(times.run) * 1e3, median(times.wait) * 1e9));
    print(&format!(
        "\
{name}: {population} live cells at generation {generations}, the same cells in all {runs} runs
{bands} on {workers}, medians of {rounds}; one sequential run took {sequential:.2} ms

                          tokio's Barrier            Barrier  ratio             Phaser  ratio
whole run                  {tokios_run:>12.2} ms    {run:>12.2} ms  {run_ratio:>5.2}    {phasers_run:>12.2} ms  {phasers_run_ratio:>5.2}
waits of one generation    {tokios_wait:>12.0} ns    {wait:>12.0} ns  {wait_ratio:>5.2}    {phasers_wait:>12.0} ns  {phasers_wait_ratio:>5.2}

A ratio above 1 is faster than tokio's. Waits are timed by themselves: after each run, as many tasks
wait for each other {waits} times and do nothing else.
",
        name = life.name,
        population = census.population(),
        generations = life.generations,
        bands = counted(options.bands as usize, "band"),
        workers = counted(workers as usize, "worker"),
        rounds = counted(options.rounds as usize, "round"),
        sequential = sequential * 1e3,
        run_ratio = tokios_run / run,
        phasers_run_ratio = tokios_run / phasers_run,
        wait_ratio = tokios_wait / wait,
        phasers_wait_ratio = tokios_wait / phasers_wait,
        waits = course.waits,
    ))
    .and(written)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
