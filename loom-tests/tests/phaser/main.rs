//! Models of `Phaser`.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests have std"
)]

mod close;
mod ordering;
mod orphaned;
mod participants;
mod seats;
#[path = "../support/mod.rs"]
mod support;
