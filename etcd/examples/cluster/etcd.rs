//! An etcd of one's own: members on addresses of the loopback interface, with data in a temporary folder,
//! that can be killed and started again one by one.

use std::{
    fs,
    path::Path,
    process::{self, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use atomic_barrier_etcd::etcd_client::Client;
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

/// An etcd that does not serve after this time never will.
const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) struct Etcd {
    folder: TempDir,
    members: Vec<Member>,
}

struct Member {
    name: String,
    arguments: Vec<String>,
    endpoint: String,
    child: Child,
}

impl Etcd {
    pub(crate) async fn start(members: usize) -> Result<Etcd> {
        Etcd::start_with(members, None, &[]).await
    }

    /// With client ports of a host's address, where it is given, and with more arguments.
    pub(crate) async fn start_with(
        members: usize,
        clients_at: Option<&str>,
        more: &[&str],
    ) -> Result<Etcd> {
        let folder = tempfile::tempdir()?;
        let scheme = match more.contains(&"--cert-file") {
            true => "https",
            false => "http",
        };
        // All of 127.0.0.0/8 is this machine. So no two processes' servers meet, and the ports are below those
        // that the system gives away.
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let [.., high, low] = process::id().to_be_bytes();
        let hosts: Vec<String> = (0..members)
            .map(|_| format!("127.{high}.{low}.{}", NEXT.fetch_add(1, Relaxed)))
            .collect();
        let peer = |host: &String| format!("http://{host}:2380");
        let all: Vec<String> = (hosts.iter().enumerate())
            .map(|(index, host)| format!("m{index}={}", peer(host)))
            .collect();
        let mut started = Vec::new();
        for (index, host) in hosts.iter().enumerate() {
            let endpoint = match clients_at {
                None => format!("{scheme}://{host}:2379"),
                Some(at) => format!("{scheme}://{at}:{}", 2379 + 10 * index),
            };
            let name = format!("m{index}");
            let data = folder.path().join(&name);
            let fixed = [
                ("--name", name.clone()),
                ("--data-dir", data.display().to_string()),
                ("--logger", "zap".to_owned()),
                ("--log-outputs", "stderr".to_owned()),
                ("--listen-client-urls", endpoint.clone()),
                ("--advertise-client-urls", endpoint.clone()),
                ("--listen-peer-urls", peer(host)),
                ("--initial-advertise-peer-urls", peer(host)),
                ("--initial-cluster", all.join(",")),
            ];
            let mut arguments = vec!["--enable-grpc-gateway=false".to_owned()];
            for (flag, value) in fixed {
                arguments.extend([flag.to_owned(), value]);
            }
            arguments.extend(more.iter().map(|&argument| argument.to_owned()));
            let child = spawn(folder.path(), &name, &arguments)?;
            started.push(Member {
                name,
                arguments,
                endpoint,
                child,
            });
        }
        let mut etcd = Etcd {
            folder,
            members: started,
        };
        for index in 0..members {
            if scheme == "http" {
                etcd.until_serves(index).await?;
            }
        }
        Ok(etcd)
    }

    pub(crate) fn endpoints(&self) -> Vec<String> {
        (self.members.iter())
            .map(|member| member.endpoint.clone())
            .collect()
    }

    /// Of one member.
    pub(crate) fn endpoint(&self, index: usize) -> &str {
        &self.members[index].endpoint
    }

    pub(crate) async fn kill(&mut self, index: usize) -> Result<()> {
        Ok(self.members[index].child.kill().await?)
    }

    /// Does not wait until it serves.
    pub(crate) fn restart(&mut self, index: usize) -> Result<()> {
        let member = &mut self.members[index];
        member.child = spawn(self.folder.path(), &member.name, &member.arguments)?;
        Ok(())
    }

    /// Kills all, and starts them again.
    pub(crate) async fn kill_all(&mut self) -> Result<()> {
        for index in 0..self.members.len() {
            self.kill(index).await?;
        }
        Ok(())
    }

    pub(crate) async fn restart_all(&mut self) -> Result<()> {
        for index in 0..self.members.len() {
            self.restart(index)?;
        }
        for index in 0..self.members.len() {
            self.until_serves(index).await?;
        }
        Ok(())
    }

    /// Waits until a member answers and knows a leader.
    pub(crate) async fn until_serves(&mut self, index: usize) -> Result<()> {
        let deadline = Instant::now() + DEADLINE;
        while leader_by(&self.members[index].endpoint).await.is_none() {
            let member = &mut self.members[index];
            let log = || {
                let log = fs::read_to_string(log_of(self.folder.path(), &member.name));
                let log = log.unwrap_or_default();
                log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
            };
            if let Some(status) = member.child.try_wait()? {
                bail!("etcd has ended, {status}: {}", log());
            }
            if Instant::now() > deadline {
                bail!("etcd does not serve: {}", log());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The member that leads, as soon as one does.
    pub(crate) async fn leader(&self) -> Result<usize> {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            for (index, member) in self.members.iter().enumerate() {
                if let Some((own, leader)) = leader_by(&member.endpoint).await
                    && own == leader
                {
                    return Ok(index);
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
        bail!("etcd has no leader")
    }
}

/// A member's own number, and that of the leader that it knows.
async fn leader_by(endpoint: &str) -> Option<(u64, u64)> {
    let ask = async {
        let mut client = Client::connect([endpoint], None).await.ok()?;
        let status = client.status().await.ok()?;
        Some((status.header()?.member_id(), status.leader()))
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), ask).await;
    answer.ok().flatten().filter(|&(_, leader)| leader != 0)
}

fn log_of(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join(format!("{name}.log"))
}

fn spawn(folder: &Path, name: &str, arguments: &[String]) -> Result<Child> {
    let log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_of(folder, name))?;
    Command::new("etcd")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("etcd cannot be started (Debian's package is etcd-server)")
}
