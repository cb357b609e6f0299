//! Victims at a barrier.

use std::{mem, pin::pin, sync::Arc, task::Poll, time::Duration};

use atomic_barrier_over_shuttle::{Barrier, BarrierWaitResult};

use crate::{
    scene::{Scene, Started, Step, block_on, ignored, poll, stall_from_here, stall_until_here},
    table::check,
};

/// A barrier, and all that wait for it.
struct Setup<'a> {
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

impl<'a> Setup<'a> {
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

    /// Lets another party complete the generation, as far as that can be, and returns those that are left.
    fn left(&self) -> Vec<usize> {
        let barrier = self.barrier.clone();
        let another = self.scene.other(move || {
            for _ in 0..2 * barrier.parties() {
                if barrier.arrived() != 0 {
                    drop(barrier.arrive());
                }
            }
        });
        self.scene.settle();
        assert!(another.has_ended(), "an arrival does not come back");
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
            assert!(arrived != 0, "a party is left in a generation that is over");
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
                _ => "others",
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

/// For a victim that arrives, and holds the release if it leads.
fn hold_or_arrival(facts: &Facts, wakes_left: usize) -> Step {
    match facts {
        Facts { is_held: true, .. } => Step::Holds,
        facts => arrival(facts, wakes_left),
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

/// Finds whom a victim keeps beside `others`, which wait for the same barrier for `n`.
fn beside(
    scene: &Scene,
    n: usize,
    others: usize,
    step: fn(&Facts, usize) -> Step,
    act: fn(&Barrier),
) {
    let mut setup = Setup::new(scene, n);
    let victim = setup.victim(act);
    setup.parties(others, wait);
    setup.find(&victim, step);
}

#[test]
fn first_poll() {
    fn scenario<const N: usize>(scene: &Scene) {
        beside(scene, N, N, arrival, |barrier| {
            let mut wait = pin!(barrier.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
    }
    check("barrier: first poll", &[scenario::<2>, scenario::<3>]);
}

#[test]
fn later_poll_with_the_same_waker() {
    fn scenario(scene: &Scene) {
        beside(scene, 3, 3, waiter, |barrier| {
            let mut wait = pin!(barrier.wait());
            let waker = ignored();
            assert!(poll(wait.as_mut(), &waker).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &waker);
            stall_until_here();
        });
    }
    check("barrier: later poll with the same waker", &[scenario]);
}

#[test]
fn later_poll_with_another_waker() {
    fn scenario(scene: &Scene) {
        beside(scene, 3, 3, waiter, |barrier| {
            let mut wait = pin!(barrier.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
    }
    check("barrier: later poll with another waker", &[scenario]);
}

#[test]
fn drop_of_a_wait() {
    fn scenario(scene: &Scene) {
        beside(scene, 2, 3, arrival, |barrier| {
            let mut wait = Box::pin(barrier.wait());
            assert!(poll(wait.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(wait);
            stall_until_here();
        });
    }
    check("barrier: drop of a wait", &[scenario]);
}

#[test]
fn arrive() {
    fn scenario<const N: usize>(scene: &Scene) {
        beside(scene, N, N, arrival, |barrier| {
            stall_from_here();
            mem::forget(barrier.arrive());
            stall_until_here();
        });
    }
    check("barrier: arrive", &[scenario::<2>, scenario::<3>]);
}

#[test]
fn poll_of_an_arrival() {
    fn scenario(scene: &Scene) {
        beside(scene, 3, 3, waiter, |barrier| {
            let mut arrival = pin!(barrier.arrive());
            stall_from_here();
            let _ = poll(arrival.as_mut(), &ignored());
            stall_until_here();
        });
    }
    check("barrier: poll of an `Arrival`", &[scenario]);
}

#[test]
fn drop_of_an_arrival() {
    fn scenario(scene: &Scene) {
        beside(scene, 2, 3, waiter, |barrier| {
            let mut arrival = Box::pin(barrier.arrive());
            assert!(poll(arrival.as_mut(), &ignored()).is_pending());
            stall_from_here();
            drop(arrival);
            stall_until_here();
        });
    }
    check("barrier: drop of an `Arrival`", &[scenario]);
}

#[test]
fn drain() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 3);
        setup.waiters(2);
        let victim = setup.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
        setup.parties(1, wait);
        setup.find(&victim, arrival);
    }
    check("barrier: drain", &[scenario]);
}

#[test]
fn help() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 4);
        let victim = setup.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            let waker = ignored();
            assert!(poll(wait.as_mut(), &waker).is_pending());
            stall_from_here();
            let _ = poll(wait.as_mut(), &waker);
            stall_until_here();
        });
        setup.waiters(2);
        setup.parties(1, wait);
        setup.find(&victim, waiter);
    }
    check("barrier: help", &[scenario]);
}

#[test]
fn hold() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 2);
        setup.waiters(1);
        let victim = setup.victim(|barrier| {
            let mut wait = pin!(barrier.wait_leader());
            stall_from_here();
            let leader = poll(wait.as_mut(), &ignored());
            stall_until_here();
            drop(leader);
        });
        setup.parties(3, wait);
        setup.find(&victim, hold_or_arrival);
    }
    check("barrier: hold", &[scenario]);
}

#[test]
fn release() {
    fn scenario(scene: &Scene) {
        let mut setup = Setup::new(scene, 2);
        setup.waiters(1);
        let victim = setup.victim(|barrier| {
            let mut wait = pin!(barrier.wait_leader());
            let leader = poll(wait.as_mut(), &ignored());
            assert!(matches!(leader, Poll::Ready(Some(_))));
            stall_from_here();
            drop(leader);
            stall_until_here();
        });
        setup.parties(3, wait);
        setup.find(&victim, |facts, wakes_left| match facts {
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
        let mut setup = Setup::new(scene, 2);
        setup.waiters(1);
        let (barrier, gate) = (setup.barrier.clone(), Arc::new(Barrier::new(2)));
        let opens = gate.clone();
        let leader = scene.other(move || {
            let mut wait = pin!(barrier.wait_leader());
            let leader = poll(wait.as_mut(), &ignored());
            assert!(matches!(leader, Poll::Ready(Some(_))));
            gate.wait_blocking();
            drop(leader);
        });
        scene.settle();
        setup.is_led = true;
        // An early arrival.
        setup.waiters(1);
        let victim = setup.victim(|barrier| {
            let mut wait = pin!(barrier.wait());
            stall_from_here();
            let _ = poll(wait.as_mut(), &ignored());
            stall_until_here();
        });
        drop(opens.arrive());
        setup.find(&victim, arrival);
        assert!(leader.has_ended());
    }
    check("barrier: queue", &[scenario]);
}

#[test]
fn blocking_wait() {
    fn scenario<const N: usize>(scene: &Scene) {
        beside(scene, N, N, arrival, |barrier| {
            stall_from_here();
            barrier.wait_blocking();
            stall_until_here();
        });
    }
    check("barrier: blocking wait", &[scenario::<2>, scenario::<3>]);
}

#[test]
fn timeout() {
    fn scenario(scene: &Scene) {
        beside(scene, 2, 2, arrival, |barrier| {
            stall_from_here();
            let _ = barrier.wait_blocking_timeout(Duration::ZERO);
            stall_until_here();
        });
    }
    check("barrier: timeout", &[scenario]);
}

#[test]
fn observer() {
    fn first(scene: &Scene) {
        beside(scene, 3, 3, waiter, |barrier| {
            let mut observation = pin!(barrier.observe(0));
            stall_from_here();
            let _ = poll(observation.as_mut(), &ignored());
            stall_until_here();
        });
    }
    fn later(scene: &Scene) {
        beside(scene, 3, 3, waiter, |barrier| {
            let mut observation = Box::pin(barrier.observe(0));
            assert!(poll(observation.as_mut(), &ignored()).is_pending());
            stall_from_here();
            let _ = poll(observation.as_mut(), &ignored());
            drop(observation);
            stall_until_here();
        });
    }
    check("barrier: observer", &[first, later]);
}

#[test]
fn blocking_leader() {
    fn scenario(scene: &Scene) {
        beside(scene, 2, 3, hold_or_arrival, |barrier| {
            stall_from_here();
            let leader = barrier.wait_leader_blocking_timeout(Duration::ZERO);
            stall_until_here();
            drop(leader);
        });
    }
    check("barrier: blocking leader", &[scenario]);
}
