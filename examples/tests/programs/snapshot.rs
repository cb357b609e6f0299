//! The example `snapshot`: what it leaves on the disk, whatever becomes of the run.

use core::fmt::Write as _;
use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::program::{assert_refused_out_of_range, complaint, entries, example, output, report};

const TEXT: &str = include_str!("../../texts/gettysburg.txt");

/// The example, with a place to write to.
fn snapshot(out: &Path) -> Command {
    let mut command = example("snapshot");
    command.arg("--out").arg(out);
    command
}

/// A snapshot on the disk.
#[derive(Debug, PartialEq)]
struct Snapshot {
    number: usize,
    lines: usize,
    /// The lines of each worker.
    shares: Vec<usize>,
    words: u64,
    /// How often there is which word.
    counts: HashMap<String, u64>,
}

/// Reads a snapshot that must be whole.
fn read(file: &Path) -> Snapshot {
    let text = fs::read_to_string(file).unwrap();
    let (head, counts) = text.split_once("\n\n").expect(&text);
    let [number, lines, words] = head.lines().collect::<Vec<_>>().try_into().expect(&text);
    let number_after = |line: &str, name: &str| {
        let number = line.strip_prefix(name).and_then(|rest| rest.parse().ok());
        number.unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let (lines, shares) = lines.split_once(" = ").expect(&text);
    let snapshot = Snapshot {
        number: number_after(number, "snapshot ") as usize,
        lines: number_after(lines, "lines ") as usize,
        shares: shares
            .split(" + ")
            .map(|share| share.parse().unwrap())
            .collect(),
        words: number_after(words, "words "),
        counts: counts
            .lines()
            .map(|line| {
                let (word, number) = line.split_once(' ').expect(&text);
                (word.to_string(), number.parse().unwrap())
            })
            .collect(),
    };
    assert_eq!(snapshot.shares.iter().sum::<usize>(), snapshot.lines);
    assert_eq!(snapshot.counts.values().sum::<u64>(), snapshot.words);
    snapshot
}

/// How often there is which word in the first `lines` of `text`.
fn counted(text: &str, lines: usize) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    let words = text.lines().take(lines).flat_map(str::split_whitespace);
    for word in words {
        let word = word.trim_matches([',', '.', '-']).to_lowercase();
        if !word.is_empty() {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

#[test]
fn the_last_snapshot_has_the_whole_text() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::write(&out, "what was there before").unwrap();
    assert_eq!(
        report(&output(&mut snapshot(&out))),
        format!(
            "the Gettysburg Address: 24 lines, 271 words, 138 of them different\n\
             workers: 4, with the same counts as a sequential run\n\
             snapshots: 5, the last one in {}\n",
            out.display()
        )
    );
    assert_eq!(
        read(&out),
        Snapshot {
            number: 4,
            lines: 24,
            shares: vec![6, 6, 6, 6],
            words: 271,
            counts: counted(TEXT, 24),
        }
    );
    assert_eq!(entries(folder.path()), [out]);
}

#[test]
fn any_number_of_workers_and_any_distance_come_to_the_same() {
    let folder = tempfile::tempdir().unwrap();
    for (workers, every, snapshots) in [(1, 1, 24), (3, 7, 4), (50, 4, 6), (4, 24, 1), (2, 999, 1)]
    {
        let out = folder.path().join("out");
        let [workers_option, every_option] = [workers, every].map(|number| number.to_string());
        report(&output(snapshot(&out).args([
            "--workers",
            &workers_option,
            "--every",
            &every_option,
        ])));
        let found = read(&out);
        assert_eq!(found.counts, counted(TEXT, 24), "{workers} workers");
        assert_eq!((found.lines, found.number), (24, snapshots - 1));
        assert_eq!(found.shares.len(), workers);
    }
}

#[test]
fn a_failing_worker_ends_the_run_and_leaves_the_last_good_snapshot() {
    let folder = tempfile::tempdir().unwrap();
    for (line, worker, lines) in [(6, 1, 5), (10, 1, 5), (11, 2, 10), (18, 1, 15), (24, 3, 20)] {
        let out = folder.path().join("out");
        let output = output(snapshot(&out).args(["--fail-at", &line.to_string()]));
        assert_eq!(
            complaint(&output, 1),
            format!("error: worker {worker} failed at line {line}, as it was told to")
        );
        assert!(output.stdout.is_empty());
        let found = read(&out);
        assert_eq!(found.lines, lines);
        assert_eq!(found.counts, counted(TEXT, lines));
        assert_eq!(entries(folder.path()), [out]);
    }
}

#[test]
fn a_worker_that_fails_before_the_first_snapshot_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for line in ["1", "5"] {
        complaint(&output(snapshot(&out).args(["--fail-at", line])), 1);
        assert!(!out.exists());
    }
    report(&output(&mut snapshot(&out)));
    let before = fs::read(&out).unwrap();
    complaint(&output(snapshot(&out).args(["--fail-at", "3"])), 1);
    assert_eq!(fs::read(&out).unwrap(), before);
    assert_eq!(entries(folder.path()), [out]);
}

#[test]
fn the_others_can_count_the_lines_of_a_worker_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    for line in 1..=24 {
        let mut command = snapshot(&out);
        command.args(["--on-loss=continue", &format!("--fail-at={line}")]);
        let report = report(&output(&mut command));
        let worker = (line - 1) % 4;
        assert_eq!(
            report,
            format!(
                "the Gettysburg Address: 24 lines, 271 words, 138 of them different\n\
                 workers: 4, with the same counts as a sequential run\n\
                 snapshots: 5, the last one in {}\n\
                 lost: worker {worker} failed at line {line}, as it was told to; \
                 the others counted its lines\n",
                out.display()
            )
        );
        let found = read(&out);
        assert_eq!(found.counts, counted(TEXT, 24));
        assert_eq!((found.number, found.lines), (4, 24));
        // What it had counted before stays counted.
        assert_eq!(found.shares[worker], (line - 1) / 4);
    }
}

#[test]
fn where_no_worker_is_left_the_last_good_snapshot_stays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut command = snapshot(&out);
    command.args(["--on-loss=continue", "--fail-at=12", "--workers=1"]);
    assert_eq!(
        complaint(&output(&mut command), 1),
        "error: worker 0 failed at line 12, as it was told to"
    );
    assert_eq!(read(&out).lines, 10);
}

#[test]
fn a_reader_beside_the_run_sees_whole_snapshots_only() {
    const LINES: usize = 1000;
    const EVERY: usize = 10;

    let folder = tempfile::tempdir().unwrap();
    let [text, out] = ["text", "out"].map(|name| folder.path().join(name));
    let mut lines = String::new();
    for number in 0..LINES {
        writeln!(lines, "word{number} and and").unwrap();
    }
    fs::write(&text, &lines).unwrap();
    let mut run = snapshot(&out)
        .arg(&text)
        .args(["--every", &EVERY.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut last = 0;
    loop {
        let ended = run.try_wait().unwrap().is_some();
        if out.exists() {
            let found = read(&out);
            assert_eq!(found.lines, EVERY * (found.number + 1));
            assert_eq!(found.counts["and"], 2 * found.lines as u64);
            assert_eq!(found.words, 3 * found.lines as u64);
            assert!(found.lines >= last);
            last = found.lines;
        }
        if ended {
            break;
        }
    }
    report(&run.wait_with_output().unwrap());
    assert_eq!(last, LINES);
}

#[test]
fn standard_input_is_counted_too() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let mut run = snapshot(&out)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Written in one piece with the pipe's other end closed after it.
    let mut input = run.stdin.take().unwrap();
    input
        .write_all("Œuvre, œuvre\r\n\r\n  two-fold (it's)".as_bytes())
        .unwrap();
    drop(input);
    let report = report(&run.wait_with_output().unwrap());
    assert!(
        report.starts_with("standard input: 3 lines, 4 words, 3 of them different\n"),
        "{report}"
    );
    let counts = [("it's", 1), ("two-fold", 1), ("œuvre", 2)];
    assert_eq!(
        read(&out).counts,
        counts
            .map(|(word, number)| (word.to_string(), number))
            .into()
    );
}

#[test]
fn bad_input_is_refused_by_name_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let [text, out] = ["text", "out"].map(|name| folder.path().join(name));
    for (content, complaint_of_it) in [
        (&b""[..], "expected a text, found nothing"),
        (b"\xff", "line 1: expected UTF-8, found the byte 0xff"),
        (
            b"caf\xc3\xa9\n\ncaf\xe9\n",
            "line 3: expected UTF-8, found the byte 0xe9",
        ),
        (
            b"one\ntwo \xc3",
            "line 2: expected UTF-8, found the byte 0xc3",
        ),
    ] {
        fs::write(&text, content).unwrap();
        assert_eq!(
            complaint(&output(snapshot(&out).arg(&text)), 2),
            format!("error: {}: {complaint_of_it}", text.display())
        );
    }
    fs::write(&text, "one\ntwo").unwrap();
    assert_eq!(
        complaint(
            &output(snapshot(&out).arg(&text).args(["--fail-at", "3"])),
            2
        ),
        format!("error: --fail-at 3: {} ends with line 2", text.display())
    );
    assert_eq!(entries(folder.path()), [text]);
}

#[test]
fn a_text_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    for text in [&missing, folder.path()] {
        let complaint = complaint(&output(snapshot(&missing).arg(text)), 2);
        let expected = format!("error: cannot read {}: ", text.display());
        assert!(complaint.starts_with(&expected), "{complaint}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (option, least, most) in [
        ("--workers", 1, 1000),
        ("--every", 1, i64::from(u32::MAX)),
        ("--fail-at", 1, i64::from(u32::MAX)),
    ] {
        assert_refused_out_of_range("snapshot", option, least, most);
    }
}
