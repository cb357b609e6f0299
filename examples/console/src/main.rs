//! Barriers and a phaser to look at with tokio-console: `cargo run` in this folder, and `tokio-console` beside it.

use std::{future::pending, sync::Arc, time::Duration};

use anyhow::Result;
use atomic_barrier::{
    Barrier, Phaser,
    phaser::{Closed, Participant},
};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

/// In a `static`, and shown all the same, from its first wait on.
static ROUND: Barrier = Barrier::new(4);

/// One of the four that meet again and again, each after work of another length.
async fn worker(number: u64) {
    loop {
        sleep(Duration::from_millis(400 * number)).await;
        ROUND.wait().await;
    }
}

/// Waits, withdraws when that has taken too long, and tries again.
async fn impatient(start: Arc<Barrier>) {
    while timeout(Duration::from_secs(2), start.wait()).await.is_err() {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Goes through a few phases, and then does not come any more. It is alive, so the others wait for it.
async fn stuck(mut participant: Participant) -> Result<(), Closed> {
    for _ in 0..3 {
        participant.wait().await?;
    }
    pending().await
}

#[tokio::main]
async fn main() -> Result<()> {
    console_subscriber::init();
    // Three are expected. One waits, one withdraws again and again, and one never comes: what to look
    // for in the console when a program hangs.
    let start = Arc::new(Barrier::new(3));
    let mut tasks: JoinSet<()> = (1..=4).map(worker).collect();
    tasks.spawn(impatient(start.clone()));
    tasks.spawn(async move {
        start.wait_owned().await;
    });
    // Here a participant is stuck, and the console shows its name.
    let phaser = Phaser::new();
    let [reads, writes, checks] = phaser.register_array()?;
    for mut participant in [reads.named("reader"), writes.named("writer")] {
        tasks.spawn(async move { while participant.wait().await.is_ok() {} });
    }
    let checks = checks.named("checker");
    tasks.spawn(async move { _ = stuck(checks).await });
    println!("tokio-console shows what waits here, under `r`; Ctrl-C ends it");
    while let Some(task) = tasks.join_next().await {
        task?;
    }
    Ok(())
}
