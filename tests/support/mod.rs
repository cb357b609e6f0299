//! What several tests share.
#![allow(dead_code, reason = "each crate of tests uses a part of this")]

pub(crate) mod block_on;
pub(crate) mod by_hand;
pub(crate) mod clone_hook;
pub(crate) mod members;
pub(crate) mod random;
pub(crate) mod stress_run;
pub(crate) mod wake_hook;
