//! Whom a thread keeps that is stalled anywhere, for ever: the table in `docs/verification.md`.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests have std"
)]

mod barrier;
mod phaser;
mod scene;
mod table;
