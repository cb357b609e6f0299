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

use atomic_barrier::phaser::{Observation, Phaser};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use support::{
    hostile::{self, Came, Oracle, WAKERS, Within, waker},
    phasers::numbers,
    polling::Outcome,
};

use crate::reference_model::{Doing, Member, Model, Party, Step, UNSAID};

/// The most participants that a script has at a time.
const MEMBERS: usize = 4;

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
    Leave(usize),
    Release(usize),
    Observe(usize, u64),
    Look(usize, usize),
    DropObserver(usize),
    Close,
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
}

/// The phaser as it is meant, and the numbers of those that are there.
#[derive(Clone, Debug, PartialEq)]
struct Meant {
    model: Model,
    participants: Vec<usize>,
    observers: Vec<usize>,
}

fn place(numbers: &[usize], number: usize) -> usize {
    let place = numbers.iter().position(|&it| it == number);
    place.expect("it is there")
}

impl hostile::Model for Meant {
    type Call = Call;
    type Outcome = Brought;

    fn apply(&mut self, call: Call, _: &[Within<Self>]) -> Brought {
        let participant = |number| place(&self.participants, number);
        match call {
            Call::Register(number) => {
                if self.model.is_closed {
                    return Brought::Arrived(None);
                }
                let phase = self.model.register();
                self.participants.push(number);
                return Brought::Arrived(Some(phase));
            }
            Call::Wait(number, _) => {
                let party = &mut self.model.parties[participant(number)];
                party.made = false;
                party.polled = false;
            }
            Call::Poll(number, waker, holds) => {
                let outcome = self.model.poll(participant(number), waker, holds);
                return Brought::Polled(match outcome {
                    Outcome::Released(_) if holds => Outcome::Released(UNSAID),
                    outcome => outcome,
                });
            }
            Call::DropWait(number) => {
                let place = participant(number);
                let party = &mut self.model.parties[place];
                if party.step == Step::Holds {
                    // A panic has kept the leader from being returned.
                    party.step = Step::Led;
                    self.model.end();
                } else {
                    self.model.drop_wait(place);
                }
            }
            Call::ForgetWait(_) => {}
            Call::Arrive(number) => {
                return Brought::Arrived(self.model.arrive(participant(number)).ok());
            }
            Call::Leave(number) => {
                let place = participant(number);
                self.participants.remove(place);
                self.model.leave(place);
            }
            Call::Release(number) => self.model.release(participant(number)),
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
        }
        Brought::Done
    }

    fn apply_panicking(&self, call: Call, within: &[Within<Self>]) -> Vec<Self> {
        let mut as_usual = self.clone();
        let came = as_usual.apply(call, within);
        let mut all = match call {
            Call::Poll(..) | Call::Look(..) => vec![self.clone()],
            _ => vec![],
        };
        // What it came to was not brought: it has led, or its phase is over, and the next wait says so.
        if let (Call::Poll(number, ..), Brought::Polled(Outcome::Led(_) | Outcome::Released(_))) =
            (call, came)
        {
            let before = self.model.parties[place(&self.participants, number)];
            let party = &mut as_usual.model.parties[place(&self.participants, number)];
            if party.step == Step::Due {
                *party = Party {
                    step: Step::Led,
                    waits: None,
                    ..before
                };
            }
        }
        all.push(as_usual);
        all
    }
}

/// Decides what happens next, and whether a waker acts at all.
type Choice = (u8, u8, usize, usize);

fn scripts() -> impl Strategy<Value = Vec<Choice>> {
    vec((0..12_u8, 0..26_u8, 0..60_usize, 0..WAKERS), 0..100)
}

/// Somebody, who is not there during a call.
struct Live<T> {
    number: usize,
    it: Option<T>,
    /// A poll has panicked: the wait may be ready, and is only dropped.
    has_panicked: bool,
}

/// A script that runs.
struct Play {
    phaser: &'static Phaser,
    choices: Vec<Choice>,
    members: Vec<Live<Member<'static>>>,
    observers: Vec<Live<Observation<'static>>>,
    made: usize,
    oracle: Oracle<Meant>,
    depth: usize,
    deepest: usize,
    panics: usize,
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
            0..3 if self.members.len() < MEMBERS => return Some(Call::Register(number)),
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
        let there: Vec<_> = self.members.iter().filter(|it| it.it.is_some()).collect();
        let chosen = there.get(which % there.len().max(1))?;
        let number = chosen.number;
        let doing = &chosen.it.as_ref()?.doing;
        Some(match (doing, choice) {
            (Doing::Nothing, ..11) => Call::Wait(number, false),
            (Doing::Nothing, ..15) => Call::Wait(number, true),
            (Doing::Nothing, ..22) => Call::Arrive(number),
            (Doing::Nothing, _) => Call::Leave(number),
            (Doing::Leads { .. }, ..16) => Call::Release(number),
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
fn with_member<T>(number: usize, f: impl FnOnce(&mut Member<'static>) -> T) -> Came<T> {
    let mut member = play(|play| find(&mut play.members, number).it.take()).expect("in no call");
    let came = catch(|| f(&mut member));
    play(|play| find(&mut play.members, number).it = Some(member));
    came
}

/// Makes a call, whatever comes of it.
fn make(call: Call) {
    let index = play(|play| {
        play.depth += 1;
        play.deepest = play.deepest.max(play.depth);
        play.calls.push((play.depth, call));
        play.oracle.begin(call)
    });
    let phaser = play(|play| play.phaser);
    let came = match call {
        Call::Register(number) => catch(|| phaser.register()).map(|registered| {
            let participant = registered.ok();
            let phase = participant.as_ref().map(|it| it.phase());
            let it = participant.map(Member::new);
            play(|play| play.members.extend(it.map(|it| Live::new(number, it))));
            Brought::Arrived(phase)
        }),
        Call::Wait(number, holds) => with_member(number, |member| {
            let participant = member.participant();
            member.doing = match holds {
                true => Doing::WaitsToLead(participant.wait_leader()),
                false => Doing::Waits(participant.wait()),
            };
            Brought::Done
        }),
        Call::Poll(number, which, _) => {
            let came = with_member(number, |member| Brought::Polled(member.poll(&waker(which))));
            if came.is_none() {
                play(|play| find(&mut play.members, number).has_panicked = true);
            }
            came
        }
        Call::DropWait(number) => {
            play(|play| find(&mut play.members, number).has_panicked = false);
            with_member(number, |member| {
                member.doing = Doing::Nothing;
                Brought::Done
            })
        }
        Call::ForgetWait(number) => with_member(number, |member| {
            mem::forget(mem::replace(&mut member.doing, Doing::Nothing));
            Brought::Done
        }),
        Call::Arrive(number) => with_member(number, |member| {
            Brought::Arrived(member.participant().arrive().ok())
        }),
        Call::Leave(number) => {
            let member = play(|play| {
                let it = find(&mut play.members, number).it.take();
                play.members.retain(|live| live.number != number);
                it
            });
            catch(|| {
                drop(member);
                Brought::Done
            })
        }
        Call::Release(number) => with_member(number, |member| {
            member.doing = Doing::Nothing;
            Brought::Done
        }),
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
    };
    play(|play| {
        play.depth -= 1;
        play.panics += usize::from(came.is_none());
        play.oracle.end(index, came);
    });
}

impl<T> Live<T> {
    fn new(number: usize, it: T) -> Self {
        Self {
            number,
            it: Some(it),
            has_panicked: false,
        }
    }
}

fn catch<T>(f: impl FnOnce() -> T) -> Came<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// What a waker does.
fn act() {
    let choice = play(|play| {
        if play.depth < 4 {
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
        resume_unwind(Box::new("a waker panics"));
    }
}

/// What a script came to.
struct Report {
    calls: Vec<(usize, Call)>,
    deepest: usize,
    panics: usize,
}

fn run(choices: Vec<Choice>) -> Result<Report, (TestCaseError, Report)> {
    let raw = Box::into_raw(Box::new(Phaser::new()));
    let meant = Meant {
        model: Model::default(),
        participants: Vec::new(),
        observers: Vec::new(),
    };
    let new = Play {
        // SAFETY: boxed above and freed below, after all that borrows it.
        phaser: unsafe { &*raw },
        choices,
        members: Vec::new(),
        observers: Vec::new(),
        made: 0,
        oracle: Oracle::new(meant),
        depth: 0,
        deepest: 0,
        panics: 0,
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
            let before = play.oracle.clone();
            let agrees = play.oracle.sees(|meant| {
                meant.model.wakes = [0; WAKERS];
                meant.model.reported() == seen && meant.model.is_closed == is_closed
            });
            prop_assert!(agrees, "{:?}: {:#?}", play.phaser, before);
            Ok(())
        });
        if result.is_err() {
            break;
        }
    }

    let (members, observers) = play(|play| {
        play.choices.clear();
        (mem::take(&mut play.members), mem::take(&mut play.observers))
    });
    drop((members, observers));
    // SAFETY: boxed above, and nothing borrows it any more. What was forgotten is not used again.
    drop(unsafe { Box::from_raw(raw) });
    let play = PLAY.take().expect("set above");
    let report = Report {
        calls: play.calls,
        deepest: play.deepest,
        panics: play.panics,
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
    let (nested, panicked) = (Cell::new(0), Cell::new(0));

    let result = TestRunner::new(config).run(&scripts(), |script| {
        let report = run(script).map_err(|(error, _)| error)?;
        nested.set(nested.get() + u32::from(report.deepest > 2));
        panicked.set(panicked.get() + u32::from(report.panics > 0));
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
    let seen = (nested.get(), panicked.get());
    assert!(
        seen.0.min(seen.1) >= cases / 20,
        "of {cases} scripts, {seen:?}"
    );
}
