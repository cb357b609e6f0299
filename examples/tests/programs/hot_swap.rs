//! The example `hot_swap`: its rounds and its counts. The clients in it look at every answer.

use std::process::Command;

use crate::program::{assert_refused_out_of_range, complaint, example, output, report};

/// The example, given more time than it needs unless something holds it up on purpose.
fn hot_swap<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = example("hot_swap");
    command.args(["--deadline-ms", "5000"]).args(arguments);
    command
}

/// The number that a run has printed for each of its results.
fn results(command: &mut Command) -> impl Fn(&str) -> f64 + use<> {
    let report = report(&output(command));
    move |name| {
        let mut rests = report.lines().filter_map(|line| line.strip_prefix(name));
        let rest = rests.next().expect(&report);
        let number = rest.split([' ', ',']).find(|word| !word.is_empty());
        number.unwrap().parse().expect(&report)
    }
}

#[test]
fn every_round_is_done_and_requests_are_served_meanwhile() {
    for connections in ["1", "8", "100"] {
        let result = results(&mut hot_swap([
            "--connections",
            connections,
            "--rounds",
            "20",
        ]));
        assert_eq!(result("rounds done"), 20.0);
        assert_eq!(result("rounds retried"), 0.0);
        assert_eq!(result("deadlines missed"), 0.0);
        assert_eq!(result("connections").to_string(), connections);
        assert!(result("requests served") >= 20.0);
        assert!(0.0 < result("pause, p50") && result("pause, p50") <= result("pause, p99"));
    }
}

#[test]
fn a_round_that_a_slow_connection_is_late_for_is_retried() {
    let options = [
        "--stall",
        "--deadline-ms=100",
        "--rounds=8",
        "--attempts=1000",
    ];
    let result = results(example("hot_swap").args(options));
    assert_eq!(result("rounds done"), 8.0);
    // Those with the numbers 3 and 7, and whatever a slow machine adds.
    assert!(result("rounds retried") >= 2.0);
    assert!(result("deadlines missed") >= result("rounds retried"));
}

#[test]
fn a_round_that_misses_all_its_deadlines_ends_the_run() {
    let output = output(&mut hot_swap(["--stall", "--attempts", "1"]));
    assert_eq!(
        complaint(&output, 1),
        "error: round 3 was aborted: 1 deadline of 5000 ms missed"
    );
    assert!(output.stdout.is_empty());
}

#[test]
fn a_swap_that_outlasts_the_deadline_is_still_seen_whole() {
    let options = [
        "--deadline-ms=200",
        "--swap-ms=400",
        "--rounds=3",
        "--attempts=1000",
    ];
    let result = results(example("hot_swap").args(options));
    assert_eq!(result("rounds done"), 3.0);
    assert!(result("pause, p50") >= 400.0);
}

#[test]
fn clients_make_no_more_requests_than_they_may() {
    let options = ["--connections=3", "--requests=2", "--rounds=5"];
    let result = results(&mut hot_swap(options));
    assert_eq!(result("rounds done"), 5.0);
    assert!(result("requests served") <= 6.0);
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (option, least, most) in [
        ("--connections", 1, 1000),
        ("--rounds", 1, 10000),
        ("--deadline-ms", 1, 10000),
        ("--attempts", 1, 1000),
        ("--swap-ms", 0, 10000),
        ("--requests", 1, i64::from(u32::MAX)),
    ] {
        assert_refused_out_of_range("hot_swap", option, least, most);
    }
}
