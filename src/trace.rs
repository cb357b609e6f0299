//! What a `tracing` subscriber, tokio-console first of all, sees of a barrier. The one file that
//! knows of `tracing`: without the feature, and over loom and shuttle, all that is here is empty.
//!
//! The names, targets and fields are those that tokio gives to its own types and that the console
//! reads. A barrier is a *resource*; a wait is an *async op* of it, whose polls are reported one by one.

#[cfg(not(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
)))]
pub(crate) use self::disabled::{AsyncOp, Resource};
#[cfg(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
))]
pub(crate) use self::enabled::{AsyncOp, Resource};

/// What is shown of a barrier, all of it from one look at its word.
#[derive(Debug, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) parties: u64,
    pub(crate) arrived: u64,
    pub(crate) generation: u64,
}

#[cfg(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
))]
mod enabled {
    use alloc::boxed::Box;
    use core::{
        panic::{Location, RefUnwindSafe, UnwindSafe},
        task::Poll,
    };
    use std::sync::OnceLock;

    use tracing::{Level, Span, event_enabled, level_filters::LevelFilter, trace, trace_span};

    use super::Numbers;

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

    /// A barrier's span, and what it takes to open it.
    pub(crate) struct Resource {
        concrete_type: &'static str,
        created: &'static Location<'static>,
        /// Opened on first use, since no subscriber is there yet when a `static` is made.
        span: OnceLock<Span>,
    }

    impl Resource {
        /// Nothing is emitted yet. The caller's caller is what the console shows as the location.
        #[track_caller]
        pub(crate) const fn new(concrete_type: &'static str) -> Self {
            Self {
                concrete_type,
                created: Location::caller(),
                span: OnceLock::new(),
            }
        }

        /// Reports an arrival, from within the [step](AsyncOp::step) that made it.
        #[inline]
        pub(crate) fn arrived(&self, numbers: impl Fn() -> Numbers) {
            if is_enabled() {
                self.emit(false, numbers);
                emit_arrival();
            }
        }

        /// Reports an arrival that was withdrawn.
        #[inline]
        pub(crate) fn withdrew(&self, numbers: impl Fn() -> Numbers) {
            if is_enabled() {
                self.emit(false, numbers);
            }
        }

        /// Reports that a generation has ended.
        #[inline]
        pub(crate) fn released(&self, numbers: impl Fn() -> Numbers) {
            if is_enabled() {
                self.emit(true, numbers);
            }
        }

        #[cold]
        #[inline(never)]
        fn emit(&self, generation_moved: bool, numbers: impl Fn() -> Numbers) {
            let _in_resource = self.span(&numbers).enter();
            // Threads may come here in another order than they changed the word. So each looks
            // again when it has reported, and the last report is true.
            loop {
                let reported = numbers();
                if generation_moved {
                    emit_generation(&reported);
                }
                emit_arrived(&reported);
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
                    concrete_type = self.concrete_type,
                    kind = "Sync",
                    loc.file = self.created.file(),
                    loc.line = self.created.line(),
                    loc.col = self.created.column(),
                );
                span.in_scope(|| {
                    let reported = numbers();
                    trace!(
                        target: "runtime::resource::state_update",
                        parties = reported.parties,
                        parties.op = "override",
                    );
                    emit_generation(&reported);
                    emit_arrived(&reported);
                });
                span
            })
        }
    }

    fn emit_generation(numbers: &Numbers) {
        trace!(
            target: "runtime::resource::state_update",
            generation = numbers.generation,
            generation.op = "override",
        );
    }

    fn emit_arrived(numbers: &Numbers) {
        trace!(
            target: "runtime::resource::state_update",
            arrived = numbers.arrived,
            arrived.op = "override",
        );
    }

    #[cold]
    #[inline(never)]
    fn emit_arrival() {
        trace!(target: "runtime::resource::async_op::state_update", arrived = true);
    }

    /// The spans of one wait, from its first poll that a subscriber listens to. Boxed, so that a future
    /// grows by a pointer.
    #[derive(Debug)]
    pub(crate) struct AsyncOp(Option<Box<Spans>>);

    #[derive(Debug)]
    struct Spans {
        op: Span,
        poll: Span,
    }

    // Nothing is left half done when a subscriber panics: a span is there or not.
    impl UnwindSafe for AsyncOp {}
    impl RefUnwindSafe for AsyncOp {}

    impl AsyncOp {
        pub(crate) const fn new() -> Self {
            Self(None)
        }

        /// Takes a step of the wait that was made by the method `source`. What the resource reports
        /// meanwhile is reported as this wait's.
        #[inline]
        pub(crate) fn step<T>(
            &mut self,
            source: &'static str,
            resource: &Resource,
            numbers: impl Fn() -> Numbers,
            step: impl FnOnce() -> T,
        ) -> T {
            if !is_enabled() {
                return step();
            }
            self.step_in_spans(source, resource.span(numbers), step)
        }

        /// [`step`](Self::step), for a poll, whose result is reported too.
        #[inline]
        pub(crate) fn poll<T>(
            &mut self,
            source: &'static str,
            resource: &Resource,
            numbers: impl Fn() -> Numbers,
            poll: impl FnOnce() -> Poll<T>,
        ) -> Poll<T> {
            if !is_enabled() {
                return poll();
            }
            self.step_in_spans(source, resource.span(numbers), || {
                let poll = poll();
                trace!(
                    target: "runtime::resource::poll_op",
                    op_name = "poll",
                    is_ready = poll.is_ready(),
                );
                poll
            })
        }

        #[cold]
        #[inline(never)]
        fn step_in_spans<T>(
            &mut self,
            source: &'static str,
            resource: &Span,
            step: impl FnOnce() -> T,
        ) -> T {
            // The console takes what encloses a span from where it is opened.
            let in_resource = resource.enter();
            let Spans { op, poll } = &**self.0.get_or_insert_with(|| {
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
                Box::new(Spans { op, poll })
            });
            let in_op = op.enter();
            let in_poll = poll.enter();
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
    fn close(spans: Box<Spans>) {
        drop(spans);
    }
}

#[cfg(not(all(
    feature = "tracing",
    not(any(atomic_barrier_loom, atomic_barrier_shuttle))
)))]
mod disabled {
    use core::task::Poll;

    use super::Numbers;

    pub(crate) struct Resource;

    impl Resource {
        pub(crate) const fn new(_concrete_type: &'static str) -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn arrived(&self, _numbers: impl Fn() -> Numbers) {}

        #[inline(always)]
        pub(crate) fn withdrew(&self, _numbers: impl Fn() -> Numbers) {}

        #[inline(always)]
        pub(crate) fn released(&self, _numbers: impl Fn() -> Numbers) {}
    }

    #[derive(Debug)]
    pub(crate) struct AsyncOp;

    impl AsyncOp {
        pub(crate) const fn new() -> Self {
            Self
        }

        #[inline(always)]
        pub(crate) fn step<T>(
            &mut self,
            _source: &'static str,
            _resource: &Resource,
            _numbers: impl Fn() -> Numbers,
            step: impl FnOnce() -> T,
        ) -> T {
            step()
        }

        #[inline(always)]
        pub(crate) fn poll<T>(
            &mut self,
            _source: &'static str,
            _resource: &Resource,
            _numbers: impl Fn() -> Numbers,
            poll: impl FnOnce() -> Poll<T>,
        ) -> Poll<T> {
            poll()
        }
    }
}
