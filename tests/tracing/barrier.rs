//! What is reported of a barrier.

use core::{task::Waker, time::Duration};
use std::{
    panic::resume_unwind,
    sync::{Arc, Mutex},
};

use atomic_barrier::Barrier;
use tracing::{Dispatch, Metadata, level_filters::LevelFilter, subscriber::set_default};
use tracing_subscriber::{Layer, layer::SubscriberExt};

use support::{
    custom_wake::{panic_of, waker_that},
    polling::{CountingWaker, Outcome::*, poll},
};

use crate::{
    Panics, Place, Transcript, Uses, arrival, begun, closed, here, late_update, polled, step_of,
    there, update,
};

/// What is reported when the barrier made at this place is first used.
fn opened(place: &Place, parties: u64, arrived: u64, generation: u64) -> Vec<String> {
    let numbers = [
        ("parties", parties),
        ("generation", generation),
        ("arrived", arrived),
    ];
    crate::opened("Barrier", place, "Barrier::new", &numbers)
}

fn in_generation(scope: &str, generation: u64) -> String {
    update(scope, "generation", generation)
}

/// The end of a generation that a wait by this method completed and released.
fn release(source: &str, generations: u64) -> Vec<String> {
    let scope = step_of(source);
    vec![in_generation(&scope, generations), there(&scope, 0)]
}

#[test]
fn a_barrier_and_its_waits_are_reported_as_the_console_reads_them() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (barrier, place) = (Barrier::new(2), here!());
    let [mut a, mut b] = [barrier.wait(), barrier.wait()];
    assert!(transcript.take().is_empty(), "nothing is polled yet");

    const WAIT: &str = "Barrier::wait";
    assert_eq!(poll(&mut a, Waker::noop()), Pending);
    let reported = [
        opened(&place, 2, 0, 0),
        begun(WAIT),
        arrival(WAIT, 1),
        polled(WAIT, false),
    ];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut a, Waker::noop()), Pending);
    assert_eq!(transcript.take(), polled(WAIT, false));
    assert_eq!(poll(&mut b, Waker::noop()), Led(0));
    let reported = [begun(WAIT), release(WAIT, 1), polled(WAIT, true)];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut a, Waker::noop()), Released(0));
    assert_eq!(transcript.take(), polled(WAIT, true));

    drop(a);
    assert_eq!(transcript.take(), closed(WAIT));
    drop(b);
    drop(barrier);
    assert_eq!(
        transcript.take(),
        [closed(WAIT), closed("resource")].concat()
    );
}

#[test]
fn a_barrier_in_a_static_or_const_is_reported_on_first_use() {
    static STATIC: (Barrier, Place) = (Barrier::new(2), here!());
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "each use is a barrier of its own"
    )]
    const CONST: (Barrier, Place) = (Barrier::new(3), here!());
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let of_const = CONST;
    for (parties, (barrier, place)) in [(2, &STATIC), (3, &of_const)] {
        let mut wait = barrier.wait();
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        assert_eq!(transcript.take()[..4], opened(place, parties, 0, 0));
        drop(wait);
        transcript.take();
    }
    drop(of_const);
    assert_eq!(transcript.take(), closed("resource"));
}

#[test]
fn a_dropped_wait_is_reported_as_withdrawn() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let barrier = Arc::new(Barrier::new(3));
    let mut first = barrier.wait();
    assert_eq!(poll(&mut first, Waker::noop()), Pending);
    transcript.take();

    const OWNED: &str = "Barrier::wait_owned";
    let mut wait = barrier.clone().wait_owned();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let reported = [begun(OWNED), arrival(OWNED, 2), polled(OWNED, false)];
    assert_eq!(transcript.take(), reported.concat());
    drop(wait);
    let reported = [vec![there("resource", 1)], closed(OWNED)];
    assert_eq!(transcript.take(), reported.concat());
    drop(barrier.wait());
    assert!(transcript.take().is_empty(), "it was never polled");
}

#[test]
fn a_wait_that_did_count_is_not_reported_as_withdrawn() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let barrier = Barrier::new(2);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    transcript.take();
    drop(wait);
    assert_eq!(transcript.take(), closed("Barrier::wait"));
}

#[test]
fn an_arrival_is_reported_in_the_call_and_stays() {
    const ARRIVE: &str = "Barrier::arrive";
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (barrier, place) = (Barrier::new(2), here!());
    let mut arrival_ = barrier.arrive();
    let reported = [opened(&place, 2, 0, 0), begun(ARRIVE), arrival(ARRIVE, 1)];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut arrival_, Waker::noop()), Pending);
    assert_eq!(transcript.take(), polled(ARRIVE, false));
    drop(arrival_);
    assert_eq!(transcript.take(), closed(ARRIVE));

    let mut last = barrier.arrive();
    let reported = [begun(ARRIVE), release(ARRIVE, 1)];
    assert_eq!(transcript.take(), reported.concat());
    assert_eq!(poll(&mut last, Waker::noop()), Led(0));
    assert_eq!(transcript.take(), polled(ARRIVE, true));
}

#[test]
fn a_held_release_is_reported_when_it_comes() {
    const LEADER: &str = "Barrier::wait_leader";
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let barrier = Barrier::new(2);
    let mut other = barrier.wait();
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    transcript.take();

    let leader = futures::FutureExt::now_or_never(barrier.wait_leader());
    let leader = leader.flatten().expect("the last to arrive");
    let reported = [
        begun(LEADER),
        // All are there, and the generation is not over.
        arrival(LEADER, 2),
        polled(LEADER, true),
        closed(LEADER),
    ];
    assert_eq!(transcript.take(), reported.concat());
    let mut early = barrier.wait();
    assert_eq!(poll(&mut early, Waker::noop()), Pending);
    transcript.take();
    leader.release();
    let reported = [in_generation("resource", 1), there("resource", 1)];
    assert_eq!(transcript.take(), reported);
    drop(early);
    assert_eq!(transcript.take()[0], there("resource", 0));
}

#[test]
fn a_thread_that_waits_is_reported_as_a_task_is() {
    const BLOCKING: &str = "Barrier::wait_blocking";
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (barrier, place) = (Barrier::new(2), here!());
    let timed_out = barrier.wait_blocking_timeout(Duration::ZERO);
    assert!(timed_out.is_err());
    let reported = [
        opened(&place, 2, 0, 0),
        begun(BLOCKING),
        arrival(BLOCKING, 1),
        polled(BLOCKING, false),
        vec![there("resource", 0)],
        closed(BLOCKING),
    ];
    assert_eq!(transcript.take(), reported.concat());

    drop(barrier.arrive());
    transcript.take();
    assert!(barrier.wait_blocking().is_leader());
    let reported = [
        begun(BLOCKING),
        release(BLOCKING, 1),
        polled(BLOCKING, true),
        closed(BLOCKING),
    ];
    assert_eq!(transcript.take(), reported.concat());
}

#[test]
fn a_barrier_that_was_used_without_a_subscriber_is_reported_as_it_stands() {
    let (barrier, place) = (Barrier::new(3), here!());
    drop([barrier.arrive(), barrier.arrive(), barrier.arrive()]);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);

    let transcript = Transcript::default();
    let listening = transcript.listen();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let reported = [
        opened(&place, 3, 1, 1),
        begun("Barrier::wait"),
        polled("Barrier::wait", false),
    ];
    assert_eq!(transcript.take(), reported.concat());

    drop(listening);
    drop(barrier.arrive());
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert!(transcript.take().is_empty());
}

#[test]
fn a_subscriber_that_does_not_listen_to_traces_gets_nothing() {
    let transcript = Transcript::default();
    let layer = transcript.clone().with_filter(LevelFilter::DEBUG);
    let _listening = set_default(tracing_subscriber::registry().with(layer));
    let barrier = Barrier::new(1);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    drop(barrier);
    assert!(transcript.take().is_empty());
}

#[test]
fn the_last_update_is_true_though_an_older_one_came_late() {
    let late = |parties, line, others| {
        let barrier = Barrier::new(parties);
        let meanwhile = || (0..others).for_each(|_| drop(barrier.arrive()));
        late_update(
            line,
            || drop(barrier.arrive()),
            meanwhile,
            || {
                [
                    ("arrived", barrier.arrived() as u64),
                    ("generation", barrier.generation()),
                ]
            },
        );
    };
    late(3, "arrived=1 arrived.op=override", 1);
    // The others release, and report that.
    late(3, "arrived=1 arrived.op=override", 2);
    late(1, "generation=1 generation.op=override", 1);
}

#[test]
fn a_barrier_belongs_to_no_other_span() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let other = tracing::trace_span!(target: "atomic_barrier", "runtime.resource");
    transcript.take();
    let (barrier, place) = (Barrier::new(1), here!());
    other.in_scope(|| assert!(barrier.wait_blocking().is_leader()));
    assert_eq!(transcript.take()[0], opened(&place, 1, 0, 0)[0]);
}

#[test]
fn a_subscriber_that_panics_in_any_of_its_calls_changes_nothing() {
    Panics::in_each_call(|| {
        let barrier = Barrier::new(2);
        let mut first = barrier.wait();
        assert_eq!(poll(&mut first, Waker::noop()), Pending);
        assert_eq!(barrier.arrived(), 1);
        drop(first);
        assert_eq!(barrier.arrived(), 0);
        assert!(barrier.wait_blocking_timeout(Duration::ZERO).is_err());
        assert_eq!(barrier.arrived(), 0);

        let waker = CountingWaker::new();
        let mut other = barrier.wait();
        assert_eq!(poll(&mut other, &waker), Pending);
        let leader = futures::FutureExt::now_or_never(barrier.wait_leader());
        let leader = leader.flatten().expect("the last to arrive");
        assert_eq!((barrier.arrived(), barrier.generation()), (2, 0));
        leader.release();
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        assert_eq!((waker.wakes(), waker.clones()), (1, 0));
        assert_eq!(poll(&mut other, &waker), Released(0));

        let mut arrival = barrier.arrive();
        assert_eq!(poll(&mut arrival, &waker), Pending);
        assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(1));
        assert_eq!(waker.wakes(), 2);
        assert_eq!(poll(&mut arrival, &waker), Released(1));
    });
}

#[test]
fn a_subscriber_that_panics_while_the_thread_is_panicking_makes_it_not_abort() {
    Panics::in_each_call(|| {
        let panic = panic_of(|| {
            let barrier = Barrier::new(2);
            let mut wait = barrier.wait();
            assert_eq!(poll(&mut wait, Waker::noop()), Pending);
            resume_unwind(Box::new("its own panic"));
        });
        assert_eq!(panic, "its own panic");
    });
}

#[test]
fn a_panic_of_a_waker_passes_through_a_subscriber_that_panics() {
    Panics::in_each_call(|| {
        let barrier = Barrier::new(2);
        let mut first = barrier.wait();
        let waker = waker_that(|| resume_unwind(Box::new("a waker's panic")));
        assert_eq!(poll(&mut first, &waker), Pending);
        let panic = panic_of(|| poll(&mut barrier.wait(), Waker::noop()));
        assert_eq!(panic, "a waker's panic");
        assert_eq!(poll(&mut first, &waker), Released(0));
    });
}

#[test]
fn a_release_is_reported_though_a_waker_panics_and_the_spans_are_exited() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let barrier = Barrier::new(2);
    let mut first = barrier.wait();
    let waker = waker_that(|| resume_unwind(Box::new("a waker's panic")));
    assert_eq!(poll(&mut first, &waker), Pending);
    let mut last = barrier.wait();
    transcript.take();
    const WAIT: &str = "Barrier::wait";
    panic_of(|| poll(&mut last, Waker::noop()));
    assert_eq!(transcript.take(), [begun(WAIT), release(WAIT, 1)].concat());
    let mut other = barrier.wait();
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    transcript.take();
    drop(other);
    assert_eq!(transcript.take()[0], there("resource", 0));
}

#[test]
fn a_barrier_that_is_used_while_it_is_opened_is_reported_once_and_as_it_stands() {
    let transcript = Transcript::default();
    let (barrier, place) = (Arc::new(Barrier::new(3)), here!());
    let used = barrier.clone();
    let uses = Uses {
        transcript: transcript.clone(),
        use_it: Mutex::new(Some(move || drop(used.arrive()))),
        listener: Arc::default(),
    };
    let of_the_other = uses.listener.clone();
    let listener = Dispatch::new(tracing_subscriber::registry().with(uses));
    of_the_other.set(listener.downgrade()).unwrap();
    let _listening = tracing::dispatcher::set_default(&listener);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    const WAIT: &str = "Barrier::wait";
    let reported = [
        opened(&place, 3, 1, 0),
        begun(WAIT),
        arrival(WAIT, 2),
        polled(WAIT, false),
    ];
    assert_eq!(transcript.take(), reported.concat());
}

#[test]
fn every_name_that_is_reported_is_one_that_the_console_lets_through() {
    // `console_subscriber::spawn` filters so.
    fn is_let_through(metadata: &Metadata<'_>) -> bool {
        if metadata.is_event() {
            metadata.target().starts_with("runtime")
        } else {
            metadata.name().starts_with("runtime.")
        }
    }
    let transcript = Transcript::default();
    let layer = transcript
        .clone()
        .with_filter(tracing_subscriber::filter::filter_fn(is_let_through));
    let _listening = set_default(tracing_subscriber::registry().with(layer));
    let (barrier, place) = (Barrier::new(1), here!());
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    const WAIT: &str = "Barrier::wait";
    let reported = [
        opened(&place, 1, 0, 0),
        begun(WAIT),
        release(WAIT, 1),
        polled(WAIT, true),
        closed(WAIT),
    ];
    assert_eq!(transcript.take(), reported.concat());
}
