//! Numbers that are the same in every run.

use core::time::Duration;

/// Xorshift.
pub struct Random(u64);

impl Random {
    /// One for each party.
    pub fn of_party(me: usize) -> Self {
        Self((me as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) % n
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// Less than two milliseconds.
    pub fn short_time(&mut self) -> Duration {
        Duration::from_micros(self.below(1500))
    }
}
