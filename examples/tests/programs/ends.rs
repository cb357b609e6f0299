//! How all examples end when their output cannot be printed, or the system has too few threads for them.

use std::{
    fs::OpenOptions,
    io,
    path::Path,
    process::{Command, Stdio},
};

use crate::program::{complaint, entries, example, output, report};

const EXAMPLES: [&str; 4] = ["fan_in", "hot_swap", "lockstep", "snapshot"];

/// An example with little to do, which leaves in `folder` what it leaves.
fn short(name: &str, folder: &Path) -> Command {
    let mut command = example(name);
    match name {
        "hot_swap" => command.args(["--rounds=1", "--deadline-ms=5000"]),
        "lockstep" => command.args(["die-hard", "--rounds=1"]),
        "snapshot" => command.arg("--out").arg(folder.join("out")),
        _ => &mut command,
    };
    command
}

/// The same, and the example as it prints its help.
fn short_or_help(name: &str, folder: &Path) -> [Command; 2] {
    let mut help = example(name);
    help.arg("--help");
    [short(name, folder), help]
}

#[test]
fn standard_output_that_is_full_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in EXAMPLES {
        for mut command in short_or_help(name, folder.path()) {
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            assert_eq!(
                complaint(&output(command.stdout(full)), 1),
                "error: cannot print the results: No space left on device (os error 28)",
                "{command:?}"
            );
        }
    }
}

#[test]
fn standard_output_that_is_closed_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for name in EXAMPLES {
        for command in short_or_help(name, folder.path()) {
            let output = output(&mut shell("exec \"$@\" >&-", &command));
            assert_eq!(
                complaint(&output, 1),
                "error: cannot print the results: standard output is closed",
                "{command:?}"
            );
        }
    }
}

#[test]
fn standard_output_that_nobody_reads_ends_an_example_quietly() {
    let folder = tempfile::tempdir().unwrap();
    for name in EXAMPLES {
        for mut command in short_or_help(name, folder.path()) {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            let output = output(command.stdout(writer));
            assert_eq!(output.status.code(), Some(141), "{command:?}");
            assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command:?}");
        }
    }
    // That goes for the report alone.
    assert_eq!(entries(folder.path()), [folder.path().join("out")]);
}

#[test]
fn errors_that_cannot_be_printed_end_an_example_as_others_do() {
    for name in EXAMPLES {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = example(name);
        let status = command.arg("--nonsense").stderr(full).stdout(Stdio::null());
        assert_eq!(status.status().unwrap().code(), Some(2), "{name}");
    }
}

/// Runs `command` by a line of the shell, in which it is `"$@"`.
fn shell(line: &str, command: &Command) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", line, "sh"]).arg(command.get_program());
    shell.args(command.get_args());
    shell
}

#[test]
fn workers_that_cannot_be_had_are_an_error() {
    let with_workers = |workers: &str| {
        let mut command = example("lockstep");
        command.args(["die-hard", "--rounds=1", "--workers", workers]);
        command
    };
    // In KiB, of which each thread takes 2048 and more.
    for memory in [100_000, 200_000, 400_000, 800_000, 1_600_000] {
        let limited = format!("ulimit -v {memory}; exec \"$@\"");
        let complaint = complaint(&output(&mut shell(&limited, &with_workers("1000"))), 1);
        let had = complaint
            .strip_prefix("error: cannot start 1000 worker threads: there is memory for ")
            .and_then(|rest| rest.strip_suffix(" of them"));
        let had: usize = had.expect(&complaint).parse().expect(&complaint);
        assert!(had < memory / 2048, "{complaint}");
    }
    let mut few = shell("ulimit -v 1600000; exec \"$@\"", &with_workers("5"));
    report(&output(&mut few));
}
