//! What the library's methods do, in one process and between two; and what is left when they are dropped.

mod support;

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use atomic_barrier_etcd::{Error, EtcdBarrier, OnLoss};
use futures::{FutureExt, StreamExt, future::join_all};
use tokio::task::JoinSet;

use self::support::{BARRIER, Stage, in_time, polled_at_most, until};

async fn join(stage: &Stage, name: &str, tasks: usize) -> EtcdBarrier {
    in_time(stage.builder(name).tasks(tasks).join())
        .await
        .unwrap()
}

#[tokio::test]
async fn all_tasks_of_all_processes_meet_and_one_of_them_leads() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let processes = [join(&stage, "a", 3).await, join(&stage, "b", 2).await].map(Arc::new);
    for generation in 0..5 {
        let mut tasks = JoinSet::new();
        for barrier in &processes {
            for _ in 0..barrier.tasks() {
                let barrier = barrier.clone();
                tasks.spawn(async move { in_time(barrier.wait()).await.unwrap() });
            }
        }
        let results = tasks.join_all().await;
        assert_eq!(results.len(), 5);
        for result in &results {
            assert_eq!((result.generation(), result.processes()), (generation, 2));
        }
        let leaders = results.iter().filter(|result| result.is_leader());
        assert_eq!(leaders.count(), 1);
    }
    assert_eq!(processes[0].generation(), 5);
}

#[tokio::test]
async fn more_tasks_than_parties_take_turns_and_each_learns_of_its_own_generation() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = Arc::new(join(&stage, "a", 2).await);
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let barrier = barrier.clone();
        tasks.spawn(async move { in_time(barrier.wait()).await.unwrap() });
    }
    let mut met = BTreeMap::<u64, u32>::new();
    for result in tasks.join_all().await {
        *met.entry(result.generation()).or_default() += 1;
    }
    assert_eq!(met, (0..5).map(|generation| (generation, 2)).collect());
}

#[tokio::test]
async fn a_task_that_is_slow_to_look_learns_of_its_own_generation() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = join(&stage, "a", 2).await;
    let mut slow = Box::pin(barrier.wait());
    assert!(slow.as_mut().now_or_never().is_none());
    in_time(barrier.wait()).await.unwrap();
    // It has been released and has not looked. The next generation is not to end before it does, however much
    // time there is.
    let looks = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        in_time(slow).await
    };
    let next = async || in_time(barrier.wait()).await;
    let (third, fourth, slow) = tokio::join!(next(), next(), looks);
    let generations = [slow, third, fourth].map(|result| result.unwrap().generation());
    assert_eq!(generations, [0, 1, 1]);
}

#[tokio::test]
async fn the_leader_acts_while_all_others_stay_blocked_everywhere() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let (a, b) = (join(&stage, "a", 2).await, join(&stage, "b", 2).await);
    for generation in 0..3 {
        let mut waiting = Vec::from([
            Box::pin(a.wait_leader()),
            Box::pin(a.wait_leader()),
            Box::pin(b.wait_leader()),
        ]);
        // All but the last of the tasks have arrived.
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        stage.until_arrived(generation, &["a"]).await;
        let leader = in_time(b.wait_leader())
            .await
            .unwrap()
            .expect("it came last");
        assert_eq!(leader.result().generation(), generation);
        assert!(leader.result().is_leader());
        // A moment in which they would be released.
        let state = format!("held {} 2 ", generation + 1);
        let (value, _) = stage.value("state").await.unwrap();
        assert!(value.starts_with(&state), "{value}");
        for wait in &mut waiting {
            assert!(wait.as_mut().now_or_never().is_none());
        }
        in_time(leader.release()).await.unwrap();
        for outcome in in_time(join_all(waiting)).await {
            assert!(outcome.unwrap().is_none());
        }
    }
    assert_eq!(stage.check_held(3).await, ["b", "b", "b"]);
}

#[tokio::test]
async fn processes_meet_in_two_levels() {
    const GROUPS: usize = 2;
    let stage = Stage::new(2, OnLoss::Fail).await;
    let at = |level: &str, processes, name: &str| {
        EtcdBarrier::builder(level)
            .process(name)
            .processes(processes)
            .endpoints(stage.etcd.endpoints())
            .ttl(Duration::from_secs(120))
    };
    let done = Arc::new(AtomicU32::new(0));
    let mut processes = JoinSet::new();
    for group in 0..GROUPS {
        for number in 0..2 {
            let lower = at(&format!("group-{group}"), 2, &format!("p{number}")).join();
            let upper = at("groups", GROUPS, &format!("group-{group}")).join();
            let done = done.clone();
            processes.spawn(async move {
                let lower = in_time(lower).await.unwrap();
                let upper = match number {
                    0 => Some(in_time(upper).await.unwrap()),
                    _ => None,
                };
                for generation in 1..=3 {
                    done.fetch_add(1, Relaxed);
                    in_time(lower.wait()).await.unwrap();
                    if let Some(upper) = &upper {
                        in_time(upper.wait()).await.unwrap();
                    }
                    in_time(lower.wait()).await.unwrap();
                    // All of all groups have done their part, and none is ahead by more than one.
                    let all = done.load(Relaxed);
                    assert!((4 * generation..4 * generation + 4).contains(&all), "{all}");
                }
                (lower, upper)
            });
        }
    }
    assert_eq!(processes.join_all().await.len(), 4);
}

#[tokio::test]
async fn a_leader_that_is_dropped_releases_all() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let (a, b) = (join(&stage, "a", 1).await, join(&stage, "b", 1).await);
    for generation in 0..3 {
        let mut follower = pin!(a.wait());
        assert!(follower.as_mut().now_or_never().is_none());
        stage.until_arrived(generation, &["a"]).await;
        drop(
            in_time(b.wait_leader())
                .await
                .unwrap()
                .expect("it came last"),
        );
        assert_eq!(in_time(follower).await.unwrap().generation(), generation);
        assert_eq!(b.generation(), generation + 1);
    }
}

#[tokio::test]
async fn a_leader_that_is_lost_while_it_acts_releases_the_others_where_they_go_on() {
    let stage = Stage::new(3, OnLoss::Continue).await;
    let [a, b, c] = [
        join(&stage, "a", 1).await,
        join(&stage, "b", 1).await,
        join(&stage, "c", 1).await,
    ];
    let followers = async { tokio::join!(in_time(a.wait()), in_time(b.wait())) };
    let leads = async {
        stage.until_arrived(0, &["a", "b"]).await;
        let leader = in_time(c.wait_leader())
            .await
            .unwrap()
            .expect("it came last");
        stage.revoke(c.lease()).await;
        in_time(leader.release()).await
    };
    let ((a, b), outcome) = tokio::join!(followers, leads);
    assert_eq!((a.unwrap().processes(), b.unwrap().processes()), (3, 3));
    // It may have been in time, but not in the next generation.
    if outcome.is_ok() {
        assert!(matches!(in_time(c.wait()).await, Err(Error::Expired)));
    }
}

#[tokio::test]
async fn a_leader_that_is_lost_while_it_acts_breaks_a_barrier_that_fails() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let (a, b) = (join(&stage, "a", 1).await, join(&stage, "b", 1).await);
    let leads = async {
        stage.until_arrived(0, &["a"]).await;
        let leader = in_time(b.wait_leader())
            .await
            .unwrap()
            .expect("it came last");
        stage.revoke(b.lease()).await;
        leader
    };
    let (outcome, leader) = tokio::join!(in_time(a.wait()), leads);
    let lost = |error| matches!(error, Error::Lost { process } if process.as_deref() == Some("b"));
    assert!(lost(outcome.unwrap_err()));
    assert!(lost(in_time(leader.release()).await.unwrap_err()));
}

#[tokio::test]
async fn a_process_that_joins_while_a_generation_is_held_belongs_to_the_next() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let (a, b) = (join(&stage, "a", 1).await, join(&stage, "b", 1).await);
    let leads = async {
        stage.until_arrived(0, &["a"]).await;
        let leader = in_time(b.wait_leader())
            .await
            .unwrap()
            .expect("it came last");
        let late = join(&stage, "late", 1).await;
        assert_eq!(late.generation(), 1);
        let mut early = JoinSet::new();
        early.spawn(async move {
            let result = in_time(late.wait()).await.unwrap();
            (result.generation(), result.processes())
        });
        stage.until_arrived(1, &["late"]).await;
        assert_eq!(in_time(leader.release()).await.unwrap().processes(), 2);
        early
    };
    let (first, early) = tokio::join!(in_time(a.wait()), leads);
    assert_eq!(first.unwrap().processes(), 2);
    let (a, b) = tokio::join!(in_time(a.wait()), in_time(b.wait()));
    assert_eq!((a.unwrap().processes(), b.unwrap().processes()), (3, 3));
    assert_eq!(early.join_all().await, [(1, 3)]);
}

#[tokio::test]
async fn members_are_the_live_processes_and_end_with_this_process() {
    let stage = Stage::new(1, OnLoss::Continue).await;
    let a = join(&stage, "a", 1).await;
    let mut members = a.members();
    let mut until_they_are = async |names: &[&str]| loop {
        let now = in_time(members.next()).await.expect("it is a member");
        if Vec::from_iter(now.keys().map(String::as_str)) == names {
            return now;
        }
    };
    assert_eq!(until_they_are(&["a"]).await["a"], a.lease());
    let b = join(&stage, "b", 1).await;
    assert_eq!(until_they_are(&["a", "b"]).await["b"], b.lease());
    in_time(b.leave()).await.unwrap();
    until_they_are(&["a"]).await;
    in_time(a.leave()).await.unwrap();
    while in_time(members.next()).await.is_some() {}
}

#[tokio::test]
async fn a_process_that_has_left_can_do_nothing_more() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = join(&stage, "a", 1).await;
    in_time(barrier.leave()).await.unwrap();
    assert!(stage.lease_of("a").await.is_none());
    assert!(matches!(in_time(barrier.wait()).await, Err(Error::Left)));
    in_time(barrier.leave()).await.unwrap();
}

#[tokio::test]
async fn a_process_that_drops_its_barrier_leaves() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    drop(join(&stage, "a", 1).await);
    stage.until_gone("a").await;
}

#[tokio::test]
async fn without_a_name_a_process_is_named_by_its_lease() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let builder = EtcdBarrier::builder(BARRIER).endpoints(stage.etcd.endpoints());
    let barrier = in_time(builder.join()).await.unwrap();
    assert_eq!(barrier.process(), format!("{:x}", barrier.lease()));
}

// Cancellation, of each method.

#[tokio::test]
async fn a_join_that_is_dropped_at_any_point_leaves_nothing() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let mut joined = 0;
    for polls in 1..=30 {
        if let Some(barrier) = polled_at_most(polls, stage.builder("a").join()).await {
            in_time(barrier.unwrap().leave()).await.unwrap();
            joined += 1;
        }
        stage.until_gone("a").await;
    }
    // The name is free, and the first generation waits for nobody.
    let barrier = join(&stage, "a", 1).await;
    assert_eq!(in_time(barrier.wait()).await.unwrap().processes(), 1);
    println!("{joined} of 30 have joined");
}

#[tokio::test]
async fn a_wait_that_is_dropped_while_others_of_its_process_are_missing_withdraws_its_arrival() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = join(&stage, "a", 2).await;
    for leads in [false, true] {
        match leads {
            false => assert!(barrier.wait().now_or_never().is_none()),
            true => assert!(barrier.wait_leader().now_or_never().is_none()),
        }
        let mut one = pin!(barrier.wait());
        assert!(one.as_mut().now_or_never().is_none());
        // The first has not been counted: this one is the second, and not the third.
        let (one, other) = tokio::join!(in_time(one), in_time(barrier.wait()));
        assert_eq!(one.unwrap().generation(), other.unwrap().generation());
    }
    assert_eq!(barrier.generation(), 2);
}

#[tokio::test]
async fn a_wait_that_is_dropped_at_any_point_and_made_again_completes_once() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = join(&stage, "a", 1).await;
    for generation in 0..20 {
        let polls = generation as u32 + 1;
        let result = match polled_at_most(polls, barrier.wait()).await {
            Some(result) => result,
            None => in_time(barrier.wait()).await,
        };
        assert_eq!(result.unwrap().generation(), generation);
    }
    assert_eq!(stage.check_held(20).await.len(), 20);
}

#[tokio::test]
async fn a_wait_leader_that_is_dropped_at_any_point_and_made_again_leads_once() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = join(&stage, "a", 1).await;
    for generation in 0..20 {
        let polls = generation as u32 + 1;
        let leader = match polled_at_most(polls, barrier.wait_leader()).await {
            Some(leader) => leader,
            None => in_time(barrier.wait_leader()).await,
        };
        let leader = leader.unwrap().expect("there is no other");
        assert_eq!(leader.result().generation(), generation);
        // Its release as well.
        if polled_at_most(polls, leader.release()).await.is_none() {
            assert_eq!(barrier.generation(), generation + 1);
        }
    }
    let last = in_time(barrier.wait()).await.unwrap();
    assert_eq!(last.generation(), 20);
    assert_eq!(stage.check_held(21).await.len(), 21);
}

#[tokio::test]
async fn a_leader_that_is_cancelled_on_its_way_releases_its_process_with_an_error() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let conductor = stage.conductor().await;
    let barrier = join(&stage, "a", 2).await;
    let both = async || tokio::join!(in_time(barrier.wait()), in_time(barrier.wait()));
    // A generation that ends well, which is not to be taken for the next.
    let ((one, other), conductors) = tokio::join!(both(), conductor.wait());
    one.and(other).and(conductors).unwrap();

    let mut first = Box::pin(barrier.wait());
    assert!(first.as_mut().now_or_never().is_none());
    tokio::select! {
        _ = barrier.wait() => panic!("the conductor has not come"),
        () = stage.until_arrived(1, &["a"]) => {}
    }
    let error = first.now_or_never().expect("released").unwrap_err();
    assert!(matches!(error, Error::LeaderCancelled));

    // The next two tasks go on where that leader was: also when the generation is complete meanwhile.
    assert_eq!(conductor.wait().await.unwrap().processes(), 2);
    let (one, other) = both().await;
    for result in [one.unwrap(), other.unwrap()] {
        assert_eq!((result.generation(), result.processes()), (1, 2));
    }
}

#[tokio::test]
async fn a_wait_leader_that_is_dropped_when_it_would_have_led_holds_until_its_process_waits_again()
{
    let stage = Stage::new(2, OnLoss::Fail).await;
    let (a, b) = (join(&stage, "a", 1).await, join(&stage, "b", 1).await);
    for (generation, again_as_leader) in [(0, true), (1, false)] {
        let mut follower = pin!(a.wait());
        assert!(follower.as_mut().now_or_never().is_none());
        stage.until_arrived(generation, &["a"]).await;
        let held = format!("held {} ", generation + 1);
        let is_held = async || {
            stage
                .value("state")
                .await
                .is_some_and(|it| it.0.starts_with(&held))
        };
        let mut leads = Box::pin(b.wait_leader());
        // It is polled once, and asks; what etcd has done then is not looked at.
        assert!(leads.as_mut().now_or_never().is_none());
        until("it is held", is_held).await;
        drop(leads);
        assert!(follower.as_mut().now_or_never().is_none());
        if again_as_leader {
            let leader = in_time(b.wait_leader()).await.unwrap().expect("as before");
            assert!(follower.as_mut().now_or_never().is_none());
            in_time(leader.release()).await.unwrap();
        } else {
            assert!(in_time(b.wait()).await.unwrap().is_leader());
        }
        assert_eq!(in_time(follower).await.unwrap().generation(), generation);
    }
}

#[tokio::test]
async fn a_leave_that_is_dropped_goes_on() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let barrier = join(&stage, "a", 1).await;
    assert!(barrier.leave().now_or_never().is_none());
    stage.until_gone("a").await;
    assert!(matches!(in_time(barrier.wait()).await, Err(Error::Left)));
}

#[tokio::test]
async fn a_look_at_the_members_that_is_dropped_loses_nothing() {
    let stage = Stage::new(1, OnLoss::Continue).await;
    let a = join(&stage, "a", 1).await;
    let mut members = a.members();
    while members.next().now_or_never().flatten().is_some() {}
    let b = join(&stage, "b", 1).await;
    loop {
        let next = tokio::time::timeout(Duration::from_millis(1), members.next());
        if let Ok(Some(now)) = next.await {
            assert!(now.contains_key("b"));
            break;
        }
    }
    drop(b);
}
