//! The table of what the searches find, and the one in the document.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    sync::Mutex,
};

use crate::scene::{Scene, Step, search};

/// What makes the table anew.
const COMMAND: &str = "UPDATE_TABLE=1 cargo test -p shuttle-tests --test stalled";
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/verification.md");
/// The last line before the rows.
const HEAD: &str = "| victim | stalled | keeps, at most | until |\n|---|---|---|---|\n";

/// Several tests of this process may write to the document.
static WRITING: Mutex<()> = Mutex::new(());

/// What a victim keeps where it is stalled.
#[derive(Default)]
struct Row {
    /// At most so many of each kind.
    kept: BTreeMap<&'static str, usize>,
    until: BTreeSet<&'static str>,
}

/// Searches `scenarios` for all whom a victim keeps, and compares with its rows in the document.
#[track_caller]
pub(crate) fn check(victim: &str, scenarios: &[fn(&Scene)]) {
    let mut rows = BTreeMap::<Step, Row>::new();
    for &scenario in scenarios {
        for (found, met) in search(scenario) {
            println!("{found:?}: first {met:?}");
            let row = rows.entry(found.step).or_default();
            for (kind, count) in found.kept {
                let most = row.kept.entry(kind).or_default();
                *most = count.max(*most);
                row.until.insert(found.until);
            }
        }
    }
    let mut steps = BTreeMap::<String, Vec<Step>>::new();
    for (step, row) in rows {
        let kept = row
            .kept
            .iter()
            .map(|(kind, most)| format!("{kind}: {most}"));
        let kept = match kept.collect::<Vec<_>>().join(", ") {
            nobody if nobody.is_empty() => "nobody".to_owned(),
            kept => kept,
        };
        let until = row.until.into_iter().collect::<Vec<_>>().join("; ");
        let kept = format!("{kept} | {until} |");
        steps.entry(kept).or_default().push(step);
    }
    let mut rows: Vec<_> = steps.into_iter().collect();
    rows.sort_by_key(|(_, steps)| steps[0]);
    let rows = rows.into_iter().map(|(kept, steps)| {
        let steps: Vec<_> = steps.iter().map(|step| step.name()).collect();
        format!("| {victim} | {} | {kept}\n", steps.join("; "))
    });
    let found: String = rows.collect();

    let lock = WRITING.lock();
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (before, table) = document.split_once(HEAD).expect("a table");
    let (table, after) = table.split_once("\n\n").expect("a line after the table");
    let begin = format!("| {victim} | ");
    let mut all = BTreeMap::<&str, String>::new();
    for row in table.lines() {
        let victim = row.split(" | ").next().expect("the first cell");
        *all.entry(victim).or_default() += &format!("{row}\n");
    }
    let documented = all.insert(begin.trim_end_matches(" | "), found.clone());
    if env::var_os("UPDATE_TABLE").is_some() {
        let table: String = all.into_values().collect();
        fs::write(DOCUMENT, format!("{before}{HEAD}{table}\n{after}")).unwrap();
        return;
    }
    drop(lock);
    assert!(
        documented.as_deref() == Some(&found),
        "the document has other rows (`{COMMAND}`) than these:\n{found}"
    );
}

#[test]
fn every_victim_of_the_table_is_searched() {
    let sources = concat!(include_str!("barrier.rs"), include_str!("phaser.rs"));
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let (_, table) = document.split_once(HEAD).expect("a table");
    for row in table.lines().take_while(|line| !line.is_empty()) {
        let victim = row.split(" | ").next().expect("the first cell");
        let victim = victim.trim_start_matches("| ");
        assert!(
            sources.contains(&format!("\"{victim}\"")),
            "{victim}: no test"
        );
    }
}
