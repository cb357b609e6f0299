//! Wakers of every kind: changing, shared, panicking, and running the barrier's code themselves.

use core::{
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};
use std::{
    sync::{Arc, Mutex},
    task::Wake,
};

use atomic_barrier::{Barrier, BarrierWaitResult, barrier::Wait};

use support::{
    custom_clone::{twin, unclonable_waker, waker_with_clone},
    custom_wake::{panic_of, waker_that},
    polling::{CountingWaker, Outcome, Outcome::*, poll},
};

/// A wait that a waker may poll or drop.
type Shared = Arc<Mutex<Option<Wait<'static>>>>;

fn shared(barrier: &'static Barrier) -> Shared {
    Arc::new(Mutex::new(Some(barrier.wait())))
}

fn poll_shared(wait: &Shared, waker: &Waker) -> Outcome {
    poll(wait.lock().unwrap().as_mut().unwrap(), waker)
}

/// A waker that runs a function when the last of its clones is dropped.
fn waker_whose_drop<F: FnOnce() + Send + Sync + 'static>(on_drop: F) -> Waker {
    struct OnDrop<F: FnOnce()>(Option<F>);

    impl<F: FnOnce() + Send + Sync> Wake for OnDrop<F> {
        fn wake(self: Arc<Self>) {}
    }

    impl<F: FnOnce()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            (self.0.take().unwrap())();
        }
    }

    Arc::new(OnDrop(Some(on_drop))).into()
}

/// Two waits come together as if nothing had ever happened to this barrier for two.
fn assert_works(barrier: &Barrier) {
    let generation = barrier.generation();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let [mut a, mut b] = [(); 2].map(|()| barrier.wait());
    assert_eq!(barrier.arrived(), 0);
    assert_eq!(poll(&mut a, &wa), Pending);
    assert_eq!(barrier.arrived(), 1);
    assert_eq!(poll(&mut b, &wb), Led(generation));
    assert_eq!(poll(&mut a, &wa), Released(generation));
    assert_eq!([wa.wakes(), wb.wakes()], [1, 0]);
    assert_eq!([wa.clones(), wb.clones()], [0, 0]);
}

#[test]
fn each_waiter_is_woken_exactly_once() {
    for n in [2, 3, 8, 9, 33, 100] {
        let barrier = Barrier::new(n);
        let wakers: Vec<_> = (0..n).map(|_| CountingWaker::new()).collect();
        for generation in 0..3 {
            let mut waits: Vec<_> = (0..n).map(|_| barrier.wait()).collect();
            let (leader, others) = waits.split_last_mut().unwrap();
            for (wait, waker) in others.iter_mut().zip(&wakers) {
                assert_eq!(poll(wait, waker), Pending);
                assert_eq!(waker.clones(), 1);
            }
            assert_eq!(poll(leader, &wakers[n - 1]), Led(generation));
            for (wait, waker) in others.iter_mut().zip(&wakers) {
                assert_eq!(waker.wakes() as u64, generation + 1);
                assert_eq!(waker.clones(), 0);
                assert_eq!(poll(wait, waker), Released(generation));
            }
            assert_eq!((wakers[n - 1].wakes(), wakers[n - 1].clones()), (0, 0));
        }
    }
}

#[test]
fn only_the_last_waker_is_woken() {
    let barrier = Barrier::new(2);
    let wakers = [(); 5].map(|()| CountingWaker::new());
    let mut wait = barrier.wait();
    // Most of them come a second time.
    for waker in [0, 1, 0, 2, 1, 1, 3, 4, 0, 4].map(|i| &wakers[i]) {
        assert_eq!(poll(&mut wait, waker), Pending);
        assert_eq!(waker.clones(), 1);
        assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 1);
    }
    assert_eq!(barrier.arrived(), 1);
    assert_eq!(poll(&mut barrier.wait(), &wakers[0]), Led(0));
    let wakes = wakers.each_ref().map(CountingWaker::wakes);
    assert_eq!(wakes, [0, 0, 0, 0, 1]);
    assert_eq!(poll(&mut wait, &wakers[1]), Released(0));
    assert_eq!(wakers.iter().map(CountingWaker::clones).sum::<usize>(), 0);
}

#[test]
fn a_spurious_poll_changes_nothing() {
    let barrier = Barrier::new(3);
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let [mut a, mut b] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &wa), Pending);
    assert_eq!(poll(&mut b, &wb), Pending);
    for _ in 0..10 {
        assert_eq!(poll(&mut a, &wa), Pending);
        assert_eq!((barrier.arrived(), barrier.generation()), (2, 0));
        assert_eq!([wa.clones(), wb.clones()], [1, 1]);
    }
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!([wa.wakes(), wb.wakes()], [1, 1]);
    assert_eq!(poll(&mut a, &wa), Released(0));
    assert_eq!(poll(&mut b, &wb), Released(0));
}

/// Polls three times with a waker each of whose clones is another, and returns these, of which the last
/// is registered.
fn poll_with_changing_clones<F>(wait: &mut F) -> Arc<[CountingWaker; 3]>
where
    F: Future<Output = BarrierWaitResult> + Unpin,
{
    let clones = Arc::new([(); 3].map(|()| CountingWaker::new()));
    let changing = waker_with_clone({
        let (clones, cloned) = (clones.clone(), AtomicUsize::new(0));
        move || Waker::clone(&clones[cloned.fetch_add(1, Ordering::Relaxed)])
    });
    for _ in 0..3 {
        assert_eq!(poll(wait, &changing), Pending);
    }
    assert_eq!(clones.each_ref().map(CountingWaker::clones), [0, 0, 1]);
    clones
}

/// A clone may have other pointers than what it was cloned from, and a waker may have the pointers of one
/// that is no more. So a waker that equals that of the last poll need not equal the one registered.
#[test]
fn a_waker_like_that_of_the_last_poll_is_registered_if_its_clone_is_another() {
    let barrier = Barrier::new(2);
    let mut wait = barrier.wait();
    let mut clones = vec![poll_with_changing_clones(&mut wait)];
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    let mut arrival = barrier.arrive();
    clones.push(poll_with_changing_clones(&mut arrival));
    let mut leading = barrier.wait_leader();
    let Poll::Ready(Some(leader)) =
        Pin::new(&mut leading).poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("should lead");
    };
    let mut early = barrier.wait();
    clones.push(poll_with_changing_clones(&mut early));
    let mut queued = barrier.wait();
    clones.push(poll_with_changing_clones(&mut queued));
    drop(leader);
    assert_eq!(poll(&mut queued, Waker::noop()), Led(2));
    for clones in clones {
        assert_eq!(clones.each_ref().map(CountingWaker::wakes), [0, 0, 1]);
    }
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    assert_eq!(poll(&mut arrival, Waker::noop()), Released(1));
    assert_eq!(poll(&mut early, Waker::noop()), Released(2));
}

#[test]
fn wakers_of_the_same_data_are_told_apart_by_their_functions() {
    static WAKES: AtomicUsize = AtomicUsize::new(0);
    static COUNTING: RawWakerVTable = RawWakerVTable::new(
        |data| RawWaker::new(data, &COUNTING),
        |_| _ = WAKES.fetch_add(1, Ordering::Relaxed),
        |_| _ = WAKES.fetch_add(1, Ordering::Relaxed),
        |_| {},
    );
    let noop = Waker::noop();
    // SAFETY: the functions do nothing to the data.
    let counting = unsafe { Waker::new(noop.data(), &COUNTING) };
    let barrier = Barrier::new(2);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, noop), Pending);
    assert_eq!(poll(&mut wait, &counting), Pending);
    assert_eq!(poll(&mut barrier.wait(), noop), Led(0));
    assert_eq!(WAKES.load(Ordering::Relaxed), 1);
    assert_eq!(poll(&mut wait, noop), Released(0));
}

/// The first waker's clone is one that has no clone itself, and the later polls come with its like.
#[test]
fn a_waker_that_is_registered_is_not_cloned_again() {
    let unclonable = unclonable_waker();
    let first = waker_with_clone({
        let registered = Mutex::new(Some(twin(&unclonable)));
        move || registered.lock().unwrap().take().unwrap()
    });
    let barrier = Barrier::new(2);
    let mut wait = barrier.wait();
    assert_eq!(poll(&mut wait, &first), Pending);
    for _ in 0..3 {
        assert_eq!(poll(&mut wait, &unclonable), Pending);
    }
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut wait, &unclonable), Released(0));
}

#[test]
fn one_waker_may_stand_for_many_waits() {
    let barrier = Barrier::new(4);
    let waker = CountingWaker::new();
    let mut waits = [(); 3].map(|()| barrier.wait());
    for wait in &mut waits {
        assert_eq!(poll(wait, &waker), Pending);
    }
    assert_eq!(waker.clones(), 3);
    assert_eq!(poll(&mut barrier.wait(), &waker), Led(0));
    assert_eq!((waker.wakes(), waker.clones()), (3, 0));
    for wait in &mut waits {
        assert_eq!(poll(wait, &waker), Released(0));
    }
}

#[test]
fn no_wake_reaches_a_later_generation() {
    let barrier = Barrier::new(2);
    let [first, second] = [(); 2].map(|()| CountingWaker::new());
    let [mut a, mut b] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &first), Pending);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut b, &second), Pending);
    // What belongs to generation 0 goes on beside a waiter of generation 1.
    assert_eq!(poll(&mut a, &first), Released(0));
    drop(a);
    assert_eq!([first.wakes(), second.wakes()], [1, 0]);
    assert_eq!([first.clones(), second.clones()], [0, 1]);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(1));
    assert_eq!([first.wakes(), second.wakes()], [1, 1]);
}

// Panics out of `wake`.

#[test]
fn a_panic_in_wake_comes_out_of_the_leaders_poll_after_all_are_woken() {
    // Wherever among the others the panicking one stands.
    for place in 0..4 {
        let barrier = Barrier::new(5);
        let panicking = waker_that(|| panic!("in wake"));
        let counting = [(); 4].map(|()| CountingWaker::new());
        let waker = |i: usize| -> &Waker { if i == place { &panicking } else { &counting[i] } };
        let mut waits = [(); 4].map(|()| barrier.wait());
        for (i, wait) in waits.iter_mut().enumerate() {
            assert_eq!(poll(wait, waker(i)), Pending);
        }

        let mut leader = barrier.wait();
        assert_eq!(panic_of(|| poll(&mut leader, Waker::noop())), "in wake");
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
        let wakes = counting.each_ref().map(CountingWaker::wakes);
        assert_eq!(wakes, [0, 1, 2, 3].map(|i| usize::from(i != place)));
        assert!(counting.iter().all(|waker| waker.clones() == 0));
        for (i, wait) in waits.iter_mut().enumerate() {
            assert_eq!(poll(wait, waker(i)), Released(0));
        }
        drop(leader);
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    }
}

#[test]
fn a_leader_whose_poll_panicked_was_ready() {
    let barrier = Barrier::new(2);
    let [mut a, mut leader] = [(); 2].map(|()| barrier.wait());
    let waker = waker_that(|| panic!("in wake"));
    assert_eq!(poll(&mut a, &waker), Pending);
    assert_eq!(panic_of(|| poll(&mut leader, Waker::noop())), "in wake");
    let message = panic_of(|| poll(&mut leader, Waker::noop()));
    assert!(message.contains("polled again after it was ready"));
    assert_works(&barrier);
}

/// Without the feature `std` nothing can keep the first panic back, and the second aborts.
#[cfg(feature = "std")]
#[test]
fn the_first_of_two_panics_in_wake_comes_out_after_all_are_woken() {
    let barrier = Barrier::new(6);
    let panics = Arc::new(Mutex::new(Vec::new()));
    let panicking = |message: &'static str| {
        let panics = panics.clone();
        waker_that(move || {
            panics.lock().unwrap().push(message);
            std::panic::panic_any(message);
        })
    };
    let counting = [(); 3].map(|()| CountingWaker::new());
    let (first, second) = (panicking("the first"), panicking("the second"));
    let wakers: [&Waker; 5] = [&counting[0], &first, &counting[1], &second, &counting[2]];
    let mut waits = [(); 5].map(|()| barrier.wait());
    for (wait, waker) in waits.iter_mut().zip(wakers) {
        assert_eq!(poll(wait, waker), Pending);
    }

    assert_eq!(
        panic_of(|| poll(&mut barrier.wait(), Waker::noop())),
        "the first"
    );
    assert_eq!(*panics.lock().unwrap(), ["the first", "the second"]);
    assert_eq!(counting.each_ref().map(CountingWaker::wakes), [1, 1, 1]);
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 1));
    for (wait, waker) in waits.iter_mut().zip(wakers) {
        assert_eq!(poll(wait, waker), Released(0));
    }
}

// Panics out of `clone`.

#[test]
fn a_panic_in_clone_on_the_first_poll_counts_for_nothing() {
    let barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut wait = barrier.wait();
    for _ in 0..3 {
        let message = panic_of(|| poll(&mut wait, &unclonable_waker()));
        assert_eq!(message, "no clone of this waker");
        assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));
    }
    // The same future arrives anew, and is woken.
    assert_eq!(poll(&mut wait, &waker), Pending);
    assert_eq!(barrier.arrived(), 1);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(poll(&mut wait, &waker), Released(0));
    assert_works(&barrier);
}

#[test]
fn a_wait_dropped_after_a_panic_in_clone_was_never_there() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    let mut other = barrier.wait();
    assert_eq!(poll(&mut other, &waker), Pending);
    let mut wait = barrier.wait();
    panic_of(|| poll(&mut wait, &unclonable_waker()));
    drop(wait);
    assert_eq!((barrier.arrived(), waker.wakes()), (1, 0));
}

#[test]
fn a_panic_in_clone_on_a_later_poll_withdraws_the_arrival() {
    let barrier = Barrier::new(3);
    let [first, other, last] = [(); 3].map(|()| CountingWaker::new());
    let [mut a, mut b] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &first), Pending);
    assert_eq!(poll(&mut b, &other), Pending);
    let message = panic_of(|| poll(&mut a, &unclonable_waker()));
    assert_eq!(message, "no clone of this waker");
    assert_eq!((barrier.arrived(), barrier.generation()), (1, 0));

    // Polled anew it arrives anew, and is woken where it now is.
    assert_eq!(poll(&mut a, &last), Pending);
    assert_eq!(barrier.arrived(), 2);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!([first.wakes(), other.wakes(), last.wakes()], [0, 1, 1]);
    assert_eq!(poll(&mut a, &last), Released(0));
    assert_eq!(poll(&mut b, &other), Released(0));
}

#[test]
fn a_wait_dropped_after_a_panic_on_a_later_poll_is_not_withdrawn_twice() {
    let barrier = Barrier::new(3);
    let waker = CountingWaker::new();
    let [mut a, mut b] = [(); 2].map(|()| barrier.wait());
    assert_eq!(poll(&mut a, &waker), Pending);
    assert_eq!(poll(&mut b, &waker), Pending);
    panic_of(|| poll(&mut a, &unclonable_waker()));
    drop(a);
    assert_eq!((barrier.arrived(), waker.wakes()), (1, 0));
}

#[test]
fn arrivals_whose_clones_panic_are_woken_by_their_next_wakers() {
    let barrier = Barrier::new(9);
    for lost in 0..20 {
        let wakers = [(); 8].map(|()| CountingWaker::new());
        let mut waits = [(); 8].map(|()| barrier.arrive());
        for (i, (wait, waker)) in waits.iter_mut().zip(&wakers).enumerate() {
            if i == lost % 8 {
                panic_of(|| poll(wait, &unclonable_waker()));
            }
            assert_eq!(poll(wait, waker), Pending);
            if i == lost % 5 {
                panic_of(|| poll(wait, &unclonable_waker()));
                assert_eq!(poll(wait, waker), Pending);
            }
        }
        assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(lost as u64));
        for (wait, waker) in waits.iter_mut().zip(&wakers) {
            assert_eq!(waker.wakes(), 1);
            assert_eq!(poll(wait, waker), Released(lost as u64));
        }
    }
}

// Panics out of a waker's drop.

#[test]
fn a_panic_in_the_drop_of_a_replaced_waker_withdraws_the_arrival() {
    let barrier = Barrier::new(2);
    let [replacing, last] = [(); 2].map(|()| CountingWaker::new());
    let mut wait = barrier.wait();
    let replaced = waker_whose_drop(|| panic!("in drop"));
    assert_eq!(poll(&mut wait, &replaced), Pending);
    drop(replaced);
    assert_eq!(panic_of(|| poll(&mut wait, &replacing)), "in drop");
    assert_eq!((barrier.arrived(), barrier.generation()), (0, 0));

    assert_eq!(poll(&mut wait, &last), Pending);
    assert_eq!(poll(&mut barrier.wait(), Waker::noop()), Led(0));
    assert_eq!([replacing.wakes(), last.wakes()], [0, 1]);
    assert_eq!(poll(&mut wait, &last), Released(0));
    assert_works(&barrier);
}

#[test]
fn a_panic_in_the_drop_of_a_withdrawn_waker_leaves_the_arrival_withdrawn() {
    let barrier = Barrier::new(2);
    for _ in 0..20 {
        let mut wait = barrier.wait();
        let waker = waker_whose_drop(|| panic!("in drop"));
        assert_eq!(poll(&mut wait, &waker), Pending);
        drop(waker);
        assert_eq!(panic_of(|| drop(wait)), "in drop");
        assert_works(&barrier);
    }
}

// Wakers that use the barrier themselves.

#[test]
fn a_waker_may_poll_another_waiter() {
    static BARRIER: Barrier = Barrier::new(4);
    let counting = Arc::new(CountingWaker::new());
    let waits = [(); 3].map(|()| shared(&BARRIER));
    // The middle one polls those before and after it, released both: one woken, one not yet.
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let polling = waker_that({
        let (waits, counting, outcomes) = (waits.clone(), counting.clone(), outcomes.clone());
        move || {
            outcomes.lock().unwrap().extend([
                poll_shared(&waits[0], &counting),
                poll_shared(&waits[2], &counting),
            ]);
        }
    });
    assert_eq!(poll_shared(&waits[0], &counting), Pending);
    assert_eq!(poll_shared(&waits[1], &polling), Pending);
    assert_eq!(poll_shared(&waits[2], &counting), Pending);
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));
    assert_eq!(*outcomes.lock().unwrap(), [Released(0), Released(0)]);
    assert_eq!(poll_shared(&waits[1], &polling), Released(0));
    assert_eq!((counting.wakes(), counting.clones()), (2, 0));
}

#[test]
fn a_waker_may_arrive_in_the_next_generation() {
    static BARRIER: Barrier = Barrier::new(3);
    let [wa, wb] = [(); 2].map(|()| Arc::new(CountingWaker::new()));
    let [a, b, again] = [(); 3].map(|()| shared(&BARRIER));
    // What a task does that is polled inline: its wait is ready, it waits again.
    let inline = waker_that({
        let (a, again, wa) = (a.clone(), again.clone(), wa.clone());
        move || {
            assert_eq!(poll_shared(&a, &wa), Released(0));
            assert_eq!(poll_shared(&again, &wa), Pending);
        }
    });
    assert_eq!(poll_shared(&a, &inline), Pending);
    assert_eq!(poll_shared(&b, &wb), Pending);
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));

    // The arrival in generation 1 stands, and the leader of generation 0 did not touch it.
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (1, 1));
    assert_eq!([wa.wakes(), wb.wakes()], [0, 1]);
    assert_eq!([wa.clones(), wb.clones()], [1, 0]);
    assert_eq!(poll_shared(&b, &wb), Released(0));
    let mut c = BARRIER.wait();
    assert_eq!(poll(&mut c, &wb), Pending);
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(1));
    assert_eq!([wa.wakes(), wb.wakes()], [1, 2]);
    assert_eq!(poll_shared(&again, &wa), Released(1));
    assert_eq!(poll(&mut c, &wb), Released(1));
}

#[test]
fn a_waker_may_drop_another_waiter() {
    static BARRIER: Barrier = Barrier::new(5);
    let counting = [(); 3].map(|()| CountingWaker::new());
    let waits = [(); 4].map(|()| shared(&BARRIER));
    // The second drops the one before it, which was woken, and the one after, which was not.
    let dropping = waker_that({
        let waits = waits.clone();
        move || {
            for place in [0, 2] {
                *waits[place].lock().unwrap() = None;
                assert_eq!((BARRIER.arrived(), BARRIER.generation()), (0, 1));
            }
        }
    });
    let wakers: [&Waker; 4] = [&counting[0], &dropping, &counting[1], &counting[2]];
    for (wait, waker) in waits.iter().zip(wakers) {
        assert_eq!(poll_shared(wait, waker), Pending);
    }
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));
    assert_eq!(counting.each_ref().map(CountingWaker::wakes), [1, 1, 1]);
    assert!(counting.iter().all(|waker| waker.clones() == 0));
    assert_eq!(poll_shared(&waits[1], &dropping), Released(0));
    assert_eq!(poll_shared(&waits[3], wakers[3]), Released(0));
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (0, 1));
}

#[test]
fn a_waker_may_complete_the_next_generation() {
    static BARRIER: Barrier = Barrier::new(3);
    const DEPTH: u64 = 20;

    /// Completes `generation`; its first waker to be woken completes the next, while the second
    /// is still to be woken.
    fn complete(generation: u64, counting: &Arc<CountingWaker>) {
        let [mut a, mut b] = [(); 2].map(|()| BARRIER.wait());
        let recursing = waker_that({
            let counting = counting.clone();
            move || {
                if generation < DEPTH {
                    complete(generation + 1, &counting);
                }
            }
        });
        assert_eq!(poll(&mut a, &recursing), Pending);
        assert_eq!(poll(&mut b, counting), Pending);
        assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(generation));
        assert_eq!(poll(&mut a, &recursing), Released(generation));
        assert_eq!(poll(&mut b, counting), Released(generation));
        // Everyone at this depth and below has been woken by now.
        assert_eq!(counting.wakes() as u64, DEPTH - generation + 1);
    }

    let counting = Arc::new(CountingWaker::new());
    complete(0, &counting);
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (0, DEPTH + 1));
    assert_eq!(counting.clones(), 0);
}

// Wakers whose clone or drop uses the barrier: the poll that runs it stands still half-way.

/// A waker that runs a function the first time that it is cloned, and whose clones count.
fn waker_whose_first_clone(f: impl Fn() + Send + Sync + 'static) -> (Waker, Arc<CountingWaker>) {
    let counting = Arc::new(CountingWaker::new());
    let cloned = AtomicBool::new(false);
    let hooked = waker_with_clone({
        let counting = counting.clone();
        move || {
            if !cloned.swap(true, Ordering::Relaxed) {
                f();
            }
            Waker::clone(&counting)
        }
    });
    (hooked, counting)
}

#[test]
fn a_generation_completed_during_a_first_poll_is_over() {
    static BARRIER: Barrier = Barrier::new(2);
    let mut wait = BARRIER.wait();
    let (overtaken, clones) = waker_whose_first_clone(|| assert_works(&BARRIER));
    assert_eq!(poll(&mut wait, &overtaken), Pending);
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (1, 1));
    assert_eq!((clones.wakes(), clones.clones()), (0, 1));
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(1));
    assert_eq!((clones.wakes(), clones.clones()), (1, 0));
    assert_eq!(poll(&mut wait, &overtaken), Released(1));
}

#[test]
fn a_first_poll_overtaken_by_the_last_but_one_leads() {
    static BARRIER: Barrier = Barrier::new(2);
    let waker = Arc::new(CountingWaker::new());
    let other = shared(&BARRIER);
    let (overtaken, clones) = waker_whose_first_clone({
        let (other, waker) = (other.clone(), waker.clone());
        move || assert_eq!(poll_shared(&other, &waker), Pending)
    });
    assert_eq!(poll(&mut BARRIER.wait(), &overtaken), Led(0));
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (0, 1));
    assert_eq!((clones.wakes(), clones.clones()), (0, 0));
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(poll_shared(&other, &waker), Released(0));
}

#[test]
fn a_first_poll_overtaken_by_an_earlier_one_arrives_after_it() {
    static BARRIER: Barrier = Barrier::new(3);
    let waker = Arc::new(CountingWaker::new());
    let other = shared(&BARRIER);
    let (overtaken, clones) = waker_whose_first_clone({
        let (other, waker) = (other.clone(), waker.clone());
        move || assert_eq!(poll_shared(&other, &waker), Pending)
    });
    let mut wait = BARRIER.wait();
    assert_eq!(poll(&mut wait, &overtaken), Pending);
    assert_eq!(BARRIER.arrived(), 2);
    assert_eq!((clones.wakes(), clones.clones()), (0, 1));
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));
    assert_eq!([clones.wakes(), waker.wakes()], [1, 1]);
    assert_eq!(poll(&mut wait, &overtaken), Released(0));
    assert_eq!(poll_shared(&other, &waker), Released(0));
}

#[test]
fn a_generation_completed_while_a_waker_is_cloned_again_is_the_one_waited_for() {
    static BARRIER: Barrier = Barrier::new(2);
    let first = CountingWaker::new();
    let mut wait = BARRIER.wait();
    assert_eq!(poll(&mut wait, &first), Pending);
    let (overtaken, clones) = waker_whose_first_clone(|| {
        assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));
    });
    assert_eq!(poll(&mut wait, &overtaken), Released(0));
    assert_eq!([first.wakes(), first.clones()], [1, 0]);
    assert_eq!([clones.wakes(), clones.clones()], [0, 0]);
    assert_works(&BARRIER);
}

#[test]
fn a_generation_completed_while_a_waker_is_replaced_is_the_one_waited_for() {
    static BARRIER: Barrier = Barrier::new(2);
    let waker = CountingWaker::new();
    let mut wait = BARRIER.wait();
    let leading = waker_whose_drop(|| {
        assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));
    });
    assert_eq!(poll(&mut wait, &leading), Pending);
    drop(leading);
    assert_eq!(poll(&mut wait, &waker), Pending);
    // The new one was there already, and is woken.
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(poll(&mut wait, &waker), Released(0));
    assert_works(&BARRIER);
}

#[test]
fn a_panic_in_a_poll_whose_generation_is_complete_withdraws_nothing() {
    static BARRIER: Barrier = Barrier::new(2);
    let next = shared(&BARRIER);
    let waker = Arc::new(CountingWaker::new());
    // Completes generation 0 and arrives in generation 1, of which nothing may be withdrawn.
    let panicking = waker_with_clone({
        let (next, waker) = (next.clone(), waker.clone());
        move || {
            assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(0));
            assert_eq!(poll_shared(&next, &waker), Pending);
            panic!("after all that");
        }
    });
    let mut wait = BARRIER.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(panic_of(|| poll(&mut wait, &panicking)), "after all that");
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (1, 1));
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    drop(wait);
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (1, 1));
    assert_eq!(poll(&mut BARRIER.wait(), Waker::noop()), Led(1));
    assert_eq!((waker.wakes(), waker.clones()), (1, 0));
    assert_eq!(poll_shared(&next, &waker), Released(1));
}

#[test]
fn a_withdrawn_waker_may_use_the_barrier_while_it_is_dropped() {
    static BARRIER: Barrier = Barrier::new(2);
    let mut wait = BARRIER.wait();
    let meeting = waker_whose_drop(|| assert_works(&BARRIER));
    assert_eq!(poll(&mut wait, &meeting), Pending);
    drop(meeting);
    drop(wait);
    assert_eq!((BARRIER.arrived(), BARRIER.generation()), (0, 1));
}
