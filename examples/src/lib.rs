//! What the examples share, so that each of them is about its barrier: options, texts, output files that
//! are replaced whole or not at all, and ends that say what went wrong.

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
