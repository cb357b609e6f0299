//! What calls of a phaser and its participants bring in place of a result.

use core::{error::Error, fmt};

use super::state::MAX_PARTICIPANTS;
#[cfg(doc)]
use super::{Participant, Phaser};

/// The phaser was closed before the phase was complete.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let phaser = atomic_barrier::Phaser::new();
/// let mut participant = phaser.register()?;
/// phaser.close();
/// assert_eq!(participant.arrive().unwrap_err().to_string(), "the phaser is closed");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Closed(pub(super) ());

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the phaser is closed")
    }
}

impl Error for Closed {}

/// Why [`Phaser::register`] made no participant.
///
/// # Examples
///
/// ```
/// use atomic_barrier::{Phaser, phaser::RegisterError};
///
/// let phaser = Phaser::new();
/// let error = phaser.register_many(Phaser::MAX_PARTICIPANTS + 1).unwrap_err();
/// assert_eq!(error, RegisterError::Full);
/// assert_eq!(error.to_string(), "a phaser has at most 65535 participants");
/// phaser.close();
/// assert_eq!(phaser.register().unwrap_err(), RegisterError::Closed);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterError {
    /// The phaser is closed.
    Closed,
    /// It would have more than [`Phaser::MAX_PARTICIPANTS`] participants.
    Full,
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Closed(()).fmt(f),
            Self::Full => write!(f, "a phaser has at most {MAX_PARTICIPANTS} participants"),
        }
    }
}

impl Error for RegisterError {}

impl From<Closed> for RegisterError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

/// Why a wait of a thread has no result: from [`Participant::wait_blocking_timeout`] and the other waits with a
/// timeout or a deadline.
///
/// # Examples
///
/// ```
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// use std::time::Duration;
/// use atomic_barrier::{Phaser, phaser::WaitError};
///
/// let phaser = Phaser::new();
/// let [mut a, _b] = phaser.register_array()?;
/// phaser.close();
/// let error = a.wait_blocking_timeout(Duration::from_secs(1)).unwrap_err();
/// assert_eq!(error, WaitError::Closed);
/// assert_eq!(error.to_string(), "the phaser is closed");
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "std")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WaitError {
    /// The phase was not complete in time.
    TimedOut,
    /// The phaser was closed before the phase was complete.
    Closed,
}

#[cfg(feature = "std")]
impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => {
                f.write_str("timed out waiting for the other participants of a phaser")
            }
            Self::Closed => Closed(()).fmt(f),
        }
    }
}

#[cfg(feature = "std")]
impl Error for WaitError {}

#[cfg(feature = "std")]
impl From<Closed> for WaitError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}
