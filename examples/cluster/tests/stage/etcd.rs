//! An etcd of a test's own, which can be killed and started again.

use std::{
    fs::{self, File},
    process::Stdio,
};

use etcd_client::Client;
use tempfile::TempDir;
use tokio::process::{Child, Command};

pub struct Etcd {
    folder: TempDir,
    child: Child,
    /// Host and port.
    address: String,
}

impl Etcd {
    pub async fn start(host: &str) -> Etcd {
        let folder = tempfile::tempdir().unwrap();
        // Any port that is free: the log says which.
        let (child, address) = spawn(&folder, &format!("{host}:0")).await;
        Etcd {
            folder,
            child,
            address,
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub async fn start_again(&mut self) {
        (self.child, _) = spawn(&self.folder, &self.address).await;
    }

    /// Ends a lease, as if it had run out.
    pub async fn revoke(&self, lease: i64) {
        let mut client = Client::connect([self.endpoint()], None).await.unwrap();
        client.lease_revoke(lease).await.unwrap();
    }

    /// The lease of a key, if there is the key.
    pub async fn lease(&self, key: &str) -> Option<i64> {
        let mut client = Client::connect([self.endpoint()], None).await.unwrap();
        let found = client.get(key, None).await.unwrap();
        found.kvs().first().map(|kv| kv.lease())
    }
}

async fn spawn(folder: &TempDir, address: &str) -> (Child, String) {
    let log = folder.path().join("log");
    let any = "http://127.0.0.1:0";
    let client = format!("http://{address}");
    let mut child = Command::new("etcd")
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .args(["--logger", "zap", "--log-outputs", "stderr"])
        .arg("--enable-grpc-gateway=false")
        .args([
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
        ])
        .args([
            "--listen-peer-urls",
            any,
            "--initial-advertise-peer-urls",
            any,
        ])
        .args(["--initial-cluster", &format!("default={any}")])
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .kill_on_drop(true)
        .spawn()
        .expect("etcd is installed");
    let mut address = None;
    super::until("etcd serves", async || {
        let log = fs::read_to_string(&log).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "etcd has ended: {log}");
        let serves = log
            .lines()
            .find(|line| line.contains("serving client traffic"));
        let after = serves.and_then(|line| line.split_once(r#""address":""#));
        address = after.and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        address.is_some()
    })
    .await;
    (child, address.expect("the condition"))
}
