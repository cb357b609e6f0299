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
    if !yields::pay() {
        return;
    }
    let mut before = Instant::now();
    for _ in iter::repeat_n((), YIELDS) {
        if !condition() {
            return;
        }
        thread::yield_now();
        let after = Instant::now();
        let taken = after - before;
        if taken >= yields::LOST_SLICE {
            yields::lose(taken);
            return;
        }
        before = after;
    }
}

/// Whether a thread yields before it sleeps.
///
/// On a machine that is busy with something else, a yield gives the core away for a whole time slice,
/// whereas a sleeping thread that is woken has it back soon. So the process keeps an account: each wait that
/// yields saves some microseconds, and a slice that is lost costs its length. Once that is overdrawn, the next
/// waits of all threads sleep without a yield, so many that a probe from time to time costs little. A
/// slice that is lost now and then, on a shared machine, is paid for by the waits before.
mod yields {
    // The models do not yield, and have no need of their own.
    use core::{
        sync::atomic::{AtomicI32, Ordering::Relaxed},
        time::Duration,
    };

    /// More than it takes until many other parties have had the core, and less than a time slice.
    pub(super) const LOST_SLICE: Duration = Duration::from_micros(200);
    /// What a yield saves a wait.
    const SAVED_MICROS: i32 = 8;
    const MOST_SAVED: i32 = 2000;
    const SLEEPS_PER_MICROSECOND: i32 = 4;

    /// How many waits in excess of what lost slices cost have yielded or, if negative, how many of the next
    /// waits do not yield.
    // Relaxed, everywhere: a hint. A balance that another thread overwrites costs a slice, or waits that sleep
    // without need.
    static BALANCE: AtomicI32 = AtomicI32::new(0);

    /// Whether this wait yields.
    pub(super) fn pay() -> bool {
        let balance = BALANCE.load(Relaxed);
        if balance < MOST_SAVED {
            BALANCE.store(balance + 1, Relaxed);
        }
        balance >= 0
    }

    pub(super) fn lose(slice: Duration) {
        // A process that was stopped has lost more than a slice.
        let micros = slice.min(50 * LOST_SLICE).as_micros() as i32;
        let balance = BALANCE.load(Relaxed) - micros / SAVED_MICROS;
        let sleeps = SLEEPS_PER_MICROSECOND * micros;
        BALANCE.store(if balance < 0 { -sleeps } else { balance }, Relaxed);
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
