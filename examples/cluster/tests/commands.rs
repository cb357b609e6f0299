//! The program and the script, as a user runs them.

use std::{
    net::TcpStream,
    process::{Command, Output},
};

const CLUSTER: &str = env!("CARGO_BIN_EXE_cluster");
const WITH_ETCD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/with-etcd");

fn output(command: &str, arguments: &str) -> (Output, String) {
    let output = Command::new(command)
        .args(arguments.split(' '))
        .env_remove("ETCD_ENDPOINT")
        .output()
        .unwrap();
    let text = [&*output.stdout, &*output.stderr].concat();
    (output, String::from_utf8(text).unwrap())
}

fn fails(arguments: &str, says: &[&str]) {
    let (output, text) = output(CLUSTER, arguments);
    assert!(!output.status.success(), "{arguments}: {text}");
    for part in says {
        assert!(text.contains(part), "{arguments}: {text}");
    }
}

#[test]
fn a_run_loses_a_process_and_goes_on() {
    let (output, text) = output(
        WITH_ETCD,
        &format!(
            "{CLUSTER} run --processes 3 --tasks 10 --generations 60 --kill-at 20 --ttl 2 --on-loss continue"
        ),
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
    let (output, text) = output(
        WITH_ETCD,
        &format!("{CLUSTER} run --processes 3 --tasks 10 --generations 60 --kill-at 20 --ttl 2"),
    );
    assert_eq!(output.status.code(), Some(1), "{text}");
    for process in ["p0", "p1"] {
        let says = format!("{process}: 10 of 10 tasks stopped in generation 2");
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
fn the_cost_is_a_row_for_each_cluster_and_grows_with_processes_alone() {
    let (output, text) = output(
        WITH_ETCD,
        &format!("{CLUSTER} cost --processes 1,2 --tasks 1,50 --generations 100 --arrivals 500"),
    );
    assert!(output.status.success(), "{text}");
    let rows: Vec<Vec<f64>> = (text.lines().filter(|line| line.starts_with("| ")).skip(1))
        .map(|line| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().parse().unwrap())
                .collect()
        })
        .collect();
    assert_eq!(rows.len(), 4, "{text}");
    for row in rows {
        let [processes, tasks, requests, _, by_itself, _] = row[..] else {
            panic!("{text}");
        };
        // One for each process; joining and the leases are spread over the generations.
        assert!((processes..processes + 0.5).contains(&requests), "{text}");
        assert!(by_itself >= processes * tasks, "{text}");
    }
}

#[test]
fn the_script_brings_the_exit_code_and_leaves_no_etcd() {
    let (output, text) = output(WITH_ETCD, "printenv ETCD_ENDPOINT");
    assert!(output.status.success(), "{text}");
    let address = text.trim().strip_prefix("http://").unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{text}");
    assert!(TcpStream::connect(address).is_err());

    let (output, _) = self::output(WITH_ETCD, &format!("{CLUSTER} no-such-command"));
    assert_eq!(output.status.code(), Some(2));
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
    let says = ["cannot join b: etcd cannot be reached"];
    fails(
        "process --barrier b --process p --endpoint http://127.0.0.1:1",
        &says,
    );
    fails(
        "process --barrier b --process p --endpoint 127.0.0.1",
        &says,
    );
    fails(
        "run --processes 1 --endpoint http://127.0.0.1:1",
        &["run: "],
    );
    fails(
        "cost --endpoint http://127.0.0.1:1",
        &["no metrics from http://127.0.0.1:1"],
    );
}
