//! A real thread that is stalled on its way to sleep, and the leader that has to wake it.
//!
//! The models replace the parking of threads. Here it is the standard library's, on the system's futex.

use std::io::{self, Write};

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "stalled_sleeper/traced.rs"]
mod traced;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_leader_goes_on_wherever_a_sleeper_is_stalled() {
    use std::collections::{BTreeMap, BTreeSet};

    use traced::{Outcome, Traced};

    /// How many stops are spread over the victim's path.
    const SPREAD: usize = 100;
    /// How many instructions before it sleeps have more of them, and how far these are apart.
    const LAST: usize = 160;
    const APART: usize = 8;

    if traced::is_child() {
        traced::child();
    }

    let Some(mut traced) = Traced::start() else {
        return skipped("this machine does not permit ptrace");
    };
    let length = traced.step(usize::MAX);
    assert_eq!(traced.outcome(), Outcome::Led, "the victim sleeps");

    let spread = (0..SPREAD).map(|i| i * length / SPREAD);
    let last = (length.saturating_sub(LAST)..length).step_by(APART);
    let stops: BTreeSet<_> = spread.chain(last).collect();
    let mut outcomes = BTreeMap::<_, Vec<_>>::new();
    for stop in stops {
        let mut traced = Traced::start().expect("ptrace was permitted before");
        // Paths differ by a few instructions, so it may be asleep before.
        let stop = traced.step(stop);
        outcomes.entry(traced.outcome()).or_default().push(stop);
    }

    let count = |outcome| outcomes.get(&outcome).map_or(0, Vec::len);
    let (led, not_arrived) = (count(Outcome::Led), count(Outcome::NotArrived));
    println!("{length} instructions; stalled before it arrived {not_arrived}, after {led} times");
    if let Some(stops) = outcomes.get(&Outcome::Kept) {
        panic!(
            "the leader sleeps when the waiter is stalled after {stops:?} of {length} instructions"
        );
    }
    assert!(led >= SPREAD / 2, "{led} stops");
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
#[test]
fn a_leader_goes_on_wherever_a_sleeper_is_stalled() {
    skipped("it knows how threads sleep on x86-64 Linux");
}

/// Says so past the capture of tests' output.
fn skipped(reason: &str) {
    let line = format!("\nSKIPPED, a sleeper that is stalled: {reason}\n");
    io::stderr().write_all(line.as_bytes()).unwrap();
}
