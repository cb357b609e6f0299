//! What the benches share: the peers behind one trait, the work that is measured, interleaved
//! sampling, tables and plots.

pub mod comparison;
pub mod floor;
pub mod machine;
pub mod manual;
pub mod peers;
pub mod plots;
pub mod report;
pub mod sampling;
pub mod tasks;
