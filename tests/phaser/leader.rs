//! The section of a phaser's leader: what it blocks, what others may do meanwhile, and what ends it.

use core::{
    future::{Future, pending},
    mem,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};
use std::{
    panic::{catch_unwind, resume_unwind},
    sync::Arc,
};

use atomic_barrier::{
    Phaser,
    phaser::{Closed, Leader, Participant, WaitLeader},
};
use tokio::{
    sync::oneshot,
    task::{JoinSet, yield_now},
};

use support::{
    custom_clone::unclonable_waker,
    phasers::{numbers, participants},
    polling::{CountingWaker, Outcome::*, poll},
};

/// The ways to release, besides panics, cancellation and leaks.
const RELEASES: [fn(Leader<'_>); 2] = [|leader| leader.release(), |leader| drop(leader)];

type Ready<'a> = Poll<Result<Option<Leader<'a>>, Closed>>;

fn poll_leader<'a>(wait: &mut WaitLeader<'a>, waker: &Waker) -> Ready<'a> {
    Pin::new(wait).poll(&mut Context::from_waker(waker))
}

fn is_blocked(wait: &mut WaitLeader<'_>, waker: &Waker) -> bool {
    poll_leader(wait, waker).is_pending()
}

fn is_released(wait: &mut WaitLeader<'_>) -> bool {
    matches!(poll_leader(wait, Waker::noop()), Poll::Ready(Ok(None)))
}

/// The participant leads its phase.
fn lead(participant: &mut Participant) -> Leader<'_> {
    match poll_leader(&mut participant.wait_leader(), Waker::noop()) {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

fn wakes<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::wakes)
}

#[test]
fn all_others_are_blocked_until_the_release() {
    for release in RELEASES {
        let (phaser, [mut a, mut b, mut c]) = participants();
        let wakers = [(); 2].map(|()| CountingWaker::new());
        let (mut wait, mut wait_leader) = (a.wait(), b.wait_leader());
        assert_eq!(poll(&mut wait, &wakers[0]), Pending);
        assert!(is_blocked(&mut wait_leader, &wakers[1]));
        let leader = lead(&mut c);
        assert_eq!(leader.phase(), 0);
        for _ in 0..3 {
            assert_eq!(poll(&mut wait, &wakers[0]), Pending);
            assert!(is_blocked(&mut wait_leader, &wakers[1]));
        }
        // Nobody is missing, and the phase is not over.
        assert_eq!((numbers(&phaser), wakes(&wakers)), ((0, 3, 3), [0, 0]));
        release(leader);
        assert_eq!((numbers(&phaser), wakes(&wakers)), ((1, 3, 0), [1, 1]));
        assert_eq!(poll(&mut wait, &wakers[0]), Released(0));
        assert!(is_released(&mut wait_leader));
    }
}

#[test]
fn a_plain_wait_that_comes_last_holds_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    let mut wait = a.wait_leader();
    assert!(is_blocked(&mut wait, Waker::noop()));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert!(is_released(&mut wait));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_participant_that_led_by_arriving_has_released_already() {
    let (phaser, [mut a, mut b]) = participants();
    a.arrive().unwrap();
    b.arrive().unwrap();
    assert!(is_released(&mut b.wait_leader()));
    assert!(is_released(&mut a.wait_leader()));
    assert_eq!((a.arrive(), numbers(&phaser)), (Ok(1), (1, 2, 1)));
}

#[test]
fn a_participant_that_has_arrived_and_waits_for_the_leader_may_lead() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    b.arrive().unwrap();
    missing.leave();
    let leader = lead(&mut b);
    assert_eq!((leader.phase(), numbers(&phaser)), (0, (0, 2, 2)));
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    drop(leader);
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
}

#[test]
fn a_phase_that_a_departure_completes_gets_its_leaders_section() {
    for release in RELEASES {
        let (phaser, [mut a, mut b, missing]) = participants();
        let wakers = [(); 2].map(|()| CountingWaker::new());
        let (mut first, mut second) = (a.wait_leader(), b.wait_leader());
        assert!(is_blocked(&mut first, &wakers[0]));
        assert!(is_blocked(&mut second, &wakers[1]));
        missing.leave();
        assert_eq!((numbers(&phaser), wakes(&wakers)), ((0, 2, 2), [1, 1]));
        let Poll::Ready(Ok(Some(leader))) = poll_leader(&mut second, &wakers[1]) else {
            panic!("the first to be polled does not lead");
        };
        assert_eq!(leader.phase(), 0);
        assert!(is_blocked(&mut first, &wakers[0]));
        assert_eq!(wakes(&wakers), [1, 1]);
        release(leader);
        assert_eq!(wakes(&wakers), [2, 1]);
        assert!(is_released(&mut first));
        drop((first, second));
        assert_eq!((a.arrive(), b.arrive()), (Ok(1), Ok(1)));
    }
}

#[test]
fn alone_a_participant_leads_every_phase() {
    let (phaser, [mut participant]) = participants();
    for phase in 0..5 {
        let leader = lead(&mut participant);
        assert_eq!((leader.phase(), numbers(&phaser)), (phase, (phase, 1, 1)));
    }
}

#[test]
fn a_leader_prints_its_participant() {
    let (_phaser, [mut participant]) = participants();
    let printed = format!("{:?}", lead(&mut participant));
    assert_eq!(
        printed,
        "Leader { phase: 0, phaser: Phaser { phase: 0, parties: 1, arrived: 1, closed: false, .. }, .. }"
    );
    let printed = format!("{:?}", participant.wait_leader());
    assert!(printed.starts_with("WaitLeader"), "{printed}");
}

// Registrations and departures while the release is held.

#[test]
fn a_participant_that_registers_while_the_release_is_held_belongs_to_the_next_phase() {
    let (phaser, [mut a, mut b]) = participants();
    let wakers = [(); 3].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &wakers[0]), Pending);
    let leader = lead(&mut b);
    let [mut c, mut d] = [(); 2].map(|()| phaser.register().unwrap());
    let (mut early, mut earlier) = (c.wait_leader(), d.wait());
    assert!(is_blocked(&mut early, &wakers[1]));
    assert_eq!(poll(&mut earlier, &wakers[2]), Pending);
    // May be withdrawn, and made again.
    drop(early);
    assert_eq!(c.arrive(), Ok(1));
    assert_eq!(numbers(&phaser), (0, 4, 4));

    leader.release();
    assert_eq!((numbers(&phaser), wakes(&wakers)), ((1, 4, 2), [1, 0, 0]));
    assert_eq!(poll(&mut earlier, &wakers[2]), Pending);
    assert_eq!(poll(&mut wait, &wakers[0]), Released(0));
    drop(wait);
    assert_eq!((a.arrive(), b.arrive()), (Ok(1), Ok(1)));
    assert_eq!((numbers(&phaser), wakes(&wakers)), ((2, 4, 0), [1, 0, 1]));
    assert_eq!(poll(&mut earlier, &wakers[2]), Released(1));
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Released(1));
}

#[test]
fn a_participant_that_leaves_while_the_release_is_held_is_not_missed() {
    let (phaser, [mut a, mut b, mut c]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let (mut wait, mut other) = (a.wait(), b.wait());
    assert_eq!(poll(&mut wait, &wa), Pending);
    assert_eq!(poll(&mut other, &wb), Pending);
    let leader = lead(&mut c);
    let [mut d, e] = [(); 2].map(|()| phaser.register().unwrap());
    d.arrive().unwrap();
    // One of the phase that is complete, one that has arrived in the next, one that has not.
    drop(wait);
    a.leave();
    assert_eq!(numbers(&phaser), (0, 4, 4));
    d.leave();
    assert_eq!(numbers(&phaser), (0, 3, 3));
    e.leave();
    assert_eq!(numbers(&phaser), (0, 2, 2));
    assert_eq!(poll(&mut other, &wb), Pending);
    leader.release();
    assert_eq!([wa.wakes(), wb.wakes()], [0, 1]);
    assert_eq!(poll(&mut other, &wb), Released(0));
    drop(other);
    assert_eq!((b.arrive(), c.arrive()), (Ok(1), Ok(1)));
    assert_eq!(numbers(&phaser), (2, 2, 0));
}

#[test]
fn nobody_withdraws_while_the_release_is_held() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    let leader = lead(&mut b);
    drop(wait);
    assert_eq!(numbers(&phaser), (0, 2, 2));
    assert_eq!(a.arrive(), Ok(0));
    let mut again = a.wait();
    assert_eq!(poll(&mut again, &waker), Pending);
    leader.release();
    assert_eq!(waker.wakes(), 1);
    assert_eq!(poll(&mut again, &waker), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn all_others_may_leave_while_the_release_is_held() {
    let (phaser, [mut a, mut b]) = participants();
    a.arrive().unwrap();
    let leader = lead(&mut b);
    a.leave();
    assert_eq!(numbers(&phaser), (0, 1, 1));
    drop(leader);
    assert_eq!(numbers(&phaser), (1, 1, 0));
    assert_eq!(lead(&mut b).phase(), 1);
}

#[test]
fn new_participants_that_arrive_before_the_release_are_completed_by_a_departure_after_it() {
    let (phaser, [mut a]) = participants();
    let waker = CountingWaker::new();
    let leader = lead(&mut a);
    let mut new_participant = phaser.register().unwrap();
    let mut wait = new_participant.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    drop(leader);
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 2, 1), 0));
    a.leave();
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 1, 1), 1));
    assert_eq!(poll(&mut wait, &waker), Led(1));
}

// What ends it.

#[test]
fn a_panic_releases() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _leader = lead(&mut b);
        resume_unwind(Box::new("while it led"));
    }));
    assert!(panic.is_err());
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 2, 0), 1));
    assert_eq!(poll(&mut wait, &waker), Released(0));
}

#[tokio::test]
async fn an_aborted_leader_releases_and_leaves() {
    let (phaser, [mut mine, mut theirs]) = participants();
    let (leads, mut reached) = oneshot::channel::<()>();
    mine.arrive().unwrap();
    let task = tokio::spawn(async move {
        let leader = theirs.wait_leader().await.unwrap().unwrap();
        drop(leads);
        pending::<()>().await;
        drop(leader);
    });
    assert!((&mut reached).await.is_err());
    let waker = CountingWaker::new();
    let mut wait = mine.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 1, 0), 1));
    assert_eq!(poll(&mut wait, &waker), Released(0));
}

#[test]
fn a_leaked_leader_releases_with_its_participants_next_call() {
    let calls: &[fn(&mut Participant)] = &[
        |participant| assert_eq!(participant.arrive(), Ok(1)),
        |participant| assert_eq!(poll(&mut participant.wait(), Waker::noop()), Pending),
        |participant| assert!(is_blocked(&mut participant.wait_leader(), Waker::noop())),
        #[cfg(feature = "std")]
        |participant| {
            let result = participant.wait_blocking_timeout(core::time::Duration::ZERO);
            assert_eq!(result, Err(atomic_barrier::phaser::WaitError::TimedOut));
        },
    ];
    for call in calls {
        let (phaser, [mut a, mut b]) = participants();
        let waker = CountingWaker::new();
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        mem::forget(lead(&mut b));
        // Not a call: nothing happens before the first poll.
        drop(b.wait());
        assert_eq!(poll(&mut wait, &waker), Pending);
        assert_eq!((numbers(&phaser), waker.wakes()), ((0, 2, 2), 0));
        call(&mut b);
        assert_eq!(waker.wakes(), 1);
        assert_eq!(poll(&mut wait, &waker), Released(0));
        drop(wait);
        assert_eq!((b.arrive(), a.arrive()), (Ok(1), Ok(1)));
        assert_eq!(numbers(&phaser), (2, 2, 0));
    }
}

#[test]
fn a_leaked_leader_releases_when_its_participant_leaves() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    mem::forget(lead(&mut b));
    b.leave();
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 1, 0), 1));
    assert_eq!(poll(&mut wait, &waker), Released(0));
}

#[test]
fn the_next_phase_is_not_complete_before_the_release_of_the_one_before() {
    let (phaser, [mut a]) = participants();
    let leader = lead(&mut a);
    let mut new_participants = phaser.register_many(3).unwrap();
    for participant in &mut new_participants {
        assert_eq!(participant.arrive(), Ok(1));
    }
    assert_eq!(numbers(&phaser), (0, 4, 4));
    leader.release();
    assert_eq!(numbers(&phaser), (1, 4, 3));
    let leader = lead(&mut a);
    assert_eq!((leader.phase(), numbers(&phaser)), (1, (1, 4, 4)));
}

// Before the phase is complete, `wait_leader` is a wait like any other.

#[test]
fn a_dropped_wait_for_the_leader_withdraws_its_arrival() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    for _ in 0..3 {
        let mut wait = a.wait_leader();
        assert!(is_blocked(&mut wait, &waker));
        assert_eq!(numbers(&phaser), (0, 2, 1));
        drop(wait);
        assert_eq!(numbers(&phaser), (0, 2, 0));
    }
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(waker.wakes(), 0);
    assert_eq!(lead(&mut a).phase(), 0);
}

#[test]
fn a_wait_for_the_leader_dropped_too_late_leaves_the_result_to_the_next() {
    let (phaser, [mut a, mut b]) = participants();
    let mut wait = a.wait_leader();
    assert!(is_blocked(&mut wait, Waker::noop()));
    drop(lead(&mut b));
    drop(wait);
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_panic_in_clone_changes_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait_leader();
    for arrived in [0, 1] {
        let panic = catch_unwind(AssertUnwindSafe(|| {
            poll_leader(&mut wait, &unclonable_waker()).is_ready()
        }));
        let message = *panic.unwrap_err().downcast::<&str>().unwrap();
        assert_eq!(message, "no clone of this waker");
        assert_eq!(numbers(&phaser), (0, 2, arrived));
        assert!(is_blocked(&mut wait, &waker));
    }
    drop(lead(&mut b));
    assert_eq!(waker.wakes(), 1);
    assert!(is_released(&mut wait));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_sees_what_all_did_and_all_see_what_it_did() {
    const PARTIES: usize = 5;
    const PHASES: u64 = 300;
    struct Shared {
        parts: [AtomicU64; PARTIES],
        sum: AtomicU64,
    }
    let shared = Arc::new(Shared {
        parts: [const { AtomicU64::new(0) }; PARTIES],
        sum: AtomicU64::new(0),
    });
    let phaser = Phaser::new();
    let mut tasks = JoinSet::new();
    for (party, mut participant) in phaser
        .register_many(PARTIES)
        .unwrap()
        .into_iter()
        .enumerate()
    {
        let shared = shared.clone();
        tasks.spawn(async move {
            let mut led = 0;
            for phase in 0..PHASES {
                shared.parts[party].store(party as u64 * phase, Ordering::Relaxed);
                if let Some(leader) = participant.wait_leader().await.unwrap() {
                    assert_eq!(leader.phase(), 2 * phase);
                    let parts = shared.parts.iter().map(|part| part.load(Ordering::Relaxed));
                    let sum = parts.sum();
                    yield_now().await;
                    shared.sum.store(sum, Ordering::Relaxed);
                    led += 1;
                }
                assert_eq!(shared.sum.load(Ordering::Relaxed), 10 * phase);
                // Else the next leader might already be at work.
                participant.wait().await.unwrap();
            }
            led
        });
    }
    let led: u64 = tasks.join_all().await.into_iter().sum();
    assert_eq!(led, PHASES);
    // The last to leave ended one more.
    assert_eq!(numbers(&phaser), (2 * PHASES + 1, 0, 0));
}
