//! Random scripts, parts of which wakers run, within the library's calls.

use core::{
    cell::{Cell, RefCell},
    mem,
    pin::Pin,
    task::{Context, Poll},
};
use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

use atomic_barrier::phaser::{Exit, Observation, Phaser};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{TestError, TestRunner},
};

use support::{
    hostile::{self, Came, Oracle, WAKERS, Within, waker},
    phasers::numbers,
    polling::Outcome,
};

use crate::reference_model::{
    After, BusyParticipant, Doing, Model, Scan, Step, UNSAID, Waiters, missing, name_as,
};

/// The most participants that a script has at a time.
const PARTICIPANTS: usize = 4;

/// A call. Participants and observers go by their numbers, in the order in which they came.
#[derive(Clone, Copy, Debug)]
enum Call {
    Register(usize),
    /// Begins a wait, perhaps one that leads.
    Wait(usize, bool),
    Poll(usize, usize, bool),
    DropWait(usize),
    ForgetWait(usize),
    Arrive(usize),
    /// By `leave`, or by a drop.
    Leave(usize, bool),
    Release(usize),
    ForgetLeader(usize),
    Observe(usize, u64),
    Look(usize, usize),
    DropObserver(usize),
    Close,
    // What a call of a participant does besides its own effect:
    /// It releases the phase whose leader was leaked.
    Settle(usize),
    /// It begins the action of this phase, of so many.
    Act(usize, u64, usize),
    /// The action has come to its end.
    Acted(usize),
    /// The action has panicked, and closes the phaser.
    Fail(usize),
    /// After that it releases the phase.
    ReleaseFailed(usize),
    /// It leaves the next phase.
    LeaveNext(usize),
}

impl Call {
    /// The participant that makes it.
    fn participant(self) -> Option<usize> {
        match self {
            Self::Wait(number, _)
            | Self::Poll(number, ..)
            | Self::DropWait(number)
            | Self::ForgetWait(number)
            | Self::Arrive(number)
            | Self::Leave(number, _)
            | Self::Release(number)
            | Self::ForgetLeader(number)
            | Self::Settle(number)
            | Self::Act(number, ..)
            | Self::Acted(number)
            | Self::Fail(number)
            | Self::ReleaseFailed(number)
            | Self::LeaveNext(number) => Some(number),
            Self::Register(_) | Self::Observe(..) | Self::Look(..) | Self::DropObserver(_) => None,
            Self::Close => None,
        }
    }

    fn observer(self) -> Option<usize> {
        match self {
            Self::Look(number, _) | Self::DropObserver(number) => Some(number),
            _ => None,
        }
    }
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Brought {
    Done,
    Polled(Outcome),
    /// In this phase, unless it was refused.
    Arrived(Option<u64>),
    /// Whether the phase is over, unless that is open.
    Seen(Option<bool>),
    /// It cannot be made yet.
    Never,
}

/// The phaser as it is meant, and the numbers of those that are there.
#[derive(Clone, Debug, PartialEq)]
struct Meant {
    model: Model,
    participants: Vec<usize>,
    observers: Vec<usize>,
    /// The participant whose action runs.
    acts: Option<usize>,
    wakes: Wakes,
}

/// How often each waker may have been woken.
#[derive(Clone, Debug, Default, PartialEq)]
struct Wakes {
    /// With those of the steps before, of which it is known.
    most: [usize; WAKERS],
    /// Of these, those of a participant or observer that did something before it was woken.
    optional: [usize; WAKERS],
    /// Beyond those: a wake may find a waker that was registered after it began.
    possible: [usize; WAKERS],
    /// In this step: which phases ended or changed, and the numbers and wakers of those that waited.
    scans: Vec<Scan>,
}

impl Wakes {
    /// One of them does something, and perhaps registers `waker` for `phase`.
    fn touch(&mut self, waiters: Waiters, number: usize, registers: Option<(u64, usize)>) {
        for scan in self.scans.iter_mut().filter(|it| it.waiters == waiters) {
            scan.woken.retain(|&(other, waker)| {
                self.optional[waker] += usize::from(other == number);
                other != number
            });
            if let Some((phase, waker)) = registers
                && scan.phases.contains(&phase)
            {
                self.possible[waker] += 1;
            }
        }
    }

    /// Whether the wakers were woken so; from here on that is settled.
    fn agree(&mut self, wakes: [usize; WAKERS]) -> bool {
        let before = mem::take(self);
        self.most = wakes;
        (0..WAKERS).all(|waker| {
            let most = before.most[waker];
            let range = most - before.optional[waker]..=most + before.possible[waker];
            range.contains(&wakes[waker])
        })
    }
}

fn place(numbers: &[usize], number: usize) -> usize {
    let place = numbers.iter().position(|&it| it == number);
    place.expect("it is there")
}

impl hostile::Model for Meant {
    type Call = Call;
    type Outcome = Brought;

    fn apply(&mut self, call: Call, _: &[Within<Self>]) -> Brought {
        let phase = self.awaited(call);
        let brought = self.apply_alone(call);
        // A poll that has cloned its waker may register that for a phase that was over meanwhile.
        let registers = matches!(
            brought,
            Brought::Polled(Outcome::Pending | Outcome::Released(_)) | Brought::Seen(None)
        );
        self.note_wakes(call, phase.filter(|_| registers));
        brought
    }

    fn apply_panicking(&self, call: Call, within: &[Within<Self>]) -> Vec<Self> {
        let phase = self.awaited(call);
        let mut all = Vec::new();
        let mut as_usual = self.clone();
        let came = as_usual.apply_alone(call);
        match (call, came) {
            (_, Brought::Never) => return all,
            (Call::Poll(number, ..), Brought::Polled(outcome)) => {
                let it = &mut as_usual.model.participants[place(&self.participants, number)];
                // What it came to was not brought, and the next wait says so.
                match (outcome, it.step) {
                    (Outcome::Led(_), Step::Acts(After::Due)) => it.step = Step::Acts(After::Led),
                    (Outcome::Led(led), Step::Due) => {
                        (it.phase, it.step) = (led, Step::Led);
                    }
                    _ => {}
                }
                // It may have panicked before it did anything, or have found its phase over.
                let mut begun = self.clone();
                let it = &mut begun.model.participants[place(&self.participants, number)];
                it.made |= it.step == Step::Due;
                it.polled = true;
                all.push(begun);
                if !matches!(outcome, Outcome::Released(_)) {
                    all.push(as_usual);
                }
            }
            (Call::Look(..), _) => all = vec![self.clone(), as_usual],
            // The release of a leaked leader panicked before.
            (Call::Arrive(number), _)
                if within
                    .iter()
                    .any(|(call, _)| matches!(call, Call::Settle(it) if *it == number)) =>
            {
                all = vec![self.clone(), as_usual];
            }
            _ => all.push(as_usual),
        }
        for meant in &mut all {
            meant.note_wakes(call, phase);
        }
        all
    }
}

impl Meant {
    /// For which phase a poll with this waker waits, if it waits.
    fn awaited(&self, call: Call) -> Option<(u64, usize)> {
        match call {
            Call::Poll(number, waker, _) => {
                let it = &self.model.participants[place(&self.participants, number)];
                Some((it.phase, waker))
            }
            Call::Look(number, waker) => Some((
                self.model.observers[place(&self.observers, number)].0,
                waker,
            )),
            _ => None,
        }
    }

    fn note_wakes(&mut self, call: Call, registers: Option<(u64, usize)>) {
        if let Some(number) = call.participant() {
            self.wakes.touch(Waiters::Participants, number, registers);
        } else if let Some(number) = call.observer() {
            self.wakes.touch(Waiters::Observers, number, registers);
        }
        self.model.wakes = [0; WAKERS];
        for mut scan in mem::take(&mut self.model.scans) {
            let numbers = match scan.waiters {
                Waiters::Participants => &self.participants,
                Waiters::Observers => &self.observers,
            };
            for (place, waker) in &mut scan.woken {
                *place = numbers[*place];
                self.wakes.most[*waker] += 1;
            }
            self.wakes.scans.push(scan);
        }
    }

    fn apply_alone(&mut self, call: Call) -> Brought {
        let number = call.participant();
        let participant = match number.map(|it| self.participants.iter().position(|&at| at == it)) {
            // It has left.
            Some(None) => return Brought::Never,
            place => place.flatten().unwrap_or(0),
        };
        let step = self.model.participants.get(participant).map(|it| it.step);
        match call {
            Call::Register(number) => {
                if self.model.is_closed {
                    return Brought::Arrived(None);
                }
                let phase = self.model.register(Some(number));
                self.participants.push(number);
                return Brought::Arrived(Some(phase));
            }
            Call::Wait(..) => {
                let it = &mut self.model.participants[participant];
                it.made = false;
                it.polled = false;
            }
            Call::Poll(..) | Call::Arrive(_) | Call::Leave(..)
                if matches!(step, Some(Step::Holds | Step::Acts(_))) =>
            {
                return Brought::Never;
            }
            Call::Poll(_, waker, holds) => {
                let outcome = self.model.poll(participant, waker, holds);
                return Brought::Polled(match outcome {
                    Outcome::Released(_) if holds => Outcome::Released(UNSAID),
                    outcome => outcome,
                });
            }
            Call::DropWait(_) => {
                let it = &mut self.model.participants[participant];
                if it.step == Step::Holds && it.polled {
                    // A panic has kept the leader from being returned.
                    it.step = Step::Led;
                    self.model.end();
                } else {
                    self.model.drop_wait(participant);
                }
            }
            Call::ForgetWait(_) | Call::ForgetLeader(_) => {}
            Call::Arrive(_) => return Brought::Arrived(self.model.arrive(participant).ok()),
            Call::LeaveNext(_) if matches!(step, Some(Step::Acts(_))) => return Brought::Never,
            Call::Leave(..) | Call::LeaveNext(_) => {
                let before = self.model.participants.len();
                self.model.leave(participant);
                if self.model.participants.len() < before {
                    self.participants.remove(participant);
                }
            }
            Call::Release(_) => self.model.release(participant),
            Call::Observe(number, phase) => {
                self.observers.push(number);
                self.model.observers.push((phase, None));
            }
            Call::Look(number, waker) => {
                let place = place(&self.observers, number);
                return Brought::Seen(match self.model.look(place, waker) {
                    Poll::Pending => None,
                    Poll::Ready(end) => Some(end.is_ok()),
                });
            }
            Call::DropObserver(number) => {
                let place = place(&self.observers, number);
                self.observers.remove(place);
                self.model.observers.remove(place);
            }
            Call::Close => self.model.close(),
            Call::Settle(_) if step == Some(Step::Holds) => self.model.release(participant),
            Call::Act(_, phase, participants)
                if self.acts.is_none()
                    && matches!(step, Some(Step::Acts(_)))
                    && self.model.reported() == (phase, participants, participants) =>
            {
                self.acts = number;
            }
            Call::Acted(_) if self.acts == number => {
                self.acts = None;
                self.model.acted(participant);
            }
            Call::Fail(_) if self.acts == number => {
                self.acts = None;
                self.model.fail();
            }
            Call::ReleaseFailed(_) if self.model.failed.is_some() => {
                self.model.release(participant);
            }
            Call::Settle(_)
            | Call::Act(..)
            | Call::Acted(_)
            | Call::Fail(_)
            | Call::ReleaseFailed(_) => return Brought::Never,
        }
        Brought::Done
    }
}

/// Decides what happens next, and whether a waker acts at all.
type Choice = (u8, u8, usize, usize);

/// Whether phases have an action, which acts as wakers do, and which ends of participants close.
type Built = (bool, Option<Exit>);

type Script = (Built, Vec<Choice>);

fn scripts() -> impl Strategy<Value = Script> {
    let exits = select(vec![None, Some(Exit::Panic), Some(Exit::Drop)]);
    let choices = (0..12_u8, 0..26_u8, 0..60_usize, 0..WAKERS);
    ((any::<bool>(), exits), vec(choices, 0..100))
}

/// Somebody, who is not there during a call.
struct Live<T> {
    number: usize,
    it: Option<T>,
    /// A poll has panicked: the wait may be ready, and is only dropped.
    has_panicked: bool,
    /// It has leaked its leader, and releases with its next call.
    holds: bool,
}

/// A call that is open.
struct Open {
    call: Call,
    /// What it does besides, by the oracle's numbers.
    besides: Vec<usize>,
    /// A waker or an action has panicked in it.
    has_panicked: bool,
}

/// A script that runs.
struct Play {
    phaser: &'static Phaser,
    choices: Vec<Choice>,
    participants: Vec<Live<BusyParticipant<'static>>>,
    observers: Vec<Live<Observation<'static>>>,
    made: usize,
    oracle: Oracle<Meant>,
    close_on: Option<Exit>,
    open: Vec<Open>,
    deepest: usize,
    panics: usize,
    /// The panics of wakers that did not come out of the call that they were in.
    lost_panics: usize,
    /// The actions that did something.
    actions: usize,
    calls: Vec<(usize, Call)>,
}

thread_local! {
    static PLAY: RefCell<Option<Play>> = const { RefCell::new(None) };
}

fn play<T>(f: impl FnOnce(&mut Play) -> T) -> T {
    PLAY.with_borrow_mut(|play| f(play.as_mut().expect("a script runs")))
}

fn find<T>(all: &mut [Live<T>], number: usize) -> &mut Live<T> {
    let live = all.iter_mut().find(|live| live.number == number);
    live.expect("it is there")
}

impl Play {
    fn decide(&mut self, (_, choice, which, waker): Choice) -> Option<Call> {
        self.made += 1;
        let number = self.made;
        match choice {
            0..3 if self.participants.len() < PARTICIPANTS => return Some(Call::Register(number)),
            3 if which % 8 == 0 => return Some(Call::Close),
            3 if self.observers.len() < 4 => {
                let phase = self.phaser.phase() + which as u64 % 4;
                return Some(Call::Observe(number, phase.saturating_sub(1)));
            }
            4 | 5 => {
                let there: Vec<_> = self.observers.iter().filter(|it| it.it.is_some()).collect();
                let chosen = there.get(which % there.len().max(1))?;
                return Some(match choice {
                    4 if !chosen.has_panicked => Call::Look(chosen.number, waker),
                    _ => Call::DropObserver(chosen.number),
                });
            }
            _ => {}
        }
        let there: Vec<_> = self
            .participants
            .iter()
            .filter(|it| it.it.is_some())
            .collect();
        let chosen = there.get(which % there.len().max(1))?;
        let number = chosen.number;
        let doing = &chosen.it.as_ref()?.doing;
        Some(match (doing, choice) {
            // What is rare otherwise: a destructor that leaves.
            (Doing::Nothing, ..20) if thread::panicking() => Call::Leave(number, waker > 0),
            (Doing::Nothing, ..11) => Call::Wait(number, false),
            (Doing::Nothing, ..15) => Call::Wait(number, true),
            (Doing::Nothing, ..22) => Call::Arrive(number),
            (Doing::Nothing, _) => Call::Leave(number, choice > 23),
            (Doing::Leads { .. }, ..14) => Call::Release(number),
            (Doing::Leads { .. }, ..16) => Call::ForgetLeader(number),
            (Doing::Leads { .. }, _) => return None,
            _ if chosen.has_panicked => Call::DropWait(number),
            (Doing::Waits(_), ..20) => Call::Poll(number, waker, false),
            (Doing::WaitsToLead(_), ..20) => Call::Poll(number, waker, true),
            (_, 20) => Call::ForgetWait(number),
            _ => Call::DropWait(number),
        })
    }
}

/// Takes a participant out while `f` is called with it.
fn with_participant<T>(
    number: usize,
    f: impl FnOnce(&mut BusyParticipant<'static>) -> T,
) -> Came<T> {
    let mut participant =
        play(|play| find(&mut play.participants, number).it.take()).expect("in no call");
    let came = catch(|| f(&mut participant));
    play(|play| find(&mut play.participants, number).it = Some(participant));
    came
}

/// Makes a call, whatever comes of it.
fn make(call: Call) {
    let index = play(|play| {
        play.open.push(Open {
            call,
            besides: Vec::new(),
            has_panicked: false,
        });
        play.deepest = play.deepest.max(play.open.len());
        play.calls.push((play.open.len(), call));
        play.oracle.begin(call)
    });
    if let Call::Poll(number, ..) | Call::Arrive(number) | Call::Leave(number, _) = call {
        let is_closing = match play(|play| play.close_on) {
            Some(Exit::Panic) => thread::panicking(),
            on => on == Some(Exit::Drop),
        };
        if is_closing && matches!(call, Call::Leave(_, false)) {
            besides(Call::Close);
        }
        if play(|play| mem::take(&mut find(&mut play.participants, number).holds)) {
            besides(Call::Settle(number));
        }
    }
    let phaser = play(|play| play.phaser);
    let came = match call {
        Call::Register(number) => catch(|| phaser.register()).map(|registered| {
            let participant = registered.ok().map(|it| name_as(it, Some(number)));
            let phase = participant.as_ref().map(|it| it.phase());
            let it = participant.map(BusyParticipant::new);
            play(|play| play.participants.extend(it.map(|it| Live::new(number, it))));
            Brought::Arrived(phase)
        }),
        Call::Wait(number, holds) => with_participant(number, |participant| {
            participant.doing = match holds {
                true => Doing::WaitsToLead(participant.participant().wait_leader()),
                false => Doing::Waits(participant.participant().wait()),
            };
            Brought::Done
        }),
        Call::Poll(number, which, _) => {
            let came = with_participant(number, |participant| {
                Brought::Polled(participant.poll(&waker(which)))
            });
            if came.is_none() {
                play(|play| find(&mut play.participants, number).has_panicked = true);
            }
            came
        }
        Call::DropWait(number) => {
            play(|play| find(&mut play.participants, number).has_panicked = false);
            with_participant(number, |participant| {
                participant.doing = Doing::Nothing;
                Brought::Done
            })
        }
        Call::ForgetWait(number) => with_participant(number, |participant| {
            mem::forget(mem::replace(&mut participant.doing, Doing::Nothing));
            Brought::Done
        }),
        Call::Arrive(number) => with_participant(number, |participant| {
            Brought::Arrived(participant.participant().arrive().ok())
        }),
        Call::Leave(number, leaves) => {
            let participant = play(|play| {
                let it = find(&mut play.participants, number).it.take();
                play.participants.retain(|live| live.number != number);
                it
            });
            catch(|| {
                match participant {
                    Some(participant) if leaves => participant.leave(),
                    participant => drop(participant),
                }
                Brought::Done
            })
        }
        Call::Release(number) => with_participant(number, |participant| {
            participant.doing = Doing::Nothing;
            Brought::Done
        }),
        Call::ForgetLeader(number) => {
            play(|play| find(&mut play.participants, number).holds = true);
            with_participant(number, |participant| {
                mem::forget(mem::replace(&mut participant.doing, Doing::Nothing));
                Brought::Done
            })
        }
        Call::Observe(number, phase) => play(|play| {
            let observation = phaser.observe(phase);
            play.observers.push(Live::new(number, observation));
            Some(Brought::Done)
        }),
        Call::Look(number, which) => {
            let mut it = play(|play| find(&mut play.observers, number).it.take()).unwrap();
            let came = catch(|| {
                let waker = waker(which);
                match Pin::new(&mut it).poll(&mut Context::from_waker(&waker)) {
                    Poll::Pending => Brought::Seen(None),
                    Poll::Ready(end) => Brought::Seen(Some(end.is_ok())),
                }
            });
            play(|play| {
                let live = find(&mut play.observers, number);
                live.it = Some(it);
                live.has_panicked = came.is_none();
            });
            came
        }
        Call::DropObserver(number) => {
            let it = play(|play| {
                let it = find(&mut play.observers, number).it.take();
                play.observers.retain(|live| live.number != number);
                it
            });
            catch(|| {
                drop(it);
                Brought::Done
            })
        }
        Call::Close => catch(|| {
            phaser.close();
            Brought::Done
        }),
        Call::Settle(_)
        | Call::Act(..)
        | Call::Acted(_)
        | Call::Fail(_)
        | Call::ReleaseFailed(_)
        | Call::LeaveNext(_) => unreachable!("done by other calls"),
    };
    play(|play| {
        let open = play.open.pop().expect("begun above");
        play.lost_panics += usize::from(open.has_panicked && came.is_some());
        for index in open.besides {
            play.oracle.end(index, Some(Brought::Done));
        }
        play.panics += usize::from(came.is_none());
        play.oracle.end(index, came);
    });
}

/// The innermost call does this, too, before its end.
fn besides(call: Call) {
    play(|play| {
        let index = play.oracle.begin(call);
        let open = play.open.last_mut().expect("a call does it");
        open.besides.push(index);
    });
}

/// The action of a phase, which does what wakers do.
fn on_phase(phase: u64, participants: usize) {
    let call = play(|play| play.open.last().map(|open| open.call));
    // None after the script.
    let Some(call) = call else { return };
    let number = call.participant().expect("it completes a phase");
    let left = play(|play| {
        let index = play.oracle.begin(Call::Act(number, phase, participants));
        play.oracle.end(index, Some(Brought::Done));
        play.choices.len()
    });
    let came = catch(act);
    match came {
        Some(()) => besides(Call::Acted(number)),
        None => {
            besides(Call::Fail(number));
            besides(Call::ReleaseFailed(number));
        }
    }
    if let Call::Leave(..) = call {
        besides(Call::LeaveNext(number));
    }
    play(|play| play.actions += usize::from(play.choices.len() < left));
    if came.is_none() {
        resume_unwind(Box::new("an action panics"));
    }
}

impl<T> Live<T> {
    fn new(number: usize, it: T) -> Self {
        Self {
            number,
            it: Some(it),
            has_panicked: false,
            holds: false,
        }
    }
}

fn catch<T>(f: impl FnOnce() -> T) -> Came<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// What a waker or an action does.
fn act() {
    let choice = play(|play| {
        if play.open.len() < 4 {
            play.choices.pop()
        } else {
            None
        }
    });
    let Some(choice) = choice else { return };
    if matches!(choice.0, 5..11)
        && let Some(call) = play(|play| play.decide(choice))
    {
        make(call);
    }
    // A second panic would abort.
    if matches!(choice.0, 10..) && !thread::panicking() {
        play(|play| {
            // None at the end of a script.
            if let Some(open) = play.open.last_mut() {
                open.has_panicked = true;
            }
        });
        resume_unwind(Box::new("a waker panics"));
    }
}

/// What a script came to.
struct Report {
    calls: Vec<(usize, Call)>,
    deepest: usize,
    panics: usize,
    actions: usize,
}

fn run(((has_action, close_on), choices): Script) -> Result<Report, (TestCaseError, Report)> {
    let mut builder = Phaser::builder();
    if has_action {
        builder = builder.on_phase(on_phase);
    }
    if let Some(exit) = close_on {
        builder = builder.close_on(exit);
    }
    let raw = Box::into_raw(Box::new(builder.build()));
    let meant = Meant {
        model: Model::new(has_action),
        acts: None,
        wakes: Wakes::default(),
        participants: Vec::new(),
        observers: Vec::new(),
    };
    let new = Play {
        // SAFETY: boxed above and freed below, after all that borrows it.
        phaser: unsafe { &*raw },
        choices,
        participants: Vec::new(),
        observers: Vec::new(),
        made: 0,
        oracle: Oracle::new(meant),
        close_on,
        open: Vec::new(),
        deepest: 0,
        panics: 0,
        lost_panics: 0,
        actions: 0,
        calls: Vec::new(),
    };
    PLAY.set(Some(new));
    hostile::begin(act);

    let mut result = Ok(());
    while let Some(choice) = play(|play| play.choices.pop()) {
        let Some(call) = play(|play| play.decide(choice)) else {
            continue;
        };
        make(call);
        result = play(|play| {
            let seen = numbers(play.phaser);
            let is_closed = play.phaser.is_closed();
            let wakes = hostile::wakes();
            let missing = missing(play.phaser);
            let before = play.oracle.clone();
            prop_assert_eq!(play.lost_panics, 0, "panics that did not come out");
            let agrees = play.oracle.sees(|meant| {
                meant.model.reported() == seen
                    && meant.model.missing() == missing
                    && meant.model.is_closed == is_closed
                    && meant.model.acting().is_none()
                    && meant.wakes.agree(wakes)
            });
            prop_assert!(
                agrees,
                "{:?}, woken {:?}: {:#?}",
                play.phaser,
                wakes,
                before
            );
            Ok(())
        });
        if result.is_err() {
            break;
        }
    }

    let (participants, observers) = play(|play| {
        play.choices.clear();
        (
            mem::take(&mut play.participants),
            mem::take(&mut play.observers),
        )
    });
    drop((participants, observers));
    // SAFETY: boxed above, and nothing borrows it any more. What was forgotten is not used again.
    drop(unsafe { Box::from_raw(raw) });
    let play = PLAY.take().expect("set above");
    let report = Report {
        calls: play.calls,
        deepest: play.deepest,
        panics: play.panics,
        actions: play.actions,
    };
    if result.is_ok() && hostile::held() != [0; WAKERS] {
        result = Err(TestCaseError::fail("clones of wakers after the phaser"));
    }
    match result {
        Ok(()) => Ok(report),
        Err(error) => Err((error, report)),
    }
}

/// `PROPTEST_CASES` sets another number of scripts.
#[test]
fn wakers_may_do_anything_at_any_time() {
    let mut config = ProptestConfig {
        // The calls that are printed say all.
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 10_000;
    }
    let cases = config.cases;
    let [nested, panicked, acted] = [(); 3].map(|()| Cell::new(0));

    let result = TestRunner::new(config).run(&scripts(), |script| {
        let report = run(script).map_err(|(error, _)| error)?;
        nested.set(nested.get() + u32::from(report.deepest > 2));
        panicked.set(panicked.get() + u32::from(report.panics > 0));
        acted.set(acted.get() + u32::from(report.actions > 0));
        Ok(())
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(why, script)) => {
            let report = run(script).unwrap_or_else(|(_, report)| report);
            panic!("{why}\nat the last of {:?}", report.calls);
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // Scripts that never get there would show nothing.
    let seen = [nested, panicked, acted].map(|scripts| scripts.get());
    assert!(
        seen.iter().min() >= Some(&(cases / 20)),
        "of {cases} scripts, {seen:?}"
    );
}
