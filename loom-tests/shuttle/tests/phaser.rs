//! Participants that register, meet, stop waiting, leave and register again over several phases, until the phaser is
//! closed, under random schedules and under PCT.
//!
//! A failure prints its schedule; `shuttle::replay` runs that again.

mod support;

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use atomic_barrier_over_shuttle::{
    Phaser,
    phaser::{Closed, Participant, WaitResult},
};
use shuttle::{
    rand::{Rng, thread_rng},
    thread::{self, Thread},
};

use support::explore;

/// Unparks a thread, and remembers that it did. Others may run during the wake, and must not drop it.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
    wakes: AtomicUsize,
}

impl Unpark {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: thread::current(),
            woken: AtomicBool::new(false),
            wakes: AtomicUsize::new(0),
        })
    }

    /// Sleeps until this very waker is woken: a wake of an older one does not count.
    fn sleep(&self) {
        while !self.woken.swap(false, SeqCst) {
            thread::park();
        }
    }
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.fetch_add(1, SeqCst);
        self.woken.store(true, SeqCst);
        self.thread.unpark();
        thread::yield_now();
        self.wakes.fetch_sub(1, SeqCst);
    }
}

impl Drop for Unpark {
    fn drop(&mut self) {
        assert_eq!(*self.wakes.get_mut(), 0, "dropped while it is woken");
    }
}

fn poll<F: Future + Unpin>(future: &mut F, waker: &Arc<Unpark>) -> Poll<F::Output> {
    let waker = Waker::from(waker.clone());
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

/// Polls with the waker of before or with a fresh one, now and then without having been woken.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let mut waker = Unpark::new();
    loop {
        if let Poll::Ready(output) = poll(&mut future, &waker) {
            return output;
        }
        if thread_rng().gen_ratio(1, 2) {
            waker.sleep();
        }
        if thread_rng().gen_ratio(1, 2) {
            waker = Unpark::new();
        }
    }
}

/// What the tasks have done, on locks that shuttle does not see: they add no schedules.
struct Tracker {
    /// The phase in which each task has certainly not arrived, while it is a participant.
    owed: Vec<Mutex<Option<u64>>>,
    /// The phases that were led.
    led: Mutex<BTreeSet<u64>>,
}

impl Tracker {
    fn new(tasks: usize) -> Arc<Self> {
        Arc::new(Self {
            owed: (0..tasks).map(|_| Mutex::new(None)).collect(),
            led: Mutex::default(),
        })
    }

    fn owes(&self, task: usize, phase: impl Into<Option<u64>>) {
        *self.owed[task].lock().unwrap() = phase.into();
    }

    /// No participant goes on from a phase in which another has not arrived, and one at most leads it.
    fn ended(&self, phase: u64, leads: bool) {
        for owed in &self.owed {
            let owed = *owed.lock().unwrap();
            assert!(
                owed.is_none_or(|owed| owed > phase),
                "a participant is missing"
            );
        }
        let first = !leads || self.led.lock().unwrap().insert(phase);
        assert!(first, "a second leader");
    }
}

/// One participant of a phaser, and what is known of it.
struct Tracked<'a> {
    tracker: &'a Tracker,
    task: usize,
    participant: Participant,
    phase: u64,
}

impl<'a> Tracked<'a> {
    fn register(phaser: &Phaser, tracker: &'a Tracker, task: usize) -> Option<Self> {
        let participant = phaser.register().ok()?;
        Some(Self::of(participant, tracker, task))
    }

    fn of(mut participant: Participant, tracker: &'a Tracker, task: usize) -> Self {
        // It cannot end without this participant.
        let phase = participant.phase();
        tracker.owes(task, phase);
        for _ in 0..thread_rng().gen_range(0..3) {
            participant = participant.named(task.to_string());
        }
        Self {
            tracker,
            task,
            participant,
            phase,
        }
    }

    /// Whether it is among those that are missing, if it has a name.
    fn is_listed(&self) -> Option<bool> {
        let name = self.participant.name()?;
        let missing = self.participant.phaser().missing();
        Some(missing.iter().any(|listed| **listed == *name))
    }

    fn ended(&mut self, result: WaitResult) {
        assert_eq!(result.phase(), self.phase, "a phase was missed");
        self.tracker.ended(self.phase, result.is_leader());
    }

    /// Waits for one phase by random methods, and withdraws at random.
    fn wait(&mut self) -> Result<(), Closed> {
        let mut dropped_a_wait = false;
        // That phase does not end without it.
        let is_current = self.participant.phaser().phase() == self.phase;
        assert!(!is_current || self.is_listed() != Some(false));
        loop {
            self.tracker.owes(self.task, None);
            let result = match thread_rng().gen_range(0..6) {
                0 => block_on(self.participant.wait())?,
                1 => {
                    let phase = self.participant.arrive()?;
                    if phase != self.phase {
                        // The end of the phase whose wait it dropped too late is not observed.
                        assert!(dropped_a_wait && phase == self.phase + 1);
                        self.tracker.ended(self.phase, false);
                        self.phase = phase;
                    }
                    let listed = self.is_listed();
                    let is_current = self.participant.phaser().phase() == phase;
                    assert!(!is_current || listed != Some(true));
                    block_on(self.participant.wait())?
                }
                2 => self.participant.wait_blocking()?,
                3 => {
                    let leader = block_on(self.participant.wait_leader())?;
                    if let Some(leader) = &leader {
                        assert_eq!(leader.phase(), self.phase);
                        self.tracker.ended(self.phase, true);
                        thread::yield_now();
                        // A participant that is there has not gone on.
                        self.tracker.ended(self.phase, false);
                    } else {
                        self.tracker.ended(self.phase, false);
                    }
                    break;
                }
                _ => {
                    let mut wait = self.participant.wait();
                    let polls = thread_rng().gen_range(1..3);
                    let mut polled = (0..polls).map(|_| poll(&mut wait, &Unpark::new()));
                    let ready = polled.find(Poll::is_ready);
                    drop(wait);
                    if let Some(Poll::Ready(result)) = ready {
                        result?
                    } else {
                        // Withdrawn, or counted in a phase that was complete.
                        dropped_a_wait = true;
                        continue;
                    }
                }
            };
            self.ended(result);
            break;
        }
        self.phase += 1;
        self.tracker.owes(self.task, self.phase);
        Ok(())
    }
}

impl Drop for Tracked<'_> {
    fn drop(&mut self) {
        // Before its participant leaves.
        self.tracker.owes(self.task, None);
    }
}

/// Runs so many tasks, each of which registers twice, for a few phases each time.
fn register_and_leave(tasks: usize) {
    let phaser = Phaser::new();
    let tracker = Tracker::new(tasks);
    let participants = phaser.register_many(tasks).unwrap();
    for task in 0..tasks {
        tracker.owes(task, 0);
    }
    let tasks: Vec<_> = participants
        .into_iter()
        .enumerate()
        .map(|(task, participant)| {
            let (phaser, tracker) = (phaser.clone(), tracker.clone());
            thread::spawn(move || {
                let mut first = Some(Tracked::of(participant, &tracker, task));
                for _ in 0..2 {
                    let mut tracked = match first.take() {
                        Some(tracked) => tracked,
                        None => Tracked::register(&phaser, &tracker, task).unwrap(),
                    };
                    for _ in 0..thread_rng().gen_range(0..4) {
                        tracked.wait().unwrap();
                    }
                    if thread_rng().gen_ratio(1, 3) {
                        // Leaves in the middle of a wait.
                        let mut wait = tracked.participant.wait();
                        tracker.owes(task, None);
                        let _ = poll(&mut wait, &Unpark::new());
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.join().unwrap();
    }
    assert_eq!((phaser.parties(), phaser.arrived()), (0, 0));
    let last = tracker.led.lock().unwrap().last().copied();
    assert!(last.is_none_or(|last| last < phaser.phase()));
}

/// Runs so many tasks, some of which leave and register again, until they are closed after some phases.
fn continue_until_closed(tasks: usize) {
    let phaser = Phaser::new();
    let tracker = Tracker::new(tasks);
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let (phaser, tracker) = (phaser.clone(), tracker.clone());
            thread::spawn(move || {
                while let Some(mut tracked) = Tracked::register(&phaser, &tracker, task) {
                    while tracked.wait().is_ok() && thread_rng().gen_ratio(3, 4) {}
                }
            })
        })
        .collect();
    block_on(phaser.observe(2)).unwrap();
    phaser.close();
    let closed_in = phaser.phase();
    for task in tasks {
        task.join().unwrap();
    }
    assert_eq!((phaser.parties(), phaser.arrived()), (0, 0));
    // A phase that was complete has ended since.
    let end = phaser.phase();
    assert!(end == closed_in || end == closed_in + 1);
    assert!(block_on(phaser.observe(end)).is_err());
}

#[test]
fn four_tasks_that_register_and_leave() {
    explore(1_000, || register_and_leave(4));
}

#[test]
fn eight_tasks_that_register_and_leave() {
    explore(300, || register_and_leave(8));
}

#[test]
fn four_tasks_that_are_closed() {
    explore(1_000, || continue_until_closed(4));
}

#[test]
fn eight_tasks_that_are_closed() {
    explore(300, || continue_until_closed(8));
}
