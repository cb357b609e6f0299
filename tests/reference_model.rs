//! Random scripts, run by the barrier and by a model that is too simple to be wrong.

mod by_hand;

use core::{array, cell::Cell, mem};
use std::env;

use atomic_barrier::{Barrier, Wait};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{TestError, TestRunner},
};

use by_hand::{CountingWaker, Outcome, poll};

/// The wakers that polls choose from. Several futures may be polled with the same.
const WAKERS: usize = 4;

/// One step. A future goes by its number, in the order in which they were made.
#[derive(Clone, Copy, Debug)]
enum Op {
    New,
    Poll {
        future: usize,
        waker: usize,
    },
    /// With the waker of the last time, as after a spurious wake.
    PollAgain(usize),
    Drop(usize),
    Forget(usize),
}

/// A step before it is known which futures there are: its kind, which of them, and which waker.
/// Whatever shrinking takes away before it, it finds something to do.
type Choice = (u8, usize, usize);

/// The number of parties, and the steps.
type Script = (usize, Vec<Choice>);

fn scripts() -> impl Strategy<Value = Script> {
    (1..=8_usize, vec((0..13_u8, 0..16_usize, 0..WAKERS), 0..80))
}

/// The step that `choice` makes when these futures are there, if it makes one.
fn decide((kind, which, waker): Choice, parties: usize, live: &[Live<'_>]) -> Option<Op> {
    if let 0..3 = kind {
        return (live.len() < 2 * parties).then_some(Op::New);
    }
    let chosen = live.get(which % live.len().max(1))?;
    let future = chosen.number;
    match kind {
        3..10 if chosen.ready => None,
        3..9 => Some(Op::Poll { future, waker }),
        9 => Some(Op::PollAgain(future)),
        10..12 => Some(Op::Drop(future)),
        _ => Some(Op::Forget(future)),
    }
}

/// The barrier as it is meant: one step after another, and no slot, word or memory order.
struct Model {
    parties: usize,
    generation: u64,
    /// Who has arrived in this generation, and with which waker.
    arrivals: Vec<(usize, usize)>,
    wakes: [usize; WAKERS],
}

impl Model {
    /// `arrived` is the generation in which this future did, if it did.
    fn poll(&mut self, future: usize, arrived: &mut Option<u64>, waker: usize) -> Outcome {
        if let Some(arrival) = self.arrivals.iter_mut().find(|(of, _)| *of == future) {
            arrival.1 = waker;
            return Outcome::Pending;
        }
        if let Some(generation) = *arrived {
            return Outcome::Released(generation);
        }
        if self.arrivals.len() + 1 < self.parties {
            self.arrivals.push((future, waker));
            *arrived = Some(self.generation);
            return Outcome::Pending;
        }
        for (_, waker) in self.arrivals.drain(..) {
            self.wakes[waker] += 1;
        }
        self.generation += 1;
        Outcome::Led(self.generation - 1)
    }

    /// A future that is forgotten is not dropped: its arrival stays.
    fn drop(&mut self, future: usize) {
        self.arrivals.retain(|(of, _)| *of != future);
    }

    fn waits(&self, future: usize) -> bool {
        self.arrivals.iter().any(|(of, _)| *of == future)
    }

    fn clones_of(&self, waker: usize) -> usize {
        self.arrivals.iter().filter(|(_, w)| *w == waker).count()
    }
}

/// A future that has neither been dropped nor forgotten.
struct Live<'a> {
    wait: Wait<'a>,
    number: usize,
    arrived: Option<u64>,
    waker: usize,
    ready: bool,
}

/// What a script came to.
#[derive(Default)]
struct Report {
    ops: Vec<Op>,
    withdrew: bool,
    dropped_after_release: bool,
    released_forgotten: bool,
}

fn run((parties, choices): &Script, report: &mut Report) -> Result<(), TestCaseError> {
    let barrier = Barrier::new(*parties);
    let wakers: [_; WAKERS] = array::from_fn(|_| CountingWaker::new());
    let mut model = Model {
        parties: *parties,
        generation: 0,
        arrivals: Vec::new(),
        wakes: [0; WAKERS],
    };
    let mut live: Vec<Live<'_>> = Vec::new();
    let mut made = 0;
    let mut forgotten = Vec::new();

    for &choice in choices {
        let Some(op) = decide(choice, *parties, &live) else {
            continue;
        };
        report.ops.push(op);
        let place = |number| live.iter().position(|live| live.number == number).unwrap();
        match op {
            Op::New => {
                live.push(Live {
                    wait: barrier.wait(),
                    number: made,
                    arrived: None,
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
                let outcome = poll(&mut live.wait, &wakers[live.waker]);
                let expected = model.poll(future, &mut live.arrived, live.waker);
                prop_assert_eq!(outcome, expected, "outcome");
                live.ready = outcome != Outcome::Pending;
            }
            Op::Drop(future) => {
                let live = live.remove(place(future));
                let waits = model.waits(future);
                report.withdrew |= waits;
                report.dropped_after_release |= !waits && live.arrived.is_some() && !live.ready;
                model.drop(future);
                drop(live.wait);
            }
            Op::Forget(future) => {
                let live = live.remove(place(future));
                if model.waits(future) {
                    forgotten.push(future);
                }
                mem::forget(live.wait);
            }
        }
        prop_assert_eq!(barrier.arrived(), model.arrivals.len(), "arrived");
        prop_assert_eq!(barrier.generation(), model.generation, "generation");
        for (k, waker) in wakers.iter().enumerate() {
            prop_assert_eq!(waker.wakes(), model.wakes[k], "wakes of waker {}", k);
            prop_assert_eq!(waker.held(), model.clones_of(k), "clones of waker {}", k);
        }
    }

    report.released_forgotten = forgotten.iter().any(|&future| !model.waits(future));
    drop(live);
    drop(barrier);
    for (k, waker) in wakers.iter().enumerate() {
        prop_assert_eq!(waker.held(), 0, "clones of waker {} after the barrier", k);
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
    let [withdrew, dropped_after_release, released_forgotten] = [const { Cell::new(0) }; 3];
    let count = |scripts: &Cell<u32>, one: bool| scripts.set(scripts.get() + u32::from(one));

    let result = TestRunner::new(config).run(&scripts(), |script| {
        let mut report = Report::default();
        let result = run(&script, &mut report);
        count(&withdrew, report.withdrew);
        count(&dropped_after_release, report.dropped_after_release);
        count(&released_forgotten, report.released_forgotten);
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
    for scripts in [withdrew, dropped_after_release, released_forgotten] {
        assert!(scripts.get() >= cases / 10, "{} scripts", scripts.get());
    }
}
