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
        mem,
        panic::{AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe},
        sync::atomic::{AtomicBool, Ordering},
        task::Poll,
    };
    use std::{panic::catch_unwind, sync::OnceLock};

    use tracing::{
        Level, Span, event_enabled, level_filters::LevelFilter, span, trace, trace_span,
    };

    use super::{Kind, Numbers};

    /// Whether a subscriber listens. If none does, all that a wait pays is this load of a static, a
    /// few times.
    #[inline]
    fn is_enabled() -> bool {
        LevelFilter::current() == LevelFilter::TRACE && has_listener()
    }

    #[cold]
    #[inline(never)]
    fn has_listener() -> bool {
        call(|| event_enabled!(target: "runtime::resource::state_update", Level::TRACE))
            == Some(true)
    }

    /// Calls a subscriber: nothing else in this crate does. A panic of it ends here, so that it changes
    /// nothing about the barrier or phaser.
    ///
    /// No call may drop what makes another: two panics at once abort.
    fn call<T>(subscriber: impl FnOnce() -> T) -> Option<T> {
        // Dropping what it panics with may panic.
        catch_unwind(AssertUnwindSafe(subscriber))
            .map_err(mem::forget)
            .ok()
    }

    /// A span, each call of which is one by [`call`].
    struct OwnSpan(Span);

    impl OwnSpan {
        /// None is made by a subscriber that panics.
        fn new(make: impl FnOnce() -> Span) -> Self {
            Self(call(make).unwrap_or_else(Span::none))
        }

        fn enter(&self) -> Entered<'_> {
            Entered(call(|| self.0.enter()))
        }
    }

    impl Drop for OwnSpan {
        fn drop(&mut self) {
            let span = mem::replace(&mut self.0, Span::none());
            call(|| drop(span));
        }
    }

    /// Exits the span when it is dropped, also while a waker's or an action's panic passes.
    struct Entered<'a>(Option<span::Entered<'a>>);

    impl Drop for Entered<'_> {
        fn drop(&mut self) {
            let entered = self.0.take();
            call(|| drop(entered));
        }
    }

    /// The span of a barrier or phaser, and what it takes to open it.
    pub(crate) struct Resource {
        kind: Kind,
        created: &'static Location<'static>,
        /// Opened on first use, since no subscriber is there yet when a `static` is made. No thread ever
        /// waits for it: it is set by the one that found `is_opening` false.
        span: OnceLock<OwnSpan>,
        is_opening: AtomicBool,
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
                is_opening: AtomicBool::new(false),
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
                self.emit(change, numbers);
            }
        }

        #[cold]
        #[inline(never)]
        fn emit(&self, change: Change, numbers: impl Fn() -> Numbers) {
            if let Some(span) = self.span(&numbers) {
                self.emit_within(span, change, numbers);
            }
        }

        fn emit_within(&self, span: &OwnSpan, change: Change, numbers: impl Fn() -> Numbers) {
            let _in_resource = span.enter();
            // Threads may come here in another order than they changed the word. So each looks
            // again when it has reported, and the last report is true. There is no bound to it: if nobody
            // else reports any more, only this thread can correct what it has reported too late.
            loop {
                let reported = numbers();
                call(|| self.emit_numbers(change, &reported));
                if numbers() == reported {
                    return;
                }
            }
        }

        /// `None` while it is being opened, by another thread or by a caller of this one, and for good if
        /// the subscriber has panicked meanwhile.
        fn span(&self, numbers: impl Fn() -> Numbers) -> Option<&OwnSpan> {
            if self.span.get().is_none() {
                self.open(numbers);
            }
            self.span.get()
        }

        #[cold]
        fn open(&self, numbers: impl Fn() -> Numbers) {
            // AcqRel: pairs with the other swap. A thread that swaps before it has changed the word before
            // the look that follows there; a thread that swaps after it finds the span.
            if self.is_opening.swap(true, Ordering::AcqRel) {
                return;
            }
            let made = call(|| {
                trace_span!(
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
                )
            });
            if let Some(span) = made {
                let span = self.span.get_or_init(|| OwnSpan(span));
                self.is_opening.swap(true, Ordering::AcqRel);
                self.emit_within(span, Change::Any, numbers);
            }
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
        call(|| trace!(target: "runtime::resource::async_op::state_update", arrived = true));
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
        call(|| trace!(target: "runtime::resource::async_op::state_update", name));
    }

    /// The spans of one wait, from its first poll that a subscriber listens to. Shared, so that a future
    /// grows by a pointer, and that a step borrows nothing.
    pub(crate) struct AsyncOp(Option<Arc<Spans>>);

    struct Spans {
        resource: OwnSpan,
        op: OwnSpan,
        poll: OwnSpan,
    }

    // Nothing is left half done: no panic of a subscriber comes out.
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
            Step(if is_enabled() {
                self.spans(source, resource, numbers)
            } else {
                None
            })
        }

        #[cold]
        #[inline(never)]
        fn spans(
            &mut self,
            source: &'static str,
            resource: &Resource,
            numbers: impl Fn() -> Numbers,
        ) -> Option<Arc<Spans>> {
            let resource = resource.span(numbers)?;
            let spans = self.0.get_or_insert_with(|| {
                // The console takes what encloses a span from where it is opened.
                let _in_resource = resource.enter();
                let op = OwnSpan::new(|| {
                    trace_span!(
                        target: "atomic_barrier",
                        "runtime.resource.async_op",
                        source,
                        inherits_child_attrs = false,
                    )
                });
                // Not by entering, which the console would count as a poll.
                let poll = OwnSpan::new(|| {
                    trace_span!(
                        target: "atomic_barrier",
                        parent: &op.0,
                        "runtime.resource.async_op.poll",
                    )
                });
                let resource = OwnSpan::new(|| resource.0.clone());
                Arc::new(Spans { resource, op, poll })
            });
            Some(spans.clone())
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
                    call(|| {
                        trace!(
                            target: "runtime::resource::poll_op",
                            op_name = "poll",
                            is_ready = poll.is_ready(),
                        );
                    });
                    poll
                }),
            }
        }
    }

    impl Spans {
        #[cold]
        #[inline(never)]
        fn enclose<T>(&self, step: impl FnOnce() -> T) -> T {
            let _in_resource = self.resource.enter();
            let _in_op = self.op.enter();
            let _in_poll = self.poll.enter();
            step()
        }
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
