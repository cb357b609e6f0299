//! Code written for tokio's barrier, run twice: only the `use` line differs.

macro_rules! code_written_for_tokio {
    ($name:ident: $use:item) => {
        mod $name {
            use core::{
                fmt::Debug,
                future::Future,
                pin::Pin,
                sync::atomic::{AtomicUsize, Ordering},
            };
            use std::sync::Arc;

            use futures::{FutureExt, future::join_all, poll};

            $use

            #[test]
            fn a_barrier_for_nobody_acts_as_one_for_one() {
                let barrier = Barrier::new(0);
                for _ in 0..3 {
                    assert!(barrier.wait().now_or_never().unwrap().is_leader());
                }
            }

            #[test]
            fn a_barrier_for_one_never_blocks() {
                let barrier = Barrier::new(1);
                for _ in 0..3 {
                    assert!(barrier.wait().now_or_never().unwrap().is_leader());
                }
            }

            #[tokio::test]
            async fn all_but_the_last_block() {
                let barrier = Barrier::new(3);
                for _generation in 0..3 {
                    let mut first = Box::pin(barrier.wait());
                    let mut second = Box::pin(barrier.wait());
                    let mut third = Box::pin(barrier.wait());
                    assert!(poll!(&mut first).is_pending());
                    assert!(poll!(&mut second).is_pending());
                    assert!(poll!(&mut first).is_pending());
                    assert!(third.as_mut().await.is_leader());
                    assert!(!first.await.is_leader());
                    assert!(!second.await.is_leader());
                }
            }

            #[tokio::test]
            async fn one_task_may_join_many_waits() {
                let barrier = Barrier::new(3);
                let (a, b, c) = tokio::join!(barrier.wait(), barrier.wait(), barrier.wait());
                let leaders = [a, b, c].iter().filter(|result| result.is_leader()).count();
                assert_eq!(leaders, 1);
            }

            async fn a_hundred_tasks_meet() {
                let barrier = Arc::new(Barrier::new(100));
                let before = Arc::new(AtomicUsize::new(0));
                let tasks = (0..100).map(|_| {
                    let (barrier, before) = (barrier.clone(), before.clone());
                    tokio::spawn(async move {
                        before.fetch_add(1, Ordering::Relaxed);
                        let result = barrier.wait().await;
                        assert_eq!(before.load(Ordering::Relaxed), 100);
                        result
                    })
                });
                let results = join_all(tasks.collect::<Vec<_>>()).await;
                let leads = |result: BarrierWaitResult| usize::from(result.is_leader());
                assert_eq!(results.into_iter().map(Result::unwrap).map(leads).sum::<usize>(), 1);
            }

            #[tokio::test]
            async fn a_hundred_tasks_meet_on_one_thread() {
                a_hundred_tasks_meet().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_hundred_tasks_meet_on_two_workers() {
                a_hundred_tasks_meet().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn it_is_used_over_and_over_with_one_leader_each_time() {
                let barrier = Arc::new(Barrier::new(5));
                let leaders = Arc::new([const { AtomicUsize::new(0) }; 500]);
                let tasks = (0..5).map(|_| {
                    let (barrier, leaders) = (barrier.clone(), leaders.clone());
                    tokio::spawn(async move {
                        for leaders in leaders.iter() {
                            if barrier.wait().await.is_leader() {
                                leaders.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                    })
                });
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
                for leaders in leaders.iter() {
                    assert_eq!(leaders.load(Ordering::Relaxed), 1);
                }
            }

            #[tokio::test]
            async fn a_wait_can_be_boxed_and_sent() {
                let barrier: &'static Barrier = Box::leak(Box::new(Barrier::new(2)));
                let boxed: Pin<Box<dyn Future<Output = BarrierWaitResult> + Send>> =
                    Box::pin(barrier.wait());
                let tasks = [tokio::spawn(boxed), tokio::spawn(barrier.wait())];
                let results = join_all(tasks).await;
                let leaders = results.into_iter().filter(|r| r.as_ref().unwrap().is_leader());
                assert_eq!(leaders.count(), 1);
            }

            #[test]
            fn both_types_print_their_names() {
                fn named<T: Debug>(value: &T, name: &str) {
                    assert!(format!("{value:?}").starts_with(name));
                }
                let barrier = Barrier::new(1);
                named(&barrier, "Barrier");
                let result = futures::executor::block_on(barrier.wait());
                named(&result.clone(), "BarrierWaitResult");
            }

            #[test]
            fn both_types_go_where_tokios_go() {
                fn shared<T: Send + Sync + Unpin + 'static>() {}
                fn result<T: Clone + Debug + Send + Sync + Unpin + 'static>() {}
                shared::<Barrier>();
                result::<BarrierWaitResult>();
            }
        }
    };
}

code_written_for_tokio! { with_tokio: use tokio::sync::{Barrier, BarrierWaitResult}; }
code_written_for_tokio! { with_atomic_barrier: use atomic_barrier::{Barrier, BarrierWaitResult}; }
