//! What the barriers take: bytes of a future, of a waiter and of a barrier, and allocations.

use std::task::{Context, Waker};

use atomic_barrier::Barrier;
use atomic_barrier_benches::{
    floor::Floor,
    manual,
    peers::Peer,
    report::{Table, targets, verdict},
};
use support::counting_allocator::{CountingAllocator, allocations_in, live_bytes};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Bytes of the future of a wait.
fn future<B: Peer>() -> usize {
    size_of_val(&B::new(2).wait())
}

/// Bytes of a barrier of `n` that has had a generation, in itself and on the heap, while all parties
/// but the last are waiting. Their futures are not in it.
fn barrier<B: Peer>(n: usize) -> usize {
    let before = live_bytes();
    let cx = &mut Context::from_waker(Waker::noop());
    let barrier = B::new(n);
    let own = live_bytes() - before;
    let mut waits: Vec<_> = (0..n).map(|_| Box::pin(barrier.wait())).collect();
    let empty = live_bytes();
    manual::run_generation::<B, _>(&mut waits, cx, || barrier.wait());
    manual::arrive(&mut waits[1..], cx, || barrier.wait());
    size_of::<B>() + own + live_bytes() - empty
}

/// Bytes that a waiter adds to its barrier: the difference that 4,096 more make.
fn waiter<B: Peer>() -> usize {
    (barrier::<B>(8_193) - barrier::<B>(4_097)).div_ceil(4_096)
}

/// Allocations of one more generation of a barrier of `n` that has had a generation.
fn allocations<B: Peer>(n: usize) -> usize {
    let cx = &mut Context::from_waker(Waker::noop());
    let barrier = B::new(n);
    let mut waits: Vec<_> = (0..n).map(|_| Box::pin(barrier.wait())).collect();
    manual::run_generation::<B, _>(&mut waits, cx, || barrier.wait());
    allocations_in(|| manual::run_generation::<B, _>(&mut waits, cx, || barrier.wait()))
}

/// Bytes of a barrier of `n` at which nobody has waited yet, in itself and on the heap.
fn empty<B: Peer>(n: usize) -> usize {
    let before = live_bytes();
    let barrier = B::new(n);
    let own = live_bytes() - before;
    size_of_val(&barrier) + own
}

fn print<B: Peer>(table: &Table) {
    let figures = [
        future::<B>(),
        waiter::<B>(),
        empty::<B>(64),
        barrier::<B>(1),
        barrier::<B>(64),
        barrier::<B>(10_000),
        allocations::<B>(64),
    ];
    let mut cells = vec![B::NAME.to_owned()];
    cells.extend(figures.map(|figure| figure.to_string()));
    table.row(&cells);
}

fn main() {
    let head = [
        "",
        "future",
        "waiter",
        "n = 64, new",
        "n = 1",
        "n = 64",
        "n = 10000",
        "allocations",
    ];
    let notes = [
        "bytes of a wait's future, of what a waiter adds to its barrier, and of a barrier with its heap:",
        "before its first wait; and after a generation, with all but one waiting",
        "allocations: in one more generation of 64",
    ];
    let table = Table::start("Memory", &notes, &head);
    print::<Barrier>(&table);
    print::<tokio::sync::Barrier>(&table);
    print::<async_lock::Barrier>(&table);
    print::<asyncband::barrier::Barrier>(&table);
    print::<Floor>(&table);

    targets();
    let bytes = empty::<Barrier>(64);
    let what = "a barrier takes at most 256 bytes before its first wait";
    verdict(bytes <= 256, &format!("{what}; is {bytes}"));
}
