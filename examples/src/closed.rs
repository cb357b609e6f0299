//! Whether standard output was closed when the program was started.
//!
//! The standard library opens /dev/null in its place before `main`, so that `main` cannot tell.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static CLOSED: AtomicBool = AtomicBool::new(false);

pub(crate) fn stdout_was_closed() -> bool {
    CLOSED.load(Relaxed)
}

// SAFETY: the loader calls each function that this section points to once, in the C calling convention, before
// `main` and before there is another thread. `look` uses nothing that must be set up first.
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
