//! The runs: one without a barrier, and the same in bands with each kind of barrier.

use std::{sync::Arc, time::Instant};

use anyhow::{Result, ensure};
use atomic_barrier::{Barrier, Phaser, phaser::Participant};
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

    /// Runs in one band, without a barrier. `visit` sees each generation.
    pub(crate) fn sequential(&self, mut visit: impl FnMut(&Plane, u32)) -> Plane {
        let plane = self.plane();
        let mut rows = Rows::new(&plane);
        for generation in 0..self.generations {
            visit(&plane, generation);
            plane.step(generation, rows.band(0, 1));
            rows.advance(&plane, generation + 1);
        }
        visit(&plane, self.generations);
        plane
    }
}

/// What a task waits with for the other tasks of a run.
pub(crate) trait Party: Sized + Send + 'static {
    const NAME: &str;

    /// One for each of so many tasks.
    fn parties(tasks: usize) -> Vec<Self>;

    /// Waits for the others. True for one of them.
    fn wait(&mut self) -> impl Future<Output = bool> + Send;
}

impl Party for Arc<Barrier> {
    const NAME: &str = "Barrier";

    fn parties(tasks: usize) -> Vec<Self> {
        let barrier = Arc::new(Barrier::new(tasks));
        vec![barrier; tasks]
    }

    async fn wait(&mut self) -> bool {
        Barrier::wait(self).await.is_leader()
    }
}

impl Party for Participant {
    const NAME: &str = "Phaser";

    fn parties(tasks: usize) -> Vec<Self> {
        let phaser = Phaser::new();
        phaser.register_many(tasks).expect("a phaser that is open")
    }

    async fn wait(&mut self) -> bool {
        let end = Participant::wait(self).await;
        end.expect("a phaser that nobody closes").is_leader()
    }
}

impl Party for Arc<tokio::sync::Barrier> {
    const NAME: &str = "tokio's Barrier";

    fn parties(tasks: usize) -> Vec<Self> {
        let barrier = Arc::new(tokio::sync::Barrier::new(tasks));
        vec![barrier; tasks]
    }

    async fn wait(&mut self) -> bool {
        tokio::sync::Barrier::wait(self).await.is_leader()
    }
}

/// What all runs share.
pub(crate) struct Course<'a> {
    pub(crate) life: &'a Life,
    pub(crate) bands: usize,
    /// How often the tasks wait where nothing but waits is timed.
    pub(crate) waits: u32,
    pub(crate) runtime: Runtime,
    pub(crate) bar: ProgressBar,
}

impl Course<'_> {
    /// What the others must end with, and the seconds that it took.
    pub(crate) fn sequential(&self) -> (Census, f64) {
        let generations = self.life.generations;
        self.bar.set_message("sequential");
        let start = Instant::now();
        let plane = self.life.sequential(|_, generation| {
            progress(&self.bar, generation, generations);
        });
        let time = start.elapsed().as_secs_f64();
        (plane.census(generations), time)
    }

    /// A task for each band, a wait for each generation.
    fn in_bands<P: Party>(&self) -> (Census, f64) {
        let Life { generations, .. } = *self.life;
        let bands = self.bands;
        self.bar.set_message(P::NAME);
        let plane = Arc::new(self.life.plane());
        let parties = (0..bands).zip(P::parties(bands));
        let time = self.time_of(parties.map(|(band, mut party)| {
            let (plane, bar) = (plane.clone(), self.bar.clone());
            async move {
                let mut rows = Rows::new(&plane);
                for generation in 0..generations {
                    plane.step(generation, rows.band(band, bands));
                    let leader = party.wait().await;
                    rows.advance(&plane, generation + 1);
                    if leader {
                        progress(&bar, generation, generations);
                    }
                }
            }
        }));
        (plane.census(generations), time)
    }

    /// The seconds that one wait takes of as many tasks that do nothing else.
    fn wait<P: Party>(&self) -> f64 {
        let waits = self.waits;
        let parties = P::parties(self.bands).into_iter();
        let tasks = parties.map(|mut party| async move {
            for _ in 0..waits {
                party.wait().await;
            }
        });
        self.time_of(tasks) / f64::from(waits)
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
pub(crate) fn progress(bar: &ProgressBar, generation: u32, generations: u32) {
    const STRIDE: u32 = 100;
    if generation % STRIDE == 0 {
        bar.inc(u64::from(STRIDE.min(generations - generation)));
    }
}

/// What one kind took, round by round, in seconds.
#[derive(Default)]
pub(crate) struct Times {
    pub(crate) run: Vec<f64>,
    pub(crate) wait: Vec<f64>,
}

impl Times {
    pub(crate) fn measure<P: Party>(&mut self, course: &Course, expected: &Census) -> Result<()> {
        let (census, time) = course.in_bands::<P>();
        ensure!(
            census == *expected,
            "{}: the run with {} ended with {} live cells, the sequential run with {} \
             others",
            course.life.name,
            P::NAME,
            census.population(),
            expected.population(),
        );
        self.run.push(time);
        self.wait.push(course.wait::<P>());
        Ok(())
    }
}
