//! What several tests share.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    reason = "for the tests beside it"
)]

pub mod block_on;
pub mod by_hand;
pub mod clone_hook;
pub mod counting_allocator;
pub mod hostile;
pub mod phasers;
pub mod random;
pub mod stress_run;
pub mod wake_hook;
