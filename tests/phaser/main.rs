//! `Phaser`: each documented statement about it.

#[cfg(feature = "std")]
mod blocking;
mod cancellation;
mod close;
mod leader;
mod observer;
mod participants;
mod reference_model;
mod wakers;
