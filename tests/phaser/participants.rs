//! The participants of a phaser: how they join, meet, leave and are counted.

use core::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Waker},
};
use std::panic::catch_unwind;

use atomic_barrier::{
    Phaser,
    phaser::{Participant, RegisterError},
};

use support::{
    phasers::{closed, numbers, participants},
    polling::{CountingWaker, Outcome::*, poll},
};

/// The most participants that a phaser has at a time.
const MOST: usize = Phaser::MAX_PARTICIPANTS;

/// The ways to leave.
const LEAVE: [fn(Participant); 2] = [
    |participant| participant.leave(),
    |participant| drop(participant),
];

fn wakes<const N: usize>(wakers: &[CountingWaker; N]) -> [usize; N] {
    wakers.each_ref().map(CountingWaker::wakes)
}

// Meeting.

#[test]
fn the_last_to_arrive_leads_and_each_of_the_others_is_woken_once() {
    for n in [1, 2, 3, 8, 9, 33, 100] {
        let phaser = Phaser::new();
        let mut participants = phaser.register_many(n).unwrap();
        let wakers: Vec<_> = (0..n).map(|_| CountingWaker::new()).collect();
        for phase in 0..5 {
            // Another leads each time.
            participants.rotate_left(1);
            let before: Vec<_> = wakers.iter().map(CountingWaker::wakes).collect();
            let mut waits: Vec<_> = participants.iter_mut().map(Participant::wait).collect();
            let (leader, others) = waits.split_last_mut().unwrap();
            for (arrived, wait) in others.iter_mut().enumerate() {
                assert_eq!(numbers(&phaser), (phase, n, arrived));
                assert_eq!(poll(wait, &wakers[arrived]), Pending);
            }
            assert_eq!(poll(leader, &wakers[n - 1]), Led(phase));
            assert_eq!(numbers(&phaser), (phase + 1, n, 0));
            for (i, waker) in wakers.iter().enumerate() {
                assert_eq!(waker.wakes() - before[i], usize::from(i < n - 1));
            }
            for (wait, waker) in others.iter_mut().zip(&wakers) {
                assert_eq!(poll(wait, waker), Released(phase));
            }
        }
    }
}

#[test]
fn a_wait_arrives_at_its_first_poll_and_not_again() {
    let (phaser, [mut a, _b]) = participants();
    let mut wait = a.wait();
    assert_eq!(numbers(&phaser), (0, 2, 0));
    for _ in 0..5 {
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        assert_eq!(numbers(&phaser), (0, 2, 1));
    }
}

#[test]
fn nobody_is_released_by_the_phase_before() {
    let (phaser, [mut a, mut b]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &wa), Pending);
    assert_eq!(poll(&mut b.wait(), &wb), Led(0));
    // One is a phase ahead of the other, and waits for it there.
    let mut next = b.wait();
    for _ in 0..3 {
        assert_eq!(poll(&mut next, &wb), Pending);
    }
    assert_eq!(poll(&mut wait, &wa), Released(0));
    drop(wait);
    assert_eq!(poll(&mut next, &wb), Pending);
    assert_eq!(numbers(&phaser), (1, 2, 1));
    assert_eq!([wa.wakes(), wb.wakes()], [1, 0]);
    assert_eq!(poll(&mut a.wait(), &wa), Led(1));
    assert_eq!(poll(&mut next, &wb), Released(1));
    assert_eq!([wa.wakes(), wb.wakes()], [1, 1]);
}

#[test]
fn polling_a_wait_after_it_was_ready_panics() {
    fn panics<F: Future + Unpin>(mut wait: F) {
        let mut poll = || {
            Pin::new(&mut wait)
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        };
        assert!(poll());
        for _ in 0..2 {
            let panic = catch_unwind(AssertUnwindSafe(&mut poll)).unwrap_err();
            let message: &&str = panic.downcast_ref().unwrap();
            assert!(message.contains("polled again after it was ready"));
        }
    }
    let (phaser, [mut participant]) = participants();
    panics(participant.wait());
    panics(participant.wait_leader());
    assert_eq!(numbers(&phaser), (2, 1, 0));
    phaser.close();
    panics(participant.wait());
    panics(participant.wait_leader());
}

// Joining.

#[test]
fn a_new_participant_is_needed_in_the_current_phase() {
    let (phaser, [mut a, mut b]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    let mut c = phaser.register().unwrap();
    assert_eq!(numbers(&phaser), (0, 3, 1));
    let mut other = b.wait();
    assert_eq!(poll(&mut other, Waker::noop()), Pending);
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(poll(&mut c.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
    assert_eq!(poll(&mut other, Waker::noop()), Released(0));
}

#[test]
fn a_new_participant_begins_with_the_phase_that_is_present() {
    let (phaser, [mut a]) = participants();
    for phase in 0..3 {
        assert_eq!(poll(&mut a.wait(), Waker::noop()), Led(phase));
    }
    let mut b = phaser.register().unwrap();
    assert_eq!(a.arrive(), Ok(3));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(3));
}

#[test]
fn many_register_at_once_and_in_the_same_phase() {
    let (phaser, [mut a]) = participants();
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Led(0));
    assert!(phaser.register_many(0).unwrap().is_empty());
    assert_eq!(numbers(&phaser), (1, 1, 0));
    let mut many = phaser.register_many(20).unwrap();
    assert_eq!((many.len(), numbers(&phaser)), (20, (1, 21, 0)));
    for participant in &mut many {
        assert_eq!(participant.arrive(), Ok(1));
    }
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Led(1));
    for participant in &mut many {
        assert_eq!(poll(&mut participant.wait(), Waker::noop()), Released(1));
    }
}

#[test]
fn an_array_of_participants_registers_like_many() {
    let phaser = Phaser::new();
    let [mut a, b] = phaser.register_array().unwrap();
    assert_eq!(numbers(&phaser), (0, 2, 0));
    a.arrive().unwrap();
    b.leave();
    let [mut b, c] = phaser.register_array().unwrap();
    assert_eq!((b.phase(), c.phase()), (1, 1));
    assert_eq!(numbers(&phaser), (1, 3, 0));
    // None is no new participant, of a complete phase either.
    a.arrive().unwrap();
    let mut wait = b.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    c.leave();
    let [] = phaser.register_array().unwrap();
    assert_eq!(poll(&mut wait, Waker::noop()), Led(1));
    drop(wait);

    let _rest = phaser.register_many(MOST - 3).unwrap();
    let refused = phaser.register_array::<2>();
    assert_eq!(refused.unwrap_err(), RegisterError::Full);
    assert_eq!(phaser.parties(), MOST - 1);
    phaser.close();
    let refused = phaser.register_array::<0>();
    assert_eq!(refused.unwrap_err(), RegisterError::Closed);
    let refused = phaser.register_array::<1>();
    assert_eq!(refused.unwrap_err(), RegisterError::Closed);
}

#[test]
fn clones_are_the_same_phaser_and_no_participants() {
    let phaser = Phaser::default();
    let clone = phaser.clone();
    let mut participant = clone.register().unwrap();
    assert_eq!(numbers(&phaser), (0, 1, 0));
    assert_eq!(poll(&mut participant.wait(), Waker::noop()), Led(0));
    drop(clone);
    assert_eq!(numbers(&phaser), (1, 1, 0));
    let other = participant.phaser().register().unwrap();
    assert_eq!(numbers(&phaser), (1, 2, 0));
    // A participant keeps its phaser.
    drop(phaser);
    drop(other);
    assert_eq!(poll(&mut participant.wait(), Waker::noop()), Led(1));
}

#[test]
fn one_participant_more_than_fit_is_refused_and_changes_nothing() {
    let phaser = Phaser::new();
    let mut first = phaser.register_many(10).unwrap();
    for participant in &mut first[1..] {
        participant.arrive().unwrap();
    }
    for n in [MOST - 9, MOST, MOST + 1, usize::MAX] {
        assert_eq!(phaser.register_many(n).unwrap_err(), RegisterError::Full);
        assert_eq!(numbers(&phaser), (0, 10, 9));
    }
    let mut rest = phaser.register_many(MOST - 10).unwrap();
    assert_eq!(rest.len(), MOST - 10);
    for _ in 0..2 {
        assert_eq!(phaser.register().unwrap_err(), RegisterError::Full);
        assert_eq!(phaser.register_many(1).unwrap_err(), RegisterError::Full);
        assert_eq!(numbers(&phaser), (0, MOST, 9));
    }
    // Someone else may have the place of one that leaves.
    drop(first.pop());
    rest.push(phaser.register().unwrap());
    assert_eq!(numbers(&phaser), (0, MOST, 8));

    // As many as fit arrive in one phase, and all leave.
    for participant in &mut rest {
        assert_eq!(participant.arrive(), Ok(0));
    }
    assert_eq!(numbers(&phaser), (0, MOST, MOST - 1));
    assert_eq!(poll(&mut first[0].wait(), Waker::noop()), Led(0));
    assert_eq!(numbers(&phaser), (1, MOST, 0));
    drop((first, rest));
    assert_eq!(numbers(&phaser), (2, 0, 0));
}

// Leaving.

#[test]
fn a_participant_that_left_is_no_longer_needed() {
    for leave in LEAVE {
        let (phaser, [mut a, mut b, c]) = participants();
        let mut wait = a.wait();
        assert_eq!(poll(&mut wait, Waker::noop()), Pending);
        leave(c);
        assert_eq!(numbers(&phaser), (0, 2, 1));
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
        assert_eq!(poll(&mut wait, Waker::noop()), Released(0));
        assert_eq!(numbers(&phaser), (1, 2, 0));
    }
}

#[test]
fn a_participant_that_leaves_takes_its_arrival_along() {
    for leave in LEAVE {
        let (phaser, [mut a, mut b, mut c]) = participants();
        let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
        a.arrive().unwrap();
        let mut wait = b.wait();
        assert_eq!(poll(&mut wait, &wb), Pending);
        assert_eq!(numbers(&phaser), (0, 3, 2));
        leave(a);
        assert_eq!(numbers(&phaser), (0, 2, 1));
        assert_eq!((poll(&mut wait, &wb), wb.wakes()), (Pending, 0));
        assert_eq!(poll(&mut c.wait(), &wa), Led(0));
        assert_eq!([wa.wakes(), wb.wakes()], [0, 1]);
        assert_eq!(poll(&mut wait, &wb), Released(0));
    }
}

#[test]
fn a_participant_that_leaves_between_its_phases_takes_nothing_along() {
    // Whether it leads, was released and has seen that, or was released and has not.
    for sees in [true, false] {
        for leaves in [0, 1] {
            let (phaser, [a, b, mut c]) = participants();
            let mut participants = [a, b];
            participants[0].arrive().unwrap();
            c.arrive().unwrap();
            assert_eq!(participants[1].arrive(), Ok(0));
            if sees {
                let outcomes = participants
                    .each_mut()
                    .map(|m| poll(&mut m.wait(), Waker::noop()));
                assert_eq!(outcomes, [Released(0), Led(0)]);
            }
            let waker = CountingWaker::new();
            assert_eq!(poll(&mut c.wait(), &waker), Released(0));
            let mut wait = c.wait();
            assert_eq!(poll(&mut wait, &waker), Pending);
            assert_eq!(numbers(&phaser), (1, 3, 1));
            let mut participants = Vec::from(participants);
            participants.remove(leaves).leave();
            assert_eq!((numbers(&phaser), waker.wakes()), ((1, 2, 1), 0));
            participants.remove(0).leave();
            assert_eq!((numbers(&phaser), waker.wakes()), ((1, 1, 1), 1));
            assert_eq!(poll(&mut wait, &waker), Led(1));
        }
    }
}

#[test]
fn if_the_last_that_was_missing_leaves_the_first_to_be_polled_leads() {
    for leave in LEAVE {
        for order in [[0, 1, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let (phaser, [a, b, c, missing]) = participants();
            let mut others = [a, b, c];
            let wakers = [(); 3].map(|()| CountingWaker::new());
            let mut waits = others.each_mut().map(Participant::wait);
            for (wait, waker) in waits.iter_mut().zip(&wakers) {
                assert_eq!(poll(wait, waker), Pending);
            }
            leave(missing);
            // Complete, and each is asked to lead.
            assert_eq!((numbers(&phaser), wakes(&wakers)), ((0, 3, 3), [1; 3]));

            let [first, second, third] = order;
            assert_eq!(poll(&mut waits[first], &wakers[first]), Led(0));
            for i in [second, third] {
                assert_eq!(wakers[i].wakes(), 2);
                assert_eq!(poll(&mut waits[i], &wakers[i]), Released(0));
            }
            assert_eq!(wakers[first].wakes(), 1);
            drop(waits);
            assert_eq!(numbers(&phaser), (1, 3, 0));
            // As if nothing had been.
            let mut waits = others.each_mut().map(Participant::wait);
            let outcomes = waits.each_mut().map(|wait| poll(wait, Waker::noop()));
            assert_eq!(outcomes, [Pending, Pending, Led(1)]);
        }
    }
}

#[test]
fn if_the_last_that_was_missing_leaves_and_nobody_waits_nobody_leads() {
    for leave in LEAVE {
        let (phaser, [mut a, mut b, missing]) = participants();
        assert_eq!((a.arrive(), b.arrive()), (Ok(0), Ok(0)));
        leave(missing);
        assert_eq!(numbers(&phaser), (1, 2, 0));
        assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Released(0));
        assert_eq!((a.arrive(), b.arrive()), (Ok(1), Ok(1)));
        assert_eq!(numbers(&phaser), (2, 2, 0));
    }
}

#[test]
fn a_participant_that_begins_to_wait_when_the_phase_is_complete_may_lead_it() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    b.arrive().unwrap();
    missing.leave();
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 2);
    assert_eq!(poll(&mut wait, &waker), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_participant_that_arrives_again_when_the_phase_is_complete_leads_it() {
    let (phaser, [mut a, mut b, missing]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    b.arrive().unwrap();
    missing.leave();
    assert_eq!(b.arrive(), Ok(0));
    assert_eq!(waker.wakes(), 2);
    assert_eq!(poll(&mut wait, &waker), Released(0));
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_new_participant_makes_a_complete_phase_open_again() {
    let (phaser, [mut a, missing]) = participants();
    let [wa, wb] = [(); 2].map(|()| CountingWaker::new());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &wa), Pending);
    missing.leave();
    assert_eq!((numbers(&phaser), wa.wakes()), ((0, 1, 1), 1));
    // None is no new participant.
    assert_eq!(phaser.register_many(0).unwrap().len(), 0);
    assert_eq!(numbers(&phaser), (0, 1, 1));
    let [mut b, c] = [(); 2].map(|()| phaser.register().unwrap());
    assert_eq!(numbers(&phaser), (0, 3, 1));
    for _ in 0..2 {
        assert_eq!(poll(&mut wait, &wa), Pending);
    }
    let mut other = b.wait();
    assert_eq!(poll(&mut other, &wb), Pending);
    assert_eq!([wa.wakes(), wb.wakes()], [1, 0]);
    // Complete once more, and all are asked.
    c.leave();
    assert_eq!(numbers(&phaser), (0, 2, 2));
    assert_eq!([wa.wakes(), wb.wakes()], [2, 1]);
    assert_eq!(poll(&mut other, &wb), Led(0));
    assert_eq!(poll(&mut wait, &wa), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_new_participant_that_arrives_in_a_phase_that_was_complete_leads_it() {
    let (phaser, [mut a, missing]) = participants();
    let waker = CountingWaker::new();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    missing.leave();
    let mut b = phaser.register().unwrap();
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(waker.wakes(), 2);
    assert_eq!(poll(&mut wait, &waker), Released(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn a_wait_that_is_dropped_when_its_complete_phase_is_open_again_withdraws() {
    let (phaser, [mut a, missing]) = participants();
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    missing.leave();
    let mut b = phaser.register().unwrap();
    drop(wait);
    assert_eq!(numbers(&phaser), (0, 2, 0));
    assert_eq!((a.arrive(), b.arrive()), (Ok(0), Ok(0)));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn if_all_that_wait_for_a_complete_phase_leave_it_is_over() {
    let (phaser, [mut a, mut b, mut arrived, missing]) = participants();
    arrived.arrive().unwrap();
    let (mut first, mut second) = (a.wait(), b.wait());
    assert_eq!(poll(&mut first, Waker::noop()), Pending);
    assert_eq!(poll(&mut second, Waker::noop()), Pending);
    missing.leave();
    assert_eq!(numbers(&phaser), (0, 3, 3));
    drop(first);
    a.leave();
    assert_eq!(numbers(&phaser), (0, 2, 2));
    // With a wait that was leaked.
    core::mem::forget(second);
    b.leave();
    assert_eq!(numbers(&phaser), (1, 1, 0));
    assert_eq!(poll(&mut arrived.wait(), Waker::noop()), Released(0));
}

#[test]
fn waiters_that_withdraw_one_after_another_wake_nobody_anew() {
    const N: usize = 500;
    for leaves in [false, true] {
        let phaser = Phaser::new();
        let missing = phaser.register().unwrap();
        let mut participants = phaser.register_many(N).unwrap();
        let waker = CountingWaker::new();
        let mut waits: Vec<_> = participants.iter_mut().map(Participant::wait).collect();
        for wait in &mut waits {
            assert_eq!(poll(wait, &waker), Pending);
        }
        missing.leave();
        assert_eq!((numbers(&phaser), waker.wakes()), ((0, N, N), N));
        for wait in waits {
            if leaves {
                core::mem::forget(wait);
            } else {
                assert_eq!(phaser.phase(), 0);
                drop(wait);
            }
        }
        for participant in participants {
            assert_eq!(phaser.phase(), u64::from(!leaves));
            participant.leave();
        }
        assert_eq!(waker.wakes(), N);
    }
}

#[test]
fn an_empty_phaser_rests_and_can_be_used_again() {
    let phaser = Phaser::new();
    // The last to leave ends the phase: never arrived, in the middle, and after a phase.
    phaser.register().unwrap().leave();
    assert_eq!(numbers(&phaser), (1, 0, 0));
    let [mut a, b] = [(); 2].map(|()| phaser.register().unwrap());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    b.leave();
    assert_eq!(numbers(&phaser), (1, 1, 1));
    // Nobody is left to lead that phase, and then nobody at all.
    drop(wait);
    assert_eq!(numbers(&phaser), (2, 1, 0));
    a.leave();
    assert_eq!(numbers(&phaser), (3, 0, 0));

    let [mut a, mut b] = [(); 2].map(|()| phaser.register().unwrap());
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, Waker::noop()), Pending);
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(3));
    assert_eq!(poll(&mut wait, Waker::noop()), Released(3));
    drop(wait);
    drop((a, b));
    assert_eq!(numbers(&phaser), (5, 0, 0));
    drop(phaser.register_many(100).unwrap());
    assert_eq!(numbers(&phaser), (6, 0, 0));
}

// Arriving.

#[test]
fn a_participant_that_has_arrived_waits_for_the_phase_in_which_it_has() {
    let (phaser, [mut a, mut b]) = participants();
    let waker = CountingWaker::new();
    assert_eq!(a.arrive(), Ok(0));
    assert_eq!(numbers(&phaser), (0, 2, 1));
    let mut wait = a.wait();
    assert_eq!(poll(&mut wait, &waker), Pending);
    assert_eq!(numbers(&phaser), (0, 2, 1));
    assert_eq!(b.arrive(), Ok(0));
    assert_eq!((numbers(&phaser), waker.wakes()), ((1, 2, 0), 1));
    assert_eq!(poll(&mut wait, &waker), Released(0));
    // Also if that is over, and the one that made the last arrival leads.
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(numbers(&phaser), (1, 2, 0));
}

#[test]
fn arriving_again_in_the_same_phase_does_nothing() {
    let (phaser, [mut a, mut b]) = participants();
    for _ in 0..5 {
        assert_eq!(a.arrive(), Ok(0));
        assert_eq!(numbers(&phaser), (0, 2, 1));
    }
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(0));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(0));
}

#[test]
fn arriving_after_the_phase_is_to_arrive_in_the_next() {
    let (phaser, [mut a, mut b]) = participants();
    for phase in 0..3 {
        assert_eq!(a.arrive(), Ok(phase));
        assert_eq!(b.arrive(), Ok(phase));
        assert_eq!(numbers(&phaser), (phase + 1, 2, 0));
    }
    // The ends of the former are not observed any more.
    assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(2));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(2));
}

#[test]
fn a_participant_that_arrives_alone_goes_through_the_phases() {
    let (phaser, [mut a]) = participants();
    for phase in 0..3 {
        assert_eq!(a.arrive(), Ok(phase));
    }
    assert_eq!(numbers(&phaser), (3, 1, 0));
    assert_eq!(poll(&mut a.wait(), Waker::noop()), Led(2));
}

// Numbers.

#[test]
fn phases_are_numbered_beyond_the_bits_that_the_word_has_for_them() {
    const WORD: u64 = 1 << 13;
    let (phaser, [mut a]) = participants();
    for phase in 0..WORD - 2 {
        assert_eq!(a.arrive(), Ok(phase));
    }
    for phase in WORD - 2..WORD + 2 {
        assert_eq!(numbers(&phaser), (phase, 1, 0));
        let mut observation = phaser.observe(phase);
        let waker = CountingWaker::new();
        let mut cx = Context::from_waker(&waker);
        let mut is_over = |cx: &mut Context<'_>| Pin::new(&mut observation).poll(cx).is_ready();
        assert!(!is_over(&mut cx));
        let mut b = phaser.register().unwrap();
        assert_eq!(a.arrive(), Ok(phase));
        assert!(!is_over(&mut cx));
        assert_eq!(poll(&mut b.wait(), Waker::noop()), Led(phase));
        assert!(is_over(&mut cx));
        assert_eq!(waker.wakes(), 1);
        assert_eq!(poll(&mut a.wait(), Waker::noop()), Released(phase));
    }
    // A phase of the same bits, long ago.
    let mut long_ago = phaser.observe(phaser.phase() - WORD);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut long_ago).poll(&mut cx).is_ready());
}

#[test]
fn a_phaser_and_its_participants_print_where_they_stand() {
    let (phaser, [mut a, mut b]) = participants();
    let prints = |phase: u64, arrived: usize| {
        format!("Phaser {{ phase: {phase}, parties: 2, arrived: {arrived}, closed: false, .. }}")
    };
    assert_eq!(format!("{phaser:?}"), prints(0, 0));
    assert_eq!(
        format!("{a:?}"),
        format!("Participant {{ phase: 0, phaser: {}, .. }}", prints(0, 0))
    );
    a.arrive().unwrap();
    assert_eq!(format!("{phaser:?}"), prints(0, 1));
    b.arrive().unwrap();
    assert_eq!(format!("{phaser:?}"), prints(1, 0));
    assert_eq!(
        format!("{:?}", b.wait()),
        format!(
            "Wait {{ participant: Participant {{ phase: 0, phaser: {}, .. }}, .. }}",
            prints(1, 0)
        )
    );
    assert_eq!(
        format!("{:?}", phaser.observe(7)),
        format!("Observation {{ phase: 7, phaser: {}, .. }}", prints(1, 0))
    );
    drop((a, b));
    phaser.close();
    assert_eq!(
        format!("{phaser:?}"),
        "Phaser { phase: 2, parties: 0, arrived: 0, closed: true, .. }"
    );
    assert_eq!(format!("{:?}", closed()), "Closed");
}

#[test]
fn results_are_equal_if_phase_and_leadership_are() {
    let (_phaser, [mut a, mut b]) = participants();
    let mut results = Vec::new();
    for _ in 0..2 {
        a.arrive().unwrap();
        results.push(futures::executor::block_on(b.wait()).unwrap());
        results.push(futures::executor::block_on(a.wait()).unwrap());
    }
    for (i, a) in results.iter().enumerate() {
        for (j, b) in results.iter().enumerate() {
            assert_eq!(a == b, i == j);
        }
    }
    assert_eq!(
        format!("{:?}", results[2]),
        "WaitResult { phase: 1, is_leader: true, .. }"
    );
}

#[test]
fn the_errors_say_what_went_wrong() {
    assert_eq!(closed().to_string(), "the phaser is closed");
    assert_eq!(RegisterError::Closed.to_string(), closed().to_string());
    assert_eq!(
        RegisterError::Full.to_string(),
        "a phaser has at most 65535 participants"
    );
}
