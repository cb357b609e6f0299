//! What `src/sync.rs` names when the library is compiled over loom or shuttle.
#![allow(
    missing_docs,
    missing_debug_implementations,
    clippy::new_without_default,
    reason = "each item has what that for which it stands in has"
)]

#[cfg(feature = "loom")]
pub mod loom;
#[cfg(feature = "shuttle")]
pub mod shuttle;
