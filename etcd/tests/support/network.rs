//! Two hosts that are namespaces of this one, with a cable between them and none to anywhere else.

use std::{
    fs::File,
    io::{self, Write},
    process::{self, Command},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// The first host's address. It is its loopback interface's, and can be reached over the cable.
pub(crate) const FIRST: &str = "10.77.0.1";

/// The namespaces, which are removed in the end, and with them the cable.
pub(crate) struct TwoHosts {
    first: String,
    second: String,
}

impl TwoHosts {
    /// None where the machine does not allow it; then it says so past the capture of tests' output.
    pub(crate) fn new() -> Option<TwoHosts> {
        let name = |which| format!("barrier-{}-{which}", process::id());
        let hosts = TwoHosts {
            first: name(1),
            second: name(2),
        };
        if let Err(error) = hosts.build() {
            let line = format!("\nSKIPPED, a process that is cut off: {error}\n");
            io::stderr().write_all(line.as_bytes()).unwrap();
            return None;
        }
        Some(hosts)
    }

    fn build(&self) -> Result<(), String> {
        let TwoHosts { first, second } = self;
        for line in [
            format!("netns add {first}"),
            format!("netns add {second}"),
            format!("-n {first} link add cable type veth peer name cable netns {second}"),
            format!("-n {first} addr add {FIRST}/32 dev lo"),
            format!("-n {first} addr add 10.77.1.1/30 dev cable"),
            format!("-n {second} addr add 10.77.1.2/30 dev cable"),
            format!("-n {first} link set lo up"),
            format!("-n {first} link set cable up"),
            format!("-n {second} link set cable up"),
            format!("-n {second} route add {FIRST} via 10.77.1.1"),
        ] {
            ip(&line)?;
        }
        Ok(())
    }

    /// Runs a test as if on the first host. What it starts runs there too.
    pub(crate) fn on_first_host(&self, test: impl AsyncFnOnce(&TwoHosts) + Send) {
        let host = File::open(format!("/run/netns/{}", self.first)).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                setns(host, CloneFlags::CLONE_NEWNET).unwrap();
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(test(self));
            });
        });
    }

    pub(crate) fn second(&self) -> &str {
        &self.second
    }

    pub(crate) fn cut(&self) {
        ip(&format!("-n {} link set cable down", self.first)).unwrap();
    }

    pub(crate) fn mend(&self) {
        ip(&format!("-n {} link set cable up", self.first)).unwrap();
    }
}

impl Drop for TwoHosts {
    fn drop(&mut self) {
        for host in [&self.first, &self.second] {
            // There may be none, if making it failed.
            let _ = ip(&format!("netns del {host}"));
        }
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split(' ')).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "ip {arguments}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
