//! What is allocated and freed, counted by the allocator.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
};
use std::alloc::System;

/// The system's allocator, counting for each thread, so that tests do not see each other.
pub struct CountingAllocator;

thread_local! {
    pub static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: hands every call on to `System`. Counting allocates nothing: the cells need neither a
// lazy start nor a destructor.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LIVE_BYTES.set(LIVE_BYTES.get() + layout.size() as isize);
        // SAFETY: the caller's promise is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE_BYTES.set(LIVE_BYTES.get() - layout.size() as isize);
        // SAFETY: as above, and every pointer given out came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

pub fn allocations_in(f: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    f();
    ALLOCATIONS.get() - before
}

/// What this thread has allocated and not freed, if no other thread frees it.
pub fn live_bytes() -> usize {
    LIVE_BYTES.get().unsigned_abs()
}

pub fn live_bytes_after(f: impl FnOnce()) -> isize {
    let before = LIVE_BYTES.get();
    f();
    LIVE_BYTES.get() - before
}
