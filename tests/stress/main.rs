//! Real runtimes and real cancellation, until the time is up; then the accounts must balance.
//!
//! A process of its own, which ends if nothing happens any more. `STRESS_SECONDS` is shared out among
//! the runs of each type. With `--nocapture` each run prints what it came to.

mod barrier;
#[cfg(feature = "std")]
mod phaser;
