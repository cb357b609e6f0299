//! Which threads a thread that is stalled for ever, anywhere, keeps: the table in `docs/verification.md`.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests have std"
)]

mod barrier;
mod phaser;
mod scene;
mod table;
