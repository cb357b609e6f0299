//! Stepping through a part of this program, by the CPU's trap flag.
//!
//! `int3` marks both ends of what is counted. The signal that it raises sets the trap flag, and from then
//! on every instruction raises the signal, with the next instruction's address.

use std::{
    arch::asm,
    ffi::{c_int, c_void},
    io, mem, ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use anyhow::{Result, ensure};

const TRAP_FLAG: i64 = 0x100;
const INT3: u8 = 0xCC;

/// Where the program is.
///
/// `Relaxed:` here and below, as one thread and its own signal handler are all.
static STATE: AtomicUsize = AtomicUsize::new(OUTSIDE);
const OUTSIDE: usize = 0;
const STEPPING: usize = 1;
/// At the second mark.
const ENDING: usize = 2;

/// Since the first mark.
static COUNT: AtomicUsize = AtomicUsize::new(0);

static REHEARSAL: AtomicBool = AtomicBool::new(false);

/// How many read-modify-writes `operation` does, and what it returns.
pub(crate) fn counted<T>(operation: impl FnOnce() -> T) -> (usize, T) {
    fn mark() {
        // SAFETY: the handler, which `install` has installed, goes on behind the instruction.
        unsafe { asm!("int3") }
    }
    if REHEARSAL.load(Ordering::Relaxed) {
        return (0, operation());
    }
    COUNT.store(0, Ordering::Relaxed);
    mark();
    let result = operation();
    mark();
    (COUNT.load(Ordering::Relaxed), result)
}

/// Runs `scenario`, in which nothing is counted: what is done only once in a process is done then.
pub(crate) fn rehearse<T>(scenario: impl FnOnce() -> T) {
    REHEARSAL.store(true, Ordering::Relaxed);
    scenario();
    REHEARSAL.store(false, Ordering::Relaxed);
}

/// To be called before anything is counted. An error if stepping does not work here.
pub(crate) fn install() -> Result<()> {
    // SAFETY: all zeros is a valid value of this C struct.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = on_trap as extern "C" fn(_, _, _) as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler does only what a signal handler may do.
    let result = unsafe { libc::sigaction(libc::SIGTRAP, &action, ptr::null_mut()) };
    ensure!(result == 0, io::Error::last_os_error());

    let word = AtomicUsize::new(0);
    let (loads, _) = counted(|| word.load(Ordering::SeqCst));
    let (stores, ()) = counted(|| word.store(1, Ordering::SeqCst));
    let (additions, _) = counted(|| word.fetch_add(1, Ordering::Relaxed));
    // A sequentially consistent store is an `xchg`.
    ensure!(
        [loads, stores, additions] == [0, 1, 1],
        "stepping finds {loads}, {stores} and {additions} of 0, 1 and 1"
    );
    Ok(())
}

extern "C" fn on_trap(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: that is what a handler with `SA_SIGINFO` is given.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    // The second mark is met while the flag is not set, so that it raises one signal.
    let mark_is_next = || next_byte(registers[libc::REG_RIP as usize], 0) == INT3;
    let state = match STATE.load(Ordering::Relaxed) {
        ENDING => OUTSIDE,
        STEPPING if mark_is_next() => ENDING,
        _ => STEPPING,
    };
    STATE.store(state, Ordering::Relaxed);
    let next = registers[libc::REG_RIP as usize];
    let flags = &mut registers[libc::REG_EFL as usize];
    if state == STEPPING {
        *flags |= TRAP_FLAG;
        let more = usize::from(is_read_modify_write(next));
        COUNT.store(COUNT.load(Ordering::Relaxed) + more, Ordering::Relaxed);
    } else {
        *flags &= !TRAP_FLAG;
    }
}

/// A byte of the instruction at `address`, which comes next and has at least so many.
fn next_byte(address: i64, byte: usize) -> u8 {
    let code = ptr::with_exposed_provenance::<u8>(address as usize);
    // SAFETY: the CPU is about to read it.
    unsafe { *code.add(byte) }
}

fn is_read_modify_write(address: i64) -> bool {
    for byte in 0.. {
        match next_byte(address, byte) {
            // `lock`.
            0xF0 => return true,
            // Other prefixes, the last of them REX.
            0x26 | 0x2E | 0x36 | 0x3E | 0x64..=0x67 | 0xF2 | 0xF3 | 0x40..=0x4F => {}
            // `xchg`, which locks where one operand is memory.
            0x86 | 0x87 => return next_byte(address, byte + 1) >> 6 != 0b11,
            _ => break,
        }
    }
    false
}
