//! Models of `Barrier`.

mod leader;
mod observer;
mod ordering;
mod split;
#[path = "../support/mod.rs"]
mod support;
mod wait;
mod waker_cell;
mod weak;
