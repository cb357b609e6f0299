//! A temporary file that does not stay behind, neither after an error nor after Ctrl-C.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use anyhow::{Result, anyhow};
use tempfile::{Builder, NamedTempFile};

use crate::shown;

/// The file that is removed if a signal ends the program.
static CURRENT: Mutex<Option<PathBuf>> = Mutex::new(None);

fn current() -> MutexGuard<'static, Option<PathBuf>> {
    CURRENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is removed unless it is given a name. There is one at a time.
pub(crate) struct Temporary(Option<NamedTempFile>);

impl Temporary {
    /// Makes an empty file with the mode of any new file, or one that only its owner may read.
    pub(crate) fn create(folder: &Path, private: bool) -> Result<Temporary> {
        watch_signals()?;
        let mut current = current();
        let mut builder = Builder::new();
        builder.prefix(".atomic-barrier-");
        let file = if private {
            builder.tempfile_in(folder)
        } else {
            builder.make_in(folder, |path| File::create_new(path))
        };
        let file = file.map_err(|error| {
            anyhow!("no file can be made in {}: {}", shown(folder), error.kind())
        })?;
        *current = Some(file.path().to_path_buf());
        Ok(Temporary(Some(file)))
    }

    pub(crate) fn file(&mut self) -> &mut File {
        let file = self.0.as_mut().expect("only `persist` takes it");
        file.as_file_mut()
    }

    /// Renames the file to `path`, in place of any file there.
    pub(crate) fn persist(mut self, path: &Path) -> io::Result<()> {
        let _current = current();
        match self.0.take() {
            Some(file) => file.persist(path).map(drop).map_err(Into::into),
            None => Ok(()),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let mut current = current();
        self.0 = None;
        *current = None;
    }
}

/// Starts a thread that removes the temporary file when a signal ends the program.
#[cfg(unix)]
fn watch_signals() -> Result<()> {
    use std::{fs, thread};

    use anyhow::Context;
    use signal_hook::{
        consts::{SIGINT, SIGTERM, SIGXFSZ},
        iterator::Signals,
        low_level::emulate_default_handler,
    };

    static WATCHED: Mutex<bool> = Mutex::new(false);

    let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if *watched {
        return Ok(());
    }
    let mut signals =
        Signals::new([SIGINT, SIGTERM, SIGXFSZ]).context("cannot watch for signals")?;
    let watch = move || {
        for signal in signals.forever() {
            // The write that would have exceeded the limit fails, which is reported as an error.
            if signal == SIGXFSZ {
                continue;
            }
            // While this is locked no other file is made.
            let mut current = current();
            if let Some(file) = current.take() {
                _ = fs::remove_file(file);
            }
            _ = emulate_default_handler(signal);
        }
    };
    let thread = thread::Builder::new().name("signals".to_string());
    thread.spawn(watch).context("cannot watch for signals")?;
    *watched = true;
    Ok(())
}

#[cfg(not(unix))]
fn watch_signals() -> Result<()> {
    Ok(())
}
