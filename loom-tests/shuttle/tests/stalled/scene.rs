//! A scheduler that stalls one thread for ever after each of its steps, and what a scenario sees of it.
//!
//! A scenario's main thread sets everything up alone, starts a victim and others, and lets them run
//! until none of them can go on ([`Scene::settle`]). The victim is stalled after so many steps and never
//! scheduled again until the main thread has seen which are left and [resumes](Scene::resume) it: then all
//! must come to their end.
//!
//! A step is what a thread does between two operations on shuttle's atomics, mutexes and threads.
//!
//! # Orders
//!
//! The search goes through every number of steps of the victim, and for each through these orders:
//!
//! - The others take their first `j` steps, then the victim takes its own and is stalled, and the others
//!   go on; for every `j`. So of every step of the victim and every step of the others both orders are
//!   met. Among the others the first that can go on does; each of them is once the first.
//! - The same, but the victim has taken its first `i` steps before the others come; for every `i`, and
//!   every eighth `j`.
//! - Random orders: one thread goes on for a while, and then another.

use std::{
    any::Any,
    cell::RefCell,
    collections::BTreeMap,
    mem::{self, ManuallyDrop},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
};

use shuttle::{
    Config, MaxSteps, Runner, current,
    scheduler::{Schedule, Scheduler, Task, TaskId},
    thread::{self, Thread},
};

/// The random orders of a search.
const RANDOM_ORDERS: u64 = 40;

/// Every so many steps of the others the victim comes again.
const STRIDE: usize = 8;

thread_local! {
    /// The execution that runs on this thread of the system: every thread of shuttle's sees it.
    static RUN: RefCell<Run> = RefCell::default();
}

/// One execution.
#[derive(Default)]
struct Run {
    /// By thread; the main thread is the first.
    threads: Vec<Role>,
    wakers: BTreeMap<usize, Waker>,
    victim: usize,
    /// How far the victim is.
    stage: Stage,
    /// After so many steps it is stalled.
    steps: usize,
    /// Whether threads other than the main one may run.
    is_settling: bool,
    /// What lives until the end of the execution, and is leaked if that fails.
    kept: Vec<ManuallyDrop<Box<dyn Any + Send>>>,
    found: Option<Found>,
}

#[derive(Default)]
struct Role {
    steps: usize,
    wakes: usize,
    has_ended: bool,
}

/// How far the victim is.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It comes to where it may be stalled.
    #[default]
    Preparing,
    /// It is there, and goes on when the others do.
    Ready,
    /// It may be stalled.
    Acting,
    /// It has come to the end of that.
    Done,
    /// It is free to go on.
    Resumed,
}

/// Where a victim was stalled, by what it had done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Step {
    NotRegistered,
    NotCounted,
    Counted,
    NotClosed,
    Closed,
    Holds,
    Wakes,
    HasWoken,
    InHand,
    Anywhere,
    Helps,
    HasEnded,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NotRegistered => "no participant",
            Self::NotCounted => "not counted",
            Self::Counted => "counted",
            Self::NotClosed => "not closed",
            Self::Closed => "closed, before its last wake",
            Self::Holds => "holding the release",
            Self::Wakes => "complete, before its last wake",
            Self::HasWoken => "complete, after its last wake",
            Self::InHand => "closed, an observer's waker in hand",
            Self::HasEnded => "at its end",
            Self::Anywhere => "anywhere",
            Self::Helps => "helping, before its last wake",
        }
    }
}

/// Where the victim was stalled, and whom it kept then, by kind, and until when.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Found {
    pub(crate) step: Step,
    pub(crate) kept: BTreeMap<&'static str, usize>,
    pub(crate) until: &'static str,
}

fn run<R>(f: impl FnOnce(&mut Run) -> R) -> R {
    RUN.with_borrow_mut(f)
}

fn me() -> usize {
    current::me().into()
}

impl Run {
    fn is_stalled(&self) -> bool {
        self.stage == Stage::Acting && self.threads[self.victim].steps == self.steps
    }

    fn victim_may_run(&self) -> bool {
        match self.stage {
            Stage::Preparing | Stage::Resumed => true,
            Stage::Ready | Stage::Done => false,
            Stage::Acting => !self.is_stalled(),
        }
    }
}

/// In which order threads run.
#[derive(Clone, Copy, Debug)]
enum Order {
    /// `first` of the others goes first. The victim has taken `head` steps before they take `between`.
    Sweep {
        first: usize,
        head: usize,
        between: usize,
    },
    Random {
        seed: u64,
    },
}

const FIRST_ORDER: Order = Order::Sweep {
    first: 0,
    head: 0,
    between: 0,
};

struct Search {
    order: Order,
    /// After so many steps the victim is stalled.
    steps: usize,
    /// Whether it has been stalled after that many in any order.
    was_stalled: bool,
    /// The others in this execution, and the steps that they have taken beside the victim.
    others: usize,
    others_took: usize,
    executions: usize,
    rng: u64,
    meets: Arc<Mutex<Met>>,
}

/// Where something was found first.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "printed")]
pub(crate) struct Met {
    /// The victim's steps until it is stalled.
    steps: usize,
    order: Order,
}

impl Search {
    fn next_order(&self) -> Option<Order> {
        match self.order {
            Order::Sweep {
                first,
                head,
                between,
            } if self.others_took > between => Some(Order::Sweep {
                first,
                head,
                between: between + if head == 0 { 1 } else { STRIDE },
            }),
            Order::Sweep { first, head: 0, .. } if first + 1 < self.others => Some(Order::Sweep {
                first: first + 1,
                head: 0,
                between: 0,
            }),
            Order::Sweep { head, .. } if head + 1 < self.steps => Some(Order::Sweep {
                first: 0,
                head: head + 1,
                between: 1 + head % STRIDE,
            }),
            Order::Sweep { .. } => Some(Order::Random { seed: 0 }),
            Order::Random { seed } if seed + 1 < RANDOM_ORDERS => {
                Some(Order::Random { seed: seed + 1 })
            }
            Order::Random { .. } => None,
        }
    }

    /// SplitMix64.
    fn random(&mut self, below: usize) -> usize {
        self.rng = self.rng.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

impl Scheduler for Search {
    fn new_execution(&mut self) -> Option<Schedule> {
        if self.executions > 0 {
            let next = self.next_order();
            if next.is_none() {
                if !self.was_stalled {
                    return None;
                }
                self.steps += 1;
                self.was_stalled = false;
            }
            self.order = next.unwrap_or(FIRST_ORDER);
        }
        *self.meets.lock().unwrap() = Met {
            steps: self.steps,
            order: self.order,
        };
        self.executions += 1;
        self.others_took = 0;
        self.others = 0;
        if let Order::Random { seed } = self.order {
            // The same for each number of steps: up to there the orders are the same, too.
            self.rng = seed << 32;
        }
        run(|run| {
            *run = Run {
                steps: self.steps,
                threads: vec![Role::default()],
                ..Run::default()
            }
        });
        Some(Schedule::default())
    }

    fn next_task(
        &mut self,
        tasks: &[&Task],
        current: Option<TaskId>,
        _is_yielding: bool,
    ) -> Option<TaskId> {
        let current = current.map_or(0, usize::from);
        // Not those that only a spurious wake would let go on.
        let able = tasks.iter().filter(|task| task.runnable());
        let mut able: Vec<usize> = able.map(|task| task.id().into()).collect();
        assert_eq!(able.first(), Some(&0), "the main thread is blocked");
        able.remove(0);
        let next = run(|run| {
            self.was_stalled |= run.is_stalled();
            able.retain(|&thread| thread != run.victim || run.victim_may_run());
            if !run.is_settling || able.is_empty() {
                run.is_settling = false;
                return 0;
            }
            let next = self.choose(&able, current, run);
            run.threads[next].steps += 1;
            if matches!(run.stage, Stage::Acting | Stage::Done) && next != run.victim {
                self.others_took += 1;
            }
            next
        });
        Some(next.into())
    }

    fn next_u64(&mut self) -> u64 {
        unreachable!("a scenario draws no random numbers")
    }
}

impl Search {
    fn choose(&mut self, able: &[usize], current: usize, run: &Run) -> usize {
        match self.order {
            Order::Sweep {
                first,
                head,
                between,
            } => {
                let threads = run.threads.len();
                self.others = threads.saturating_sub(2);
                let taken = run.threads[run.victim].steps;
                let is_its_turn =
                    run.stage != Stage::Acting || taken < head || self.others_took >= between;
                if able.contains(&run.victim) && is_its_turn {
                    return run.victim;
                }
                let others = able.iter().filter(|&&thread| thread != run.victim);
                // The victim is not among these.
                let rank = |&&thread: &&usize| (thread + first) % threads;
                let next = others.min_by_key(rank);
                *next.unwrap_or(&run.victim)
            }
            Order::Random { seed } => {
                // Some orders have long runs, some short ones.
                let stays = [0, 50, 80, 90][seed as usize % 4];
                if able.contains(&current) && self.random(100) < stays {
                    current
                } else {
                    able[self.random(able.len())]
                }
            }
        }
    }
}

/// Goes through all steps and orders of a scenario, and returns what was found and where first.
pub(crate) fn search(scenario: fn(&Scene)) -> BTreeMap<Found, Met> {
    let all = Arc::new(Mutex::new(BTreeMap::new()));
    let met = Arc::new(Mutex::new(Met {
        steps: 0,
        order: FIRST_ORDER,
    }));
    let search = Search {
        order: FIRST_ORDER,
        steps: 0,
        was_stalled: false,
        others: 0,
        others_took: 0,
        executions: 0,
        rng: 0,
        meets: met.clone(),
    };
    let mut config = Config::new();
    config.stack_size = 0x2_0000;
    config.max_steps = MaxSteps::FailAfter(20_000);
    let found = all.clone();
    let executions = Runner::new(search, config).run(move || {
        scenario(&Scene);
        let kept = run(|run| mem::take(&mut run.kept));
        kept.into_iter()
            .map(ManuallyDrop::into_inner)
            .for_each(drop);
        let one = run(|run| run.found.take()).expect("a scenario finds something");
        found
            .lock()
            .unwrap()
            .entry(one)
            .or_insert(*met.lock().unwrap());
    });
    println!("{executions} executions");
    Arc::into_inner(all)
        .expect("only this")
        .into_inner()
        .unwrap()
}

/// What a scenario's main thread does with the others.
pub(crate) struct Scene;

/// A thread that the main thread has started.
pub(crate) struct Started<T> {
    thread: usize,
    returned: Arc<Mutex<Option<T>>>,
}

impl<T: Clone> Started<T> {
    /// What it has returned, if it has ended.
    pub(crate) fn result(&self) -> Option<T> {
        self.returned.lock().unwrap().clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        run(|run| run.threads[self.thread].has_ended)
    }

    /// What lets it poll once more, if it is in [`block_on`].
    pub(crate) fn waker(&self) -> Option<Waker> {
        run(|run| run.wakers.get(&self.thread).cloned())
    }

    /// How often it has woken others.
    pub(crate) fn wakes(&self) -> usize {
        run(|run| run.threads[self.thread].wakes)
    }
}

/// For the victim: it may be stalled from here on.
pub(crate) fn stall_from_here() {
    run(|run| run.stage = Stage::Ready);
    thread::yield_now();
}

/// For the victim: it is stalled here, at the latest.
pub(crate) fn stall_until_here() {
    run(|run| run.stage = run.stage.max(Stage::Done));
    thread::yield_now();
}

/// Keeps something until the end of the execution.
pub(crate) fn keep(value: impl Send + 'static) {
    run(|run| run.kept.push(ManuallyDrop::new(Box::new(value))));
}

impl Scene {
    /// Starts the thread that is stalled, and lets it come to where that may be.
    pub(crate) fn victim(&self, body: impl FnOnce() + Send + 'static) -> Started<()> {
        run(|run| run.victim = run.threads.len());
        let victim = self.other(body);
        self.settle();
        victim
    }

    /// Starts another thread.
    pub(crate) fn other<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> Started<T> {
        let thread = run(|run| {
            run.threads.push(Role::default());
            run.threads.len() - 1
        });
        let returned = Arc::new(Mutex::new(None));
        let returns = returned.clone();
        thread::spawn(move || {
            *returns.lock().unwrap() = Some(body());
            run(|run| run.threads[thread].has_ended = true);
        });
        Started { thread, returned }
    }

    /// Lets all run until none can go on, the victim until it is stalled.
    pub(crate) fn act(&self) {
        run(|run| {
            assert!(run.stage == Stage::Ready, "not ready to be stalled");
            run.stage = Stage::Acting;
            run.threads[run.victim].steps = 0;
        });
        self.settle();
    }

    /// Lets all run until none but a stalled victim can go on.
    pub(crate) fn settle(&self) {
        run(|run| run.is_settling = true);
        thread::yield_now();
    }

    /// Whether the victim has come to where it is stalled at the latest.
    pub(crate) fn victim_is_done(&self) -> bool {
        run(|run| run.stage == Stage::Done)
    }

    /// Lets the victim go on.
    pub(crate) fn resume(&self) {
        run(|run| run.stage = Stage::Resumed);
        self.settle();
    }

    /// Notes which were kept where. All must have ended by now.
    pub(crate) fn found(
        &self,
        step: Step,
        kept: impl IntoIterator<Item = &'static str>,
        until: &'static str,
    ) {
        let all_ended = run(|run| run.threads[1..].iter().all(|role| role.has_ended));
        assert!(all_ended, "a thread is left though the victim has gone on");
        let mut found = Found {
            step,
            kept: BTreeMap::new(),
            until,
        };
        for kind in kept {
            *found.kept.entry(kind).or_default() += 1;
        }
        if found.kept.is_empty() {
            found.until = "";
        }
        run(|run| run.found = Some(found));
    }
}

/// Unparks a thread, and counts that for the thread that wakes.
struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, SeqCst);
        self.thread.unpark();
        run(|run| run.threads[me()].wakes += 1);
    }
}

/// Polls whenever it is woken.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let unpark = Arc::new(Unpark {
        thread: thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Waker::from(unpark.clone());
    run(|run| run.wakers.insert(me(), waker.clone()));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !unpark.woken.swap(false, SeqCst) {
            thread::park();
        }
    }
}

/// A waker that nobody waits for, and no other is the same.
pub(crate) fn ignored() -> Waker {
    struct Ignored;

    impl Wake for Ignored {
        fn wake(self: Arc<Self>) {}
    }

    Waker::from(Arc::new(Ignored))
}

pub(crate) fn poll<F: Future>(future: Pin<&mut F>, waker: &Waker) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(waker))
}
