//! Models of `Phaser`.

mod action;
mod blocking;
mod close;
mod complete;
mod names;
mod ordering;
mod participants;
mod slots;
#[path = "../support/mod.rs"]
mod support;
