//! The runs: one without a barrier, and the same in bands with a barrier of either kind.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    life::{Census, Plane, Rows, Size},
    rle::Pattern,
};

/// What is to be run, and how far.
pub(crate) struct Life {
    pub(crate) name: String,
    pub(crate) pattern: Pattern,
    pub(crate) size: Size,
    pub(crate) generations: u32,
}

impl Life {
    fn plane(&self) -> Plane {
        Plane::new(&self.pattern, self.size)
    }
}

/// What both barriers can do.
pub(crate) trait Barrier: Send + Sync + 'static {
    const NAME: &str;

    fn new(tasks: usize) -> Self;

    /// Waits for the others; true for one of them all.
    fn cross(&self) -> impl Future<Output = bool> + Send;
}

impl Barrier for atomic_barrier::Barrier {
    const NAME: &str = "atomic-barrier";

    fn new(tasks: usize) -> Self {
        Self::new(tasks)
    }

    async fn cross(&self) -> bool {
        self.wait().await.is_leader()
    }
}

impl Barrier for tokio::sync::Barrier {
    const NAME: &str = "tokio";

    fn new(tasks: usize) -> Self {
        Self::new(tasks)
    }

    async fn cross(&self) -> bool {
        self.wait().await.is_leader()
    }
}

/// What all runs share.
pub(crate) struct Course<'a> {
    pub(crate) life: &'a Life,
    pub(crate) bands: usize,
    /// How many are timed at a time.
    pub(crate) crossings: u32,
    pub(crate) runtime: Runtime,
    pub(crate) bar: ProgressBar,
}

impl Course<'_> {
    /// What the others must come to: one band, no barrier.
    pub(crate) fn sequential(&self) -> (Census, f64) {
        let Life { generations, .. } = *self.life;
        self.bar.set_message("sequential");
        let plane = self.life.plane();
        let mut rows = Rows::new(&plane);
        let start = Instant::now();
        for generation in 0..generations {
            plane.step(generation, rows.band(0, 1));
            rows.advance(&plane, generation + 1);
            progress(&self.bar, generation, generations);
        }
        let time = start.elapsed().as_secs_f64();
        (plane.census(generations), time)
    }

    /// A task a band, a crossing a generation.
    fn in_bands<B: Barrier>(&self) -> (Census, f64) {
        let Life { generations, .. } = *self.life;
        let bands = self.bands;
        self.bar.set_message(B::NAME);
        let plane = Arc::new(self.life.plane());
        let barrier = Arc::new(B::new(bands));
        let time = self.time_of((0..bands).map(|band| {
            let (plane, barrier, bar) = (plane.clone(), barrier.clone(), self.bar.clone());
            async move {
                let mut rows = Rows::new(&plane);
                for generation in 0..generations {
                    plane.step(generation, rows.band(band, bands));
                    let leader = barrier.cross().await;
                    rows.advance(&plane, generation + 1);
                    if leader {
                        progress(&bar, generation, generations);
                    }
                }
            }
        }));
        (plane.census(generations), time)
    }

    /// A crossing of as many tasks that have nothing else to do.
    fn crossing<B: Barrier>(&self) -> f64 {
        let crossings = self.crossings;
        let barrier = Arc::new(B::new(self.bands));
        let tasks = (0..self.bands).map(|_| {
            let barrier = barrier.clone();
            async move {
                for _ in 0..crossings {
                    barrier.cross().await;
                }
            }
        });
        self.time_of(tasks) / f64::from(crossings)
    }

    fn time_of(
        &self,
        tasks: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>,
    ) -> f64 {
        self.runtime.block_on(async {
            let start = Instant::now();
            let mut tasks: JoinSet<()> = tasks.collect();
            while let Some(end) = tasks.join_next().await {
                // The others would wait for a task that has panicked: drop them.
                end.expect("a task of the run");
            }
            start.elapsed().as_secs_f64()
        })
    }
}

/// Moves the bar, seldom enough to cost nothing.
fn progress(bar: &ProgressBar, generation: u32, generations: u32) {
    const STRIDE: u32 = 100;
    if generation % STRIDE == 0 {
        bar.inc(u64::from(STRIDE.min(generations - generation)));
    }
}

/// What one barrier took, round by round, in seconds.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) run: Vec<f64>,
    pub(crate) crossing: Vec<f64>,
}

impl Times {
    pub(crate) fn measure<B: Barrier>(&mut self, course: &Course, expected: &Census) -> Result<()> {
        let (census, time) = course.in_bands::<B>();
        ensure!(
            census == *expected,
            "{}: the run with {}'s barrier ended with {} live cells, the sequential run with {} \
             others",
            course.life.name,
            B::NAME,
            census.population(),
            expected.population(),
        );
        self.run.push(time);
        self.crossing.push(course.crossing::<B>());
        Ok(())
    }
}
