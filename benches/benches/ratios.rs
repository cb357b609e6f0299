//! The paired comparison of barriers, with the targets. Its ratios are what the documentation quotes.
//! `cargo bench --bench ratios -- --help` lists the options.

use std::{
    array,
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anyhow::Result;
use atomic_barrier_benches::{
    comparison::{Column, Figures, Options, Work, plot},
    floor::Floor,
    manual,
    peers::Peer,
    report::{targets, verdict},
    tasks::{self, Flavour, PARTIES},
};
use clap::{Parser, ValueEnum};
use tokio::{runtime::Runtime, select};

/// Interleaved comparison of barriers.
#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
    /// The tables to measure, separated by commas; all if none is named
    #[arg(long, value_enum, value_delimiter = ',')]
    tables: Vec<Table>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Spawned tasks that wait for one another over and over, on tokio's runtimes
    Tasks,
    /// Waits polled by one thread, without a runtime
    Polled,
    /// Waits polled again, with the same waker and with another
    Again,
    /// Waits polled once and dropped
    Dropped,
    /// Barriers made, used once, dropped
    Lives,
    /// Waits in a `select!` loop
    Select,
}

/// For tables in which `n` makes little difference.
const FEW: [usize; 3] = [2, 8, 64];

const TOKIO: &str = <tokio::sync::Barrier as Peer>::NAME;
const ASYNCBAND: &str = <asyncband::barrier::Barrier as Peer>::NAME;

/// A generation of spawned tasks.
struct Tasks<'a>(&'a Runtime);

impl Work for Tasks<'_> {
    fn run<B: Peer>(&self, n: usize, generations: u64) -> Duration {
        tasks::run::<Arc<B>>(self.0, n, generations)
    }
}

/// A generation of `n` waits: polled, released, polled, dropped.
struct Polled;

impl Work for Polled {
    fn run<B: Peer>(&self, n: usize, generations: u64) -> Duration {
        let barrier = B::new(n);
        let waker = manual::waker();
        let cx = &mut Context::from_waker(&waker);
        let wait = || barrier.wait();
        let mut waits: Vec<_> = (0..n).map(|_| Box::pin(wait())).collect();
        manual::run_generation::<B, _>(&mut waits, cx, wait);
        let start = Instant::now();
        for _ in 0..generations {
            manual::run_generation::<B, _>(&mut waits, cx, wait);
        }
        start.elapsed()
    }
}

/// One more poll of each of `n - 1` waits at a barrier of `n`, with these wakers in turns.
struct Again<const WAKERS: usize>;

impl<const WAKERS: usize> Work for Again<WAKERS> {
    fn run<B: Peer>(&self, n: usize, times: u64) -> Duration {
        let barrier = B::new(n);
        let wakers: [_; WAKERS] = array::from_fn(|_| manual::waker());
        let mut waits: Vec<_> = (1..n).map(|_| Box::pin(barrier.wait())).collect();
        let mut poll = |time: u64| {
            let waker = &wakers[time as usize % WAKERS];
            for wait in &mut waits {
                let poll = wait.as_mut().poll(&mut Context::from_waker(waker));
                assert!(poll.is_pending(), "an arrival is missing");
            }
        };
        poll(0);
        let start = Instant::now();
        (1..=times).for_each(poll);
        start.elapsed()
    }
}

/// A wait that is polled once and dropped at a barrier at which `n - 2` others wait. Most peers go
/// on counting it, so theirs is a barrier of many more parties.
struct Dropped;

impl Work for Dropped {
    fn run<B: Peer>(&self, n: usize, times: u64) -> Duration {
        const AT_ONE_BARRIER: u64 = 10_000;
        let waker = manual::waker();
        let cx = &mut Context::from_waker(&waker);
        let mut elapsed = Duration::ZERO;
        let mut left = times;
        while left > 0 {
            let times = left.min(AT_ONE_BARRIER);
            left -= times;
            let barrier = B::new(n + AT_ONE_BARRIER as usize);
            let mut others: Vec<_> = (2..n).map(|_| Box::pin(barrier.wait())).collect();
            manual::arrive(&mut others, cx, || barrier.wait());
            let start = Instant::now();
            for _ in 0..times {
                assert!(pin!(barrier.wait()).poll(cx).is_pending());
            }
            elapsed += start.elapsed();
        }
        elapsed
    }
}

/// A barrier of `n` that is made, used for one generation and dropped.
struct Lives;

impl Work for Lives {
    fn run<B: Peer>(&self, n: usize, times: u64) -> Duration {
        match n {
            2 => live::<B, 2>(times),
            8 => live::<B, 8>(times),
            64 => live::<B, 64>(times),
            _ => panic!("{n} is not among the numbers for which this is compiled"),
        }
    }
}

fn live<B: Peer, const N: usize>(times: u64) -> Duration {
    let waker = manual::waker();
    let cx = &mut Context::from_waker(&waker);
    let start = Instant::now();
    for _ in 0..times {
        let barrier = B::new(N);
        // On the stack, as allocations of waits are not what is compared.
        let waits = pin!(array::from_fn::<_, N, _>(|_| barrier.wait()));
        let [leader, others @ ..] = &mut pin_each(waits)[..] else {
            panic!("a barrier has a party");
        };
        for wait in &mut *others {
            assert!(wait.as_mut().poll(cx).is_pending(), "an arrival is missing");
        }
        let others = others.iter_mut().map(Pin::as_mut);
        manual::release::<B, _>(leader.as_mut(), others, cx);
    }
    start.elapsed()
}

fn pin_each<T, const N: usize>(array: Pin<&mut [T; N]>) -> [Pin<&mut T>; N] {
    // SAFETY: nothing is moved out of the reference; its elements are pinned again below.
    let array = unsafe { array.get_unchecked_mut() };
    // SAFETY: the elements of a pinned array stay where they are until they are dropped.
    array
        .each_mut()
        .map(|element| unsafe { Pin::new_unchecked(element) })
}

/// A generation of tasks of which all but one wait in a `select!` loop, and the other branch of
/// each is ready `FIRED` times before the last arrives.
struct Select<'a>(&'a Runtime);

const FIRED: usize = 100;

impl Work for Select<'_> {
    fn run<B: Peer>(&self, n: usize, generations: u64) -> Duration {
        let barrier = Arc::new(B::new(n));
        let tasks: Vec<_> = (0..n)
            .map(|task| {
                let barrier = barrier.clone();
                self.0.spawn(async move {
                    for _ in 0..generations {
                        if task == 0 {
                            for _ in 0..FIRED {
                                next_turn().await;
                            }
                            barrier.wait().await;
                        } else {
                            let mut wait = pin!(barrier.wait());
                            loop {
                                select! {
                                    biased;
                                    _ = &mut wait => break,
                                    () = next_turn() => {}
                                }
                            }
                        }
                    }
                })
            })
            .collect();
        let start = Instant::now();
        self.0.block_on(async {
            for task in tasks {
                task.await.expect("no task panics");
            }
        });
        start.elapsed()
    }
}

/// Ready when its task is polled again, which it asks for.
async fn next_turn() {
    let mut polled = false;
    poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Tables on runtimes, with the targets of some.
fn tasks(options: &Options) -> Vec<(Figures, Option<[f64; 2]>)> {
    let mut tables = Vec::new();
    for flavour in options.flavours(&["ct", "1", "2", "4"]) {
        let runtime = flavour.runtime();
        let tasks = Tasks(&runtime);
        let (columns, targets) = match flavour {
            Flavour::CurrentThread => (Column::peers_and_floor(&tasks), Some([2.75, 1.3])),
            Flavour::Workers(n) => (Column::peers(&tasks), (n.get() == 2).then_some([2.6, 1.7])),
        };
        let title = format!("Tasks, {flavour}");
        let parties = options.parties(&PARTIES);
        let figures = Figures::measure(
            options,
            &title,
            "task and generation",
            &parties,
            |n| n,
            &columns,
        );
        tables.push((figures, targets));
    }
    tables
}

fn polled(options: &Options) -> Figures {
    let title = "Polled without a runtime";
    let columns = Column::peers_and_floor(&Polled);
    Figures::measure(
        options,
        title,
        "wait",
        &options.parties(&PARTIES),
        |n| n,
        &columns,
    )
}

fn again(options: &Options, waker: &str, columns: &[Column]) -> Figures {
    let title = format!("Polled again, {waker} waker");
    Figures::measure(options, &title, "poll", &FEW, |n| n - 1, columns)
}

fn dropped(options: &Options) -> Figures {
    let title = "Polled once and dropped";
    let columns = Column::peers(&Dropped);
    Figures::measure(options, title, "wait", &FEW, |_| 1, &columns)
}

fn lives(options: &Options) -> Figures {
    let title = "Made, used once, dropped";
    let columns = Column::peers_and_floor(&Lives);
    Figures::measure(options, title, "barrier", &FEW, |_| 1, &columns)
}

fn in_select(options: &Options) -> Figures {
    let runtime = Flavour::CurrentThread.runtime();
    let select = Select(&runtime);
    let columns = Column::peers_and_floor(&select);
    let title = "In a `select!` loop, current-thread";
    let turns = |n| (n - 1) * FIRED;
    Figures::measure(options, title, "turn of the loop", &FEW, turns, &columns)
}

fn judge_polled(figures: &Figures) {
    const N: usize = 64;
    let judge = |other, target: &str, met: fn(f64) -> bool, of: fn(f64) -> f64| {
        let Some(ratio) = figures.ratio(N, other) else {
            return;
        };
        let is = of(ratio);
        verdict(
            met(is),
            &format!("Polled without a runtime, n = {N}: {target}; is {is:.2}"),
        );
    };
    let speed = |ratio| ratio;
    judge(TOKIO, "3 times as fast as tokio", |is| is >= 3.0, speed);
    judge(
        ASYNCBAND,
        "1.3 times as fast as asyncband",
        |is| is >= 1.3,
        speed,
    );
    judge(
        Floor::NAME,
        "at most 2.7 times the floor",
        |is| is <= 2.7,
        f64::recip,
    );
}

fn main() -> Result<()> {
    let Command { options, tables } = Command::parse();
    let asked = |table| tables.is_empty() || tables.contains(&table);

    let mut on_runtimes = Vec::new();
    if asked(Table::Tasks) {
        on_runtimes = tasks(&options);
        let tables: Vec<_> = on_runtimes.iter().map(|(figures, _)| figures).collect();
        let tables = [tables.first(), tables.get(2)]
            .into_iter()
            .flatten()
            .copied();
        plot(
            &options,
            "ratios.svg",
            "Spawned tasks at a barrier",
            &tables.collect::<Vec<_>>(),
        )?;
    }
    let polled = asked(Table::Polled).then(|| polled(&options));
    let mut others = Vec::new();
    if asked(Table::Again) {
        others.push(again(&options, "same", &Column::peers(&Again::<1>)));
        others.push(again(&options, "another", &Column::peers(&Again::<2>)));
    }
    if asked(Table::Dropped) {
        others.push(dropped(&options));
    }
    if asked(Table::Lives) {
        others.push(lives(&options));
    }
    if asked(Table::Select) {
        others.push(in_select(&options));
    }

    targets();
    for (figures, targets) in &on_runtimes {
        if let Some([of_tokio, of_asyncband]) = *targets {
            figures.judge_mean(TOKIO, of_tokio);
            figures.judge_mean(ASYNCBAND, of_asyncband);
            figures.judge_every_row(ASYNCBAND, 1.15);
        }
    }
    polled.iter().for_each(judge_polled);
    if let Some(same_waker) = others.first().filter(|_| asked(Table::Again)) {
        let largest = same_waker.largest();
        let what = "Polled again, same waker: at most 5 ns per poll";
        verdict(largest <= 5.0, &format!("{what}; is {largest:.1}"));
    }
    let on_runtimes = on_runtimes.into_iter().map(|(figures, _)| figures);
    for figures in on_runtimes.chain(polled).chain(others) {
        figures.judge_ahead();
    }
    Ok(())
}
