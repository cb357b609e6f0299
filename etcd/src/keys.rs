//! What is where in etcd, and the requests that rely on it.

use std::{collections::BTreeMap, sync::Arc};

use etcd_client::{
    Compare, CompareOp, Event, EventType, GetOptions, GetResponse, KeyValue, PutOptions, Txn,
    TxnOp, WatchOptions,
};

use crate::{
    Error, OnLoss,
    view::{Change, Kind, Live, State, View},
};

/// The keys of a barrier, and this process's among them.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) barrier: Arc<str>,
    pub(crate) process: Arc<str>,
    pub(crate) lease: i64,
}

/// A range of keys, without its end.
pub(crate) type Range = (String, String);

impl Keys {
    fn key(&self, rest: &str) -> String {
        format!("{}/{rest}", self.barrier)
    }

    pub(crate) fn state(&self) -> String {
        self.key("state")
    }

    pub(crate) fn terms(&self) -> String {
        self.key("terms")
    }

    fn live(&self, name: &str) -> String {
        self.key(&format!("live/{name}"))
    }

    fn arrived(&self, name: &str) -> String {
        self.key(&format!("arrived/{name}"))
    }

    /// All arrivals before and after this process's own.
    fn other_arrivals(&self) -> [Range; 2] {
        let own = self.arrived(&self.process);
        // `0` is what follows `/`.
        let all = (self.arrived(""), self.key("arrived0"));
        [(all.0, own.clone()), (own + "\0", all.1)]
    }

    /// What is watched: `live/` and `state` are neighbours, and none of the arrivals is between them.
    pub(crate) fn watched(&self) -> Range {
        (self.live(""), self.state() + "\0")
    }

    pub(crate) fn watch_from(&self, revision: i64) -> (String, WatchOptions) {
        let (first, end) = self.watched();
        let options = WatchOptions::new()
            .with_range(end)
            .with_start_revision(revision);
        (first, options)
    }

    /// The request for the processes that were live at a revision.
    pub(crate) fn live_at(&self, revision: i64) -> (String, GetOptions) {
        let options = GetOptions::new()
            .with_prefix()
            .with_keys_only()
            .with_revision(revision);
        (self.live(""), options)
    }

    /// The terms of the first process to join become those of the barrier.
    pub(crate) fn agree(&self, terms: &str) -> Txn {
        let none = Compare::version(self.terms(), CompareOp::Equal, 0);
        Txn::new()
            .when([none])
            .and_then([TxnOp::put(self.terms(), terms, None)])
            .or_else([TxnOp::get(self.terms(), None)])
    }

    pub(crate) fn join(&self) -> Txn {
        let free = Compare::version(self.live(&self.process), CompareOp::Equal, 0);
        Txn::new().when([free]).and_then([
            self.bound(self.live(&self.process), ""),
            // Never equal to a generation.
            self.bound(self.arrived(&self.process), "-"),
        ])
    }

    /// Arrives in the current generation of `view`. If all others have arrived, completes it in the same request,
    /// with a state of kind `complete`.
    pub(crate) fn arrive(&self, view: &View, complete: Option<Kind>) -> Txn {
        let generation = view.state.generation;
        let arrive = self.bound(self.arrived(&self.process), &generation.to_string());
        let act = match complete {
            None => arrive,
            Some(kind) => {
                let next = State {
                    kind,
                    generation: generation + 1,
                    processes: view.live.len(),
                    at: 0,
                    lease: self.lease,
                    name: self.process.clone(),
                };
                let all = Txn::new().when(self.all_others_have_arrived(view));
                TxnOp::txn(all.and_then([self.put(&next)]).or_else([arrive]))
            }
        };
        let live = Compare::lease(self.live(&self.process), CompareOp::Equal, self.lease);
        Txn::new()
            .when([self.same_state(view), live])
            .and_then([act])
    }

    /// At most three comparisons, however many processes there are. `live/` has this process at least.
    fn all_others_have_arrived(&self, view: &View) -> Vec<Compare> {
        let next = view.revision + 1;
        let none_has_joined =
            Compare::mod_revision(self.live(""), CompareOp::Less, next).with_prefix();
        let generation = view.state.generation.to_string();
        let [before, after] = self.other_arrivals();
        let (first, last) = (view.live.keys().next(), view.live.keys().next_back());
        let mut all = vec![none_has_joined];
        for (is_any, (from, to)) in [
            (first.is_some_and(|name| *name < self.process), before),
            (last.is_some_and(|name| *name > self.process), after),
        ] {
            // Over an empty range the comparison would fail.
            if is_any {
                let equal = Compare::value(from, CompareOp::Equal, generation.as_str());
                all.push(equal.with_range(to));
            }
        }
        all
    }

    /// Replaces the state that `view` knows.
    pub(crate) fn replace(&self, view: &View, state: &State) -> Txn {
        Txn::new()
            .when([self.same_state(view)])
            .and_then([self.put(state)])
    }

    fn same_state(&self, view: &View) -> Compare {
        Compare::mod_revision(self.state(), CompareOp::Equal, view.state_revision)
    }

    fn put(&self, state: &State) -> TxnOp {
        TxnOp::put(self.state(), state.to_string(), None)
    }

    fn bound(&self, key: String, value: &str) -> TxnOp {
        TxnOp::put(key, value, Some(PutOptions::new().with_lease(self.lease)))
    }

    pub(crate) fn change(&self, event: &Event) -> Result<Option<(i64, Change)>, Error> {
        let Some(kv) = event.kv() else {
            return Ok(None);
        };
        let change = match (self.name_of(kv)?, event.event_type()) {
            (Some(name), EventType::Put) => Change::Joined {
                name,
                lease: kv.lease(),
            },
            (Some(name), EventType::Delete) => Change::Gone { name },
            (None, EventType::Put) => Change::State(self.state_of(kv)?),
            (None, EventType::Delete) => return Err(self.not_a_barrier(kv)),
        };
        Ok(Some((kv.mod_revision(), change)))
    }

    pub(crate) fn found(&self, on_loss: OnLoss, answer: &GetResponse) -> Result<View, Error> {
        let mut state = None;
        let mut live = BTreeMap::new();
        for kv in answer.kvs() {
            match self.name_of(kv)? {
                Some(name) => drop(live.insert(name, live_of(kv))),
                None => state = Some((kv.mod_revision(), self.state_of(kv)?)),
            }
        }
        let revision = answer.header().map_or(0, |header| header.revision());
        Ok(View::found(on_loss, revision, live, state))
    }

    pub(crate) fn live_in(&self, answer: &GetResponse) -> Result<BTreeMap<Arc<str>, Live>, Error> {
        let mut live = BTreeMap::new();
        for kv in answer.kvs() {
            if let Some(name) = self.name_of(kv)? {
                live.insert(name, live_of(kv));
            }
        }
        Ok(live)
    }

    /// None for the key of the state.
    fn name_of(&self, kv: &KeyValue) -> Result<Option<Arc<str>>, Error> {
        let key = kv.key_str().map_err(|_| self.not_a_barrier(kv))?;
        let rest = (key.strip_prefix(&*self.barrier)).and_then(|rest| rest.strip_prefix('/'));
        match rest {
            Some("state") => Ok(None),
            Some(rest) => match rest.strip_prefix("live/") {
                Some(name) => Ok(Some(name.into())),
                None => Err(self.not_a_barrier(kv)),
            },
            None => Err(self.not_a_barrier(kv)),
        }
    }

    fn state_of(&self, kv: &KeyValue) -> Result<State, Error> {
        let text = kv.value_str().ok();
        text.and_then(State::parse)
            .ok_or_else(|| self.not_a_barrier(kv))
    }

    fn not_a_barrier(&self, kv: &KeyValue) -> Error {
        Error::NotABarrier {
            key: String::from_utf8_lossy(kv.key()).into_owned(),
        }
    }
}

fn live_of(kv: &KeyValue) -> Live {
    Live {
        lease: kv.lease(),
        since: kv.mod_revision(),
    }
}

/// Names are parts of keys.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    match name.is_empty() || name.contains(|char: char| char == '/' || char.is_control()) {
        true => Err(Error::InvalidName {
            name: name.escape_default().to_string(),
        }),
        false => Ok(()),
    }
}
