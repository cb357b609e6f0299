//! What several tests share.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    reason = "for the tests beside it"
)]

pub mod block_on;
pub mod counting_allocator;
pub mod custom_clone;
pub mod custom_wake;
pub mod hostile;
pub mod phasers;
pub mod polling;
pub mod random;
pub mod stress_run;
