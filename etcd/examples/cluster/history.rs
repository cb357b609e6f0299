//! What etcd remembers of a barrier, and whether the processes' records agree with it. It works out by
//! itself what has happened, from all keys of the barrier, and uses nothing of the library.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use atomic_barrier_etcd::etcd_client::{Client, EventType, WatchOptions};

/// An event at a key of the barrier.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) revision: i64,
    /// Without the barrier's name.
    pub(crate) key: String,
    /// None where the key was deleted.
    pub(crate) put: Option<(String, i64)>,
}

/// Follows all keys of a barrier from a revision on, until `enough` says so.
pub(crate) async fn follow(
    endpoints: &[String],
    barrier: &str,
    from: i64,
    mut enough: impl FnMut(Event) -> bool,
) -> Result<()> {
    let mut client = Client::connect(endpoints, None).await?;
    let prefix = format!("{barrier}/");
    let options = WatchOptions::new().with_prefix().with_start_revision(from);
    let mut changes = client.watch(prefix.as_str(), Some(options)).await?;
    while let Some(news) = changes.message().await? {
        ensure!(!news.canceled(), "etcd: {}", news.cancel_reason());
        for event in news.events() {
            let kv = event.kv().context("an event without a key")?;
            let key = kv.key_str()?.strip_prefix(&prefix);
            let put = match event.event_type() {
                EventType::Put => Some((kv.value_str()?.to_owned(), kv.lease())),
                EventType::Delete => None,
            };
            let event = Event {
                revision: kv.mod_revision(),
                key: key.context("a key of something else")?.to_owned(),
                put,
            };
            if enough(event) {
                return Ok(());
            }
        }
    }
    bail!("etcd ended the watch")
}

/// Waits until so many generations are complete.
pub(crate) async fn until_complete(
    endpoints: &[String],
    barrier: &str,
    generations: u64,
) -> Result<()> {
    follow(endpoints, barrier, 1, |event| {
        State::of(&event).is_some_and(|state| state.generation >= generations)
    })
    .await
}

/// All events from a revision on.
pub(crate) async fn read(endpoints: &[String], barrier: &str, from: i64) -> Result<Vec<Event>> {
    let mut client = Client::connect(endpoints, None).await?;
    // To know where the end is.
    let end = format!("{barrier}/end");
    let put = client.put(end, "", None).await?;
    let last = put.header().map_or(0, |header| header.revision());
    let mut events = Vec::new();
    follow(endpoints, barrier, from, |event| {
        let ends = event.revision >= last;
        if event.key != "end" {
            events.push(event);
        }
        ends
    })
    .await?;
    Ok(events)
}

struct State {
    kind: String,
    generation: u64,
    processes: usize,
    by: (String, i64),
}

impl State {
    fn of(event: &Event) -> Option<State> {
        let (value, _) = event.put.as_ref().filter(|_| event.key == "state")?;
        let [kind, generation, processes, _, lease, name] =
            *value.splitn(6, ' ').collect::<Vec<_>>()
        else {
            return None;
        };
        Some(State {
            kind: kind.to_owned(),
            generation: generation.parse().ok()?,
            processes: processes.parse().ok()?,
            by: (name.to_owned(), lease.parse().ok()?),
        })
    }
}

/// What has happened.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Of each generation the processes counted in it, with their leases.
    pub(crate) counted: Vec<BTreeMap<String, i64>>,
    /// The process that completed it.
    pub(crate) by: Vec<String>,
    /// The process whose loss broke the barrier.
    pub(crate) lost: Option<String>,
    /// A generation was completed without a process that had gone, and so does not count.
    pub(crate) void: bool,
}

/// Works out what the events mean, and checks that they keep to the rules.
pub(crate) fn replay(events: &[Event], fail_on_loss: bool) -> Result<History> {
    let mut history = History::default();
    let mut live = BTreeMap::<&str, (i64, i64)>::new();
    let mut arrived = BTreeMap::<&str, (&str, i64)>::new();
    let mut completed_at = 0;
    let mut held = false;
    let mut gone = None;
    for event in events {
        if let Some(name) = event.key.strip_prefix("arrived/") {
            match &event.put {
                Some((value, lease)) => drop(arrived.insert(name, (value, *lease))),
                None => drop(arrived.remove(name)),
            }
        } else if let Some(name) = event.key.strip_prefix("live/") {
            match &event.put {
                Some((_, lease)) => {
                    let before = live.insert(name, (*lease, event.revision));
                    ensure!(before.is_none(), "{name} joined twice");
                }
                None => {
                    let (_, since) = live.remove(name).context("it was not live")?;
                    if fail_on_loss && since < completed_at && history.lost.is_none() {
                        history.lost = Some(name.to_owned());
                    }
                    gone = Some(name);
                }
            }
        } else if event.key == "state" {
            let state = State::of(event).context("not a state")?;
            if history.lost.is_some() {
                continue;
            }
            ensure!(state.kind != "lost", "broken without a loss");
            let complete = history.counted.len() as u64;
            if state.generation == complete {
                ensure!(held && state.kind == "complete", "{complete} was complete");
                held = false;
                continue;
            }
            ensure!(
                !held && state.generation == complete + 1,
                "generation {complete} was followed by {}",
                state.generation
            );
            let (by, lease) = (state.by.0.as_str(), state.by.1);
            ensure!(
                live.get(by).is_some_and(|live| live.0 == lease),
                "{by} completed generation {complete}, and was not live"
            );
            for (name, (lease, _)) in &live {
                let has_arrived =
                    arrived.get(name) == Some(&(complete.to_string().as_str(), *lease));
                ensure!(
                    has_arrived || *name == by,
                    "{name} had not arrived in generation {complete}"
                );
            }
            ensure!(
                live.len() <= state.processes,
                "{complete}: too many counted"
            );
            if fail_on_loss && live.len() < state.processes {
                history.void = true;
                history.lost = gone.map(str::to_owned);
                continue;
            }
            let counted = live
                .iter()
                .map(|(name, (lease, _))| (name.to_string(), *lease));
            history.counted.push(counted.collect());
            history.by.push(by.to_owned());
            completed_at = event.revision;
            held = state.kind == "held";
        }
    }
    Ok(history)
}

/// What [`check`] has found in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// How often a process was counted in a generation.
    pub(crate) counted: usize,
    /// Memberships that ended in a generation in which they had begun to work, and were not counted.
    pub(crate) uncounted: usize,
}

/// Checks that each process that was counted in a generation has done its work once: a line in
/// `folder`/PROCESS for each of its tasks.
pub(crate) fn check(history: &History, folder: &Path, tasks: u32) -> Result<Tally> {
    let mut due = BTreeSet::new();
    for (generation, counted) in (0_u64..).zip(&history.counted) {
        for (process, lease) in counted {
            due.insert((process.clone(), *lease, generation));
        }
    }
    let mut done = BTreeMap::<_, u32>::new();
    for entry in fs::read_dir(folder).with_context(|| format!("in {}", folder.display()))? {
        let entry = entry?;
        let process = entry.file_name().to_string_lossy().into_owned();
        for (number, line) in fs::read_to_string(entry.path())?.lines().enumerate() {
            let place = || format!("{process}, line {}: `{line}`", number + 1);
            let (generation, lease) = line
                .split_once(' ')
                .with_context(|| format!("{}: not a generation and a lease", place()))?;
            let generation: u64 = generation.parse().with_context(place)?;
            let lease: i64 = lease.parse().with_context(place)?;
            *done
                .entry((process.clone(), lease, generation))
                .or_default() += 1;
        }
    }
    let mut tally = Tally::default();
    let mut without = BTreeMap::new();
    // In the order of generations, for each membership.
    for ((process, lease, generation), times) in done {
        let member = (process.clone(), lease);
        let what = format!("{process} (lease {lease}) in generation {generation}");
        ensure!(
            !without.contains_key(&member),
            "{what}: it went on without having been counted"
        );
        if due.remove(&(process, lease, generation)) {
            ensure!(
                times == tasks,
                "{what}: {times} times the work of {tasks} tasks"
            );
            tally.counted += 1;
        } else {
            ensure!(
                times <= tasks,
                "{what}: {times} times the work of {tasks} tasks"
            );
            without.insert(member, generation);
        }
    }
    tally.uncounted = without.len();
    if let Some((process, lease, generation)) = due.first() {
        bail!("{process} (lease {lease}) was counted in generation {generation}, but did no work");
    }
    Ok(tally)
}
