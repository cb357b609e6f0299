//! What etcd remembers of a barrier, and whether the processes' records agree with it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use etcd_client::{Client, WatchOptions};

use crate::rendezvous::State;

/// Follows `NAME/state` from its first value on, until `enough` says so.
pub async fn follow(
    endpoint: &str,
    barrier: &str,
    mut enough: impl FnMut(&State) -> bool,
) -> Result<()> {
    let mut client = Client::connect([endpoint], None).await?;
    let from_the_start = WatchOptions::new().with_start_revision(1);
    let state = format!("{barrier}/state");
    let mut changes = client.watch(state, Some(from_the_start)).await?;
    while let Some(news) = changes.message().await? {
        for event in news.events() {
            let kv = event.kv().context("an event without a key")?;
            if enough(&serde_json::from_slice(kv.value())?) {
                return Ok(());
            }
        }
    }
    bail!("etcd ended the watch")
}

/// All values that `NAME/state` has had, in their order.
pub async fn read(endpoint: &str, barrier: &str) -> Result<Vec<State>> {
    let mut client = Client::connect([endpoint], None).await?;
    let now = client.get(format!("{barrier}/state"), None).await?;
    let mut history = Vec::new();
    let Some(last) = now.kvs().first() else {
        return Ok(history);
    };
    follow(endpoint, barrier, |state| {
        history.push(state.clone());
        history.len() as i64 == last.version()
    })
    .await?;
    Ok(history)
}

/// What [`check`] has found in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines for a generation in which their process was counted.
    pub counted: usize,
    /// Lines of processes that did not come through: the last of each, at most.
    pub uncounted: usize,
}

/// Checks that each generation was completed once, and that each process that was counted in it has
/// done its work once: one line in `folder`/PROCESS, with all `tasks`.
pub fn check(history: &[State], folder: &Path, tasks: u32) -> Result<Tally> {
    let complete = history.iter().filter(|state| state.lost.is_none());
    let mut due = BTreeSet::new();
    for (generation, state) in complete.enumerate() {
        let generation = generation as u64;
        ensure!(
            state.generation == generation + 1,
            "generation {generation} was followed by {}",
            state.generation
        );
        for (process, &lease) in &state.counted {
            due.insert((process.clone(), lease, generation));
        }
    }
    let mut tally = Tally::default();
    let mut without = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("in {}", folder.display()))? {
        let entry = entry?;
        let process = entry.file_name().to_string_lossy().into_owned();
        for (number, line) in fs::read_to_string(entry.path())?.lines().enumerate() {
            let place = || format!("{process}, line {}: `{line}`", number + 1);
            let [generation, lease, done] = *line.split(' ').collect::<Vec<_>>() else {
                bail!(
                    "{}: not a generation, a lease and a number of tasks",
                    place()
                );
            };
            let generation: u64 = generation.parse().with_context(place)?;
            let lease: i64 = lease.parse().with_context(place)?;
            let done: u32 = done.parse().with_context(place)?;
            ensure!(done == tasks, "{}: not the work of {tasks} tasks", place());
            let member = (process.clone(), lease);
            ensure!(
                !without.contains_key(&member),
                "{}: it went on without having been counted",
                place()
            );
            if due.remove(&(process.clone(), lease, generation)) {
                tally.counted += 1;
            } else {
                without.insert(member, generation);
            }
        }
    }
    tally.uncounted = without.len();
    if let Some((process, lease, generation)) = due.first() {
        bail!("{process} (lease {lease}) was counted in generation {generation}, but did no work");
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two generations, in which `a` and `b` were counted, and then `a` alone.
    fn history() -> Vec<State> {
        let counted = |names: &[(&str, i64)]| {
            let owned = names.iter().map(|&(name, lease)| (name.to_owned(), lease));
            owned.collect()
        };
        let state = |generation, names| State {
            generation,
            counted: counted(names),
            lost: None,
        };
        vec![state(1, &[("a", 7), ("b", 8)]), state(2, &[("a", 7)])]
    }

    fn checked(history: &[State], a: &str, b: &str) -> Result<Tally, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), a).unwrap();
        fs::write(folder.path().join("b"), b).unwrap();
        check(history, folder.path(), 3).map_err(|error| format!("{error:#}"))
    }

    const A: &str = "0 7 3\n1 7 3\n";

    #[test]
    fn work_done_once_is_in_order() {
        let tally = checked(&history(), A, "0 8 3\n1 8 3\n").unwrap();
        let (counted, uncounted) = (3, 1);
        assert_eq!(tally, Tally { counted, uncounted });
    }

    #[test]
    fn a_breaking_is_no_generation() {
        let mut history = history();
        let broken = State {
            lost: Some("a".to_owned()),
            ..history[1].clone()
        };
        history.push(broken);
        assert_eq!(checked(&history, A, "0 8 3\n").unwrap().counted, 3);
    }

    #[test]
    fn what_is_out_of_order_is_named() {
        let twice = [history(), history()].concat();
        for (history, a, b, error) in [
            (
                history(),
                A,
                "",
                "b (lease 8) was counted in generation 0, but did no work",
            ),
            (
                history(),
                A,
                "0 9 3\n",
                "b (lease 8) was counted in generation 0, but did no work",
            ),
            (
                history(),
                A,
                "0 8 2\n",
                "b, line 1: `0 8 2`: not the work of 3 tasks",
            ),
            (
                history(),
                A,
                "0 8 3\n0 8 3\n0 8 3\n",
                "b, line 3: `0 8 3`: it went on",
            ),
            (
                history(),
                A,
                "0 8 3\n1 8 3\n2 8 3\n",
                "b, line 3: `2 8 3`: it went on",
            ),
            (
                history(),
                A,
                "0 8\n",
                "b, line 1: `0 8`: not a generation, a lease",
            ),
            (history(), A, "x 8 3\n", "b, line 1: `x 8 3`: invalid digit"),
            (twice, A, "0 8 3\n", "generation 2 was followed by 1"),
        ] {
            let found = checked(&history, a, b).unwrap_err();
            assert!(found.contains(error), "{found}");
        }
    }
}
