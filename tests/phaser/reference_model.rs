//! Random scripts, run by a phaser and by a model that is too simple to be wrong.

use core::{
    array,
    cell::Cell,
    future::Future,
    mem,
    ops::RangeInclusive,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};
use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{Arc, Mutex},
};

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Exit, Leader, Observation, Participant, RegisterError, Wait, WaitLeader},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use support::{
    phasers::{closed, numbers},
    polling::{CountingWaker, Outcome, poll},
};

/// The wakers that polls choose from. Several futures may be polled with the same.
const WAKERS: usize = 4;

/// The most participants that a script has at a time.
const PARTICIPANTS: usize = 6;

/// One step. Participants and observers go by their place.
#[derive(Clone, Copy, Debug)]
enum Op {
    Register(usize),
    Wait(usize),
    WaitLeader(usize),
    Poll {
        participant: usize,
        waker: usize,
    },
    DropWait(usize),
    ForgetWait(usize),
    Arrive(usize),
    /// In the middle of whatever it does.
    Drop(usize),
    Leave(usize),
    Release(usize),
    ForgetLeader(usize),
    Observe(u64),
    Look {
        observer: usize,
        waker: usize,
    },
    DropObserver(usize),
    Close,
}

/// A step before it is known which participants there are: its kind, which of them, and which waker.
/// Whatever shrinking takes away before it, it finds something to do.
type Choice = (u8, usize, usize);

/// What the phaser is built with.
#[derive(Clone, Copy, Debug)]
struct Built {
    has_action: bool,
    /// The phase in which the action panics.
    panics_in: Option<u64>,
    /// Whether a participant that is dropped without `leave` closes.
    closes_on_drop: bool,
}

type Script = (Built, Vec<Choice>);

fn scripts() -> impl Strategy<Value = Script> {
    let built = (0..6_u8).prop_map(|kind| Built {
        has_action: kind % 3 > 0,
        panics_in: (kind % 3 > 1).then_some(2),
        closes_on_drop: kind == 5,
    });
    (built, vec((0..26_u8, 0..60_usize, 0..WAKERS), 0..150))
}

/// The step that `choice` makes, if it makes one.
fn decide(
    (choice, which, waker): Choice,
    model: &Model,
    live: &[BusyParticipant<'_>],
) -> Option<Op> {
    match choice {
        0..3 if live.len() < PARTICIPANTS => return Some(Op::Register(which % 4)),
        3 if which % 8 == 0 => return Some(Op::Close),
        3 if model.observers.len() < 4 => {
            return Some(Op::Observe(
                (model.phase + which as u64 % 4).saturating_sub(1),
            ));
        }
        4 | 5 => {
            let observer = which % model.observers.len().max(1);
            return (observer < model.observers.len()).then_some(match choice {
                5 if which % 4 == 0 => Op::DropObserver(observer),
                _ => Op::Look { observer, waker },
            });
        }
        _ => {}
    }
    let participant = which % live.len().max(1);
    let op = match (&live.get(participant)?.doing, choice) {
        (Doing::Nothing, ..11) => Op::Wait(participant),
        (Doing::Nothing, ..15) => Op::WaitLeader(participant),
        (Doing::Nothing, ..21) => Op::Arrive(participant),
        (Doing::Nothing, ..23) => Op::Leave(participant),
        (Doing::Leads { .. }, ..14) => Op::Release(participant),
        (Doing::Leads { .. }, ..17) => Op::ForgetLeader(participant),
        // It goes on for a while.
        (Doing::Leads { .. }, ..23) => return None,
        (_, ..18) => Op::Poll { participant, waker },
        (_, ..21) => Op::DropWait(participant),
        (_, 21) => Op::ForgetWait(participant),
        _ => Op::Drop(participant),
    };
    Some(op)
}

/// How far a participant has come in its phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Due,
    Arrived,
    Led,
    Holds,
    /// It has completed the phase and holds the release while the action runs; then it comes to this.
    Acts(After),
}

/// What a participant comes to when the action of its phase has run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Due,
    Led,
    Holds,
}

/// A participant as it is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ModelParticipant {
    pub(crate) phase: u64,
    pub(crate) step: Step,
    /// With which waker it waits for the end of its phase. A forgotten wait does so, too.
    pub(crate) waits: Option<usize>,
    /// Whether its present wait has made the arrival.
    pub(crate) made: bool,
    /// Whether that has been polled.
    pub(crate) polled: bool,
    pub(crate) name: Option<usize>,
}

impl ModelParticipant {
    fn next_phase(&mut self) {
        self.phase += 1;
        self.step = Step::Due;
        self.waits = None;
    }
}

/// What a phase waits for in which nobody is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Its leader.
    Complete,
    /// That the leader lets go.
    Held,
}

/// Where a phase is, for one of its participants.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Open,
    In(Section),
    Over,
}

/// The phaser as it is meant: one step after another, and no word, slot or memory order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    phase: u64,
    section: Option<Section>,
    pub(crate) is_closed: bool,
    has_action: bool,
    /// The phase whose action panicked.
    pub(crate) failed: Option<u64>,
    pub(crate) participants: Vec<ModelParticipant>,
    /// The phase that each awaits, and the waker.
    pub(crate) observers: Vec<(u64, Option<usize>)>,
    pub(crate) wakes: [usize; WAKERS],
    /// What has woken, since these were taken.
    pub(crate) scans: Vec<Scan>,
}

/// Wakes of all that wait for the end of some phases.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scan {
    pub(crate) waiters: Waiters,
    pub(crate) phases: RangeInclusive<u64>,
    /// The places of those that wait, and their wakers.
    pub(crate) woken: Vec<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Waiters {
    Participants,
    Observers,
}

impl Model {
    pub(crate) fn new(has_action: bool) -> Self {
        Self {
            has_action,
            ..Self::default()
        }
    }

    /// The phase in which arrivals count.
    fn counting(&self) -> u64 {
        self.phase + u64::from(self.section == Some(Section::Held))
    }

    fn has_arrived(&self, participant: &ModelParticipant) -> bool {
        participant.step == Step::Arrived && participant.phase == self.counting()
    }

    fn arrived(&self) -> usize {
        let participants = self.participants.iter();
        participants.filter(|it| self.has_arrived(it)).count()
    }

    /// The names of those that have not arrived in the phase that is not over.
    pub(crate) fn missing(&self) -> Vec<usize> {
        let missing = self.participants.iter().filter(|it| !self.has_arrived(it));
        let mut names: Vec<_> = missing.filter_map(|it| it.name).collect();
        names.retain(|_| self.section.is_none());
        names.sort_unstable();
        names
    }

    /// In the phase that is not over, for which all have come or gone if its release is held.
    pub(crate) fn reported(&self) -> (u64, usize, usize) {
        let parties = self.participants.len();
        let arrived = match self.section {
            Some(Section::Held) => parties,
            Some(Section::Complete) | None => self.arrived(),
        };
        (self.phase, parties, arrived)
    }

    /// One more that owes the phase that is returned.
    pub(crate) fn register(&mut self, name: Option<usize>) -> u64 {
        let phase = self.counting();
        if self.section == Some(Section::Complete) {
            self.section = None;
        }
        self.participants.push(ModelParticipant {
            phase,
            step: Step::Due,
            waits: None,
            made: false,
            polled: false,
            name,
        });
        phase
    }

    fn someone_waits(&self, phase: u64) -> bool {
        let mut participants = self.participants.iter();
        participants.any(|participant| participant.phase == phase && participant.waits.is_some())
    }

    fn stage(&self, phase: u64) -> Stage {
        match self.section {
            Some(section) if phase == self.phase => Stage::In(section),
            _ if phase == self.counting() => Stage::Open,
            _ => Stage::Over,
        }
    }

    fn wake_participants(&mut self, phase: u64) {
        let participants = self.participants.iter().enumerate();
        let woken = participants
            .filter(|(_, it)| it.phase == phase)
            .filter_map(|(place, it)| Some((place, it.waits?)))
            .collect();
        self.wake(Waiters::Participants, phase..=phase, woken);
    }

    fn wake_observers(&mut self, phases: RangeInclusive<u64>) {
        let observers = self.observers.iter_mut().enumerate();
        let woken = observers
            .filter(|(_, (phase, _))| phases.contains(phase))
            .filter_map(|(place, (_, waker))| Some((place, waker.take()?)))
            .collect();
        self.wake(Waiters::Observers, phases, woken);
    }

    fn wake(&mut self, waiters: Waiters, phases: RangeInclusive<u64>, woken: Vec<(usize, usize)>) {
        for &(_, waker) in &woken {
            self.wakes[waker] += 1;
        }
        self.scans.push(Scan {
            waiters,
            phases,
            woken,
        });
    }

    pub(crate) fn end(&mut self) {
        let phase = self.phase;
        self.phase += 1;
        self.section = None;
        self.wake_participants(phase);
        self.wake_observers(phase..=phase);
    }

    pub(crate) fn release(&mut self, participant: usize) {
        self.participants[participant].next_phase();
        self.end();
    }

    fn lead(&mut self, participant: usize, holds: bool) {
        let participant = &mut self.participants[participant];
        participant.waits = None;
        if self.has_action {
            participant.step = Step::Acts(if holds { After::Holds } else { After::Led });
            self.section = Some(Section::Held);
        } else if holds {
            participant.step = Step::Holds;
            self.section = Some(Section::Held);
        } else {
            participant.step = Step::Led;
            self.end();
        }
    }

    /// The participant that has completed a phase whose action is to run or runs.
    pub(crate) fn acting(&self) -> Option<usize> {
        let mut participants = self.participants.iter();
        participants.position(|it| matches!(it.step, Step::Acts(_)))
    }

    /// The action has run.
    pub(crate) fn acted(&mut self, participant: usize) {
        match self.participants[participant].step {
            Step::Acts(After::Due) => self.release(participant),
            Step::Acts(After::Led) => {
                self.participants[participant].step = Step::Led;
                self.end();
            }
            Step::Acts(After::Holds) => self.participants[participant].step = Step::Holds,
            _ => unreachable!("it acts"),
        }
    }

    /// The action has panicked; the release follows.
    pub(crate) fn fail(&mut self) {
        self.failed = Some(self.phase);
        self.close();
    }

    fn arrive_with(
        &mut self,
        participant: usize,
        waker: Option<usize>,
        holds: bool,
    ) -> Result<(), Closed> {
        if self.is_closed {
            return Err(closed());
        }
        if self.section.is_none() && self.arrived() + 1 == self.participants.len() {
            self.lead(participant, holds);
        } else {
            self.participants[participant].step = Step::Arrived;
            self.participants[participant].waits = waker;
        }
        Ok(())
    }

    /// Ready with the phase if this participant led it; that is not over if it holds the release.
    pub(crate) fn poll(&mut self, participant: usize, waker: usize, holds: bool) -> Outcome {
        if self.participants[participant].step == Step::Holds {
            self.release(participant);
        }
        self.participants[participant].polled = true;
        let ModelParticipant { phase, step, .. } = self.participants[participant];
        match (step, self.stage(phase)) {
            (Step::Due, _) => {
                self.participants[participant].made = true;
                if self.arrive_with(participant, Some(waker), holds).is_err() {
                    return Outcome::Refused;
                }
            }
            (Step::Arrived, Stage::Over) if self.failed == Some(phase) => return Outcome::Refused,
            (Step::Arrived, Stage::Over) => {
                self.participants[participant].next_phase();
                return Outcome::Released(phase);
            }
            (Step::Arrived, Stage::In(Section::Complete)) => self.lead(participant, holds),
            (Step::Arrived, Stage::Open) if self.is_closed => {
                self.participants[participant].waits = None;
                return Outcome::Refused;
            }
            (Step::Arrived, _) => self.participants[participant].waits = Some(waker),
            (Step::Led, _) => {}
            (Step::Holds | Step::Acts(_), _) => unreachable!("released above"),
        }
        match self.participants[participant].step {
            Step::Arrived => Outcome::Pending,
            Step::Holds | Step::Acts(After::Holds) => Outcome::Led(phase),
            Step::Acts(_) => {
                self.participants[participant].step = Step::Acts(After::Due);
                Outcome::Led(phase)
            }
            _ => {
                self.participants[participant].next_phase();
                // `wait_leader` brings nothing that could still be held.
                match holds {
                    true => Outcome::Released(phase),
                    false => Outcome::Led(phase),
                }
            }
        }
    }

    pub(crate) fn drop_wait(&mut self, participant: usize) {
        let ModelParticipant {
            phase,
            step,
            made,
            polled,
            ..
        } = self.participants[participant];
        if step != Step::Arrived || !polled {
            return;
        }
        self.participants[participant].waits = None;
        match self.stage(phase) {
            Stage::Open if made => self.participants[participant].step = Step::Due,
            Stage::In(Section::Complete) => _ = self.settle(),
            _ => {}
        }
    }

    pub(crate) fn arrive(&mut self, participant: usize) -> Result<u64, Closed> {
        if self.participants[participant].step == Step::Holds {
            self.release(participant);
        }
        let ModelParticipant { phase, step, .. } = self.participants[participant];
        match (step, self.stage(phase)) {
            (Step::Arrived, Stage::In(Section::Complete)) => {
                self.lead(participant, false);
                return Ok(phase);
            }
            (Step::Arrived, Stage::Open | Stage::In(Section::Held)) => {
                self.participants[participant].waits = None;
                let refused = self.is_closed && self.stage(phase) == Stage::Open;
                return if refused { Err(closed()) } else { Ok(phase) };
            }
            // What it has not seen is not forgotten.
            _ if self.is_closed => return Err(closed()),
            (Step::Arrived, Stage::Over) | (Step::Led, _) => {
                self.participants[participant].next_phase()
            }
            (Step::Due | Step::Holds | Step::Acts(_), _) => {}
        }
        self.arrive_with(participant, None, false)?;
        Ok(self.participants[participant].phase)
    }

    /// Returns whether that ended the phase. If it acts instead, it leaves after that.
    pub(crate) fn leave(&mut self, participant: usize) -> bool {
        if self.participants[participant].step == Step::Holds {
            self.release(participant);
        }
        let others = self.participants.len() - 1;
        let ModelParticipant { phase, step, .. } = self.participants[participant];
        let has_arrived = step == Step::Arrived && phase == self.phase;
        let others_have = others > 0 && self.arrived() == others && !has_arrived;
        if self.has_action && others_have && self.section.is_none() && !self.is_closed {
            self.participants[participant] = ModelParticipant {
                phase: self.phase,
                step: Step::Acts(After::Due),
                waits: None,
                ..self.participants[participant]
            };
            self.section = Some(Section::Held);
            return false;
        }
        self.participants.remove(participant);
        self.settle()
    }

    /// Completes or ends the phase, if a departure or a dropped wait has left it so. Returns whether it is
    /// over.
    fn settle(&mut self) -> bool {
        let is_complete = match self.section {
            Some(Section::Held) => false,
            Some(Section::Complete) => true,
            None => !self.is_closed && self.arrived() == self.participants.len(),
        };
        if !is_complete {
            return false;
        }
        if !self.someone_waits(self.phase) {
            self.end();
            return true;
        }
        if self.section.is_none() {
            self.section = Some(Section::Complete);
            self.wake_participants(self.phase);
        }
        false
    }

    pub(crate) fn look(&mut self, observer: usize, waker: usize) -> Poll<Result<(), Closed>> {
        let phase = self.observers[observer].0;
        if phase < self.phase {
            let failed = self.failed == Some(phase);
            return Poll::Ready(if failed { Err(closed()) } else { Ok(()) });
        }
        if self.is_closed && phase >= self.counting() {
            return Poll::Ready(Err(closed()));
        }
        self.observers[observer].1 = Some(waker);
        Poll::Pending
    }

    pub(crate) fn close(&mut self) {
        let phase = self.refuse();
        self.wake_closed(phase);
    }

    /// Closes, and wakes nobody yet. Returns the phase in which arrivals count no more.
    fn refuse(&mut self) -> u64 {
        self.is_closed = true;
        self.counting()
    }

    fn wake_closed(&mut self, phase: u64) {
        self.wake_participants(phase);
        self.wake_observers(phase..=u64::MAX);
    }
}

/// A participant, and what it does, which borrows it.
pub(crate) struct BusyParticipant<'a> {
    pub(crate) doing: Doing<'a>,
    participant: NonNull<Participant>,
}

pub(crate) enum Doing<'a> {
    Nothing,
    Waits(Wait<'a>),
    WaitsToLead(WaitLeader<'a>),
    Leads { _leader: Leader<'a> },
}

impl<'a> BusyParticipant<'a> {
    pub(crate) fn new(participant: Participant) -> Self {
        Self {
            doing: Doing::Nothing,
            participant: NonNull::from(Box::leak(Box::new(participant))),
        }
    }

    pub(crate) fn participant(&mut self) -> &'a mut Participant {
        assert!(matches!(self.doing, Doing::Nothing));
        // SAFETY: it was boxed by `new` and is freed by `drop` alone, after whatever borrows it; and
        // nothing does, as it does nothing.
        unsafe { self.participant.as_mut() }
    }

    pub(crate) fn poll(&mut self, waker: &Waker) -> Outcome {
        let outcome = match &mut self.doing {
            Doing::Waits(wait) => poll(wait, waker),
            Doing::WaitsToLead(wait) => {
                match Pin::new(wait).poll(&mut Context::from_waker(waker)) {
                    Poll::Pending => Outcome::Pending,
                    Poll::Ready(Err(_)) => Outcome::Refused,
                    Poll::Ready(Ok(None)) => Outcome::Released(UNSAID),
                    Poll::Ready(Ok(Some(leader))) => {
                        let phase = leader.phase();
                        self.doing = Doing::Leads { _leader: leader };
                        return Outcome::Led(phase);
                    }
                }
            }
            Doing::Nothing | Doing::Leads { .. } => unreachable!("it waits"),
        };
        if outcome != Outcome::Pending {
            self.doing = Doing::Nothing;
        }
        outcome
    }
}

impl BusyParticipant<'_> {
    pub(crate) fn leave(mut self) {
        self.doing = Doing::Nothing;
        // SAFETY: boxed by `new`, and nothing borrows it any more. It is not dropped once more.
        let participant = unsafe { Box::from_raw(self.participant.as_ptr()) };
        mem::forget(self);
        participant.leave();
    }
}

impl Drop for BusyParticipant<'_> {
    fn drop(&mut self) {
        self.doing = Doing::Nothing;
        // SAFETY: boxed by `new`, and nothing borrows it any more.
        drop(unsafe { Box::from_raw(self.participant.as_ptr()) });
    }
}

pub(crate) fn name_as(participant: Participant, name: Option<usize>) -> Participant {
    match name {
        Some(name) => participant.named(name.to_string()),
        None => participant,
    }
}

/// The names of those that are missing, as the model has them.
pub(crate) fn missing(phaser: &Phaser) -> Vec<usize> {
    let names = phaser.missing();
    let mut names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The phase of those whom a leader released: `wait_leader` does not tell.
pub(crate) const UNSAID: u64 = u64::MAX;

/// What a script came to.
#[derive(Default)]
struct Report {
    ops: Vec<Op>,
    withdrew: bool,
    withdrew_early: bool,
    dropped_late: bool,
    led_after_a_departure: bool,
    ended_by_a_departure: bool,
    forgotten_leader_let_go: bool,
    reopened: bool,
    closed_while_complete: bool,
    observed: bool,
    acted_for_a_departure: bool,
    failed: bool,
    closed_by_a_drop: bool,
}

/// Calls the phaser, which may panic as its action does.
fn call<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

fn run((built, choices): &Script, report: &mut Report) -> Result<(), TestCaseError> {
    let ran = Arc::new(Mutex::new(Vec::new()));
    let mut builder = Phaser::builder();
    if built.closes_on_drop {
        builder = builder.close_on(Exit::Drop);
    }
    if built.has_action {
        let (ran, panics_in) = (ran.clone(), built.panics_in);
        builder = builder.on_phase(move |phase, participants| {
            ran.lock().unwrap().push((phase, participants));
            if panics_in == Some(phase) {
                resume_unwind(Box::new("in the action"));
            }
        });
    }
    let phaser = builder.build();
    let wakers: [_; WAKERS] = array::from_fn(|_| CountingWaker::new());
    let mut model = Model::new(built.has_action);
    let mut live: Vec<BusyParticipant<'_>> = Vec::new();
    let mut observations: Vec<Observation<'_>> = Vec::new();
    let mut number = 0;

    // Runs the action as it is meant, and has a participant leave after it if it `leaves`. Returns whether
    // it panics.
    let run_action = |model: &mut Model, leaves: bool, report: &mut Report| {
        let (mut expected, mut fails) = (Vec::new(), false);
        while let Some(participant) = model.acting() {
            expected.push((model.phase, model.participants.len()));
            if built.panics_in == Some(model.phase) {
                fails = true;
                model.fail();
                model.release(participant);
            } else {
                model.acted(participant);
            }
            if leaves {
                model.leave(participant);
            }
        }
        report.failed |= fails;
        report.acted_for_a_departure |= leaves && !expected.is_empty();
        (expected, fails)
    };

    for &choice in choices {
        let Some(op) = decide(choice, &model, &live) else {
            continue;
        };
        report.ops.push(op);
        let mut runs = Vec::new();
        match op {
            Op::Register(n) => match phaser.register_many(n) {
                Ok(registered) => {
                    prop_assert!(!model.is_closed && registered.len() == n, "registered");
                    report.reopened |= n > 0 && model.section == Some(Section::Complete);
                    for participant in registered {
                        number += 1;
                        let name = (number % 4 > 0).then_some(number);
                        model.register(name);
                        live.push(BusyParticipant::new(name_as(participant, name)));
                    }
                }
                Err(error) => {
                    prop_assert!(model.is_closed, "not registered");
                    prop_assert_eq!(error, RegisterError::Closed);
                }
            },
            Op::Wait(participant) => {
                live[participant].doing = Doing::Waits(live[participant].participant().wait());
                model.participants[participant].made = false;
                model.participants[participant].polled = false;
            }
            Op::WaitLeader(participant) => {
                live[participant].doing =
                    Doing::WaitsToLead(live[participant].participant().wait_leader());
                model.participants[participant].made = false;
                model.participants[participant].polled = false;
            }
            Op::Poll { participant, waker } => {
                let holds = matches!(live[participant].doing, Doing::WaitsToLead(_));
                let led = model.section == Some(Section::Complete);
                report.forgotten_leader_let_go |=
                    model.participants[participant].step == Step::Holds;
                let mut expected = model.poll(participant, waker, holds);
                if let (true, Outcome::Released(_)) = (holds, expected) {
                    expected = Outcome::Released(UNSAID);
                }
                let (expected_runs, fails) = run_action(&mut model, false, report);
                runs = expected_runs;
                let polled = call(|| live[participant].poll(&wakers[waker]));
                prop_assert_eq!(polled, (!fails).then_some(expected), "outcome");
                report.led_after_a_departure |= led && matches!(expected, Outcome::Led(_));
            }
            Op::DropWait(participant) => {
                let ModelParticipant {
                    phase, step, made, ..
                } = model.participants[participant];
                if step == Step::Arrived && made {
                    let stage = model.stage(phase);
                    report.withdrew |= stage == Stage::Open;
                    report.withdrew_early |= stage == Stage::Open && model.section.is_some();
                    report.dropped_late |= stage != Stage::Open;
                }
                model.drop_wait(participant);
                live[participant].doing = Doing::Nothing;
            }
            Op::ForgetWait(participant) | Op::ForgetLeader(participant) => {
                mem::forget(mem::replace(&mut live[participant].doing, Doing::Nothing));
            }
            Op::Arrive(participant) => {
                report.forgotten_leader_let_go |=
                    model.participants[participant].step == Step::Holds;
                let expected = model.arrive(participant);
                let (expected_runs, fails) = run_action(&mut model, false, report);
                runs = expected_runs;
                let arrived = call(|| live[participant].participant().arrive());
                prop_assert_eq!(arrived, (!fails).then_some(expected), "arrived in");
            }
            Op::Leave(participant) | Op::Drop(participant) => {
                match live[participant].doing {
                    Doing::Nothing => {}
                    Doing::Leads { .. } => model.release(participant),
                    Doing::Waits(_) | Doing::WaitsToLead(_) => model.drop_wait(participant),
                }
                let leaves = matches!(op, Op::Leave(_));
                let closes = built.closes_on_drop && !leaves;
                report.closed_by_a_drop |= closes && !model.is_closed;
                let closed = closes.then(|| model.refuse());
                report.ended_by_a_departure |= model.leave(participant);
                if let Some(phase) = closed {
                    model.wake_closed(phase);
                }
                let (expected_runs, fails) = run_action(&mut model, true, report);
                runs = expected_runs;
                let it = live.remove(participant);
                let left = call(|| if leaves { it.leave() } else { drop(it) });
                prop_assert_eq!(left.is_none(), fails, "left");
            }
            Op::Release(participant) => {
                model.release(participant);
                live[participant].doing = Doing::Nothing;
            }
            Op::Observe(phase) => {
                observations.push(phaser.observe(phase));
                model.observers.push((phase, None));
            }
            Op::Look { observer, waker } => {
                let mut cx = Context::from_waker(&wakers[waker]);
                let expected = model.look(observer, waker);
                let end = Pin::new(&mut observations[observer]).poll(&mut cx);
                prop_assert_eq!(end, expected, "observed");
                report.observed |= expected.is_ready();
            }
            Op::DropObserver(observer) => {
                drop(observations.remove(observer));
                model.observers.remove(observer);
            }
            Op::Close => {
                report.closed_while_complete |= !model.is_closed && model.section.is_some();
                phaser.close();
                model.close();
            }
        }
        prop_assert_eq!(
            mem::take(&mut *ran.lock().unwrap()),
            runs,
            "runs of the action"
        );
        prop_assert_eq!(
            numbers(&phaser),
            model.reported(),
            "phase, parties and arrived"
        );
        prop_assert_eq!(missing(&phaser), model.missing(), "missing");
        prop_assert_eq!(phaser.is_closed(), model.is_closed, "closed");
        let wakes = wakers.each_ref().map(CountingWaker::wakes);
        prop_assert_eq!(wakes, model.wakes, "wakes");
    }

    // The last departures may run the action.
    let _ = call(|| drop((live, observations)));
    drop(phaser);
    for (k, waker) in wakers.iter().enumerate() {
        prop_assert_eq!(waker.clones(), 0, "clones of waker {} after the phaser", k);
    }
    Ok(())
}

/// `PROPTEST_CASES` sets another number of scripts.
#[test]
fn the_phaser_does_what_the_model_does_at_every_step() {
    let mut config = ProptestConfig {
        // The steps that are printed say all.
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 10_000;
    }
    let cases = config.cases;
    let seen: [Cell<u32>; 12] = Default::default();

    let result = TestRunner::new(config).run(&scripts(), |script| {
        let mut report = Report::default();
        let result = run(&script, &mut report);
        let reached = [
            report.withdrew,
            report.withdrew_early,
            report.dropped_late,
            report.led_after_a_departure,
            report.ended_by_a_departure,
            report.forgotten_leader_let_go,
            report.reopened,
            report.closed_while_complete,
            report.observed,
            report.acted_for_a_departure,
            report.failed,
            report.closed_by_a_drop,
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
            panic!("{why}\nat the last of {:?}", report.ops);
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }

    // Scripts that never get there would show nothing.
    let least = seen.iter().map(Cell::get).min();
    assert!(least >= Some(cases / 1000), "of {cases} scripts, {seen:?}");
}
