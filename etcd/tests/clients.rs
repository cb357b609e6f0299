//! Ways to reach etcd, and what is said when it cannot be reached.

mod support;

use std::{error::Error as _, time::Duration};

use atomic_barrier_etcd::{
    Error, EtcdBarrier, OnLoss,
    etcd_client::{Client, ConnectOptions, Permission, PermissionType},
};

use self::support::{BARRIER, Stage, in_time};

#[tokio::test]
async fn a_client_that_is_there_already_will_do_for_many() {
    let stage = Stage::new(2, OnLoss::Fail).await;
    let client = stage.client().await;
    let builder = || {
        EtcdBarrier::builder(BARRIER)
            .processes(2)
            .client(client.clone())
    };
    let (a, b) = tokio::join!(in_time(builder().join()), in_time(builder().join()));
    let (a, b) = (a.unwrap(), b.unwrap());
    let (a, b) = tokio::join!(in_time(a.wait()), in_time(b.wait()));
    assert_eq!((a.unwrap().processes(), b.unwrap().processes()), (2, 2));
}

#[tokio::test]
async fn endpoints_that_are_gone_among_others_do_no_harm() {
    let mut stage = Stage::new(1, OnLoss::Fail).await;
    stage.etcd.kill(0).await.unwrap();
    let mut endpoints = stage.etcd.endpoints();
    endpoints.push("http://127.0.0.1:1".to_owned());
    let barrier = in_time(stage.builder("a").endpoints(endpoints).join()).await;
    let barrier = barrier.unwrap();
    for _ in 0..10 {
        in_time(barrier.wait()).await.unwrap();
    }
}

#[tokio::test]
async fn an_etcd_that_is_not_there_is_named() {
    let join = EtcdBarrier::builder(BARRIER)
        .endpoints(["http://127.0.0.1:1", "http://127.0.0.1:2"])
        .patience(Duration::from_secs(1))
        .join();
    let error = in_time(join).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }));
    assert_eq!(
        error.to_string(),
        "etcd at http://127.0.0.1:1, http://127.0.0.1:2 cannot be reached"
    );
    assert_eq!(
        error.source().unwrap().to_string(),
        "tcp connect error: Connection refused (os error 111)"
    );
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused() {
    let join = EtcdBarrier::builder(BARRIER)
        .endpoints(["http://no host"])
        .join();
    let error = in_time(join).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }));
    let text = format!("{error}: {}", error.source().unwrap());
    assert!(
        text.starts_with("etcd at http://no host refuses: invalid uri"),
        "{text}"
    );
}

#[tokio::test]
async fn names_that_cannot_be_keys_are_refused() {
    for (barrier, process) in [
        ("", "p"),
        ("a/b", "p"),
        ("b", ""),
        ("b", "p/q"),
        ("b", "p\nq"),
    ] {
        let join = EtcdBarrier::builder(barrier).process(process).join();
        let error = in_time(join).await.unwrap_err();
        assert!(matches!(error, Error::InvalidName { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_process_that_comes_with_other_terms_is_refused() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let _first = in_time(stage.builder("a").join()).await.unwrap();
    for other in [
        stage.builder("b").on_loss(OnLoss::Continue),
        stage.builder("b").processes(2),
    ] {
        let error = in_time(other.join()).await.unwrap_err();
        assert!(matches!(error, Error::TermsDiffer { .. }), "{error}");
    }
    assert!(stage.lease_of("b").await.is_none());
}

#[tokio::test]
async fn a_key_of_something_else_is_named() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let mut client = stage.client().await;
    client.put("stage/state", "on", None).await.unwrap();
    let error = in_time(stage.builder("a").join()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the value of stage/state is not a barrier's"
    );
}

#[tokio::test]
async fn a_user_with_a_password_is_let_in_and_others_are_not() {
    let stage = Stage::new(1, OnLoss::Fail).await;
    let mut root = stage.client().await;
    root.user_add("root", "secret", None).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.user_add("meets", "openly", None).await.unwrap();
    root.role_add("meeting").await.unwrap();
    let prefix = Permission::new(PermissionType::Readwrite, format!("{BARRIER}/")).with_prefix();
    root.role_grant_permission("meeting", prefix).await.unwrap();
    root.user_grant_role("meets", "meeting").await.unwrap();
    root.auth_enable().await.unwrap();

    let barrier = in_time(stage.builder("a").user("meets", "openly").join()).await;
    let barrier = barrier.unwrap();
    assert_eq!(in_time(barrier.wait()).await.unwrap().processes(), 1);

    let short = Duration::from_millis(100);
    let error = in_time(stage.builder("b").patience(short).join()).await;
    let error = error.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let wrong = stage.builder("b").user("meets", "wrongly").patience(short);
    let error = in_time(wrong.join()).await.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    let text = error.source().unwrap().to_string();
    assert!(text.contains("authentication failed"), "{text}");
    in_time(barrier.leave()).await.unwrap();
}

#[tokio::test]
async fn a_user_whose_token_etcd_has_forgotten_gets_another() {
    let mut stage = Stage::new(1, OnLoss::Fail).await;
    let mut root = stage.client().await;
    root.user_add("root", "secret", None).await.unwrap();
    root.user_grant_role("root", "root").await.unwrap();
    root.auth_enable().await.unwrap();
    let barrier = in_time(stage.builder("a").user("root", "secret").join()).await;
    let barrier = barrier.unwrap();
    in_time(barrier.wait()).await.unwrap();
    stage.etcd.kill_all().await.unwrap();
    stage.etcd.restart_all().await.unwrap();
    for generation in 1..4 {
        assert_eq!(
            in_time(barrier.wait()).await.unwrap().generation(),
            generation
        );
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn processes_meet_over_tls() {
    use atomic_barrier_etcd::etcd_client::{Certificate, TlsOptions};

    // Signed by itself, for `localhost`, until the year 2126.
    const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/cert.pem");
    const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/key.pem");
    let with = ["--cert-file", CERTIFICATE, "--key-file", KEY];
    let etcd = support::etcd::Etcd::start_with(1, None, &with)
        .await
        .unwrap();
    let authority = Certificate::from_pem(std::fs::read(CERTIFICATE).unwrap());
    let join = EtcdBarrier::builder(BARRIER)
        .endpoints(etcd.endpoints())
        .tls(
            TlsOptions::new()
                .ca_certificate(authority)
                .domain_name("localhost"),
        )
        .join();
    let barrier = in_time(join).await.unwrap();
    assert_eq!(in_time(barrier.wait()).await.unwrap().processes(), 1);
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_given_up() {
    // It takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let options = ConnectOptions::new().with_require_leader(true);
    let client = Client::connect([endpoint], Some(options)).await.unwrap();
    let join = EtcdBarrier::builder(BARRIER)
        .client(client)
        .patience(Duration::from_secs(1))
        .join();
    let error = in_time(join).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "etcd at the endpoints of its client cannot be reached"
    );
    assert!(error.source().unwrap().to_string().starts_with("no answer"));
}
