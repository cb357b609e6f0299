//! How long a stress test runs, and what ends it if nothing happens any more.

use core::{
    fmt::Debug,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use std::{
    env,
    io::{Write, stderr},
    process,
    sync::mpsc::{Receiver, RecvTimeoutError},
    thread,
    time::Instant,
};

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `STRESS_SECONDS` says, or else `default`, shared out among so many `runs`.
pub fn time_of_each(runs: usize, default: f64) -> Duration {
    let seconds = env::var("STRESS_SECONDS").map_or(default, |seconds| {
        let number = seconds
            .parse()
            .ok()
            .filter(|s: &f64| s.is_finite() && *s > 0.0);
        number.unwrap_or_else(|| panic!("STRESS_SECONDS={seconds} is no number of seconds"))
    });
    Duration::from_secs_f64(seconds / runs as f64)
}

/// Returns when the `time` is up. If what must be seen has not been by then, as on a busy machine, it
/// goes on for a while.
pub fn pass(time: Duration, has_seen_all: impl Fn() -> bool) {
    thread::sleep(time);
    let limit = Instant::now() + PATIENCE;
    while !has_seen_all() && Instant::now() < limit {
        thread::sleep(Duration::from_millis(1));
    }
}

/// Turns a hang into a failure that says where the `subject` stands.
pub fn watch(name: &str, progress: &AtomicU64, subject: &impl Debug, over: &Receiver<()>) {
    let mut seen = 0;
    while over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
        let progress = progress.load(Ordering::Relaxed);
        if progress == seen {
            // Past the test harness, which keeps what is printed until the test ends.
            let _ = writeln!(
                stderr(),
                "{name}: nothing has happened for {PATIENCE:?}: {subject:?}"
            );
            process::exit(1);
        }
        seen = progress;
    }
}
