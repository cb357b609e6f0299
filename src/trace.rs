//! What a `tracing` subscriber, tokio-console first of all, sees of a barrier. The one file that
//! knows of `tracing`: without the feature, and over loom and shuttle, all that is here is empty.
//!
//! The names, targets and fields are those that tokio gives to its own types and that the console
//! reads. A barrier is a *resource*; a wait is an *async op* of it, whose polls are told one by one.

#[cfg(not(all(feature = "tracing", not(any(loom, shuttle)))))]
pub(crate) use self::silent::{AsyncOp, Resource, Scope};
#[cfg(all(feature = "tracing", not(any(loom, shuttle))))]
pub(crate) use self::told::{AsyncOp, Resource, Scope};

/// What is shown of a barrier, all of it from one look at its word.
#[derive(Debug, PartialEq)]
pub(crate) struct Numbers {
    pub(crate) parties: u64,
    pub(crate) arrived: u64,
    pub(crate) generation: u64,
}

#[cfg(all(feature = "tracing", not(any(loom, shuttle))))]
mod told {
    use alloc::boxed::Box;
    use core::{
        panic::{Location, RefUnwindSafe, UnwindSafe},
        task::Poll,
    };
    use std::sync::OnceLock;

    use tracing::{
        Level, Span, event_enabled, level_filters::LevelFilter, span::Entered, trace, trace_span,
    };

    use super::Numbers;

    /// Whether anybody listens. Where nobody does, all that a wait pays is this look at a static, a
    /// few times.
    #[inline]
    fn is_told() -> bool {
        LevelFilter::current() == LevelFilter::TRACE && is_told_to_somebody()
    }

    #[cold]
    #[inline(never)]
    fn is_told_to_somebody() -> bool {
        event_enabled!(target: "runtime::resource::state_update", Level::TRACE)
    }

    /// A barrier's span, and what it takes to open it.
    pub(crate) struct Resource {
        concrete_type: &'static str,
        created: &'static Location<'static>,
        /// Opened on first use, since there is nobody to open it for when a `static` is made.
        span: OnceLock<Span>,
    }

    impl Resource {
        /// Nothing is told yet. The caller's caller is what the console shows as the location.
        #[track_caller]
        pub(crate) const fn new(concrete_type: &'static str) -> Self {
            Self {
                concrete_type,
                created: Location::caller(),
                span: OnceLock::new(),
            }
        }

        /// Tells of an arrival, from within the [`Scope`] of the wait that made it.
        #[inline]
        pub(crate) fn arrived(&self, numbers: impl Fn() -> Numbers) {
            if is_told() {
                self.tell(false, numbers);
                tell_arrival();
            }
        }

        /// Tells of an arrival that was taken back.
        #[inline]
        pub(crate) fn withdrew(&self, numbers: impl Fn() -> Numbers) {
            if is_told() {
                self.tell(false, numbers);
            }
        }

        /// Tells that a generation has ended.
        #[inline]
        pub(crate) fn released(&self, numbers: impl Fn() -> Numbers) {
            if is_told() {
                self.tell(true, numbers);
            }
        }

        #[cold]
        #[inline(never)]
        fn tell(&self, mut generation_moved: bool, numbers: impl Fn() -> Numbers) {
            let _in_resource = self.span(&numbers).enter();
            // Threads may come here in another order than they changed the word. So each looks
            // again when it has spoken, and whoever speaks last has said what is.
            loop {
                let told = numbers();
                if generation_moved {
                    tell_generation(&told);
                }
                tell_arrived(&told);
                if numbers() == told {
                    return;
                }
                generation_moved = true;
            }
        }

        fn span(&self, numbers: impl Fn() -> Numbers) -> &Span {
            self.span.get_or_init(|| {
                let span = trace_span!(
                    parent: None,
                    "runtime.resource",
                    concrete_type = self.concrete_type,
                    kind = "Sync",
                    loc.file = self.created.file(),
                    loc.line = self.created.line(),
                    loc.col = self.created.column(),
                );
                span.in_scope(|| {
                    let told = numbers();
                    trace!(
                        target: "runtime::resource::state_update",
                        parties = told.parties,
                        parties.op = "override",
                    );
                    tell_generation(&told);
                    tell_arrived(&told);
                });
                span
            })
        }
    }

    fn tell_generation(numbers: &Numbers) {
        trace!(
            target: "runtime::resource::state_update",
            generation = numbers.generation,
            generation.op = "override",
        );
    }

    fn tell_arrived(numbers: &Numbers) {
        trace!(
            target: "runtime::resource::state_update",
            arrived = numbers.arrived,
            arrived.op = "override",
        );
    }

    #[cold]
    #[inline(never)]
    fn tell_arrival() {
        trace!(target: "runtime::resource::async_op::state_update", arrived = true);
    }

    /// The spans of one wait, from its first poll that somebody listens to. Boxed, so that a future
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

        /// Enters the wait that was made by the method `source`. What the resource tells before
        /// the scope ends is told as this wait's.
        #[inline]
        pub(crate) fn enter<'a>(
            &'a mut self,
            source: &'static str,
            resource: &'a Resource,
            numbers: impl Fn() -> Numbers,
        ) -> Scope<'a> {
            Scope(is_told().then(|| self.enter_spans(source, resource.span(numbers))))
        }

        #[cold]
        #[inline(never)]
        fn enter_spans<'a>(&'a mut self, source: &'static str, resource: &'a Span) -> Spoken<'a> {
            // The console takes what encloses a span from where it is opened.
            let resource = resource.enter();
            let Spans { op, poll } = &**self.0.get_or_insert_with(|| {
                let op = trace_span!(
                    "runtime.resource.async_op",
                    source,
                    inherits_child_attrs = false,
                );
                let poll = op.in_scope(|| trace_span!("runtime.resource.async_op.poll"));
                Box::new(Spans { op, poll })
            });
            let op = op.enter();
            Spoken {
                _poll: poll.enter(),
                _op: op,
                _resource: resource,
            }
        }
    }

    /// The time that a wait spends in one of its steps.
    #[must_use = "what is told is told as the wait's until this is dropped"]
    pub(crate) struct Scope<'a>(Option<Spoken<'a>>);

    /// Left from the innermost outwards.
    struct Spoken<'a> {
        _poll: Entered<'a>,
        _op: Entered<'a>,
        _resource: Entered<'a>,
    }

    impl Scope<'_> {
        /// Tells what a poll brought.
        #[inline]
        pub(crate) fn polled<T>(self, poll: Poll<T>) -> Poll<T> {
            if self.0.is_some() {
                tell_poll(poll.is_ready());
            }
            poll
        }
    }

    #[cold]
    #[inline(never)]
    fn tell_poll(is_ready: bool) {
        trace!(target: "runtime::resource::poll_op", op_name = "poll", is_ready);
    }
}

#[cfg(not(all(feature = "tracing", not(any(loom, shuttle)))))]
mod silent {
    use core::{marker::PhantomData, task::Poll};

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
        pub(crate) fn enter<'a>(
            &'a mut self,
            _source: &'static str,
            _resource: &'a Resource,
            _numbers: impl Fn() -> Numbers,
        ) -> Scope<'a> {
            Scope(PhantomData)
        }
    }

    pub(crate) struct Scope<'a>(PhantomData<&'a ()>);

    impl Scope<'_> {
        #[inline(always)]
        pub(crate) fn polled<T>(self, poll: Poll<T>) -> Poll<T> {
            poll
        }
    }
}
