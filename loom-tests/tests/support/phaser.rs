//! Participants of a phaser and their waits, for models.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
};

use atomic_barrier_over_loom::{
    Phaser,
    phaser::{Closed, Participant, WaitResult},
};

use super::Counter;

type Result = core::result::Result<WaitResult, Closed>;

/// A phaser with so many participants. The first four have the slots of the first segment.
pub(crate) fn participants<const N: usize>() -> (Phaser, [Participant; N]) {
    let phaser = Phaser::new();
    let participants = phaser.register_many(N).unwrap();
    (phaser, participants.try_into().unwrap())
}

/// A wait that owns its participant, so that threads can pass it on. Dropping it drops both.
pub(crate) struct Waiting {
    wait: Pin<Box<dyn Future<Output = Result> + Send>>,
    home: Arc<Mutex<Option<Participant>>>,
}

/// A participant that comes home when its wait ends.
struct Lent {
    participant: Option<Participant>,
    home: Arc<Mutex<Option<Participant>>>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.home.lock().unwrap() = self.participant.take();
    }
}

impl Waiting {
    /// The wait of `participant`, not yet polled.
    pub(crate) fn new(participant: Participant) -> Self {
        let home = Arc::default();
        let mut lent = Lent {
            participant: Some(participant),
            home: Arc::clone(&home),
        };
        let wait = Box::pin(async move { lent.participant.as_mut().unwrap().wait().await });
        Self { wait, home }
    }

    /// The wait of `participant`, which arrives and is not the last.
    #[track_caller]
    pub(crate) fn arrived(participant: Participant, counter: &Arc<Counter>) -> Self {
        let mut wait = Self::new(participant);
        assert_eq!(wait.poll(counter), Poll::Pending);
        wait
    }

    pub(crate) fn poll(&mut self, counter: &Arc<Counter>) -> Poll<Result> {
        self.poll_with(&Waker::from(counter.clone()))
    }

    pub(crate) fn poll_with(&mut self, waker: &Waker) -> Poll<Result> {
        self.wait.as_mut().poll(&mut Context::from_waker(waker))
    }

    /// Drops the wait and keeps the participant.
    pub(crate) fn stop(self) -> Participant {
        drop(self.wait);
        self.home.lock().unwrap().take().unwrap()
    }

    /// The participant of a wait that must be ready now if it was `polled` without success, and then must
    /// have been woken. Says how the wait ended.
    #[track_caller]
    pub(crate) fn end(
        mut self,
        polled: Poll<Result>,
        counter: &Arc<Counter>,
        wakes: usize,
        phase: u64,
    ) -> (Participant, &'static str) {
        let (result, outcome) = match polled {
            Poll::Ready(result) => (result, ["led", "released", "closed"]),
            Poll::Pending => {
                assert!(counter.wakes() >= wakes, "not woken");
                let Poll::Ready(result) = self.poll(counter) else {
                    panic!("should be ready");
                };
                (
                    result,
                    ["woken to lead", "woken", "woken to find it closed"],
                )
            }
        };
        let outcome = match result {
            Ok(result) => {
                assert_eq!(result.phase(), phase);
                outcome[usize::from(!result.is_leader())]
            }
            Err(_) => outcome[2],
        };
        (self.stop(), outcome)
    }

    /// The participant of a wait that must be ready, and whether it led.
    #[track_caller]
    pub(crate) fn ready(mut self, phase: u64) -> (Participant, bool) {
        let Poll::Ready(Ok(result)) = self.poll(&Counter::new()) else {
            panic!("should be ready");
        };
        assert_eq!(result.phase(), phase);
        (self.stop(), result.is_leader())
    }

    /// The participant of a wait that has not been polled since it arrived, and must have been woken and be
    /// ready. Says how the wait ended.
    #[track_caller]
    pub(crate) fn woken(self, counter: &Arc<Counter>, phase: u64) -> (Participant, &'static str) {
        self.end(Poll::Pending, counter, 1, phase)
    }
}

/// Asserts that the current phase, of which these are all the participants, takes one arrival from each and
/// wakes each of the others.
#[track_caller]
pub(crate) fn assert_meets<const N: usize>(participants: [Participant; N]) -> [Participant; N] {
    let counters: [_; N] = core::array::from_fn(|_| Counter::new());
    let phase = participants[0].phaser().phase();
    let mut counter = counters.iter();
    let mut waits = participants.map(|participant| {
        let mut wait = Waiting::new(participant);
        let polled = wait.poll(counter.next().unwrap());
        (wait, polled)
    });
    let last = waits.last_mut().unwrap();
    assert!(matches!(last.1, Poll::Ready(Ok(result)) if result.is_leader()));
    let mut counter = counters.iter();
    waits.map(|(wait, polled)| {
        let (participant, _) = wait.end(polled, counter.next().unwrap(), 1, phase);
        participant
    })
}

/// Asserts that nothing is left of the participants, which are all gone: none is counted, and no slot
/// keeps one of the wakers.
#[track_caller]
pub(crate) fn assert_empty(phaser: &Phaser, counters: &[&Arc<Counter>]) {
    assert_eq!((phaser.parties(), phaser.arrived()), (0, 0));
    for counter in counters {
        assert_eq!(Arc::strong_count(counter), 1, "a waker is kept");
    }
}

/// The same, and that the four slots of the first segment are free.
///
/// The slots are known by the order in which they are woken: four participants have them all, or
/// one of them has grown the segments.
#[track_caller]
pub(crate) fn assert_no_slot_is_lost(phaser: &Phaser, counters: &[&Arc<Counter>]) {
    assert_empty(phaser, counters);
    if phaser.is_closed() {
        return;
    }
    let mut participants = phaser.register_many(4).unwrap();
    drop(participants.remove(0));
    // Looks from the fourth slot on, and so comes to the first if no fifth exists.
    let new_participant = phaser.register().unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut waits = [
        ("second", participants.remove(0)),
        ("new participant", new_participant),
    ]
    .map(|(name, participant)| {
        let order = order.clone();
        let mut wait = Waiting::new(participant);
        assert!(
            wait.poll_with(&Waker::from(Arc::new(Logs { name, order })))
                .is_pending()
        );
        wait
    });
    for mut participant in participants {
        participant.arrive().unwrap();
    }
    let order = order.lock().unwrap();
    assert_eq!(*order, ["new participant", "second"], "a slot is lost");
    for wait in &mut waits {
        assert!(wait.poll(&Counter::new()).is_ready());
    }
}

/// Notes its name when it is woken.
struct Logs {
    name: &'static str,
    order: Arc<Mutex<Vec<&'static str>>>,
}

impl Wake for Logs {
    fn wake(self: Arc<Self>) {
        self.order.lock().unwrap().push(self.name);
    }
}
