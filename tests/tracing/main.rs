//! What a `tracing` subscriber gets: names, targets and fields as tokio-console reads them, and the
//! numbers at each change.

mod barrier;
mod phaser;

use core::{
    fmt::{self, Display, Write},
    mem,
    time::Duration,
};
use std::{
    panic::resume_unwind,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use tracing::{
    Event, Metadata, Subscriber,
    dispatcher::WeakDispatch,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::{DefaultGuard, Interest, set_default},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// Writes down all that is reported, a line each: what is opened and closed, and each event behind the
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

/// The name of a span in the lines that follow.
struct SpanName(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Transcript {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let (metadata, fields) = (attributes.metadata(), Fields::of(|f| attributes.record(f)));
        let span = ctx.span(id).unwrap();
        let name = match metadata.name() {
            "runtime.resource" => "resource".into(),
            "runtime.resource.async_op" => fields.first("source"),
            "runtime.resource.async_op.poll" => "poll".into(),
            other => panic!("a span that the console does not know: {other}"),
        };
        assert_eq!(metadata.target(), "atomic_barrier");
        assert_eq!(*metadata.level(), tracing::Level::TRACE);
        let parent = span.parent().map_or("".into(), |parent| {
            format!("{} > ", parent.extensions().get::<SpanName>().unwrap().0)
        });
        self.write(format!("open {parent}{}{}", metadata.name(), fields.0));
        span.extensions_mut().insert(SpanName(name));
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut line = String::new();
        for span in ctx.event_scope(event).unwrap().from_root() {
            write!(line, "{} ", span.extensions().get::<SpanName>().unwrap().0).unwrap();
        }
        let fields = Fields::of(|f| event.record(f)).0;
        self.write(format!("{line}| {}{fields}", event.metadata().target()));
    }

    fn on_close(&self, id: Id, ctx: Context<'_, S>) {
        let span = ctx.span(&id).unwrap();
        let extensions = span.extensions();
        let name = &extensions.get::<SpanName>().unwrap().0;
        // The span of the polls goes with its wait's.
        if name != "poll" {
            self.write(format!("close {name}"));
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

/// A place in one of the files of these tests.
struct Place {
    file: &'static str,
    source: &'static str,
    line: u32,
}

/// Where the macro stands.
macro_rules! here {
    () => {
        crate::Place {
            file: file!(),
            source: include_str!(concat!("../../", file!())),
            line: line!(),
        }
    };
}
use here;

/// What is reported when a resource of this type, made at this place by a `call`, is first used.
fn opened(
    concrete_type: &str,
    made_at: &Place,
    call: &str,
    numbers: &[(&str, u64)],
) -> Vec<String> {
    let Place { file, source, line } = made_at;
    let source = source.lines().nth(*line as usize - 1);
    let column = source.unwrap().find(call).unwrap() + 1;
    let mut reported = vec![format!(
        "open runtime.resource concrete_type={concrete_type} kind=Sync \
         loc.file={file} loc.line={line} loc.col={column}"
    )];
    reported.extend(
        numbers
            .iter()
            .map(|(name, number)| update("resource", name, number)),
    );
    reported
}

/// What is reported when a wait by this method is first polled or takes its first step.
fn begun(source: &str) -> Vec<String> {
    vec![
        format!(
            "open resource > runtime.resource.async_op source={source} inherits_child_attrs=false"
        ),
        format!("open {source} > runtime.resource.async_op.poll"),
    ]
}

fn update(scope: &str, name: &str, value: impl Display) -> String {
    format!("{scope} | runtime::resource::state_update {name}={value} {name}.op=override")
}

fn there(scope: &str, arrived: u64) -> String {
    update(scope, "arrived", arrived)
}

/// Where a step of a wait by this method is reported.
fn step_of(source: &str) -> String {
    format!("resource {source} poll")
}

fn has_arrived(source: &str) -> String {
    let scope = step_of(source);
    format!("{scope} | runtime::resource::async_op::state_update arrived=true")
}

/// The arrival of a wait by this method.
fn arrival(source: &str, arrived: u64) -> Vec<String> {
    vec![there(&step_of(source), arrived), has_arrived(source)]
}

fn polled(source: &str, is_ready: bool) -> Vec<String> {
    let scope = step_of(source);
    vec![format!(
        "{scope} | runtime::resource::poll_op op_name=poll is_ready={is_ready}"
    )]
}

fn closed(name: &str) -> Vec<String> {
    vec![format!("close {name}")]
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

/// Has a thread do what is `late`, and stop when it is about to report `line` of it; what is done `meanwhile`
/// is reported before. The last update of each number must be what that is in the end.
fn late_update<const N: usize>(
    line: &'static str,
    late: impl FnOnce() + Send,
    meanwhile: impl FnOnce(),
    numbers: impl FnOnce() -> [(&'static str, u64); N],
) {
    let transcript = Transcript::default();
    let (stopped, has_stopped) = mpsc::channel();
    let (let_go_on, go_on) = mpsc::channel();
    let slow = Slow {
        transcript: transcript.clone(),
        stop_at: Mutex::new(Some(line)),
        stopped,
        go_on: Mutex::new(go_on),
    };
    let listener = tracing::Dispatch::new(tracing_subscriber::registry().with(slow));
    let _listening = tracing::dispatcher::set_default(&listener);
    thread::scope(|scope| {
        let thread = scope.spawn(|| tracing::dispatcher::with_default(&listener, late));
        let stopped = has_stopped.recv_timeout(Duration::from_secs(60));
        stopped.expect("the thread tells of what it does");
        meanwhile();
        transcript.take();
        let_go_on.send(()).unwrap();
        thread.join().unwrap();
    });
    let reported = transcript.take();
    assert!(reported[0].ends_with(line));
    for (name, number) in numbers() {
        let update = format!("runtime::resource::state_update {name}=");
        let last = reported
            .iter()
            .rev()
            .find_map(|line| line.split_once(&update));
        match last {
            Some((_, reported)) => {
                assert_eq!(reported.split(' ').next(), Some(&*number.to_string()))
            }
            // It was reported before, and stays true.
            None => assert_ne!(name, "arrived"),
        }
    }
}

/// A subscriber that uses what it is told of, on another thread which it waits for, while that is opened for the
/// first time. It must not wait for ever.
struct Uses<F> {
    transcript: Transcript,
    use_it: Mutex<Option<F>>,
    /// What the other thread reports to.
    listener: Arc<OnceLock<WeakDispatch>>,
}

impl<S, F> Layer<S> for Uses<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    F: FnOnce() + Send + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let use_it = self.use_it.lock().unwrap().take();
        if let Some(use_it) = use_it {
            let (used, is_used) = mpsc::channel();
            let listener = self.listener.get().and_then(WeakDispatch::upgrade).unwrap();
            thread::spawn(move || {
                tracing::dispatcher::with_default(&listener, use_it);
                used.send(()).unwrap();
            });
            let used = is_used.recv_timeout(Duration::from_secs(60));
            used.expect("the other does not wait until it is open");
        }
        self.transcript.on_new_span(attributes, id, ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        self.transcript.on_event(event, ctx);
    }
}

/// Panics in one of its calls, or from then on in each.
#[derive(Clone, Default)]
struct Panics(Arc<Countdown>);

#[derive(Default)]
struct Countdown {
    left: AtomicI32,
    /// Whether each call that follows panics too.
    lasts: AtomicBool,
}

impl Panics {
    /// Calls `act` again and again, with a subscriber that panics in its first call, in its second, and so on
    /// until `act` makes no more. Then the same with one that also panics in all later calls.
    fn in_each_call(mut act: impl FnMut()) {
        let this = Self::default();
        let _listening = set_default(this.clone());
        for lasts in [false, true] {
            this.0.lasts.store(lasts, Relaxed);
            for calls in 0.. {
                this.0.left.store(calls, Relaxed);
                act();
                let has_panicked = this.0.left.swap(i32::MAX, Relaxed) < 0;
                if !has_panicked {
                    assert!(calls > 4, "{calls} calls");
                    break;
                }
            }
        }
    }

    fn call(&self) {
        let left = self.0.left.fetch_sub(1, Relaxed);
        if left == 0 || left < 0 && self.0.lasts.load(Relaxed) {
            resume_unwind(Box::new("a subscriber's panic"));
        }
    }
}

impl Subscriber for Panics {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        self.call();
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
    fn clone_span(&self, id: &Id) -> Id {
        self.call();
        id.clone()
    }
    fn try_close(&self, _: Id) -> bool {
        self.call();
        false
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
}
