//! Whether standard output was closed when the program was started.
//!
//! In its place the standard library opens /dev/null, before `main`, which is therefore too late to ask.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static CLOSED: AtomicBool = AtomicBool::new(false);

pub(crate) fn stdout_was_closed() -> bool {
    CLOSED.load(Relaxed)
}

// SAFETY: the loader calls what this section points to once, before any other thread is there, and in the C
// calling convention. Neither the descriptor nor a static needs anything that `main` would have to set up.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = {
    extern "C" fn look() {
        use std::{io, os::fd::AsFd};

        const EBADF: i32 = 9;

        let copy = io::stdout().as_fd().try_clone_to_owned();
        let closed = copy.is_err_and(|error| error.raw_os_error() == Some(EBADF));
        CLOSED.store(closed, Relaxed);
    }
    look
};
