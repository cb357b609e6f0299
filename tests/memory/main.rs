//! What is allocated and kept, in a process whose allocator counts.

mod barrier;
mod phaser;

use support::counting_allocator::CountingAllocator;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;
