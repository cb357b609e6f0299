//! What the examples share, so that each of them is about its barrier: options, input, output files, the
//! runtime, and how a program ends.

mod closed;
mod input;
mod options;
mod output;
mod place;
mod run;
mod temporary;

pub use input::{Input, Text, shown, words};
pub use options::number;
pub use output::Output;
pub use place::Place;
pub use run::{counted, main, print, progress, runtime};
