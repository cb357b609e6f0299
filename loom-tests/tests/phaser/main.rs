//! Models of `Phaser`.

mod close;
mod ordering;
mod orphaned;
mod participants;
mod seats;
#[path = "../support/mod.rs"]
mod support;
