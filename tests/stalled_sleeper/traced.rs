//! One child process: its victim is stopped after so many instructions, and its leader goes on or does not.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    mem::offset_of,
    process::{self, Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use atomic_barrier::Barrier;

/// The test that a child runs, as the process that started it does.
const TEST: &str = "a_leader_goes_on_wherever_a_sleeper_is_stalled";
const IS_CHILD: &str = "STALLED_SLEEPER_CHILD";

/// How the child ends.
const LED: i32 = 40;
const NOT_ARRIVED: i32 = 41;
const DID_NOT_LEAD: i32 = 42;

/// How long neither outcome may show: far longer than any machine takes, and no verdict.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn is_child() -> bool {
    env::var_os(IS_CHILD).is_some()
}

/// The victim waits, traced by the parent process. Then this thread is the last to arrive, when the parent
/// says so.
pub(crate) fn child() -> ! {
    static WARM_UP: Barrier = Barrier::new(2);
    static BARRIER: Barrier = Barrier::new(3);

    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Makes what a thread keeps for its later waits.
        let timed_out = WARM_UP.wait_blocking_timeout(Duration::from_nanos(1));
        assert!(timed_out.is_err());
        // SAFETY: no memory is passed.
        let result = unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
        if result != 0 {
            return sender.send(Err(io::Error::last_os_error())).unwrap();
        }
        sender.send(Ok(thread_id())).unwrap();
        // SAFETY: no memory is passed. This thread stops until its tracer lets it go on.
        unsafe { libc::syscall(libc::SYS_tgkill, process::id(), thread_id(), libc::SIGSTOP) };
        BARRIER.wait_blocking();
    });
    match receiver.recv().unwrap() {
        Ok(victim) => println!("\nthreads {victim} {}", thread_id()),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => println!("\nrefused"),
        Err(error) => panic!("{error}"),
    }
    io::stdin().read_exact(&mut [0]).unwrap();

    let status = if BARRIER.arrived() == 0 {
        NOT_ARRIVED
    } else {
        let _second = BARRIER.arrive();
        if BARRIER.wait_blocking().is_leader() {
            LED
        } else {
            DID_NOT_LEAD
        }
    };
    // SAFETY: ends the process, without what the stalled victim may have locked.
    unsafe { libc::_exit(status) }
}

fn thread_id() -> i32 {
    // SAFETY: always succeeds.
    unsafe { libc::gettid() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    NotArrived,
    Led,
    Kept,
}

/// A child process, whose victim the thread that started it traces.
pub(crate) struct Traced {
    child: Child,
    stdin: ChildStdin,
    victim: i32,
    leader: i32,
}

impl Traced {
    /// None if the system refuses to have a thread traced.
    pub(crate) fn start() -> Option<Self> {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(IS_CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut threads = None;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if line == "refused" {
                child.kill().unwrap();
                child.wait().unwrap();
                return None;
            }
            threads = line.strip_prefix("threads ").map(str::to_owned);
            if threads.is_some() {
                break;
            }
        }
        let threads = threads.expect("the child says which its threads are");
        let (victim, leader) = threads.split_once(' ').unwrap();
        let traced = Self {
            child,
            stdin,
            victim: victim.parse().unwrap(),
            leader: leader.parse().unwrap(),
        };
        assert_eq!(traced.wait(0), Some(libc::SIGSTOP));
        Some(traced)
    }

    /// Waits for the victim, and returns the signal that it is stopped by.
    fn wait(&self, options: i32) -> Option<i32> {
        let mut status = 0;
        // SAFETY: `status` is what the call writes to.
        let result = unsafe { libc::waitpid(self.victim, &mut status, options | libc::__WALL) };
        (result == self.victim && libc::WIFSTOPPED(status)).then(|| libc::WSTOPSIG(status))
    }

    /// Lets the victim make up to so many instructions, or all until it sleeps. Returns how many it made.
    pub(crate) fn step(&mut self, instructions: usize) -> usize {
        for made in 0..instructions {
            let is_futex = self.is_before_futex();
            // SAFETY: no memory is passed. The victim is stopped, and traced by this thread.
            let result = unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, self.victim, 0, 0) };
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
            if !is_futex {
                assert_eq!(self.wait(0), Some(libc::SIGTRAP));
                continue;
            }
            let start = Instant::now();
            while self.wait(libc::WNOHANG).is_none() {
                if self.sleeps_in_futex(self.victim) {
                    return made;
                }
                self.pause(start);
            }
        }
        instructions
    }

    /// Whether the victim's next instruction is the system call of a futex.
    fn is_before_futex(&self) -> bool {
        const SYSCALL: i64 = 0x050f;
        // SAFETY: reads what the kernel keeps of the victim, which is stopped and traced by this thread.
        let register =
            |at: usize| unsafe { libc::ptrace(libc::PTRACE_PEEKUSER, self.victim, at, 0) };
        register(offset_of!(libc::user, regs.rax)) == libc::SYS_futex && {
            let instruction = register(offset_of!(libc::user, regs.rip));
            // SAFETY: reads the victim's memory, as above.
            let word = unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, self.victim, instruction, 0) };
            word & 0xffff == SYSCALL
        }
    }

    /// Lets the last party arrive. Returns how that ends.
    pub(crate) fn outcome(mut self) -> Outcome {
        self.stdin.write_all(b"x").unwrap();
        let start = Instant::now();
        let (mut before, mut same) = (None, 0);
        loop {
            // A thread that is traced has to be waited for, before the process is seen to end.
            self.wait(libc::WNOHANG);
            if let Some(status) = self.child.try_wait().unwrap() {
                match status.code() {
                    Some(LED) => return Outcome::Led,
                    Some(NOT_ARRIVED) => return Outcome::NotArrived,
                    _ => panic!("the child ended with {status}"),
                }
            }
            // Where no thread has run between two looks, and the leader sleeps, nothing will wake it.
            let now = self.sleepers();
            let is_same = now.is_some() && now == before && self.sleeps_in_futex(self.leader);
            same = if is_same { same + 1 } else { 0 };
            if same == 20 {
                self.child.kill().unwrap();
                while self.child.try_wait().unwrap().is_none() {
                    self.wait(libc::WNOHANG);
                    self.pause(start);
                }
                return Outcome::Kept;
            }
            before = now;
            self.pause(start);
        }
    }

    /// How often each thread but the victim has been switched to and from, if all of them sleep.
    fn sleepers(&self) -> Option<BTreeMap<i32, String>> {
        let mut sleepers = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()? {
            let id = task.ok()?.file_name().to_str()?.parse().ok()?;
            if id != self.victim {
                let status = self.read(id, "status")?;
                let field = |name| status.lines().filter(move |line| line.contains(name));
                if !field("State:").any(|line| line.contains("S (sleeping)")) {
                    return None;
                }
                sleepers.insert(id, field("ctxt_switches").collect());
            }
        }
        Some(sleepers)
    }

    fn sleeps_in_futex(&self, thread: i32) -> bool {
        let is_asleep = self
            .read(thread, "status")
            .is_some_and(|status| status.contains("S (sleeping)"));
        let call = self.read(thread, "syscall").unwrap_or_default();
        is_asleep && call.split(' ').next() == Some(&libc::SYS_futex.to_string())
    }

    /// None if the thread has ended.
    fn read(&self, thread: i32, file: &str) -> Option<String> {
        fs::read_to_string(format!("/proc/{}/task/{thread}/{file}", self.child.id())).ok()
    }

    fn pause(&self, start: Instant) {
        thread::sleep(Duration::from_millis(1));
        assert!(
            start.elapsed() < PATIENCE,
            "this test itself fails: for {PATIENCE:?} no thread slept and no process ended that should"
        );
    }
}
