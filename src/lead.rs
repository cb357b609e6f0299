//! [`Lead`], which barriers and phasers share.

/// What a leader does with the release.
#[derive(Clone, Copy)]
pub(crate) enum Lead {
    /// Makes it at once.
    Release,
    /// Holds it, and makes it later.
    Hold,
}
