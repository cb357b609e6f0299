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
const STAYING: usize = 4;
/// How many tasks start participants that leave before the end, one after another.
const SPAWNERS: usize = 4;

/// What is known of one phase.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    /// Of the participants that stay, how many have seen it.
    staying: usize,
    leaders: u8,
}

struct Stress {
    phaser: Phaser,
    phases: Mutex<Vec<Record>>,
    /// Of all, as the watchdog wants to see it.
    progress: AtomicU64,
    withdrawn: AtomicU64,
    leavers: AtomicU64,
    panics: AtomicU64,
}

impl Stress {
    fn new() -> Self {
        Self {
            phaser: Phaser::new(),
            phases: Mutex::default(),
            progress: AtomicU64::new(0),
            withdrawn: AtomicU64::new(0),
            leavers: AtomicU64::new(0),
            panics: AtomicU64::new(0),
        }
    }

    fn record(&self, phase: u64, leads: bool, stays: bool) {
        let mut phases = self.phases.lock().unwrap();
        let index = phase as usize;
        if phases.len() <= index {
            phases.resize(index + 1, Record::default());
        }
        phases[index].staying += usize::from(stays);
        phases[index].leaders += u8::from(leads);
        self.progress.fetch_add(1, Ordering::Relaxed);
    }

    /// To be called when no participant is left.
    fn check(&self, name: &str, with_leavers: bool) {
        let phases = mem::take(&mut *self.phases.lock().unwrap());
        let led = phases.iter().filter(|record| record.leaders == 1).count();
        let [withdrawn, leavers, panics] = [&self.withdrawn, &self.leavers, &self.panics]
            .map(|counter| counter.load(Ordering::Relaxed));
        println!(
            "{name}: {} phases, of which {led} have a leader on record; \
            {withdrawn} waits withdrawn, {leavers} participants that left, {panics} panics",
            phases.len(),
        );
        for (phase, record) in phases.iter().enumerate() {
            assert_eq!(record.staying, STAYING, "{name}: phase {phase}: {record:?}");
            assert!(record.leaders <= 1, "{name}: phase {phase}: {record:?}");
        }
        // A participant that leaves may have led without recording it, or complete a phase while nobody waits.
        assert!(with_leavers || led == phases.len());
        assert_eq!(self.phaser.phase(), phases.len() as u64);
        assert_eq!((self.phaser.parties(), self.phaser.is_closed()), (0, true));
        assert!(led > 0 && self.has_seen_all(with_leavers));
    }

    /// Whether the run has seen all that it is for.
    fn has_seen_all(&self, with_leavers: bool) -> bool {
        let seen = |counter: &AtomicU64| counter.load(Ordering::Relaxed) > 0;
        seen(&self.withdrawn) && (!with_leavers || seen(&self.panics))
    }
}

async fn yields(n: u64) {
    for _ in 0..n {
        yield_now().await;
    }
}

/// Drops `wait` after a while.
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

/// The methods by which a participant waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Methods {
    Async,
    /// Those that block the thread, too.
    Blocking,
}

/// Waits for one phase by a random method. Returns whether the participant led it.
async fn meet(
    stress: &Stress,
    participant: &mut Participant,
    random: &mut Random,
    methods: Methods,
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
            2 if methods == Methods::Blocking => {
                let time = Duration::from_micros(random.below(100));
                match participant.wait_blocking_timeout(time) {
                    Err(WaitError::TimedOut) => None,
                    Err(_) => Some(Err(closed())),
                    Ok(result) => Some(Ok(result)),
                }
            }
            3 if methods == Methods::Blocking => Some(participant.wait_blocking()),
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
async fn stay(
    stress: Arc<Stress>,
    mut participant: Participant,
    mut random: Random,
    methods: Methods,
) {
    let mut phase = 0;
    while let Ok(leads) = meet(&stress, &mut participant, &mut random, methods, phase).await {
        stress.record(phase, leads, true);
        phase += 1;
    }
    assert!(stress.phaser.is_closed());
}

/// Takes part in some consecutive phases and leaves, by a random end.
async fn take_part(
    stress: Arc<Stress>,
    mut participant: Participant,
    mut random: Random,
    methods: Methods,
) {
    stress.leavers.fetch_add(1, Ordering::Relaxed);
    let first = participant.phase();
    for phase in first..first + random.below(6) {
        assert_eq!(participant.phase(), phase);
        match meet(&stress, &mut participant, &mut random, methods, phase).await {
            Ok(leads) => stress.record(phase, leads, false),
            Err(_) => return,
        }
    }
    match random.below(5) {
        0 => _ = participant.arrive(),
        1 => _ = for_a_while(participant.wait(), &mut random).await,
        2 => _ = for_a_while(participant.wait_leader(), &mut random).await,
        3 => {
            stress.panics.fetch_add(1, Ordering::Relaxed);
            resume_unwind(Box::new("a leaver"));
        }
        _ => {}
    }
}

/// The same, with its panic caught.
async fn leaver(stress: Arc<Stress>, participant: Participant, seed: usize, methods: Methods) {
    let take_part = take_part(stress, participant, Random::of_party(seed), methods);
    if let Err(panic) = AssertUnwindSafe(take_part).catch_unwind().await {
        if panic.downcast_ref() != Some(&"a leaver") {
            resume_unwind(panic);
        }
    }
}

/// Starts participants one after another, and aborts some of them.
async fn spawner_on_tokio(stress: Arc<Stress>, mut random: Random) {
    while let Ok(participant) = stress.phaser.register() {
        let seed = random.below(1 << 20) as usize;
        let task = tokio::spawn(leaver(stress.clone(), participant, seed, Methods::Async));
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
async fn spawner(
    stress: Arc<Stress>,
    mut random: Random,
    executor: Option<&smol::Executor<'static>>,
) {
    while let Ok(participant) = stress.phaser.register() {
        let seed = random.below(1 << 20) as usize;
        match executor {
            Some(executor) => {
                let task =
                    executor.spawn(leaver(stress.clone(), participant, seed, Methods::Async));
                if random.below(3) == 0 {
                    yields(random.below(40)).await;
                    task.cancel().await;
                } else {
                    task.await;
                }
            }
            None => leaver(stress.clone(), participant, seed, Methods::Blocking).await,
        }
        observe(&stress, &mut random).await;
    }
}

async fn observe(stress: &Stress, random: &mut Random) {
    let phase = stress.phaser.phase() + random.below(2);
    match for_a_while(stress.phaser.observe(phase), random).await {
        Some(Ok(())) => {
            let current = stress.phaser.phase();
            assert!(current > phase, "phase {phase} is over in {current}");
        }
        Some(Err(_)) => assert!(stress.phaser.is_closed()),
        None => {}
    }
}

/// Runs participants of one phaser and closes it when the time is up. `drive` gets those that stay and the
/// number of spawners, and returns when all are done.
fn run(name: &str, drive: impl Fn(&Arc<Stress>, Vec<Participant>, usize) + Sync) {
    const RUNTIMES: usize = 4;

    let time = time_of_each(RUNTIMES * 2, 10.0);

    for spawners in [0, SPAWNERS] {
        let stress = Arc::new(Stress::new());
        let staying = stress.phaser.register_many(STAYING).unwrap();
        let (watched, over) = channel();
        thread::scope(|scope| {
            let stress = &stress;
            let drive = &drive;
            scope.spawn(move || watch(name, &stress.progress, &stress.phaser, &over));
            let driver = scope.spawn(move || drive(stress, staying, spawners));
            pass(time, || stress.has_seen_all(spawners > 0));
            stress.phaser.close();
            let driven = driver.join();
            drop(watched);
            if let Err(panic) = driven {
                resume_unwind(panic);
            }
        });
        stress.check(name, spawners > 0);
    }
}

fn randoms() -> impl Iterator<Item = Random> {
    (0..).map(Random::of_party)
}

fn run_on_tokio(name: &str, runtime: impl Fn() -> Runtime + Sync) {
    run(name, |stress, staying, spawners| {
        runtime().block_on(async {
            let staying = staying
                .into_iter()
                .zip(randoms())
                .map(|(participant, random)| {
                    tokio::spawn(stay(stress.clone(), participant, random, Methods::Async))
                });
            let staying: Vec<_> = staying.collect();
            let spawners = (0..spawners)
                .map(|n| tokio::spawn(spawner_on_tokio(stress.clone(), Random::of_party(100 + n))));
            try_join_all(staying.into_iter().chain(spawners))
                .await
                .unwrap();
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
    run("smol, 2 threads", |stress, staying, spawners| {
        let executor: &'static smol::Executor<'static> = Box::leak(Box::default());
        let (done, finished) = smol::channel::bounded::<()>(1);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| block_on(executor.run(finished.recv())));
            }
            let staying = staying
                .into_iter()
                .zip(randoms())
                .map(|(participant, random)| {
                    executor.spawn(stay(stress.clone(), participant, random, Methods::Async))
                });
            let staying: Vec<_> = staying.collect();
            let spawners = (0..spawners).map(|n| {
                executor.spawn(spawner(
                    stress.clone(),
                    Random::of_party(100 + n),
                    Some(executor),
                ))
            });
            block_on(join_all(staying.into_iter().chain(spawners)));
            drop(done);
        });
    });
}

#[test]
fn plain_threads() {
    run("threads", |stress, staying, spawners| {
        thread::scope(|scope| {
            for (participant, random) in staying.into_iter().zip(randoms()) {
                scope.spawn(|| {
                    block_on(stay(stress.clone(), participant, random, Methods::Blocking))
                });
            }
            for n in 0..spawners {
                scope.spawn(move || {
                    block_on(spawner(stress.clone(), Random::of_party(100 + n), None))
                });
            }
        });
    });
}
