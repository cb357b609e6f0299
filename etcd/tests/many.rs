//! More processes than etcd compares keys in a transaction.

mod support;

use std::{sync::Arc, time::Duration};

use atomic_barrier_etcd::{EtcdBarrier, OnLoss};
use tokio::{sync::Semaphore, task::JoinSet};

use self::support::{BARRIER, Stage, in_time};

const PROCESSES: usize = 500;
const GENERATIONS: u64 = 3;

/// As many members as that many processes would be, with as many leases and watches.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_processes_meet() {
    let stage = Stage::new(PROCESSES as u32, OnLoss::Fail).await;
    let client = stage.client().await;
    // Not all of them at the same moment.
    let doors = Arc::new(Semaphore::new(16));
    let mut members = JoinSet::new();
    for number in 0..PROCESSES {
        let join = EtcdBarrier::builder(BARRIER)
            .process(format!("p{number}"))
            .processes(PROCESSES)
            .client(client.clone())
            .ttl(Duration::from_secs(600))
            .patience(Duration::from_secs(100))
            .join();
        let doors = doors.clone();
        members.spawn(async move {
            let door = doors.acquire().await.unwrap();
            let barrier = in_time(join).await.unwrap();
            drop(door);
            for generation in 0..GENERATIONS {
                let result = in_time(barrier.wait()).await.unwrap();
                assert_eq!(result.generation(), generation);
                assert_eq!(result.processes(), PROCESSES);
            }
            // Kept, so that none goes before all have waited.
            barrier
        });
    }
    let members = members.join_all().await;
    assert_eq!(members.len(), PROCESSES);

    let events = stage.events(1).await;
    let history = support::history::replay(&events, true).unwrap();
    let last = events.iter().rev().find(|event| event.key == "state");
    let written = events.iter().filter(|event| {
        event.key.starts_with("arrived/") && last.is_some_and(|last| event.revision < last.revision)
    });
    assert_eq!(history.counted.len() as u64, GENERATIONS);
    // One to join and one a generation, which the last to arrive does not need. What is more is asked again
    // by one that did not know a process that had joined, or has had no answer in time.
    let expected = PROCESSES * (1 + GENERATIONS as usize) - GENERATIONS as usize;
    let written = written.count();
    println!("{written} arrivals written, {expected} expected");
    assert!(
        (expected..expected + PROCESSES).contains(&written),
        "{written}"
    );
}
