//! Faults, with real processes and a real etcd of three members. Most tests take part as a member
//! themselves, the conductor: as long as it does not arrive, the current generation stands still.

mod support;

use std::time::Duration;

use atomic_barrier_etcd::{
    Error, OnLoss,
    etcd_client::{Client, CompactionOptions},
};
use nix::sys::signal::Signal;

use self::support::{Stage, in_time, network, proxy::Proxy, until};

/// Generations that the processes are to make, with [`support::TASKS`] tasks each.
const ALL: u64 = 8;
/// The generation that something happens in.
const HERE: u64 = 3;

const LOST: &str = "was lost: its lease has ended, and the barrier is broken";
const EXPIRED: &str = "this process was silent for longer than its lease";

// Processes.

#[tokio::test]
async fn a_killed_process_breaks_the_barrier_for_all() {
    let stage = Stage::new(3, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0", ALL), stage.mortal("p1", ALL)];
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    p1.signal(Signal::SIGKILL);
    let error = p0.fails().await;
    let says = format!("2 of 2 tasks stopped in generation {HERE}: process p1 {LOST}");
    assert!(error.contains(&says), "{error}");
    let error = conductor.wait().await.unwrap_err();
    assert!(matches!(error, Error::Lost { process } if process.as_deref() == Some("p1")));

    // It stays broken, for the process that is started again as well.
    let error = stage.process("p1", ALL).fails().await;
    assert!(error.contains(&format!("process p1 {LOST}")), "{error}");

    let (history, tally) = stage.check().await;
    assert_eq!(history.lost.as_deref(), Some("p1"));
    assert_eq!(history.counted.len() as u64, HERE);
    assert_eq!(tally.counted as u64, 3 * HERE);
}

#[tokio::test]
async fn the_others_go_on_without_a_killed_process() {
    let stage = Stage::new(4, OnLoss::Continue).await;
    let conductor = stage.conductor().await;
    let [p0, p1] = ["p0", "p1"].map(|name| stage.process(name, ALL));
    let p2 = stage.mortal("p2", ALL);
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1", "p2"]).await;

    p2.signal(Signal::SIGKILL);
    stage.until_gone("p2").await;
    conductor.wait_until(ALL).await;
    for process in [p0, p1] {
        process.succeeds().await;
    }

    let (history, tally) = stage.check().await;
    for (generation, counted) in (0..).zip(&history.counted) {
        assert_eq!(counted.len(), if generation < HERE { 4 } else { 3 });
    }
    // It had arrived, and its arrival has gone with its lease.
    assert_eq!(tally.uncounted, 1);
}

#[tokio::test]
async fn processes_that_wait_go_on_when_the_last_that_was_missing_is_killed() {
    let stage = Stage::new(3, OnLoss::Continue).await;
    let missing = stage.member("missing").await;
    let [p0, p1] = ["p0", "p1"].map(|name| stage.process(name, ALL));
    missing.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;
    // Nobody arrives any more: one of those that wait completes the generation.
    stage.revoke(missing.barrier.lease()).await;
    for process in [p0, p1] {
        process.succeeds().await;
    }
    let (history, _) = stage.check().await;
    assert_eq!(history.counted[HERE as usize].len(), 2);
}

#[tokio::test]
async fn a_process_that_paused_after_its_arrival_is_not_counted_when_it_comes_back() {
    let stage = Stage::new(4, OnLoss::Continue).await;
    let conductor = stage.conductor().await;
    let p0 = stage.process("p0", ALL);
    let [p1, p2] = ["p1", "p2"].map(|name| stage.mortal(name, ALL));
    conductor.wait_until(HERE).await;
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
    conductor.wait_until(HERE + 1).await;
    p2.signal(Signal::SIGCONT);
    let error = p2.fails().await;
    assert!(error.contains(EXPIRED), "{error}");
    conductor.wait_until(ALL).await;
    p0.succeeds().await;

    let (history, tally) = stage.check().await;
    for (generation, counted) in (0..).zip(&history.counted) {
        assert_eq!(counted.len(), if generation < HERE { 4 } else { 2 });
    }
    assert_eq!(tally.uncounted, 2);
}

#[tokio::test]
async fn a_process_that_was_counted_while_it_paused_learns_of_both_when_it_comes_back() {
    let stage = Stage::new(3, OnLoss::Continue).await;
    let conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0", ALL), stage.mortal("p1", ALL)];
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    // It is counted, and released, but cannot know.
    p1.signal(Signal::SIGSTOP);
    conductor.wait_until(HERE + 1).await;
    stage.until_gone("p1").await;
    // It wakes up when the others are two generations further.
    conductor.wait_until(HERE + 2).await;
    p1.signal(Signal::SIGCONT);
    let error = p1.fails().await;
    assert!(error.contains(EXPIRED), "{error}");
    let says = format!("stopped in generation {}", HERE + 1);
    assert!(error.contains(&says), "{error}");
    conductor.wait_until(ALL).await;
    p0.succeeds().await;

    let (history, _) = stage.check().await;
    let without = &history.counted[HERE as usize + 1..];
    assert!(without.iter().all(|counted| !counted.contains_key("p1")));
}

#[tokio::test]
async fn a_restarted_process_joins_the_current_generation_when_its_old_lease_has_ended() {
    let stage = Stage::new(3, OnLoss::Continue).await;
    let conductor = stage.conductor().await;
    let [p0, p1] = [stage.process("p0", ALL), stage.mortal("p1", ALL)];
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    let before = stage.lease_of("p1").await;
    p1.signal(Signal::SIGKILL);
    let again = stage.process("p1", ALL);
    until("p1 has joined again", async || {
        ![before, None].contains(&stage.lease_of("p1").await)
    })
    .await;
    conductor.wait_until(ALL).await;
    for process in [p0, again] {
        process.succeeds().await;
    }

    let (history, tally) = stage.check().await;
    let lease = |generation: u64| history.counted[generation as usize].get("p1").copied();
    assert_eq!(lease(HERE - 1), before);
    assert_ne!(lease(HERE), before);
    assert_eq!(lease(HERE), lease(ALL - 1));
    assert_eq!((tally.counted as u64, tally.uncounted), (3 * ALL, 1));
}

#[tokio::test]
async fn a_process_that_joins_is_needed_in_the_current_generation() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let p0 = stage.process("p0", ALL);
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;

    let late = stage.member("late").await;
    assert_eq!(late.barrier.generation(), HERE);
    let wait = tokio::spawn(async move { conductor.wait_until(ALL).await });
    // The conductor came last of those that were there before, and has not completed.
    stage.until_arrived(HERE, &["p0", "conductor"]).await;
    late.wait_until(ALL).await;
    wait.await.unwrap();
    p0.succeeds().await;

    let (history, _) = stage.check().await;
    assert!(!history.counted[HERE as usize - 1].contains_key("late"));
    assert!(history.counted[HERE as usize].contains_key("late"));
}

/// `m` arrives, then `z` joins, and `n` arrives without knowing that. By its name `z`
/// comes after all that `n` knows. It arrives before `n`, or after it.
async fn a_process_joins_unknown_to_the_last(arrives_first: bool) {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let proxy = Proxy::new(stage.etcd.endpoint(0)).await;
    let first = stage.member("m").await;
    let builder = stage.builder("n").endpoints([proxy.endpoint()]);
    let last = stage.member_by(builder).await;
    let first = async {
        first.work();
        first.wait().await.unwrap()
    };
    let others = async {
        stage.until_arrived(0, &["m"]).await;
        proxy.hold_answers();
        let joined = stage.member("z").await;
        let last = async {
            if arrives_first {
                stage.until_arrived(0, &["z"]).await;
            }
            last.work();
            last.wait().await.unwrap()
        };
        let joined = async {
            if !arrives_first {
                stage.until_arrived(0, &["n"]).await;
            }
            joined.work();
            joined.wait().await.unwrap()
        };
        let passes = async {
            // It has not completed the generation.
            stage.until_arrived(0, &["n"]).await;
            proxy.pass_answers();
        };
        tokio::join!(last, joined, passes)
    };
    let (first, (last, joined, ())) = tokio::join!(first, others);
    for result in [first, last, joined] {
        assert_eq!(result.processes(), 3);
    }
    stage.check().await;
}

#[tokio::test]
async fn a_process_that_joins_unknown_to_the_last_to_arrive_is_waited_for() {
    a_process_joins_unknown_to_the_last(false).await;
}

#[tokio::test]
async fn a_process_that_was_the_last_without_knowing_it_completes_when_it_does() {
    a_process_joins_unknown_to_the_last(true).await;
}

#[tokio::test]
async fn the_first_generation_waits_until_all_have_joined() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let wait = tokio::spawn(async move { conductor.wait_until(ALL).await });
    stage.until_arrived(0, &["conductor"]).await;
    let p0 = stage.process("p0", ALL);
    wait.await.unwrap();
    p0.succeeds().await;
    let (_, tally) = stage.check().await;
    assert_eq!(tally.counted as u64, 2 * ALL);
}

#[tokio::test]
async fn a_process_that_dies_before_it_was_ever_counted_breaks_nothing() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let p0 = stage.process("p0", ALL);
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;
    let joined = stage.mortal("other", ALL);
    stage.until_arrived(HERE, &["p0", "other"]).await;

    joined.signal(Signal::SIGKILL);
    stage.until_gone("other").await;
    // What is gone in etcd may not have been heard of here.
    let mut members = conductor.barrier.members();
    use futures::StreamExt;
    while in_time(members.next()).await.unwrap().contains_key("other") {}
    conductor.wait_until(ALL).await;
    p0.succeeds().await;
    let (_, tally) = stage.check().await;
    assert_eq!((tally.counted as u64, tally.uncounted), (2 * ALL, 1));
}

#[tokio::test]
async fn a_second_process_of_the_same_name_is_refused() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let p0 = stage.process("p0", ALL);
    conductor.wait_until(1).await;
    let error = stage.impatient("p0", ALL, 1).fails().await;
    assert!(
        error.contains("a live process has the name p0 already"),
        "{error}"
    );
    conductor.wait_until(ALL).await;
    p0.succeeds().await;
    stage.check().await;
}

// The transaction that completes.

#[tokio::test]
async fn a_process_whose_lease_has_ended_completes_nothing_even_before_it_knows() {
    let stage = Stage::new(2, OnLoss::Continue).await;
    let proxy = Proxy::new(stage.etcd.endpoint(0)).await;
    let builder = stage.builder("member").endpoints([proxy.endpoint()]);
    let member = stage.member_by(builder).await;
    let p0 = stage.process("p0", ALL);
    member.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;

    // All others are there: it is for the member to complete the generation, as far as it knows.
    p0.signal(Signal::SIGSTOP);
    proxy.hold_answers();
    stage.revoke(member.barrier.lease()).await;
    member.work();
    let wait = member.wait();
    let passes = async {
        // Time to ask, before it hears of its end. If it was too short, it does not ask.
        tokio::time::sleep(Duration::from_millis(200)).await;
        proxy.pass_answers();
    };
    let (outcome, ()) = tokio::join!(wait, passes);
    assert!(matches!(outcome, Err(Error::Expired)), "{outcome:?}");

    p0.signal(Signal::SIGCONT);
    p0.succeeds().await;
    let (history, _) = stage.check().await;
    assert_eq!(history.counted.len() as u64, ALL);
    assert_eq!(history.counted[HERE as usize].len(), 1);
}

/// The completing process does not know that another's lease has ended: its comparisons hold, as what has
/// gone is not there to differ.
async fn a_lease_ends_in_the_transaction_that_completes(
    on_loss: OnLoss,
) -> (Stage, Result<usize, Error>) {
    let stage = Stage::new(3, on_loss).await;
    let proxy = Proxy::new(stage.etcd.endpoint(0)).await;
    let builder = stage.builder("conductor").endpoints([proxy.endpoint()]);
    let conductor = stage.member_by(builder).await;
    let [p0, p1] = ["p0", "p1"].map(|name| stage.process(name, ALL));
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    // Nor can anybody else tell etcd.
    for process in [&p0, &p1] {
        process.signal(Signal::SIGSTOP);
    }
    proxy.hold_answers();
    stage.revoke(stage.lease_of("p1").await.unwrap()).await;
    conductor.work();
    let wait = conductor.wait();
    let passes = async {
        stage.until_complete(HERE + 1).await;
        proxy.pass_answers();
    };
    let (outcome, ()) = tokio::join!(wait, passes);
    for process in [&p0, &p1] {
        process.signal(Signal::SIGCONT);
    }
    let error = p1.fails().await;
    if on_loss == OnLoss::Continue {
        assert!(error.contains(EXPIRED), "{error}");
        conductor.wait_until(ALL).await;
        p0.succeeds().await;
    } else {
        let error = p0.fails().await;
        assert!(error.contains(&format!("process p1 {LOST}")), "{error}");
    }
    (stage, outcome.map(|result| result.processes()))
}

#[tokio::test]
async fn a_lease_that_ends_in_the_transaction_that_completes_is_not_counted() {
    let (stage, outcome) = a_lease_ends_in_the_transaction_that_completes(OnLoss::Continue).await;
    assert_eq!(outcome.unwrap(), 2);
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len() as u64, ALL);
    let counted: Vec<_> = history.counted[HERE as usize].keys().collect();
    assert_eq!(counted, ["conductor", "p0"]);
    assert_eq!(tally.uncounted, 1);
}

#[tokio::test]
async fn a_lease_that_ends_in_the_transaction_that_completes_breaks_a_barrier_that_fails() {
    let (stage, outcome) = a_lease_ends_in_the_transaction_that_completes(OnLoss::Fail).await;
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Lost { process } if process.as_deref() == Some("p1")));
    // It is as if that transaction had never been: no process was told that it is complete.
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len() as u64, HERE);
    assert_eq!(tally.uncounted, 3);
}

#[tokio::test]
async fn a_transaction_whose_answer_was_lost_is_made_again_and_does_nothing() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let proxy = Proxy::new(stage.etcd.endpoint(0)).await;
    let builder = stage.builder("conductor").endpoints([proxy.endpoint()]);
    let conductor = stage.member_by(builder).await;
    let p0 = stage.process("p0", ALL);
    while conductor.barrier.generation() < ALL {
        let generation = conductor.barrier.generation();
        conductor.work();
        // Whether it arrives or completes, etcd has taken it and the answer is lost.
        proxy.hold_answers();
        let wait = conductor.wait();
        let loses = async {
            until("etcd has taken it", async || {
                let state = stage.value("state").await;
                let complete = format!("complete {} ", generation + 1);
                state.is_some_and(|(state, _)| state.starts_with(&complete))
                    || stage.has_arrived(generation, "conductor").await
            })
            .await;
            proxy.lose_answers();
        };
        let (outcome, ()) = tokio::join!(wait, loses);
        assert_eq!(outcome.unwrap().processes(), 2);
    }
    p0.succeeds().await;
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len() as u64, ALL);
    assert_eq!((tally.counted as u64, tally.uncounted), (2 * ALL, 0));
}

// etcd.

#[tokio::test]
async fn a_generation_is_completed_once_when_the_etcd_leader_is_killed_in_the_middle() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let [p0, p1] = ["p0", "p1"].map(|name| stage.process(name, ALL));
    for generation in 0..ALL {
        conductor.wait_until(generation).await;
        stage.until_arrived(generation, &["p0", "p1"]).await;
        if generation % 2 == 1 {
            let leader = stage.etcd.leader().await.unwrap();
            stage.etcd.kill(leader).await.unwrap();
            // By the next leader.
            conductor.wait_until(generation + 1).await;
            stage.etcd.restart(leader).unwrap();
            stage.etcd.until_serves(leader).await.unwrap();
        }
    }
    for process in [p0, p1] {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len() as u64, ALL);
    assert_eq!((tally.counted as u64, tally.uncounted), (3 * ALL, 0));
}

#[tokio::test]
async fn nobody_is_lost_when_etcd_leaders_are_killed_amid_the_waits() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let processes = ["p0", "p1", "p2"].map(|name| stage.process(name, 400));
    for generation in [100, 200, 300] {
        stage.until_complete(generation).await;
        let leader = stage.etcd.leader().await.unwrap();
        stage.etcd.kill(leader).await.unwrap();
        stage.until_complete(generation + 20).await;
        stage.etcd.restart(leader).unwrap();
        stage.etcd.until_serves(leader).await.unwrap();
    }
    for process in processes {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len(), 400);
    assert_eq!((tally.counted, tally.uncounted), (3 * 400, 0));
}

#[tokio::test]
async fn nobody_is_lost_when_a_follower_is_killed_and_started_again() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let processes = ["p0", "p1", "p2"].map(|name| stage.process(name, 300));
    for generation in [100, 200] {
        stage.until_complete(generation).await;
        let follower = (stage.etcd.leader().await.unwrap() + 1) % 3;
        stage.etcd.kill(follower).await.unwrap();
        stage.until_complete(generation + 20).await;
        stage.etcd.restart(follower).unwrap();
        stage.etcd.until_serves(follower).await.unwrap();
    }
    for process in processes {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len(), 300);
    assert_eq!((tally.counted, tally.uncounted), (3 * 300, 0));
}

#[tokio::test]
async fn processes_wait_for_a_quorum_and_go_on_when_it_is_back() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let p0 = stage.process("p0", ALL);
    // Its lease would have ended, but for etcd's leader, which gives each a full time when it is elected.
    let p1 = stage.mortal("p1", ALL);
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;

    for index in [0, 1] {
        stage.etcd.kill(index).await.unwrap();
    }
    conductor.work();
    let wait = tokio::spawn(async move {
        conductor.wait().await.unwrap();
        conductor
    });
    // Longer than p1's lease.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert!(!wait.is_finished());
    for index in [0, 1] {
        stage.etcd.restart(index).unwrap();
    }
    let conductor = in_time(wait).await.unwrap();
    conductor.wait_until(ALL).await;
    for process in [p0, p1] {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len() as u64, ALL);
    assert_eq!((tally.counted as u64, tally.uncounted), (3 * ALL, 0));
}

#[tokio::test]
async fn a_process_gives_up_when_there_is_no_quorum_for_longer_than_it_is_patient() {
    let mut stage = Stage::new(2, OnLoss::Continue).await;
    let conductor = stage.conductor().await;
    let p0 = stage.impatient("p0", ALL, 3);
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0"]).await;

    for index in [0, 1] {
        stage.etcd.kill(index).await.unwrap();
    }
    let error = p0.fails().await;
    let at = stage.etcd.endpoints().join(", ");
    let says = format!("stopped in generation {HERE}: etcd at {at} cannot be reached: ");
    assert!(error.contains(&says), "{error}");
    for index in [0, 1] {
        stage.etcd.restart(index).unwrap();
        stage.etcd.until_serves(index).await.unwrap();
    }
    // It could not say that it went: its lease has to end.
    if let Some(lease) = stage.lease_of("p0").await {
        stage.revoke(lease).await;
    }
    conductor.wait_until(ALL).await;
    stage.check().await;
}

#[tokio::test]
async fn nobody_is_lost_when_all_of_etcd_is_killed_and_started_again() {
    let mut stage = Stage::new(3, OnLoss::Fail).await;
    let processes = ["p0", "p1", "p2"].map(|name| stage.process(name, 300));
    for generation in [100, 200] {
        stage.until_complete(generation).await;
        stage.etcd.kill_all().await.unwrap();
        stage.etcd.restart_all().await.unwrap();
    }
    for process in processes {
        process.succeeds().await;
    }
    let (history, tally) = stage.check().await;
    assert_eq!(history.counted.len(), 300);
    assert_eq!((tally.counted, tally.uncounted), (3 * 300, 0));
}

/// Stops two processes that have arrived, completes the generation, makes etcd forget all that has happened
/// up to here, and lets them go on.
async fn history_is_compacted_while_two_are_stopped(
    on_loss: OnLoss,
    ends: bool,
) -> (
    Stage,
    [support::Process; 2],
    support::Member,
    Vec<support::history::Event>,
) {
    let mut stage = Stage::new(3, on_loss).await;
    let conductor = stage.conductor().await;
    let [p0, p1] = ["p0", "p1"].map(|name| stage.process(name, ALL));
    conductor.wait_until(HERE).await;
    stage.until_arrived(HERE, &["p0", "p1"]).await;
    for process in [&p0, &p1] {
        process.signal(Signal::SIGSTOP);
    }
    conductor.wait_until(HERE + 1).await;
    if ends {
        stage.revoke(stage.lease_of("p1").await.unwrap()).await;
    }
    // What is on its way to them is lost with the servers.
    stage.etcd.kill_all().await.unwrap();
    stage.etcd.restart_all().await.unwrap();
    let before = stage.events(1).await;
    let mut client = stage.client().await;
    let now = client
        .get("now", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    let physical = CompactionOptions::new().with_physical();
    client.compact(now, Some(physical)).await.unwrap();
    for process in [&p0, &p1] {
        process.signal(Signal::SIGCONT);
    }
    (stage, [p0, p1], conductor, before)
}

/// Of what was read before the history was compacted, and what came after.
async fn events_since(
    stage: &Stage,
    mut before: Vec<support::history::Event>,
) -> Vec<support::history::Event> {
    let last = before.last().unwrap().revision;
    // The key that ends a reading has no part in it.
    before.extend(stage.events(last + 2).await);
    before
}

#[tokio::test]
async fn a_process_that_paused_while_history_was_compacted_knows_that_it_was_counted() {
    let (stage, processes, conductor, before) =
        history_is_compacted_while_two_are_stopped(OnLoss::Fail, false).await;
    conductor.wait_until(ALL).await;
    for process in processes {
        process.succeeds().await;
    }
    let events = events_since(&stage, before).await;
    let (history, tally) = stage.check_events(&events);
    assert_eq!(history.counted.len() as u64, ALL);
    assert_eq!((tally.counted as u64, tally.uncounted), (3 * ALL, 0));
}

#[tokio::test]
async fn a_process_that_is_lost_while_history_is_compacted_says_so_and_the_others_go_on() {
    let (stage, [p0, p1], conductor, before) =
        history_is_compacted_while_two_are_stopped(OnLoss::Continue, true).await;
    let error = p1.fails().await;
    assert!(error.contains(EXPIRED), "{error}");
    conductor.wait_until(ALL).await;
    p0.succeeds().await;
    let events = events_since(&stage, before).await;
    let (history, _) = stage.check_events(&events);
    assert_eq!(history.counted.len() as u64, ALL);
    assert_eq!(history.counted[ALL as usize - 1].len(), 2);
}

#[tokio::test]
async fn a_loss_that_nobody_can_have_seen_breaks_the_barrier_all_the_same() {
    let (stage, [p0, p1], conductor, before) =
        history_is_compacted_while_two_are_stopped(OnLoss::Fail, true).await;
    for process in [p0, p1] {
        let error = process.fails().await;
        assert!(error.contains(&format!("process p1 {LOST}")), "{error}");
    }
    assert!(matches!(conductor.wait().await, Err(Error::Lost { .. })));
    let events = events_since(&stage, before).await;
    let (history, _) = stage.check_events(&events);
    assert_eq!(history.counted.len() as u64, HERE + 1);
}

// The network.

#[test]
fn a_process_that_is_cut_off_is_not_counted_and_says_so() {
    let Some(network) = network::TwoHosts::new() else {
        return;
    };
    network.on_first_host(async |network| {
        let etcd = support::etcd::Etcd::start_with(3, Some(network::FIRST), &[]);
        let mut stage = Stage::on(etcd.await.unwrap(), 4, OnLoss::Continue);
        let conductor = stage.conductor().await;
        let p0 = stage.process("p0", ALL);
        let gives_up = stage.mortal_on(network.second(), "p1", ALL, 6);
        let stays = stage.mortal_on(network.second(), "p2", ALL, 100);
        conductor.wait_until(HERE).await;
        stage.until_arrived(HERE, &["p0", "p1", "p2"]).await;

        network.cut();
        stage.until_gone("p1").await;
        stage.until_gone("p2").await;
        conductor.wait_until(HERE + 1).await;
        let error = gives_up.fails().await;
        assert!(error.contains("cannot be reached"), "{error}");
        stage.etcd.kill_all().await.unwrap();
        stage.etcd.restart_all().await.unwrap();
        network.mend();
        let error = stays.fails().await;
        assert!(error.contains(EXPIRED), "{error}");
        conductor.wait_until(ALL).await;
        p0.succeeds().await;

        let (history, tally) = stage.check().await;
        for counted in &history.counted[HERE as usize..] {
            assert_eq!(Vec::from_iter(counted.keys()), ["conductor", "p0"]);
        }
        assert_eq!(tally.uncounted, 2);
    });
}

#[tokio::test]
async fn etcd_keeps_no_more_than_it_should_of_a_barrier_that_has_ended() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let member = stage.member("member").await;
    member.wait_until(HERE).await;
    member.barrier.leave().await.unwrap();
    let mut client: Client = stage.client().await;
    let all = atomic_barrier_etcd::etcd_client::GetOptions::new().with_prefix();
    let found = client
        .get(format!("{}/", support::BARRIER), Some(all))
        .await
        .unwrap();
    let keys: Vec<_> = found.kvs().iter().map(|kv| kv.key_str().unwrap()).collect();
    assert_eq!(keys, ["stage/state", "stage/terms"]);
}
