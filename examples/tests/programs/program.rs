//! Running the examples as programs, the way they were built.

use std::{
    env::{self, consts::EXE_SUFFIX},
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Cargo leaves it beside the folder of this test. `cargo test` brings it up to date, but with `--test`
/// or the name of a test it takes the one that is there.
pub(crate) fn example(name: &str) -> Command {
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    Command::new(target.join(format!("examples/{name}{EXE_SUFFIX}")))
}

pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; built by `cargo test` or `cargo build --examples`")
    })
}

/// What a run that must have gone well has printed.
pub(crate) fn report(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{out}{err}");
    // No terminal, no progress bar.
    assert_eq!(err, "");
    out.into_owned()
}

/// The one line of complaint of a run that must end with `code`.
pub(crate) fn complaint(output: &Output, code: i32) -> String {
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    err.trim_end().to_string()
}

/// Asserts that an option refuses a value and says why, in both ways to write them.
pub(crate) fn assert_refused(name: &str, option: &str, value: &str, why: &str) {
    let [mut joined, mut apart] = [(); 2].map(|()| example(name));
    joined.arg(format!("{option}={value}"));
    apart.args([option, value]);
    for command in [&mut joined, &mut apart] {
        let output = output(command);
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        let expected = format!("error: invalid value '{value}' for '{option} <");
        assert!(err.starts_with(&expected), "{err}");
        let first = err.lines().next().unwrap();
        assert!(first.ends_with(&format!(">': {why}")), "{err}");
        assert!(output.stdout.is_empty());
    }
}

/// Asserts that an option takes whole numbers from `least` to `most` and nothing else.
pub(crate) fn assert_refused_out_of_range(name: &str, option: &str, least: i64, most: i64) {
    let huge = "99999999999999999999999999999999999999999";
    for value in [(least - 1).to_string(), "-1".into(), format!("-{huge}")] {
        assert_refused(name, option, &value, &format!("must be at least {least}"));
    }
    for value in [(most + 1).to_string(), huge.into()] {
        assert_refused(name, option, &value, &format!("must be at most {most}"));
    }
    for value in ["x", "1.5", "-0.5", "", "0x10"] {
        assert_refused(name, option, value, "expected a whole number");
    }
}

/// What is in a folder, in order.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}
