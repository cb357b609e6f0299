//! Threads that are participants of a phaser, among themselves and with tasks, for ever or for a time.

use core::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{panic::resume_unwind, thread, time::Instant};

use atomic_barrier::{
    Phaser,
    phaser::{Leader, Participant, WaitError, WaitLeader, WaitResult},
};

use support::{
    custom_wake::{panic_of, waker_that},
    phasers::{closed, numbers, participants},
    polling::{CountingWaker, Outcome, Outcome::*, poll},
};

fn block(participant: &mut Participant) -> Outcome {
    participant.wait_blocking().into()
}

fn lead(participant: &mut Participant) -> Leader<'_> {
    let wait =
        Pin::new(&mut participant.wait_leader()).poll(&mut Context::from_waker(Waker::noop()));
    match wait {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

/// Until as many have arrived.
fn until_arrived(phaser: &Phaser, arrived: usize) {
    while phaser.arrived() != arrived {
        thread::yield_now();
    }
}

/// Each phase has so many of these results, of which one is its leader's.
fn assert_phases(participants: usize, mut results: Vec<WaitResult>) {
    results.sort_by_key(|result| (result.phase(), result.is_leader()));
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.phase(), (i / participants) as u64);
        assert_eq!(result.is_leader(), i % participants == participants - 1);
    }
}

#[test]
fn threads_and_tasks_meet() {
    const PHASES: u64 = 300;
    let phaser = Phaser::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let begun = AtomicU64::new(0);
    let mut participants = phaser.register_many(6).unwrap();
    let tasks = participants
        .split_off(3)
        .into_iter()
        .map(|mut participant| {
            runtime.spawn(async move {
                let mut results = Vec::new();
                for _ in 0..PHASES {
                    results.push(participant.wait().await.unwrap());
                }
                (participant, results)
            })
        });
    let tasks: Vec<_> = tasks.collect();
    let meet = |participant: &mut Participant, phase| {
        begun.fetch_add(1, Ordering::Relaxed);
        let result = match phase % 3 {
            0 => participant.wait_blocking_timeout(Duration::MAX).unwrap(),
            _ => participant.wait_blocking().unwrap(),
        };
        // What came before the others' arrivals is seen, and nobody is ahead by two.
        let begun = begun.load(Ordering::Relaxed);
        assert!((phase + 1) * 3 <= begun && begun < (phase + 2) * 3);
        result
    };
    let mut results = thread::scope(|scope| {
        let threads = participants.iter_mut().map(|participant| {
            scope.spawn(move || {
                (0..PHASES)
                    .map(|phase| meet(participant, phase))
                    .collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.collect::<Vec<_>>().concat()
    });
    for task in tasks {
        let (participant, of_task) = runtime.block_on(task).unwrap();
        results.extend(of_task);
        participants.push(participant);
    }
    assert_eq!(results.len(), 6 * PHASES as usize);
    assert_phases(6, results);
    assert_eq!(numbers(&phaser), (PHASES, 6, 0));
}

#[test]
fn a_thread_that_comes_last_leads_and_wakes_the_others_within_the_call() {
    let lasts: [fn(&mut Participant) -> WaitResult; 2] = [
        |participant| participant.wait_blocking().unwrap(),
        // No time at all is enough for the last.
        |participant| participant.wait_blocking_timeout(Duration::ZERO).unwrap(),
    ];
    for last in lasts {
        let (phaser, [mut a, mut b]) = participants();
        let waker = CountingWaker::new();
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        let result = last(&mut b);
        assert!(result.is_leader());
        assert_eq!(
            (result.phase(), waker.wakes(), numbers(&phaser)),
            (0, 1, (1, 2, 0))
        );
        assert_eq!(poll(&mut wait, &waker), Released(0));
    }
}

#[test]
fn a_blocked_thread_is_released_by_the_last_to_arrive() {
    let lasts: [fn(Participant) -> bool; 4] = [
        |mut participant| poll(&mut participant.wait(), Waker::noop()) == Led(0),
        |mut participant| participant.arrive() == Ok(0),
        |mut participant| lead(&mut participant).phase() == 0,
        |mut participant| block(&mut participant) == Led(0),
    ];
    for last in lasts {
        let (phaser, [mut a, b]) = participants();
        thread::scope(|scope| {
            let blocked = scope.spawn(|| block(&mut a));
            until_arrived(&phaser, 1);
            assert!(last(b));
            assert_eq!(blocked.join().unwrap(), Released(0));
        });
    }
}

#[test]
fn of_blocked_threads_one_at_most_leads_a_phase_that_a_departure_completes() {
    for _ in 0..50 {
        let (phaser, [mut a, mut b, missing]) = participants();
        thread::scope(|scope| {
            let blocked = [scope.spawn(|| block(&mut a)), scope.spawn(|| block(&mut b))];
            until_arrived(&phaser, 2);
            missing.leave();
            let outcomes = blocked.map(|thread| thread.join().unwrap());
            assert_ne!(outcomes, [Led(0), Led(0)]);
            for outcome in outcomes {
                assert!([Led(0), Released(0)].contains(&outcome));
            }
        });
        assert_eq!(numbers(&phaser), (1, 2, 0));
    }
}

#[test]
fn a_blocked_thread_is_released_when_another_panics() {
    let (phaser, [mut a, b]) = participants();
    thread::scope(|scope| {
        let blocked = scope.spawn(|| block(&mut a));
        until_arrived(&phaser, 1);
        let other = scope.spawn(|| {
            let _participant = b;
            resume_unwind(Box::new("in its part"));
        });
        assert!(other.join().is_err());
        assert!([Led(0), Released(0)].contains(&blocked.join().unwrap()));
    });
}

#[test]
fn a_blocked_thread_is_refused_when_the_phaser_is_closed() {
    let (phaser, [mut a, mut b, _missing]) = participants();
    thread::scope(|scope| {
        let blocked = scope.spawn(|| a.wait_blocking());
        let with_deadline = scope.spawn(|| b.wait_blocking_timeout(Duration::MAX));
        until_arrived(&phaser, 2);
        phaser.close();
        assert_eq!(blocked.join().unwrap(), Err(closed()));
        assert_eq!(with_deadline.join().unwrap(), Err(WaitError::Closed));
    });
}

#[test]
fn a_timeout_withdraws_the_arrival() {
    let (phaser, [mut a, mut b]) = participants();
    for timeout in [Duration::ZERO, Duration::from_millis(5)] {
        let result = a.wait_blocking_timeout(timeout);
        assert_eq!(result, Err(WaitError::TimedOut));
        assert_eq!(numbers(&phaser), (0, 2, 0));
    }
    b.arrive().unwrap();
    assert_eq!(block(&mut a), Led(0));
}

#[test]
fn a_timeout_of_a_participant_that_had_arrived_withdraws_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    a.arrive().unwrap();
    let result = a.wait_blocking_timeout(Duration::ZERO);
    assert_eq!(result, Err(WaitError::TimedOut));
    assert_eq!(numbers(&phaser), (0, 2, 1));
    assert_eq!(block(&mut b), Led(0));
    assert_eq!(block(&mut a), Released(0));
}

#[test]
fn a_timeout_of_a_complete_phase_waits_for_its_release() {
    const TIMEOUT: Duration = Duration::from_millis(2);
    let (phaser, [mut a, mut b]) = participants();
    let released = AtomicU64::new(0);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            // It may miss the leader, and has then been withdrawn.
            let result = loop {
                match a.wait_blocking_timeout(TIMEOUT) {
                    Err(WaitError::TimedOut) => assert_eq!(phaser.phase(), 0),
                    result => break result.unwrap(),
                }
            };
            assert_eq!(released.load(Ordering::Relaxed), 1);
            result
        });
        loop {
            until_arrived(&phaser, 1);
            let mut wait = b.wait_leader();
            let poll = Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(leader) = poll else {
                continue;
            };
            let leader = leader.unwrap().unwrap();
            let deadline = Instant::now() + 5 * TIMEOUT;
            while Instant::now() < deadline {
                assert!(!blocked.is_finished());
                thread::yield_now();
            }
            released.store(1, Ordering::Relaxed);
            leader.release();
            break;
        }
        let result = blocked.join().unwrap();
        assert_eq!((result.is_leader(), result.phase()), (false, 0));
    });
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_thread_that_times_out_counted_or_was_never_there() {
    let (phaser, [mut a, mut b]) = participants();
    for round in 0..200 {
        let phase = phaser.phase();
        let (one, other) = thread::scope(|scope| {
            let participant = &mut a;
            // In between it is open what becomes of them.
            let timeout = match round % 40 {
                39 => Duration::MAX,
                short => Duration::from_micros(short * 25),
            };
            let blocked = scope.spawn(move || participant.wait_blocking_timeout(timeout));
            while round % 4 != 2 && phaser.arrived() == 0 && !blocked.is_finished() {
                thread::yield_now();
            }
            let other = b.wait_blocking_timeout(Duration::ZERO);
            (blocked.join().unwrap(), other)
        });
        if let (Ok(one), Ok(other)) = (one, other) {
            assert_eq!((one.phase(), other.phase()), (phase, phase));
            assert_ne!(one.is_leader(), other.is_leader());
            assert_eq!(numbers(&phaser), (phase + 1, 2, 0));
        } else {
            assert_ne!(round % 40, 39);
            assert_eq!([one, other], [Err(WaitError::TimedOut); 2]);
            assert_eq!(numbers(&phaser), (phase, 2, 0));
        }
    }
}

#[test]
fn a_leaked_wait_is_observed_by_a_thread() {
    let (phaser, [mut a, mut b]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    mem::forget(wait);
    b.arrive().unwrap();
    assert_eq!(block(&mut a), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_panic_in_wake_comes_out_of_the_threads_call_after_all_are_woken() {
    let (phaser, [mut a, mut b, mut c]) = participants();
    let waker = CountingWaker::new();
    let (mut wait, mut other) = (a.wait(), b.wait());
    let panicking = waker_that(|| panic!("in wake"));
    assert_eq!(poll(&mut wait, &panicking), Pending);
    assert_eq!(poll(&mut other, &waker), Pending);
    assert_eq!(panic_of(|| block(&mut c)), "in wake");
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 3, 0), 1));
    assert_eq!(block(&mut c), Led(0));
    assert_eq!(poll(&mut other, &waker), Released(0));
}

#[test]
fn the_error_says_what_was_waited_for() {
    assert_eq!(
        WaitError::TimedOut.to_string(),
        "timed out waiting for the other participants of a phaser"
    );
    assert_eq!(WaitError::Closed.to_string(), closed().to_string());
}

#[test]
fn a_thread_leads_tasks_and_a_task_leads_threads() {
    let (phaser, [mut thread, mut task]) = participants();
    // The thread comes last.
    let mut wait = task.wait_leader();
    assert!(is_pending(&mut wait));
    let leader = thread.wait_leader_blocking().unwrap().unwrap();
    assert_eq!((leader.phase(), numbers(&phaser)), (0, (0, 2, 2)));
    assert!(is_pending(&mut wait));
    leader.release();
    assert!(!is_pending(&mut wait));
    drop(wait);
    // The task comes last.
    let blocked = thread::spawn(move || {
        let leads = thread.wait_leader_blocking().unwrap().is_some();
        (thread, leads)
    });
    while phaser.arrived() == 0 {
        thread::yield_now();
    }
    let leader = lead(&mut task);
    assert_eq!(leader.phase(), 1);
    leader.release();
    let (thread, leads) = blocked.join().unwrap();
    assert!(!leads);
    drop(thread);
}

fn is_pending(wait: &mut WaitLeader<'_>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(wait).poll(&mut context).is_pending()
}

#[test]
fn a_thread_that_waits_to_lead_withdraws_when_its_time_is_up() {
    let (phaser, [mut a, b]) = participants();
    for _ in 0..3 {
        let result = a.wait_leader_blocking_timeout(Duration::from_millis(1));
        assert_eq!(result.unwrap_err(), WaitError::TimedOut);
        assert_eq!(numbers(&phaser), (0, 2, 0));
        let result = a.wait_leader_blocking_deadline(Instant::now());
        assert_eq!(result.unwrap_err(), WaitError::TimedOut);
        assert_eq!(numbers(&phaser), (0, 2, 0));
        let result = a.wait_blocking_deadline(Instant::now());
        assert_eq!(result, Err(WaitError::TimedOut));
        assert_eq!(numbers(&phaser), (0, 2, 0));
    }
    b.leave();
    let leader = a.wait_leader_blocking_deadline(Instant::now()).unwrap();
    assert_eq!(leader.unwrap().phase(), 0);
    assert_eq!(a.wait_blocking_deadline(Instant::now()).unwrap().phase(), 1);
    phaser.close();
    assert_eq!(a.wait_leader_blocking().unwrap_err(), closed());
    let result = a.wait_blocking_deadline(Instant::now());
    assert_eq!(result, Err(WaitError::from(closed())));
}

#[test]
fn a_thread_observes_the_end_of_a_phase() {
    let (phaser, [mut a]) = participants();
    let observers = [0, 1].map(|phase| {
        let phaser = phaser.clone();
        thread::spawn(move || phaser.observe(phase).wait_blocking())
    });
    let [first, second] = observers;
    a.arrive().unwrap();
    assert_eq!(first.join().unwrap(), Ok(()));
    phaser.close();
    assert_eq!(second.join().unwrap(), Err(closed()));
    assert_eq!(phaser.observe(0).wait_blocking(), Ok(()));
}
