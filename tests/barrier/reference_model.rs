//! Random scripts, run by the barrier and by a model that is too simple to be wrong.

use core::{
    array,
    cell::Cell,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::{env, sync::Arc};

use atomic_barrier::barrier::{
    Arrival, Barrier, Leader, Observation, OwnedArrival, OwnedLeader, OwnedWait, OwnedWaitLeader,
    Wait, WaitLeader,
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use support::polling::{CountingWaker, Outcome, poll};

/// The wakers that polls choose from. Several futures may be polled with the same.
const WAKERS: usize = 4;

/// The ways to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Wait,
    Owned,
    Arrive,
    OwnedArrive,
    Leader,
    OwnedLeader,
    /// Of the generation before the current one, of that, or of one after it.
    Observe,
}

impl Kind {
    pub(crate) fn is_owned(self) -> bool {
        matches!(self, Kind::Owned | Kind::OwnedArrive | Kind::OwnedLeader)
    }

    pub(crate) fn arrives_at_once(self) -> bool {
        matches!(self, Kind::Arrive | Kind::OwnedArrive)
    }

    pub(crate) fn withdraws(self) -> bool {
        !self.arrives_at_once() && self != Kind::Observe
    }

    pub(crate) fn holds(self) -> bool {
        matches!(self, Kind::Leader | Kind::OwnedLeader)
    }
}

/// One step. A future goes by its number, in the order in which they were made.
#[derive(Clone, Copy, Debug)]
enum Op {
    New(Kind),
    /// Observes this many generations after the last that is over.
    Observe(u64),
    Poll {
        future: usize,
        waker: usize,
    },
    /// With the waker of the last time, as after a spurious wake.
    PollAgain(usize),
    Drop(usize),
    Forget(usize),
    /// The leader that holds the release lets go.
    Release,
}

/// A step before it is known which futures there are: its kind, which of them, and which waker.
/// Whatever shrinking takes away before it, it finds something to do.
type Choice = (u8, usize, usize);

/// The number of parties, and the steps.
type Script = (usize, Vec<Choice>);

fn scripts() -> impl Strategy<Value = Script> {
    (1..=6_usize, vec((0..15_u8, 0..60_usize, 0..WAKERS), 0..200))
}

/// The step that `choice` makes when these futures are there, if it makes one.
fn decide(
    (choice, which, waker): Choice,
    parties: usize,
    live: &[Live<'_>],
    is_held: bool,
) -> Option<Op> {
    match choice {
        0..4 => {
            let op = match which % 9 {
                0 => Op::New(Kind::Wait),
                1 => Op::New(Kind::Owned),
                2 => Op::New(Kind::Arrive),
                3 => Op::New(Kind::OwnedArrive),
                4 | 5 => Op::New(Kind::Leader),
                6 | 7 => Op::New(Kind::OwnedLeader),
                _ => Op::Observe(waker as u64),
            };
            return (live.len() < 3 * parties).then_some(op);
        }
        4 => return is_held.then_some(Op::Release),
        _ => {}
    }
    let chosen = live.get(which % live.len().max(1))?;
    let future = chosen.number;
    match choice {
        5..12 if chosen.ready => None,
        5..11 => Some(Op::Poll { future, waker }),
        11 => Some(Op::PollAgain(future)),
        // A forgotten owned wait would keep the barrier for ever.
        14 if !chosen.kind.is_owned() => Some(Op::Forget(future)),
        _ => Some(Op::Drop(future)),
    }
}

/// How far a party has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Neither counted nor waiting for anything.
    New,
    /// Not counted before this generation is released.
    Queued(u64),
    Counted(u64),
    /// The last of this generation.
    Led(u64),
}

/// The barrier as it is meant: one step after another, and no slot, word or memory order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Model {
    parties: usize,
    pub(crate) generation: u64,
    /// In this generation and, from `parties` on, in the next while a leader holds the release.
    pub(crate) arrivals: usize,
    /// Which waker of which future waits for the release of which generation.
    pub(crate) waiting: Vec<(usize, u64, usize)>,
    pub(crate) wakes: [usize; WAKERS],
}

impl Model {
    pub(crate) fn new(parties: usize) -> Self {
        Self {
            parties,
            generation: 0,
            arrivals: 0,
            waiting: Vec::new(),
            wakes: [0; WAKERS],
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.arrivals >= self.parties
    }

    pub(crate) fn arrive(&mut self, holds: bool) -> Step {
        if self.arrivals + 1 == 2 * self.parties {
            return Step::Queued(self.generation);
        }
        self.arrivals += 1;
        if self.arrivals != self.parties {
            return Step::Counted(self.generation + u64::from(self.is_held()));
        }
        if !holds {
            self.release();
            return Step::Led(self.generation - 1);
        }
        Step::Led(self.generation)
    }

    /// The end of this generation, of which all are there.
    pub(crate) fn release(&mut self) {
        self.waiting.retain(|&(_, generation, waker)| {
            let is_over = generation == self.generation;
            self.wakes[waker] += usize::from(is_over);
            !is_over
        });
        self.arrivals -= self.parties;
        self.generation += 1;
    }

    pub(crate) fn poll(
        &mut self,
        future: usize,
        step: Step,
        holds: bool,
        waker: usize,
    ) -> (Step, Outcome) {
        let step = match step {
            Step::Queued(behind) if behind == self.generation => step,
            Step::New | Step::Queued(_) => self.arrive(holds),
            _ => step,
        };
        match step {
            Step::Led(generation) => (step, Outcome::Led(generation)),
            Step::Counted(generation) if generation < self.generation => {
                (step, Outcome::Released(generation))
            }
            Step::New => unreachable!("it has arrived or queues"),
            Step::Counted(generation) | Step::Queued(generation) => {
                self.waiting.retain(|(of, ..)| *of != future);
                self.waiting.push((future, generation, waker));
                (step, Outcome::Pending)
            }
        }
    }

    /// Whether an arrival of `generation` can be withdrawn.
    pub(crate) fn is_open(&self, generation: u64) -> bool {
        generation == self.generation + u64::from(self.is_held())
    }

    /// A future that is forgotten is not dropped: its arrival stays, and so does its waker.
    pub(crate) fn drop(&mut self, future: usize, step: Step, kind: Kind) {
        if let (Step::Counted(generation), true) = (step, kind.withdraws()) {
            if !self.is_open(generation) {
                return;
            }
            self.arrivals -= 1;
        }
        self.waiting.retain(|(of, ..)| *of != future);
    }

    fn waits(&self, future: usize) -> bool {
        self.waiting.iter().any(|(of, ..)| *of == future)
    }

    fn clones_of(&self, waker: usize) -> usize {
        self.waiting.iter().filter(|(.., w)| *w == waker).count()
    }
}

pub(crate) enum AnyWait<'a> {
    Wait(Wait<'a>),
    Owned(OwnedWait),
    Arrive(Arrival<'a>),
    OwnedArrive(OwnedArrival),
    Leader(WaitLeader<'a>),
    OwnedLeader(OwnedWaitLeader),
    Observe(Observation<'a>),
}

/// What holds the release.
pub(crate) enum AnyLeader<'a> {
    Leader(Leader<'a>),
    Owned(OwnedLeader),
}

impl AnyLeader<'_> {
    fn generation(&self) -> u64 {
        match self {
            AnyLeader::Leader(leader) => leader.generation(),
            AnyLeader::Owned(leader) => leader.generation(),
        }
    }

    fn release(self) {
        match self {
            AnyLeader::Leader(leader) => leader.release(),
            AnyLeader::Owned(leader) => leader.release(),
        }
    }
}

impl<'a> AnyWait<'a> {
    pub(crate) fn new(barrier: &'a Arc<Barrier>, kind: Kind) -> Self {
        match kind {
            Kind::Wait => AnyWait::Wait(barrier.wait()),
            Kind::Owned => AnyWait::Owned(barrier.clone().wait_owned()),
            Kind::Arrive => AnyWait::Arrive(barrier.arrive()),
            Kind::OwnedArrive => AnyWait::OwnedArrive(barrier.clone().arrive_owned()),
            Kind::Leader => AnyWait::Leader(barrier.wait_leader()),
            Kind::OwnedLeader => AnyWait::OwnedLeader(barrier.clone().wait_leader_owned()),
            Kind::Observe => unreachable!("it has a generation"),
        }
    }

    pub(crate) fn poll(&mut self, waker: &Waker, leader: &mut Option<AnyLeader<'a>>) -> Outcome {
        let mut cx = Context::from_waker(waker);
        let polled = match self {
            AnyWait::Wait(wait) => return poll(wait, waker),
            AnyWait::Owned(wait) => return poll(wait, waker),
            AnyWait::Arrive(arrival) => return poll(arrival, waker),
            AnyWait::OwnedArrive(arrival) => return poll(arrival, waker),
            AnyWait::Leader(wait) => {
                let polled = Pin::new(wait).poll(&mut cx);
                polled.map(|leader| leader.map(AnyLeader::Leader))
            }
            AnyWait::OwnedLeader(wait) => {
                let polled = Pin::new(wait).poll(&mut cx);
                polled.map(|leader| leader.map(AnyLeader::Owned))
            }
            AnyWait::Observe(observation) => Pin::new(observation).poll(&mut cx).map(|()| None),
        };
        match polled {
            Poll::Pending => Outcome::Pending,
            Poll::Ready(None) => Outcome::Released(UNSAID),
            Poll::Ready(Some(ready)) => {
                let generation = ready.generation();
                assert!(leader.replace(ready).is_none(), "two leaders");
                Outcome::Led(generation)
            }
        }
    }
}

/// The generation of waits that a leader released, and of observers: their results do not say it.
pub(crate) const UNSAID: u64 = u64::MAX;

/// A future that has neither been dropped nor forgotten.
struct Live<'a> {
    wait: AnyWait<'a>,
    number: usize,
    kind: Kind,
    step: Step,
    waker: usize,
    ready: bool,
}

/// What a script came to.
#[derive(Default)]
struct Report {
    ops: Vec<Op>,
    withdrew: bool,
    withdrew_early: bool,
    dropped_while_held: bool,
    dropped_after_release: bool,
    queued: bool,
    released_early: bool,
    released_forgotten: bool,
    observed_ahead: bool,
}

fn run((parties, choices): &Script, report: &mut Report) -> Result<(), TestCaseError> {
    let barrier = Arc::new(Barrier::new(*parties));
    let wakers: [_; WAKERS] = array::from_fn(|_| CountingWaker::new());
    let mut model = Model::new(*parties);
    let mut live: Vec<Live<'_>> = Vec::new();
    let mut leader: Option<AnyLeader<'_>> = None;
    let mut made = 0;
    let mut forgotten = Vec::new();

    for &choice in choices {
        let Some(op) = decide(choice, *parties, &live, leader.is_some()) else {
            continue;
        };
        report.ops.push(op);
        let place = |number| live.iter().position(|live| live.number == number).unwrap();
        match op {
            Op::New(kind) => {
                let step = match kind.arrives_at_once() {
                    true => match model.arrive(false) {
                        // It comes back when it is polled.
                        Step::Queued(_) => Step::New,
                        step => step,
                    },
                    false => Step::New,
                };
                live.push(Live {
                    wait: AnyWait::new(&barrier, kind),
                    number: made,
                    kind,
                    step,
                    waker: 0,
                    ready: false,
                });
                made += 1;
            }
            Op::Observe(ahead) => {
                let generation = (model.generation + ahead).saturating_sub(1);
                live.push(Live {
                    wait: AnyWait::Observe(barrier.observe(generation)),
                    number: made,
                    kind: Kind::Observe,
                    step: Step::Counted(generation),
                    waker: 0,
                    ready: false,
                });
                made += 1;
            }
            Op::Poll { future, .. } | Op::PollAgain(future) => {
                let place = place(future);
                let live = &mut live[place];
                if let Op::Poll { waker, .. } = op {
                    live.waker = waker;
                }
                let outcome = live.wait.poll(&wakers[live.waker], &mut leader);
                let holds = live.kind.holds();
                let waited = model.waits(future);
                let (step, mut expected) = model.poll(future, live.step, holds, live.waker);
                if let (true, Outcome::Released(_)) =
                    (holds || live.kind == Kind::Observe, expected)
                {
                    expected = Outcome::Released(UNSAID);
                }
                report.observed_ahead |= live.kind == Kind::Observe
                    && live.step == Step::Counted(model.generation + 1)
                    && waited;
                prop_assert_eq!(outcome, expected, "outcome");
                report.queued |= matches!(step, Step::Queued(_));
                live.step = step;
                live.ready = outcome != Outcome::Pending;
            }
            Op::Drop(future) => {
                let live = live.remove(place(future));
                if let (Step::Counted(generation), true) = (live.step, live.kind.withdraws()) {
                    let open = model.is_open(generation);
                    report.withdrew |= open;
                    report.withdrew_early |= open && generation > model.generation;
                    report.dropped_while_held |= !open && generation == model.generation;
                    report.dropped_after_release |= generation < model.generation && !live.ready;
                }
                model.drop(future, live.step, live.kind);
                drop(live.wait);
            }
            Op::Forget(future) => {
                let live = live.remove(place(future));
                if model.waits(future) {
                    forgotten.push(future);
                }
                mem::forget(live.wait);
            }
            Op::Release => {
                report.released_early |= model.arrivals > model.parties;
                model.release();
                leader.take().unwrap().release();
            }
        }
        let arrived = model.arrivals.min(*parties);
        prop_assert_eq!(barrier.arrived(), arrived, "arrived");
        prop_assert_eq!(barrier.generation(), model.generation, "generation");
        prop_assert_eq!(leader.is_some(), model.is_held(), "held");
        for live in &live {
            let (generation, is_released) = match &live.wait {
                AnyWait::Arrive(arrival) => (arrival.generation(), arrival.is_released()),
                AnyWait::OwnedArrive(arrival) => (arrival.generation(), arrival.is_released()),
                _ => continue,
            };
            let expected = match live.step {
                Step::New | Step::Queued(_) => (None, false),
                Step::Counted(counted) => (Some(counted), counted < model.generation),
                Step::Led(led) => (Some(led), true),
            };
            let expected_generation = expected.0.filter(|_| !live.ready);
            prop_assert_eq!(generation, expected_generation, "its generation");
            prop_assert_eq!(is_released, expected.1, "is it released");
        }
        for (k, waker) in wakers.iter().enumerate() {
            prop_assert_eq!(waker.wakes(), model.wakes[k], "wakes of waker {}", k);
            prop_assert_eq!(waker.clones(), model.clones_of(k), "clones of waker {}", k);
        }
    }

    report.released_forgotten = forgotten.iter().any(|&future| !model.waits(future));
    drop(live);
    drop(leader);
    drop(barrier);
    for (k, waker) in wakers.iter().enumerate() {
        prop_assert_eq!(waker.clones(), 0, "clones of waker {} after the barrier", k);
    }
    Ok(())
}

/// `PROPTEST_CASES` sets another number of scripts.
#[test]
fn the_barrier_does_what_the_model_does_at_every_step() {
    let mut config = ProptestConfig {
        // The steps that are printed say all.
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 20_000;
    }
    let cases = config.cases;
    let seen: [Cell<u32>; 8] = Default::default();

    let result = TestRunner::new(config).run(&scripts(), |script| {
        let mut report = Report::default();
        let result = run(&script, &mut report);
        let reached = [
            report.withdrew,
            report.withdrew_early,
            report.dropped_while_held,
            report.dropped_after_release,
            report.queued,
            report.released_early,
            report.released_forgotten,
            report.observed_ahead,
        ];
        for (scripts, reached) in seen.iter().zip(reached) {
            scripts.set(scripts.get() + u32::from(reached));
        }
        result
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, script)) => {
            let mut report = Report::default();
            let _ = run(&script, &mut report);
            panic!(
                "{why}\nwith {} parties, at the last of {:?}",
                script.0, report.ops
            );
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }

    // Scripts that never get there would show nothing.
    let least = seen.iter().map(Cell::get).min();
    assert!(least >= Some(cases / 20), "of {cases} scripts, {seen:?}");
}
