//! What a process knows. It is a function of the events of `NAME/live/` and `NAME/state` in etcd's order, so all
//! processes that see all events agree.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::OnLoss;

/// The value of `NAME/state`: as text, `KIND GENERATION PROCESSES AT LEASE NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    /// How many generations are complete.
    pub(crate) generation: u64,
    /// The number of live processes that the completing process knew.
    pub(crate) processes: usize,
    /// The revision at which the last generation was completed; 0 if it is that of this value.
    pub(crate) at: i64,
    /// The lease and name of the process that completed it, or of the one whose loss broke the barrier.
    pub(crate) lease: i64,
    pub(crate) name: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Complete,
    /// The last generation is complete, and its leader has not released the others.
    Held,
    Lost,
}

impl State {
    /// The number of generations from which all processes have been released.
    pub(crate) fn released(&self) -> u64 {
        match self.kind {
            Kind::Held => self.generation - 1,
            Kind::Complete | Kind::Lost => self.generation,
        }
    }

    /// The generation that is complete, and whose processes have not been released.
    pub(crate) fn held(&self) -> Option<u64> {
        (self.kind == Kind::Held).then(|| self.released())
    }

    pub(crate) fn parse(text: &str) -> Option<State> {
        let mut words = text.splitn(6, ' ');
        let mut next = || words.next();
        Some(State {
            kind: match next()? {
                "complete" => Kind::Complete,
                "held" => Kind::Held,
                "lost" => Kind::Lost,
                _ => return None,
            },
            generation: next()?.parse().ok()?,
            processes: next()?.parse().ok()?,
            at: next()?.parse().ok()?,
            lease: next()?.parse().ok()?,
            name: next()?.into(),
        })
        // A generation that is held is complete.
        .filter(|state| (state.kind, state.generation) != (Kind::Held, 0))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Complete => "complete",
            Kind::Held => "held",
            Kind::Lost => "lost",
        };
        let State {
            generation,
            processes,
            at,
            lease,
            name,
            ..
        } = self;
        write!(f, "{kind} {generation} {processes} {at} {lease} {name}")
    }
}

/// Before the first generation is complete.
impl Default for State {
    fn default() -> State {
        State {
            kind: Kind::Complete,
            generation: 0,
            processes: 0,
            at: 0,
            lease: 0,
            name: "".into(),
        }
    }
}

/// A live process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) lease: i64,
    /// The revision at which it joined.
    pub(crate) since: i64,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Joined { name: Arc<str>, lease: i64 },
    Gone { name: Arc<str> },
    State(State),
}

#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) on_loss: OnLoss,
    /// Of the last event. All events up to there are known.
    pub(crate) revision: i64,
    pub(crate) live: BTreeMap<Arc<str>, Live>,
    /// The last state that counts. After a loss has broken the barrier no other does.
    pub(crate) state: State,
    /// The revision of the value of `NAME/state`, also where it does not count.
    pub(crate) state_revision: i64,
    /// Processes counted in the last generation.
    pub(crate) counted: usize,
    /// The revision at which that was completed.
    completed_at: i64,
    /// The process whose loss has broken the barrier.
    pub(crate) lost: Option<Option<Arc<str>>>,
    last_gone: Option<Arc<str>>,
}

impl View {
    /// Nothing is known yet.
    pub(crate) fn new(on_loss: OnLoss) -> View {
        View {
            on_loss,
            revision: 0,
            live: BTreeMap::new(),
            state: State::default(),
            state_revision: 0,
            counted: 0,
            completed_at: 0,
            lost: None,
            last_gone: None,
        }
    }

    /// What a read has found at `revision`, for a process that has not seen the events before.
    pub(crate) fn found(
        on_loss: OnLoss,
        revision: i64,
        live: BTreeMap<Arc<str>, Live>,
        state: Option<(i64, State)>,
    ) -> View {
        let mut view = View::new(on_loss);
        view.revision = revision;
        view.live = live;
        if let Some((revision, state)) = state {
            view.state_revision = revision;
            view.completed_at = if state.at == 0 { revision } else { state.at };
            view.counted = state.processes;
            if state.kind == Kind::Lost {
                view.lost = Some((!state.name.is_empty()).then(|| state.name.clone()));
            }
            view.state = state;
        }
        view
    }

    /// The revision for which [`recall`](Self::recall) needs the live processes, if a process that was counted in
    /// the last generation has gone unseen.
    pub(crate) fn must_recall(&self) -> Option<i64> {
        let still_live = (self.live.values()).filter(|live| live.since < self.completed_at);
        (self.state.kind != Kind::Lost && still_live.count() < self.state.processes)
            .then_some(self.completed_at)
    }

    /// Takes into account which processes were live when the last generation was completed, if etcd still
    /// knows.
    pub(crate) fn recall(&mut self, live_then: Option<&BTreeMap<Arc<str>, Live>>) {
        self.counted = live_then.map_or(self.state.processes, BTreeMap::len);
        if self.on_loss == OnLoss::Fail {
            let gone = (live_then.into_iter().flatten())
                .find(|(name, then)| self.live.get(*name) != Some(*then));
            self.lost = Some(gone.map(|(name, _)| name.clone()));
            // The generation does not count without all processes that the completing one knew. If etcd
            // does not know any more, no process is told that it does.
            if live_then.is_none_or(|then| then.len() < self.state.processes) {
                self.state.generation -= 1;
                self.state.kind = Kind::Complete;
            }
        }
    }

    /// Names the lost process from what was known before, if etcd could not.
    pub(crate) fn name_the_lost(&mut self, before: &View) {
        if let Some(lost @ None) = &mut self.lost {
            let counted = (before.live.iter()).filter(|(_, live)| live.since < before.completed_at);
            *lost = { counted }
                .map(|(name, _)| name)
                .find(|name| !self.live.contains_key(*name))
                .cloned();
        }
    }

    pub(crate) fn is_live(&self, name: &str, lease: i64) -> bool {
        self.live.get(name).is_some_and(|live| live.lease == lease)
    }

    pub(crate) fn apply(&mut self, revision: i64, change: Change) {
        self.revision = self.revision.max(revision);
        match change {
            Change::Joined { name, lease } => {
                let since = revision;
                self.live.insert(name, Live { lease, since });
            }
            Change::Gone { name } => {
                let Some(gone) = self.live.remove(&name) else {
                    return;
                };
                if self.on_loss == OnLoss::Fail && gone.since < self.completed_at {
                    self.lost.get_or_insert_with(|| Some(name.clone()));
                }
                self.last_gone = Some(name);
            }
            Change::State(state) => {
                self.state_revision = revision;
                if state.kind == Kind::Lost {
                    let name = (!state.name.is_empty()).then(|| state.name.clone());
                    self.lost.get_or_insert(name);
                    // What counts is what these events say: the writer of this state may have known less.
                    self.state.generation = self.state.released();
                    self.state.kind = Kind::Lost;
                } else if self.lost.is_none() {
                    self.take(revision, state);
                }
            }
        }
    }

    fn take(&mut self, revision: i64, state: State) {
        if state.generation > self.state.generation {
            if self.on_loss == OnLoss::Fail && self.live.len() < state.processes {
                // A process has gone before the generation was completed, and the completing one did not
                // know.
                self.lost = Some(self.last_gone.clone());
                return;
            }
            self.counted = self.live.len();
            self.completed_at = revision;
        }
        self.state = state;
    }

    /// The state that breaks the barrier for processes that join later, if none does yet.
    pub(crate) fn broken(&self) -> Option<State> {
        let lost = self.lost.as_ref()?;
        (self.state.kind != Kind::Lost).then(|| State {
            kind: Kind::Lost,
            generation: self.state.released(),
            processes: self.counted,
            at: self.completed_at,
            lease: 0,
            name: lost.clone().unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(name: &str) -> Change {
        let (name, lease) = (name.into(), name.len() as i64);
        Change::Joined { name, lease }
    }

    fn gone(name: &str) -> Change {
        Change::Gone { name: name.into() }
    }

    fn state(text: &str) -> Change {
        Change::State(State::parse(text).unwrap())
    }

    fn view(on_loss: OnLoss, changes: impl IntoIterator<Item = Change>) -> View {
        let mut view = View::new(on_loss);
        for (revision, change) in (1..).zip(changes) {
            view.apply(revision, change);
        }
        view
    }

    fn lost(view: &View) -> Option<&str> {
        view.lost
            .as_ref()
            .map(|name| name.as_deref().unwrap_or("?"))
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for text in ["complete 7 4 0 12 p 3", "held 1 2 99 -5 p", "lost 0 0 0 0 "] {
            assert_eq!(State::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "complete 7 4 0 12",
            "held 0 1 0 1 p",
            "on 1 1 0 1 p",
            "lost x 0 0 0 p",
        ] {
            assert_eq!(State::parse(text), None, "{text}");
        }
    }

    #[test]
    fn processes_that_are_live_when_a_generation_is_complete_are_counted() {
        let changes = [
            joined("a"),
            joined("bb"),
            gone("a"),
            state("complete 1 2 0 2 bb"),
        ];
        let view = view(OnLoss::Continue, changes);
        assert_eq!((view.counted, view.state.released()), (1, 1));
        assert_eq!(view.lost, None);
    }

    #[test]
    fn a_generation_without_a_process_that_its_completer_knew_is_void_where_losses_break() {
        let changes = [
            joined("a"),
            joined("bb"),
            gone("a"),
            state("complete 1 2 0 2 bb"),
        ];
        let view = view(OnLoss::Fail, changes);
        assert_eq!((lost(&view), view.state.released()), (Some("a"), 0));
        assert_eq!(view.broken().unwrap().to_string(), "lost 0 0 0 0 a");
    }

    #[test]
    fn only_the_loss_of_a_process_that_was_counted_breaks() {
        let mut view = view(
            OnLoss::Fail,
            [
                joined("a"),
                joined("b"),
                gone("b"),
                state("complete 1 1 0 1 a"),
            ],
        );
        assert_eq!(view.lost, None);
        view.apply(5, joined("late"));
        view.apply(6, gone("late"));
        assert_eq!(view.lost, None);
        view.apply(7, gone("a"));
        assert_eq!(lost(&view), Some("a"));
        // What comes after does not count.
        view.apply(8, state("complete 2 1 0 1 x"));
        assert_eq!((view.state.released(), view.state_revision), (1, 8));
    }

    #[test]
    fn a_loss_while_a_generation_is_held_leaves_it_incomplete() {
        let changes = [
            joined("a"),
            joined("bb"),
            state("held 1 2 0 2 bb"),
            gone("bb"),
        ];
        let view = view(OnLoss::Fail, changes);
        assert_eq!((lost(&view), view.state.released()), (Some("bb"), 0));
        assert_eq!(view.broken().unwrap().generation, 0);
    }

    #[test]
    fn a_process_that_joins_while_a_generation_is_held_was_not_counted_in_it() {
        let mut view = view(
            OnLoss::Fail,
            [
                joined("a"),
                state("held 1 1 0 1 a"),
                joined("late"),
                state("complete 1 1 2 1 a"),
            ],
        );
        assert_eq!((view.counted, view.state.released()), (1, 1));
        view.apply(5, gone("late"));
        assert_eq!(view.lost, None);
    }

    fn found(on_loss: OnLoss, live: &[(&str, i64)], text: &str) -> View {
        let live = live.iter().map(|&(name, since)| {
            let lease = name.len() as i64;
            (name.into(), Live { lease, since })
        });
        let state = State::parse(text).unwrap();
        View::found(on_loss, 20, live.collect(), Some((10, state)))
    }

    #[test]
    fn where_all_counted_processes_are_live_nothing_needs_to_be_recalled() {
        let view = found(
            OnLoss::Fail,
            &[("a", 1), ("b", 2), ("late", 15)],
            "complete 3 2 0 1 a",
        );
        assert_eq!((view.must_recall(), view.counted), (None, 2));
        // Counted before it was released.
        let view = found(OnLoss::Fail, &[("a", 1), ("late", 9)], "complete 3 1 8 1 a");
        assert_eq!(view.must_recall(), None);
    }

    #[test]
    fn a_loss_that_was_not_seen_is_recalled() {
        let then = found(OnLoss::Fail, &[("a", 1), ("b", 2)], "complete 3 2 0 1 a").live;
        for (known, generation, name) in [(Some(&then), 3, Some("b")), (None, 2, Some("?"))] {
            let mut view = found(
                OnLoss::Fail,
                &[("a", 1), ("late", 15)],
                "complete 3 2 0 1 a",
            );
            assert_eq!(view.must_recall(), Some(10));
            view.recall(known);
            assert_eq!((lost(&view), view.state.released()), (name, generation));
        }
        // It was gone before the generation was complete.
        let then = found(OnLoss::Fail, &[("a", 1)], "complete 3 2 0 1 a").live;
        let mut view = found(OnLoss::Fail, &[("a", 1)], "complete 3 2 0 1 a");
        view.recall(Some(&then));
        assert_eq!((lost(&view), view.state.released()), (Some("?"), 2));
        // Where the others go on it is only a matter of the number.
        let mut view = found(OnLoss::Continue, &[("a", 1)], "complete 3 2 0 1 a");
        view.recall(Some(&then));
        assert_eq!(
            (view.lost.is_some(), view.counted, view.state.released()),
            (false, 1, 3)
        );
    }
}
