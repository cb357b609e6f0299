//! The example `fan_in`: what becomes of its join at each kind of barrier, and that its counts are right.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    process::Command,
};

use crate::program::{
    assert_refused, assert_refused_out_of_range, complaint, example, output, report,
};

const TEXT: &str = include_str!("../../texts/gettysburg.txt");
const BARRIERS: [&str; 3] = ["phaser", "atomic", "tokio"];

/// So many that with half of them cancelled, some are left and some are cancelled in each way,
/// whatever the seed.
const MANY: usize = 60;

fn fan_in(barrier: &str, partitions: usize, cancel: f64, seed: u64) -> Command {
    let mut command = example("fan_in");
    command.args([
        format!("--barrier={barrier}"),
        format!("--partitions={partitions}"),
        format!("--cancel={cancel}"),
        format!("--seed={seed}"),
    ]);
    command
}

type Partitions = BTreeSet<usize>;

/// What a run has printed.
#[derive(Debug, PartialEq)]
struct Report {
    lines: usize,
    partitions: usize,
    meeting: String,
    /// Cancelled while building, when built, while waiting.
    cancelled: [Partitions; 3],
    table: Partitions,
    answered: Partitions,
    /// Words, words in other parts, pairs.
    totals: [usize; 3],
}

fn results(command: &mut Command) -> Report {
    let text = report(&output(command));
    let mut lines = text.lines();
    let head = lines.next().expect(&text);
    let (_, head) = head.split_once(": ").expect(&text);
    let (numbers, meeting) = head.split_once(", which waited at ").expect(&text);
    let [read, partitions] = numbers_in(numbers).try_into().expect(&text);
    let mut list = |name: &str| {
        let list = lines.next().and_then(|line| line.strip_prefix(name));
        let list = list.unwrap_or_else(|| panic!("{name} {text}")).trim_start();
        assert!(list == "none" || list.starts_with(|char: char| char.is_numeric()));
        numbers_in(list).into_iter().collect()
    };
    let cancelled = [
        list("cancelled while building:"),
        list("cancelled when built:"),
        list("cancelled while waiting:"),
    ];
    let (table, answered) = (
        list("in the table, whole parts only:"),
        list("looked their words up:"),
    );
    let rest: Vec<_> = lines.collect();
    assert!(
        text.ends_with("A sequential run over the same partitions agrees.\n"),
        "{text}"
    );
    Report {
        lines: read,
        partitions,
        meeting: meeting.to_string(),
        cancelled,
        table,
        answered,
        totals: numbers_in(&rest.join(" ")).try_into().expect(&text),
    }
}

fn numbers_in(text: &str) -> Vec<usize> {
    let runs = text.split(|char: char| !char.is_ascii_digit());
    let numbers = runs.filter(|run| !run.is_empty());
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// What the partitions in `answered` find in those in `table`.
fn joined(text: &str, partitions: usize, table: &Partitions, answered: &Partitions) -> [usize; 3] {
    let lines: Vec<_> = text.lines().collect();
    let parts: Vec<HashMap<String, usize>> = (0..partitions)
        .map(|partition| {
            let [start, end] =
                [partition, partition + 1].map(|partition| lines.len() * partition / partitions);
            let mut part = HashMap::new();
            for word in lines[start..end].join(" ").split_whitespace() {
                let word = word.trim_matches([',', '.', '-']).to_lowercase();
                if !word.is_empty() {
                    *part.entry(word).or_default() += 1;
                }
            }
            part
        })
        .collect();
    let mut totals = [0; 3];
    for &here in answered {
        for (word, count) in &parts[here] {
            let others = table.iter().filter(|&&there| there != here);
            let there: usize = others.filter_map(|&there| parts[there].get(word)).sum();
            totals[0] += 1;
            totals[1] += usize::from(there > 0);
            totals[2] += count * there;
        }
    }
    totals
}

fn assert_is_right(found: &Report, text: &str) {
    let [building, built, waiting] = &found.cancelled;
    let all: Partitions = (0..found.partitions).collect();
    assert_eq!(found.lines, text.lines().count());
    assert_eq!(found.table, &all - building);
    assert_eq!(found.answered, &(&(&all - building) - built) - waiting);
    assert_eq!(
        found.cancelled.iter().map(Partitions::len).sum::<usize>(),
        all.len() - found.answered.len()
    );
    assert_eq!(
        found.totals,
        joined(text, found.partitions, &found.table, &found.answered)
    );
}

#[test]
fn at_a_phaser_those_that_are_left_find_the_right_answer() {
    for seed in 0..8 {
        for partitions in [1, 7, 24, MANY] {
            for cancel in [0.1, 0.5, 0.9] {
                let found = results(&mut fan_in("phaser", partitions, cancel, seed));
                assert_is_right(&found, TEXT);
                assert_eq!(
                    (found.partitions, &*found.meeting),
                    (partitions, "a phaser")
                );
                if (partitions, cancel) == (MANY, 0.5) {
                    assert!(found.cancelled.iter().all(|which| !which.is_empty()));
                    assert!(!found.answered.is_empty());
                }
            }
        }
    }
}

#[test]
fn the_same_seed_cancels_the_same_partitions() {
    let run = |seed| results(&mut fan_in("phaser", MANY, 0.5, seed));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).cancelled, run(2).cancelled);
}

#[test]
fn at_the_barrier_it_is_said_who_is_missing() {
    for seed in 0..2 {
        let output = output(fan_in("atomic", MANY, 0.5, seed).arg("--deadline=5000"));
        let complaint = complaint(&output, 1);
        assert!(output.stdout.is_empty());
        let rest = complaint
            .strip_prefix("error: not done after 5000 ms: ")
            .expect(&complaint);
        let (arrived, missing) = rest
            .split_once(" of 60 partitions have arrived at an atomic barrier, missing are ")
            .expect(&complaint);

        let expected = results(&mut fan_in("phaser", MANY, 0.5, seed));
        assert_eq!(arrived, expected.answered.len().to_string());
        let mut names = Vec::new();
        for (which, when) in
            expected
                .cancelled
                .iter()
                .zip(["while building", "when built", "while waiting"])
        {
            names.extend(which.iter().map(|number| (number, when)));
        }
        names.sort();
        let more = names.len() - 8;
        let names = names.iter().take(8);
        let names = names.map(|(number, when)| format!("{number} (cancelled {when})"));
        let names = names.collect::<Vec<_>>().join(", ");
        assert_eq!(missing, format!("{names} and {more} more"));
    }
}

#[test]
fn long_lists_name_the_first_and_how_many_more() {
    let report = report(&output(&mut fan_in("phaser", 10_000, 0.5, 1)));
    for list in report.lines().skip(1).take(5) {
        let names = list.rsplit_once(" and ").and_then(|(names, more)| {
            let more: usize = more.strip_suffix(" more")?.parse().ok()?;
            Some((names, more))
        });
        let (names, more) = names.expect(list);
        let names = names.rsplit_once(": ").expect(list).1;
        assert_eq!(names.split(", ").count(), 100, "{list}");
        assert!(more > 0, "{list}");
    }
}

#[test]
fn at_tokios_barrier_those_that_are_left_hang() {
    for seed in 0..2 {
        let output = output(fan_in("tokio", MANY, 0.5, seed).arg("--deadline=5000"));
        let left = results(&mut fan_in("phaser", MANY, 0.5, seed))
            .answered
            .len();
        assert_eq!(
            complaint(&output, 1),
            format!(
                "error: not done after 5000 ms: {left} of 60 partitions hang at tokio's barrier, \
                 which does not say for whom"
            )
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn where_none_is_cancelled_all_barriers_do() {
    let meetings = ["a phaser", "an atomic barrier", "tokio's barrier"];
    for (barrier, meeting) in BARRIERS.into_iter().zip(meetings) {
        for partitions in [1, 8, MANY] {
            let found = results(&mut fan_in(barrier, partitions, 0.0, 1));
            assert_is_right(&found, TEXT);
            assert_eq!(found.meeting, meeting);
            assert_eq!(found.answered.len(), partitions);
        }
    }
}

#[test]
fn where_all_are_cancelled_nobody_is_left_to_hang() {
    for barrier in BARRIERS {
        for seed in 0..8 {
            // A partition that is alone is through its wait before it can be cancelled there.
            for partitions in [1, MANY] {
                let found = results(&mut fan_in(barrier, partitions, 1.0, seed));
                assert_is_right(&found, TEXT);
                assert_eq!(found.answered, Partitions::new());
                assert_eq!(found.totals, [0; 3]);
            }
        }
    }
}

#[test]
fn words_are_joined_across_partitions_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "un œuf, un\r\nœuf (deux)\n\nUN - trois").unwrap();
    let mut run = fan_in("phaser", 4, 0.0, 1);
    let found = results(run.arg(&text));
    // Each but deux and trois is elsewhere too: un twice here and once there, and the other way round.
    assert_eq!((found.lines, found.totals), (4, [6, 4, 2 + 1 + 1 + 2]));
    let found = results(fan_in("phaser", 1, 0.0, 1).arg(&text));
    assert_eq!(found.totals, [4, 0, 0]);
}

#[test]
fn standard_input_is_joined_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "one\ntwo one").unwrap();
    let mut run = fan_in("phaser", 2, 0.0, 1);
    let output = output(run.arg("-").stdin(fs::File::open(&text).unwrap()));
    let report = report(&output);
    let head = "standard input: 2 lines in 2 partitions, which waited at a phaser\n";
    assert!(report.starts_with(head), "{report}");
}

#[test]
fn a_run_that_is_slow_is_not_said_to_hang() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::write(&text, "a b c\n".repeat(300_000)).unwrap();
    for barrier in BARRIERS {
        let mut run = fan_in(barrier, 1, 0.0, 1);
        assert_eq!(
            complaint(&output(run.arg("--deadline=1").arg(&text)), 1),
            "error: not done after 1 ms: still at work are 0"
        );
    }
}

#[test]
fn bad_texts_are_refused_by_name_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
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
        let output = output(example("fan_in").arg(&text));
        assert_eq!(
            complaint(&output, 2),
            format!("error: {}: {complaint_of_it}", text.display())
        );
        assert!(output.stdout.is_empty());
    }
    for text in [&folder.path().join("missing"), folder.path()] {
        let complaint = complaint(&output(example("fan_in").arg(text)), 2);
        let expected = format!("error: cannot read {}: ", text.display());
        assert!(complaint.starts_with(&expected), "{complaint}");
    }
}

#[test]
fn numbers_out_of_range_are_refused() {
    for (option, least, most) in [
        ("--partitions", 1, 10000),
        ("--deadline", 1, 3600000),
        ("--seed", 0, i64::from(u32::MAX)),
    ] {
        assert_refused_out_of_range("fan_in", option, least, most);
    }
}

#[test]
fn other_options_are_refused_too() {
    for value in ["-0.1", "1.1", "NaN", "x", "-1"] {
        assert_refused("fan_in", "--cancel", value, "expected a number from 0 to 1");
    }
    for value in ["std", "Tokio", "none", "0"] {
        let output = output(example("fan_in").args(["--barrier", value]));
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{err}");
        assert!(
            err.contains("--barrier") && err.contains(&format!("'{value}'")),
            "{err}"
        );
    }
}
