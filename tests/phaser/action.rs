//! The action of a phase: once in each that completes, before anybody is released.

use core::{
    future::Future,
    mem,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};
use std::sync::{Arc, Mutex};

use atomic_barrier::{
    Phaser,
    phaser::{Leader, Participant},
};

use support::{
    custom_wake::panic_of,
    phasers::{closed, numbers},
    polling::{CountingWaker, Outcome::*, poll},
};

type Ran = Arc<Mutex<Vec<(u64, usize)>>>;

/// A phaser with participants, whose action notes what it gets.
fn noting<const N: usize>() -> (Phaser, [Participant; N], Ran) {
    let ran = Ran::default();
    let phaser = Phaser::builder()
        .on_phase({
            let ran = ran.clone();
            move |phase, participants| ran.lock().unwrap().push((phase, participants))
        })
        .build();
    let participants = [(); N].map(|()| phaser.register().unwrap());
    (phaser, participants, ran)
}

#[track_caller]
fn lead(participant: &mut Participant) -> Leader<'_> {
    let mut wait = participant.wait_leader();
    match Pin::new(&mut wait).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(Some(leader))) => leader,
        other => panic!("{other:?} instead of a leader"),
    }
}

#[test]
fn it_runs_once_in_each_phase_however_that_completes() {
    let (phaser, [mut a, mut b, c], ran) = noting();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    // A departure, which then leaves the next phase.
    assert_eq!(poll(&mut wait, &waker), Pending);
    b.arrive().unwrap();
    assert_eq!(*ran.lock().unwrap(), []);
    c.leave();
    assert_eq!(*ran.lock().unwrap(), [(0, 3)]);
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 2, 0), 1));
    // That phase has no leader.
    assert_eq!(poll(&mut wait, &waker), Released(0));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Released(0));
    drop(wait);
    // A wait, an arrival, a leader.
    a.arrive().unwrap();
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(1));
    assert_eq!(a.arrive(), Ok(2));
    assert_eq!(*ran.lock().unwrap(), [(0, 3), (1, 2)]);
    drop(lead(&mut b));
    assert_eq!(*ran.lock().unwrap(), [(0, 3), (1, 2), (2, 2)]);
    // Nobody is left to act for.
    drop((a, b));
    assert_eq!(*ran.lock().unwrap(), [(0, 3), (1, 2), (2, 2)]);
    assert_eq!(numbers(&phaser), (4, 0, 0));
}

#[test]
fn nobody_is_released_and_no_leader_acts_before_it_has_run() {
    let place = Arc::new(Mutex::new(None::<(Phaser, CountingWaker)>));
    let phaser = Phaser::builder()
        .on_phase({
            let place = place.clone();
            move |phase, participants| {
                let place = place.lock().unwrap();
                let (phaser, waker) = place.as_ref().unwrap();
                assert_eq!(numbers(phaser), (phase, participants, participants));
                assert_eq!(waker.wakes() as u64, phase);
            }
        })
        .build();
    let [mut a, mut b] = [(); 2].map(|()| phaser.register().unwrap());
    let waker = CountingWaker::new();
    let clone = Waker::clone(&waker);
    *place.lock().unwrap() = Some((phaser.clone(), waker));
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &clone), Pending);
    assert_eq!(b.arrive(), Ok(0));
    assert_eq!(poll(&mut wait, &clone), Released(0));
    drop(wait);
    let mut wait = a.wait();
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut wait, &clone), Pending);
    let leader = lead(&mut b);
    assert_eq!(leader.phase(), 1);
    assert_eq!(poll(&mut wait, &clone), Pending);
    drop(leader);
    assert_eq!(poll(&mut wait, &clone), Released(1));
}

#[test]
fn a_panic_in_it_closes_and_comes_out_of_the_call_that_completes() {
    let calls: [fn(Participant); 4] = [
        |mut last| _ = last.arrive(),
        |mut last| _ = poll(&mut last.wait(), Waker::noop()),
        |mut last| drop(lead(&mut last)),
        |last| last.leave(),
    ];
    for call in calls {
        let phaser = Phaser::builder()
            .on_phase(|phase, _| {
                if phase == 1 {
                    panic!("in the action");
                }
            })
            .build();
        let [mut a, mut b, mut last] = [(); 3].map(|()| phaser.register().unwrap());
        for participant in [&mut a, &mut b, &mut last] {
            assert_eq!(participant.arrive(), Ok(0));
        }
        for participant in [&mut a, &mut b] {
            assert_eq!(poll(&mut participant.wait(), Waker::noop()), Released(0));
        }
        assert_eq!(poll(&mut last.wait(), Waker::noop()), Led(0));
        let waker = CountingWaker::new();
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, &waker), Pending);
        b.arrive().unwrap();
        let mut observation = phaser.observe(1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut observation).poll(&mut context).is_pending());

        assert_eq!(panic_of(|| call(last)), "in the action");
        assert!(phaser.is_closed());
        assert_eq!((numbers(&phaser), waker.wakes()), ((2, 2, 0), 1));
        assert_eq!(poll(&mut wait, &waker), Refused);
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Refused);
        assert_eq!(b.arrive(), Err(closed()));
        let end = Pin::new(&mut observation).poll(&mut context);
        assert_eq!(end, Poll::Ready(Err(closed())));
        let end = Pin::new(&mut phaser.observe(0)).poll(&mut context);
        assert_eq!(end, Poll::Ready(Ok(())));
    }
}

#[test]
fn it_may_register_arrive_and_leave() {
    let place = Arc::new(Mutex::new(Vec::new()));
    let runs = Arc::new(AtomicUsize::new(0));
    let phaser = {
        let (place, runs) = (place.clone(), runs.clone());
        Phaser::builder().on_phase(move |phase, participants| {
            runs.fetch_add(1, Relaxed);
            let mut place: Vec<Participant> = core::mem::take(&mut *place.lock().unwrap());
            // One of this phase, which has arrived, leaves; a new_participant arrives in the next.
            if phase == 0 {
                assert_eq!(participants, 3);
                let phaser = place[0].phaser().clone();
                place.clear();
                let mut new_participant = phaser.register().unwrap();
                assert_eq!(
                    (new_participant.phase(), new_participant.arrive()),
                    (1, Ok(1))
                );
                core::mem::forget(new_participant);
            }
        })
    }
    .build();
    let [mut a, mut b, mut c] = [(); 3].map(|()| phaser.register().unwrap());
    a.arrive().unwrap();
    b.arrive().unwrap();
    place.lock().unwrap().push(b);
    assert_eq!(c.arrive(), Ok(0));
    assert_eq!((runs.load(Relaxed), numbers(&phaser)), (1, (1, 3, 1)));
}

#[test]
fn a_departure_leads_all_phases_that_it_completes_on_one_stack_frame() {
    const PHASES: u64 = 100_000;
    let others: Arc<Mutex<Vec<Participant>>> = Arc::default();
    let phaser = Phaser::builder()
        .on_phase({
            let others = others.clone();
            move |phase, participants| {
                assert_eq!(participants, 2);
                let mut others = others.lock().unwrap();
                let [mut next] = others[0].phaser().register_array().unwrap();
                if phase < PHASES {
                    next.arrive().unwrap();
                }
                *others = vec![next];
            }
        })
        .build();
    let [mut other, last] = phaser.register_array().unwrap();
    other.arrive().unwrap();
    others.lock().unwrap().push(other);
    last.leave();
    assert_eq!(numbers(&phaser), (PHASES + 1, 1, 0));
    drop(mem::take(&mut *others.lock().unwrap()));
}

#[cfg(feature = "std")]
#[test]
fn a_panic_in_it_aborts_no_thread_that_panics() {
    let phaser = Phaser::builder()
        .on_phase(|_, _| panic!("in the action"))
        .build();
    let [mut a, last] = phaser.register_array().unwrap();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    let panic = panic_of(move || {
        let _last = last;
        panic!("beside it");
    });
    assert_eq!(panic, "beside it");
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 1, 0), 1));
    assert_eq!(poll(&mut wait, &waker), Refused);
}

#[test]
fn it_may_close_and_the_phase_still_ends_well() {
    let place = Arc::new(Mutex::new(None::<Phaser>));
    let phaser = Phaser::builder()
        .on_phase({
            let place = place.clone();
            move |_, _| place.lock().unwrap().as_ref().unwrap().close()
        })
        .build();
    *place.lock().unwrap() = Some(phaser.clone());
    let [mut a, mut b] = [(); 2].map(|()| phaser.register().unwrap());
    a.arrive().unwrap();
    b.arrive().unwrap();
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Refused);
}
