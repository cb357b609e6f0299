//! A phaser with participants that register, leave, drop waits, panic and are aborted, until the time is up and it
//! is closed.

use core::{
    future::Future,
    mem,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex, mpsc::channel},
    thread,
};

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Participant, WaitError},
};
use futures::{
    FutureExt,
    future::{Either, join_all, select, try_join_all},
};
use smol::future::yield_now;
use tokio::runtime::{Builder, Runtime};

use support::{
    block_on::block_on,
    phasers::closed,
    random::Random,
    stress_run::{pass, time_of_each, watch},
};

/// The participants that stay until the end.
const CORE: usize = 4;
/// How many hosts let guests come and go beside them.
const HOSTS: usize = 4;

/// What is known of one phase.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Of the participants that stay, how many have seen it.
    core: usize,
    leaders: u8,
}

struct Stress {
    phaser: Phaser,
    books: Mutex<Vec<Entry>>,
    /// Of all, as the watchdog wants to see it.
    progress: AtomicU64,
    withdrawn: AtomicU64,
    guests: AtomicU64,
    panics: AtomicU64,
}

impl Stress {
    fn new() -> Self {
        Self {
            phaser: Phaser::new(),
            books: Mutex::default(),
            progress: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
            guests: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    fn enter(&self, phase: u64, leads: bool, stays: bool) {
        let mut books = self.books.lock().unwrap();
        let place = phase as usize;
        if books.len() <= place {
            books.resize(place + 1, Entry::default());
        }
        books[place].core += usize::from(stays);
        books[place].leaders += u8::from(leads);
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// To be called when nobody is left.
    fn check(&self, name: &str, with_guests: bool) {
        let books = mem::take(&mut *self.books.lock().unwrap());
        let led = books.iter().filter(|entry| entry.leaders == 1).count();
        let [withdrawn, guests, panics] = [&self.withdrawn, &self.guests, &self.panics]
            .map(|counter| counter.load(Ordering::Relaxed));
        println!(
            "{name}: {} phases, of which {led} have a leader that says so; \
            {withdrawn} waits withdrawn, {guests} guests, {panics} panics",
            books.len(),
        );
        for (phase, entry) in books.iter().enumerate() {
            assert_eq!(entry.core, CORE, "{name}: phase {phase}: {entry:?}");
            assert!(entry.leaders <= 1, "{name}: phase {phase}: {entry:?}");
        }
        // A guest may go without a word that it led, or complete a phase by going while nobody waits.
        assert!(with_guests || led == books.len());
        assert_eq!(self.phaser.phase(), books.len() as u64);
        assert_eq!((self.phaser.parties(), self.phaser.is_closed()), (0, true));
        assert!(led > 0 && self.has_seen_all(with_guests));
    }

    /// What was not put to the test was not shown.
    fn has_seen_all(&self, with_guests: bool) -> bool {
        let seen = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
        seen(&self.withdrawn) && (!with_guests || seen(&self.panics))
    }
}

async fn yields(n: u64) {
    for _ in 0..n {
        yield_now().await;
    }
}

/// Gives `wait` up after a while.
async fn for_a_while<T>(wait: impl Future<Output = T>, random: &mut Random) -> Option<T> {
    let time = async {
        match random.below(20) {
            0 => _ = smol::Timer::after(Duration::from_micros(random.below(1000))).await,
            _ => yields(random.below(8)).await,
        }
    };
    match select(Box::pin(wait), Box::pin(time)).await {
        Either::Left((ready, _)) => Some(ready),
        Either::Right(_) => None,
    }
}

/// How a participant may wait for its phase.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ways {
    OfTasks,
    /// It may block its thread, too.
    OfThreads,
}

/// One phase, waited for in a random way. Returns whether the participant led it.
async fn meet(
    stress: &Stress,
    participant: &mut Participant,
    random: &mut Random,
    ways: Ways,
    phase: u64,
) -> Result<bool, Closed> {
    if random.below(6) == 0 {
        assert_eq!(participant.arrive()?, phase);
        yields(random.below(4)).await;
    } else if random.below(6) == 0 {
        let leader = participant.wait_leader().await?;
        if let Some(leader) = &leader {
            assert_eq!(leader.phase(), phase);
            yields(random.below(4)).await;
            // It is not over while the release is held.
            assert_eq!(stress.phaser.phase(), phase);
        }
        return Ok(leader.is_some());
    }
    loop {
        let result = match random.below(4) {
            0 | 1 => for_a_while(participant.wait(), random).await,
            2 if ways == Ways::OfThreads => {
                let time = Duration::from_micros(random.below(100));
                match participant.wait_blocking_timeout(time) {
                    Err(WaitError::TimedOut) => None,
                    Err(_) => Some(Err(closed())),
                    Ok(result) => Some(Ok(result)),
                }
            }
            3 if ways == Ways::OfThreads => Some(participant.wait_blocking()),
            _ => Some(participant.wait().await),
        };
        match result {
            Some(result) => {
                let result = result?;
                assert_eq!(result.phase(), phase);
                return Ok(result.is_leader());
            }
            None => stress.withdrawn.fetch_add(1, Ordering::Relaxed),
        };
    }
}

/// Stays until the phaser is closed, and sees every phase.
async fn stay(stress: Arc<Stress>, mut participant: Participant, mut random: Random, ways: Ways) {
    let mut phase = 0;
    while let Ok(leads) = meet(&stress, &mut participant, &mut random, ways, phase).await {
        stress.enter(phase, leads, true);
        phase += 1;
    }
    assert!(stress.phaser.is_closed());
}

/// Sees some consecutive phases and goes, one way or another.
async fn visit(stress: Arc<Stress>, mut participant: Participant, mut random: Random, ways: Ways) {
    stress.guests.fetch_add(1, Ordering::Relaxed);
    let first = participant.phase();
    for phase in first..first + random.below(6) {
        assert_eq!(participant.phase(), phase);
        match meet(&stress, &mut participant, &mut random, ways, phase).await {
            Ok(leads) => stress.enter(phase, leads, false),
            Err(_) => return,
        }
    }
    match random.below(5) {
        0 => _ = participant.arrive(),
        1 => _ = for_a_while(participant.wait(), &mut random).await,
        2 => _ = for_a_while(participant.wait_leader(), &mut random).await,
        3 => {
            stress.panics.fetch_add(1, Ordering::Relaxed);
            resume_unwind(Box::new("a guest"));
        }
        _ => {}
    }
}

/// A guest whose panic stays its own.
async fn guest(stress: Arc<Stress>, participant: Participant, seed: usize, ways: Ways) {
    let visit = visit(stress, participant, Random::of_party(seed), ways);
    if let Err(panic) = AssertUnwindSafe(visit).catch_unwind().await {
        if panic.downcast_ref() != Some(&"a guest") {
            resume_unwind(panic);
        }
    }
}

/// Lets guests come, one after another, and aborts some of them.
async fn host_on_tokio(stress: Arc<Stress>, mut random: Random) {
    while let Ok(participant) = stress.phaser.register() {
        let seed = random.below(1 << 20) as usize;
        let task = tokio::spawn(guest(stress.clone(), participant, seed, Ways::OfTasks));
        if random.below(3) == 0 {
            yields(random.below(40)).await;
            task.abort();
        }
        if let Err(error) = task.await {
            assert!(error.is_cancelled(), "{error}");
        }
        observe(&stress, &mut random).await;
    }
}

/// The same on any executor. Without one there are no tasks to abort.
async fn host(stress: Arc<Stress>, mut random: Random, executor: Option<&smol::Executor<'static>>) {
    while let Ok(participant) = stress.phaser.register() {
        let seed = random.below(1 << 20) as usize;
        match executor {
            Some(executor) => {
                let task = executor.spawn(guest(stress.clone(), participant, seed, Ways::OfTasks));
                if random.below(3) == 0 {
                    yields(random.below(40)).await;
                    task.cancel().await;
                } else {
                    task.await;
                }
            }
            None => guest(stress.clone(), participant, seed, Ways::OfThreads).await,
        }
        observe(&stress, &mut random).await;
    }
}

async fn observe(stress: &Stress, random: &mut Random) {
    let phase = stress.phaser.phase() + random.below(2);
    match for_a_while(stress.phaser.observe(phase), random).await {
        Some(Ok(())) => {
            let present = stress.phaser.phase();
            assert!(present > phase, "phase {phase} is over in {present}");
        }
        Some(Err(_)) => assert!(stress.phaser.is_closed()),
        None => {}
    }
}

/// Runs participants of one phaser and closes it when the time is up. `drive` gets those that stay and the
/// number of hosts, and returns when all are done.
fn run(name: &str, drive: impl Fn(&Arc<Stress>, Vec<Participant>, usize) + Sync) {
    const RUNTIMES: usize = 4;

    let time = time_of_each(RUNTIMES * 2, 10.0);

    for hosts in [0, HOSTS] {
        let stress = Arc::new(Stress::new());
        let core = stress.phaser.register_many(CORE).unwrap();
        let (watched, over) = channel();
        thread::scope(|scope| {
            let stress = &stress;
            let drive = &drive;
            scope.spawn(move || watch(name, &stress.progress, &stress.phaser, &over));
            let driver = scope.spawn(move || drive(stress, core, hosts));
            pass(time, || stress.has_seen_all(hosts > 0));
            stress.phaser.close();
            let driven = driver.join();
            drop(watched);
            if let Err(panic) = driven {
                resume_unwind(panic);
            }
        });
        stress.check(name, hosts > 0);
    }
}

fn randoms() -> impl Iterator<Item = Random> {
    (0..).map(Random::of_party)
}

fn run_on_tokio(name: &str, runtime: impl Fn() -> Runtime + Sync) {
    run(name, |stress, core, hosts| {
        runtime().block_on(async {
            let core = core
                .into_iter()
                .zip(randoms())
                .map(|(participant, random)| {
                    tokio::spawn(stay(stress.clone(), participant, random, Ways::OfTasks))
                });
            let core: Vec<_> = core.collect();
            let hosts = (0..hosts).map(|host| {
                tokio::spawn(host_on_tokio(stress.clone(), Random::of_party(100 + host)))
            });
            try_join_all(core.into_iter().chain(hosts)).await.unwrap();
        });
    });
}

#[test]
fn tokio_on_one_thread() {
    run_on_tokio("tokio, one thread", || {
        Builder::new_current_thread().build().unwrap()
    });
}

#[test]
fn tokio_on_four_workers() {
    run_on_tokio("tokio, 4 workers", || {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(4).build().unwrap()
    });
}

#[test]
fn smol_on_two_threads() {
    run("smol, 2 threads", |stress, core, hosts| {
        let executor: &'static smol::Executor<'static> = Box::leak(Box::default());
        let (done, finished) = smol::channel::bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| block_on(executor.run(finished.recv())));
            }
            let core = core
                .into_iter()
                .zip(randoms())
                .map(|(participant, random)| {
                    executor.spawn(stay(stress.clone(), participant, random, Ways::OfTasks))
                });
            let core: Vec<_> = core.collect();
            let hosts = (0..hosts).map(|n| {
                executor.spawn(host(
                    stress.clone(),
                    Random::of_party(100 + n),
                    Some(executor),
                ))
            });
            block_on(join_all(core.into_iter().chain(hosts)));
            drop(done);
        });
    });
}

#[test]
fn plain_threads() {
    run("threads", |stress, core, hosts| {
        thread::scope(|scope| {
            for (participant, random) in core.into_iter().zip(randoms()) {
                scope
                    .spawn(|| block_on(stay(stress.clone(), participant, random, Ways::OfThreads)));
            }
            for n in 0..hosts {
                scope
                    .spawn(move || block_on(host(stress.clone(), Random::of_party(100 + n), None)));
            }
        });
    });
}
