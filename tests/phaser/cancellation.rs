//! A phaser's waits that are dropped, timed out or leaked, and participants that are aborted or panic.

use core::{
    future::{Future, pending},
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::panic::{catch_unwind, resume_unwind};

use atomic_barrier::{
    Phaser,
    phaser::{Exit, Leader, Participant, Wait},
};
use tokio::{
    sync::oneshot,
    task::{JoinSet, yield_now},
    time::timeout,
};

use support::{
    custom_wake::{panic_of, waker_that},
    phasers::{numbers, participants},
    polling::{CountingWaker, Outcome::*, poll},
};

fn poll_once(mut wait: Wait<'_>, waker: &Waker) {
    assert_eq!(poll(&mut wait, waker), Pending);
}

// Waits.

#[test]
fn a_dropped_wait_withdraws_its_arrival() {
    let (phaser, [mut a, mut b, mut c]) = participants();
    let wakers = [(); 3].map(|()| CountingWaker::new());
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, &wakers[1]), Pending);
    for _ in 0..10 {
        poll_once(a.wait(), &wakers[0]);
        assert_eq!(numbers(&phaser), (0, 3, 1));
    }
    let mut last = c.wait();
    assert_eq!(poll(&mut last, &wakers[2]), Pending);
    // Still needed.
    assert_eq!(poll(&mut a.wait(), &wakers[0]), Led(0));
    assert_eq!(poll(&mut wait, &wakers[1]), Released(0));
    assert_eq!(poll(&mut last, &wakers[2]), Released(0));
    assert_eq!(wakers.each_ref().map(CountingWaker::wakes), [0, 1, 1]);
}

#[test]
fn a_participant_that_withdrew_is_not_woken() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    poll_once(a.wait(), &wa);
    assert_eq!(b.arrive(), Ok(0));
    missing.leave();
    assert_eq!((numbers(&phaser), wa.wakes()), ((0, 2, 1), 0));
    assert_eq!(poll(&mut a.wait(), &wa), Led(0));
    assert_eq!(poll(&mut b.wait(), &wb), Released(0));
    assert_eq!([wa.wakes(), wb.wakes()], [0, 0]);
}

#[test]
fn a_wait_that_was_never_polled_was_never_there() {
    let (phaser, [mut a, mut b]) = participants();
    drop(a.wait());
    drop(a.wait_leader());
    assert_eq!(numbers(&phaser), (0, 2, 0));
    a.arrive().unwrap();
    drop(a.wait());
    drop(a.wait_leader());
    assert_eq!(numbers(&phaser), (0, 2, 1));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    drop(a.wait());
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
}

#[test]
fn a_wait_dropped_when_its_phase_is_over_leaves_the_result_to_the_next() {
    let (phaser, [mut a, mut b]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    for phase in 0..3 {
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &wa), Pending);
        assert_eq!(poll(&mut b.wait(), &wb), Led(phase));
        drop(wait);
        assert_eq!(numbers(&phaser), (phase + 1, 2, 0));
        drop(a.wait());
        assert_eq!(poll(&mut a.wait(), &wa), Released(phase));
        assert_eq!(numbers(&phaser), (phase + 1, 2, 0));
    }
    assert_eq!([wa.wakes(), wb.wakes()], [3, 0]);
}

#[test]
fn a_wait_dropped_when_its_phase_is_complete_leaves_the_lead_to_the_next() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let (mut wait, mut other) = (a.wait(), b.wait());
    assert_eq!(poll(&mut wait, &wa), Pending);
    assert_eq!(poll(&mut other, &wb), Pending);
    missing.leave();
    drop(wait);
    // Nobody withdraws from a complete phase.
    assert_eq!(numbers(&phaser), (0, 2, 2));
    assert_eq!(poll(&mut a.wait(), &wa), Led(0));
    assert_eq!(poll(&mut other, &wb), Released(0));
    // To lead, and the second also at the release.
    assert_eq!([wa.wakes(), wb.wakes()], [1, 2]);
}

#[test]
fn of_those_that_still_wait_another_leads() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let (mut wait, mut other) = (a.wait(), b.wait());
    assert_eq!(poll(&mut wait, &wa), Pending);
    assert_eq!(poll(&mut other, &wb), Pending);
    missing.leave();
    drop(wait);
    assert_eq!([wa.wakes(), wb.wakes()], [1, 1]);
    assert_eq!(poll(&mut other, &wb), Led(0));
    assert_eq!(poll(&mut a.wait(), &wa), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_dropped_wait_of_a_participant_that_had_arrived_withdraws_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    a.arrive().unwrap();
    poll_once(a.wait(), Waker::noop());
    assert_eq!(numbers(&phaser), (0, 2, 1));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
}

#[test]
fn a_leaked_wait_stays_counted() {
    let (phaser, [mut a, mut b]) = participants();
    let [leaked, waker] = [(); 2].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &leaked), Pending);
    mem::forget(wait);
    assert_eq!(numbers(&phaser), (0, 2, 1));
    // The next is for the same phase, and withdraws nothing, as after `arrive`.
    poll_once(a.wait(), &waker);
    assert_eq!(numbers(&phaser), (0, 2, 1));
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!([leaked.wakes(), waker.wakes()], [0, 1]);
    assert_eq!(poll(&mut wait, &waker), Released(0));
}

#[test]
fn a_participant_whose_wait_was_leaked_takes_its_arrival_along() {
    let (phaser, [mut a, mut b, mut c]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    mem::forget(wait);
    a.leave();
    assert_eq!(numbers(&phaser), (0, 2, 0));
    b.arrive().unwrap();
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 0);
}

#[test]
fn a_participant_may_be_leaked_and_is_missed() {
    let (phaser, [mut a, b]) = participants();
    mem::forget(b);
    poll_once(a.wait(), Waker::noop());
    assert_eq!(numbers(&phaser), (0, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_times_out_may_be_tried_again() {
    let (phaser, [mut a, mut b]) = participants();
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(10)).await;
        b.wait().await
    });
    let mut tries = 0;
    let result = loop {
        match timeout(Duration::from_secs(3), a.wait()).await {
            Ok(result) => break result.unwrap(),
            Err(_) => assert_eq!(numbers(&phaser), (0, 2, 0)),
        }
        tries += 1;
    };
    assert_eq!((tries, result.phase(), result.is_leader()), (3, 0, false));
    assert!(late.await.unwrap().unwrap().is_leader());
}

#[tokio::test]
async fn a_wait_in_select_loses_no_phase() {
    let (phaser, [mut a, mut b]) = participants();
    let others = tokio::spawn(async move {
        for phase in 0..100 {
            for _ in 0..phase % 7 {
                yield_now().await;
            }
            assert_eq!(b.wait().await.unwrap().phase(), phase);
        }
    });
    let mut gave_up = 0;
    for phase in 0..100 {
        let result = loop {
            tokio::select! {
                biased;
                result = a.wait() => break result.unwrap(),
                () = yield_now() => gave_up += 1,
            }
        };
        assert_eq!(result.phase(), phase);
    }
    others.await.unwrap();
    assert!(gave_up > 100);
    assert_eq!(phaser.phase(), 100);
}

// Participants.

/// What a task does with its participant until it is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    NotYetPolled,
    Idle,
    Arrived,
    MidWait,
    MidWaitForTheLeader,
    AfterAPhase,
}

const UNTIL: [Until; 6] = [
    Until::NotYetPolled,
    Until::Idle,
    Until::Arrived,
    Until::MidWait,
    Until::MidWaitForTheLeader,
    Until::AfterAPhase,
];

async fn go_on(mut participant: Participant, until: Until, there: oneshot::Sender<()>) {
    match until {
        Until::NotYetPolled => unreachable!("it was polled"),
        Until::Idle => {}
        Until::Arrived => _ = participant.arrive(),
        Until::MidWait => {
            drop(there);
            _ = participant.wait().await;
            unreachable!("one is missing")
        }
        Until::MidWaitForTheLeader => {
            drop(there);
            _ = participant.wait_leader().await;
            unreachable!("one is missing")
        }
        Until::AfterAPhase => _ = participant.wait().await,
    }
    drop(there);
    pending().await
}

#[tokio::test]
async fn an_aborted_task_leaves_from_wherever_it_was() {
    for until in UNTIL {
        let (phaser, [mut mine, other]) = participants();
        let (there, mut reached) = oneshot::channel();
        let task = tokio::spawn(go_on(other, until, there));
        if until == Until::AfterAPhase {
            assert_eq!(mine.wait().await.unwrap().phase(), 0);
        }
        if until != Until::NotYetPolled {
            assert!((&mut reached).await.is_err());
        }
        let phase = phaser.phase();
        let arrived = matches!(
            until,
            Until::Arrived | Until::MidWait | Until::MidWaitForTheLeader
        );
        assert_eq!(
            numbers(&phaser),
            (phase, 2, usize::from(arrived)),
            "{until:?}"
        );
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(numbers(&phaser), (phase, 1, 0), "{until:?}");
        assert!(mine.wait().await.unwrap().is_leader());
    }
}

#[tokio::test]
async fn a_task_that_is_aborted_when_only_it_was_missing_releases_the_others() {
    let phaser = Phaser::new();
    let missing = phaser.register().unwrap();
    let mut others = JoinSet::new();
    for mut participant in phaser.register_many(5).unwrap() {
        others.spawn(async move { participant.wait().await });
    }
    let task = tokio::spawn(async move {
        let _missing = missing;
        pending::<()>().await
    });
    while phaser.arrived() < 5 {
        yield_now().await;
    }
    task.abort();
    let results = others.join_all().await;
    let leaders = results.iter().filter(|result| result.unwrap().is_leader());
    assert_eq!(leaders.count(), 1);
    assert!(results.iter().all(|result| result.unwrap().phase() == 0));
}

#[test]
fn a_participant_that_panics_leaves_from_wherever_it_was() {
    let states: [fn(&mut Participant); 4] = [
        |_| {},
        |participant| _ = participant.arrive(),
        |participant| {
            let mut wait = participant.wait();
            assert_eq!(poll(&mut wait, Waker::noop()), Pending);
            resume_unwind(Box::new("mid-wait"));
        },
        |participant| {
            let mut wait = participant.wait();
            assert_eq!(poll(&mut wait, Waker::noop()), Pending);
            mem::forget(wait);
        },
    ];
    for state in states {
        let (phaser, [mut mine, mut other]) = participants();
        let waker = CountingWaker::new();
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let mut theirs = phaser.register().unwrap();
            state(&mut theirs);
            resume_unwind(Box::new("in its part"));
        }));
        assert!(panic.is_err());
        assert_eq!(numbers(&phaser), (0, 2, 0));
        let mut wait = mine.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        assert_eq!(poll(&mut other.wait(), Waker::noop()), Led(0));
        assert_eq!(poll(&mut wait, &waker), Released(0));
        assert_eq!(waker.wakes(), 1);
        assert!(!phaser.is_closed());
    }
}

#[test]
fn a_panic_of_the_only_one_missing_completes_the_phase() {
    let (phaser, [mut mine, missing]) = participants();
    let waker = CountingWaker::new();
    let mut wait = mine.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _missing = missing;
        resume_unwind(Box::new("in its part"));
    }));
    assert!(panic.is_err());
    assert_eq!((numbers(&phaser), waker.wakes()), ((0, 1, 1), 1));
    assert_eq!(poll(&mut wait, &waker), Led(0));
}

#[cfg(feature = "std")]
#[test]
fn a_panic_closes_a_phaser_that_wants_it_and_nothing_else_does() {
    let phaser = Phaser::builder().close_on(Exit::Panic).build();
    let [mut mine, missing, leaves] = [(); 3].map(|()| phaser.register().unwrap());
    let waker = CountingWaker::new();
    let mut wait = mine.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    leaves.leave();
    assert!(!phaser.is_closed());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _missing = missing;
        resume_unwind(Box::new("in its part"));
    }));
    assert!(panic.is_err());
    assert!(phaser.is_closed());
    assert_eq!((numbers(&phaser), waker.wakes()), ((0, 1, 1), 1));
    assert_eq!(poll(&mut wait, &waker), Refused);
    drop(wait);
    assert_eq!(mine.arrive(), Err(support::phasers::closed()));
}

#[cfg(feature = "std")]
#[test]
fn a_participant_that_leaves_while_its_thread_panics_closes_nothing() {
    struct Leaves(Option<Participant>);

    impl Drop for Leaves {
        fn drop(&mut self) {
            self.0.take().into_iter().for_each(Participant::leave);
        }
    }

    for exit in [Exit::Panic, Exit::Drop] {
        let phaser = Phaser::builder().close_on(exit).build();
        let leaves = Leaves(phaser.register().ok());
        let panic = catch_unwind(AssertUnwindSafe(|| {
            let _leaves = leaves;
            resume_unwind(Box::new("in its part"));
        }));
        assert!(panic.is_err());
        assert_eq!((phaser.is_closed(), phaser.parties()), (false, 0));
    }
}

#[cfg(feature = "std")]
#[test]
fn a_panic_elsewhere_closes_nothing() {
    let phaser = Phaser::builder().close_on(Exit::Panic).build();
    let [mut mine, other] = [(); 2].map(|()| phaser.register().unwrap());
    let panic = catch_unwind(AssertUnwindSafe(|| {
        poll_once(mine.wait(), Waker::noop());
        resume_unwind(Box::new("while the participants are elsewhere"));
    }));
    assert!(panic.is_err());
    assert!(!phaser.is_closed());
    other.leave();
    assert_eq!(poll(&mut mine.wait(), Waker::noop()), Led(0));
}

#[test]
fn a_participant_that_is_dropped_closes_a_phaser_that_wants_it_and_one_that_leaves_does_not() {
    let phaser = Phaser::builder().close_on(Exit::Drop).build();
    let [mut mine, dropped, leaves] = [(); 3].map(|()| phaser.register().unwrap());
    let waker = CountingWaker::new();
    let mut wait = mine.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    leaves.leave();
    assert!(!phaser.is_closed());
    drop(dropped);
    assert!(phaser.is_closed());
    // Closed before the departure would have completed the phase.
    assert_eq!((numbers(&phaser), waker.wakes()), ((0, 1, 1), 1));
    assert_eq!(poll(&mut wait, &waker), Refused);
}

#[test]
fn a_participant_leaves_and_releases_though_the_close_of_its_drop_panics() {
    let phaser = Phaser::builder().close_on(Exit::Drop).build();
    let [mut other, mut leader] = [(); 2].map(|()| phaser.register().unwrap());
    other.arrive().unwrap();
    let leads = poll_once_to_lead(&mut leader);
    core::mem::forget(leads);
    let mut new_participant = phaser.register().unwrap();
    let mut wait = new_participant.wait();
    let panics = waker_that(|| panic!("in wake"));
    assert_eq!(poll(&mut wait, &panics), Pending);
    assert_eq!(panic_of(|| drop(leader)), "in wake");
    assert!(phaser.is_closed());
    assert_eq!(numbers(&phaser), (1, 2, 1));
    assert_eq!(poll(&mut other.wait(), Waker::noop()), Released(0));
    assert_eq!(poll(&mut wait, Waker::noop()), Refused);
}

fn poll_once_to_lead(participant: &mut Participant) -> Leader<'_> {
    let mut wait = participant.wait_leader();
    match Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}
