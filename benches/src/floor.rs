//! The floor that the barriers are measured from.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
};

use crate::peers::Peer;

/// What a barrier costs without any synchronisation: plain cells and a `Vec` of wakers.
///
/// For one thread only. The runtime's part of the cost, waking and polling, is the same as
/// everybody's, since its tasks are spawned in the same way.
#[derive(Debug)]
pub struct Floor {
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
    type WaitResult = bool;

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
        let mut registered = None;
        poll_fn(|cx| {
            if self.generation.get() != generation {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            match registered {
                None => {
                    registered = Some(wakers.len());
                    wakers.push(cx.waker().clone());
                }
                Some(index) => wakers[index].clone_from(cx.waker()),
            }
            Poll::Pending
        })
        .await;
        false
    }

    fn is_leader(result: &bool) -> bool {
        *result
    }
}
