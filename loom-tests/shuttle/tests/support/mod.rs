//! What the random searches share.

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler, Scheduler},
};

/// Runs `body` in so many random schedules, and in as many of PCT with depth 3.
pub(crate) fn explore(schedules: usize, body: fn()) {
    run(RandomScheduler::new(schedules), body);
    run(PctScheduler::new(3, schedules), body);
}

fn run(scheduler: impl Scheduler + 'static, body: fn()) {
    let mut config = Config::new();
    config.stack_size = 0x2_0000;
    Runner::new(scheduler, config).run(body);
}
