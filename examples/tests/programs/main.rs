//! The examples as programs: what each of them does, and how all of them end.

#[cfg(target_os = "linux")]
mod ends;
mod fan_in;
mod hot_swap;
mod lockstep;
#[cfg(unix)]
mod outputs;
mod program;
mod snapshot;

// The parts of `lockstep` that a file or a barrier could break.
#[path = "../../lockstep/life.rs"]
mod life;
#[path = "../../lockstep/rle.rs"]
mod rle;
#[path = "../../lockstep/runs.rs"]
mod runs;
