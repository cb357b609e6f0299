//! What a `tracing` subscriber is told: names, targets and fields as tokio-console reads them, and the
//! numbers at each change.

use core::{
    fmt, fmt::Write, future::Future, mem, panic::AssertUnwindSafe, pin::Pin, task::Waker,
    time::Duration,
};
use std::{
    panic::{catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use atomic_barrier::Barrier;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, set_default},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use support::polling::{CountingWaker, Outcome::*, poll};

/// Writes down all that is told, a line each: what is opened and closed, and each event behind the
/// spans that were entered around it.
#[derive(Clone, Default)]
struct Transcript(Arc<Mutex<Vec<String>>>);

impl Transcript {
    /// Listens on this thread until the guard is dropped.
    fn listen(&self) -> DefaultGuard {
        set_default(tracing_subscriber::registry().with(self.clone()))
    }

    /// The lines since the last call.
    fn take(&self) -> Vec<String> {
        mem::take(&mut *self.0.lock().unwrap())
    }

    fn write(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }
}

/// How a span is called in the lines to come.
struct Called(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Transcript {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let (metadata, fields) = (attributes.metadata(), Fields::of(|f| attributes.record(f)));
        let span = ctx.span(id).unwrap();
        let called = match metadata.name() {
            "runtime.resource" => "resource".into(),
            "runtime.resource.async_op" => fields.first("source"),
            "runtime.resource.async_op.poll" => "poll".into(),
            other => panic!("a span that the console does not know: {other}"),
        };
        assert_eq!(metadata.target(), "atomic_barrier");
        assert_eq!(*metadata.level(), tracing::Level::TRACE);
        let parent = span.parent().map_or("".into(), |parent| {
            format!("{} > ", parent.extensions().get::<Called>().unwrap().0)
        });
        self.write(format!("open {parent}{}{}", metadata.name(), fields.0));
        span.extensions_mut().insert(Called(called));
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut line = String::new();
        for span in ctx.event_scope(event).unwrap().from_root() {
            write!(line, "{} ", span.extensions().get::<Called>().unwrap().0).unwrap();
        }
        let fields = Fields::of(|f| event.record(f)).0;
        self.write(format!("{line}| {}{fields}", event.metadata().target()));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let span = ctx.span(&id).unwrap();
        let extensions = span.extensions();
        let called = &extensions.get::<Called>().unwrap().0;
        // The span of the polls goes with its wait's.
        if called != "poll" {
            self.write(format!("close {called}"));
        }
    }
}

struct Fields(String);

impl Fields {
    fn of(record: impl FnOnce(&mut Self)) -> Self {
        let mut fields = Self(String::new());
        record(&mut fields);
        fields
    }

    /// The value of the first field, which has this name.
    fn first(&self, name: &str) -> String {
        let value = self.0.trim_start().strip_prefix(name).unwrap();
        let value = value.strip_prefix('=').unwrap();
        value.split(' ').next().unwrap().to_owned()
    }
}

/// The console takes numbers as unsigned ones, and texts as they are: only these count.
impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        panic!("{field} is neither a number nor a text: {value:?}");
    }
}

/// What is told when the barrier made on `line` is first used.
fn opened(line: u32, parties: u64, arrived: u64, generation: u64) -> Vec<String> {
    let source = include_str!("tracing.rs").lines().nth(line as usize - 1);
    let column = source.unwrap().find("Barrier::new").unwrap() + 1;
    vec![
        format!(
            "open runtime.resource concrete_type=Barrier kind=Sync \
             loc.file={} loc.line={line} loc.col={column}",
            file!()
        ),
        format!("resource | runtime::resource::state_update parties={parties} parties.op=override"),
        in_generation("resource", generation),
        there("resource", arrived),
    ]
}

/// What is told when a wait by this method is first polled or takes its first step.
fn begun(source: &str) -> Vec<String> {
    vec![
        format!(
            "open resource > runtime.resource.async_op source={source} inherits_child_attrs=false"
        ),
        format!("open {source} > runtime.resource.async_op.poll"),
    ]
}

fn there(scope: &str, arrived: u64) -> String {
    format!("{scope} | runtime::resource::state_update arrived={arrived} arrived.op=override")
}

fn in_generation(scope: &str, generation: u64) -> String {
    format!(
        "{scope} | runtime::resource::state_update generation={generation} generation.op=override"
    )
}

/// The arrival of a wait by this method.
fn arrival(source: &str, arrived: u64) -> Vec<String> {
    vec![
        there(&format!("resource {source} poll"), arrived),
        format!("resource {source} poll | runtime::resource::async_op::state_update arrived=true"),
    ]
}

/// The end of a generation that a wait by this method completed and released.
fn release(source: &str, generations: u64) -> Vec<String> {
    let scope = format!("resource {source} poll");
    vec![in_generation(&scope, generations), there(&scope, 0)]
}

fn polled(source: &str, is_ready: bool) -> Vec<String> {
    vec![format!(
        "resource {source} poll | runtime::resource::poll_op op_name=poll is_ready={is_ready}"
    )]
}

fn closed(called: &str) -> Vec<String> {
    vec![format!("close {called}")]
}

#[test]
fn a_barrier_and_its_waits_are_told_as_the_console_reads_them() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (barrier, line) = (Barrier::new(2), line!());
    let [mut a, mut b] = [barrier.wait(), barrier.wait()];
    assert!(transcript.take().is_empty(), "nothing is polled yet");

    const WAIT: &str = "Barrier::wait";
    assert_eq!(poll(&mut a, Waker::noop()), Pending);
    let told = [
        opened(line, 2, 0, 0),
        begun(WAIT),
        arrival(WAIT, 1),
        polled(WAIT, false),
    ];
    assert_eq!(transcript.take(), told.concat());
    assert_eq!(poll(&mut a, Waker::noop()), Pending);
    assert_eq!(transcript.take(), polled(WAIT, false));
    assert_eq!(poll(&mut b, Waker::noop()), Led(0));
    let told = [begun(WAIT), release(WAIT, 1), polled(WAIT, true)];
    assert_eq!(transcript.take(), told.concat());
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
fn a_barrier_in_a_static_or_const_is_told_on_first_use() {
    static STATIC: (Barrier, u32) = (Barrier::new(2), line!());
    #[expect(
        clippy::declare_interior_mutable_const,
        reason = "each use is a barrier of its own"
    )]
    const CONST: (Barrier, u32) = (Barrier::new(3), line!());
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let of_const = CONST;
    for (parties, (barrier, line)) in [(2, &STATIC), (3, &of_const)] {
        let mut wait = barrier.wait();
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        assert_eq!(transcript.take()[..4], opened(*line, parties, 0, 0));
        drop(wait);
        transcript.take();
    }
    drop(of_const);
    assert_eq!(transcript.take(), closed("resource"));
}

#[test]
fn a_dropped_wait_is_told_to_take_its_arrival_back() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let barrier = Arc::new(Barrier::new(3));
    let mut first = barrier.wait();
    assert_eq!(poll(&mut first, Waker::noop()), Pending);
    transcript.take();

    const OWNED: &str = "Barrier::wait_owned";
    let mut wait = barrier.clone().wait_owned();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let told = [begun(OWNED), arrival(OWNED, 2), polled(OWNED, false)];
    assert_eq!(transcript.take(), told.concat());
    drop(wait);
    let told = [vec![there("resource", 1)], closed(OWNED)];
    assert_eq!(transcript.take(), told.concat());
    drop(barrier.wait());
    assert!(transcript.take().is_empty(), "it was never polled");
}

#[test]
fn a_wait_that_did_count_takes_nothing_back() {
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
fn an_arrival_is_told_in_the_call_and_stays() {
    const ARRIVE: &str = "Barrier::arrive";
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (barrier, line) = (Barrier::new(2), line!());
    let mut arrival_ = barrier.arrive();
    let told = [opened(line, 2, 0, 0), begun(ARRIVE), arrival(ARRIVE, 1)];
    assert_eq!(transcript.take(), told.concat());
    assert_eq!(poll(&mut arrival_, Waker::noop()), Pending);
    assert_eq!(transcript.take(), polled(ARRIVE, false));
    drop(arrival_);
    assert_eq!(transcript.take(), closed(ARRIVE));

    let mut last = barrier.arrive();
    let told = [begun(ARRIVE), release(ARRIVE, 1)];
    assert_eq!(transcript.take(), told.concat());
    assert_eq!(poll(&mut last, Waker::noop()), Led(0));
    assert_eq!(transcript.take(), polled(ARRIVE, true));
}

#[test]
fn a_held_release_is_told_when_it_comes() {
    const LEADER: &str = "Barrier::wait_leader";
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let barrier = Barrier::new(2);
    let mut other = barrier.wait();
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    transcript.take();

    let leader = futures::FutureExt::now_or_never(barrier.wait_leader());
    let leader = leader.flatten().expect("the last to arrive");
    let told = [
        begun(LEADER),
        // All are there, and the generation is not over.
        arrival(LEADER, 2),
        polled(LEADER, true),
        closed(LEADER),
    ];
    assert_eq!(transcript.take(), told.concat());
    let mut early = barrier.wait();
    assert_eq!(poll(&mut early, Waker::noop()), Pending);
    transcript.take();
    leader.release();
    let told = [in_generation("resource", 1), there("resource", 1)];
    assert_eq!(transcript.take(), told);
    drop(early);
    assert_eq!(transcript.take()[0], there("resource", 0));
}

#[test]
fn a_thread_that_waits_is_told_as_a_task_is() {
    const BLOCKING: &str = "Barrier::wait_blocking";
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let (barrier, line) = (Barrier::new(2), line!());
    let timed_out = barrier.wait_blocking_timeout(Duration::ZERO);
    assert!(timed_out.is_err());
    let told = [
        opened(line, 2, 0, 0),
        begun(BLOCKING),
        arrival(BLOCKING, 1),
        polled(BLOCKING, false),
        vec![there("resource", 0)],
        closed(BLOCKING),
    ];
    assert_eq!(transcript.take(), told.concat());

    drop(barrier.arrive());
    transcript.take();
    assert!(barrier.wait_blocking().is_leader());
    let told = [
        begun(BLOCKING),
        release(BLOCKING, 1),
        polled(BLOCKING, true),
        closed(BLOCKING),
    ];
    assert_eq!(transcript.take(), told.concat());
}

#[test]
fn a_barrier_that_was_used_unheard_is_told_as_it_stands() {
    let (barrier, line) = (Barrier::new(3), line!());
    drop([barrier.arrive(), barrier.arrive(), barrier.arrive()]);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);

    let transcript = Transcript::default();
    let listening = transcript.listen();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let told = [
        opened(line, 3, 1, 1),
        begun("Barrier::wait"),
        polled("Barrier::wait", false),
    ];
    assert_eq!(transcript.take(), told.concat());

    drop(listening);
    drop(barrier.arrive());
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert!(transcript.take().is_empty());
}

#[test]
fn a_subscriber_that_does_not_listen_to_traces_is_told_nothing() {
    let transcript = Transcript::default();
    let layer = transcript.clone().with_filter(LevelFilter::DEBUG);
    let _listening = set_default(tracing_subscriber::registry().with(layer));
    let barrier = Barrier::new(1);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    drop(barrier);
    assert!(transcript.take().is_empty());
}

/// Stops at the first line that ends like this, before it is written down.
struct Slow {
    transcript: Transcript,
    stop_at: Mutex<Option<&'static str>>,
    stopped: mpsc::Sender<()>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Slow {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        self.transcript.on_new_span(attributes, id, ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let fields = Fields::of(|f| event.record(f)).0;
        let mut stop_at = self.stop_at.lock().unwrap();
        let stops = stop_at.take_if(|line| fields.ends_with(*line)).is_some();
        drop(stop_at);
        if stops {
            self.stopped.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
        self.transcript.on_event(event, ctx);
    }
}

/// Has one thread arrive and stop when it is about to tell `late`, and the `others` arrive meanwhile.
/// Whatever was told last must be what is.
fn late_update(parties: usize, late: &'static str, others: usize) {
    let transcript = Transcript::default();
    let (stopped, has_stopped) = mpsc::channel();
    let (let_go_on, go_on) = mpsc::channel();
    let slow = Slow {
        transcript: transcript.clone(),
        stop_at: Mutex::new(Some(late)),
        stopped,
        go_on: Mutex::new(go_on),
    };
    let listener = tracing::Dispatch::new(tracing_subscriber::registry().with(slow));
    let _listening = tracing::dispatcher::set_default(&listener);
    let barrier = Barrier::new(parties);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            tracing::dispatcher::with_default(&listener, || drop(barrier.arrive()));
        });
        let stopped = has_stopped.recv_timeout(Duration::from_secs(60));
        stopped.expect("the thread tells of its arrival");
        for _ in 0..others {
            drop(barrier.arrive());
        }
        transcript.take();
        let_go_on.send(()).unwrap();
        thread.join().unwrap();
    });
    let told = transcript.take();
    assert!(told[0].ends_with(late));
    let number_of = |name| {
        let update = format!("runtime::resource::state_update {name}=");
        let mut told = told.iter().rev();
        let last = told.find_map(|line| line.split_once(&update));
        last.map(|(_, number)| number.split(' ').next().unwrap().parse().unwrap())
    };
    assert_eq!(number_of("arrived"), Some(barrier.arrived() as u64));
    let generation = number_of("generation");
    assert!(generation.is_none_or(|generation| generation == barrier.generation()));
}

#[test]
fn the_last_update_is_true_though_an_older_one_came_late() {
    late_update(3, "arrived=1 arrived.op=override", 1);
    // The others release, and tell so.
    late_update(3, "arrived=1 arrived.op=override", 2);
    late_update(1, "generation=1 generation.op=override", 1);
}

#[test]
fn a_barrier_belongs_to_no_other_span() {
    let transcript = Transcript::default();
    let _listening = transcript.listen();
    let other = tracing::trace_span!(target: "atomic_barrier", "runtime.resource");
    transcript.take();
    let (barrier, line) = (Barrier::new(1), line!());
    other.in_scope(|| assert!(barrier.wait_blocking().is_leader()));
    assert_eq!(transcript.take()[0], opened(line, 1, 0, 0)[0]);
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

    // An arrival that cannot be told has not been.
    armed.store(true, Relaxed);
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut b, &wakers[1])));
    assert!(panicked.is_err());
    assert_eq!(barrier.arrived(), 1);
    assert_eq!(poll(&mut b, &wakers[1]), Pending);

    // A generation that cannot be told is over all the same.
    armed.store(true, Relaxed);
    let panicked = catch_unwind(AssertUnwindSafe(|| poll(&mut c, Waker::noop())));
    assert!(panicked.is_err());
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [1, 1]);
    assert_eq!(poll(&mut a, &wakers[0]), Released(0));
    assert_eq!(poll(&mut b, &wakers[1]), Released(0));
    assert_eq!(wakers.each_ref().map(CountingWaker::held), [0, 0]);
}

/// Panics in one of its calls: when the countdown, which is off at -1, comes to 0.
struct PanicsAfter(Arc<AtomicI32>);

impl PanicsAfter {
    fn call(&self) {
        let left = self.0.load(Relaxed);
        self.0.store((left - 1).max(-1), Relaxed);
        if left == 0 {
            resume_unwind(Box::new("a subscriber's panic"));
        }
    }
}

impl Subscriber for PanicsAfter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        self.call();
        Id::from_u64(1)
    }
    fn event(&self, _: &Event<'_>) {
        self.call();
    }
    fn enter(&self, _: &Id) {
        self.call();
    }
    fn exit(&self, _: &Id) {
        self.call();
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
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
fn every_name_that_is_told_is_one_that_the_console_lets_through() {
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
    let (barrier, line) = (Barrier::new(1), line!());
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    const WAIT: &str = "Barrier::wait";
    let told = [
        opened(line, 1, 0, 0),
        begun(WAIT),
        release(WAIT, 1),
        polled(WAIT, true),
        closed(WAIT),
    ];
    assert_eq!(transcript.take(), told.concat());
}
