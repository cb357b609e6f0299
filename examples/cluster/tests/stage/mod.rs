//! An etcd, processes, and what can be seen of them.

mod etcd;
pub mod network;

use std::{fs::OpenOptions, io::Write, path::PathBuf, process::Stdio, time::Duration};

use cluster::{
    history::{self, Tally},
    rendezvous::{Failure, Rendezvous, State},
    settings::{OnLoss, Settings, Terms},
};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use self::etcd::Etcd;

/// Tasks of each process.
pub const TASKS: u32 = 2;
/// The name of every barrier.
const BARRIER: &str = "stage";
/// A condition that has not come true in this time never will.
const DEADLINE: Duration = Duration::from_secs(40);

pub struct Stage {
    pub etcd: Etcd,
    records: TempDir,
    pub terms: Terms,
}

impl Stage {
    pub async fn new(processes: u32, on_loss: OnLoss) -> Stage {
        Stage::at("127.0.0.1", processes, on_loss).await
    }

    pub async fn at(host: &str, processes: u32, on_loss: OnLoss) -> Stage {
        let etcd = Etcd::start(host).await;
        let terms = Terms {
            endpoint: etcd.endpoint(),
            processes,
            on_loss,
            ttl: 2,
            patience: 30,
        };
        Stage {
            etcd,
            records: tempfile::tempdir().unwrap(),
            terms,
        }
    }

    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.terms.ttl.into())
    }

    /// A member that is a part of the test. It does the work of as many tasks as a process has.
    pub async fn member(&self, name: &str) -> Member {
        let settings = Settings {
            barrier: BARRIER.to_owned(),
            process: name.to_owned(),
            terms: self.terms.clone(),
        };
        Member {
            rendezvous: Rendezvous::join(settings).await.unwrap(),
            records: self.records.path().join(name),
        }
    }

    pub async fn conductor(&self) -> Member {
        self.member("conductor").await
    }

    /// Starts a process that makes all generations of a test.
    pub fn process(&self, name: &str) -> Process {
        self.process_for(name, super::ALL)
    }

    pub fn process_for(&self, name: &str, generations: u64) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        let generations = generations.to_string();
        command.arg("process").args(["--generations", &generations]);
        self.start(command, name, self.terms.patience)
    }

    /// A process that waits for a name, or for etcd, for one second.
    pub fn impatient(&self, name: &str) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cluster"));
        command.arg("process");
        self.start(command, name, 1)
    }

    /// Starts a process in another network namespace.
    pub fn process_on(&self, namespace: &str, name: &str, patience: u32) -> Process {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace])
            .args([env!("CARGO_BIN_EXE_cluster"), "process"]);
        self.start(command, name, patience)
    }

    fn start(&self, mut command: Command, name: &str, patience: u32) -> Process {
        let on_loss = match self.terms.on_loss {
            OnLoss::Fail => "fail",
            OnLoss::Continue => "continue",
        };
        let child = command
            .args(["--barrier", BARRIER, "--process", name])
            .args(["--endpoint", &self.terms.endpoint])
            .args(["--processes", &self.terms.processes.to_string()])
            .args(["--on-loss", on_loss])
            .args(["--ttl", &self.terms.ttl.to_string()])
            .args(["--patience", &patience.to_string()])
            .args(["--tasks", &TASKS.to_string()])
            .arg("--records")
            .arg(self.records.path().join(name))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Process { child }
    }

    pub async fn has_arrived(&self, generation: u64, name: &str) -> bool {
        let key = format!("{BARRIER}/arrived/{generation}/{name}");
        self.etcd.lease(&key).await.is_some()
    }

    pub async fn until_arrived(&self, generation: u64, names: &[&str]) {
        for name in names {
            let what = format!("{name} has arrived in generation {generation}");
            until(&what, async || self.has_arrived(generation, name).await).await;
        }
    }

    /// Waits until etcd has taken a process for lost.
    pub async fn until_gone(&self, name: &str) {
        let what = format!("{name} is gone");
        until(&what, async || self.lease_of(name).await.is_none()).await;
    }

    /// The lease of a live process.
    pub async fn lease_of(&self, name: &str) -> Option<i64> {
        self.etcd.lease(&format!("{BARRIER}/live/{name}")).await
    }

    /// Waits until so many generations are complete.
    pub async fn until_complete(&self, generations: u64) {
        let enough = |state: &State| state.generation >= generations;
        let reached = history::follow(&self.terms.endpoint, BARRIER, enough);
        in_time(reached).await.unwrap();
    }

    pub async fn history(&self) -> Vec<State> {
        history::read(&self.terms.endpoint, BARRIER).await.unwrap()
    }

    /// The barrier's history, after a check that all work of its members was done once.
    pub async fn check(&self) -> (Vec<State>, Tally) {
        let history = self.history().await;
        let tally = history::check(&history, self.records.path(), TASKS).unwrap();
        (history, tally)
    }
}

pub struct Member {
    pub rendezvous: Rendezvous,
    records: PathBuf,
}

impl Member {
    /// Crosses once, and writes nothing down.
    pub async fn cross(&mut self) -> Result<usize, Failure> {
        in_time(self.rendezvous.cross()).await
    }

    /// Crosses until so many generations are complete.
    pub async fn cross_until(&mut self, generations: u64) {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.records);
        let mut file = file.unwrap();
        while self.rendezvous.generation() < generations {
            let (generation, lease) = (self.rendezvous.generation(), self.rendezvous.lease());
            writeln!(file, "{generation} {lease} {TASKS}").unwrap();
            self.cross().await.unwrap();
        }
    }
}

pub struct Process {
    child: Child,
}

impl Process {
    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it has not been waited for");
        signal::kill(Pid::from_raw(id as i32), signal).unwrap();
    }

    pub async fn succeeds(self) {
        let (success, errors) = self.end().await;
        assert!(success, "{errors}");
    }

    /// Brings what the process has said.
    pub async fn fails(self) -> String {
        let (success, errors) = self.end().await;
        assert!(!success, "it should have failed");
        errors
    }

    async fn end(self) -> (bool, String) {
        let output = in_time(self.child.wait_with_output()).await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        (output.status.success(), errors)
    }
}

/// Waits for what must come.
pub async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("it comes in time")
}

pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let watch = async {
        while !condition().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, watch)
        .await
        .unwrap_or_else(|_| panic!("never came true: {what}"));
}
