//! What is reported of a phaser.

use core::{
    future::Future,
    mem,
    pin::Pin,
    task::{Poll, Waker},
    time::Duration,
};
use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use atomic_barrier::{
    Phaser,
    phaser::{Builder, Exit, Participant, WaitError},
};
use support::{
    custom_wake::{panic_of, waker_that},
    polling::{
        CountingWaker,
        Outcome::{self, *},
        poll,
    },
};

use crate::{
    Panics, Place, Transcript, arrival, begun, closed, has_arrived, here, late_update, polled,
    step_of, there, update,
};

const WAIT: &str = "Participant::wait";
const LEADER: &str = "Participant::wait_leader";
const BLOCKING: &str = "Participant::wait_blocking";
const OBSERVE: &str = "Phaser::observe";

/// What is reported when the phaser made at this place by `call` is first used.
fn opened(place: &Place, call: &str, parties: u64, arrived: u64, phase: u64) -> Vec<String> {
    let numbers = [("parties", parties), ("phase", phase), ("arrived", arrived)];
    crate::opened("Phaser", place, call, &numbers)
}

/// What is reported when participants come or go.
fn numbers(scope: &str, parties: u64, arrived: u64, phase: u64) -> Vec<String> {
    vec![
        update(scope, "parties", parties),
        update(scope, "phase", phase),
        there(scope, arrived),
    ]
}

/// The end of a phase.
fn release(scope: &str, phase: u64, arrived: u64) -> Vec<String> {
    vec![update(scope, "phase", phase), there(scope, arrived)]
}

#[test]
fn a_phaser_and_its_waits_are_reported_as_the_console_reads_them() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (phaser, place) = (Phaser::new(), here!());
    assert!(transcript.take().is_empty(), "nobody has registered yet");
    let [mut a, mut b] = phaser.register_array().unwrap();
    let reported = [
        opened(&place, "Phaser::new", 2, 0, 0),
        numbers("resource", 2, 0, 0),
    ];
    assert_eq!(transcript.take(), reported.concat());

    let mut wait = a.wait();
    assert!(transcript.take().is_empty(), "it is not polled yet");
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let reported = [begun(WAIT), arrival(WAIT, 1), polled(WAIT, false)];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(transcript.take(), polled(WAIT, false));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    let reported = [
        begun(WAIT),
        release(&step_of(WAIT), 1, 0),
        polled(WAIT, true),
        closed(WAIT),
    ];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    assert_eq!(transcript.take(), polled(WAIT, true));
    drop(wait);
    assert_eq!(transcript.take(), closed(WAIT));

    a.leave();
    assert_eq!(transcript.take(), numbers("resource", 1, 0, 1));
    drop(b);
    // The phase that its last participant leaves is over.
    assert_eq!(transcript.take(), numbers("resource", 0, 0, 2));
    drop(phaser);
    assert_eq!(transcript.take(), closed("resource"));
}

#[test]
fn a_phaser_was_made_where_its_maker_was_called() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (made, place) = (Phaser::default(), here!());
    drop(made.register().unwrap());
    let reported = opened(&place, "Phaser::default", 1, 0, 0);
    assert_eq!(transcript.take()[..4], reported);

    let builder = Phaser::builder().close_on(Exit::Drop);
    let (made, place) = (builder.build(), here!());
    made.register().unwrap().leave();
    let reported = opened(&place, "build()", 1, 0, 0);
    assert_eq!(transcript.take()[..4], reported);
}

#[test]
fn an_arrival_is_reported_and_a_wait_after_it_has_arrived() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let [mut a, mut b] = phaser.register_array().unwrap();
    transcript.take();
    a.arrive().unwrap();
    assert_eq!(transcript.take(), [there("resource", 1)]);
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let reported = [begun(WAIT), vec![has_arrived(WAIT)], polled(WAIT, false)];
    assert_eq!(transcript.take(), reported.concat());
    drop(wait);
    assert_eq!(transcript.take(), closed(WAIT), "its arrival stays");
    b.arrive().unwrap();
    assert_eq!(transcript.take(), release("resource", 1, 0));
}

#[test]
fn names_are_reported_of_waits_and_of_those_that_are_missing() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let missing = |scope: &str, names: &str| vec![update(scope, "missing", names)];
    let phaser = Phaser::new();
    let [a, b] = phaser.register_array().unwrap();
    transcript.take();
    let mut a = a.named("reader");
    let reported = [numbers("resource", 2, 0, 0), missing("resource", "reader")];
    assert_eq!(transcript.take(), reported.concat());
    let b = b.named("writer");
    let reported = transcript.take();
    assert_eq!(reported[3..], missing("resource", "reader, writer"));

    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let scope = step_of(WAIT);
    let name = format!("{scope} | runtime::resource::async_op::state_update name=reader");
    let reported = [
        begun(WAIT),
        vec![name, there(&scope, 1)],
        missing(&scope, "writer"),
        vec![has_arrived(WAIT)],
        polled(WAIT, false),
    ];
    assert_eq!(transcript.take(), reported.concat());
    b.leave();
    let reported = [numbers("resource", 1, 1, 0), missing("resource", "")];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut wait, Waker::noop()), Led(0));
    let reported = [
        release(&scope, 1, 0),
        missing(&scope, "reader"),
        polled(WAIT, true),
    ];
    assert_eq!(transcript.take(), reported.concat());
    drop(wait);
    drop(a);

    let many = phaser.register_many(9).unwrap().into_iter();
    let _many: Vec<_> = (0..9)
        .zip(many)
        .map(|(i, one)| one.named(format!("{i}")))
        .collect();
    let reported = transcript.take().pop();
    assert_eq!(
        reported,
        missing("resource", "0, 1, 2, 3, 4, 5, 6, 7, ...").pop()
    );
}

#[test]
fn a_dropped_wait_is_reported_as_withdrawn() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let [mut a, _b] = phaser.register_array().unwrap();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    transcript.take();
    drop(wait);
    let reported = [vec![there("resource", 0)], closed(WAIT)];
    assert_eq!(transcript.take(), reported.concat());
    drop(a.wait());
    assert!(transcript.take().is_empty(), "it was never polled");
}

#[test]
fn a_departure_that_completes_a_phase_is_reported_and_so_is_its_end() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let [mut a, mut b, c] = phaser.register_array().unwrap();
    let [mut one, mut other] = [a.wait(), b.wait()];
    assert_eq!(poll(&mut one, Waker::noop()), Pending);
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    transcript.take();
    c.leave();
    assert_eq!(transcript.take(), numbers("resource", 2, 2, 0));
    // Nobody waits any more in the end.
    drop(one);
    assert_eq!(transcript.take(), closed(WAIT));
    drop(other);
    let reported = [release("resource", 1, 0), closed(WAIT)];
    assert_eq!(transcript.take(), reported.concat());
}

#[test]
fn a_held_release_is_reported_when_it_comes() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let [mut a, mut b] = phaser.register_array().unwrap();
    let mut other = a.wait();
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    transcript.take();
    let leader = futures::FutureExt::now_or_never(b.wait_leader());
    let leader = leader.unwrap().unwrap().expect("the last to arrive");
    let reported = [
        begun(LEADER),
        // All are there, and the phase is not over.
        vec![there(&step_of(LEADER), 2)],
        polled(LEADER, true),
        closed(LEADER),
    ];
    assert_eq!(transcript.take(), reported.concat());
    let early = phaser.register().unwrap();
    assert_eq!(transcript.take(), numbers("resource", 3, 3, 0));
    leader.release();
    assert_eq!(transcript.take(), release("resource", 1, 0));
    drop(early);
}

#[test]
fn an_action_is_over_before_its_phase_is_reported() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let seen = transcript.clone();
    let phaser = Phaser::builder()
        .on_phase(move |_, _| seen.write("the action".into()))
        .build();
    let mut participant = phaser.register().unwrap();
    transcript.take();
    participant.arrive().unwrap();
    let reported = [vec!["the action".into()], release("resource", 1, 0)];
    assert_eq!(transcript.take(), reported.concat());

    let leader = futures::FutureExt::now_or_never(participant.wait_leader());
    assert!(leader.unwrap().unwrap().is_none(), "it led by `arrive`");
    transcript.take();
    let leader = futures::FutureExt::now_or_never(participant.wait_leader());
    let reported = transcript.take();
    assert_eq!(
        reported[2..4],
        ["the action".into(), there(&step_of(LEADER), 1)]
    );
    drop(leader);
}

#[test]
fn a_thread_that_waits_is_reported_as_a_task_is() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let [mut a, mut b] = phaser.register_array().unwrap();
    transcript.take();
    let timed_out = a.wait_blocking_timeout(Duration::ZERO);
    assert_eq!(timed_out, Err(WaitError::TimedOut));
    let reported = [
        begun(BLOCKING),
        arrival(BLOCKING, 1),
        polled(BLOCKING, false),
        vec![there("resource", 0)],
        closed(BLOCKING),
    ];
    assert_eq!(transcript.take(), reported.concat());
    b.arrive().unwrap();
    transcript.take();
    assert!(a.wait_leader_blocking().unwrap().is_some());
    assert_eq!(
        transcript.take()[0],
        begun("Participant::wait_leader_blocking")[0]
    );
}

#[test]
fn an_observer_is_reported_and_arrives_never() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let participant = phaser.register().unwrap();
    transcript.take();
    let mut observation = phaser.observe(0);
    assert!(polled_by_hand(&mut observation).is_pending());
    let reported = [begun(OBSERVE), polled(OBSERVE, false)];
    assert_eq!(transcript.take(), reported.concat());
    participant.leave();
    transcript.take();
    assert_eq!(polled_by_hand(&mut observation), Poll::Ready(Ok(())));
    assert_eq!(transcript.take(), polled(OBSERVE, true));
    drop(observation);
    assert_eq!(transcript.take(), closed(OBSERVE));
}

fn polled_by_hand<T>(future: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
    Pin::new(future).poll(&mut core::task::Context::from_waker(Waker::noop()))
}

#[test]
fn a_close_is_reported_and_stays() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let phaser = Phaser::new();
    let mut participant = phaser.register().unwrap();
    transcript.take();
    let is_closed = vec![update("resource", "closed", true)];
    phaser.close();
    let reported = [numbers("resource", 1, 0, 0), is_closed.clone()];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut participant.wait(), Waker::noop()), Refused);
    let reported = [begun(WAIT), polled(WAIT, true), closed(WAIT)];
    assert_eq!(transcript.take(), reported.concat());
    drop((participant, phaser));
    transcript.take();

    // It is the first that is reported of this one.
    Phaser::new().close();
    assert_eq!(transcript.take()[4..5], is_closed);
}

#[test]
fn a_phaser_that_was_used_without_a_subscriber_is_reported_as_it_stands() {
    let (phaser, place) = (Phaser::new(), here!());
    let [mut a, mut b] = phaser.register_array().unwrap();
    a.arrive().unwrap();
    b.arrive().unwrap();
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);

    let transcript = Transcript::default();
    let listening = transcript.listen();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let reported = [
        opened(&place, "Phaser::new", 2, 1, 1),
        begun(WAIT),
        polled(WAIT, false),
    ];
    assert_eq!(transcript.take(), reported.concat());
    drop(listening);
    a.leave();
    assert!(transcript.take().is_empty());
}

#[test]
fn the_last_update_is_true_though_an_older_one_came_late() {
    let late = |line, late: fn(Participant), meanwhile: fn(Participant)| {
        let phaser = Phaser::new();
        let [a, b] = phaser.register_array().unwrap();
        let late = || {
            // Opens the span: others report nothing before.
            drop(phaser.register());
            late(a);
        };
        late_update(
            line,
            late,
            || meanwhile(b),
            || {
                [
                    ("arrived", phaser.arrived() as u64),
                    ("phase", phaser.phase()),
                    ("parties", phaser.parties() as u64),
                ]
            },
        );
    };
    let arrives = |mut participant: Participant| {
        participant.arrive().unwrap();
        mem::forget(participant);
    };
    let registers = |participant: Participant| {
        mem::forget(participant.phaser().register());
        mem::forget(participant);
    };
    late("arrived=1 arrived.op=override", arrives, registers);
    // The other completes the phase, and tells so.
    late("arrived=1 arrived.op=override", arrives, arrives);
    late("parties=1 parties.op=override", drop, registers);
    late("parties=1 parties.op=override", drop, drop);
}

/// A participant that waits, with its waker.
struct Waiting {
    wait: Pin<Box<dyn Future<Output = Outcome>>>,
    waker: CountingWaker,
}

impl Waiting {
    fn new(wait: impl Future<Output = Outcome> + 'static) -> Self {
        let (mut wait, waker): (Pin<Box<dyn Future<Output = _>>>, _) =
            (Box::pin(wait), CountingWaker::new());
        assert_eq!(poll(&mut wait, &waker), Pending);
        Self { wait, waker }
    }

    /// Asserts that it was woken, and is ready.
    fn ends(&mut self) {
        assert!(self.waker.wakes() > 0);
        assert_ne!(poll(&mut self.wait, &self.waker), Pending);
    }
}

/// Two that wait for a phase, an observer of it, and one that is missing.
struct Scene {
    phaser: Phaser,
    waits: [Waiting; 2],
    observation: Waiting,
    missing: Option<Participant>,
}

impl Scene {
    fn new(phaser: Phaser) -> Self {
        let [a, b, missing] = phaser.register_array().unwrap();
        let waits = [a, b]
            .map(|mut participant| Waiting::new(async move { participant.wait().await.into() }));
        let observed = phaser.clone();
        let observation = Waiting::new(async move {
            let end = observed.observe(0).await;
            end.map_or(Refused, |()| Released(0))
        });
        Self {
            phaser,
            waits,
            observation,
            missing: Some(missing),
        }
    }

    fn missing(&mut self) -> &mut Participant {
        self.missing.as_mut().unwrap()
    }

    /// Whether those that wait depend on nobody else. Then they go on.
    fn goes_on(&mut self) -> bool {
        let phaser = &self.phaser;
        if phaser.phase() == 0 && !phaser.is_closed() && phaser.arrived() < phaser.parties() {
            return false;
        }
        self.waits.iter_mut().for_each(Waiting::ends);
        self.observation.ends();
        true
    }
}

#[test]
fn a_subscriber_that_panics_in_any_of_its_calls_changes_nothing() {
    type Way = fn(&mut Scene);
    let ways: [(&str, Way); 7] = [
        ("arrive", |scene| _ = scene.missing().arrive()),
        ("wait", |scene| {
            poll(&mut scene.missing().wait(), Waker::noop());
        }),
        ("lead", |scene| {
            drop(futures::FutureExt::now_or_never(
                scene.missing().wait_leader(),
            ));
        }),
        ("block", |scene| _ = scene.missing().wait_blocking()),
        ("leave", |scene| scene.missing.take().unwrap().leave()),
        ("drop", |scene| drop(scene.missing.take())),
        ("close", |scene| scene.phaser.close()),
    ];
    let actions = Arc::new(AtomicU64::new(0));
    let plain = || Phaser::builder();
    let closes = || Phaser::builder().close_on(Exit::Drop);
    let acts = || {
        let actions = actions.clone();
        Phaser::builder().on_phase(move |_, _| _ = actions.fetch_add(1, Relaxed))
    };
    let builders: [(&str, &dyn Fn() -> Builder); 3] =
        [("plain", &plain), ("closes", &closes), ("acts", &acts)];
    for ((way, act), (kind, builder)) in ways
        .iter()
        .flat_map(|way| builders.iter().map(move |builder| (way, builder)))
    {
        println!("{kind}, {way}");
        Panics::in_each_call(|| {
            let mut scene = Scene::new(builder().build());
            act(&mut scene);
            assert!(scene.goes_on());
            let expected = u64::from(*kind == "acts" && !scene.phaser.is_closed());
            assert_eq!(actions.swap(0, Relaxed), expected);
        });
    }
}

#[test]
fn a_subscriber_that_panics_anywhere_keeps_no_observer_of_a_phase_that_nobody_waits_for() {
    Panics::in_each_call(|| {
        let Scene {
            phaser,
            waits,
            mut observation,
            missing,
        } = Scene::new(Phaser::new());
        drop(missing);
        drop(waits);
        assert_eq!(phaser.parties(), 0);
        observation.ends();
    });
}

#[test]
fn a_subscriber_that_panics_makes_no_registration_close() {
    Panics::in_each_call(|| {
        for exit in [Exit::Panic, Exit::Drop] {
            let phaser = Phaser::builder().close_on(exit).build();
            let registered = phaser.register_many(2).unwrap();
            let named = registered.into_iter().map(|one| one.named("a"));
            let named: Vec<_> = named.collect();
            assert_eq!(phaser.missing().len(), 2);
            named.into_iter().for_each(Participant::leave);
            assert_eq!((phaser.parties(), phaser.is_closed()), (0, false));
        }
    });
}

#[test]
fn a_subscriber_that_panics_while_the_thread_is_panicking_makes_it_not_abort() {
    Panics::in_each_call(|| {
        let mut scene = Scene::new(Phaser::builder().close_on(Exit::Panic).build());
        let participant = scene.missing.take();
        let panic = panic_of(|| {
            let _participant = participant;
            let [_last_handle] = Phaser::new().register_array().unwrap();
            resume_unwind(Box::new("its own panic"));
        });
        assert_eq!(panic, "its own panic");
        assert_eq!(
            (scene.phaser.parties(), scene.phaser.is_closed()),
            (2, true)
        );
        assert!(scene.goes_on());
    });
}

#[test]
fn an_actions_panic_passes_through_a_subscriber_that_panics() {
    Panics::in_each_call(|| {
        let phaser = Phaser::builder()
            .on_phase(|_, _| resume_unwind(Box::new("an action's panic")))
            .build();
        let mut participant = phaser.register().unwrap();
        let panic = panic_of(|| poll(&mut participant.wait(), Waker::noop()));
        assert_eq!(panic, "an action's panic");
        assert_eq!((phaser.phase(), phaser.is_closed()), (1, true));
    });
}

#[test]
fn what_wakes_is_reported_though_a_waker_panics() {
    type Act = fn(&Phaser, &mut Option<Participant>);
    let is_closed = vec![update("resource", "closed", true)];
    let acts: [(Act, Vec<String>); 3] = [
        (
            |phaser, _| phaser.close(),
            [numbers("resource", 2, 1, 0), is_closed].concat(),
        ),
        (
            |_, other| _ = other.as_mut().unwrap().arrive(),
            release("resource", 1, 0),
        ),
        (
            |_, other| other.take().unwrap().leave(),
            numbers("resource", 1, 1, 0),
        ),
    ];
    for (act, expected) in acts {
        let transcript = Transcript::default();
        let _listening = transcript.listen();
        let phaser = Phaser::new();
        let [mut first, other] = phaser.register_array().unwrap();
        let mut wait = first.wait();
        let waker = waker_that(|| resume_unwind(Box::new("a waker's panic")));
        assert_eq!(poll(&mut wait, &waker), Pending);
        transcript.take();
        let mut other = Some(other);
        let panic = panic_of(|| act(&phaser, &mut other));
        assert_eq!(panic, "a waker's panic");
        assert_eq!(transcript.take(), expected);
    }
}
