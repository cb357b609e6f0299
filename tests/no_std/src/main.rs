//! A program without `std` that uses the barrier on an executor of its own.
//!
//! The C library starts it, takes its output and ends it; allocator, panic handler and executor are
//! here.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::{boxed::Box, collections::VecDeque, string::String, sync::Arc, task::Wake, vec::Vec};
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::{Cell, UnsafeCell},
    ffi::{c_char, c_int, c_void},
    fmt::Write,
    future::{self, Future},
    panic::PanicInfo,
    pin::{Pin, pin},
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    task::{Context, Poll, Waker},
};

use atomic_barrier::Barrier;

const PARTIES: usize = 8;
const GENERATIONS: u64 = 200;

static BARRIER: Barrier = Barrier::new(PARTIES);

#[link(name = "c")]
unsafe extern "C" {
    fn write(file: c_int, bytes: *const c_void, count: usize) -> isize;
    fn _exit(status: c_int) -> !;
}

fn print(file: c_int, text: &str) {
    // SAFETY: `text` is readable for its length, and the call keeps nothing of it.
    unsafe { write(file, text.as_ptr().cast(), text.len()) };
}

fn exit(status: c_int) -> ! {
    // SAFETY: it may be called at any time.
    unsafe { _exit(status) }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    struct Stderr;

    impl Write for Stderr {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            print(2, text);
            Ok(())
        }
    }

    let _ = writeln!(Stderr, "{info}");
    exit(101)
}

/// What the tables of `core`'s and `alloc`'s unwinding code name. Nothing here unwinds.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// Gives out one block of memory from its start to its end, and never uses it again.
struct Bump {
    memory: UnsafeCell<[u8; Self::SIZE]>,
    used: AtomicUsize,
    in_use: AtomicUsize,
}

impl Bump {
    const SIZE: usize = 1 << 24;
}

// SAFETY: no two callers are given the same bytes of `memory`.
unsafe impl Sync for Bump {}

#[global_allocator]
static ALLOCATOR: Bump = Bump {
    memory: UnsafeCell::new([0; Bump::SIZE]),
    used: AtomicUsize::new(0),
    in_use: AtomicUsize::new(0),
};

// SAFETY: every block is aligned, within `memory`, and given out once.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let room = layout.size() + layout.align();
        let start = self.used.fetch_add(room, Ordering::Relaxed);
        if start + room > Self::SIZE {
            return ptr::null_mut();
        }
        self.in_use.fetch_add(layout.size(), Ordering::Relaxed);
        let first = self.memory.get().cast::<u8>().wrapping_add(start);
        first.wrapping_add(first.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, _: *mut u8, layout: Layout) {
        self.in_use.fetch_sub(layout.size(), Ordering::Relaxed);
    }
}

/// Whether a task is to be polled.
struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

type Task<'a> = (Arc<Ready>, Pin<Box<dyn Future<Output = ()> + 'a>>);

/// Polls the tasks that are ready, in turns, until all have ended.
///
/// A task that nobody woke is not polled: a wake that is lost leaves none ready, and panics.
fn run(tasks: Vec<Pin<Box<dyn Future<Output = ()> + '_>>>) {
    let with_flag = |task| (Arc::new(Ready(AtomicBool::new(true))), task);
    let mut tasks: VecDeque<Task<'_>> = tasks.into_iter().map(with_flag).collect();
    let mut asleep = 0;
    while let Some((ready, mut task)) = tasks.pop_front() {
        if ready.0.swap(false, Ordering::Relaxed) {
            asleep = 0;
            let waker = Waker::from(ready.clone());
            if task
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
            {
                continue;
            }
        } else {
            asleep += 1;
            assert!(asleep <= tasks.len() + 1, "all tasks sleep: {BARRIER:?}");
        }
        tasks.push_back((ready, task));
    }
}

/// Arrives, waits for one poll, and withdraws; unless it comes last.
async fn wait_in_vain() {
    if BARRIER.arrived() + 1 == PARTIES {
        return;
    }
    let before = BARRIER.arrived();
    {
        let mut wait = pin!(BARRIER.wait());
        future::poll_fn(|context| {
            assert!(wait.as_mut().poll(context).is_pending());
            assert_eq!(BARRIER.arrived(), before + 1);
            Poll::Ready(())
        })
        .await;
    }
    assert_eq!(BARRIER.arrived(), before);
}

/// What each party does in each generation, by another method each time.
async fn party(party: u64, leaders: &Cell<u64>) {
    for generation in 0..GENERATIONS {
        wait_in_vain().await;
        let is_leader = match (party + generation) % 3 {
            0 => BARRIER.wait().await.is_leader(),
            1 => BARRIER.arrive().await.is_leader(),
            _ => BARRIER.wait_leader().await.is_some(),
        };
        leaders.set(leaders.get() + u64::from(is_leader));
    }
}

#[unsafe(no_mangle)]
extern "C" fn main(_arguments: c_int, _: *const *const c_char) -> c_int {
    let leaders = Cell::new(0);
    let parties = 0..PARTIES as u64;
    run(parties.map(|p| Box::pin(party(p, &leaders)) as _).collect());

    // The slots stay, since the barrier is static: 8 of at most 64 bytes.
    let left = ALLOCATOR.in_use.load(Ordering::Relaxed);
    assert!(left <= PARTIES * 64, "{left} bytes were never freed");

    let mut line = String::new();
    let (generations, leaders) = (BARRIER.generation(), leaders.get());
    let _ = writeln!(line, "{generations} generations, {leaders} leaders");
    print(1, &line);
    0
}
