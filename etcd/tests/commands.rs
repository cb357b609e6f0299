//! The program, as a user runs it.

mod support;

use std::process::{Command, Output};

fn output(arguments: &str) -> (Output, String) {
    let output = Command::new(support::example())
        .args(arguments.split(' '))
        .env_remove("ETCD_ENDPOINT")
        .output()
        .expect("`cargo test` has built the example");
    let text = [&*output.stdout, &*output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

fn fails(arguments: &str, says: &[&str]) {
    let (output, text) = output(arguments);
    assert!(!output.status.success(), "{arguments}: {text}");
    for part in says {
        assert!(text.contains(part), "{arguments}: {text}");
    }
}

#[test]
fn a_run_loses_a_process_and_goes_on() {
    let (output, text) = output(
        "run --processes 3 --tasks 10 --generations 60 --kill-at 20 --ttl 5 --on-loss continue",
    );
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains("20 generations are complete: p2 is killed"),
        "{text}"
    );
    assert!(text.contains("to 59: p0 p1\n"), "{text}");
    assert!(
        text.contains("60 generations, each completed once"),
        "{text}"
    );
}

#[test]
fn a_run_loses_a_process_and_fails() {
    let (output, text) =
        output("run --processes 3 --tasks 10 --generations 6000 --kill-at 20 --ttl 5");
    assert_eq!(output.status.code(), Some(1), "{text}");
    for process in ["p0", "p1"] {
        let says = format!("{process}: 10 of 10 tasks stopped in generation ");
        assert!(text.contains(&says), "{text}");
    }
    assert!(text.contains(": process p2 was lost"), "{text}");
    assert!(
        text.contains("run: 2 of 3 processes stopped with an error"),
        "{text}"
    );
    assert!(text.contains("generations, each completed once"), "{text}");
}

#[test]
fn the_cost_is_a_row_for_each_cluster_and_a_process_makes_one_request_a_generation() {
    let (output, text) =
        output("cost --members 1 --processes 1,2 --tasks 1,50 --generations 100 --arrivals 500");
    assert!(output.status.success(), "{text}");
    let rows: Vec<Vec<f64>> = (text.lines().filter(|line| line.starts_with("| 1 |")))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().parse().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(rows.len(), 4, "{text}");
    for row in rows {
        let [_, _, tasks, requests, _, _, double, _, _, by_itself, _, _] = row[..] else {
            panic!("{text}");
        };
        // Joining and the leases are spread over the generations.
        assert!((1.0..1.5).contains(&requests), "{text}");
        assert!(by_itself >= tasks, "{text}");
        assert!(double > 3.0, "{text}");
    }
}

#[test]
fn bad_input_is_named() {
    let one = "process --barrier b --process p";
    fails("process --barrier b", &["--process <PROCESS>"]);
    fails(
        "process --barrier a/b --process p",
        &["a/b", "a name has no `/`"],
    );
    fails(&format!("{one} --tasks 0"), &["--tasks", "0 is not in"]);
    fails(&format!("{one} --ttl 1"), &["--ttl", "1 is not in"]);
    fails(
        &format!("{one} --on-loss wait"),
        &["--on-loss", "fail, continue"],
    );
    fails(
        "run --generations 10 --kill-at 10",
        &["--kill-at must come before the end, at 10"],
    );
    fails(
        &format!("{one} --records /no/such/file"),
        &["p: cannot write to /no/such/file"],
    );
}

#[test]
fn an_etcd_that_is_not_there_is_named() {
    for endpoint in ["http://127.0.0.1:1", "127.0.0.1:1"] {
        let says = format!(
            "p: cannot join b: etcd at {endpoint} cannot be reached: tcp connect error: Connection \
             refused (os error 111)\n"
        );
        let process = "process --barrier b --process p --patience 1";
        fails(&format!("{process} --endpoint {endpoint}"), &[&says]);
    }
    fails(
        "run --processes 1 --patience 1 --endpoint http://127.0.0.1:1",
        &[
            "run: etcd at http://127.0.0.1:1: tcp connect error: Connection refused (os error 111)\n",
        ],
    );
}
