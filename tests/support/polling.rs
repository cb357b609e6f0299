//! Polling by hand, with wakers that count what becomes of them.

use core::{
    future::Future,
    ops::Deref,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};
use std::{sync::Arc, task::Wake};

use atomic_barrier::{
    BarrierWaitResult,
    phaser::{self, Closed},
};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A waker that counts how often it is woken and how many clones of it are about.
pub struct CountingWaker {
    wakes: Arc<Wakes>,
    waker: Waker,
}

impl CountingWaker {
    pub fn new() -> Self {
        let wakes = Arc::new(Wakes::default());
        Self {
            waker: wakes.clone().into(),
            wakes,
        }
    }

    pub fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::Relaxed)
    }

    /// How many clones there are.
    pub fn clones(&self) -> usize {
        Arc::strong_count(&self.wakes) - 2
    }
}

impl Deref for CountingWaker {
    type Target = Waker;

    fn deref(&self) -> &Waker {
        &self.waker
    }
}

/// What a poll brought, with the number of the generation or phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Pending,
    Released(u64),
    Led(u64),
    Refused,
}

impl From<BarrierWaitResult> for Outcome {
    fn from(result: BarrierWaitResult) -> Self {
        match result.is_leader() {
            true => Outcome::Led(result.generation()),
            false => Outcome::Released(result.generation()),
        }
    }
}

impl From<Result<phaser::WaitResult, Closed>> for Outcome {
    fn from(result: Result<phaser::WaitResult, Closed>) -> Self {
        match result {
            Ok(result) if result.is_leader() => Outcome::Led(result.phase()),
            Ok(result) => Outcome::Released(result.phase()),
            Err(_) => Outcome::Refused,
        }
    }
}

pub fn poll<F>(wait: &mut F, waker: &Waker) -> Outcome
where
    F: Future<Output: Into<Outcome>> + Unpin,
{
    match Pin::new(wait).poll(&mut Context::from_waker(waker)) {
        Poll::Pending => Outcome::Pending,
        Poll::Ready(result) => result.into(),
    }
}
