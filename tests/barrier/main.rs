//! `Barrier`: each documented statement about it.

mod arrive;
#[cfg(feature = "std")]
mod blocking;
mod cancellation;
mod drop_in;
mod hostile;
mod leader;
mod observer;
mod owned;
mod reference_model;
mod runtimes;
mod traits;
mod wakers;
