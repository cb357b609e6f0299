//! Victims at a barrier.

use std::{mem, pin::pin, sync::Arc, task::Poll, time::Duration};

use atomic_barrier_over_shuttle::{Barrier, BarrierWaitResult};

use crate::{
    scene::{Scene, Started, Step, block_on, ignored, poll, stall_from_here, stall_until_here},
    table::check,
};

/// A barrier, and all that wait for it.
struct Meeting<'a> {
    scene: &'a Scene,
    barrier: Arc<Barrier>,
    parties: Vec<Started<BarrierWaitResult>>,
    /// Generation 0 is led by a party that is none of them.
    is_led: bool,
}

/// What has come of the victim when it is stalled.
struct Facts {
    /// The arrivals that are no other party's.
    arrivals: i64,
    /// It has completed a generation.
    leads: bool,
    /// A release is held.
    is_held: bool,
    /// How often it has woken others.
    wakes: usize,
}

impl<'a> Meeting<'a> {
    fn new(scene: &'a Scene, n: usize) -> Self {
        Self {
            scene,
            barrier: Arc::new(Barrier::new(n)),
            parties: vec![],
            is_led: false,
        }
    }

    /// Starts so many parties.
    fn parties(&mut self, count: usize, wait: fn(Arc<Barrier>) -> BarrierWaitResult) {
        for _ in 0..count {
            let barrier = self.barrier.clone();
            self.parties.push(self.scene.other(move || wait(barrier)));
        }
    }

    /// Starts parties that wait before anyone else comes.
    fn waiters(&mut self, count: usize) {
        self.parties(count, wait);
        self.scene.settle();
    }

    fn victim(&self, act: fn(&Barrier)) -> Started<()> {
        let barrier = self.barrier.clone();
        self.scene.victim(move || act(&barrier))
    }

    /// Lets all go on until none can, and tells what the victim has done by then.
    fn facts(&self, victim: &Started<()>) -> Facts {
        self.scene.act();
        let parties = self.barrier.parties();
        let arrived = self.barrier.arrived();
        let generations = self.barrier.generation();
        let all = generations as usize * parties + arrived;
        Facts {
            arrivals: all as i64 - (self.parties.len() + usize::from(self.is_led)) as i64,
            leads: generations > self.led().count() as u64,
            is_held: arrived == parties,
            wakes: victim.wakes(),
        }
    }

    /// The generations that others have led.
    fn led(&self) -> impl Iterator<Item = u64> {
        let results = self.parties.iter().filter_map(Started::result);
        let led = results.filter(BarrierWaitResult::is_leader);
        let led = led.map(|result| result.generation());
        led.chain(self.is_led.then_some(0))
    }

    /// Lets a visitor complete the generation, as far as that can be, and returns who is left.
    fn left(&self) -> Vec<usize> {
        let barrier = self.barrier.clone();
        let visitor = self.scene.other(move || {
            for _ in 0..2 * barrier.parties() {
                if barrier.arrived() != 0 {
                    drop(barrier.arrive());
                }
            }
        });
        self.scene.settle();
        assert!(visitor.has_ended(), "an arrival does not come back");
        let left = self.parties.iter().enumerate();
        let left = left.filter(|(_, party)| !party.has_ended());
        left.map(|(index, _)| index).collect()
    }

    /// Finds whom the victim keeps, and then lets it go on, and all others to their end.
    fn find(self, victim: &Started<()>, step: fn(&Facts, usize) -> Step) {
        let facts = self.facts(victim);
        let left = self.left();
        let led: Vec<u64> = self.led().collect();

        self.scene.resume();
        while !victim.has_ended() || !self.parties.iter().all(Started::has_ended) {
            let arrived = self.barrier.arrived();
            assert!(
                arrived != 0,
                "somebody is left in a generation that is over"
            );
            drop(self.barrier.arrive());
            self.scene.settle();
        }

        let mut generations = 0..self.barrier.generation();
        let own = generations.find(|generation| !led.contains(generation));
        let step = step(&facts, victim.wakes() - facts.wakes);
        let kept = left.iter().map(|&party| {
            let result = self.parties[party].result().expect("all have ended");
            match (step, own) {
                (Step::Helps, _) if result.generation() == 0 => "waiters of its generation",
                (Step::Wakes | Step::Holds, Some(own)) if result.generation() == own => {
                    "waiters of its generation"
                }
                (Step::Wakes | Step::Holds, _) => "parties of the next generation",
                _ => "strangers",
            }
        });
        self.scene.found(step, kept, "it goes on");
    }
}

fn wait(barrier: Arc<Barrier>) -> BarrierWaitResult {
    block_on(barrier.wait_owned())
}

/// For a victim that arrives.
fn arrival(facts: &Facts, wakes_left: usize) -> Step {
    match facts {
        Facts { leads: true, .. } if wakes_left > 0 => Step::Wakes,
        Facts { leads: true, .. } => Step::HasWoken,
        Facts { arrivals: 0, .. } => Step::NotCounted,
        _ if wakes_left > 0 => Step::Helps,
        _ => Step::Counted,
    }
}

/// For a victim that was a waiter already.
fn waiter(_: &Facts, wakes_left: usize) -> Step {
    if wakes_left > 0 {
        Step::Helps
    } else {
        Step::Anywhere
    }
}

#[test]
fn first_poll() {
    fn scenario<const N: usize>(scene: &Scene) {
        let mut meeting = Meeting::new(scene, N);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
        meeting.parties(N, wait);
        meeting.find(&victim, arrival);
    }
    check("barrier: first poll", &[scenario::<2>, scenario::<3>]);
}

#[test]
fn later_poll_with_the_same_waker() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 3);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            let waker = ignored();
            assert!(poll(wait.as_mut(), &waker).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &waker);
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, waiter);
    }
    check("barrier: later poll with the same waker", &[scenario]);
}

#[test]
fn later_poll_with_another_waker() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 3);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, waiter);
    }
    check("barrier: later poll with another waker", &[scenario]);
}

#[test]
fn drop_of_a_wait() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        let victim = meeting.victim(|barrier| {
            let mut wait = Box::pin(barrier.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(wait);
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, arrival);
    }
    check("barrier: drop of a wait", &[scenario]);
}

#[test]
fn arrive() {
    fn scenario<const N: usize>(scene: &Scene) {
        let mut meeting = Meeting::new(scene, N);
        let victim = meeting.victim(|barrier| {
            stall_from_here();
            mem::forget(barrier.arrive());
            stall_until_here();
        });
        meeting.parties(N, wait);
        meeting.find(&victim, arrival);
    }
    check("barrier: arrive", &[scenario::<2>, scenario::<3>]);
}

#[test]
fn poll_of_an_arrival() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 3);
        let victim = meeting.victim(|barrier| {
            let mut arrival = pin!(barrier.arrive());
            stall_from_here();
            let _ = poll(arrival.as_mut(), &ignored());
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, waiter);
    }
    check("barrier: poll of an `Arrival`", &[scenario]);
}

#[test]
fn drop_of_an_arrival() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        let victim = meeting.victim(|barrier| {
            let mut arrival = Box::pin(barrier.arrive());
            assert!(poll(arrival.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(arrival);
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, waiter);
    }
    check("barrier: drop of an `Arrival`", &[scenario]);
}

#[test]
fn drain() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 3);
        meeting.waiters(2);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
        meeting.parties(1, wait);
        meeting.find(&victim, arrival);
    }
    check("barrier: drain", &[scenario]);
}

#[test]
fn help() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 4);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            let waker = ignored();
            assert!(poll(wait.as_mut(), &waker).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &waker);
            stall_until_here();
        });
        meeting.waiters(2);
        meeting.parties(1, wait);
        meeting.find(&victim, waiter);
    }
    check("barrier: help", &[scenario]);
}

#[test]
fn hold() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        meeting.waiters(1);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait_leader());
            stall_from_here();
            let leader = poll(wait.as_mut(), &ignored());
            stall_until_here();
            drop(leader);
        });
        meeting.parties(3, wait);
        meeting.find(&victim, |facts, wakes_left| match facts {
            Facts { is_held: true, .. } => Step::Holds,
            facts => arrival(facts, wakes_left),
        });
    }
    check("barrier: hold", &[scenario]);
}

#[test]
fn release() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        meeting.waiters(1);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait_leader());
            let leader = poll(wait.as_mut(), &ignored());
            assert!(matches!(leader, Poll::Ready(Some(_))));
            stall_from_here();
            drop(leader);
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, |facts, wakes_left| match facts {
            Facts { is_held: true, .. } => Step::Holds,
            _ if wakes_left > 0 => Step::Wakes,
            _ => Step::HasWoken,
        });
    }
    check("barrier: release", &[scenario]);
}

#[test]
fn queue() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        meeting.waiters(1);
        let (barrier, gate) = (meeting.barrier.clone(), Arc::new(Barrier::new(2)));
        let opens = gate.clone();
        let leader = scene.other(move || {
            let mut wait = pin!(barrier.wait_leader());
            let leader = poll(wait.as_mut(), &ignored());
            assert!(matches!(leader, Poll::Ready(Some(_))));
            gate.wait_blocking();
            drop(leader);
        });
        scene.settle();
        meeting.is_led = true;
        // An early arrival.
        meeting.waiters(1);
        let victim = meeting.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
        drop(opens.arrive());
        meeting.find(&victim, arrival);
        assert!(leader.has_ended());
    }
    check("barrier: queue", &[scenario]);
}

#[test]
fn blocking_wait() {
    fn scenario<const N: usize>(scene: &Scene) {
        let mut meeting = Meeting::new(scene, N);
        let victim = meeting.victim(|barrier| {
            stall_from_here();
            barrier.wait_blocking();
            stall_until_here();
        });
        meeting.parties(N, wait);
        meeting.find(&victim, arrival);
    }
    check("barrier: blocking wait", &[scenario::<2>, scenario::<3>]);
}

#[test]
fn timeout() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        let victim = meeting.victim(|barrier| {
            stall_from_here();
            let _ = barrier.wait_blocking_timeout(Duration::ZERO);
            stall_until_here();
        });
        meeting.parties(2, wait);
        meeting.find(&victim, arrival);
    }
    check("barrier: timeout", &[scenario]);
}

#[test]
fn observer() {
    fn first(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 3);
        let victim = meeting.victim(|barrier| {
            let mut observation = pin!(barrier.observe(0));
            stall_from_here();
            let _ = poll(observation.as_mut(), &ignored());
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, waiter);
    }
    fn later(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 3);
        let victim = meeting.victim(|barrier| {
            let mut observation = Box::pin(barrier.observe(0));
            assert!(poll(observation.as_mut(), &ignored()).is_pending());
            stall_from_here();
            let _ = poll(observation.as_mut(), &ignored());
            drop(observation);
            stall_until_here();
        });
        meeting.parties(3, wait);
        meeting.find(&victim, waiter);
    }
    check("barrier: observer", &[first, later]);
}

#[test]
fn blocking_leader() {
    fn scenario(scene: &Scene) {
        let mut meeting = Meeting::new(scene, 2);
        let victim = meeting.victim(|barrier| {
            stall_from_here();
            let leader = barrier.wait_leader_blocking_timeout(Duration::ZERO);
            stall_until_here();
            drop(leader);
        });
        meeting.parties(3, wait);
        meeting.find(&victim, |facts, wakes_left| match facts {
            Facts { is_held: true, .. } => Step::Holds,
            facts => arrival(facts, wakes_left),
        });
    }
    check("barrier: blocking leader", &[scenario]);
}
