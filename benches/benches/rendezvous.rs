//! Criterion's view of the comparison: distributions and plots by `n`, one group per runtime.
//!
//! The barriers take turns by the second here, not by the millisecond: for ratios, `ratios` is the
//! better judge. The report is `target/criterion/report/index.html`.
#![allow(missing_docs, reason = "criterion's macros write no documentation")]

use std::{sync::Arc, time::Duration};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};
use tokio::runtime::Runtime;

use atomic_barrier_benches::{
    floor::Floor,
    tasks::{self, Flavour, PARTIES, Party},
};

fn rendezvous(criterion: &mut Criterion) {
    for flavour in Flavour::named(&["ct", "1", "2", "4"]) {
        let runtime = flavour.runtime();
        let mut group = criterion.benchmark_group(flavour.to_string());
        group.sampling_mode(SamplingMode::Flat);
        for n in PARTIES {
            group.throughput(Throughput::Elements(n as u64));
            bench::<Arc<atomic_barrier::Barrier>>(&mut group, &runtime, n);
            bench::<Arc<tokio::sync::Barrier>>(&mut group, &runtime, n);
            bench::<Arc<async_lock::Barrier>>(&mut group, &runtime, n);
            bench::<Arc<asyncband::barrier::Barrier>>(&mut group, &runtime, n);
            if flavour == Flavour::CurrentThread {
                bench::<Arc<Floor>>(&mut group, &runtime, n);
            }
        }
        group.finish();
    }
}

/// The time of one generation of `n` tasks.
fn bench<P: Party>(group: &mut BenchmarkGroup<WallTime>, runtime: &Runtime, n: usize) {
    group.bench_function(BenchmarkId::new(P::NAME, n), |bencher| {
        bencher.iter_custom(|generations| tasks::run::<P>(runtime, n, generations));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .nresamples(10_000);
    targets = rendezvous
}
criterion_main!(benches);
