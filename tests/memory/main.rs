//! What is allocated and kept, in a process whose allocator counts.

mod barrier;
mod counting_allocator;
mod phaser;
#[path = "../support/mod.rs"]
mod support;
