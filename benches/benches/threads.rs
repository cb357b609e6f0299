//! Threads at a barrier: one generation of `wait_blocking`, against the barriers of the standard library,
//! of libstdc++, of async-lock and of spin, on an idle and on a busy machine.
//!
//! libstdc++'s takes a compiler for C++20, which is looked for as `$CXX`, `c++` or `g++`.

use std::{
    env,
    hint::spin_loop,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use atomic_barrier_benches::{
    comparison::{Column, Figures, Options},
    report::{targets, verdict},
};
use clap::Parser;
use tempfile::TempDir;

const THREADS: [usize; 4] = [2, 4, 8, 32];
const STD: &str = "std";
const LIBSTDCXX: &str = "libstdc++";

/// Interleaved comparison of barriers for threads.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

trait Blocking: Sync {
    fn new(parties: usize) -> Self;
    fn wait(&self);
}

macro_rules! blocking {
    ($barrier:ty, $wait:ident) => {
        impl Blocking for $barrier {
            fn new(parties: usize) -> Self {
                Self::new(parties)
            }
            fn wait(&self) {
                self.$wait();
            }
        }
    };
}

/// With more threads than cores it would otherwise spin for as long as the system lets it.
type Spin = spin::barrier::Barrier<spin::Yield>;

blocking!(atomic_barrier::Barrier, wait_blocking);
blocking!(std::sync::Barrier, wait);
blocking!(async_lock::Barrier, wait_blocking);
blocking!(Spin, wait);

/// How long so many generations of `parties` threads take one of them.
fn run<B: Blocking>(parties: usize, generations: u64) -> Duration {
    let barrier = B::new(parties);
    let wait_for_all = |times| (0..times).for_each(|_| barrier.wait());
    let warm_up = 1 + generations / 8;
    thread::scope(|scope| {
        for _ in 1..parties {
            scope.spawn(|| wait_for_all(warm_up + generations));
        }
        wait_for_all(warm_up);
        let start = Instant::now();
        wait_for_all(generations);
        start.elapsed()
    })
}

/// A program that does the same with libstdc++'s barrier.
struct Libstdcxx(TempDir);

impl Libstdcxx {
    fn compile() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let compilers = env::var("CXX")
            .into_iter()
            .chain(["c++", "g++"].map(str::to_owned));
        let mut error = None;
        for compiler in compilers {
            match Self::compile_with(&compiler, folder.path()) {
                Ok(()) => return Ok(Self(folder)),
                Err(e) => error = Some(e),
            }
        }
        Err(error.context("no compiler")?)
    }

    fn compile_with(compiler: &str, folder: &Path) -> Result<()> {
        let output = Command::new(compiler)
            .args(["-std=c++20", "-O2", "-pthread", "-o"])
            .arg(folder.join("std_barrier"))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/cpp/std_barrier.cpp"))
            .output()
            .with_context(|| format!("cannot run {compiler}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{compiler}: {errors}");
        Ok(())
    }

    fn run(&self, parties: usize, generations: u64) -> Duration {
        let output = Command::new(self.0.path().join("std_barrier"))
            .args([parties.to_string(), generations.to_string()])
            .output()
            .expect("the program was compiled");
        let nanos = String::from_utf8_lossy(&output.stdout);
        Duration::from_nanos(nanos.trim().parse().expect("it prints nanoseconds"))
    }
}

/// Keeps every core busy while `work` is done.
fn beside_load<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                // Relaxed: nothing else is read by what it says.
                while !done.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })
}

fn judge(figures: &Figures, title: &str) {
    for (n, target) in [(4, 5.0), (8, 5.0), (32, 5.0)] {
        if let Some(ratio) = figures.ratio(n, STD) {
            let what = format!("{title}: {target} times as fast as {STD} with {n} threads");
            verdict(ratio >= target, &format!("{what}; is {ratio:.2}"));
        }
    }
}

fn main() {
    let Arguments { options } = Arguments::parse();
    let libstdcxx = Libstdcxx::compile();
    let mut columns = vec![
        Column::new("atomic-barrier", run::<atomic_barrier::Barrier>),
        Column::new(STD, run::<std::sync::Barrier>),
        Column::new("async-lock", run::<async_lock::Barrier>),
        Column::new("spin, yields", run::<Spin>),
    ];
    match &libstdcxx {
        Ok(libstdcxx) => {
            columns.push(Column::new(LIBSTDCXX, |parties, generations| {
                libstdcxx.run(parties, generations)
            }));
        }
        Err(error) => println!("SKIPPED  {LIBSTDCXX}: {error:#}"),
    }
    let parties = options.parties(&THREADS);
    let measure =
        |options, title| Figures::measure(options, title, "generation", &parties, |_| 1, &columns);
    let idle = measure(&options, "Threads");
    // A time slice of the load is some milliseconds.
    let longer = options.longer();
    let busy = "Threads, and one more that is busy for each core";
    let busy = beside_load(|| measure(&longer, busy));

    targets();
    judge(&idle, "Threads");
    if libstdcxx.is_ok() {
        idle.judge_every_row(LIBSTDCXX, 1.0);
    }
    busy.judge_every_row(STD, 1.0);
}
