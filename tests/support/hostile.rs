//! Wakers that act whenever they are cloned, woken or dropped, and an oracle for what comes of that.
//!
//! Such a waker runs a part of the script within a call of the library, so that calls are nested. Each takes
//! effect at one moment between its begin and its end, as does each that is made within it; the oracle
//! goes through all moments that there may be.

use core::{
    cell::RefCell,
    fmt::Debug,
    mem::ManuallyDrop,
    ops::Deref,
    ptr,
    task::{RawWaker, RawWakerVTable, Waker},
};
use std::rc::Rc;

/// The wakers that polls choose from.
pub const WAKERS: usize = 4;

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

#[derive(Default)]
struct Seen {
    wakes: [usize; WAKERS],
    held: [usize; WAKERS],
    acts: Option<Rc<dyn Fn()>>,
}

/// How often each waker was woken.
pub fn wakes() -> [usize; WAKERS] {
    SEEN.with_borrow(|seen| seen.wakes)
}

/// How many clones there are of each.
pub fn held() -> [usize; WAKERS] {
    SEEN.with_borrow(|seen| seen.held)
}

/// Begins anew: from here on wakers act so.
pub fn begin(acts: impl Fn() + 'static) {
    SEEN.set(Seen {
        acts: Some(Rc::new(acts)),
        ..Seen::default()
    });
}

fn see(change: impl FnOnce(&mut Seen)) {
    let acts = SEEN.with_borrow_mut(|seen| {
        change(seen);
        seen.acts.clone()
    });
    acts.into_iter().for_each(|acts| acts());
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |waker| {
        see(|_| ());
        // There is none if that has panicked.
        SEEN.with_borrow_mut(|seen| seen.held[waker.addr()] += 1);
        RawWaker::new(waker, &VTABLE)
    },
    |waker| {
        see(|seen| {
            seen.wakes[waker.addr()] += 1;
            seen.held[waker.addr()] -= 1;
        });
    },
    |waker| see(|seen| seen.wakes[waker.addr()] += 1),
    |waker| see(|seen| seen.held[waker.addr()] -= 1),
);

/// One of the wakers, which is none of its clones.
pub fn waker(which: usize) -> impl Deref<Target = Waker> {
    assert!(which < WAKERS);
    let raw = RawWaker::new(ptr::without_provenance(which), &VTABLE);
    // SAFETY: the functions of the table count in numbers of the thread, by the number that is the data.
    // Nothing here is `Send`: a waker that got to another thread would count there, and that is all.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// What a call came to: something, or a panic.
pub type Came<T> = Option<T>;

/// What is meant to happen, one call after another.
pub trait Model: Clone + Debug + PartialEq {
    type Call: Copy + Debug;
    type Outcome: Copy + Debug + PartialEq;

    /// Makes a call, within others, of which it is known what they come to.
    fn apply(&mut self, call: Self::Call, within: &[Within<Self>]) -> Self::Outcome;

    /// What a call that panicked may have done.
    fn apply_panicking(&self, call: Self::Call, within: &[Within<Self>]) -> Vec<Self>;
}

/// A call that is open, and what it comes to.
pub type Within<M> = (<M as Model>::Call, Came<<M as Model>::Outcome>);

/// All that may have happened.
#[derive(Clone, Debug)]
pub struct Oracle<M: Model> {
    models: Vec<M>,
    /// The calls since those were seen, and what they came to.
    calls: Vec<Within<M>>,
    /// Their begins and ends.
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Begin(usize),
    End(usize),
}

/// One way how it may have happened.
#[derive(Clone, PartialEq)]
struct World<M> {
    model: M,
    /// The open calls that have had their effects.
    done: Vec<usize>,
}

impl<M: Model> Oracle<M> {
    pub fn new(model: M) -> Self {
        Self {
            models: vec![model],
            calls: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Returns a number for the end.
    pub fn begin(&mut self, call: M::Call) -> usize {
        let number = self.calls.len();
        self.calls.push((call, None));
        self.events.push(Event::Begin(number));
        number
    }

    /// The open call `number` does this, too: after it has begun, and before it ends.
    pub fn does(&mut self, number: usize, call: M::Call, outcome: M::Outcome) {
        let other = self.calls.len();
        self.calls.push((call, Some(outcome)));
        let begins = |event: &Event| matches!(event, Event::Begin(begun) if *begun == number);
        let begun = self.events.iter().position(begins).expect("it is open");
        self.events.insert(begun + 1, Event::Begin(other));
        self.events.push(Event::End(other));
    }

    pub fn end(&mut self, number: usize, came: Came<M::Outcome>) {
        self.calls[number].1 = came;
        self.events.push(Event::End(number));
    }

    /// Keeps of all that may have happened what agrees with what is seen, when no call is open. Returns
    /// whether anything does.
    pub fn sees(&mut self, agrees: impl Fn(&mut M) -> bool) -> bool {
        let models = self.models.drain(..);
        let done = Vec::new();
        let mut worlds: Vec<_> = models
            .map(|model| World {
                model,
                done: done.clone(),
            })
            .collect();
        let mut open = Vec::new();
        for &event in &self.events {
            self.let_effects_come(&mut worlds, &open);
            match event {
                Event::Begin(number) => open.push(number),
                Event::End(number) => {
                    open.retain(|&other| other != number);
                    worlds.retain(|world| world.done.contains(&number));
                    for world in &mut worlds {
                        world.done.retain(|&other| other != number);
                    }
                }
            }
        }
        for World { mut model, .. } in worlds {
            if agrees(&mut model) && !self.models.contains(&model) {
                self.models.push(model);
            }
        }
        self.calls.clear();
        self.events.clear();
        !self.models.is_empty()
    }

    /// Open calls may have had their effects by now, in any order.
    fn let_effects_come(&self, worlds: &mut Vec<World<M>>, open: &[usize]) {
        let calls: Vec<_> = open.iter().map(|&number| self.calls[number]).collect();
        let mut next = 0;
        while let Some(world) = worlds.get(next).cloned() {
            for &number in open {
                if world.done.contains(&number) {
                    continue;
                }
                let (call, came) = &self.calls[number];
                let models = if let Some(came) = came {
                    let mut model = world.model.clone();
                    let outcome = model.apply(*call, &calls);
                    if outcome == *came {
                        vec![model]
                    } else {
                        vec![]
                    }
                } else {
                    world.model.apply_panicking(*call, &calls)
                };
                for model in models {
                    let mut done = world.done.clone();
                    done.push(number);
                    done.sort_unstable();
                    let world = World { model, done };
                    if !worlds.contains(&world) {
                        worlds.push(world);
                    }
                }
            }
            next += 1;
        }
    }

    /// Whether that is so, whatever has happened.
    pub fn surely(&self, is_so: impl Fn(&M) -> bool) -> bool {
        self.models.iter().all(is_so)
    }
}
