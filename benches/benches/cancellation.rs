//! What it costs to give up: a wait that arrives and is dropped, and one that times out.
//!
//! Against tokio alone, whose dropped wait stays counted as a party for ever; this crate's takes
//! its arrival back.

use std::{
    future,
    pin::pin,
    sync::Arc,
    task::{Context, Wake},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

use atomic_barrier_benches::{
    peers::Peer,
    sampling::{interleave, quartile},
};

const ROUNDS: usize = 31;
const LENGTH: Duration = Duration::from_millis(10);

/// A waker that is cloned and dropped as a task's is, by counting.
struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Runs `work` on a barrier that never comes together, at which `others` are waiting.
fn beside<B: Peer>(others: usize, work: impl FnOnce(&B) -> Duration) -> Duration {
    let barrier = B::new(usize::MAX);
    let waker = Arc::new(Nobody).into();
    let mut waits: Vec<_> = (0..others).map(|_| Box::pin(barrier.wait())).collect();
    for wait in &mut waits {
        let poll = wait.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
    }
    work(&barrier)
}

fn drop_polled<B: Peer>(others: usize, times: u64) -> Duration {
    beside(others, |barrier: &B| {
        let waker = Arc::new(Nobody).into();
        let start = Instant::now();
        for _ in 0..times {
            let poll = pin!(barrier.wait()).poll(&mut Context::from_waker(&waker));
            assert!(poll.is_pending());
        }
        start.elapsed()
    })
}

/// On a paused clock, which jumps to the next timer when nothing else is left to do: so the time
/// that is measured is work.
fn time_out<F: Future>(runtime: &Runtime, times: u64, wait: impl Fn() -> F) -> Duration {
    runtime.block_on(async {
        let start = Instant::now();
        for _ in 0..times {
            let result = timeout(Duration::from_millis(1), wait()).await;
            assert!(result.is_err());
        }
        start.elapsed()
    })
}

fn time_out_waiting<B: Peer>(runtime: &Runtime, others: usize, times: u64) -> Duration {
    beside(others, |barrier: &B| {
        time_out(runtime, times, || barrier.wait())
    })
}

type Sample<'a> = &'a dyn Fn(u64) -> Duration;

/// Samples and prints one row: this crate, tokio, and the same without a barrier if that is work.
fn row(what: &str, this: Sample, tokio: Sample, none: Option<Sample>) {
    let samples: Vec<_> = [this, tokio].into_iter().chain(none).collect();
    let times = interleave(&samples, ROUNDS, LENGTH);
    let medians = times.iter().map(|times| quartile(times.iter().copied(), 2));
    let pairs = times[0].iter().zip(&times[1]);
    let speed = quartile(pairs.map(|(this, tokio)| tokio / this), 2);
    print!("{what:<42}");
    for median in medians {
        print!(" | {median:>14.1}");
    }
    if none.is_none() {
        print!(" | {:>14}", "");
    }
    println!(" | {speed:>6.2}");
}

fn main() {
    use atomic_barrier::Barrier as This;
    use tokio::sync::Barrier as Tokio;

    let runtime = &Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime on this thread needs nothing");

    println!("Giving up: ns per wait, medians of {ROUNDS} interleaved rounds");
    println!("  speed: times as fast as tokio, in the same round");
    println!(
        "{:42} | {:>14} | {:>14} | {:>14} | {:>6}",
        "",
        This::NAME,
        Tokio::NAME,
        "no barrier",
        "speed"
    );
    for others in [0, 62] {
        row(
            &format!("polled, dropped; {others} others waiting"),
            &|times| drop_polled::<This>(others, times),
            &|times| drop_polled::<Tokio>(others, times),
            None,
        );
    }
    for others in [0, 62] {
        row(
            &format!("timed out, paused clock; {others} others waiting"),
            &|times| time_out_waiting::<This>(runtime, others, times),
            &|times| time_out_waiting::<Tokio>(runtime, others, times),
            Some(&|times| time_out(runtime, times, future::pending::<()>)),
        );
    }
}
