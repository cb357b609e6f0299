//! An etcd of three members, processes, and what can be seen of them.
#![allow(dead_code, reason = "each test program uses a part")]

#[path = "../../examples/cluster/etcd.rs"]
pub(crate) mod etcd;
#[path = "../../examples/cluster/history.rs"]
pub(crate) mod history;
pub(crate) mod network;
pub(crate) mod proxy;

use std::{
    env::{self, consts::EXE_SUFFIX},
    fs::OpenOptions,
    future::poll_fn,
    io::Write,
    path::PathBuf,
    pin::pin,
    process::Stdio,
    task::Poll,
    time::Duration,
};

use atomic_barrier_etcd::{Builder, Error, EtcdBarrier, OnLoss, WaitResult, etcd_client::Client};
use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{sleep, timeout},
};

use self::{
    etcd::Etcd,
    history::{Event, History, Tally},
};

/// Tasks of each process.
pub(crate) const TASKS: u32 = 2;
/// The name of every barrier.
pub(crate) const BARRIER: &str = "stage";
/// A condition that has not come true in this time never will.
const DEADLINE: Duration = Duration::from_secs(120);
/// What a slow machine does not take for the end of a process.
const LONG: Duration = Duration::from_secs(120);
/// The time to live of a process that is to be killed or stopped.
const SHORT: Duration = Duration::from_secs(5);
/// No test is to be decided by it, except where it says so.
const PATIENCE: u32 = 100;

pub(crate) struct Stage {
    pub(crate) etcd: Etcd,
    records: TempDir,
    processes: u32,
    on_loss: OnLoss,
}

impl Stage {
    pub(crate) async fn new(processes: u32, on_loss: OnLoss) -> Stage {
        Stage::on(Etcd::start(3).await.unwrap(), processes, on_loss)
    }

    pub(crate) fn on(etcd: Etcd, processes: u32, on_loss: OnLoss) -> Stage {
        Stage {
            etcd,
            records: tempfile::tempdir().unwrap(),
            processes,
            on_loss,
        }
    }

    /// A client that finds its way around members that are down.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.etcd.endpoints(), None).await.unwrap()
    }

    pub(crate) fn builder(&self, name: &str) -> Builder {
        EtcdBarrier::builder(BARRIER)
            .process(name)
            .processes(self.processes as usize)
            .endpoints(self.etcd.endpoints())
            .on_loss(self.on_loss)
            .ttl(LONG)
            .patience(Duration::from_secs(PATIENCE.into()))
    }

    /// A member that is a part of the test: one task, which does the work of as many as a process has.
    pub(crate) async fn member(&self, name: &str) -> Member {
        self.member_by(self.builder(name)).await
    }

    pub(crate) async fn member_by(&self, builder: Builder) -> Member {
        let barrier = in_time(builder.join()).await.unwrap();
        Member {
            records: self.records.path().join(barrier.process()),
            barrier,
        }
    }

    /// As long as it does not arrive, the present generation stands still.
    pub(crate) async fn conductor(&self) -> Member {
        self.member("conductor").await
    }

    /// Starts a process that makes so many generations.
    pub(crate) fn process(&self, name: &str, generations: u64) -> Process {
        self.start(Command::new(example()), name, generations, LONG, PATIENCE)
    }

    /// A member that etcd soon takes for lost when it is silent.
    pub(crate) fn mortal(&self, name: &str, generations: u64) -> Process {
        self.start(Command::new(example()), name, generations, SHORT, PATIENCE)
    }

    pub(crate) fn impatient(&self, name: &str, generations: u64, patience: u32) -> Process {
        self.start(Command::new(example()), name, generations, LONG, patience)
    }

    /// Starts a mortal process in another network namespace.
    pub(crate) fn mortal_on(
        &self,
        namespace: &str,
        name: &str,
        generations: u64,
        patience: u32,
    ) -> Process {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(example());
        self.start(command, name, generations, SHORT, patience)
    }

    fn start(
        &self,
        mut command: Command,
        name: &str,
        generations: u64,
        ttl: Duration,
        patience: u32,
    ) -> Process {
        let on_loss = match self.on_loss {
            OnLoss::Fail => "fail",
            _ => "continue",
        };
        let child = command
            .arg("process")
            .args(["--generations", &generations.to_string()])
            .args(["--barrier", BARRIER, "--process", name])
            .args(["--endpoint", &self.etcd.endpoints().join(",")])
            .args(["--processes", &self.processes.to_string()])
            .args(["--on-loss", on_loss])
            .args(["--ttl", &ttl.as_secs().to_string()])
            .args(["--patience", &patience.to_string()])
            .args(["--tasks", &TASKS.to_string()])
            .arg("--records")
            .arg(self.records.path().join(name))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("`cargo test` has built the example");
        Process { child }
    }

    /// What a key has, and its lease.
    pub(crate) async fn value(&self, key: &str) -> Option<(String, i64)> {
        let key = format!("{BARRIER}/{key}");
        let mut client = self.client().await;
        // A member may just be on its way out.
        loop {
            match client.get(key.as_str(), None).await {
                Ok(found) => {
                    let kv = found.kvs().first()?;
                    return Some((kv.value_str().unwrap().to_owned(), kv.lease()));
                }
                Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(crate) async fn has_arrived(&self, generation: u64, name: &str) -> bool {
        let arrival = self.value(&format!("arrived/{name}")).await;
        arrival.is_some_and(|(value, _)| value == generation.to_string())
    }

    pub(crate) async fn until_arrived(&self, generation: u64, names: &[&str]) {
        for name in names {
            let what = format!("{name} has arrived in generation {generation}");
            until(&what, async || self.has_arrived(generation, name).await).await;
        }
    }

    /// Waits until etcd has taken a process for lost.
    pub(crate) async fn until_gone(&self, name: &str) {
        let what = format!("{name} is gone");
        until(&what, async || self.lease_of(name).await.is_none()).await;
    }

    /// The lease of a live process.
    pub(crate) async fn lease_of(&self, name: &str) -> Option<i64> {
        Some(self.value(&format!("live/{name}")).await?.1)
    }

    /// Ends a lease, as if it had run out.
    pub(crate) async fn revoke(&self, lease: i64) {
        self.client().await.lease_revoke(lease).await.unwrap();
    }

    pub(crate) async fn until_complete(&self, generations: u64) {
        until("enough is complete", async || {
            let endpoints = self.etcd.endpoints();
            // A member that is killed ends the watch.
            (history::until_complete(&endpoints, BARRIER, generations).await).is_ok()
        })
        .await;
    }

    pub(crate) async fn events(&self, from: i64) -> Vec<Event> {
        let endpoints = self.etcd.endpoints();
        in_time(history::read(&endpoints, BARRIER, from))
            .await
            .unwrap()
    }

    /// The barrier's history, after a check that all work was done once.
    pub(crate) async fn check(&self) -> (History, Tally) {
        self.check_events(&self.events(1).await)
    }

    /// Which process has completed each of so many generations, after a check of the history alone.
    pub(crate) async fn check_held(&self, generations: usize) -> Vec<String> {
        let events = self.events(1).await;
        let history = history::replay(&events, self.on_loss == OnLoss::Fail).unwrap();
        assert_eq!(history.counted.len(), generations);
        history.by
    }

    pub(crate) fn check_events(&self, events: &[Event]) -> (History, Tally) {
        let history = history::replay(events, self.on_loss == OnLoss::Fail).unwrap();
        let tally = history::check(&history, self.records.path(), TASKS).unwrap();
        (history, tally)
    }
}

pub(crate) struct Member {
    pub(crate) barrier: EtcdBarrier,
    records: PathBuf,
}

impl Member {
    /// Waits once, and writes nothing down.
    pub(crate) async fn wait(&self) -> Result<WaitResult, Error> {
        in_time(self.barrier.wait()).await
    }

    /// Writes down that the work of all tasks of a process is done in the current generation.
    pub(crate) fn work(&self) {
        let (generation, lease) = (self.barrier.generation(), self.barrier.lease());
        let line = format!("{generation} {lease}\n");
        let options = OpenOptions::new().append(true).create(true).clone();
        let mut file = options.open(&self.records).unwrap();
        file.write_all(line.repeat(TASKS as usize).as_bytes())
            .unwrap();
    }

    /// Works and waits until so many generations are complete.
    pub(crate) async fn wait_until(&self, generations: u64) {
        while self.barrier.generation() < generations {
            self.work();
            self.wait().await.unwrap();
        }
    }
}

pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it has not been waited for");
        signal::kill(Pid::from_raw(id as i32), signal).unwrap();
    }

    pub(crate) async fn succeeds(self) {
        let (success, errors) = self.end().await;
        assert!(success, "{errors}");
    }

    /// Brings what the process has said.
    pub(crate) async fn fails(self) -> String {
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

/// The example `cluster`. Cargo leaves it beside the folder of this test: `cargo test` brings it up to date,
/// but `cargo test --test` alone takes the one that is there.
pub(crate) fn example() -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    target.join(format!("examples/cluster{EXE_SUFFIX}"))
}

/// Waits for what must come.
pub(crate) async fn in_time<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future).await.expect("it comes in time")
}

pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let watch = async {
        while !condition().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, watch)
        .await
        .unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// Drops the future if it is not ready after so many polls.
pub(crate) async fn polled_at_most<F: Future>(mut polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        polls -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
