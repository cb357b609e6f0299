//! Faults, with real processes and a real etcd. Most tests take part as a member themselves, the
//! conductor: as long as it does not arrive, the present generation stands still.

mod stage;

use std::{
    future::poll_fn,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use cluster::{process::Crossing, rendezvous::Failure, settings::OnLoss};
use futures::FutureExt;
use nix::sys::signal::Signal;

use self::stage::{Stage, in_time, network};

/// Generations that the processes are to make, with [`stage::TASKS`] tasks each.
const ALL: u64 = 8;
/// The generation that something happens in.
const HERE: u64 = 3;

const LOST: &str = "was lost: its lease has ended, and the barrier is broken";
const EXPIRED: &str = "this process was silent for longer than its lease";

#[tokio::test]
async fn a_killed_process_breaks_the_barrier_for_all_within_its_lease() {
    let stage = Stage::new(3, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0"), stage.process("p1")];
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    let killed = Instant::now();
    p1.signal(Signal::SIGKILL);
    let error = p0.fails().await;
    let took = killed.elapsed();
    let says = format!("2 of 2 tasks stopped in generation {HERE}: process p1 {LOST}");
    assert!(error.contains(&says), "{error}");
    // etcd looks for leases that have ended twice a second.
    assert!(took < stage.ttl() + Duration::from_secs(2), "{took:?}");
    assert!(matches!(conductor.cross().await, Err(Failure::Broken(lost)) if lost == "p1"));

    // It stays broken, for the process that is started again as well.
    let error = stage.process("p1").fails().await;
    assert!(error.contains(&format!("process p1 {LOST}")), "{error}");

    let (history, tally) = stage.check().await;
    assert_eq!(
        history.len() as u64,
        HERE + 1,
        "the last one is the breaking"
    );
    assert_eq!(history[HERE as usize].lost.as_deref(), Some("p1"));
    assert_eq!(tally.counted as u64, 3 * HERE);
}

#[tokio::test]
async fn the_others_go_on_without_a_killed_process() {
    let stage = Stage::new(4, OnLoss::Continue).await;
    let mut conductor = stage.conductor().await;
    let [p0, p1, p2] = ["p0", "p1", "p2"].map(|name| stage.process(name));
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1", "p2"]).await;

    p2.signal(Signal::SIGKILL);
    stage.until_gone("p2").await;
    conductor.cross_until(ALL).await;
    for process in [p0, p1] {
        process.succeeds().await;
    }

    let (history, tally) = stage.check().await;
    for state in &history {
        let three_or_four = if state.generation <= HERE { 4 } else { 3 };
        assert_eq!(state.counted.len(), three_or_four, "{state:?}");
    }
    // It had arrived, and its arrival has gone with its lease.
    assert_eq!(tally.uncounted, 1);
}

#[tokio::test]
async fn a_process_that_paused_after_its_arrival_is_not_counted_when_it_comes_back() {
    let stage = Stage::new(4, OnLoss::Continue).await;
    let mut conductor = stage.conductor().await;
    let [p0, p1, p2] = ["p0", "p1", "p2"].map(|name| stage.process(name));
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1", "p2"]).await;

    for process in [&p1, &p2] {
        process.signal(Signal::SIGSTOP);
    }
    stage.until_gone("p1").await;
    stage.until_gone("p2").await;
    // One wakes up in the generation in which it had arrived, the other in the next.
    p1.signal(Signal::SIGCONT);
    let error = p1.fails().await;
    assert!(error.contains(EXPIRED), "{error}");
    conductor.cross_until(HERE + 1).await;
    p2.signal(Signal::SIGCONT);
    let error = p2.fails().await;
    assert!(error.contains(EXPIRED), "{error}");
    conductor.cross_until(ALL).await;
    p0.succeeds().await;

    let (history, tally) = stage.check().await;
    for state in &history {
        let two_or_four = if state.generation <= HERE { 4 } else { 2 };
        assert_eq!(state.counted.len(), two_or_four, "{state:?}");
    }
    assert_eq!(tally.uncounted, 2);
}

#[tokio::test]
async fn a_process_that_paused_before_its_arrival_is_not_counted_when_it_comes_back() {
    let stage = Stage::new(3, OnLoss::Continue).await;
    let mut conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0"), stage.process("p1")];
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    // It is counted, and released, but cannot know.
    p1.signal(Signal::SIGSTOP);
    conductor.cross_until(HERE + 1).await;
    stage.until_gone("p1").await;
    // It wakes up when the others are two generations further.
    conductor.cross_until(HERE + 2).await;
    p1.signal(Signal::SIGCONT);
    let error = p1.fails().await;
    assert!(error.contains(EXPIRED), "{error}");
    conductor.cross_until(ALL).await;
    p0.succeeds().await;

    let (history, _) = stage.check().await;
    let after = HERE as usize + 1;
    assert!(
        history[after..]
            .iter()
            .all(|state| !state.counted.contains_key("p1"))
    );
}

#[tokio::test]
async fn nobody_is_lost_when_etcd_is_killed_and_started_again() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0"), stage.process("p1")];
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    stage.etcd.kill().await;
    // The conductor arrives at an etcd that is not there, and for longer than a lease.
    let crossing = tokio::spawn(async move {
        conductor.cross_until(ALL).await;
    });
    tokio::time::sleep(stage.ttl() + Duration::from_secs(1)).await;
    assert!(!crossing.is_finished());
    stage.etcd.start_again().await;

    crossing.await.unwrap();
    for process in [p0, p1] {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.len() as u64, ALL);
    assert_eq!((tally.counted as u64, tally.uncounted), (3 * ALL, 0));
}

#[tokio::test]
async fn nobody_is_lost_when_etcd_goes_down_amid_the_crossings() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let processes = ["p0", "p1", "p2"].map(|name| stage.process_for(name, 1000));
    for generation in [100, 300, 500] {
        stage.until_complete(generation).await;
        stage.etcd.kill().await;
        stage.etcd.start_again().await;
    }
    for process in processes {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.len(), 1000);
    assert_eq!((tally.counted, tally.uncounted), (3 * 1000, 0));
}

#[test]
fn a_process_that_is_cut_off_is_not_counted_and_says_so() {
    let Some(network) = network::TwoHosts::new() else {
        return;
    };
    network.on_first_host(async |network| {
        let mut stage = Stage::at(network::FIRST, 4, OnLoss::Continue).await;
        let mut conductor = stage.conductor().await;
        let p0 = stage.process("p0");
        let gives_up = stage.process_on(network.second(), "p1", 4);
        let stays = stage.process_on(network.second(), "p2", 60);
        conductor.cross_until(HERE).await;
        stage.until_arrived(HERE, &["p0", "p1", "p2"]).await;

        network.cut();
        stage.until_gone("p1").await;
        stage.until_gone("p2").await;
        conductor.cross_until(HERE + 1).await;
        let error = gives_up.fails().await;
        assert!(error.contains("etcd cannot be reached"), "{error}");
        // With a new etcd there is no watch to tell what has happened, step by step: the process must
        // see from the state alone that the generation in which it had arrived is complete without it.
        stage.etcd.kill().await;
        stage.etcd.start_again().await;
        network.mend();
        let error = stays.fails().await;
        assert!(error.contains(EXPIRED), "{error}");
        conductor.cross_until(ALL).await;
        p0.succeeds().await;

        let (history, tally) = stage.check().await;
        for state in &history[HERE as usize..] {
            assert_eq!(Vec::from_iter(state.counted.keys()), ["conductor", "p0"]);
        }
        assert_eq!(tally.uncounted, 2);
    });
}

#[tokio::test]
async fn a_restarted_process_joins_the_present_generation_when_its_old_lease_has_ended() {
    let stage = Stage::new(3, OnLoss::Continue).await;
    let mut conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0"), stage.process("p1")];
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    let before = stage.lease_of("p1").await;
    p1.signal(Signal::SIGKILL);
    let again = stage.process("p1");
    stage::until("p1 has joined again", async || {
        ![before, None].contains(&stage.lease_of("p1").await)
    })
    .await;
    conductor.cross_until(ALL).await;
    for process in [p0, again] {
        process.succeeds().await;
    }

    let (history, tally) = stage.check().await;
    let lease = |generation: u64| history[generation as usize].counted.get("p1").copied();
    assert_eq!(lease(HERE - 1), before);
    assert_ne!(lease(HERE), before);
    assert_eq!(lease(HERE), lease(ALL - 1));
    assert_eq!((tally.counted as u64, tally.uncounted), (3 * ALL, 1));
}

#[tokio::test]
async fn a_process_that_joins_is_needed_in_the_present_generation() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let p0 = stage.process("p0");
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;

    let mut late = stage.member("late").await;
    assert_eq!(late.rendezvous.generation(), HERE);
    let crossing = tokio::spawn(async move {
        conductor.cross_until(ALL).await;
    });
    // The conductor came last of those that were there before, and has not completed.
    stage.until_arrived(HERE, &["p0", "conductor"]).await;
    late.cross_until(ALL).await;
    crossing.await.unwrap();
    p0.succeeds().await;

    let (history, _) = stage.check().await;
    assert!(!history[HERE as usize - 1].counted.contains_key("late"));
    assert!(history[HERE as usize].counted.contains_key("late"));
}

#[tokio::test]
async fn a_process_whose_lease_has_ended_completes_nothing_even_before_it_knows() {
    let mut stage = Stage::new(2, OnLoss::Continue).await;
    stage.terms.ttl = 60;
    let mut member = stage.member("member").await;
    let p0 = stage.process("p0");
    member.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;

    // All others are there, and nobody acts on the end of the lease: it is for the member to
    // complete the generation, as far as it knows.
    p0.signal(Signal::SIGSTOP);
    stage.etcd.revoke(member.rendezvous.lease()).await;
    let outcome = member.cross().await;
    assert!(matches!(outcome, Err(Failure::Expired)), "{outcome:?}");

    p0.signal(Signal::SIGCONT);
    p0.succeeds().await;
    let (history, _) = stage.check().await;
    assert_eq!(history.len() as u64, ALL);
    assert_eq!(history[HERE as usize].counted.len(), 1);
}

#[tokio::test]
async fn a_crossing_that_is_dropped_at_any_point_and_called_again_completes_once() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let mut member = stage.member("member").await;
    let mut crossings = 0;
    for polls in 1..=20 {
        let first = polled_at_most(polls, member.cross()).await;
        let outcome = match first {
            Some(outcome) => outcome,
            None => member.cross().await,
        };
        assert_eq!(outcome.unwrap(), 1);
        crossings += 1;
        assert_eq!(member.rendezvous.generation(), crossings);
    }
    let generations: Vec<_> = stage
        .history()
        .await
        .iter()
        .map(|state| state.generation)
        .collect();
    assert_eq!(generations, Vec::from_iter(1..=crossings));
}

/// Drops the future if it is not ready after so many polls.
async fn polled_at_most<F: Future>(mut polls: u32, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        polls -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[tokio::test]
async fn the_first_generation_waits_until_all_have_joined() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let crossing = tokio::spawn(async move {
        conductor.cross_until(ALL).await;
    });
    stage.until_arrived(0, &["conductor"]).await;
    let p0 = stage.process("p0");
    crossing.await.unwrap();
    p0.succeeds().await;
    let (_, tally) = stage.check().await;
    assert_eq!(tally.counted as u64, 2 * ALL);
    assert!(!stage.has_arrived(0, "conductor").await, "forgotten since");
}

#[tokio::test]
async fn a_process_that_dies_before_it_was_ever_counted_breaks_nothing() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let p0 = stage.process("p0");
    conductor.cross_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;
    let guest = stage.process("guest");
    stage.until_arrived(HERE, &["p0", "guest"]).await;

    guest.signal(Signal::SIGKILL);
    stage.until_gone("guest").await;
    conductor.cross_until(ALL).await;
    p0.succeeds().await;
    let (_, tally) = stage.check().await;
    assert_eq!((tally.counted as u64, tally.uncounted), (2 * ALL, 1));
}

#[tokio::test]
async fn a_second_process_of_the_same_name_is_refused() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let p0 = stage.process("p0");
    conductor.cross_until(1).await;
    let error = stage.impatient("p0").fails().await;
    assert!(
        error.contains("a live process has the name p0 already"),
        "{error}"
    );
    conductor.cross_until(ALL).await;
    p0.succeeds().await;
    stage.check().await;
}

#[tokio::test]
async fn a_leader_that_is_cancelled_on_its_way_releases_the_others_with_an_error() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let mut conductor = stage.conductor().await;
    let crossing = Crossing::new(2, stage.member("local").await.rendezvous);

    let mut first = Box::pin(crossing.wait(|| Ok(())));
    assert!(first.as_mut().now_or_never().is_none());
    tokio::select! {
        _ = crossing.wait(|| Ok(())) => panic!("the conductor has not come"),
        () = stage.until_arrived(0, &["local"]) => {}
    }
    let error = first.now_or_never().expect("released").unwrap_err();
    assert_eq!(error.to_string(), "the leader never came back");

    // The next two tasks go on where that leader was.
    let (a, b, c) = tokio::join!(
        in_time(crossing.wait(|| Ok(()))),
        in_time(crossing.wait(|| Ok(()))),
        conductor.cross(),
    );
    assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (2, 2, 2));
}

#[tokio::test]
async fn work_that_cannot_be_recorded_stops_the_process_before_it_arrives() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let _conductor = stage.conductor().await;
    let crossing = Crossing::new(1, stage.member("local").await.rendezvous);
    let outcome = in_time(crossing.wait(|| anyhow::bail!("the disk is full"))).await;
    assert_eq!(outcome.unwrap_err().to_string(), "the disk is full");
    assert!(!stage.has_arrived(0, "local").await);
}
