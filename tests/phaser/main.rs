//! `Phaser`: each documented statement about it.

mod action;
#[cfg(feature = "std")]
mod blocking;
mod cancellation;
mod close;
// Without the feature nothing keeps a second panic back.
#[cfg(feature = "std")]
mod hostile;
mod leader;
mod names;
mod observer;
mod participants;
mod reference_model;
mod wakers;
