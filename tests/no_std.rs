//! The crate without `std`, in a program that has an allocator, a panic handler and an executor of
//! its own: `no_std/src/main.rs`.

#![cfg(target_os = "linux")]

use std::process::Command;

/// Builds and runs the program, and returns what it prints.
fn run(features: &[&str], rustflags: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/no_std/Cargo.toml"))
        .arg("--target-dir")
        .arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/no_std"))
        .args(features)
        .env("RUSTFLAGS", rustflags)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_program_without_std_meets_two_hundred_times() {
    assert_eq!(run(&[], ""), "200 generations, 200 leaders\n");
}

#[test]
fn a_program_without_std_meets_over_portable_atomics() {
    let features = ["--features", "portable-atomic"];
    assert_eq!(run(&features, ""), "200 generations, 200 leaders\n");
}

#[test]
fn a_program_that_switches_model_checkers_on_for_itself_has_the_same_barrier_in_a_static() {
    let rustflags = "--cfg loom --cfg shuttle";
    assert_eq!(run(&[], rustflags), "200 generations, 200 leaders\n");
}
