//! Victims at a phaser.

use std::{
    mem,
    pin::pin,
    task::{Poll, Waker},
    time::Duration,
};

use shuttle::thread;

use atomic_barrier_over_shuttle::phaser::{Participant, Phaser};

use crate::{
    scene::{
        Scene, Started, Step, block_on, ignored, keep, poll, stall_from_here, stall_until_here,
    },
    table::check,
};

const IT_GOES_ON: &str = "it goes on";

/// What a wait has brought: its phase and whether it has led, or nothing if closed.
type Result = Option<(u64, bool)>;

type Rescue = (&'static str, fn(&Setup<'_>) -> Started<()>);

/// A phaser, and all that wait for it.
struct Setup<'a> {
    scene: &'a Scene,
    phaser: Phaser,
    /// Registered before anyone waits.
    participants: Vec<Participant>,
    waits: Vec<(&'static str, Started<Result>)>,
    /// What others do while the victim is stalled, which may end what it keeps.
    rescue: Option<Rescue>,
}

/// What has come of the victim when it is stalled.
#[derive(Debug)]
struct Facts {
    phase: u64,
    parties: usize,
    arrived: usize,
    is_closed: bool,
    /// Another participant has led phase 0.
    other_leads: bool,
    wakes_left: usize,
    /// How many others have not ended.
    left: usize,
    /// The rescue has ended what the victim kept.
    was_rescued: bool,
    /// The victim's call has ended.
    has_ended: bool,
}

impl<'a> Setup<'a> {
    /// A phaser with so many participants.
    fn new(scene: &'a Scene, participants: usize) -> Self {
        Self::with(scene, participants, Phaser::new())
    }

    /// The same, and its phases have an action.
    fn acting(scene: &'a Scene, participants: usize) -> Self {
        // Its victim may be stalled here, too.
        let phaser = Phaser::builder().on_phase(|_, _| thread::yield_now());
        Self::with(scene, participants, phaser.build())
    }

    fn with(scene: &'a Scene, participants: usize, phaser: Phaser) -> Self {
        Self {
            scene,
            participants: phaser.register_many(participants).unwrap(),
            phaser,
            waits: vec![],
            rescue: None,
        }
    }

    fn participant(&mut self) -> Participant {
        self.participants.pop().expect("registered")
    }

    fn wait(&mut self, kind: &'static str, wait: impl FnOnce(Phaser) -> Result + Send + 'static) {
        let phaser = self.phaser.clone();
        self.waits.push((kind, self.scene.other(|| wait(phaser))));
    }

    /// Starts participants that wait.
    fn participants(&mut self, count: usize, wait: fn(&mut Participant) -> Result) {
        for _ in 0..count {
            let mut participant = self.participant();
            self.wait("participants of its phase", move |_| {
                let result = wait(&mut participant);
                keep(participant);
                result
            });
        }
    }

    /// Starts an observer of phase 0.
    fn observer(&mut self) {
        self.wait("observers of its phase", |phaser| {
            block_on(phaser.observe(0)).ok().map(|()| (0, false))
        });
    }

    /// Starts participants that wait before anyone else comes.
    fn waiters(&mut self, count: usize) {
        self.participants(count, wait);
        self.scene.settle();
    }

    /// Starts a victim that is a participant.
    fn victim(&mut self, act: fn(Participant)) -> Started<()> {
        let participant = self.participant();
        self.scene.victim(move || act(participant))
    }

    /// Starts a victim that is no participant.
    fn no_participant(&self, act: fn(Phaser)) -> Started<()> {
        let phaser = self.phaser.clone();
        self.scene.victim(move || act(phaser))
    }

    fn left(&self) -> Vec<&'static str> {
        let left = self.waits.iter().filter(|(_, wait)| !wait.has_ended());
        left.map(|(kind, _)| *kind).collect()
    }

    fn find(mut self, victim: &Started<()>, step: fn(&Facts) -> Step) {
        self.scene.act();
        let mut results = self.waits.iter().filter_map(|(_, wait)| wait.result()?);
        let mut facts = Facts {
            phase: self.phaser.phase(),
            parties: self.phaser.parties(),
            arrived: self.phaser.arrived(),
            is_closed: self.phaser.is_closed(),
            other_leads: results.any(|(phase, leads)| phase == 0 && leads),
            wakes_left: victim.wakes(),
            left: self.left().len(),
            was_rescued: false,
            has_ended: self.scene.victim_is_done(),
        };
        let left = self.left();

        let mut until = IT_GOES_ON;
        if let (Some((name, rescue)), false) = (self.rescue.take(), left.is_empty()) {
            let rescuer = rescue(&self);
            self.scene.settle();
            assert!(rescuer.has_ended(), "the rescue does not come back");
            if self.left().is_empty() {
                until = name;
                facts.was_rescued = true;
            }
        }

        self.scene.resume();
        facts.wakes_left = victim.wakes() - facts.wakes_left;
        self.scene.found(step(&facts), left, until);
    }
}

fn wait(participant: &mut Participant) -> Result {
    let result = block_on(participant.wait()).ok()?;
    Some((result.phase(), result.is_leader()))
}

/// For a victim that arrives in phase 0, with two others.
fn arrival(facts: &Facts) -> Step {
    match facts {
        Facts {
            phase: 0,
            arrived: 2,
            ..
        } => Step::NotCounted,
        Facts { phase: 0, .. } => Step::Holds,
        Facts {
            other_leads: true, ..
        } => Step::Counted,
        Facts { wakes_left: 0, .. } => Step::HasWoken,
        _ => Step::Wakes,
    }
}

/// For a victim whose step makes no difference.
fn anywhere(_: &Facts) -> Step {
    Step::Anywhere
}

/// For a victim that holds the release.
fn held(facts: &Facts) -> Step {
    match facts {
        Facts { phase: 0, .. } => Step::Holds,
        Facts { wakes_left: 0, .. } => Step::HasWoken,
        _ => Step::Wakes,
    }
}

/// Finds whom a participant keeps beside two others that wait, and observers.
fn beside_two(scene: &Scene, observers: usize, step: fn(&Facts) -> Step, act: fn(Participant)) {
    find_beside_two(Setup::new(scene, 3), observers, step, act);
}

fn find_beside_two(
    mut setup: Setup<'_>,
    observers: usize,
    step: fn(&Facts) -> Step,
    act: fn(Participant),
) {
    let victim = setup.victim(act);
    setup.participants(2, wait);
    for _ in 0..observers {
        setup.observer();
    }
    setup.find(&victim, step);
}

/// Finds whom an observer keeps beside two participants that wait, and another observer.
fn observer_beside_two(scene: &Scene, act: fn(Phaser)) {
    let mut setup = Setup::new(scene, 2);
    let victim = setup.no_participant(act);
    setup.participants(2, wait);
    setup.observer();
    setup.find(&victim, anywhere);
}

#[test]
fn register() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 2);
        let victim = setup.no_participant(|phaser| {
            stall_from_here();
            let participant = phaser.register();
            stall_until_here();
            drop(participant);
        });
        setup.participants(2, wait);
        setup.find(&victim, |facts| match facts {
            Facts { parties: 2, .. } => Step::NotRegistered,
            _ => Step::NotCounted,
        });
    }
    check("phaser: register", &[scenario]);
}

#[test]
fn first_poll() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 1, arrival, |mut participant| {
            let mut wait = pin!(participant.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
    }
    check("phaser: first poll", &[scenario]);
}

#[test]
fn later_poll_with_the_same_waker() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 1, arrival, |mut participant| {
            let mut wait = pin!(participant.wait());
            let waker = ignored();
            assert!(poll(wait.as_mut(), &waker).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &waker);
            stall_until_here();
        });
    }
    check("phaser: later poll with the same waker", &[scenario]);
}

#[test]
fn later_poll_with_another_waker() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 1, arrival, |mut participant| {
            let mut wait = pin!(participant.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
    }
    check("phaser: later poll with another waker", &[scenario]);
}

#[test]
fn drop_of_a_wait() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 0, arrival, |mut participant| {
            let mut wait = Box::pin(participant.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(wait);
            stall_until_here();
        });
    }
    check("phaser: drop of a wait", &[scenario]);
}

#[test]
fn arrive() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 1, arrival, |mut participant| {
            stall_from_here();
            let _ = participant.arrive();
            stall_until_here();
        });
    }
    check("phaser: arrive", &[scenario]);
}

#[test]
fn arrive_after_a_leaked_wait() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 2);
        setup.observer();
        let leaves = setup.participant();
        let victim = setup.victim(|mut participant| {
            let mut wait = Box::pin(participant.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            mem::forget(wait);
            stall_from_here();
            let _ = participant.arrive();
            stall_until_here();
        });
        scene.other(move || leaves.leave());
        setup.find(&victim, |facts| match facts {
            Facts {
                has_ended: true, ..
            } => Step::HasEnded,
            _ => Step::Counted,
        });
    }
    check("phaser: arrive after a leaked wait", &[scenario]);
}

#[test]
fn hold() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 1, arrival, |mut participant| {
            let mut wait = pin!(participant.wait_leader());
            stall_from_here();
            let leader = poll(wait.as_mut(), &ignored());
            stall_until_here();
            drop(leader);
        });
    }
    check("phaser: hold", &[scenario]);
}

#[test]
fn release() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 3);
        setup.waiters(2);
        setup.observer();
        let victim = setup.victim(|mut participant| {
            let mut wait = pin!(participant.wait_leader());
            let leader = poll(wait.as_mut(), &ignored());
            assert!(matches!(leader, Poll::Ready(Ok(Some(_)))));
            stall_from_here();
            drop(leader);
            stall_until_here();
        });
        setup.find(&victim, held);
    }
    check("phaser: release", &[scenario]);
}

#[test]
fn arrive_with_an_action() {
    fn scenario(scene: &Scene) {
        find_beside_two(Setup::acting(scene, 3), 1, arrival, |mut participant| {
            stall_from_here();
            let _ = participant.arrive();
            stall_until_here();
        });
    }
    check("phaser: arrive, with an action", &[scenario]);
}

/// The victim completes the phase, and leaves the next one.
#[test]
fn leave_with_an_action() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::acting(scene, 3);
        setup.waiters(2);
        setup.observer();
        let victim = setup.victim(|participant| {
            stall_from_here();
            participant.leave();
            stall_until_here();
        });
        setup.find(&victim, |facts| match facts {
            Facts {
                phase: 0,
                arrived: 2,
                ..
            } => Step::NotCounted,
            facts => held(facts),
        });
    }
    check("phaser: leave, with an action", &[scenario]);
}

#[test]
fn blocking_leader() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 1, arrival, |mut participant| {
            stall_from_here();
            let leader = participant.wait_leader_blocking();
            stall_until_here();
            drop(leader);
        });
    }
    check("phaser: blocking leader", &[scenario]);
}

#[test]
fn blocking_observer() {
    fn scenario(scene: &Scene) {
        observer_beside_two(scene, |phaser| {
            stall_from_here();
            let _ = phaser.observe(0).wait_blocking();
            stall_until_here();
        });
    }
    check("phaser: blocking observer", &[scenario]);
}

#[test]
fn blocking_wait() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 0, arrival, |mut participant| {
            stall_from_here();
            let _ = participant.wait_blocking();
            stall_until_here();
        });
    }
    check("phaser: blocking wait", &[scenario]);
}

#[test]
fn timeout() {
    fn scenario(scene: &Scene) {
        beside_two(scene, 0, arrival, |mut participant| {
            stall_from_here();
            let _ = participant.wait_blocking_timeout(Duration::ZERO);
            stall_until_here();
        });
    }
    check("phaser: timeout", &[scenario]);
}

/// Others that look who is missing, while one of the participants gets another name and one leaves.
fn beside_names(scene: &Scene, step: fn(&Facts) -> Step, act: fn(Participant)) {
    let mut setup = Setup::new(scene, 5);
    let [leaves, other] = [(); 2].map(|()| setup.participant().named("other"));
    let victim = setup.participant().named("victim");
    let victim = scene.victim(move || act(victim));
    setup.participants(2, wait);
    setup.wait("others that look who is missing", |phaser| {
        drop(phaser.missing());
        None
    });
    scene.other(move || drop(leaves));
    scene.other(move || _ = other.named("another").arrive());
    setup.find(&victim, step);
}

#[test]
fn missing() {
    fn scenario(scene: &Scene) {
        beside_names(scene, anywhere, |mut participant| {
            participant.arrive().unwrap();
            stall_from_here();
            drop(participant.phaser().missing());
            stall_until_here();
        });
    }
    check("phaser: missing", &[scenario]);
}

#[test]
fn arrive_with_a_name() {
    fn scenario(scene: &Scene) {
        beside_names(
            scene,
            |facts| match facts {
                Facts { phase: 0, .. } => Step::NotCounted,
                Facts { wakes_left: 0, .. } => Step::HasWoken,
                _ => Step::Wakes,
            },
            |participant| {
                stall_from_here();
                let mut participant = participant.named("again");
                let _ = participant.arrive();
                stall_until_here();
            },
        );
    }
    check("phaser: another name, and arrive", &[scenario]);
}

/// For a victim that leaves while two others wait.
fn departure(facts: &Facts) -> Step {
    match facts {
        Facts { parties: 3, .. } => Step::NotCounted,
        Facts { wakes_left: 0, .. } => Step::HasWoken,
        _ => Step::Wakes,
    }
}

#[test]
fn leave() {
    fn begin<'a>(scene: &'a Scene) -> (Setup<'a>, Started<()>) {
        let mut setup = Setup::new(scene, 3);
        setup.waiters(2);
        setup.observer();
        let victim = setup.victim(|participant| {
            stall_from_here();
            participant.leave();
            stall_until_here();
        });
        (setup, victim)
    }
    fn another_leaves(scene: &Scene) {
        let (mut setup, victim) = begin(scene);
        setup.rescue = Some(("another registers and leaves", |setup| {
            let phaser = setup.phaser.clone();
            setup.scene.other(move || drop(phaser.register()))
        }));
        setup.find(&victim, departure);
    }
    fn two_others_meet(scene: &Scene) {
        let (mut setup, victim) = begin(scene);
        setup.rescue = Some(("two others register and meet", |setup| {
            let phaser = setup.phaser.clone();
            let has_left = phaser.parties() == 2;
            setup.scene.other(move || {
                let [mut one, mut other] = [(); 2].map(|()| phaser.register().unwrap());
                if has_left {
                    let mut waits = pin!(one.wait());
                    let _ = poll(waits.as_mut(), &ignored());
                    block_on(other.wait()).unwrap();
                    block_on(waits).unwrap();
                }
            })
        }));
        setup.find(&victim, departure);
    }
    fn polled(scene: &Scene) {
        let (mut setup, victim) = begin(scene);
        setup.rescue = Some(("a participant is polled", |setup| {
            let waker = setup.waits[0].1.waker();
            setup
                .scene
                .other(|| waker.into_iter().for_each(Waker::wake))
        }));
        setup.find(&victim, departure);
    }
    check("phaser: leave", &[another_leaves, two_others_meet, polled]);
}

#[test]
fn leave_when_nobody_waits() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 2);
        setup.observer();
        let victim = setup.victim(|participant| {
            stall_from_here();
            participant.leave();
            stall_until_here();
        });
        let mut arrives = setup.participant();
        scene.other(move || {
            arrives.arrive().unwrap();
            arrives.leave();
        });
        // Whatever the victim still has to do, it is not missing in the next phase.
        setup.rescue = Some(("another leads the next phase", |setup| {
            let phaser = setup.phaser.clone();
            setup.scene.other(move || {
                let mut another = phaser.register().unwrap();
                if another.phase() > 0 {
                    block_on(another.wait()).unwrap();
                }
            })
        }));
        setup.find(&victim, |facts| match facts {
            Facts { phase: 0, .. } => Step::NotCounted,
            Facts { wakes_left: 0, .. } => Step::HasWoken,
            _ => Step::Wakes,
        });
    }
    check("phaser: leave when nobody waits", &[scenario]);
}

#[test]
fn leave_after_an_arrival() {
    fn arrived(scene: &Scene) {
        beside_two(scene, 0, anywhere, |mut participant| {
            participant.arrive().unwrap();
            stall_from_here();
            participant.leave();
            stall_until_here();
        });
    }
    fn waits(scene: &Scene) {
        beside_two(scene, 0, anywhere, |mut participant| {
            let mut wait = Box::pin(participant.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            mem::forget(wait);
            stall_from_here();
            participant.leave();
            stall_until_here();
        });
    }
    check("phaser: leave after an arrival", &[arrived, waits]);
}

#[test]
fn leave_while_holding() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 3);
        setup.waiters(2);
        setup.observer();
        let victim = setup.victim(|mut participant| {
            let mut wait = Box::pin(participant.wait_leader());
            let leader = poll(wait.as_mut(), &ignored());
            assert!(matches!(leader, Poll::Ready(Ok(Some(_)))));
            mem::forget(leader);
            drop(wait);
            stall_from_here();
            participant.leave();
            stall_until_here();
        });
        setup.find(&victim, held);
    }
    check("phaser: leave while holding", &[scenario]);
}

/// The phase is completed by a departure, and the victim comes to lead it.
#[test]
fn lead() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 3);
        setup.waiters(1);
        setup.observer();
        let leaves = setup.participant();
        let victim = setup.victim(|mut participant| {
            let mut wait = pin!(participant.wait());
            let waker = ignored();
            assert!(poll(wait.as_mut(), &waker).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &waker);
            stall_until_here();
        });
        scene.other(move || leaves.leave());
        setup.find(&victim, |facts| match facts {
            Facts {
                other_leads: true, ..
            } => Step::Counted,
            Facts { wakes_left: 0, .. } => Step::HasWoken,
            _ => Step::Wakes,
        });
    }
    check("phaser: lead", &[scenario]);
}

/// The phase may be completed by a departure, and ended by the victim, if nobody else waits.
#[test]
fn drop_of_a_wait_of_a_complete_phase() {
    fn scenario<const OTHERS: usize>(scene: &Scene) {
        let mut setup = Setup::new(scene, 2 + OTHERS);
        setup.waiters(OTHERS);
        setup.observer();
        let leaves = setup.participant();
        let victim = setup.victim(|mut participant| {
            let mut wait = Box::pin(participant.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(wait);
            stall_until_here();
        });
        scene.other(move || leaves.leave());
        setup.find(&victim, |facts| match facts {
            facts if facts.phase == 0 && facts.arrived < facts.parties => Step::NotCounted,
            Facts { phase: 0, .. } => Step::Counted,
            Facts {
                other_leads: true, ..
            } => Step::Counted,
            Facts { wakes_left: 0, .. } => Step::HasWoken,
            _ => Step::Wakes,
        });
    }
    let scenarios: [fn(&Scene); 2] = [scenario::<0>, scenario::<1>];
    check("phaser: drop of a wait, another leaves", &scenarios);
}

#[test]
fn observe() {
    fn first(scene: &Scene) {
        observer_beside_two(scene, |phaser| {
            let mut observation = pin!(phaser.observe(0));
            stall_from_here();
            let _ = poll(observation.as_mut(), &ignored());
            stall_until_here();
        });
    }
    fn later(scene: &Scene) {
        observer_beside_two(scene, |phaser| {
            let mut observation = pin!(phaser.observe(0));
            assert!(poll(observation.as_mut(), &ignored()).is_pending());
            stall_from_here();
            let _ = poll(observation.as_mut(), &ignored());
            stall_until_here();
        });
    }
    fn dropped(scene: &Scene) {
        observer_beside_two(scene, |phaser| {
            let mut observation = Box::pin(phaser.observe(0));
            assert!(poll(observation.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(observation);
            stall_until_here();
        });
    }
    check("phaser: observe", &[first, later, dropped]);
}

#[test]
fn close() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 3);
        setup.waiters(2);
        setup.observer();
        scene.settle();
        let victim = setup.no_participant(|phaser| {
            stall_from_here();
            phaser.close();
            stall_until_here();
        });
        let mut arrives = setup.participant();
        scene.other(move || {
            let _ = arrives.arrive();
            keep(arrives);
        });
        setup.rescue = Some(("another closes", |setup| {
            let phaser = setup.phaser.clone();
            setup.scene.other(move || phaser.close())
        }));
        setup.find(&victim, |facts| match facts {
            Facts {
                is_closed: false, ..
            } => Step::NotClosed,
            Facts {
                was_rescued: true, ..
            } => Step::Closed,
            Facts { wakes_left: 0, .. } => Step::HasWoken,
            Facts { left: 0, .. } => Step::Closed,
            _ => Step::InHand,
        });
    }
    check("phaser: close", &[scenario]);
}
