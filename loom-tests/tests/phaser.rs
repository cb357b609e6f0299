//! `Phaser`: members that leave and join, against all that the others do.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests have std"
)]

mod support;

use loom::thread;
use support::{
    explore_bounded,
    phaser::{assert_no_seat_is_lost, members},
};

#[test]
fn the_last_two_departures() {
    explore_bounded(3, 1_000, &["rests"], || {
        let (phaser, [a, b]) = members();
        let leaver = thread::spawn(move || b.leave());

        a.leave();
        leaver.join().unwrap();
        assert_eq!(phaser.phase(), 1);
        assert_no_seat_is_lost(&phaser, &[]);
        "rests".into()
    });
}
