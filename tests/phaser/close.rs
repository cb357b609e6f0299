//! What the end of a phaser does to those that wait, come and go.

use core::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Leader, Participant, RegisterError},
};

use support::{
    phasers::{closed, numbers, participants},
    polling::{CountingWaker, Outcome::*, poll},
};

fn poll_leader<'a>(
    participant: &'a mut Participant,
    waker: &Waker,
) -> Poll<Result<Option<Leader<'a>>, Closed>> {
    Pin::new(&mut participant.wait_leader()).poll(&mut Context::from_waker(waker))
}

fn lead(participant: &mut Participant) -> Leader<'_> {
    match poll_leader(participant, Waker::noop()) {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

/// Every call of this participant is refused.
fn assert_refused(participant: &mut Participant) {
    for _ in 0..2 {
        assert_eq!(poll(&mut participant.wait(), Waker::noop()), Refused);
        assert!(matches!(
            poll_leader(participant, Waker::noop()),
            Poll::Ready(Err(_))
        ));
        assert_eq!(participant.arrive(), Err(closed()));
        #[cfg(feature = "std")]
        {
            use atomic_barrier::phaser::WaitError;
            assert_eq!(participant.wait_blocking(), Err(closed()));
            let result = participant.wait_blocking_timeout(core::time::Duration::MAX);
            assert_eq!(result, Err(WaitError::Closed));
        }
    }
}

#[test]
fn all_that_wait_are_woken_and_refused() {
    let (phaser, [mut a, mut b, mut c, mut missing]) = participants();
    let wakers = [(); 3].map(|()| CountingWaker::new());
    assert_eq!(c.arrive(), Ok(0));
    let (mut wait, mut wait_leader, mut after_arrive) = (a.wait(), b.wait_leader(), c.wait());
    assert_eq!(poll(&mut wait, &wakers[0]), Pending);
    let mut cx = Context::from_waker(&wakers[1]);
    assert!(Pin::new(&mut wait_leader).poll(&mut cx).is_pending());
    assert_eq!(poll(&mut after_arrive, &wakers[2]), Pending);
    assert!(!phaser.is_closed());

    // Once more wakes them once more: the thread that closed first may be stalled.
    for times in 1..=3 {
        phaser.close();
        assert!(phaser.is_closed());
        assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [times; 3]);
        assert_eq!(numbers(&phaser), (0, 4, 3));
    }
    assert_eq!(poll(&mut wait, &wakers[0]), Refused);
    assert!(matches!(
        Pin::new(&mut wait_leader).poll(&mut cx),
        Poll::Ready(Err(_))
    ));
    assert_eq!(poll(&mut after_arrive, &wakers[2]), Refused);
    drop((wait, wait_leader, after_arrive));
    // They wait no longer.
    phaser.close();
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [3; 3]);
    for participant in [&mut a, &mut b, &mut c, &mut missing] {
        assert_refused(participant);
    }
    // Not even the last of the phase.
    assert_eq!(numbers(&phaser).0, 0);
}

#[test]
fn a_wait_may_be_dropped_after_the_end() {
    let (phaser, [mut a, mut b]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    phaser.close();
    drop(wait);
    assert_eq!(numbers(&phaser), (0, 2, 0));
    assert_refused(&mut a);
    assert_refused(&mut b);
}

#[test]
fn nobody_registers_any_more() {
    let (phaser, [a]) = participants();
    phaser.clone().close();
    for _ in 0..2 {
        assert_eq!(phaser.register().unwrap_err(), RegisterError::Closed);
        for n in [1, 100, usize::MAX] {
            assert_eq!(phaser.register_many(n).unwrap_err(), RegisterError::Closed);
        }
        assert_eq!(numbers(&phaser), (0, 1, 0));
    }
    drop(a);
    assert_eq!(phaser.register().unwrap_err(), RegisterError::Closed);
}

#[test]
fn participants_may_leave_and_end_no_phase() {
    let (phaser, [mut a, mut b, c]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    b.arrive().unwrap();
    phaser.close();
    assert_eq!(waker.wakes(), 1);
    c.leave();
    assert_eq!(numbers(&phaser), (0, 2, 2));
    b.leave();
    assert_eq!(numbers(&phaser), (0, 1, 1));
    assert_eq!((poll(&mut wait, &waker), waker.wakes()), (Refused, 1));
    drop(wait);
    a.leave();
    assert_eq!(numbers(&phaser), (0, 0, 0));
}

#[test]
fn an_empty_phaser_may_be_closed() {
    let phaser = Phaser::new();
    phaser.close();
    assert_eq!(phaser.register().unwrap_err(), RegisterError::Closed);
    assert_eq!(numbers(&phaser), (0, 0, 0));
}

#[test]
fn a_phase_that_was_over_stays_so() {
    let (phaser, [mut a, mut b, mut c]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    b.arrive().unwrap();
    assert_eq!(c.arrive(), Ok(0));
    phaser.close();
    assert_eq!(waker.wakes(), 1);
    assert_eq!(poll(&mut wait, &waker), Released(0));
    drop(wait);
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Released(0));
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Led(0));
    for participant in [&mut a, &mut b, &mut c] {
        assert_refused(participant);
    }
    assert_eq!(numbers(&phaser), (1, 3, 0));
}

#[test]
fn an_arrival_after_a_phase_that_was_over_is_refused() {
    let (phaser, [mut a, mut b]) = participants();
    a.arrive().unwrap();
    b.arrive().unwrap();
    phaser.close();
    for _ in 0..2 {
        assert_eq!((a.arrive(), b.arrive()), (Err(closed()), Err(closed())));
    }
    assert_eq!(numbers(&phaser), (1, 2, 0));
    // The refusals have forgotten nothing.
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_refused(&mut a);
    assert_refused(&mut b);
}

#[test]
fn a_phase_that_waits_for_its_leader_stays_complete() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let wakers = [(); 2].map(|()| CountingWaker::new());
    let (mut first, mut second) = (a.wait(), b.wait());
    assert_eq!(poll(&mut first, &wakers[0]), Pending);
    assert_eq!(poll(&mut second, &wakers[1]), Pending);
    missing.leave();
    // Once more, in case the thread that left is stalled.
    phaser.close();
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [2, 2]);
    assert_eq!(numbers(&phaser), (0, 2, 2));
    assert_eq!(poll(&mut second, &wakers[1]), Led(0));
    assert_eq!(poll(&mut first, &wakers[0]), Released(0));
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [3, 2]);
    drop((first, second));
    assert_refused(&mut a);
    assert_refused(&mut b);
    assert_eq!(phaser.phase(), 1);
}

#[test]
fn if_all_that_could_lead_leave_after_the_end_their_phase_is_over() {
    let (phaser, [mut a, missing]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    missing.leave();
    phaser.close();
    let mut observation = phaser.observe(0);
    let waker = CountingWaker::new();
    let mut cx = Context::from_waker(&waker);
    let end = Pin::new(&mut observation).poll(&mut cx);
    assert_eq!(end, Poll::Ready(Err(closed())));
    drop(wait);
    assert_eq!(numbers(&phaser), (1, 1, 0));
    a.leave();
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 0, 0), 0));
    let mut observation = phaser.observe(0);
    let end = Pin::new(&mut observation).poll(&mut cx);
    assert_eq!(end, Poll::Ready(Ok(())));
}

#[test]
fn while_a_leader_holds_the_release_its_phase_is_complete_and_the_next_is_refused() {
    for leaks in [false, true] {
        let (phaser, [mut a, mut b]) = participants();
        let [waker, early_waker] = [(); 2].map(|()| CountingWaker::new());
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        let leader = lead(&mut b);
        let [mut c, mut d] = [(); 2].map(|()| phaser.register().unwrap());
        let mut early = c.wait();
        assert_eq!(poll(&mut early, &early_waker), Pending);
        assert_eq!(d.arrive(), Ok(1));

        phaser.close();
        assert_eq!([waker.wakes(), early_waker.wakes()], [0, 1]);
        assert_eq!(poll(&mut wait, &waker), Pending);
        assert_eq!(poll(&mut early, &early_waker), Refused);
        assert_refused(&mut d);
        if leaks {
            core::mem::forget(leader);
            assert_refused(&mut b);
        } else {
            drop(leader);
        }
        assert_eq!([waker.wakes(), early_waker.wakes()], [1, 1]);
        assert_eq!(poll(&mut wait, &waker), Released(0));
        drop((wait, early));
        for participant in [&mut a, &mut b, &mut c, &mut d] {
            assert_refused(participant);
        }
        assert_eq!(phaser.phase(), 1);
    }
}

#[test]
fn a_leader_may_close() {
    let (phaser, [mut a, mut b]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let leader = lead(&mut b);
    phaser.close();
    leader.release();
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    drop(wait);
    assert_refused(&mut a);
    assert_refused(&mut b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_go_on_for_ever_end_with_the_phaser() {
    let phaser = Phaser::new();
    let participants = phaser.register_many(10).unwrap();
    let tasks = participants.into_iter().map(|mut participant| {
        tokio::spawn(async move {
            let mut phases = 0;
            while participant.wait().await.is_ok() {
                phases += 1;
            }
            (phases, participant)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    phaser.observe(100).await.unwrap();
    phaser.close();
    let mut participants = Vec::new();
    for task in tasks {
        let (phases, participant) = task.await.unwrap();
        assert_eq!(phases, phaser.phase());
        participants.push(participant);
    }
    assert!(phaser.phase() > 100);
    assert_eq!(phaser.parties(), participants.len());
}

/// Nobody can lead it, as nobody else waits.
#[test]
fn a_phase_that_was_complete_before_ends_when_the_last_that_waits_in_it_leaves() {
    let (phaser, [mut a, b]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    core::mem::forget(wait);
    b.leave();
    phaser.close();
    assert_eq!(numbers(&phaser), (0, 1, 1));
    a.leave();
    assert_eq!(numbers(&phaser), (1, 0, 0));
}
