//! Observers: they await the end of a phase and are not participants.

use core::{
    future::Future,
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
};
use std::{panic::catch_unwind, sync::Mutex};

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Leader, Observation, Participant},
};

use support::{
    custom_clone::{unclonable_waker, waker_with_clone},
    phasers::{closed, numbers, participants},
    polling::{CountingWaker, Outcome::*, poll},
};

fn look(observation: &mut Observation<'_>, waker: &Waker) -> Poll<Result<(), Closed>> {
    Pin::new(observation).poll(&mut Context::from_waker(waker))
}

const OVER: Poll<Result<(), Closed>> = Poll::Ready(Ok(()));

fn lead(participant: &mut Participant) -> Leader<'_> {
    let wait =
        Pin::new(&mut participant.wait_leader()).poll(&mut Context::from_waker(Waker::noop()));
    match wait {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

fn wakes<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::wakes)
}

#[test]
fn an_observer_is_woken_once_when_its_phase_is_over_and_counts_for_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let mut observation = phaser.observe(0);
    for _ in 0..3 {
        assert_eq!(look(&mut observation, &waker), Poll::Pending);
        assert_eq!((numbers(&phaser), waker.clones()), ((0, 2, 0), 1));
    }
    a.arrive().unwrap();
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    assert_eq!(waker.wakes(), 0);
    b.arrive().unwrap();
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(look(&mut observation, &waker), OVER);
    drop(observation);
    assert_eq!((a.arrive(), b.arrive()), (Ok(1), Ok(1)));
    assert_eq!(waker.wakes(), 1);
}

#[test]
fn a_past_phase_is_over_and_a_future_one_is_awaited() {
    let (phaser, [mut participant]) = participants();
    let wakers = [(); 4].map(|()| CountingWaker::new());
    for phase in 0..3 {
        assert_eq!(participant.arrive(), Ok(phase));
    }
    for phase in 0..3 {
        assert_eq!(look(&mut phaser.observe(phase), &wakers[0]), OVER);
    }
    let mut observations = [3, 4, 5, u64::MAX].map(|phase| phaser.observe(phase));
    for phase in 3..6 {
        let mut pending = observations.iter_mut().zip(&wakers).skip(phase - 3);
        assert!(pending.all(|(observation, waker)| look(observation, waker).is_pending()));
        assert_eq!(participant.arrive(), Ok(phase as u64));
        let woken = [3, 4, 5, 6].map(|observed| usize::from(observed <= phase));
        assert_eq!(wakes(&wakers), woken);
        assert_eq!(look(&mut observations[phase - 3], Waker::noop()), OVER);
    }
}

#[test]
fn an_observer_that_is_late_finds_its_phase_over() {
    let (phaser, [mut participant]) = participants();
    let waker = CountingWaker::new();
    let mut observation = phaser.observe(0);
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    for _ in 0..5 {
        participant.arrive().unwrap();
    }
    assert_eq!(waker.wakes(), 1);
    assert_eq!(look(&mut observation, &waker), OVER);
}

#[test]
fn any_number_of_observers_see_the_same_end() {
    let (phaser, [mut participant]) = participants();
    let wakers: Vec<_> = (0..50).map(|_| CountingWaker::new()).collect();
    for phase in 0..3 {
        let mut observations: Vec<_> = wakers.iter().map(|_| phaser.observe(phase)).collect();
        for (observation, waker) in observations.iter_mut().zip(&wakers) {
            assert_eq!(look(observation, waker), Poll::Pending);
        }
        participant.arrive().unwrap();
        for (observation, waker) in observations.iter_mut().zip(&wakers) {
            assert_eq!((waker.wakes() as u64, waker.clones()), (phase + 1, 0));
            assert_eq!(look(observation, waker), OVER);
        }
    }
}

#[test]
fn only_the_last_waker_is_woken() {
    let (phaser, [mut participant]) = participants();
    let wakers = [(); 4].map(|()| CountingWaker::new());
    let mut observation = phaser.observe(0);
    for waker in &wakers {
        assert_eq!(look(&mut observation, waker), Poll::Pending);
        assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 1);
    }
    participant.arrive().unwrap();
    assert_eq!(wakes(&wakers), [0, 0, 0, 1]);
    assert_eq!(look(&mut observation, &wakers[0]), OVER);
}

#[test]
fn a_dropped_observer_is_not_woken_and_a_leaked_one_stays_until_the_end() {
    let (phaser, [mut participant]) = participants();
    let [dropped, leaked] = [(); 2].map(|()| CountingWaker::new());
    let mut observations = [0, 0].map(|phase| phaser.observe(phase));
    assert_eq!(look(&mut observations[0], &dropped), Poll::Pending);
    assert_eq!(look(&mut observations[1], &leaked), Poll::Pending);
    let [first, second] = observations;
    drop(first);
    mem::forget(second);
    assert_eq!([dropped.clones(), leaked.clones()], [0, 1]);
    participant.arrive().unwrap();
    assert_eq!([dropped.wakes(), leaked.wakes()], [0, 1]);
    assert_eq!([dropped.clones(), leaked.clones()], [0, 0]);
}

#[test]
fn a_phase_is_not_over_before_its_leader_releases_it() {
    let (phaser, [mut a, mut b]) = participants();
    let wakers = [(); 2].map(|()| CountingWaker::new());
    a.arrive().unwrap();
    let mut observations = [0, 1].map(|phase| phaser.observe(phase));
    let leader = lead(&mut b);
    assert_eq!(look(&mut observations[0], &wakers[0]), Poll::Pending);
    assert_eq!(look(&mut observations[1], &wakers[1]), Poll::Pending);
    assert_eq!(phaser.phase(), 0);
    drop(leader);
    assert_eq!(wakes(&wakers), [1, 0]);
    assert_eq!(look(&mut observations[0], &wakers[0]), OVER);
    assert_eq!(look(&mut observations[1], &wakers[1]), Poll::Pending);
}

#[test]
fn a_phase_that_a_departure_completes_is_over_when_it_has_been_led() {
    let (phaser, [mut a, missing]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let mut observation = phaser.observe(0);
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    missing.leave();
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    assert_eq!(waker.wakes(), 0);
    assert_eq!(poll(&mut wait, Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 1);
    assert_eq!(look(&mut observation, &waker), OVER);
}

#[test]
fn a_phase_that_nobody_waits_for_is_over_when_the_last_leaves() {
    let (phaser, [mut a, missing]) = participants();
    let wakers = [(); 2].map(|()| CountingWaker::new());
    a.arrive().unwrap();
    let mut observations = [0, 1].map(|phase| phaser.observe(phase));
    for (observation, waker) in observations.iter_mut().zip(&wakers) {
        assert_eq!(look(observation, waker), Poll::Pending);
    }
    missing.leave();
    assert_eq!(wakes(&wakers), [1, 0]);
    assert_eq!(look(&mut observations[0], &wakers[0]), OVER);
    a.leave();
    assert_eq!(wakes(&wakers), [1, 1]);
    assert_eq!(look(&mut observations[1], &wakers[1]), OVER);
}

#[test]
fn a_complete_phase_is_over_when_nobody_waits_for_it_any_more() {
    for leaves in [false, true] {
        let (phaser, [mut a, mut b, missing]) = participants();
        let wakers = [(); 2].map(|()| CountingWaker::new());
        b.arrive().unwrap();
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        let mut observations = [0, 1].map(|phase| phaser.observe(phase));
        for (observation, waker) in observations.iter_mut().zip(&wakers) {
            assert_eq!(look(observation, waker), Poll::Pending);
        }
        missing.leave();
        assert_eq!((numbers(&phaser), wakes(&wakers)), ((0, 2, 2), [0, 0]));
        drop(wait);
        if leaves {
            a.leave();
        } else {
            assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
        }
        assert_eq!(wakes(&wakers), [1, 0]);
        let ends = observations.each_mut().map(|o| look(o, Waker::noop()));
        assert_eq!(ends, [OVER, Poll::Pending]);
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Released(0));
    }
}

#[test]
fn closing_wakes_the_observers_of_all_phases_that_are_not_complete() {
    let (phaser, [mut a, mut b]) = participants();
    let wakers = [(); 4].map(|()| CountingWaker::new());
    a.arrive().unwrap();
    let leader = lead(&mut b);
    let mut observations = [0, 1, 2, u64::MAX].map(|phase| phaser.observe(phase));
    for (observation, waker) in observations.iter_mut().zip(&wakers) {
        assert_eq!(look(observation, waker), Poll::Pending);
    }
    for _ in 0..2 {
        phaser.close();
        assert_eq!(wakes(&wakers), [0, 1, 1, 1]);
    }
    assert_eq!(look(&mut observations[0], &wakers[0]), Poll::Pending);
    for observation in &mut observations[1..] {
        assert_eq!(look(observation, Waker::noop()), Poll::Ready(Err(closed())));
    }
    leader.release();
    assert_eq!(wakes(&wakers), [1; 4]);
    assert_eq!(look(&mut observations[0], &wakers[0]), OVER);
    // Later ones see the same.
    assert_eq!(look(&mut phaser.observe(0), Waker::noop()), OVER);
    assert_eq!(
        look(&mut phaser.observe(1), Waker::noop()),
        Poll::Ready(Err(closed()))
    );
}

#[test]
fn a_close_ends_the_observation_of_a_phase_that_only_a_leaked_wait_could_lead() {
    let (phaser, [mut a, missing]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    mem::forget(wait);
    let mut observation = phaser.observe(0);
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    missing.leave();
    assert_eq!((numbers(&phaser), waker.wakes()), ((0, 1, 1), 0));
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    phaser.close();
    assert_eq!(waker.wakes(), 1);
    assert_eq!(look(&mut observation, &waker), Poll::Ready(Err(closed())));
    // Its participant still sees that phase, and then the end.
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Refused);
}

#[test]
fn a_new_participant_takes_the_lead_of_a_phase_that_only_a_leaked_wait_could_lead() {
    let (phaser, [mut a, missing]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    mem::forget(wait);
    missing.leave();
    assert_eq!(phaser.register().unwrap().arrive(), Ok(0));
    assert_eq!(look(&mut phaser.observe(0), Waker::noop()), OVER);
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
}

#[test]
fn a_participant_that_arrived_and_dropped_its_wait_does_not_wait() {
    let (phaser, [mut a, missing]) = participants();
    let waker = CountingWaker::new();
    a.arrive().unwrap();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    drop(wait);
    let mut observation = phaser.observe(0);
    assert_eq!(look(&mut observation, Waker::noop()), Poll::Pending);
    missing.leave();
    assert_eq!(waker.wakes(), 0);
    assert_eq!(look(&mut observation, Waker::noop()), Poll::Ready(Ok(())));
}

#[test]
fn an_observer_of_any_phase_is_woken_when_the_phaser_is_closed() {
    for phase in [1, 1 << 61, 1 << 62, 1 << 63, u64::MAX - 1, u64::MAX] {
        let (phaser, [mut participant]) = participants();
        assert_eq!(participant.arrive(), Ok(0));
        let waker = CountingWaker::new();
        let mut observation = phaser.observe(phase);
        assert_eq!(look(&mut observation, &waker), Poll::Pending);
        phaser.close();
        assert_eq!(waker.wakes(), 1, "of phase {phase}");
    }
}

#[test]
fn an_empty_phaser_may_be_observed() {
    let phaser = Phaser::new();
    let waker = CountingWaker::new();
    let mut observation = phaser.observe(0);
    assert_eq!(look(&mut observation, &waker), Poll::Pending);
    let participant = phaser.register().unwrap();
    assert_eq!(
        (look(&mut observation, &waker), waker.wakes()),
        (Poll::Pending, 0)
    );
    participant.leave();
    assert_eq!((look(&mut observation, &waker), waker.wakes()), (OVER, 1));
}

#[test]
fn a_panic_in_clone_leaves_an_observer_out_of_it() {
    let (phaser, [mut participant]) = participants();
    let waker = CountingWaker::new();
    let mut observation = phaser.observe(0);
    for _ in 0..2 {
        let panics = AssertUnwindSafe(|| look(&mut observation, &unclonable_waker()));
        assert!(catch_unwind(panics).is_err());
        assert_eq!(look(&mut observation, &waker), Poll::Pending);
    }
    participant.arrive().unwrap();
    assert_eq!(waker.wakes(), 1);
    assert_eq!(look(&mut observation, &waker), OVER);
}

/// No wake takes it: the phase was over before it was registered.
#[test]
fn an_observer_that_is_ready_at_once_keeps_no_waker() {
    let (phaser, [participant]) = participants();
    let (waker, participant) = (CountingWaker::new(), Mutex::new(Some(participant)));
    let clone = Waker::clone(&waker);
    let ends_the_phase = waker_with_clone(move || {
        if let Some(mut participant) = participant.lock().unwrap().take() {
            participant.arrive().unwrap();
        }
        clone.clone()
    });
    let held = waker.clones();
    let mut observation = phaser.observe(0);
    assert_eq!(look(&mut observation, &ends_the_phase), OVER);
    assert_eq!(waker.clones(), held);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_observer_sees_what_the_participants_did_before_the_end() {
    use core::sync::atomic::{AtomicU64, Ordering};
    use std::sync::Arc;

    const PHASES: u64 = 300;
    let phaser = Phaser::new();
    let work = Arc::new([const { AtomicU64::new(0) }; 3]);
    let mut tasks = Vec::new();
    for (i, mut participant) in phaser.register_many(3).unwrap().into_iter().enumerate() {
        let work = work.clone();
        tasks.push(tokio::spawn(async move {
            for phase in 0..PHASES {
                work[i].store(phase + 1, Ordering::Relaxed);
                assert_eq!(participant.wait().await.unwrap().phase(), phase);
            }
        }));
    }
    for phase in 0..PHASES {
        phaser.observe(phase).await.unwrap();
        for part in work.iter() {
            assert!(part.load(Ordering::Relaxed) > phase);
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
}
