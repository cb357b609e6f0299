//! Phasers with members, and where they stand.

use atomic_barrier::{Participant, Phaser};

pub fn members<const N: usize>() -> (Phaser, [Participant; N]) {
    let phaser = Phaser::new();
    let members = [(); N].map(|()| phaser.register().unwrap());
    (phaser, members)
}

/// Its phase, its parties and how many of them have arrived.
pub fn numbers(phaser: &Phaser) -> (u64, usize, usize) {
    (phaser.phase(), phaser.parties(), phaser.arrived())
}
