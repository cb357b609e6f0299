//! The barriers that the benches compare, behind one trait: each as its own documentation uses it.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    task::{Poll, Waker},
};

/// A barrier for `n` tasks that share it in an `Arc`.
pub(crate) trait Peer: Send + Sync + 'static {
    const NAME: &str;
    type Crossed: Send;

    fn new(n: usize) -> Self;
    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send;
    fn is_leader(crossed: &Self::Crossed) -> bool;
}

impl Peer for atomic_barrier::Barrier {
    const NAME: &str = "atomic-barrier";
    type Crossed = atomic_barrier::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

impl Peer for tokio::sync::Barrier {
    const NAME: &str = "tokio";
    type Crossed = tokio::sync::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

impl Peer for async_lock::Barrier {
    const NAME: &str = "async-lock";
    type Crossed = async_lock::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

impl Peer for asyncband::barrier::Barrier {
    const NAME: &str = "asyncband";
    type Crossed = asyncband::barrier::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n.try_into().expect("asyncband counts parties in a u32"))
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

/// What a barrier costs without any synchronisation: plain cells and a `Vec` of wakers.
///
/// For one thread only. The runtime's part of the cost, waking and polling, is the same as
/// everybody's, since its tasks are spawned in the same way.
pub(crate) struct Floor {
    parties: usize,
    arrived: Cell<usize>,
    generation: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

// SAFETY: the benches give a floor to current-thread runtimes and to loops that poll by hand. It
// never leaves the thread that made it; the claim is there because `spawn` asks for it.
unsafe impl Send for Floor {}
// SAFETY: as above.
unsafe impl Sync for Floor {}

impl Peer for Floor {
    const NAME: &str = "floor";
    type Crossed = bool;

    fn new(parties: usize) -> Self {
        Self {
            parties,
            arrived: Cell::new(0),
            generation: Cell::new(0),
            wakers: RefCell::default(),
        }
    }

    async fn wait(&self) -> bool {
        let generation = self.generation.get();
        let arrived = self.arrived.get() + 1;
        if arrived == self.parties {
            self.arrived.set(0);
            self.generation.set(generation + 1);
            self.wakers.borrow_mut().drain(..).for_each(Waker::wake);
            return true;
        }
        self.arrived.set(arrived);
        poll_fn(|cx| {
            if self.generation.get() != generation {
                return Poll::Ready(());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        false
    }

    fn is_leader(crossed: &bool) -> bool {
        *crossed
    }
}
