//! A barrier for the tasks of many processes, on etcd.
//!
//! [`EtcdBarrier::builder`] begins; [`wait`](EtcdBarrier::wait) and [`wait_leader`](EtcdBarrier::wait_leader)
//! wait for all tasks of this process and for all other processes. The README has an example to start twice.
//!
//! The crate has one feature, `tls`. It connects to etcd 3.4 and later, from within a tokio runtime.
//!
#![doc = include_str!("../scaling-out.md")]

mod barrier;
mod builder;
mod error;
mod keys;
mod lease;
mod member;
mod view;

pub use barrier::{EtcdBarrier, Leader, Members, Membership, WaitResult};
pub use builder::{Builder, OnLoss};
pub use error::{Error, EtcdError};
/// The client, for [`Builder::client`] and `Builder::tls`.
pub use etcd_client;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
