//! Models of `Barrier`.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests have std"
)]

mod leader;
mod ordering;
mod split;
#[path = "../support/mod.rs"]
mod support;
mod wait;
mod waker_cell;
mod weak;
