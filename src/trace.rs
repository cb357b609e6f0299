//! What a `tracing` subscriber, tokio-console first of all, sees of a barrier or a phaser. The one file
//! that knows of `tracing`: without the feature, and over loom and shuttle, all that is here is empty.
//!
//! The names, targets and fields are those that tokio gives to its own types and that the console
//! reads. A barrier or phaser is a *resource*; a wait is an *async op* of it, whose polls are reported
//! one by one.

use alloc::{sync::Arc, vec::Vec};

#[cfg(not(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
)))]
pub(crate) use self::disabled::{AsyncOp, Resource, Step, op_arrived, op_named};
#[cfg(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
))]
pub(crate) use self::enabled::{AsyncOp, Resource, Step, op_arrived, op_named};

/// What a resource is.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Barrier,
    Phaser,
}

/// What is shown of a barrier or phaser, all of it from one look at its word.
#[derive(PartialEq)]
pub(crate) struct Numbers {
    pub(crate) parties: u64,
    pub(crate) arrived: u64,
    /// The number of the generation or phase.
    pub(crate) number: u64,
    pub(crate) is_closed: bool,
    /// The names of those that have not arrived, as far as they have one.
    pub(crate) missing: Vec<Arc<str>>,
}

#[cfg(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
))]
mod enabled {
    use alloc::{sync::Arc, vec::Vec};
    use core::{
        iter,
        panic::{Location, RefUnwindSafe, UnwindSafe},
        sync::atomic::{AtomicBool, Ordering},
        task::Poll,
    };
    use std::sync::OnceLock;

    use tracing::{Level, Span, event_enabled, level_filters::LevelFilter, trace, trace_span};

    use super::{Kind, Numbers};
    use crate::wake::wake_all;

    /// Whether a subscriber listens. If none does, all that a wait pays is this load of a static, a
    /// few times.
    #[inline]
    fn is_enabled() -> bool {
        LevelFilter::current() == LevelFilter::TRACE && has_listener()
    }

    #[cold]
    #[inline(never)]
    fn has_listener() -> bool {
        event_enabled!(target: "runtime::resource::state_update", Level::TRACE)
    }

    /// Calls a subscriber. If it panics while this thread is panicking already, that is kept back: it would
    /// abort.
    fn call<T>(with: T, subscriber: impl Fn(T)) {
        wake_all(iter::once(with), subscriber);
    }

    /// The span of a barrier or phaser, and what it takes to open it.
    pub(crate) struct Resource {
        kind: Kind,
        created: &'static Location<'static>,
        /// Opened on first use, since no subscriber is there yet when a `static` is made.
        span: OnceLock<Span>,
        /// Whether names have been reported.
        has_names: AtomicBool,
    }

    /// How many names are reported.
    const MOST_NAMES: usize = 8;

    /// What has changed.
    #[derive(Clone, Copy, PartialEq)]
    enum Change {
        /// The arrivals alone.
        Arrivals,
        /// The number of the generation or phase, and the arrivals.
        Number,
        /// Perhaps everything.
        Any,
    }

    impl Resource {
        /// Nothing is emitted yet. The caller's caller is what the console shows as the location.
        #[track_caller]
        pub(crate) const fn new(kind: Kind) -> Self {
            Self {
                kind,
                created: Location::caller(),
                span: OnceLock::new(),
                has_names: AtomicBool::new(false),
            }
        }

        /// Reports that an arrival was made, or withdrawn.
        #[inline]
        pub(crate) fn arrivals_changed(&self, numbers: impl Fn() -> Numbers) {
            self.changed(Change::Arrivals, numbers);
        }

        /// Reports that a generation or phase has ended.
        #[inline]
        pub(crate) fn released(&self, numbers: impl Fn() -> Numbers) {
            self.changed(Change::Number, numbers);
        }

        /// Reports that parties have come or gone, or may come no more.
        #[inline]
        pub(crate) fn parties_changed(&self, numbers: impl Fn() -> Numbers) {
            self.changed(Change::Any, numbers);
        }

        #[inline]
        fn changed(&self, change: Change, numbers: impl Fn() -> Numbers) {
            if is_enabled() {
                call((), |()| self.emit(change, &numbers));
            }
        }

        #[cold]
        #[inline(never)]
        fn emit(&self, change: Change, numbers: impl Fn() -> Numbers) {
            let _in_resource = self.span(&numbers).enter();
            // Threads may come here in another order than they changed the word. So each looks
            // again when it has reported, and the last report is true.
            loop {
                let reported = numbers();
                self.emit_numbers(change, &reported);
                if numbers() == reported {
                    return;
                }
            }
        }

        fn span(&self, numbers: impl Fn() -> Numbers) -> &Span {
            self.span.get_or_init(|| {
                let span = trace_span!(
                    target: "atomic_barrier",
                    parent: None,
                    "runtime.resource",
                    concrete_type = match self.kind {
                        Kind::Barrier => "Barrier",
                        Kind::Phaser => "Phaser",
                    },
                    kind = "Sync",
                    loc.file = self.created.file(),
                    loc.line = self.created.line(),
                    loc.col = self.created.column(),
                );
                span.in_scope(|| self.emit_numbers(Change::Any, &numbers()));
                span
            })
        }

        fn emit_numbers(&self, change: Change, numbers: &Numbers) {
            if change == Change::Any {
                trace!(
                    target: "runtime::resource::state_update",
                    parties = numbers.parties,
                    parties.op = "override",
                );
            }
            if change != Change::Arrivals {
                match self.kind {
                    Kind::Barrier => trace!(
                        target: "runtime::resource::state_update",
                        generation = numbers.number,
                        generation.op = "override",
                    ),
                    Kind::Phaser => trace!(
                        target: "runtime::resource::state_update",
                        phase = numbers.number,
                        phase.op = "override",
                    ),
                }
            }
            trace!(
                target: "runtime::resource::state_update",
                arrived = numbers.arrived,
                arrived.op = "override",
            );
            // Relaxed: a thread that has named nobody need not report that all have arrived.
            if !numbers.missing.is_empty() || self.has_names.load(Ordering::Relaxed) {
                self.has_names.store(true, Ordering::Relaxed);
                let shown = numbers.missing.iter().take(MOST_NAMES).cloned();
                let more = numbers.missing.get(MOST_NAMES).map(|_| "...".into());
                let names: Vec<_> = shown.chain(more).collect();
                trace!(
                    target: "runtime::resource::state_update",
                    missing = &*names.join(", "),
                    missing.op = "override",
                );
            }
            if change == Change::Any && numbers.is_closed {
                trace!(
                    target: "runtime::resource::state_update",
                    closed = true,
                    closed.op = "override",
                );
            }
        }
    }

    /// Reports that the wait has arrived whose [`Step`] is taken.
    #[inline]
    pub(crate) fn op_arrived() {
        if is_enabled() {
            emit_op_arrived();
        }
    }

    #[cold]
    #[inline(never)]
    fn emit_op_arrived() {
        trace!(target: "runtime::resource::async_op::state_update", arrived = true);
    }

    /// Reports the name of the participant whose wait's [`Step`] is taken.
    #[inline]
    pub(crate) fn op_named<'a>(name: impl FnOnce() -> Option<&'a str>) {
        if is_enabled() {
            name().into_iter().for_each(emit_op_name);
        }
    }

    #[cold]
    #[inline(never)]
    fn emit_op_name(name: &str) {
        trace!(target: "runtime::resource::async_op::state_update", name);
    }

    /// The spans of one wait, from its first poll that a subscriber listens to. Shared, so that a future
    /// grows by a pointer, and that a step borrows nothing.
    pub(crate) struct AsyncOp(Option<Arc<Spans>>);

    struct Spans {
        resource: Span,
        op: Span,
        poll: Span,
    }

    // Nothing is left half done when a subscriber panics: a span is there or not.
    impl UnwindSafe for AsyncOp {}
    impl RefUnwindSafe for AsyncOp {}

    /// A step of a wait. What the resource reports meanwhile is reported as that wait's.
    pub(crate) struct Step(Option<Arc<Spans>>);

    impl AsyncOp {
        pub(crate) const fn new() -> Self {
            Self(None)
        }

        /// The next step of the wait that was made by the method `source`.
        #[inline]
        pub(crate) fn step(
            &mut self,
            source: &'static str,
            resource: &Resource,
            numbers: impl Fn() -> Numbers,
        ) -> Step {
            Step(is_enabled().then(|| self.spans(source, resource.span(numbers)).clone()))
        }

        #[cold]
        #[inline(never)]
        fn spans(&mut self, source: &'static str, resource: &Span) -> &Arc<Spans> {
            self.0.get_or_insert_with(|| {
                // The console takes what encloses a span from where it is opened.
                let _in_resource = resource.enter();
                let op = trace_span!(
                    target: "atomic_barrier",
                    "runtime.resource.async_op",
                    source,
                    inherits_child_attrs = false,
                );
                // Not by entering, which the console would count as a poll.
                let poll = trace_span!(
                    target: "atomic_barrier",
                    parent: &op,
                    "runtime.resource.async_op.poll",
                );
                let resource = resource.clone();
                Arc::new(Spans { resource, op, poll })
            })
        }
    }

    impl Step {
        #[inline]
        pub(crate) fn take<T>(self, step: impl FnOnce() -> T) -> T {
            match self.0 {
                None => step(),
                Some(spans) => spans.enclose(step),
            }
        }

        /// The same for a poll, whose result is reported too.
        #[inline]
        pub(crate) fn poll<T>(self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
            match self.0 {
                None => poll(),
                Some(spans) => spans.enclose(|| {
                    let poll = poll();
                    trace!(
                        target: "runtime::resource::poll_op",
                        op_name = "poll",
                        is_ready = poll.is_ready(),
                    );
                    poll
                }),
            }
        }
    }

    impl Spans {
        #[cold]
        #[inline(never)]
        fn enclose<T>(&self, step: impl FnOnce() -> T) -> T {
            let in_resource = self.resource.enter();
            let in_op = self.op.enter();
            let in_poll = self.poll.enter();
            let result = step();
            // Here, so that the result is dropped if the subscriber panics.
            drop((in_poll, in_op, in_resource));
            result
        }
    }

    impl Drop for AsyncOp {
        #[inline]
        fn drop(&mut self) {
            if let Some(spans) = self.0.take() {
                close(spans);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn close(spans: Arc<Spans>) {
        call(spans, drop);
    }
}

#[cfg(not(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
)))]
mod disabled {
    use core::task::Poll;

    use super::{Kind, Numbers};

    pub(crate) struct Resource;

    impl Resource {
        pub(crate) const fn new(_kind: Kind) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn arrivals_changed(&self, _numbers: impl Fn() -> Numbers) {}

        #[inline(always)]
        pub(crate) fn released(&self, _numbers: impl Fn() -> Numbers) {}

        #[inline(always)]
        pub(crate) fn parties_changed(&self, _numbers: impl Fn() -> Numbers) {}
    }

    #[inline(always)]
    pub(crate) fn op_arrived() {}

    #[inline(always)]
    pub(crate) fn op_named<'a>(_name: impl FnOnce() -> Option<&'a str>) {}

    pub(crate) struct AsyncOp;

    pub(crate) struct Step;

    impl AsyncOp {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn step(
            &mut self,
            _source: &'static str,
            _resource: &Resource,
            _numbers: impl Fn() -> Numbers,
        ) -> Step {
            Step
        }
    }

    impl Step {
        #[inline(always)]
        pub(crate) fn take<T>(self, step: impl FnOnce() -> T) -> T {
            step()
        }

        #[inline(always)]
        pub(crate) fn poll<T>(self, poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
            poll()
        }
    }
}
