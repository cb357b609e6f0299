//! How an example starts and how it ends.

use std::{
    fmt,
    io::{self, ErrorKind, Write},
    mem, panic,
    process::{self, ExitCode},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use anyhow::{Context, Error, Result, bail, ensure};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::{Builder, Runtime};

use crate::{closed::stdout_was_closed, options};

/// Runs an example. `load` checks the options and the input, and changes nothing; `run` does the work.
///
/// The exit code is 0 if all went well, 1 if the run failed, and 2 if it did not begin. It is 141, and there is
/// no message, if standard output is a pipe that nothing reads any longer. A shell gives the same code for a
/// program that SIGPIPE has ended; Rust programs ignore that signal.
pub fn main<O: Parser, J>(
    load: impl FnOnce(O) -> Result<J>,
    run: impl FnOnce(J) -> Result<()>,
) -> ExitCode {
    let options = match options::parse::<O>() {
        Ok(options) => options,
        // The text of `--help`.
        Err(help) if !help.use_stderr() => return end(print(&help.to_string()), 1),
        Err(error) => {
            _ = write!(io::stderr(), "{error}");
            return ExitCode::from(2);
        }
    };
    match load(options) {
        Err(error) => end(Err(error), 2),
        Ok(job) => end(run(job), 1),
    }
}

fn end(result: Result<()>, code: u8) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<ReaderGone>() => ExitCode::from(141),
        Err(error) => {
            complain(&error);
            ExitCode::from(code)
        }
    }
}

fn complain(error: &Error) {
    // If this fails too, the exit code is all that is left to say it.
    _ = writeln!(io::stderr(), "error: {error:#}");
}

/// Standard output is a pipe that nothing reads any longer.
#[derive(Debug)]
struct ReaderGone;

impl fmt::Display for ReaderGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing reads standard output")
    }
}

impl std::error::Error for ReaderGone {}

/// Prints the results of a run.
pub fn print(report: &str) -> Result<()> {
    ensure!(
        !stdout_was_closed(),
        "cannot print the results: standard output is closed"
    );
    let mut out = io::stdout().lock();
    match out.write_all(report.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(ReaderGone.into()),
        result => result.context("cannot print the results"),
    }
}

/// A progress bar on standard error, if that is a terminal.
pub fn progress(length: u64, doing: &'static str, units: &str) -> ProgressBar {
    let template = format!("{{msg:14}} [{{bar:40}}] {{pos}}/{{len}} {units}");
    let style = ProgressStyle::with_template(&template).expect("a template");
    ProgressBar::new(length)
        .with_message(doing)
        .with_style(style.progress_chars("=> "))
}

/// A runtime with `workers` threads for tasks.
pub fn runtime(workers: usize) -> Result<Runtime> {
    ensure_memory(workers)?;
    let asked = Arc::new(AtomicUsize::new(0));
    let refused = asked.clone();
    // If the system refuses a thread, tokio panics and then waits for ever for the threads that it has. So the
    // hook ends the program. Its message needs memory, which may be what is missing.
    let spare = Mutex::new(Vec::<u8>::with_capacity(1 << 20));
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        drop(spare.lock().map(|mut spare| mem::take(&mut *spare)));
        let error = Error::msg(match panic.payload().downcast_ref::<String>() {
            Some(message) => message.clone(),
            None => panic.to_string(),
        });
        let started = refused.load(Relaxed).saturating_sub(1);
        complain(&error.context(format!(
            "cannot start {workers} worker threads, only {started} of them"
        )));
        process::exit(1);
    }));
    let runtime = Builder::new_multi_thread()
        .worker_threads(workers)
        // Called before each thread is started.
        .thread_name_fn(move || {
            asked.fetch_add(1, Relaxed);
            "worker".to_string()
        })
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    panic::set_hook(hook);
    runtime.context("cannot start the runtime")
}

/// The stack of a worker.
const STACK: usize = 2 << 20;

/// Checks that there is memory for the stacks. A program that has none left aborts and cannot report an error.
fn ensure_memory(workers: usize) -> Result<()> {
    const BESIDE: usize = 64 << 10;

    let mut stacks = Vec::with_capacity(workers);
    for started in 0..workers {
        let mut stack = Vec::<u8>::new();
        if stack.try_reserve_exact(STACK + BESIDE).is_err() {
            drop(stacks);
            bail!("cannot start {workers} worker threads: there is memory for {started} of them");
        }
        stacks.push(stack);
    }
    Ok(())
}

/// A number of things, in words: `1 band`, `2 bands`.
pub fn counted(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
