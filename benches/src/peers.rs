//! The barriers that the benches compare, behind one trait: each as its own documentation uses it.

/// A barrier for `n` tasks that share it in an `Arc`.
pub trait Peer: Send + Sync + 'static {
    /// Its name in tables.
    const NAME: &str;
    /// What a wait returns.
    type WaitResult: Send;

    /// A barrier of `n` parties.
    fn new(n: usize) -> Self;
    /// Waits for the end of the generation, as one of its parties.
    fn wait(&self) -> impl Future<Output = Self::WaitResult> + Send;
    /// Whether the wait that returned this led its generation.
    fn is_leader(result: &Self::WaitResult) -> bool;
}

impl Peer for atomic_barrier::Barrier {
    const NAME: &str = "atomic-barrier";
    type WaitResult = atomic_barrier::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::WaitResult> + Send {
        self.wait()
    }

    fn is_leader(result: &Self::WaitResult) -> bool {
        result.is_leader()
    }
}

impl Peer for tokio::sync::Barrier {
    const NAME: &str = "tokio";
    type WaitResult = tokio::sync::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::WaitResult> + Send {
        self.wait()
    }

    fn is_leader(result: &Self::WaitResult) -> bool {
        result.is_leader()
    }
}

impl Peer for async_lock::Barrier {
    const NAME: &str = "async-lock";
    type WaitResult = async_lock::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::WaitResult> + Send {
        self.wait()
    }

    fn is_leader(result: &Self::WaitResult) -> bool {
        result.is_leader()
    }
}

impl Peer for asyncband::barrier::Barrier {
    const NAME: &str = "asyncband";
    type WaitResult = asyncband::barrier::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n.try_into().expect("asyncband counts parties in a u32"))
    }

    fn wait(&self) -> impl Future<Output = Self::WaitResult> + Send {
        self.wait()
    }

    fn is_leader(result: &Self::WaitResult) -> bool {
        result.is_leader()
    }
}
