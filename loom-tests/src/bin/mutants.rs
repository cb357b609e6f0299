//! Edits of the sources that the models or the tests must catch, one by one.
//!
//! ```text
//! cargo run -p loom-tests --bin mutants -- --all
//! cargo run -p loom-tests --bin mutants -- --quick
//! ```
//!
//! Each edit is made in a copy of the workspace. The test that it names runs first; if that does
//! not catch it, all models and then the tests (without `--all`, those that another chosen edit
//! names). An edit that nothing catches, that no longer applies or that does not compile is a
//! failure. So is a test that fails without an edit.

use core::time::Duration;
use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

/// Edits the sources of a copy and checks that every edit is caught.
#[derive(Parser)]
#[command(group(clap::ArgGroup::new("which").required(true)))]
struct Args {
    /// Make every edit
    #[arg(long, group = "which")]
    all: bool,
    /// Make the few edits that stand for the others in continuous integration
    #[arg(long, group = "which")]
    quick: bool,
    /// Make the edits whose names contain this
    #[arg(long, group = "which", value_name = "TEXT")]
    only: Option<String>,
}

/// One edit.
struct Mutant {
    name: &'static str,
    file: &'static str,
    /// Stands in the file exactly once.
    find: &'static str,
    replace: &'static str,
    /// Where it is expected to be caught, and looked for first.
    test: Test,
    quick: bool,
}

/// A test target of the package of models, or of the library's own package.
#[derive(Clone, Copy, PartialEq)]
enum Test {
    Loom(&'static str),
    Plain(&'static str),
}

use Test::{Loom, Plain};

const STATE: &str = "src/state.rs";
const SLAB: &str = "src/slab.rs";
const SEGMENTS: &str = "src/segments.rs";
const WAKE: &str = "src/wake.rs";
const BLOCKING: &str = "src/blocking.rs";
const BARRIER: &str = "src/barrier.rs";
const LEADER: &str = "src/barrier/leader.rs";
const WAITER: &str = "src/barrier/waiter.rs";
const PHASER: &str = "src/phaser.rs";
const MEMBER: &str = "src/phaser/member.rs";
const OBSERVER: &str = "src/phaser/observer.rs";
const SEAT: &str = "src/phaser/seat.rs";
const PHASER_STATE: &str = "src/phaser/state.rs";
const CELL: &str = "src/sync/waker.rs";

/// What runs if the test that an edit names does not catch it.
const ALL_TESTS: &[Test] = &[
    Loom("wait"),
    Loom("leader"),
    Loom("split"),
    Loom("ordering"),
    Loom("weak"),
    Loom("waker_cell"),
    Loom("phaser"),
    Loom("phaser_orphaned"),
    Loom("phaser_close"),
    Loom("phaser_seats"),
    Loom("phaser_ordering"),
    Plain("reference_model"),
    Plain("wakers"),
    Plain("cancellation"),
    Plain("memory"),
    Plain("drop_in"),
    Plain("phaser_wakers"),
    Plain("phaser_observer"),
    Plain("phaser_cancellation"),
];

/// More than the slowest test target takes, on a machine that does something else as well.
const TIME_LIMIT: Duration = Duration::from_secs(180);

#[rustfmt::skip]
const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "generation: no acquire",
        file: STATE,
        find: "self.generation_of(Word(self.word.load(Ordering::Acquire)))",
        replace: "self.generation_of(Word(self.word.load(Ordering::Relaxed)))",
        test: Loom("ordering"),
        quick: true,
    },
    Mutant {
        name: "arrive: no release",
        file: STATE,
        find: "self.swap(from, Word(from.0 + 1), Ordering::Release)",
        replace: "self.swap(from, Word(from.0 + 1), Ordering::Relaxed)",
        test: Loom("ordering"),
        quick: true,
    },
    Mutant {
        name: "complete: no acquire",
        file: STATE,
        find: "self.swap(from, Word(to), Ordering::AcqRel)",
        replace: "self.swap(from, Word(to), Ordering::Release)",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "complete: no release",
        file: STATE,
        find: "self.swap(from, Word(to), Ordering::AcqRel)",
        replace: "self.swap(from, Word(to), Ordering::Acquire)",
        test: Loom("ordering"),
        quick: true,
    },
    Mutant {
        name: "hold: no acquire",
        file: STATE,
        find: "self.swap(from, Word(from.0 + 1), Ordering::Acquire)",
        replace: "self.swap(from, Word(from.0 + 1), Ordering::Relaxed)",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "release: no acquire",
        file: STATE,
        find: "match self.swap(word, Word(to), Ordering::AcqRel) {",
        replace: "match self.swap(word, Word(to), Ordering::Release) {",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "release: no release",
        file: STATE,
        find: "match self.swap(word, Word(to), Ordering::AcqRel) {",
        replace: "match self.swap(word, Word(to), Ordering::Acquire) {",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "publish: no release",
        file: STATE,
        find: "self.swap(from, from, Ordering::Release)",
        replace: "self.swap(from, from, Ordering::Relaxed)",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "claim: no acquire",
        file: SLAB,
        find: ".compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed)",
        replace: ".compare_exchange(FREE, CLAIMED, Ordering::Relaxed, Ordering::Relaxed)",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "slot hold: no release",
        file: SLAB,
        find: "self.owner.store(held(generation), Ordering::Release);",
        replace: "self.owner.store(held(generation), Ordering::Relaxed);",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "hold_again: success without acquire",
        file: SLAB,
        find: "                busy(generation),
                Ordering::Acquire,
                Ordering::Acquire,",
        replace: "                busy(generation),
                Ordering::Relaxed,
                Ordering::Acquire,",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "hold_again: first failure without acquire",
        file: SLAB,
        find: "                busy(generation),
                Ordering::Acquire,
                Ordering::Acquire,",
        replace: "                busy(generation),
                Ordering::Acquire,
                Ordering::Relaxed,",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "hold_again: way back without release",
        file: SLAB,
        find: "            Ordering::Release,
            Ordering::Acquire,
        );",
        replace: "            Ordering::Relaxed,
            Ordering::Acquire,
        );",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "hold_again: second failure without acquire",
        file: SLAB,
        find: "            Ordering::Release,
            Ordering::Acquire,
        );",
        replace: "            Ordering::Release,
            Ordering::Relaxed,
        );",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "slot release: no acquire",
        file: SLAB,
        find: ".compare_exchange(owner, RELEASED, Ordering::AcqRel, Ordering::Relaxed)",
        replace: ".compare_exchange(owner, RELEASED, Ordering::Release, Ordering::Relaxed)",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "slot release: no release",
        file: SLAB,
        find: ".compare_exchange(owner, RELEASED, Ordering::AcqRel, Ordering::Relaxed)",
        replace: ".compare_exchange(owner, RELEASED, Ordering::Acquire, Ordering::Relaxed)",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "empty: no release",
        file: SLAB,
        find: "self.owner.store(FREE, Ordering::Release);",
        replace: "self.owner.store(FREE, Ordering::Relaxed);",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "segment: no acquire",
        file: SEGMENTS,
        find: "self.segments.get(k)?.load(Ordering::Acquire)",
        replace: "self.segments.get(k)?.load(Ordering::Relaxed)",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "grow: no release",
        file: SEGMENTS,
        find: ".compare_exchange(ptr::null_mut(), first, Ordering::Release, Ordering::Relaxed)",
        replace: ".compare_exchange(ptr::null_mut(), first, Ordering::Relaxed, Ordering::Relaxed)",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "held is stored before the waker is registered",
        file: SLAB,
        find: "        self.waker.register(waker);
        // Ordering: release, not for",
        replace: "        self.owner.store(held(generation), Ordering::Release);
        self.waker.register(waker);
        // Ordering: release, not for",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "free is stored before the waker is taken",
        file: SLAB,
        find: "        let waker = self.waker.take();
        // Ordering: release",
        replace: "        self.owner.store(FREE, Ordering::Release);
        let waker = self.waker.take();
        // Ordering: release",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "a waiter arrives before it holds a slot",
        file: WAITER,
        find: "        slot.hold(generation, waker);
        while let Err(present) = barrier.state.arrive(word) {
            word = present;
            if !barrier.state.next(word).waits_in(generation) {
                slot.vacate(generation);
                return Err(word);
            }
        }
",
        replace: "        while let Err(present) = barrier.state.arrive(word) {
            word = present;
            if !barrier.state.next(word).waits_in(generation) {
                slot.vacate(generation);
                return Err(word);
            }
        }
        slot.hold(generation, waker);
",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "a busy slot is emptied by its releaser",
        file: SLAB,
        find: "Ok(_) => return None,",
        replace: "Ok(_) => return self.empty(),",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a busy slot is skipped by its releaser",
        file: SLAB,
        find: "while owner == held(generation) || owner == busy(generation) {",
        replace: "while owner == held(generation) {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a busy slot is emptied by nobody",
        file: SLAB,
        find: "            drop(self.empty());
        }
        back.is_ok()",
        replace: "        }
        back.is_ok()",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a released slot is never free again",
        file: SLAB,
        find: "Ok(_) if owner == held(generation) => return self.empty(),",
        replace: "Ok(_) if owner == held(generation) => return self.waker.take(),",
        test: Plain("memory"),
        quick: false,
    },
    Mutant {
        name: "a withdrawn slot is never free again",
        file: SLAB,
        find: "                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
        {
            drop(self.empty());",
        replace: "                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
        {
            drop(self.waker.take());",
        test: Plain("memory"),
        quick: false,
    },
    Mutant {
        name: "a slot is emptied by the releaser and by its waiter",
        file: SLAB,
        find: "        {
            return false;
        }
        // The slot may",
        replace: "        {
            drop(self.empty());
            return false;
        }
        // The slot may",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "a slot is emptied before its waiter withdraws",
        file: WAITER,
        find: "        let step = self.step;
        match step {",
        replace: "        let step = self.step;
        step.leave_slot(barrier);
        match step {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "vacate: a plain store",
        file: SLAB,
        find: "        if self
            .owner
            .compare_exchange(
                held(generation),
                RELEASED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
        {",
        replace: "        if self.owner.load(Ordering::Relaxed) == held(generation) {
            self.owner.store(RELEASED, Ordering::Relaxed);",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "vacate: whatever state the slot is in",
        file: SLAB,
        find: "        if self
            .owner
            .compare_exchange(
                held(generation),
                RELEASED,
                Ordering::Relaxed,
                Ordering::Relaxed,
            )
            .is_ok()
        {",
        replace: "        let _ = generation;
        {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "slot release: a plain store",
        file: SLAB,
        find: "            match self
                .owner
                .compare_exchange(owner, RELEASED, Ordering::AcqRel, Ordering::Relaxed)
            {",
        replace: "            self.owner.store(RELEASED, Ordering::Release);
            match Ok::<_, u64>(()) {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "slot release: gives up where the waiter came first",
        file: SLAB,
        find: "Err(present) => owner = present,",
        replace: "Err(_) => return None,",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "slot release: whatever generation the slot is of",
        file: SLAB,
        find: "        while owner == held(generation) || owner == busy(generation) {",
        replace: "        let generation = if owner & 0b11 == 0 { generation } else { owner >> 2 };
        while owner == held(generation) || owner == busy(generation) {",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "hold_again: to busy by a plain store",
        file: SLAB,
        find: "        if self
            .owner
            .compare_exchange(
                held(generation),
                busy(generation),
                Ordering::Acquire,
                Ordering::Acquire,
            )
            .is_err()
        {
            return false;
        }
",
        replace: "        if self.owner.load(Ordering::Acquire) != held(generation) {
            return false;
        }
        self.owner.store(busy(generation), Ordering::Relaxed);
",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "hold_again: back by a plain store",
        file: SLAB,
        find: "        let back = self.owner.compare_exchange(
            busy(generation),
            held(generation),
            Ordering::Release,
            Ordering::Acquire,
        );",
        replace: "        let back = Ok::<u64, u64>(busy(generation));
        self.owner.store(held(generation), Ordering::Release);",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "hold_again: never busy",
        file: SLAB,
        find: "                busy(generation),
                Ordering::Acquire,
                Ordering::Acquire,
            )
            .is_err()
        {
            return false;
        }
",
        replace: "                held(generation),
                Ordering::Acquire,
                Ordering::Acquire,
            )
            .is_err()
        {
            return false;
        }
        self.owner.store(busy(generation), Ordering::Relaxed);
",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "claim: a plain store",
        file: SLAB,
        find: "        self.owner
            .compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()",
        replace: "        let free = self.owner.load(Ordering::Acquire) == FREE;
        if free {
            self.owner.store(CLAIMED, Ordering::Relaxed);
        }
        free",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a slot is used again after a panicking clone",
        file: SLAB,
        find: "        self.waker.register(waker);
        // Ordering: release, not for",
        replace: "        struct Reset<'a>(&'a Slot);
        impl Drop for Reset<'_> {
            fn drop(&mut self) {
                self.0.owner.store(FREE, Ordering::Release);
            }
        }
        let reset = Reset(self);
        self.waker.register(waker);
        core::mem::forget(reset);
        // Ordering: release, not for",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a drain that stops one slot short",
        file: SLAB,
        find: "            .iter()
            .filter_map(|slot| slot.release(generation));
        wake_all",
        replace: "            .iter()
            .take(self.slots.iter().count().saturating_sub(1))
            .filter_map(|slot| slot.release(generation));
        wake_all",
        test: Plain("reference_model"),
        quick: false,
    },
    Mutant {
        name: "a drain that starts one slot late",
        file: SLAB,
        find: "            .iter()
            .filter_map(|slot| slot.release(generation));
        wake_all",
        replace: "            .iter()
            .skip(1)
            .filter_map(|slot| slot.release(generation));
        wake_all",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "a drain of the first segment alone",
        file: SLAB,
        find: "            .iter()
            .filter_map(|slot| slot.release(generation));
        wake_all",
        replace: "            .iter()
            .take(4)
            .filter_map(|slot| slot.release(generation));
        wake_all",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a drain that stops at the first panic",
        file: WAKE,
        find: "    while let Err(panic) = catch_unwind",
        replace: "    if let Err(panic) = catch_unwind",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a drain whose panic is lost",
        file: WAKE,
        find: "Some(panic) => resume_unwind(panic),",
        replace: "Some(panic) => drop(panic),",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a drain whose last panic comes out",
        file: WAKE,
        find: "        if first_panic.is_none() {",
        replace: "        if true {",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a helper that drains the next generation",
        file: SLAB,
        find: "after_own.filter_map(|(_, slot)| slot.release(generation)),",
        replace: "after_own.filter_map(|(_, slot)| slot.release(generation + 1)),",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a helper that stops too early",
        file: SLAB,
        find: "let after_own = slots.take_while(|&(index, _)| index > own);",
        replace: "let after_own = slots.take_while(|&(index, _)| index > own + 1);",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a waiter that helps a leader that is ahead",
        file: SLAB,
        find: "if next == Some(generation)",
        replace: "if next != Some(generation)",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a waiter that does not help",
        file: WAITER,
        find: "        barrier.slab.help(generation, slot);
",
        replace: "",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a growing slab that overwrites another's segment",
        file: SEGMENTS,
        find: "        if self.segments[k]
            .compare_exchange(ptr::null_mut(), first, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {",
        replace: "        self.segments[k].store(first, Ordering::Release);
        if false {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "withdraw: whatever the generation",
        file: STATE,
        find: "self.generation_of(word) + u64::from(held) == generation",
        replace: "!held && self.generation_of(word) >= generation",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "withdraw: also when the release is held",
        file: STATE,
        find: "self.generation_of(word) + u64::from(held) == generation",
        replace: "self.generation_of(word) + u64::from(held && generation > self.generation_of(word)) == generation",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "withdraw: one try",
        file: STATE,
        find: "                Ok(()) => return true,
                Err(present) => word = present,
            }
        }
        false
    }

    /// Whether",
        replace: "                Ok(()) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    /// Whether",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "complete: one arrival short",
        file: STATE,
        find: "        if arrivals + 1 < self.parties {
            return Next::Waits {
                generation,
                before: arrivals,
            };
        }
        if arrivals + 1 == self.parties {",
        replace: "        if arrivals + 2 < self.parties {
            return Next::Waits {
                generation,
                before: arrivals,
            };
        }
        if arrivals < self.parties {",
        test: Loom("wait"),
        quick: true,
    },
    Mutant {
        name: "complete: the next while the release is held",
        file: STATE,
        find: "        if before + 1 < self.parties {",
        replace: "        if before < self.parties {",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "release: without the early arrivals",
        file: STATE,
        find: "let to = (generation + 1) << self.shift | early;",
        replace: "let to = (generation + 1) << self.shift | early & 0;",
        test: Loom("leader"),
        quick: true,
    },
    Mutant {
        name: "release: one try",
        file: STATE,
        find: "Ok(()) => return,\n                Err(present) => word = present,",
        replace: "Ok(()) | Err(_) => return,",
        test: Loom("weak"),
        quick: true,
    },
    Mutant {
        name: "publish_in: takes a failure for success",
        file: STATE,
        find: "match self.publish(word) {\n                Ok(()) => return true,\n                Err(present) => word = present,",
        replace: "match self.publish(word) {\n                Ok(()) => return true,\n                Err(present) => {\n                    word = present;\n                    return true;\n                }",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "withdraw: takes a failure for success",
        file: STATE,
        find: "Ok(()) => return true,\n                Err(present) => word = present,\n            }\n        }\n        false\n    }\n\n    /// Whether",
        replace: "Ok(()) | Err(_) => return true,\n            }\n        }\n        false\n    }\n\n    /// Whether",
        test: Loom("weak"),
        quick: false,
    },
    Mutant {
        name: "complete: takes a failure for success",
        file: WAITER,
        find: "Lead::Release => barrier.state.complete(word)?,",
        replace: "Lead::Release => drop(barrier.state.complete(word)),",
        test: Loom("weak"),
        quick: false,
    },
    Mutant {
        name: "hold: takes a failure for success",
        file: WAITER,
        find: "Lead::Hold => barrier.state.hold(word)?,",
        replace: "Lead::Hold => drop(barrier.state.hold(word)),",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "arrive: an arrival that takes a failure for success",
        file: WAITER,
        find: "Next::Waits { generation, before } => barrier.state.arrive(word).map(|()| {",
        replace: "Next::Waits { generation, before } => barrier.state.arrive(word).or(Ok(())).map(|()| {",
        test: Loom("weak"),
        quick: false,
    },
    Mutant {
        name: "publish_in: also after the release",
        file: STATE,
        find: "while self.generation_of(word) <= generation {",
        replace: "while self.generation_of(word) <= generation + 1 {",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "a word with a bit too few for arrivals",
        file: STATE,
        find: "let bits = u64::BITS - (parties - 1).leading_zeros() + 1;",
        replace: "let bits = u64::BITS - (parties - 1).leading_zeros() + (parties < 2) as u32;",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "a first poll that does not look at the word again",
        file: WAITER,
        find: "if !barrier.state.next(word).waits_in(generation) {",
        replace: "if !matches!(barrier.state.next(word), Next::Waits { .. }) {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a first poll that keeps its slot though it could not arrive",
        file: WAITER,
        find: "            if !barrier.state.next(word).waits_in(generation) {
                slot.vacate(generation);",
        replace: "            if !barrier.state.next(word).waits_in(generation) {",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "queue: no publish",
        file: WAITER,
        find: "if let Err(present) = barrier.state.publish(word) {",
        replace: "if let Err(present) = Ok::<(), Word>(()) {",
        test: Loom("leader"),
        quick: true,
    },
    Mutant {
        name: "queue: keeps its slot though it could not publish",
        file: WAITER,
        find: "            slot.vacate(behind);
",
        replace: "",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "poll of an arrival: no publish",
        file: WAITER,
        find: "            if barrier.state.publish_in(generation) {",
        replace: "            if !barrier.state.is_released(generation) {",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "poll of an arrival: keeps its slot though it was released",
        file: WAITER,
        find: "                return Poll::Pending;
            }
            slot.vacate(generation);",
        replace: "                return Poll::Pending;
            }",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "a later poll that does not look at the word again",
        file: SLAB,
        find: "        if is_released() {",
        replace: "        if false && is_released() {",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a later poll that does not look at the slot",
        file: WAITER,
        find: "    slot.hold_again(generation, waker, is_released)",
        replace: "    slot.hold_again(generation, waker, is_released) | true",
        test: Loom("ordering"),
        quick: false,
    },
    Mutant {
        name: "a panic in a poll leaves the arrival",
        file: WAITER,
        find: "                self.0.withdraw(self.1);",
        replace: "                let _ = (&self.0, self.1);",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a panic in a later poll leaves the waiter with its slot",
        file: WAITER,
        find: "        self.step = Step::Counted {
            generation,
            hint: slot,
        };
        let stays",
        replace: "        let stays",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "a leader that is ready only after the wakes",
        file: WAITER,
        find: "        let ready = self.ready(generation, true);
        match lead {
            Lead::Release => {
                barrier.slab.release(generation);",
        replace: "        let ready = Poll::Pending;
        match lead {
            Lead::Release => {
                barrier.slab.release(generation);
                return Ok(self.ready(generation, true));",
        test: Plain("wakers"),
        quick: false,
    },
    Mutant {
        name: "a withdrawn waiter that keeps its slot",
        file: WAITER,
        find: "        step.leave_slot(barrier);
        true",
        replace: "        true",
        test: Plain("cancellation"),
        quick: false,
    },
    Mutant {
        name: "a dropped wait that is not taken back",
        file: BARRIER,
        find: "impl Drop for OwnedWait {
    fn drop(&mut self) {
        self.waiter.withdraw(&self.barrier);",
        replace: "impl Drop for OwnedWait {
    fn drop(&mut self) {
        self.waiter.leave_slot(&self.barrier);",
        test: Loom("wait"),
        quick: false,
    },
    Mutant {
        name: "a dropped arrival that is taken back",
        file: BARRIER,
        find: "self.waiter.leave_slot(self.barrier);",
        replace: "self.waiter.withdraw(self.barrier);",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "a dropped arrival that keeps its slot",
        file: BARRIER,
        find: "self.waiter.leave_slot(self.barrier);",
        replace: "",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "a dropped leader that does not release the word",
        file: LEADER,
        find: "        self.barrier.state.release(self.generation);
",
        replace: "",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "a dropped leader that wakes nobody",
        file: LEADER,
        find: "        self.barrier.slab.release(self.generation);
",
        replace: "",
        test: Loom("leader"),
        quick: true,
    },
    Mutant {
        name: "a dropped leader that wakes before it releases",
        file: LEADER,
        find: "        self.barrier.state.release(self.generation);
        self.barrier.slab.release(self.generation);
",
        replace: "        self.barrier.slab.release(self.generation);
        self.barrier.state.release(self.generation);
",
        test: Loom("leader"),
        quick: false,
    },
    Mutant {
        name: "a blocking wait that gives up though the release is held",
        file: BLOCKING,
        find: "Some(_) => deadline = None,",
        replace: "Some(_) => break Err(WaitTimeoutError),",
        test: Loom("split"),
        quick: false,
    },
    Mutant {
        name: "cell: a registration that meets a wake does not wake",
        file: CELL,
        find: "            WAKING => waker.wake_by_ref(),",
        replace: "            WAKING => {}",
        test: Loom("waker_cell"),
        quick: true,
    },
    Mutant {
        name: "cell: a wake during a registration is lost",
        file: CELL,
        find: r#"waker.expect("registered above").wake();"#,
        replace: "drop(waker);",
        test: Loom("waker_cell"),
        quick: false,
    },
    Mutant {
        name: "phaser load: no acquire",
        file: PHASER_STATE,
        find: "Word(self.word.load(Ordering::Acquire))",
        replace: "Word(self.word.load(Ordering::Relaxed))",
        test: Loom("phaser_ordering"),
        quick: true,
    },
    Mutant {
        name: "phaser load_with_phase: first load without acquire",
        file: PHASER_STATE,
        find: "let mut recent = self.recent.load(Ordering::Acquire);",
        replace: "let mut recent = self.recent.load(Ordering::Relaxed);",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser load_with_phase: second load without acquire",
        file: PHASER_STATE,
        find: "let again = self.recent.load(Ordering::Acquire);",
        replace: "let again = self.recent.load(Ordering::Relaxed);",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser note_release: no release",
        file: PHASER_STATE,
        find: "self.recent.fetch_max(began, Ordering::Release);",
        replace: "self.recent.fetch_max(began, Ordering::Relaxed);",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser arrive: no release",
        file: PHASER_STATE,
        find: "self.swap(from, from.0 + ARRIVAL, Ordering::Release)",
        replace: "self.swap(from, from.0 + ARRIVAL, Ordering::Relaxed)",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser complete: no acquire",
        file: PHASER_STATE,
        find: "self.swap(from, to, Ordering::AcqRel)",
        replace: "self.swap(from, to, Ordering::Release)",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser complete: no release",
        file: PHASER_STATE,
        find: "self.swap(from, to, Ordering::AcqRel)",
        replace: "self.swap(from, to, Ordering::Acquire)",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser release: no acquire",
        file: PHASER_STATE,
        find: "match self.swap(word, word.released().0, Ordering::AcqRel) {",
        replace: "match self.swap(word, word.released().0, Ordering::Release) {",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser release: no release",
        file: PHASER_STATE,
        find: "match self.swap(word, word.released().0, Ordering::AcqRel) {",
        replace: "match self.swap(word, word.released().0, Ordering::Acquire) {",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser leave: no acquire",
        file: PHASER_STATE,
        find: "match self.swap(word, to.0, Ordering::AcqRel) {
                Ok(()) => return departure,",
        replace: "match self.swap(word, to.0, Ordering::Release) {
                Ok(()) => return departure,",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser leave: no release",
        file: PHASER_STATE,
        find: "match self.swap(word, to.0, Ordering::AcqRel) {
                Ok(()) => return departure,",
        replace: "match self.swap(word, to.0, Ordering::Acquire) {
                Ok(()) => return departure,",
        test: Loom("phaser_ordering"),
        quick: false,
    },
    Mutant {
        name: "phaser publish: no release",
        file: PHASER_STATE,
        find: "self.swap(from, from.0, Ordering::Release)",
        replace: "self.swap(from, from.0, Ordering::Relaxed)",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser swap: failure without acquire",
        file: PHASER_STATE,
        find: ".compare_exchange_weak(from.0, to, success, Ordering::Acquire)",
        replace: ".compare_exchange_weak(from.0, to, success, Ordering::Relaxed)",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser waker_of: no acquire",
        file: SEAT,
        find: "let owner = self.owner.load(Ordering::Acquire);
        if owner & CHANGE",
        replace: "let owner = self.owner.load(Ordering::Relaxed);
        if owner & CHANGE",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser a seat left: no acquire",
        file: SEAT,
        find: ".compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)",
        replace: ".compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser enter: no acquire",
        file: SEAT,
        find: "self.0.fetch_add(READER, Ordering::Acquire);",
        replace: "self.0.fetch_add(READER, Ordering::Relaxed);",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser exit: no release",
        file: SEAT,
        find: "let before = self.0.fetch_sub(READER, Ordering::Release);",
        replace: "let before = self.0.fetch_sub(READER, Ordering::Relaxed);",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser exit: no acquire",
        file: SEAT,
        find: ".compare_exchange(LEFTOVERS, 0, Ordering::Acquire, Ordering::Relaxed)",
        replace: ".compare_exchange(LEFTOVERS, 0, Ordering::Relaxed, Ordering::Relaxed)",
        test: Loom("phaser"),
        quick: true,
    },
    Mutant {
        name: "phaser are_none: no acquire",
        file: SEAT,
        find: ".compare_exchange_weak(readers, to, Ordering::AcqRel, Ordering::Relaxed)",
        replace: ".compare_exchange_weak(readers, to, Ordering::Release, Ordering::Relaxed)",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser are_none: no release",
        file: SEAT,
        find: ".compare_exchange_weak(readers, to, Ordering::AcqRel, Ordering::Relaxed)",
        replace: ".compare_exchange_weak(readers, to, Ordering::Acquire, Ordering::Relaxed)",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser hold_anew: no release",
        file: SEAT,
        find: "seat.owner.fetch_xor(CHANGE, Ordering::Release);",
        replace: "seat.owner.fetch_xor(CHANGE, Ordering::Relaxed);",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser empty: no release",
        file: SEAT,
        find: "seat.owner.store(FREE, Ordering::Release);",
        replace: "seat.owner.store(FREE, Ordering::Relaxed);",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser appoint: no acquire",
        file: PHASER_STATE,
        find: "match self.swap(word, word.0 & !STAGE | COMPLETE, Ordering::AcqRel) {",
        replace: "match self.swap(word, word.0 & !STAGE | COMPLETE, Ordering::Release) {",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser release_unled: no acquire",
        file: PHASER_STATE,
        find: "match self.swap(word, to.0, Ordering::AcqRel) {
                Ok(()) => return is_full,",
        replace: "match self.swap(word, to.0, Ordering::Release) {
                Ok(()) => return is_full,",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser moves: no release",
        file: SEAT,
        find: "self.moves.fetch_add(1, Ordering::Release);",
        replace: "self.moves.fetch_add(1, Ordering::Relaxed);",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser moves: first load without acquire",
        file: SEAT,
        find: "let moves = self.moves.load(Ordering::Acquire);",
        replace: "let moves = self.moves.load(Ordering::Relaxed);",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser appoint of a seat: no acquire",
        file: SEAT,
        find: "let mut owner = self.owner.load(Ordering::Acquire);",
        replace: "let mut owner = self.owner.load(Ordering::Relaxed);",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser appoint of a seat: failure without acquire",
        file: SEAT,
        find: "owner | APPOINTED,
                Ordering::AcqRel,
                Ordering::Acquire,
",
        replace: "owner | APPOINTED,
                Ordering::AcqRel,
                Ordering::Relaxed,
",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser a move: no release of the seat that is left",
        file: SEAT,
        find: "seat.owner.swap(RETIRED, Ordering::Release)",
        replace: "seat.owner.swap(RETIRED, Ordering::Relaxed)",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser a move: no release of the new seat",
        file: SEAT,
        find: "new.owner.store(held(phase), Ordering::Release);",
        replace: "new.owner.store(held(phase), Ordering::Relaxed);",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser hold_anew of an unused seat: no release",
        file: SEAT,
        find: "seat.owner.store(held(phase), Ordering::Release);
            return none;",
        replace: "seat.owner.store(held(phase), Ordering::Relaxed);
            return none;",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser stop: no acquire",
        file: SEAT,
        find: "self.owner.swap(IDLE, Ordering::Acquire)",
        replace: "self.owner.swap(IDLE, Ordering::Relaxed)",
        test: Loom("phaser_orphaned"),
        quick: true,
    },
    Mutant {
        name: "phaser appoint of a seat: no release",
        file: SEAT,
        find: "owner | APPOINTED,
                Ordering::AcqRel,",
        replace: "owner | APPOINTED,
                Ordering::Acquire,",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: stop ignores that it was appointed",
        file: SEAT,
        find: "self.owner.swap(IDLE, Ordering::Acquire) == held(phase) | APPOINTED",
        replace: "self.owner.swap(IDLE, Ordering::Acquire) == held(phase) | APPOINTED && false",
        test: Loom("phaser_orphaned"),
        quick: true,
    },
    Mutant {
        name: "phaser: a search that ignores moves",
        file: SEAT,
        find: "if moves == self.moves.load(Ordering::Acquire) {",
        replace: "if moves == self.moves.load(Ordering::Acquire) || true {",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: orphan does nothing while the phase is orphaned",
        file: PHASER_STATE,
        find: "Stage::Held => self.publish(word).map(|()| false),",
        replace: "Stage::Held => return false,",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: who appointed does not look again",
        file: PHASER,
        find: "if self.seats.has_appointed(orphaned) {",
        replace: "if self.seats.has_appointed(orphaned) || true {",
        test: Loom("phaser_orphaned"),
        quick: true,
    },
    Mutant {
        name: "phaser: release_unled forgets newcomers",
        file: PHASER_STATE,
        find: "let is_full = to.parties() > 0 &&",
        replace: "let is_full = false && to.parties() > 0 &&",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a poll that takes its own hold for published",
        file: MEMBER,
        find: "Stage::Open | Stage::Held if is_published => return Poll::Pending,",
        replace: "Stage::Open | Stage::Held
                    if is_published
                        || self.phaser.shared.seats.holds(self.seat, self.phase, waker) =>
                {
                    return Poll::Pending;
                }",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a search that passes over busy seats",
        file: SEAT,
        find: "owner & !APPOINTED == held(phase) || owner & !APPOINTED == busy(phase)",
        replace: "owner & !APPOINTED == held(phase)",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a change of waker that loses the appointment",
        file: SEAT,
        find: "if seat.owner.load(Ordering::Relaxed) & !APPOINTED == held(phase) {
            seat.owner.fetch_xor",
        replace: "if false {
            seat.owner.fetch_xor",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a later poll that loses the appointment",
        file: SEAT,
        find: "if seat.owner.load(Ordering::Relaxed) & !APPOINTED != held(phase) {",
        replace: "if seat.owner.load(Ordering::Relaxed) != held(phase) {",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: an appointed member that just leaves",
        file: MEMBER,
        find: "        if has_arrived {
            self.stop_waiting();",
        replace: "        if has_arrived && false {
            self.stop_waiting();",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: an appointed wait that is just dropped",
        file: MEMBER,
        find: "            member.stop_waiting();
",
        replace: "",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: one that stops and looks for nobody",
        file: MEMBER,
        find: "            shared.find_leader(self.phase);
",
        replace: "",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that looks for nobody",
        file: PHASER,
        find: "Departure::Orphaned(phase) => self.find_leader(phase),",
        replace: "Departure::Orphaned(_) => {}",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a member arrives before it holds its seat",
        file: MEMBER,
        find: "                if let (Some(waker), false) = (waker, holds) {
                    _old = shared.seats.hold(&mut self.seat, self.phase, waker);
                    holds = true;
                }
                shared.state.arrive(word).map(|()| {
                    self.step = Step::Arrived;
",
        replace: "                shared.state.arrive(word).map(|()| {
                    self.step = Step::Arrived;
                    if let (Some(waker), false) = (waker, holds) {
                        _old = shared.seats.hold(&mut self.seat, self.phase, waker);
                        holds = true;
                    }
",
        test: Loom("phaser"),
        quick: true,
    },
    Mutant {
        name: "phaser: complete one arrival short",
        file: PHASER_STATE,
        find: "self.arrived() + 1 == self.parties()",
        replace: "self.arrived() + 2 >= self.parties()",
        test: Loom("phaser"),
        quick: true,
    },
    Mutant {
        name: "phaser: a leader that does not unhold",
        file: MEMBER,
        find: "        if holds {
            shared.seats.seat(self.seat).unhold();
        }
",
        replace: "",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a dropped wait that holds its seat",
        file: MEMBER,
        find: "            self.step = Step::Due;
            self.phaser.shared.seats.seat(self.seat).unhold();
",
        replace: "            self.step = Step::Due;
",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that always counts its arrival",
        file: PHASER_STATE,
        find: "let counts = has_arrived && stage == Stage::Open;",
        replace: "let counts = has_arrived;",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that never counts its arrival",
        file: PHASER_STATE,
        find: "let counts = has_arrived && stage == Stage::Open;",
        replace: "let counts = false && has_arrived;",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that releases though one waits",
        file: PHASER_STATE,
        find: "(Word(all_arrived | ORPHANED), Departure::Orphaned(open))",
        replace: "(Word(all_arrived | ORPHANED).released(), Departure::Released(open))",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that ends one phase at most",
        file: PHASER,
        find: "if !is_next_orphaned {",
        replace: "if !is_next_orphaned || true {",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that wakes nobody to lead",
        file: PHASER,
        find: "self.seats.wake(phase..orphaned + u64::from(is_led));",
        replace: "self.seats.wake(phase..orphaned + u64::from(is_led && false));",
        test: Loom("phaser"),
        quick: true,
    },
    Mutant {
        name: "phaser: a departure that wakes no member",
        file: PHASER,
        find: "self.seats.wake(phase..orphaned + u64::from(is_led));",
        replace: "self.seats.wake(orphaned..orphaned + u64::from(is_led));",
        test: Loom("phaser_orphaned"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure that wakes no observer",
        file: PHASER,
        find: "let _observers = Finally(|| self.observers.release_all(released.clone()));",
        replace: "",
        test: Plain("phaser_observer"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departure from a closed phaser that completes",
        file: PHASER_STATE,
        find: "if !word.lacks_one() || word.is_closed() || counts {",
        replace: "if !word.lacks_one() || counts {",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: a leader that forgets newcomers",
        file: PHASER_STATE,
        find: "        if word.is_open() {
            Word(word.0 & !MAX_PARTIES)",
        replace: "        if true {
            Word(word.0 & !MAX_PARTIES)",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a release that forgets newcomers",
        file: PHASER_STATE,
        find: "Word((self.0 & !STAGE).wrapping_add(PHASE))",
        replace: "Word((self.0 & !STAGE & !MAX_PARTIES).wrapping_add(PHASE))",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a leader that wakes no member",
        file: PHASER,
        find: "        self.seats.release(phase);",
        replace: "",
        test: Loom("phaser"),
        quick: true,
    },
    Mutant {
        name: "phaser: a leader that wakes no observer",
        file: PHASER,
        find: "        let _observers = Finally(|| self.observers.release(phase));",
        replace: "",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: a leader that wakes before it releases",
        file: MEMBER,
        find: "        shared.state.release();
        shared.released(self.phase - 1);",
        replace: "        shared.released(self.phase - 1);
        shared.state.release();",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a release tried once",
        file: PHASER_STATE,
        find: "match self.swap(word, word.released().0, Ordering::AcqRel) {
                Ok(()) => return,
                Err(present) => word = present,",
        replace: "match self.swap(word, word.released().0, Ordering::AcqRel) {
                Ok(()) | Err(_) => return,",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: withdraw also when the phase is complete",
        file: PHASER_STATE,
        find: "while word.stage_of(phase) == Stage::Open {",
        replace: "while word.stage_of(phase) != Stage::Released {",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: withdraw whatever the phase",
        file: PHASER_STATE,
        find: "while word.stage_of(phase) == Stage::Open {",
        replace: "while word.stage_of(phase) == Stage::Open || word.arrived() > 0 {",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a close that wakes no member",
        file: PHASER,
        find: "            self.shared.seats.wake(phase..phase + 1);",
        replace: "",
        test: Loom("phaser_close"),
        quick: true,
    },
    Mutant {
        name: "phaser: a close that wakes no observer",
        file: PHASER,
        find: "            let _observers = Finally(|| self.shared.observers.release_all(phase..u64::MAX));",
        replace: "",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: a registration in a closed one",
        file: PHASER,
        find: "            if word.is_closed() {
                return Err(RegisterError::Closed);
            }
",
        replace: "",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: an arrival in a closed one",
        file: MEMBER,
        find: "            if word.is_closed() {
                if holds {",
        replace: "            if false {
                if holds {",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: a wait that goes on when closed",
        file: MEMBER,
        find: "Stage::Open if word.is_closed() => return Poll::Ready(Err(Closed)),",
        replace: "Stage::Open if word.is_closed() && false => return Poll::Ready(Err(Closed)),",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: a later poll that does not publish",
        file: MEMBER,
        find: "match shared.state.publish(word) {",
        replace: "match Ok::<(), Word>(()) {",
        test: Loom("phaser_close"),
        quick: true,
    },
    Mutant {
        name: "phaser: an observer that does not publish",
        file: OBSERVER,
        find: "if shared.state.publish(word).is_ok() && self.end().is_none() {",
        replace: "if { let _ = word; true } {",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: an observer that keeps its slot",
        file: OBSERVER,
        find: "                    slot.vacate(self.phase.min(LAST));
",
        replace: "",
        test: Loom("phaser_close"),
        quick: false,
    },
    Mutant {
        name: "phaser: are_none ignores readers",
        file: SEAT,
        find: "let none = readers < READER;",
        replace: "let none = true;",
        test: Loom("phaser_seats"),
        quick: true,
    },
    Mutant {
        name: "phaser: are_none leaves no note",
        file: SEAT,
        find: "let to = if none { readers } else { readers | LEFTOVERS };",
        replace: "let to = readers;",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: reclaim without its first look",
        file: SEAT,
        find: "while self.readers.are_none() && seat.leave(RETIRED, IDLE) {",
        replace: "while seat.leave(RETIRED, IDLE) {",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: reclaim that leaves the seat idle",
        file: SEAT,
        find: "            // Ordering: release, with the acquire of `leave`.
            seat.owner.store(RETIRED, Ordering::Release);
        }
        false",
        replace: "            return false;
        }
        false",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: a waker that is changed in a seat that is read",
        file: SEAT,
        find: "if self.readers.are_none() {
            // SAFETY: the seat is busy",
        replace: "if self.readers.are_none() || true {
            // SAFETY: the seat is busy",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: held before the waker is there",
        file: SEAT,
        find: "            let old = unsafe { seat.replace(Some(waker)) };
            // Ordering: release, with the acquire of `waker_of`.
            seat.owner.fetch_xor(CHANGE, Ordering::Release);
",
        replace: "            seat.owner.fetch_xor(CHANGE, Ordering::Release);
            let old = unsafe { seat.replace(Some(waker)) };
",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: the last reader does not sweep",
        file: SEAT,
        find: "if self.0.readers.exit() {",
        replace: "if self.0.readers.exit() && false {",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a sweep that keeps the seats",
        file: SEAT,
        find: "wake_all(reclaimed.filter_map(|seat| self.empty(seat)), drop);",
        replace: "wake_all(reclaimed, |_| ());",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a departed member that keeps its seat",
        file: SEAT,
        find: "            return self.empty(seat);",
        replace: "            return None;",
        test: Loom("phaser"),
        quick: false,
    },
    Mutant {
        name: "phaser: a wake that follows the seats that its wakes make",
        file: SEAT,
        find: "let seats = self.seats.iter().take(self.seats.count());",
        replace: "let seats = self.seats.iter();",
        test: Plain("phaser_wakers"),
        quick: false,
    },
    Mutant {
        name: "phaser: a leader that does not see its helper",
        file: SEAT,
        find: "(seat as u64) < self.back.load(Ordering::Relaxed)",
        replace: "(seat as u64) < self.back.load(Ordering::Relaxed) || true",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: a leader that sees a former helper",
        file: SEAT,
        find: "        self.back.store(u64::MAX, Ordering::Relaxed);
",
        replace: "",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: a helper that sees no leader",
        file: SEAT,
        find: "self.front.load(Ordering::Relaxed) < seat as u64",
        replace: "self.front.load(Ordering::Relaxed) < u64::MAX",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: a helper that stops at once",
        file: SEAT,
        find: "self.front.load(Ordering::Relaxed) < seat as u64",
        replace: "self.front.load(Ordering::Relaxed) > seat as u64",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: a helper that claims a seat before it was there",
        file: SEAT,
        find: "self.back.store(seat as u64 + 1, Ordering::Relaxed);",
        replace: "self.back.store(seat as u64, Ordering::Relaxed);",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: two helpers",
        file: SEAT,
        find: ".compare_exchange(phase + 1, 0, Ordering::Relaxed, Ordering::Relaxed)",
        replace: ".compare_exchange(phase + 1, phase + 1, Ordering::Relaxed, Ordering::Relaxed)",
        test: Loom("phaser_seats"),
        quick: false,
    },
    Mutant {
        name: "phaser: a member that does not help",
        file: MEMBER,
        find: "            self.phaser.shared.seats.help(self.phase);
",
        replace: "",
        test: Loom("phaser_seats"),
        quick: false,
    },
];

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &Args) -> Result<ExitCode> {
    let chosen: Vec<_> = MUTANTS
        .iter()
        .filter(|mutant| match &args.only {
            Some(text) => mutant.name.contains(text.as_str()),
            None => args.all || mutant.quick,
        })
        .collect();
    ensure!(!chosen.is_empty(), "no edit has such a name");
    for mutant in MUTANTS {
        let is_known = ALL_TESTS.contains(&mutant.test);
        ensure!(is_known, "{}: its test is not one of all", mutant.name);
    }

    let tests: Vec<_> = ALL_TESTS
        .iter()
        .copied()
        .filter(|test| args.all || chosen.iter().any(|mutant| mutant.test == *test))
        .collect();

    let workspace = Workspace::copy(tests)?;
    workspace.check_unedited()?;
    let mut failures = Vec::new();
    println!("{:64} | {:>7} | caught by", "edit", "seconds");
    for mutant in &chosen {
        let start = Instant::now();
        let verdict = workspace.judge(mutant)?;
        let seconds = start.elapsed().as_secs_f32();
        let caught = match &verdict {
            Verdict::Caught(by) => by.clone(),
            Verdict::Survived => "NOTHING".into(),
            Verdict::Invalid(why) => format!("ERROR: {why}"),
        };
        println!("{:64} | {seconds:7.1} | {caught}", mutant.name);
        if !matches!(verdict, Verdict::Caught(_)) {
            failures.push(mutant.name);
        }
    }

    println!(
        "{} of {} edits caught",
        chosen.len() - failures.len(),
        chosen.len()
    );
    if failures.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("not caught:");
    for name in failures {
        eprintln!("- {name}");
    }
    Ok(ExitCode::FAILURE)
}

enum Verdict {
    Caught(String),
    Survived,
    Invalid(String),
}

/// A copy of the sources, and where it is built. The builds stay from one run to the next.
struct Workspace {
    copy: tempfile::TempDir,
    target: PathBuf,
    tests: Vec<Test>,
}

impl Workspace {
    fn copy(tests: Vec<Test>) -> Result<Self> {
        let original = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("the models have no workspace")?
            .to_owned();
        let target = env::var_os("CARGO_TARGET_DIR").map_or(original.join("target"), Into::into);
        let copy = tempfile::tempdir()?;
        copy_folder(&original, copy.path())?;
        Ok(Self {
            copy,
            target: target.join("mutants"),
            tests,
        })
    }

    /// What fails without an edit catches nothing.
    fn check_unedited(&self) -> Result<()> {
        match self.verdict(&self.tests)? {
            Verdict::Survived => Ok(()),
            Verdict::Caught(by) => bail!("fails without an edit: {by}"),
            Verdict::Invalid(why) => bail!("without an edit: {why}"),
        }
    }

    /// Makes the edit, looks for a test that fails, and takes the edit back.
    fn judge(&self, mutant: &Mutant) -> Result<Verdict> {
        let file = self.copy.path().join(mutant.file);
        let source = fs::read_to_string(&file)
            .with_context(|| format!("{}: cannot read {}", mutant.name, mutant.file))?;
        let found = source.matches(mutant.find).count();
        if found != 1 {
            let why = format!("the text to replace is {found} times in {}", mutant.file);
            return Ok(Verdict::Invalid(why));
        }
        fs::write(&file, source.replace(mutant.find, mutant.replace))?;
        let mut tests = self.tests.clone();
        tests.sort_by_key(|&test| test != mutant.test);
        let verdict = self.verdict(&tests);
        fs::write(&file, source)?;
        verdict
    }

    /// Runs the tests in turn until one fails.
    fn verdict(&self, tests: &[Test]) -> Result<Verdict> {
        for test in tests {
            let binary = match self.build(*test)? {
                Ok(binary) => binary,
                Err(error) => return Ok(Verdict::Invalid(error)),
            };
            if let Some(how) = self.run(&binary)? {
                let (Loom(name) | Plain(name)) = test;
                return Ok(Verdict::Caught(format!("{name}: {how}")));
            }
        }
        Ok(Verdict::Survived)
    }

    /// Builds a test target. Returns where it is, or the compiler's first error.
    fn build(&self, test: Test) -> Result<Result<PathBuf, String>> {
        let (package, name) = match test {
            Loom(name) => ("loom-tests", name),
            Plain(name) => ("atomic-barrier", name),
        };
        let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
            .args([
                "test",
                "--offline",
                "--no-run",
                "-p",
                package,
                "--test",
                name,
            ])
            .current_dir(&self.copy)
            .env("CARGO_TARGET_DIR", &self.target)
            .output()
            .context("cannot run cargo")?;
        let messages = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            let error = messages.lines().find(|line| line.starts_with("error"));
            return Ok(Err(error.unwrap_or("does not build").to_owned()));
        }
        // "  Executable tests/name.rs (path)"
        let binary = messages
            .lines()
            .find(|line| line.trim_start().starts_with("Executable"))
            .and_then(|line| line.split_once('(')?.1.strip_suffix(')'));
        let Some(binary) = binary else {
            bail!("cargo names no executable:\n{messages}");
        };
        Ok(Ok(self.copy.path().join(binary)))
    }

    /// Runs a test target to its first failure. Returns the failure, if there is one.
    fn run(&self, binary: &Path) -> Result<Option<String>> {
        let mut test = Command::new(binary)
            .current_dir(&self.copy)
            .env("RUST_BACKTRACE", "0")
            .env("ANY_NUMBER_OF_EXECUTIONS", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let stdout = test.stdout.take().context("no output to read")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });

        let failure = first_failure(&mut test, &lines);
        // Fails if it has ended by itself.
        let _ = test.kill();
        test.wait()?;
        let _ = reader.join();
        failure
    }
}

/// Follows a test target to its end or to its first failure, if that comes before.
fn first_failure(test: &mut Child, lines: &Receiver<String>) -> Result<Option<String>> {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let name = line.strip_prefix("test ");
                if let Some(name) = name.and_then(|line| line.strip_suffix(" ... FAILED")) {
                    return Ok(Some(name.to_owned()));
                }
            }
            Err(RecvTimeoutError::Timeout) => return Ok(Some("hangs".to_owned())),
            Err(RecvTimeoutError::Disconnected) => {
                let status = test.wait()?;
                return Ok((!status.success()).then(|| format!("ends with {status}")));
            }
        }
    }
}

/// Copies all that a build of the workspace needs, without this program.
fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, source) = (entry.file_name(), entry.path());
        let destination = to.join(&name);
        if entry.file_type()?.is_dir() {
            if name == "target" || name == "bin" || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            fs::create_dir(&destination)?;
            copy_folder(&source, &destination)?;
        } else {
            fs::copy(&source, &destination)
                .with_context(|| format!("cannot copy {}", source.display()))?;
        }
    }
    Ok(())
}
