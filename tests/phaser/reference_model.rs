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
use std::env;

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Leader, Observation, Participant, RegisterError, Wait, WaitLeader},
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
const MEMBERS: usize = 6;

/// One step. Participants and observers go by their place.
#[derive(Clone, Copy, Debug)]
enum Op {
    Register(usize),
    Wait(usize),
    WaitLeader(usize),
    Poll {
        member: usize,
        waker: usize,
    },
    DropWait(usize),
    ForgetWait(usize),
    Arrive(usize),
    /// In the middle of whatever it does.
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

fn scripts() -> impl Strategy<Value = Vec<Choice>> {
    vec((0..26_u8, 0..60_usize, 0..WAKERS), 0..150)
}

/// The step that `choice` makes, if it makes one.
fn decide((choice, which, waker): Choice, model: &Model, live: &[Member<'_>]) -> Option<Op> {
    match choice {
        0..3 if live.len() < MEMBERS => return Some(Op::Register(which % 4)),
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
    let member = which % live.len().max(1);
    let op = match (&live.get(member)?.doing, choice) {
        (Doing::Nothing, ..11) => Op::Wait(member),
        (Doing::Nothing, ..15) => Op::WaitLeader(member),
        (Doing::Nothing, ..22) => Op::Arrive(member),
        (Doing::Leads { .. }, ..14) => Op::Release(member),
        (Doing::Leads { .. }, ..17) => Op::ForgetLeader(member),
        // It goes on for a while.
        (Doing::Leads { .. }, ..23) => return None,
        (_, ..18) => Op::Poll { member, waker },
        (_, ..21) => Op::DropWait(member),
        (_, 21) => Op::ForgetWait(member),
        _ => Op::Leave(member),
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
}

/// A participant as it is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Party {
    pub(crate) phase: u64,
    pub(crate) step: Step,
    /// With which waker it waits for the end of its phase. A forgotten wait does so, too.
    pub(crate) waits: Option<usize>,
    /// Whether its present wait has made the arrival.
    pub(crate) made: bool,
    /// Whether that has been polled.
    pub(crate) polled: bool,
}

impl Party {
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
    pub(crate) parties: Vec<Party>,
    /// The phase that each awaits, and the waker.
    pub(crate) observers: Vec<(u64, Option<usize>)>,
    pub(crate) wakes: [usize; WAKERS],
}

impl Model {
    /// The phase in which arrivals count.
    fn counting(&self) -> u64 {
        self.phase + u64::from(self.section == Some(Section::Held))
    }

    fn arrived(&self) -> usize {
        let arrived =
            |party: &&Party| party.step == Step::Arrived && party.phase == self.counting();
        self.parties.iter().filter(arrived).count()
    }

    /// In the phase that is not over, for which all have come or gone if its release is held.
    pub(crate) fn reported(&self) -> (u64, usize, usize) {
        let parties = self.parties.len();
        let arrived = match self.section {
            Some(Section::Held) => parties,
            Some(Section::Complete) | None => self.arrived(),
        };
        (self.phase, parties, arrived)
    }

    /// One more that owes the phase that is returned.
    pub(crate) fn register(&mut self) -> u64 {
        let phase = self.counting();
        if self.section == Some(Section::Complete) {
            self.section = None;
        }
        self.parties.push(Party {
            phase,
            step: Step::Due,
            waits: None,
            made: false,
            polled: false,
        });
        phase
    }

    fn someone_waits(&self, phase: u64) -> bool {
        let mut parties = self.parties.iter();
        parties.any(|party| party.phase == phase && party.waits.is_some())
    }

    fn stage(&self, phase: u64) -> Stage {
        match self.section {
            Some(section) if phase == self.phase => Stage::In(section),
            _ if phase == self.counting() => Stage::Open,
            _ => Stage::Over,
        }
    }

    fn wake_members(&mut self, phase: u64) {
        let parties = self.parties.iter().filter(|party| party.phase == phase);
        for waker in parties.filter_map(|party| party.waits) {
            self.wakes[waker] += 1;
        }
    }

    fn wake_observers(&mut self, phases: RangeInclusive<u64>) {
        let observers = self.observers.iter_mut();
        for (_, waker) in observers.filter(|(phase, _)| phases.contains(phase)) {
            if let Some(waker) = waker.take() {
                self.wakes[waker] += 1;
            }
        }
    }

    pub(crate) fn end(&mut self) {
        let phase = self.phase;
        self.phase += 1;
        self.section = None;
        self.wake_members(phase);
        self.wake_observers(phase..=phase);
    }

    pub(crate) fn release(&mut self, member: usize) {
        self.parties[member].next_phase();
        self.end();
    }

    fn lead(&mut self, member: usize, holds: bool) {
        let party = &mut self.parties[member];
        party.waits = None;
        if holds {
            party.step = Step::Holds;
            self.section = Some(Section::Held);
        } else {
            party.step = Step::Led;
            self.end();
        }
    }

    fn arrive_with(
        &mut self,
        member: usize,
        waker: Option<usize>,
        holds: bool,
    ) -> Result<(), Closed> {
        if self.is_closed {
            return Err(closed());
        }
        if self.section.is_none() && self.arrived() + 1 == self.parties.len() {
            self.lead(member, holds);
        } else {
            self.parties[member].step = Step::Arrived;
            self.parties[member].waits = waker;
        }
        Ok(())
    }

    /// Ready with the phase if this participant led it; that is not over if it holds the release.
    pub(crate) fn poll(&mut self, member: usize, waker: usize, holds: bool) -> Outcome {
        if self.parties[member].step == Step::Holds {
            self.release(member);
        }
        self.parties[member].polled = true;
        let Party { phase, step, .. } = self.parties[member];
        match (step, self.stage(phase)) {
            (Step::Due, _) => {
                self.parties[member].made = true;
                if self.arrive_with(member, Some(waker), holds).is_err() {
                    return Outcome::Refused;
                }
            }
            (Step::Arrived, Stage::Over) => {
                self.parties[member].next_phase();
                return Outcome::Released(phase);
            }
            (Step::Arrived, Stage::In(Section::Complete)) => self.lead(member, holds),
            (Step::Arrived, Stage::Open) if self.is_closed => {
                self.parties[member].waits = None;
                return Outcome::Refused;
            }
            (Step::Arrived, _) => self.parties[member].waits = Some(waker),
            (Step::Led, _) => {}
            (Step::Holds, _) => unreachable!("released above"),
        }
        match self.parties[member].step {
            Step::Arrived => Outcome::Pending,
            Step::Holds => Outcome::Led(phase),
            _ => {
                self.parties[member].next_phase();
                // `wait_leader` brings nothing that could still be held.
                match holds {
                    true => Outcome::Released(phase),
                    false => Outcome::Led(phase),
                }
            }
        }
    }

    pub(crate) fn drop_wait(&mut self, member: usize) {
        let Party {
            phase,
            step,
            made,
            polled,
            ..
        } = self.parties[member];
        if step != Step::Arrived || !polled {
            return;
        }
        self.parties[member].waits = None;
        match self.stage(phase) {
            Stage::Open if made => self.parties[member].step = Step::Due,
            Stage::In(Section::Complete) => _ = self.settle(),
            _ => {}
        }
    }

    pub(crate) fn arrive(&mut self, member: usize) -> Result<u64, Closed> {
        if self.parties[member].step == Step::Holds {
            self.release(member);
        }
        let Party { phase, step, .. } = self.parties[member];
        match (step, self.stage(phase)) {
            (Step::Arrived, Stage::In(Section::Complete)) => {
                self.lead(member, false);
                return Ok(phase);
            }
            (Step::Arrived, Stage::Open | Stage::In(Section::Held)) => {
                self.parties[member].waits = None;
                let refused = self.is_closed && self.stage(phase) == Stage::Open;
                return if refused { Err(closed()) } else { Ok(phase) };
            }
            // What it has not seen is not forgotten.
            _ if self.is_closed => return Err(closed()),
            (Step::Arrived, Stage::Over) | (Step::Led, _) => self.parties[member].next_phase(),
            (Step::Due | Step::Holds, _) => {}
        }
        self.arrive_with(member, None, false)?;
        Ok(self.parties[member].phase)
    }

    /// Returns whether that ended the phase.
    pub(crate) fn leave(&mut self, member: usize) -> bool {
        if self.parties[member].step == Step::Holds {
            self.release(member);
        }
        self.parties.remove(member);
        self.settle()
    }

    /// Completes or ends the phase, if a departure or a dropped wait has left it so. Returns whether it is
    /// over.
    fn settle(&mut self) -> bool {
        let is_complete = match self.section {
            Some(Section::Held) => false,
            Some(Section::Complete) => true,
            None => !self.is_closed && self.arrived() == self.parties.len(),
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
            self.wake_members(self.phase);
        }
        false
    }

    pub(crate) fn look(&mut self, observer: usize, waker: usize) -> Poll<Result<(), Closed>> {
        let phase = self.observers[observer].0;
        if phase < self.phase {
            return Poll::Ready(Ok(()));
        }
        if self.is_closed && phase >= self.counting() {
            return Poll::Ready(Err(closed()));
        }
        self.observers[observer].1 = Some(waker);
        Poll::Pending
    }

    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        self.wake_members(self.counting());
        self.wake_observers(self.counting()..=u64::MAX);
    }
}

/// A participant, and what it does, which borrows it.
pub(crate) struct Member<'a> {
    pub(crate) doing: Doing<'a>,
    participant: NonNull<Participant>,
}

pub(crate) enum Doing<'a> {
    Nothing,
    Waits(Wait<'a>),
    WaitsToLead(WaitLeader<'a>),
    Leads { _leader: Leader<'a> },
}

impl<'a> Member<'a> {
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

impl Drop for Member<'_> {
    fn drop(&mut self) {
        self.doing = Doing::Nothing;
        // SAFETY: boxed by `new`, and nothing borrows it any more.
        drop(unsafe { Box::from_raw(self.participant.as_ptr()) });
    }
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
}

fn run(choices: &[Choice], report: &mut Report) -> Result<(), TestCaseError> {
    let phaser = Phaser::new();
    let wakers: [_; WAKERS] = array::from_fn(|_| CountingWaker::new());
    let mut model = Model::default();
    let mut live: Vec<Member<'_>> = Vec::new();
    let mut observations: Vec<Observation<'_>> = Vec::new();

    for &choice in choices {
        let Some(op) = decide(choice, &model, &live) else {
            continue;
        };
        report.ops.push(op);
        match op {
            Op::Register(n) => match phaser.register_many(n) {
                Ok(members) => {
                    prop_assert!(!model.is_closed && members.len() == n, "registered");
                    live.extend(members.into_iter().map(Member::new));
                    report.reopened |= n > 0 && model.section == Some(Section::Complete);
                    for _ in 0..n {
                        model.register();
                    }
                }
                Err(error) => {
                    prop_assert!(model.is_closed, "not registered");
                    prop_assert_eq!(error, RegisterError::Closed);
                }
            },
            Op::Wait(member) => {
                live[member].doing = Doing::Waits(live[member].participant().wait());
                model.parties[member].made = false;
                model.parties[member].polled = false;
            }
            Op::WaitLeader(member) => {
                live[member].doing = Doing::WaitsToLead(live[member].participant().wait_leader());
                model.parties[member].made = false;
                model.parties[member].polled = false;
            }
            Op::Poll { member, waker } => {
                let holds = matches!(live[member].doing, Doing::WaitsToLead(_));
                let led = model.section == Some(Section::Complete);
                report.forgotten_leader_let_go |= model.parties[member].step == Step::Holds;
                let mut expected = model.poll(member, waker, holds);
                if let (true, Outcome::Released(_)) = (holds, expected) {
                    expected = Outcome::Released(UNSAID);
                }
                prop_assert_eq!(live[member].poll(&wakers[waker]), expected, "outcome");
                report.led_after_a_departure |= led && matches!(expected, Outcome::Led(_));
            }
            Op::DropWait(member) => {
                let Party {
                    phase, step, made, ..
                } = model.parties[member];
                if step == Step::Arrived && made {
                    let stage = model.stage(phase);
                    report.withdrew |= stage == Stage::Open;
                    report.withdrew_early |= stage == Stage::Open && model.section.is_some();
                    report.dropped_late |= stage != Stage::Open;
                }
                model.drop_wait(member);
                live[member].doing = Doing::Nothing;
            }
            Op::ForgetWait(member) | Op::ForgetLeader(member) => {
                mem::forget(mem::replace(&mut live[member].doing, Doing::Nothing));
            }
            Op::Arrive(member) => {
                report.forgotten_leader_let_go |= model.parties[member].step == Step::Holds;
                let arrived = live[member].participant().arrive();
                prop_assert_eq!(arrived, model.arrive(member), "arrived in");
            }
            Op::Leave(member) => {
                match live[member].doing {
                    Doing::Nothing => {}
                    Doing::Leads { .. } => model.release(member),
                    Doing::Waits(_) | Doing::WaitsToLead(_) => model.drop_wait(member),
                }
                report.ended_by_a_departure |= model.leave(member);
                drop(live.remove(member));
            }
            Op::Release(member) => {
                model.release(member);
                live[member].doing = Doing::Nothing;
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
            numbers(&phaser),
            model.reported(),
            "phase, parties and arrived"
        );
        prop_assert_eq!(phaser.is_closed(), model.is_closed, "closed");
        let wakes = wakers.each_ref().map(CountingWaker::wakes);
        prop_assert_eq!(wakes, model.wakes, "wakes");
    }

    drop((live, observations));
    drop(phaser);
    for (k, waker) in wakers.iter().enumerate() {
        prop_assert_eq!(waker.held(), 0, "clones of waker {} after the phaser", k);
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
    let seen: [Cell<u32>; 9] = Default::default();

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
