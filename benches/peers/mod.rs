//! The barriers that the benches compare, behind one trait: each as its own documentation uses it.

/// A barrier for `n` tasks that share it in an `Arc`.
pub(crate) trait Peer: Send + Sync + 'static {
    const NAME: &str;
    type Crossed: Send;

    fn new(n: usize) -> Self;
    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send;
    fn is_leader(crossed: &Self::Crossed) -> bool;
}

impl Peer for atomic_barrier::Barrier {
    const NAME: &str = "atomic-barrier";
    type Crossed = atomic_barrier::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

impl Peer for tokio::sync::Barrier {
    const NAME: &str = "tokio";
    type Crossed = tokio::sync::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

impl Peer for async_lock::Barrier {
    const NAME: &str = "async-lock";
    type Crossed = async_lock::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n)
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}

impl Peer for asyncband::barrier::Barrier {
    const NAME: &str = "asyncband";
    type Crossed = asyncband::barrier::BarrierWaitResult;

    fn new(n: usize) -> Self {
        Self::new(n.try_into().expect("asyncband counts parties in a u32"))
    }

    fn wait(&self) -> impl Future<Output = Self::Crossed> + Send {
        self.wait()
    }

    fn is_leader(crossed: &Self::Crossed) -> bool {
        crossed.is_leader()
    }
}
