//! What is reported of a barrier.

use core::{future::Future, panic::AssertUnwindSafe, pin::Pin, task::Waker, time::Duration};
use std::{
    panic::{catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
    },
};

use atomic_barrier::Barrier;
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, subscriber::set_default};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

use support::polling::{CountingWaker, Outcome::*, poll};

use crate::{
    PanicsAfter, Place, Transcript, arrival, begun, closed, here, late_update, polled, step_of,
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
fn a_subscriber_that_panics_keeps_nobody_waiting() {
    /// Panics at the next update, when armed.
    struct Panics(Arc<AtomicBool>);

    impl<S: Subscriber> Layer<S> for Panics {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let is_update = event.metadata().target() == "runtime::resource::state_update";
            if is_update && self.0.swap(false, Relaxed) {
                resume_unwind(Box::new("a subscriber's panic"));
            }
        }
    }

    let armed = Arc::new(AtomicBool::new(false));
    let _listening = set_default(tracing_subscriber::registry().with(Panics(armed.clone())));
    let barrier = Barrier::new(3);
    let wakers = [CountingWaker::new(), CountingWaker::new()];
    let [mut a, mut b, mut c] = [barrier.wait(), barrier.wait(), barrier.wait()];
    assert_eq!(poll(&mut a, &wakers[0]), Pending);

    // An arrival that cannot be reported has not been.
    armed.store(true, Relaxed);
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut b, &wakers[1])));
    assert!(panicked.is_err());
    assert_eq!(barrier.arrived(), 1);
    assert_eq!(poll(&mut b, &wakers[1]), Pending);

    // A generation that cannot be reported is over all the same.
    armed.store(true, Relaxed);
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut c, Waker::noop())));
    assert!(panicked.is_err());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [1, 1]);
    assert_eq!(poll(&mut a, &wakers[0]), Released(0));
    assert_eq!(poll(&mut b, &wakers[1]), Released(0));
    assert_eq!(wakers.each_ref().map(CountingWaker::clones), [0, 0]);
}

#[test]
fn a_subscriber_that_panics_anywhere_leaves_no_release_held() {
    let countdown = Arc::new(AtomicI32::new(-1));
    let _listening = set_default(PanicsAfter(countdown.clone()));
    let mut held_at = 0;
    for calls in 0.. {
        let barrier = Barrier::new(2);
        let mut other = barrier.wait();
        assert_eq!(poll(&mut other, Waker::noop()), Pending);

        let mut wait = barrier.wait_leader();
        countdown.store(calls, Relaxed);
        let polled = catch_unwind(AssertUnwindSafe(|| {
            Pin::new(&mut wait)
                .poll(&mut core::task::Context::from_waker(Waker::noop()))
                .is_ready()
        }));
        let panicked = countdown.swap(-1, Relaxed) < 0;
        drop(wait);
        if barrier.generation() == 0 {
            assert!(polled.is_err());
            // It was withdrawn, or has not come.
            assert_eq!(barrier.arrived(), 1);
            assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
        } else {
            held_at += 1;
        }
        assert_eq!(poll(&mut other, Waker::noop()), Released(0));
        if !panicked {
            assert!(polled.is_ok());
            break;
        }
    }
    assert!(held_at > 4, "{held_at} panics after the release was held");
}

#[test]
fn a_subscriber_that_panics_anywhere_makes_no_thread_withdraw_twice() {
    let countdown = Arc::new(AtomicI32::new(-1));
    let _listening = set_default(PanicsAfter(countdown.clone()));
    let barrier = Barrier::new(3);
    let mut other = barrier.wait();
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    for calls in 0.. {
        countdown.store(calls, Relaxed);
        let timed_out = catch_unwind(|| barrier.wait_blocking_timeout(Duration::ZERO));
        let panicked = countdown.swap(-1, Relaxed) < 0;
        assert_eq!(barrier.arrived(), 1, "after {calls} calls");
        assert_eq!(timed_out.is_err(), panicked);
        if !panicked {
            assert!(calls > 4, "{calls} calls");
            break;
        }
    }
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
