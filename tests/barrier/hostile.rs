//! Random scripts, parts of which wakers run, within the library's calls.

use core::{
    cell::{Cell, RefCell},
    mem,
};
use std::{
    collections::BTreeMap,
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    thread,
};

use atomic_barrier::barrier::Barrier;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use support::{
    hostile::{self, Came, Oracle, WAKERS, Within, waker},
    polling::Outcome,
};

use crate::reference_model::{AnyLeader, AnyWait, Kind, Model, Step, UNSAID};

/// A call. A future goes by its number, in the order in which they were made.
#[derive(Clone, Copy, Debug)]
enum Call {
    New(usize, Kind),
    /// Of this generation.
    Observe(usize, u64),
    Poll(usize, usize),
    Drop(usize),
    Forget(usize),
    Release,
    /// A poll that panics withdraws, before it ends.
    Unwind(usize),
}

/// The barrier as it is meant, and how far each future has come.
#[derive(Clone, Debug, PartialEq)]
struct Meant {
    model: Model,
    futures: BTreeMap<usize, (Kind, Step)>,
    /// The futures whose polls panic, and are to withdraw.
    unwinding: Vec<usize>,
    /// The futures that were released in this step, with the wakers that are woken for that.
    released: Vec<(usize, usize)>,
    /// Wakes that may be left out: of a future that is polled or dropped before it is woken.
    optional: [usize; WAKERS],
}

impl Meant {
    /// Whether the wakers were woken so; from here on that is settled.
    fn was_woken(&mut self, wakes: [usize; WAKERS]) -> bool {
        let most = mem::replace(&mut self.model.wakes, wakes);
        let optional = mem::take(&mut self.optional);
        self.released.clear();
        (0..WAKERS)
            .all(|waker| (most[waker] - optional[waker]..=most[waker]).contains(&wakes[waker]))
    }
}

impl hostile::Model for Meant {
    type Call = Call;
    type Outcome = Outcome;

    fn apply(&mut self, call: Call, within: &[Within<Self>]) -> Outcome {
        let waited = self.model.waiting.clone();
        let outcome = self.apply_alone(call);
        let released = waited.into_iter();
        let released = released.filter(|&(_, generation, _)| generation < self.model.generation);
        self.released
            .extend(released.map(|(future, _, waker)| (future, waker)));
        // It has its effect in the middle of a poll that has not.
        let touched = within.iter().filter_map(|call| match *call {
            // If it stays pending, it needs the wake.
            (Call::Poll(..), Some(Outcome::Pending)) => None,
            (Call::Poll(future, _) | Call::Drop(future) | Call::Unwind(future), _) => Some(future),
            _ => None,
        });
        for touched in touched {
            self.released.retain(|&(future, waker)| {
                self.optional[waker] += usize::from(future == touched);
                future != touched
            });
        }
        outcome
    }

    fn apply_panicking(&self, call: Call, within: &[Within<Self>]) -> Vec<Self> {
        let mut as_usual = self.clone();
        as_usual.apply(call, within);
        let Call::Poll(future, _) = call else {
            return vec![as_usual];
        };
        // The clone of a waker panicked before it did anything, or other code of a waker after that.
        let mut all = vec![self.clone(), as_usual];
        if self.futures[&future].0.withdraws() {
            for meant in &mut all {
                meant.unwinding.push(future);
            }
        }
        all
    }
}

impl Meant {
    fn apply_alone(&mut self, call: Call) -> Outcome {
        match call {
            Call::New(future, kind) => {
                let step = match kind.arrives_at_once().then(|| self.model.arrive(false)) {
                    // It comes back when it is polled.
                    Some(Step::Queued(_)) | None => Step::New,
                    Some(step) => step,
                };
                self.futures.insert(future, (kind, step));
            }
            Call::Observe(future, generation) => {
                let step = Step::Counted(generation);
                self.futures.insert(future, (Kind::Observe, step));
            }
            Call::Poll(future, waker) => {
                let (kind, step) = self.futures[&future];
                let (step, outcome) = self.model.poll(future, step, kind.holds(), waker);
                self.futures.insert(future, (kind, step));
                return match outcome {
                    Outcome::Released(_) if kind.holds() || kind == Kind::Observe => {
                        Outcome::Released(UNSAID)
                    }
                    outcome => outcome,
                };
            }
            Call::Drop(future) => {
                let (kind, step) = self.futures.remove(&future).expect("there is one");
                self.model.drop(future, step, kind);
            }
            Call::Forget(future) => {
                self.futures.remove(&future);
            }
            Call::Release => self.model.release(),
            // Not before what the poll did.
            Call::Unwind(future) if !self.unwinding.contains(&future) => {
                return Outcome::Released(UNSAID);
            }
            Call::Unwind(future) => {
                self.unwinding.retain(|&other| other != future);
                let (kind, step) = self.futures[&future];
                let withdraws = match step {
                    Step::Counted(generation) => self.model.is_open(generation),
                    Step::Queued(_) => true,
                    Step::New | Step::Led(_) => false,
                };
                if withdraws {
                    self.model.drop(future, step, kind);
                    self.futures.insert(future, (kind, Step::New));
                }
            }
        }
        Outcome::Pending
    }
}

/// Decides what happens next, and whether a waker acts at all.
type Choice = (u8, u8, usize, usize);

/// The number of parties, and the choices.
type Script = (usize, Vec<Choice>);

fn scripts() -> impl Strategy<Value = Script> {
    let choices = (0..12_u8, 0..15_u8, 0..60_usize, 0..WAKERS);
    (1..=4_usize, vec(choices, 0..100))
}

struct Live {
    /// Not there while it is in a call.
    wait: Option<AnyWait<'static>>,
    number: usize,
    kind: Kind,
    is_ready: bool,
}

impl Live {
    fn new(wait: AnyWait<'static>, number: usize, kind: Kind) -> Self {
        Self {
            wait: Some(wait),
            number,
            kind,
            is_ready: false,
        }
    }
}

/// A script that runs.
struct Play {
    barrier: &'static Arc<Barrier>,
    choices: Vec<Choice>,
    live: Vec<Live>,
    leader: Option<AnyLeader<'static>>,
    made: usize,
    oracle: Oracle<Meant>,
    /// Of each open call, from the outermost, whether a waker has panicked in it.
    open: Vec<bool>,
    deepest: usize,
    calls: Vec<(usize, Call)>,
    panics: usize,
    /// The panics of wakers that did not come out of the call that they were in.
    lost_panics: usize,
    /// The futures whose polls panicked in the last step.
    panicked: Vec<usize>,
}

thread_local! {
    static PLAY: RefCell<Option<Play>> = const { RefCell::new(None) };
}

fn play<T>(f: impl FnOnce(&mut Play) -> T) -> T {
    PLAY.with_borrow_mut(|play| f(play.as_mut().expect("a script runs")))
}

impl Play {
    fn decide(&mut self, (_, choice, which, waker): Choice) -> Option<Call> {
        match choice {
            0..4 => {
                self.made += 1;
                let kinds = [
                    Kind::Wait,
                    Kind::Owned,
                    Kind::Arrive,
                    Kind::OwnedArrive,
                    Kind::Leader,
                    Kind::OwnedLeader,
                ];
                let call = match kinds.get(which % 7) {
                    Some(&kind) => Call::New(self.made, kind),
                    None => Call::Observe(self.made, self.barrier.generation() + waker as u64),
                };
                return (self.live.len() < 3 * self.barrier.parties()).then_some(call);
            }
            4 => return self.leader.is_some().then_some(Call::Release),
            _ => {}
        }
        let there: Vec<_> = self.live.iter().filter(|it| it.wait.is_some()).collect();
        let chosen = there.get(which % there.len().max(1))?;
        let future = chosen.number;
        match choice {
            5..12 if chosen.is_ready => None,
            5..12 => Some(Call::Poll(future, waker)),
            // A forgotten owned wait would keep the barrier for ever.
            14 if !chosen.kind.is_owned() => Some(Call::Forget(future)),
            _ => Some(Call::Drop(future)),
        }
    }

    fn place(&self, future: usize) -> usize {
        let place = self.live.iter().position(|live| live.number == future);
        place.expect("there is one")
    }

    fn take(&mut self, future: usize) -> AnyWait<'static> {
        let place = self.place(future);
        self.live[place].wait.take().expect("it is in no call")
    }
}

/// Makes a call, whatever comes of it.
fn make(call: Call) {
    let number = play(|play| {
        play.open.push(false);
        play.deepest = play.deepest.max(play.open.len());
        play.calls.push((play.open.len(), call));
        play.oracle.begin(call)
    });
    let came = match call {
        Call::New(future, kind) => {
            let barrier = play(|play| play.barrier);
            let wait = catch(|| AnyWait::new(barrier, kind));
            wait.map(|wait| {
                play(|play| play.live.push(Live::new(wait, future, kind)));
                Outcome::Pending
            })
        }
        Call::Observe(future, generation) => play(|play| {
            let wait = AnyWait::Observe(play.barrier.observe(generation));
            play.live.push(Live::new(wait, future, Kind::Observe));
            Some(Outcome::Pending)
        }),
        Call::Poll(future, which) => {
            let mut wait = play(|play| play.take(future));
            let mut leader = None;
            let came = catch(|| wait.poll(&waker(which), &mut leader));
            play(|play| {
                let place = play.place(future);
                let live = &mut play.live[place];
                live.wait = Some(wait);
                live.is_ready = came.is_some_and(|outcome| outcome != Outcome::Pending);
                if leader.is_some() {
                    assert!(play.leader.is_none(), "two leaders");
                    play.leader = leader;
                }
            });
            came
        }
        Call::Drop(future) => {
            let wait = play(|play| {
                let wait = play.take(future);
                let place = play.place(future);
                play.live.remove(place);
                wait
            });
            catch(|| {
                drop(wait);
                Outcome::Pending
            })
        }
        Call::Forget(future) => {
            mem::forget(play(|play| {
                let wait = play.take(future);
                let place = play.place(future);
                play.live.remove(place);
                wait
            }));
            Some(Outcome::Pending)
        }
        Call::Release => {
            let leader = play(|play| play.leader.take());
            catch(|| {
                drop(leader);
                Outcome::Pending
            })
        }
        Call::Unwind(_) => unreachable!("done by polls"),
    };
    play(|play| {
        let has_panicked = play.open.pop().expect("begun above");
        play.lost_panics += usize::from(has_panicked && came.is_some());
        play.panics += usize::from(came.is_none());
        if let (None, Call::Poll(future, _)) = (came, call) {
            // It may be ready, and must not be polled then.
            let place = play.place(future);
            play.live[place].is_ready = true;
            play.panicked.push(future);
            if play.live[place].kind.withdraws() {
                play.oracle
                    .does(number, Call::Unwind(future), Outcome::Pending);
            }
        }
        play.oracle.end(number, came);
    });
}

fn catch<T>(f: impl FnOnce() -> T) -> Came<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

/// What a waker does.
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
            if let Some(has_panicked) = play.open.last_mut() {
                *has_panicked = true;
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
}

fn run((parties, choices): Script) -> Result<Report, (TestCaseError, Report)> {
    let raw = Box::into_raw(Box::new(Arc::new(Barrier::new(parties))));
    let meant = Meant {
        model: Model::new(parties),
        futures: BTreeMap::new(),
        unwinding: Vec::new(),
        released: Vec::new(),
        optional: [0; WAKERS],
    };
    let new = Play {
        // SAFETY: boxed above and freed below, after all that borrows it.
        barrier: unsafe { &*raw },
        choices,
        live: Vec::new(),
        leader: None,
        made: 0,
        oracle: Oracle::new(meant),
        open: Vec::new(),
        deepest: 0,
        calls: Vec::new(),
        panics: 0,
        lost_panics: 0,
        panicked: Vec::new(),
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
            let (barrier, wakes) = (play.barrier, hostile::wakes());
            let before = play.oracle.clone();
            prop_assert_eq!(play.lost_panics, 0, "panics that did not come out");
            let agrees = play.oracle.sees(|meant| {
                meant.model.arrivals.min(parties) == barrier.arrived()
                    && meant.model.generation == barrier.generation()
                    && meant.model.is_held() == play.leader.is_some()
                    && meant.was_woken(wakes)
            });
            prop_assert!(
                agrees,
                "{:?}, held: {}, woken {:?}: {:#?}",
                barrier,
                play.leader.is_some(),
                wakes,
                before
            );
            for future in mem::take(&mut play.panicked) {
                let live = play.live.iter_mut().find(|live| live.number == future);
                let is_new = |meant: &Meant| meant.futures[&future].1 == Step::New;
                if let Some(live) = live {
                    live.is_ready = !play.oracle.surely(is_new);
                }
            }
            Ok(())
        });
        if result.is_err() {
            break;
        }
    }

    let (live, leader) = play(|play| {
        play.choices.clear();
        (mem::take(&mut play.live), play.leader.take())
    });
    drop((live, leader));
    // SAFETY: boxed above, and nothing borrows it any more. What was forgotten is not used again.
    drop(unsafe { Box::from_raw(raw) });
    let play = PLAY.take().expect("set above");
    let report = Report {
        calls: play.calls,
        deepest: play.deepest,
        panics: play.panics,
    };
    if result.is_ok() && hostile::held() != [0; WAKERS] {
        result = Err(TestCaseError::fail("clones of wakers after the barrier"));
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
            let parties = script.0;
            let report = run(script).unwrap_or_else(|(_, report)| report);
            panic!(
                "{why}\nwith {parties} parties, at the last of {:?}",
                report.calls
            );
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
    // Scripts that never get there would show nothing.
    let seen = (nested.get(), panicked.get());
    assert!(
        seen.0.min(seen.1) >= cases / 10,
        "of {cases} scripts, {seen:?}"
    );
}
