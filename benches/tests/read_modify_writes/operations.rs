//! The operations that are counted.

use std::{
    pin::Pin,
    ptr,
    sync::Arc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

use atomic_barrier::phaser::{self, Observation, Participant, Phaser};

use atomic_barrier_benches::tasks::Party;

use crate::count::{counted, rehearse};

/// Counts one operation in a group of `n`.
type Scenario = fn(n: usize) -> usize;

/// How a figure comes from counts.
#[derive(Clone, Copy)]
enum Figure {
    /// The count in a group of so many.
    Of(usize),
    /// What one more in the group adds.
    EachMore,
    /// The count in a group of 64, divided by that.
    PerWait,
}

struct Operation {
    name: &'static str,
    figure: Figure,
    /// By column; columns without are at the end.
    scenarios: &'static [Scenario],
}

pub(crate) struct Table {
    pub(crate) name: &'static str,
    columns: &'static [&'static str],
    operations: &'static [Operation],
}

macro_rules! of_each {
    ($scenario:ident: $($party:ty),*) => { &[$($scenario::<$party>),*] };
}

macro_rules! barriers {
    ($scenario:ident) => {
        of_each!($scenario: Arc<atomic_barrier::Barrier>, Arc<tokio::sync::Barrier>,
            Arc<async_lock::Barrier>, Arc<asyncband::barrier::Barrier>)
    };
}

macro_rules! phasers {
    ($scenario:ident) => {
        of_each!($scenario: atomic_barrier::phaser::Participant, asyncband::phaser::PhaserParticipant)
    };
}

macro_rules! table {
    ($name:literal, $columns:expr, [$(($operation:literal, $figure:expr, $scenarios:expr)),* $(,)?]) => {
        Table {
            name: $name,
            columns: $columns,
            operations: &[$(Operation {
                name: $operation,
                figure: $figure,
                scenarios: $scenarios,
            }),*],
        }
    };
}

const BARRIERS: Table = table!(
    "Barrier",
    &["atomic-barrier", "tokio", "async-lock", "asyncband"],
    [
        ("first poll of a wait", Figure::Of(4), barriers!(first_poll)),
        (
            "poll again, same waker",
            Figure::Of(4),
            barriers!(same_waker)
        ),
        (
            "poll again, another waker",
            Figure::Of(4),
            barriers!(another_waker)
        ),
        ("drop while waiting", Figure::Of(4), barriers!(drop_waiting)),
        (
            "last arrival, releases one waiter",
            Figure::Of(2),
            barriers!(last_arrival)
        ),
        (
            "each further waiter that it releases",
            Figure::EachMore,
            barriers!(last_arrival)
        ),
        (
            "poll after the release",
            Figure::Of(4),
            barriers!(poll_released)
        ),
        (
            "drop after the release, not polled",
            Figure::Of(4),
            barriers!(drop_released)
        ),
        (
            "a generation of 64, per wait",
            Figure::PerWait,
            barriers!(generation)
        ),
        ("`arrive`", Figure::Of(4), &[arrive]),
        ("first poll of an `Arrival`", Figure::Of(4), &[arrival_poll]),
        (
            "drop of an `Arrival`, not polled",
            Figure::Of(4),
            &[arrival_drop]
        ),
        (
            "first poll of an `Observation`",
            Figure::Of(4),
            &[observation_poll]
        ),
        (
            "drop of an `Observation` that waits",
            Figure::Of(4),
            &[observation_drop]
        ),
        (
            "last arrival, releases one observer",
            Figure::Of(1),
            &[observed_arrival]
        ),
        (
            "last arrival, holds the release",
            Figure::Of(2),
            &[barrier_hold]
        ),
        (
            "drop of a `Leader`, releases one waiter",
            Figure::Of(2),
            &[barrier_release]
        ),
        (
            "`wait_blocking`, the last arrival, releases one waiter",
            Figure::Of(2),
            &[barrier_blocking]
        ),
    ]
);

const PHASERS: Table = table!(
    "Phaser",
    &["atomic-barrier", "asyncband"],
    [
        (
            "first poll of a wait, same waker as before",
            Figure::Of(4),
            phasers!(first_poll)
        ),
        (
            "first poll of a wait, another waker",
            Figure::Of(4),
            phasers!(first_poll_another)
        ),
        (
            "poll again, same waker",
            Figure::Of(4),
            phasers!(same_waker)
        ),
        (
            "poll again, another waker",
            Figure::Of(4),
            phasers!(another_waker)
        ),
        ("drop while waiting", Figure::Of(4), phasers!(drop_waiting)),
        (
            "last arrival, releases one waiter",
            Figure::Of(2),
            phasers!(last_arrival)
        ),
        (
            "each further waiter that it releases",
            Figure::EachMore,
            phasers!(last_arrival)
        ),
        (
            "poll after the release",
            Figure::Of(4),
            phasers!(poll_released)
        ),
        (
            "drop after the release, not polled",
            Figure::Of(4),
            phasers!(drop_released)
        ),
        (
            "a phase of 64, per wait",
            Figure::PerWait,
            phasers!(generation)
        ),
        (
            "leave, not the last to arrive",
            Figure::Of(4),
            phasers!(leave)
        ),
        ("`named`", Figure::Of(4), &[name]),
        (
            "first poll of a wait, with a name",
            Figure::Of(4),
            &[named_poll]
        ),
        (
            "leave, with a name, not the last to arrive",
            Figure::Of(4),
            &[named_leave]
        ),
        ("`missing`, when nobody is", Figure::Of(0), &[missing]),
        (
            "each participant that it names",
            Figure::EachMore,
            &[missing]
        ),
        ("`arrive`", Figure::Of(4), &[participant_arrive]),
        (
            "first poll of an `Observation`",
            Figure::Of(4),
            &[phase_observation_poll]
        ),
        (
            "drop of an `Observation` that waits",
            Figure::Of(4),
            &[phase_observation_drop]
        ),
        (
            "last arrival, releases one waiter and one observer",
            Figure::Of(2),
            &[observed_phase]
        ),
        (
            "last arrival, releases one waiter after an action",
            Figure::Of(2),
            &[acting_arrival]
        ),
        (
            "leave, the last missing of three, releases one waiter after an action",
            Figure::Of(3),
            &[acting_departure]
        ),
        (
            "last arrival, holds the release",
            Figure::Of(2),
            &[phaser_hold]
        ),
        (
            "drop of a `Leader`, releases one waiter",
            Figure::Of(2),
            &[phaser_release]
        ),
        (
            "`wait_blocking`, the last arrival, releases one waiter",
            Figure::Of(2),
            &[phaser_blocking]
        ),
    ]
);

pub(crate) const TABLES: [Table; 2] = [BARRIERS, PHASERS];

impl Table {
    /// The table in Markdown.
    pub(crate) fn count(&self) -> String {
        let columns = self.columns;
        let mut page = format!("| | {} |\n", columns.join(" | "));
        page += &format!("|---|{}\n", "---:|".repeat(columns.len()));
        for operation in self.operations {
            page += &format!("| {} |", operation.name);
            for column in 0..columns.len() {
                let figure = operation.scenarios.get(column).map(|scenario| {
                    let count = |n| {
                        rehearse(|| scenario(n));
                        scenario(n)
                    };
                    match operation.figure {
                        Figure::Of(n) => count(n).to_string(),
                        Figure::EachMore => per(count(34).saturating_sub(count(2)), 32),
                        Figure::PerWait => per(count(64), 64),
                    }
                });
                page += &format!(" {} |", figure.as_deref().unwrap_or("–"));
            }
            page += "\n";
        }
        page
    }
}

/// A quotient, with a decimal if it needs one.
fn per(count: usize, of: usize) -> String {
    match count % of {
        0 => (count / of).to_string(),
        _ => format!("{:.1}", count as f64 / of as f64),
    }
}

type Wait<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A waker that costs nothing to clone; those of two numbers are different wakers.
fn waker(number: usize) -> Waker {
    const VTABLE: RawWakerVTable = RawWakerVTable::new(raw, |_| {}, |_| {}, |_| {});
    const fn raw(data: *const ()) -> RawWaker {
        RawWaker::new(data, &VTABLE)
    }
    // SAFETY: the functions do nothing with what they are given, on any thread.
    unsafe { Waker::from_raw(raw(ptr::without_provenance(number))) }
}

fn poll(wait: &mut Wait, number: usize) -> bool {
    let waker = waker(number);
    wait.as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_ready()
}

fn waits<P: Party>(parties: &mut [P]) -> Vec<Wait<'_>> {
    let waits = parties
        .iter_mut()
        .map(|party| Box::pin(party.wait()) as Wait);
    waits.collect()
}

/// All waits of a generation.
fn complete(waits: &mut [Wait]) {
    let (last, others) = waits.split_last_mut().expect("a group is not empty");
    for wait in &mut *others {
        assert!(!poll(wait, 0));
    }
    assert!(poll(last, 0));
    for wait in others {
        assert!(poll(wait, 0));
    }
}

/// A group that has completed a generation.
fn group<P: Party>(n: usize) -> Vec<P> {
    let mut parties = P::group(n);
    complete(&mut waits(&mut parties));
    parties
}

fn count_poll(wait: &mut Wait, number: usize, is_ready: bool) -> usize {
    let (count, ready) = counted(|| poll(wait, number));
    assert!(ready == is_ready);
    count
}

fn first_poll<P: Party>(n: usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    count_poll(&mut waits[0], 0, false)
}

fn first_poll_another<P: Party>(n: usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    count_poll(&mut waits[0], 1, false)
}

fn poll_again<P: Party>(n: usize, number: usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    assert!(!poll(&mut waits[0], 0));
    count_poll(&mut waits[0], number, false)
}

fn same_waker<P: Party>(n: usize) -> usize {
    poll_again::<P>(n, 0)
}

fn another_waker<P: Party>(n: usize) -> usize {
    poll_again::<P>(n, 1)
}

fn drop_waiting<P: Party>(n: usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    assert!(!poll(&mut waits[0], 0));
    let wait = waits.swap_remove(0);
    counted(|| drop(wait)).0
}

fn last_arrival<P: Party>(n: usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    for wait in &mut waits[1..] {
        assert!(!poll(wait, 0));
    }
    count_poll(&mut waits[0], 0, true)
}

fn released<P: Party>(n: usize, act: impl FnOnce(Wait) -> usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    for wait in &mut waits[1..] {
        assert!(!poll(wait, 0));
    }
    assert!(poll(&mut waits[0], 0));
    act(waits.swap_remove(1))
}

fn poll_released<P: Party>(n: usize) -> usize {
    released::<P>(n, |mut wait| count_poll(&mut wait, 0, true))
}

fn drop_released<P: Party>(n: usize) -> usize {
    released::<P>(n, |wait| counted(|| drop(wait)).0)
}

fn generation<P: Party>(n: usize) -> usize {
    let mut parties = group::<P>(n);
    let mut waits = waits(&mut parties);
    counted(|| {
        complete(&mut waits);
        waits.clear();
    })
    .0
}

fn leave<P: Party>(n: usize) -> usize {
    let mut parties = group::<P>(n);
    let party = parties.pop();
    counted(|| drop(party)).0
}

/// A barrier that has completed a generation.
fn barrier(n: usize) -> Arc<atomic_barrier::Barrier> {
    group(n).swap_remove(0)
}

fn arrive(n: usize) -> usize {
    let barrier = barrier(n);
    counted(|| barrier.arrive()).0
}

fn arrival_poll(n: usize) -> usize {
    let barrier = barrier(n);
    let mut arrival = Box::pin(barrier.arrive());
    let waker = waker(0);
    let cx = &mut Context::from_waker(&waker);
    let (count, poll) = counted(|| arrival.as_mut().poll(cx));
    assert!(poll.is_pending());
    count
}

fn observation_poll(n: usize) -> usize {
    let barrier = barrier(n);
    let mut observation = Box::pin(barrier.observe(barrier.generation()));
    let waker = waker(0);
    let cx = &mut Context::from_waker(&waker);
    let (count, poll) = counted(|| observation.as_mut().poll(cx));
    assert!(poll.is_pending());
    count
}

fn observation_drop(n: usize) -> usize {
    let barrier = barrier(n);
    let mut observation = barrier.observe(barrier.generation());
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut observation).poll(cx).is_pending());
    counted(|| drop(observation)).0
}

fn observed_arrival(n: usize) -> usize {
    let barrier = barrier(n);
    let mut observation = barrier.observe(barrier.generation());
    let waker = waker(0);
    let cx = &mut Context::from_waker(&waker);
    assert!(Pin::new(&mut observation).poll(cx).is_pending());
    counted(|| barrier.arrive()).0
}

fn arrival_drop(n: usize) -> usize {
    let barrier = barrier(n);
    let arrival = barrier.arrive();
    counted(|| drop(arrival)).0
}

fn named(n: usize) -> Vec<Participant> {
    let name = Arc::<str>::from("named");
    let participants = group::<Participant>(n).into_iter();
    participants.map(|it| it.named(name.clone())).collect()
}

fn name(n: usize) -> usize {
    let mut participants = group::<Participant>(n);
    let name = Arc::<str>::from("named");
    // Makes the slots.
    let _other = participants.remove(0).named(name.clone());
    let participant = participants.remove(0);
    let (count, _participant) = counted(|| participant.named(name));
    count
}

fn named_poll(n: usize) -> usize {
    let mut participants = named(n);
    let mut waits = waits(&mut participants);
    count_poll(&mut waits[0], 0, false)
}

fn named_leave(n: usize) -> usize {
    let mut participants = named(n);
    let participant = participants.pop();
    counted(|| drop(participant)).0
}

/// Beside a participant without a name.
fn missing(n: usize) -> usize {
    let phaser = Phaser::new();
    let _unnamed = phaser.register().unwrap();
    let participants = phaser.register_many(n).unwrap().into_iter();
    let _named: Vec<_> = participants.map(|it| it.named("named")).collect();
    counted(|| phaser.missing()).0
}

/// The last of a group, in which the others wait.
fn last_of(n: usize, act: impl FnOnce(&atomic_barrier::Barrier) -> usize) -> usize {
    let barrier = barrier(n);
    let mut others = vec![barrier.clone(); n - 1];
    let mut waits = waits(&mut others);
    for wait in &mut waits {
        assert!(!poll(wait, 0));
    }
    act(&barrier)
}

fn barrier_lead(n: usize, act: fn(usize, atomic_barrier::barrier::Leader<'_>) -> usize) -> usize {
    last_of(n, |barrier| {
        let mut wait = barrier.wait_leader();
        let cx = &mut Context::from_waker(Waker::noop());
        let (count, polled) = counted(|| Pin::new(&mut wait).poll(cx));
        match polled {
            Poll::Ready(Some(leader)) => act(count, leader),
            _ => panic!("should lead"),
        }
    })
}

fn barrier_hold(n: usize) -> usize {
    barrier_lead(n, |count, _| count)
}

fn barrier_release(n: usize) -> usize {
    barrier_lead(n, |_, leader| counted(|| drop(leader)).0)
}

fn barrier_blocking(n: usize) -> usize {
    last_of(n, |barrier| counted(|| barrier.wait_blocking()).0)
}

/// Participants of `phaser`, of which all but the last wait, and that one.
fn last_participant(phaser: &Phaser, n: usize, act: impl FnOnce(Participant) -> usize) -> usize {
    let mut others = phaser.register_many(n).expect("few enough");
    complete(&mut waits(&mut others));
    let last = others.pop().expect("a group is not empty");
    let mut waits = waits(&mut others);
    for wait in &mut waits {
        assert!(!poll(wait, 0));
    }
    act(last)
}

fn participant_arrive(n: usize) -> usize {
    let mut participants = group::<Participant>(n);
    counted(|| participants[0].arrive()).0
}

fn phase_observation(n: usize, act: fn(usize, Observation<'_>) -> usize) -> usize {
    let phaser = Phaser::new();
    let _participants = phaser.register_many(n).expect("few enough");
    // The first slots are there.
    let cx = &mut Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut phaser.observe(0)).poll(cx).is_pending());
    let mut observation = phaser.observe(0);
    let waker = waker(0);
    let cx = &mut Context::from_waker(&waker);
    let (count, polled) = counted(|| Pin::new(&mut observation).poll(cx));
    assert!(polled.is_pending());
    act(count, observation)
}

fn phase_observation_poll(n: usize) -> usize {
    phase_observation(n, |count, _| count)
}

fn phase_observation_drop(n: usize) -> usize {
    phase_observation(n, |_, observation| counted(|| drop(observation)).0)
}

fn observed_phase(n: usize) -> usize {
    let phaser = Phaser::new();
    last_participant(&phaser, n, |mut last| {
        let mut observation = phaser.observe(phaser.phase());
        let waker = waker(0);
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut observation).poll(cx).is_pending());
        counted(|| last.arrive()).0
    })
}

fn acting() -> Phaser {
    Phaser::builder().on_phase(|_, _| ()).build()
}

fn acting_arrival(n: usize) -> usize {
    last_participant(&acting(), n, |mut last| counted(|| last.arrive()).0)
}

fn acting_departure(n: usize) -> usize {
    let phaser = acting();
    let mut others = phaser.register_many(n).expect("few enough");
    complete(&mut waits(&mut others));
    let (mut arrives, leaves) = (others.pop(), others.pop());
    let mut waits = waits(&mut others);
    for wait in &mut waits {
        assert!(!poll(wait, 0));
    }
    let arrived = arrives.as_mut().map(Participant::arrive);
    assert!(arrived.is_some_and(|arrived| arrived.is_ok()));
    counted(|| drop(leaves)).0
}

fn phaser_lead(n: usize, act: fn(usize, phaser::Leader<'_>) -> usize) -> usize {
    last_participant(&Phaser::new(), n, |mut last| {
        let mut wait = last.wait_leader();
        let waker = waker(0);
        let cx = &mut Context::from_waker(&waker);
        let (count, polled) = counted(|| Pin::new(&mut wait).poll(cx));
        match polled {
            Poll::Ready(Ok(Some(leader))) => act(count, leader),
            _ => panic!("should lead"),
        }
    })
}

fn phaser_hold(n: usize) -> usize {
    phaser_lead(n, |count, _| count)
}

fn phaser_release(n: usize) -> usize {
    phaser_lead(n, |_, leader| counted(|| drop(leader)).0)
}

fn phaser_blocking(n: usize) -> usize {
    last_participant(&Phaser::new(), n, |mut last| {
        counted(|| last.wait_blocking()).0
    })
}
