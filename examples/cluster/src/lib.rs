//! A barrier for the tasks of many processes: `atomic-barrier`'s in each of them, and one crossing
//! between them, on etcd, for each generation.

pub mod every_task;
pub mod history;
pub mod process;
pub mod rendezvous;
pub mod settings;
