//! How a thread waits: it spins for a short time, and then parks.
//!
//! It parks by [`std::thread::park`], and is woken by `unpark`. Neither takes a lock where the standard
//! library parks on a futex (Linux, Android, FreeBSD, OpenBSD, DragonFly, Fuchsia, WebAssembly with
//! threads, Windows from 8 on) or by another call of the system (Apple's, NetBSD, Windows 7). On other
//! Unixes, illumos, Solaris, AIX and Haiku among them, a thread that is stalled on its way to sleep holds a
//! mutex that the thread which wakes it takes.

use alloc::{sync::Arc, task::Wake};
use core::{
    cell::Cell,
    hint, iter,
    task::{Poll, Waker},
};
use std::time::Instant;

use crate::sync::{
    AtomicBool, Ordering, PAUSES, YIELDS,
    thread::{self, Thread},
    thread_local,
};

/// What a thread can wait for.
pub(crate) trait BlockingWait {
    type Output;

    /// Whether it has arrived and nothing but the release is missing.
    fn should_spin(&self) -> bool;

    fn poll(&mut self, waker: &Waker) -> Poll<Self::Output>;

    /// Withdraws the arrival. Returns false if it is too late for that.
    fn withdraw(&mut self) -> bool;
}

/// Blocks this thread until `wait` is ready. Returns nothing if it has withdrawn at the deadline.
pub(crate) fn block<W: BlockingWait>(
    mut wait: W,
    mut deadline: Option<Instant>,
) -> Option<W::Output> {
    spin_while(|| wait.should_spin());

    let parked = ParkedWaker::take();
    let result = loop {
        if let Poll::Ready(result) = wait.poll(&parked.waker) {
            break Some(result);
        }
        if parked.park(deadline).is_err() {
            if wait.withdraw() {
                break None;
            }
            deadline = None;
        }
    };
    parked.restore();
    result
}

/// Pauses, then yields, so that a machine with more threads than cores soon has the core for another
/// party.
fn spin_while(condition: impl Fn() -> bool) {
    for _ in iter::repeat_n((), PAUSES) {
        if !condition() {
            return;
        }
        hint::spin_loop();
    }
    if !lost_slice::is_made_up_for() {
        return;
    }
    let start = Instant::now();
    for _ in iter::repeat_n((), YIELDS) {
        if !condition() {
            return;
        }
        thread::yield_now();
        let taken = start.elapsed();
        if taken >= lost_slice::LEAST {
            lost_slice::make_up_for(taken);
            return;
        }
    }
}

/// Whether a thread yields before it sleeps.
///
/// On a machine that is busy with something else, a yield gives the core away for a whole time slice,
/// whereas a sleeping thread that is woken has it back soon. So once a thread has lost a slice, the next
/// waits of all threads sleep without a yield: some 16 for each microsecond, so that a probe from time to
/// time costs little. It is the whole process that learns, for the machine is the same.
mod lost_slice {
    // The models do not yield, and have no need of their own.
    use core::{
        sync::atomic::{AtomicU32, Ordering::Relaxed},
        time::Duration,
    };

    /// More than it takes until many other parties have had the core, and less than a time slice.
    pub(super) const LEAST: Duration = Duration::from_micros(200);
    const WAITS_PER_MICROSECOND: u32 = 16;

    /// How many of the next waits do not yield.
    // Relaxed, everywhere: a hint. Two waits that count as one, and one that undoes what another thread has
    // just learned, cost a slice at most.
    static WAITS: AtomicU32 = AtomicU32::new(0);

    pub(super) fn is_made_up_for() -> bool {
        let waits = WAITS.load(Relaxed);
        if waits > 0 {
            WAITS.store(waits - 1, Relaxed);
        }
        waits == 0
    }

    pub(super) fn make_up_for(lost: Duration) {
        // A process that was stopped has lost more than a slice.
        let micros = lost.min(50 * LEAST).as_micros() as u32;
        WAITS.store(WAITS_PER_MICROSECOND * micros, Relaxed);
    }
}

/// The waker of a thread, for the length of a blocking wait.
struct ParkedWaker {
    unpark: Arc<Unpark>,
    waker: Waker,
}

thread_local! {
    /// Made by the first wait of a thread, and there when none is at work.
    static CACHE: Cell<Option<ParkedWaker>> = Cell::default();
}

impl ParkedWaker {
    /// The one of this thread, or another if a wait is at work: foreign code that it calls may block.
    fn take() -> Self {
        let cached = CACHE.try_with(Cell::take).ok().flatten();
        cached.unwrap_or_else(|| {
            let unpark = Arc::new(Unpark {
                thread: thread::current(),
                woken: AtomicBool::new(false),
            });
            let waker = unpark.clone().into();
            Self { unpark, waker }
        })
    }

    fn restore(self) {
        // A thread that is about to end has no use for it.
        let _ = CACHE.try_with(|cache| cache.set(Some(self)));
    }

    /// Sleeps until the waker is woken, or until the deadline.
    fn park(&self, deadline: Option<Instant>) -> Result<(), DeadlinePassed> {
        // Acquire: pairs with all wakes so far, so that the next poll sees what they were for.
        while !self.unpark.woken.swap(false, Ordering::Acquire) {
            match deadline {
                None => thread::park(),
                Some(at) => {
                    let left = at.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(DeadlinePassed);
                    }
                    thread::park_timeout(left);
                }
            }
        }
        Ok(())
    }
}

struct DeadlinePassed;

struct Unpark {
    thread: Thread,
    /// The thread's own token may be used up by other code that parks, between a poll and the sleep.
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: pairs with `park`, for each of several wakes since it is a read-modify-write.
        self.woken.swap(true, Ordering::Release);
        self.thread.unpark();
    }
}
