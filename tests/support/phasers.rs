//! Phasers with participants, and where they stand.

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Participant},
};

pub fn participants<const N: usize>() -> (Phaser, [Participant; N]) {
    let phaser = Phaser::new();
    let participants = phaser.register_array().unwrap();
    (phaser, participants)
}

/// Its phase, its parties and how many of them have arrived.
pub fn numbers(phaser: &Phaser) -> (u64, usize, usize) {
    (phaser.phase(), phaser.parties(), phaser.arrived())
}

/// The error of a closed phaser, which only such a phaser makes.
pub fn closed() -> Closed {
    let (phaser, [mut participant]) = participants();
    phaser.close();
    participant.arrive().unwrap_err()
}
