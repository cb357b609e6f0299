//! How a process joins.

use std::{fmt, time::Duration};

use etcd_client::{Client, ConnectOptions, TxnOpResponse};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use crate::{
    Error, EtcdBarrier,
    keys::{Keys, check_name},
    lease::{Etcd, Lease, insist},
    member::{Member, look, something},
};

/// What happens when a process is lost that has been counted in a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnLoss {
    /// The barrier breaks: every process gets [`Error::Lost`], now and later.
    #[default]
    Fail,
    /// The other processes go on without it.
    Continue,
}

/// How a process joins a barrier, from [`EtcdBarrier::builder`].
#[must_use = "nothing happens before `join`"]
pub struct Builder {
    barrier: String,
    process: Option<String>,
    processes: usize,
    tasks: usize,
    on_loss: OnLoss,
    ttl: Duration,
    patience: Duration,
    endpoints: Vec<String>,
    user: Option<User>,
    #[cfg(feature = "tls")]
    tls: Option<etcd_client::TlsOptions>,
    client: Option<Client>,
}

struct User {
    name: String,
    password: String,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("barrier", &self.barrier)
            .field("process", &self.process)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(barrier: String) -> Builder {
        Builder {
            barrier,
            process: None,
            processes: 1,
            tasks: 1,
            on_loss: OnLoss::default(),
            ttl: Duration::from_secs(5),
            patience: Duration::from_secs(30),
            endpoints: Vec::new(),
            user: None,
            #[cfg(feature = "tls")]
            tls: None,
            client: None,
        }
    }

    /// The name of this process. No two live processes of a barrier have the same name.
    ///
    /// The default is the number of its lease, which is unique.
    pub fn process(mut self, name: impl Into<String>) -> Self {
        self.process = Some(name.into());
        self
    }

    /// The number of processes that must have joined before the first generation can complete. The default is
    /// 1. All processes of a barrier must give the same number.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = processes;
        self
    }

    /// The number of tasks of this process that wait for each generation. The default is 1, and 0 counts as 1.
    /// More tasks than that may use the barrier, in turns.
    pub fn tasks(mut self, tasks: usize) -> Self {
        self.tasks = tasks;
        self
    }

    /// What happens when a process is lost. The default is [`OnLoss::Fail`]. All processes of a barrier must give
    /// the same.
    pub fn on_loss(mut self, on_loss: OnLoss) -> Self {
        self.on_loss = on_loss;
        self
    }

    /// The time after which etcd takes this process for lost if it does not hear from it. The default is 5 s.
    /// etcd counts in whole seconds, and the least it grants is 2 with its default settings.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// How long this process tries to reach etcd before it gives up, and how long it waits for its name. The
    /// default is 30 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The URLs of etcd's members: one or more, best all. The default is `http://127.0.0.1:2379`.
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endpoints = endpoints.into_iter().map(Into::into).collect();
        self
    }

    /// A user of etcd and its password.
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        let (name, password) = (name.into(), password.into());
        self.user = Some(User { name, password });
        self
    }

    /// Connects by TLS. The endpoints must be `https://`.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, options: etcd_client::TlsOptions) -> Self {
        self.tls = Some(options);
        self
    }

    /// Uses an existing client, with its endpoints, user and TLS.
    ///
    /// Make it with a connect timeout, keep-alive and `with_require_leader(true)`. Without these a process may
    /// wait for a connection or a server that is dead.
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Joins: the current generation, and each one after it, waits for this process from now on.
    ///
    /// While a process of the same name is live, such as one that was killed and started again, this waits
    /// for the end of its lease. It spawns two tasks on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// Any but [`Error::Left`] and [`Error::LeaderCancelled`].
    ///
    /// # Panics
    ///
    /// If [`tasks`](Self::tasks) is more than a [`Barrier`](atomic_barrier::Barrier) can have, or outside a tokio
    /// runtime with time and I/O enabled.
    ///
    /// # Cancel safety
    ///
    /// If this is dropped, the process has not joined, or leaves at once; if etcd cannot be told, it leaves when
    /// its lease ends.
    pub async fn join(self) -> Result<EtcdBarrier, Error> {
        let span = tracing::info_span!(
            "join",
            barrier = self.barrier,
            process = tracing::field::Empty,
            generation = tracing::field::Empty
        );
        // Large, with all the requests in it, and made once.
        Box::pin(self.try_join(span.clone())).instrument(span).await
    }

    async fn try_join(mut self, span: tracing::Span) -> Result<EtcdBarrier, Error> {
        check_name(&self.barrier)?;
        if let Some(name) = &self.process {
            check_name(name)?;
        }
        if self.endpoints.is_empty() {
            self.endpoints.push("http://127.0.0.1:2379".to_owned());
        }
        let endpoints = match &self.client {
            Some(_) => "the endpoints of its client".to_owned(),
            None => self.endpoints.join(", "),
        };
        let client = match self.client.take() {
            Some(client) => client,
            None => {
                let options = self.connect_options();
                let connected = insist(self.patience, || {
                    Client::connect(self.endpoints.clone(), Some(options.clone()))
                });
                connected.await.map_err(|error| error.at(&endpoints))?
            }
        };
        let etcd = Etcd {
            client,
            endpoints: endpoints.into(),
            patience: self.patience,
        };

        let mut lease = Lease::grant(&etcd, self.ttl).await?;
        let name = (self.process.clone()).unwrap_or_else(|| format!("{:x}", lease.id));
        span.record("process", &name);
        let keys = Keys {
            barrier: self.barrier.as_str().into(),
            process: name.into(),
            lease: lease.id,
        };
        self.agree(&etcd, &keys).await?;

        let deadline = Instant::now() + self.patience;
        let view = loop {
            let view = look(&etcd, &keys, self.on_loss).await?;
            if let Some(process) = &view.lost {
                let process = process.as_deref().map(str::to_owned);
                return Err(Error::Lost { process });
            }
            match view.live.get(&keys.process) {
                Some(live) if live.lease == lease.id => break view,
                Some(_) if Instant::now() >= deadline => {
                    let process = keys.process.as_ref().to_owned();
                    return Err(Error::NameTaken { process });
                }
                // Whether anything has happened or not, it is looked at again.
                Some(_) => tokio::select! {
                    biased;
                    end = lease.lapsed() => return Err(end),
                    _ = timeout_at(deadline, something(&etcd, &keys, &view)) => {}
                },
                None => match etcd.txn(keys.join()).await {
                    Ok(_) => {}
                    Err(gone) if gone.is_lease_not_found() => return Err(Error::Expired),
                    Err(error) => return Err(etcd.error(error)),
                },
            }
        };
        span.record("generation", view.state.generation);
        tracing::debug!(processes = view.live.len(), "joined");
        let member = Member::start(etcd, keys, lease, self.processes, view);
        Ok(EtcdBarrier::new(self.tasks, member))
    }

    fn connect_options(&mut self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(Duration::from_secs(2))
            .with_keep_alive(Duration::from_secs(10), Duration::from_secs(5))
            .with_require_leader(true);
        if let Some(User { name, password }) = self.user.take() {
            options = options
                .with_user(name, password)
                .with_auto_token_refresh(true);
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.take() {
            options = options.with_tls(tls);
        }
        options
    }

    /// Two that differ could not both be right about what a loss means.
    async fn agree(&self, etcd: &Etcd, keys: &Keys) -> Result<(), Error> {
        let on_loss = match self.on_loss {
            OnLoss::Fail => "fail",
            OnLoss::Continue => "continue",
        };
        let ours = format!("processes {}, on loss {on_loss}", self.processes);
        let answer = etcd.txn(keys.agree(&ours)).await;
        let answer = answer.map_err(|error| etcd.error(error))?;
        let theirs = match answer.op_responses().pop() {
            Some(TxnOpResponse::Get(found)) => {
                (found.kvs().first()).map(|kv| String::from_utf8_lossy(kv.value()).into_owned())
            }
            _ => None,
        };
        match theirs {
            Some(theirs) if theirs != ours => Err(Error::TermsDiffer { theirs, ours }),
            _ => Ok(()),
        }
    }
}
