//! What can go wrong, and etcd's errors in words.

use std::{error, fmt, sync::Arc, time::Duration};

use tonic::Code;

/// Why a process could not join, wait or leave.
///
/// All tasks of a process get the same error, so it is cheap to clone. After [`LeaderCancelled`] the tasks may
/// wait again. After any other error the process is no member any more, and each wait gets the same error.
///
/// [`LeaderCancelled`]: Error::LeaderCancelled
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name is empty, or has a `/` or a control character in it, and so cannot be part of a key.
    #[error(
        "`{name}` cannot be a name: it must not be empty or have a `/` or control character in it"
    )]
    InvalidName {
        /// The name.
        name: String,
    },
    /// The first process of this barrier came with another number of processes or another [`OnLoss`](crate::OnLoss).
    #[error("the barrier has been made with `{theirs}`, and this process comes with `{ours}`")]
    TermsDiffer {
        /// The terms of the first process to join.
        theirs: String,
        /// The terms of this process.
        ours: String,
    },
    /// Another process with this name was live for as long as this one was patient.
    #[error("a live process has the name {process} already")]
    NameTaken {
        /// The name.
        process: String,
    },
    /// A process was lost, and with [`OnLoss::Fail`](crate::OnLoss::Fail) the barrier is broken for all, now and
    /// later.
    #[error(
        "{} was lost: its lease has ended, and the barrier is broken",
        match process { Some(name) => format!("process {name}"), None => "a process".to_owned() }
    )]
    Lost {
        /// Its name. `None` if it was lost while this process was not connected, and etcd has compacted its
        /// history since.
        process: Option<String>,
    },
    /// This process was silent for longer than its lease, and is no member any more.
    ///
    /// It was not counted in the generation that it waited for; if etcd has compacted its history meanwhile, it
    /// cannot know.
    #[error("this process was silent for longer than its lease: it is no member any more")]
    Expired,
    /// This process has left.
    #[error("this process has left the barrier")]
    Left,
    /// The task that waited for the other processes on behalf of this one was dropped.
    ///
    /// The process stays arrived: the next wait is for the same generation.
    #[error("the task that waited for the other processes was cancelled")]
    LeaderCancelled,
    /// etcd did not answer for as long as this process was patient.
    #[error("etcd at {endpoints} cannot be reached")]
    Unreachable {
        /// The endpoints that were tried.
        endpoints: String,
        /// The last failure.
        source: EtcdError,
    },
    /// etcd has refused a request.
    #[error("etcd at {endpoints} refuses")]
    Refused {
        /// The endpoints.
        endpoints: String,
        /// The reason.
        source: EtcdError,
    },
    /// A key under the barrier's name has a value that no barrier writes.
    #[error("the value of {key} is not a barrier's")]
    NotABarrier {
        /// The key.
        key: String,
    },
}

/// An error of etcd or its client, displayed as one line.
#[derive(Clone)]
pub struct EtcdError(Said);

#[derive(Clone)]
enum Said {
    Client(Arc<etcd_client::Error>),
    Nothing(Duration),
    WatchEnded(String),
}

impl EtcdError {
    pub(crate) fn no_answer(after: Duration) -> EtcdError {
        EtcdError(Said::Nothing(after))
    }

    pub(crate) fn watch_ended(reason: &str) -> EtcdError {
        EtcdError(Said::WatchEnded(reason.to_owned()))
    }

    /// The client's own error, if that is the cause.
    pub fn client_error(&self) -> Option<&etcd_client::Error> {
        match &self.0 {
            Said::Client(error) => Some(error),
            _ => None,
        }
    }

    fn code(&self) -> Option<Code> {
        match self.client_error() {
            Some(etcd_client::Error::GRpcStatus(status)) => Some(status.code()),
            _ => None,
        }
    }

    /// Whether the same request may be answered in another way later.
    pub(crate) fn is_temporary(&self) -> bool {
        use etcd_client::Error as Client;
        match (self.client_error(), self.code()) {
            // The last two: more requests than etcd can carry out, or no space, which can be made; and a
            // request that waited for a leader, or has met one that was replaced.
            (_, Some(code)) => matches!(
                code,
                Code::Unavailable
                    | Code::Cancelled
                    | Code::DeadlineExceeded
                    | Code::Internal
                    | Code::Unknown
                    | Code::Unauthenticated
                    | Code::ResourceExhausted
                    | Code::FailedPrecondition
                    | Code::Aborted
            ),
            (Some(Client::InvalidArgs(_) | Client::InvalidUri(_)), _) => false,
            _ => true,
        }
    }

    pub(crate) fn is_lease_not_found(&self) -> bool {
        matches!(
            self.client_error(),
            Some(etcd_client::Error::LeaseKeepAliveError(_))
        ) || self.code() == Some(Code::NotFound)
    }

    pub(crate) fn is_compacted(&self) -> bool {
        self.code() == Some(Code::OutOfRange)
    }

    /// Which of the two errors this is.
    pub(crate) fn at(self, endpoints: &str) -> Error {
        let endpoints = endpoints.to_owned();
        let refused = !self.is_temporary()
            || matches!(
                self.code(),
                Some(Code::ResourceExhausted | Code::Unauthenticated | Code::FailedPrecondition)
            );
        match refused {
            true => Error::Refused {
                endpoints,
                source: self,
            },
            false => Error::Unreachable {
                endpoints,
                source: self,
            },
        }
    }
}

impl From<etcd_client::Error> for EtcdError {
    fn from(error: etcd_client::Error) -> EtcdError {
        EtcdError(Said::Client(Arc::new(error)))
    }
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, source): (_, Option<&dyn error::Error>) = match &self.0 {
            Said::Nothing(after) => {
                return write!(f, "no answer in {} s", after.as_secs_f32());
            }
            Said::WatchEnded(reason) => return write!(f, "it has ended the watch: {reason}"),
            Said::Client(error) => match &**error {
                // Its own `Display` has debug forms in it.
                etcd_client::Error::GRpcStatus(status) => {
                    (status.message().to_owned(), error::Error::source(status))
                }
                etcd_client::Error::TransportError(error) => {
                    (error.to_string(), error::Error::source(error))
                }
                other => (other.to_string(), None),
            },
        };
        f.write_str(&text)?;
        let innermost = std::iter::successors(source, |error| error.source()).last();
        match innermost.map(|error| error.to_string()) {
            Some(cause) if !text.contains(&cause) => write!(f, ": {cause}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EtcdError").field(&self.to_string()).finish()
    }
}

impl error::Error for EtcdError {}
