//! Threads that wait, among themselves and with tasks, for ever or for a time.

use core::{
    cell::Cell,
    error::Error,
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::Duration,
};
use std::{
    sync::{Arc, mpsc},
    thread::{self, ThreadId},
    time::Instant,
};

use atomic_barrier::barrier::{Barrier, BarrierWaitResult, Leader, WaitTimeoutError};

use support::{
    custom_wake::{panic_of, waker_that},
    polling::{CountingWaker, Outcome::*, poll},
};

fn counts(barrier: &Barrier) -> (usize, u64) {
    (barrier.arrived(), barrier.generation())
}

/// Until as many have arrived.
fn until_arrived(barrier: &Barrier, arrived: usize) {
    while barrier.arrived() != arrived {
        thread::yield_now();
    }
}

fn try_to_lead(barrier: &Barrier) -> Option<Leader<'_>> {
    match Pin::new(&mut barrier.wait_leader()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(leader) => leader,
        Poll::Pending => None,
    }
}

/// Every generation from 0 has `n` of these results, of which one is the leader's.
fn assert_meetings(n: usize, mut results: Vec<BarrierWaitResult>) {
    results.sort_by_key(|result| (result.generation(), result.is_leader()));
    for (i, result) in results.iter().enumerate() {
        assert_eq!(result.generation(), (i / n) as u64);
        assert_eq!(result.is_leader(), i % n == n - 1);
    }
}

#[test]
fn threads_meet() {
    const GENERATIONS: u64 = 300;
    for n in [1, 2, 5] {
        let barrier = Barrier::new(n);
        let begun = AtomicU64::new(0);
        let party = || {
            let meet = |generation| {
                begun.fetch_add(1, Ordering::Relaxed);
                let result = match generation % 3 {
                    0 => barrier.wait_blocking_timeout(Duration::MAX).unwrap(),
                    _ => barrier.wait_blocking(),
                };
                // All that came before the others' arrivals is seen, and nobody is ahead by two.
                let begun = begun.load(Ordering::Relaxed);
                let parties = n as u64;
                assert!((generation + 1) * parties <= begun && begun < (generation + 2) * parties);
                result
            };
            (0..GENERATIONS).map(meet).collect::<Vec<_>>()
        };
        let results = thread::scope(|scope| {
            let threads: Vec<_> = (0..n).map(|_| scope.spawn(party)).collect();
            let results = threads.into_iter().map(|thread| thread.join().unwrap());
            results.collect::<Vec<_>>().concat()
        });
        assert_eq!(results.len(), n * GENERATIONS as usize);
        assert_meetings(n, results);
        assert_eq!(counts(&barrier), (0, GENERATIONS));
    }
}

#[test]
fn threads_and_tasks_meet() {
    const GENERATIONS: u64 = 300;
    let barrier = Arc::new(Barrier::new(6));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    let task = |barrier: Arc<Barrier>, kind| async move {
        let mut results = Vec::new();
        for _ in 0..GENERATIONS {
            results.push(match kind {
                0 => barrier.wait().await,
                1 => barrier.clone().wait_owned().await,
                _ => barrier.arrive().await,
            });
        }
        results
    };
    let tasks = [0, 1, 2].map(|kind| runtime.spawn(task(barrier.clone(), kind)));
    let thread = || {
        let results = (0..GENERATIONS).map(|_| barrier.wait_blocking());
        results.collect::<Vec<_>>()
    };
    let mut results = thread::scope(|scope| {
        let others = [scope.spawn(thread), scope.spawn(thread)];
        let mut results = thread();
        results.extend(others.into_iter().flat_map(|other| other.join().unwrap()));
        results
    });
    for task in tasks {
        results.extend(runtime.block_on(task).unwrap());
    }
    assert_eq!(results.len(), 6 * GENERATIONS as usize);
    assert_meetings(6, results);
    assert_eq!(counts(&barrier), (0, GENERATIONS));
}

#[test]
fn a_thread_that_comes_last_leads_and_wakes_the_others_within_the_call() {
    let barrier = Barrier::new(3);
    for last in [
        |barrier: &Barrier| barrier.wait_blocking(),
        // No time at all is enough for the last.
        |barrier: &Barrier| barrier.wait_blocking_timeout(Duration::ZERO).unwrap(),
    ] {
        let generation = barrier.generation();
        let waker = CountingWaker::new();
        let mut waits = [(); 2].map(|()| barrier.wait());
        for wait in &mut waits {
            assert_eq!(poll(wait, &waker), Pending);
        }
        let result = last(&barrier);
        assert!(result.is_leader());
        assert_eq!(result.generation(), generation);
        assert_eq!(counts(&barrier), (0, generation + 1));
        assert_eq!((waker.wakes(), waker.clones()), (2, 0));
        for wait in &mut waits {
            assert_eq!(poll(wait, &waker), Released(generation));
        }
    }
}

#[test]
fn a_blocked_thread_is_released_by_the_last_to_arrive() {
    let barrier = Barrier::new(2);
    let lasts: [fn(&Barrier); 3] = [
        |barrier| assert!(matches!(poll(&mut barrier.wait(), Waker::noop()), Led(_))),
        |barrier| drop(barrier.arrive()),
        |barrier| try_to_lead(barrier).unwrap().release(),
    ];
    for (generation, last) in (0..300).zip(lasts.iter().cycle()) {
        thread::scope(|scope| {
            let blocked = scope.spawn(|| barrier.wait_blocking());
            until_arrived(&barrier, 1);
            assert!(!blocked.is_finished());
            last(&barrier);
            let result = blocked.join().unwrap();
            assert!(!result.is_leader());
            assert_eq!(result.generation(), generation);
        });
    }
    assert_eq!(counts(&barrier), (0, 300));
}

#[test]
fn a_panic_in_wake_comes_out_of_the_threads_call_after_all_are_woken() {
    let barrier = Barrier::new(4);
    let panicking = waker_that(|| panic!("in wake"));
    let counting = [(); 2].map(|()| CountingWaker::new());
    let wakers: [&Waker; 3] = [&counting[0], &panicking, &counting[1]];
    let mut waits = [(); 3].map(|()| barrier.wait());
    for (wait, waker) in waits.iter_mut().zip(wakers) {
        assert_eq!(poll(wait, waker), Pending);
    }
    assert_eq!(panic_of(|| barrier.wait_blocking()), "in wake");
    assert_eq!(counts(&barrier), (0, 1));
    assert_eq!(counting.each_ref().map(CountingWaker::wakes), [1, 1]);
    for (wait, waker) in waits.iter_mut().zip(wakers) {
        assert_eq!(poll(wait, waker), Released(0));
    }
    // The thread may go on.
    drop([(); 3].map(|()| barrier.arrive()));
    assert!(barrier.wait_blocking().is_leader());
}

// For a time.

#[test]
fn a_timeout_withdraws_the_arrival() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    for timeout in [0, 1, 20, 0].map(Duration::from_millis) {
        let start = Instant::now();
        let result = barrier.wait_blocking_timeout(timeout);
        assert!(result.is_err());
        assert!(start.elapsed() >= timeout);
        assert_eq!(counts(&barrier), (1, 0));
    }
    drop(barrier.arrive());
    assert_eq!((waker.wakes(), waker.clones()), (0, 1));
    assert!(barrier.wait_blocking().is_leader());
    assert_eq!(waker.wakes(), 1);
}

#[test]
fn a_thread_that_times_out_counted_or_was_never_there() {
    let barrier = Barrier::new(2);
    let (go, at_go) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            for timeout in at_go {
                tell.send(barrier.wait_blocking_timeout(timeout)).unwrap();
            }
        });
        for micros in 0..500 {
            let generation = barrier.generation();
            go.send(Duration::from_micros(micros % 100)).unwrap();
            let mut early = None;
            while barrier.arrived() == 0 && early.is_none() {
                early = told.try_recv().ok();
            }
            drop(barrier.arrive());
            match early.unwrap_or_else(|| told.recv().unwrap()) {
                Ok(result) => {
                    assert!(!result.is_leader());
                    assert_eq!(result.generation(), generation);
                    assert_eq!(counts(&barrier), (0, generation + 1));
                }
                Err(_) => {
                    assert_eq!(counts(&barrier), (1, generation));
                    drop(barrier.arrive());
                    assert_eq!(counts(&barrier), (0, generation + 1));
                }
            }
        }
        drop(go);
    });
}

#[test]
fn a_timeout_too_long_for_the_clock_never_ends() {
    let barrier = Barrier::new(2);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| barrier.wait_blocking_timeout(Duration::MAX));
        while barrier.arrived() == 0 && !blocked.is_finished() {
            thread::yield_now();
        }
        drop(barrier.arrive());
        assert!(!blocked.join().unwrap().unwrap().is_leader());
    });
    assert_eq!(counts(&barrier), (0, 1));
}

#[test]
fn the_error_says_what_was_waited_for() {
    let error = Barrier::new(2).wait_blocking_timeout(Duration::ZERO);
    let error: Box<dyn Error + Send + Sync> = error.unwrap_err().into();
    assert_eq!(
        error.to_string(),
        "timed out waiting for the other parties of a barrier"
    );
    assert!(error.source().is_none());
    assert_eq!(format!("{error:?}"), "WaitTimeoutError");
    assert!(error.is::<WaitTimeoutError>());
}

// While a leader holds the release.

#[test]
fn a_timeout_of_a_complete_generation_waits_for_its_release() {
    const TIMEOUT: Duration = Duration::from_millis(2);
    let barrier = Barrier::new(2);
    let released = AtomicU64::new(0);
    thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            // It may miss the leader, and has then been withdrawn.
            let result = loop {
                match barrier.wait_blocking_timeout(TIMEOUT) {
                    Ok(result) => break result,
                    Err(_) => assert_eq!(barrier.generation(), 0),
                }
            };
            assert_eq!(released.load(Ordering::Relaxed), 1);
            result
        });
        let leader = loop {
            until_arrived(&barrier, 1);
            if let Some(leader) = try_to_lead(&barrier) {
                break leader;
            }
        };
        let deadline = Instant::now() + 5 * TIMEOUT;
        while Instant::now() < deadline {
            assert!(!blocked.is_finished());
            assert_eq!(counts(&barrier), (2, 0));
            thread::yield_now();
        }
        released.store(1, Ordering::Relaxed);
        leader.release();
        let result = blocked.join().unwrap();
        assert_eq!((result.is_leader(), result.generation()), (false, 0));
    });
    assert_eq!(counts(&barrier), (0, 1));
}

#[test]
fn a_thread_of_the_next_generation_may_time_out_before_the_release() {
    let barrier = Barrier::new(2);
    drop(barrier.arrive());
    let leader = try_to_lead(&barrier).unwrap();
    let timeout = || {
        let result = barrier.wait_blocking_timeout(Duration::from_millis(1));
        assert!(result.is_err());
        assert_eq!(counts(&barrier), (2, 0));
    };
    // Early, and in the queue behind an early one.
    timeout();
    timeout();
    let waker = CountingWaker::new();
    let mut early = barrier.wait();
    assert_eq!(poll(&mut early, &waker), Pending);
    timeout();
    timeout();
    leader.release();
    assert_eq!((counts(&barrier), waker.wakes()), ((1, 1), 0));
    assert!(barrier.wait_blocking().is_leader());
    assert_eq!(poll(&mut early, &waker), Released(1));
}

#[test]
fn a_thread_that_comes_while_the_release_is_held_goes_on_after_it() {
    for n in [1, 2, 3] {
        let barrier = Barrier::new(n);
        for generation in 0..100 {
            drop((1..n).map(|_| barrier.arrive()).collect::<Vec<_>>());
            let leader = try_to_lead(&barrier).unwrap();
            drop((1..n).map(|_| barrier.arrive()).collect::<Vec<_>>());
            thread::scope(|scope| {
                let queued = scope.spawn(|| barrier.wait_blocking());
                for _ in 0..generation {
                    thread::yield_now();
                    assert!(!queued.is_finished());
                }
                leader.release();
                let result = queued.join().unwrap();
                assert!(result.is_leader());
                assert_eq!(result.generation(), 2 * generation + 1);
            });
            assert_eq!(counts(&barrier), (0, 2 * generation + 2));
        }
    }
}

// What a thread sleeps in.

#[test]
fn a_waker_may_block_in_the_call_of_a_thread_that_leads() {
    let inner = Arc::new(Barrier::new(2));
    let outer = Barrier::new(2);
    let meets = waker_that({
        let inner = inner.clone();
        move || {
            inner.wait_blocking();
        }
    });
    for generation in 0..20 {
        let mut wait = outer.wait();
        assert_eq!(poll(&mut wait, &meets), Pending);
        thread::scope(|scope| {
            scope.spawn(|| assert!(outer.wait_blocking().is_leader()));
            until_arrived(&inner, 1);
            assert_eq!(outer.generation(), generation + 1);
            inner.wait_blocking();
        });
        assert_eq!(poll(&mut wait, &meets), Released(generation));
    }
    assert_eq!(counts(&inner), (0, 20));
}

#[test]
fn a_waker_may_block_in_the_call_of_a_thread_that_helps_its_leader() {
    // The leader is stopped by the first waker, and goes on when the thread, whose time is up, finds
    // itself released, helps from the other end and is stopped there by the last waker.
    const PATIENCE: Duration = Duration::from_millis(500);
    let inner = Arc::new(Barrier::new(2));
    let (tell, told) = mpsc::channel::<(ThreadId, bool)>();
    let meets = waker_that(move || {
        let met = inner.wait_blocking_timeout(PATIENCE).is_ok();
        tell.send((thread::current().id(), met)).unwrap();
    });
    // The thread may not have gone to sleep when the leader comes, and does not help then; or its time
    // may be up before.
    for attempt in 0.. {
        assert!(attempt < 100, "the thread never helped");
        let outer = Barrier::new(4);
        let helped = thread::scope(|scope| {
            let mut first = outer.wait();
            assert_eq!(poll(&mut first, &meets), Pending);
            let blocked = scope.spawn(|| outer.wait_blocking_timeout(PATIENCE / 10));
            while outer.arrived() != 2 && !blocked.is_finished() {
                thread::yield_now();
            }
            for _ in 0..1000 * attempt {
                thread::yield_now();
            }
            let mut last = outer.wait();
            assert_eq!(poll(&mut last, &meets), Pending);
            drop(outer.arrive());
            let thread = blocked.thread().id();
            match blocked.join().unwrap() {
                Ok(result) => assert!(!result.is_leader()),
                Err(_) => return false,
            }
            for wait in [&mut first, &mut last] {
                assert_eq!(poll(wait, &meets), Released(0));
            }
            let outcomes = [told.recv().unwrap(), told.recv().unwrap()];
            outcomes.contains(&(thread, true))
        });
        if helped {
            break;
        }
    }
}

#[test]
fn a_thread_may_block_while_it_ends() {
    struct BlocksInDrop(mpsc::Sender<Result<BarrierWaitResult, WaitTimeoutError>>);

    impl Drop for BlocksInDrop {
        fn drop(&mut self) {
            let barrier = Barrier::new(2);
            let result = barrier.wait_blocking_timeout(Duration::ZERO);
            self.0.send(result).unwrap();
            drop(barrier.arrive());
            self.0.send(Ok(barrier.wait_blocking())).unwrap();
        }
    }

    thread_local! {
        static LAST: Cell<Option<BlocksInDrop>> = const { Cell::new(None) };
    }

    // Whichever of the two the thread has first, and so loses last.
    for blocks_before in [false, true] {
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn(move || {
            let block = || {
                let result = Barrier::new(2).wait_blocking_timeout(Duration::ZERO);
                assert!(result.is_err());
            };
            if blocks_before {
                block();
            }
            LAST.set(Some(BlocksInDrop(sender)));
            block();
        });
        thread.join().unwrap();
        assert!(receiver.recv().unwrap().is_err());
        assert!(receiver.recv().unwrap().unwrap().is_leader());
    }
}

// Deadlines.

#[test]
fn a_deadline_spans_several_waits() {
    let barrier = Barrier::new(2);
    let deadline = Instant::now() + Duration::from_millis(10);
    for _ in 0..3 {
        assert!(barrier.wait_blocking_deadline(deadline).is_err());
        assert!(Instant::now() >= deadline);
        assert_eq!(counts(&barrier), (0, 0));
    }
    // The last to come needs no time.
    drop(barrier.arrive());
    assert!(barrier.wait_blocking_deadline(deadline).is_ok());
    assert_eq!(counts(&barrier), (0, 1));
}

// Arrivals that a thread waits for.

#[test]
fn a_thread_waits_for_its_arrival() {
    const GENERATIONS: u64 = 300;
    let barrier = Arc::new(Barrier::new(3));
    let results = thread::scope(|scope| {
        let borrowed = scope.spawn(|| {
            let meet = |_| barrier.arrive().wait_blocking();
            (0..GENERATIONS).map(meet).collect::<Vec<_>>()
        });
        let owned = scope.spawn(|| {
            let meet = |_| barrier.clone().arrive_owned().wait_blocking();
            (0..GENERATIONS).map(meet).collect::<Vec<_>>()
        });
        let mut results: Vec<_> = (0..GENERATIONS).map(|_| barrier.wait_blocking()).collect();
        results.extend(borrowed.join().unwrap());
        results.extend(owned.join().unwrap());
        results
    });
    assert_meetings(3, results);
}

#[test]
fn a_thread_waits_for_an_arrival_that_queues() {
    let barrier = Barrier::new(1);
    let leader = try_to_lead(&barrier).unwrap();
    let queued = barrier.arrive();
    assert_eq!(queued.generation(), None);
    thread::scope(|scope| {
        let waits = scope.spawn(|| queued.wait_blocking());
        for _ in 0..100 {
            thread::yield_now();
            assert!(!waits.is_finished());
        }
        leader.release();
        assert_eq!(waits.join().unwrap().generation(), 1);
    });
    assert_eq!(counts(&barrier), (0, 2));
}

// Threads that lead.

/// The ways for a thread to wait for the leader.
const LEADS: [fn(&Barrier) -> Option<Leader<'_>>; 3] = [
    |barrier| barrier.wait_leader_blocking(),
    |barrier| barrier.wait_leader_blocking_timeout(Duration::MAX).unwrap(),
    |barrier| {
        let deadline = Instant::now() + Duration::from_secs(3600);
        barrier.wait_leader_blocking_deadline(deadline).unwrap()
    },
];

#[test]
fn one_thread_leads_while_the_others_stay_blocked() {
    const PARTIES: usize = 4;
    const GENERATIONS: u64 = 200;
    let barrier = Barrier::new(PARTIES);
    let section = AtomicU64::new(0);
    let led = AtomicU64::new(0);
    thread::scope(|scope| {
        for party in 0..PARTIES {
            let (barrier, section, led) = (&barrier, &section, &led);
            scope.spawn(move || {
                for generation in 0..GENERATIONS {
                    if let Some(leader) = LEADS[party % LEADS.len()](barrier) {
                        assert_eq!(leader.generation(), 2 * generation);
                        thread::yield_now();
                        section.store(generation + 1, Ordering::Relaxed);
                        led.fetch_add(1, Ordering::Relaxed);
                    }
                    assert_eq!(section.load(Ordering::Relaxed), generation + 1);
                    // Else the next leader might already be at work.
                    barrier.wait_blocking();
                }
            });
        }
    });
    assert_eq!(led.load(Ordering::Relaxed), GENERATIONS);
    assert_eq!(counts(&barrier), (0, 2 * GENERATIONS));
}

#[test]
fn a_thread_that_comes_last_leads_tasks() {
    for lead in LEADS {
        let barrier = Barrier::new(2);
        let waker = CountingWaker::new();
        let mut wait = barrier.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        let leader = lead(&barrier).unwrap();
        assert_eq!(poll(&mut wait, &waker), Pending);
        assert_eq!((counts(&barrier), waker.wakes()), ((2, 0), 0));
        leader.release();
        assert_eq!((counts(&barrier), waker.wakes()), ((0, 1), 1));
        assert_eq!(poll(&mut wait, &waker), Released(0));
    }
}

#[test]
fn a_thread_that_waits_for_the_leader_is_released_by_it() {
    for lead in LEADS {
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let waits = scope.spawn(|| lead(&barrier).is_none());
            until_arrived(&barrier, 1);
            let leader = try_to_lead(&barrier).unwrap();
            for _ in 0..100 {
                thread::yield_now();
                assert!(!waits.is_finished());
            }
            leader.release();
            assert!(waits.join().unwrap());
        });
    }
}

#[test]
fn a_thread_that_times_out_before_there_is_a_leader_withdraws() {
    let barrier = Barrier::new(2);
    for timeout in [0, 1, 20].map(Duration::from_millis) {
        assert!(barrier.wait_leader_blocking_timeout(timeout).is_err());
        let deadline = Instant::now() + timeout;
        assert!(barrier.wait_leader_blocking_deadline(deadline).is_err());
        assert_eq!(counts(&barrier), (0, 0));
    }
    // The last to come needs no time.
    drop(barrier.arrive());
    let leader = barrier.wait_leader_blocking_timeout(Duration::ZERO);
    leader.unwrap().expect("the last to arrive").release();
    assert_eq!(counts(&barrier), (0, 1));
}

#[test]
fn a_thread_that_waits_for_the_leader_queues_behind_a_held_release() {
    let barrier = Barrier::new(1);
    for generation in 0..100 {
        let leader = barrier.wait_leader_blocking().unwrap();
        thread::scope(|scope| {
            let queued = scope.spawn(|| {
                let leader = barrier.wait_leader_blocking().unwrap();
                leader.generation()
            });
            for _ in 0..generation {
                thread::yield_now();
                assert!(!queued.is_finished());
            }
            leader.release();
            assert_eq!(queued.join().unwrap(), 2 * generation + 1);
        });
    }
}
