//! Between a process and etcd: keeps etcd's answers and events back, or loses them with the connection.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// Requests go through; what etcd says waits.
    holds: bool,
    /// How often all connections have been closed, with what has waited.
    losses: u32,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    _listener: JoinSet<()>,
}

impl Proxy {
    /// In front of `http://HOST:PORT`.
    pub(crate) async fn new(endpoint: &str) -> Proxy {
        let etcd = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(watch::Sender::new(State::default()));
        let mut tasks = JoinSet::new();
        let seen = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (etcd, state) = (etcd.clone(), seen.subscribe());
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(etcd).await {
                        pass(client, server, state).await;
                    }
                });
            }
        });
        Proxy {
            address,
            state,
            _listener: tasks,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn hold_answers(&self) {
        self.state.send_modify(|state| state.holds = true);
    }

    pub(crate) fn pass_answers(&self) {
        self.state.send_modify(|state| state.holds = false);
    }

    /// New connections pass.
    pub(crate) fn lose_answers(&self) {
        self.state.send_modify(|state| {
            state.losses += 1;
            state.holds = false;
        });
    }
}

async fn pass(client: TcpStream, server: TcpStream, mut state: watch::Receiver<State>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async { drop(tokio::io::copy(&mut from_client, &mut to_server).await) };
    let losses = state.borrow().losses;
    let mut passes = state.clone();
    let answers = async {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read) = from_server.read(&mut buffer).await
            && read > 0
        {
            let _ = passes.wait_for(|state| !state.holds).await;
            if passes.borrow().losses > losses {
                return;
            }
            if to_client.write_all(&buffer[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = state.wait_for(|state| state.losses > losses) => {}
        () = requests => {}
        () = answers => {}
    }
}
