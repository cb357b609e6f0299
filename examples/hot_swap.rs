//! A TCP server whose configuration is swapped while it runs: the tasks of all connections wait at a barrier,
//! and the last to arrive swaps the configuration before any of them goes on. If a connection misses the
//! deadline of a swap, all withdraw, serve on and try again.
//!
//! ```text
//! cargo run --release --example hot_swap
//! cargo run --release --example hot_swap -- --connections 100 --rounds 200
//! cargo run --release --example hot_swap -- --stall --deadline-ms 50
//! ```

use std::{
    net::Ipv4Addr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use atomic_barrier::Barrier;
use clap::Parser;
use examples::{counted, number, print, progress, runtime};
use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinSet, yield_now},
    time::{Instant, sleep, timeout_at},
};

/// Swaps the configuration of a server again and again while clients ask it for prices.
///
/// The server has a task for each connection. To swap, all of them wait at a barrier, with a deadline, and the
/// last to arrive swaps the configuration before the others go on. If one of them is late, all withdraw, serve
/// on, and try again. The clients check that each answer is of one configuration.
#[derive(Parser)]
struct Options {
    /// Connections, with a client each
    #[arg(long, default_value_t = 8, value_parser = number(1..=1000))]
    connections: u32,

    /// Times to swap the configuration
    #[arg(long, default_value_t = 50, value_parser = number(1..=10_000))]
    rounds: u32,

    /// How long the connections may take to arrive, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 100,
          value_parser = number(1..=10_000))]
    deadline_ms: u32,

    /// Deadlines that one round may miss before the run is aborted
    #[arg(long, default_value_t = 10, value_parser = number(1..=1000))]
    attempts: u32,

    /// How long a swap itself takes, which no deadline cuts short, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0,
          value_parser = number(0..=10_000))]
    swap_ms: u32,

    /// Requests that each client makes at most
    #[arg(long, default_value_t = 100_000, value_parser = number(1..=u32::MAX))]
    requests: u32,

    /// Makes one connection so slow that every fourth round misses its first deadline
    #[arg(long)]
    stall: bool,
}

/// From one attempt to the next, so that there are requests in between.
const SERVING: Duration = Duration::from_millis(5);

fn main() -> ExitCode {
    examples::main(Ok, run)
}

fn run(options: Options) -> Result<()> {
    let bar = progress(options.rounds.into(), "swapping", "rounds");
    let runtime = runtime(thread::available_parallelism()?.get())?;
    let outcome = runtime.block_on(serve(&options, &bar))?;
    bar.finish();

    let pauses = outcome.pauses;
    let [p50, p99] = [0.50, 0.99].map(|share| pauses.value_at_quantile(share) as f64 / 1e6);
    print(&format!(
        "rounds done       {done:>8}
rounds retried    {retried:>8}
deadlines missed  {missed:>8}
connections       {connections:>8}
requests served   {served:>8}, each by one configuration
pause, p50        {p50:>8.3} ms
pause, p99        {p99:>8.3} ms

A pause is from when a connection stops for a round to when it goes on with the new configuration.
",
        done = options.rounds,
        retried = outcome.retried,
        missed = outcome.missed,
        connections = options.connections,
        served = outcome.served,
    ))
}

struct Outcome {
    retried: u32,
    missed: u32,
    served: u64,
    /// In nanoseconds.
    pauses: Histogram<u64>,
}

async fn serve(options: &Options, bar: &ProgressBar) -> Result<Outcome> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("cannot listen on 127.0.0.1")?;
    let address = listener.local_addr()?;
    let server = Arc::new(Server {
        price: Price::new(Duration::from_millis(options.swap_ms.into())),
        // The operator is a party too, and so learns how each attempt has ended.
        barrier: Barrier::new(options.connections as usize + 1),
    });
    let (calls, _) = watch::channel(None);
    let (done, _) = watch::channel(false);

    let (mut connections, mut clients) = (JoinSet::new(), JoinSet::new());
    for number in 0..options.connections {
        // Before the connection is, for the listener holds it until it is accepted.
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot open connection {number}"))?;
        clients.spawn(client(stream, options.requests, done.subscribe()));
        let (stream, _) = listener
            .accept()
            .await
            .with_context(|| format!("cannot accept connection {number}"))?;
        let connection = Connection {
            server: server.clone(),
            calls: calls.subscribe(),
            done: done.subscribe(),
            stall: options.stall && number == 0,
            served: 0,
            pauses: histogram(),
        };
        connections.spawn(connection.run(stream));
    }

    // Whatever fails ends the run. Tasks that are dropped withdraw their arrivals.
    let (retried, missed) = tokio::select! {
        counts = operate(&server, &calls, options, bar) => counts?,
        Some(end) = connections.join_next() => bail!(early(end)),
        Some(end) = clients.join_next() => bail!(early(end)),
    };
    done.send_replace(true);

    let mut answers = 0;
    while let Some(client) = clients.join_next().await {
        answers += client??;
    }
    let (mut served, mut pauses) = (0, histogram());
    while let Some(connection) = connections.join_next().await {
        let connection = connection??;
        served += connection.served;
        pauses.add(connection.pauses)?;
    }
    ensure!(
        served == answers,
        "{served} requests were served, but {answers} answers came"
    );
    Ok(Outcome {
        retried,
        missed,
        served,
        pauses,
    })
}

/// Why a task has ended that should not have before the last round.
fn early<T>(end: Result<Result<T>, tokio::task::JoinError>) -> anyhow::Error {
    match end {
        Ok(Ok(_)) => anyhow::anyhow!("a connection was closed before the last round"),
        Ok(Err(error)) => error,
        Err(panic) => panic.into(),
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are few enough")
}

/// A price list in one of several currencies.
///
/// Its two parts must agree, but nothing here sees to that: they lie apart, and all accesses are
/// relaxed. It is the barrier that orders them.
struct Price {
    currency: AtomicUsize,
    rate: AtomicUsize,
    /// How long it is, in a swap, that they do not agree.
    swap: Duration,
}

/// Currencies, with what a hundred euros are in them.
const CURRENCIES: [(&str, usize); 4] = [("EUR", 100), ("USD", 116), ("JPY", 17_600), ("GBP", 88)];

impl Price {
    fn new(swap: Duration) -> Price {
        let [(_, rate), ..] = CURRENCIES;
        Price {
            currency: AtomicUsize::new(0),
            rate: AtomicUsize::new(rate),
            swap,
        }
    }

    /// Changes to the currency that comes with this generation.
    async fn swap(&self, generation: u64) {
        let currency = (generation as usize + 1) % CURRENCIES.len();
        self.currency.store(currency, Relaxed);
        if self.swap.is_zero() {
            yield_now().await;
        } else {
            sleep(self.swap).await;
        }
        self.rate.store(CURRENCIES[currency].1, Relaxed);
    }

    /// What so many hundreds of euros are.
    async fn answer(&self, hundreds: usize) -> String {
        let rate = self.rate.load(Relaxed);
        yield_now().await;
        let (currency, _) = CURRENCIES[self.currency.load(Relaxed)];
        format!("{} {currency}\n", hundreds * rate)
    }
}

struct Server {
    price: Price,
    barrier: Barrier,
}

/// What the operator asks of all connections: to arrive for a generation of the barrier.
#[derive(Clone, Copy)]
struct Call {
    generation: u64,
    attempt: u32,
    deadline: Instant,
}

impl Server {
    /// Waits for all others, and has the price swapped. False if the deadline was missed: then the arrival
    /// was withdrawn.
    async fn quiesce(&self, call: Call) -> bool {
        match timeout_at(call.deadline, self.barrier.wait_leader()).await {
            Ok(Some(leader)) => {
                self.price.swap(leader.generation()).await;
                leader.release();
                true
            }
            Ok(None) => true,
            Err(_) => {
                // If all have arrived, the arrival has counted: the leader is at work, and no party may go
                // on before the release. No later generation completes without this party.
                if self.barrier.arrived() == self.barrier.parties() {
                    self.barrier.observe(call.generation).await;
                }
                self.barrier.generation() > call.generation
            }
        }
    }
}

/// Calls for one swap after the other. Returns how many rounds were retried, and how many deadlines were
/// missed.
async fn operate(
    server: &Server,
    calls: &watch::Sender<Option<Call>>,
    options: &Options,
    bar: &ProgressBar,
) -> Result<(u32, u32)> {
    let deadline = Duration::from_millis(options.deadline_ms.into());
    let (mut retried, mut missed) = (0, 0);
    for round in 0..options.rounds {
        let mut attempt = 0;
        loop {
            sleep(SERVING).await;
            let call = Call {
                generation: round.into(),
                attempt,
                deadline: Instant::now() + deadline,
            };
            calls.send_replace(Some(call));
            if server.quiesce(call).await {
                break;
            }
            attempt += 1;
            ensure!(
                attempt < options.attempts,
                "round {round} was aborted: {} of {} ms missed",
                counted(attempt as usize, "deadline"),
                options.deadline_ms
            );
        }
        retried += u32::from(attempt > 0);
        missed += attempt;
        bar.inc(1);
    }
    Ok((retried, missed))
}

/// The server's side of a connection.
struct Connection {
    server: Arc<Server>,
    calls: watch::Receiver<Option<Call>>,
    done: watch::Receiver<bool>,
    stall: bool,
    served: u64,
    pauses: Histogram<u64>,
}

impl Connection {
    async fn run(mut self, mut stream: TcpStream) -> Result<Connection> {
        let (requests, mut answers) = stream.split();
        let mut requests = BufReader::new(requests).lines();
        loop {
            tokio::select! {
                changed = self.calls.changed() => {
                    changed?;
                    let call = *self.calls.borrow_and_update();
                    self.pause(call.expect("calls are not withdrawn")).await?;
                }
                request = requests.next_line() => match request? {
                    Some(request) => {
                        let hundreds = request
                            .parse()
                            .with_context(|| format!("expected a number, found {request:?}"))?;
                        let answer = self.server.price.answer(hundreds).await;
                        answers.write_all(answer.as_bytes()).await?;
                        self.served += 1;
                    }
                    None => {
                        ensure!(*self.done.borrow(), "a client hung up before the last round");
                        return Ok(self);
                    }
                },
            }
        }
    }

    /// Called between two requests.
    async fn pause(&mut self, call: Call) -> Result<()> {
        if self.stall && call.generation % 4 == 3 && call.attempt == 0 {
            // As a request would that takes too long.
            sleep((call.deadline - Instant::now()).mul_f64(1.5)).await;
            return Ok(());
        }
        // The arrival of an earlier attempt was still counted, and completed this generation.
        if call.generation < self.server.barrier.generation() {
            return Ok(());
        }
        let start = Instant::now();
        if self.server.quiesce(call).await {
            self.pauses.record(start.elapsed().as_nanos() as u64)?;
        }
        Ok(())
    }
}

/// Makes one request after the other until it is told that all is done, or has made the last one.
/// Returns how many answers it has got.
async fn client(mut stream: TcpStream, most: u32, mut done: watch::Receiver<bool>) -> Result<u64> {
    let (answers, mut requests) = stream.split();
    let mut answers = BufReader::new(answers).lines();
    let mut count = 0;
    for number in 0..most as usize {
        if *done.borrow() {
            break;
        }
        let hundreds = 1 + number % 100;
        requests
            .write_all(format!("{hundreds}\n").as_bytes())
            .await?;
        let answer = answers.next_line().await?.context("the server hung up")?;
        let right = CURRENCIES
            .iter()
            .any(|(currency, rate)| answer == format!("{} {currency}", hundreds * rate));
        ensure!(
            right,
            "the answer to {hundreds} was torn between two configurations: {answer}"
        );
        count += 1;
    }
    done.wait_for(|done| *done).await?;
    Ok(count)
}
