//! What the console gets to see, over a connection like its own.

use std::{
    collections::HashMap,
    mem,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use atomic_barrier::{Barrier, Phaser};
use console_api::{
    Attribute,
    async_ops::{self, AsyncOp},
    field::{Name, Value},
    instrument::{InstrumentRequest, Update, instrument_client::InstrumentClient},
    resources::{self, Resource, resource::kind::Kind},
};
use console_subscriber::{ConsoleLayer, Server, ServerParts};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc},
    time::{sleep, timeout},
};
use tonic::transport::{self, server::TcpIncoming};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// All that the console has been sent so far.
#[derive(Default)]
struct Seen {
    resources: HashMap<u64, (Resource, resources::Stats)>,
    ops: HashMap<u64, (AsyncOp, async_ops::Stats)>,
}

/// A barrier or phaser, as a row of the console.
#[derive(Debug, PartialEq)]
struct Row {
    kind: String,
    concrete_type: String,
    /// File and line.
    location: (String, u32),
    is_dropped: bool,
    attributes: HashMap<String, u64>,
    /// The names of the participants that have not arrived.
    missing: Option<String>,
    /// By the method that made them: the waits that are not over.
    waiting: Vec<Waiting>,
}

#[derive(Debug, PartialEq)]
struct Waiting {
    source: String,
    name: Option<String>,
    has_arrived: bool,
    polls: u64,
    has_task: bool,
}

impl Seen {
    fn update(&mut self, update: Update) {
        let Update {
            resource_update,
            async_op_update,
            ..
        } = update;
        let mut update = resource_update.unwrap_or_default();
        assert_eq!(update.dropped_events, 0);
        for new in update.new_resources {
            self.resources
                .insert(new.id.unwrap().id, (new, resources::Stats::default()));
        }
        for (id, stats) in mem::take(&mut update.stats_update) {
            self.resources.get_mut(&id).unwrap().1 = stats;
        }
        let mut update = async_op_update.unwrap_or_default();
        assert_eq!(update.dropped_events, 0);
        for new in update.new_async_ops {
            self.ops
                .insert(new.id.unwrap().id, (new, async_ops::Stats::default()));
        }
        for (id, stats) in mem::take(&mut update.stats_update) {
            self.ops.get_mut(&id).unwrap().1 = stats;
        }
    }

    /// The barrier or phaser made on this line.
    fn row(&self, file: &str, line: u32) -> Option<Row> {
        let mut rows = self.resources.iter().filter_map(|(id, (resource, stats))| {
            let location = resource.location.as_ref()?;
            let location = (location.file.clone()?, location.line?);
            (location == (file.to_owned(), line)).then(|| Row {
                kind: match resource.kind.clone().unwrap().kind.unwrap() {
                    Kind::Other(kind) => kind,
                    Kind::Known(known) => panic!("of the known kind {known}"),
                },
                concrete_type: resource.concrete_type.clone(),
                location,
                is_dropped: stats.dropped_at.is_some(),
                attributes: stats.attributes.iter().filter_map(number).collect(),
                missing: text(&stats.attributes, "missing"),
                waiting: self.waiting(*id),
            })
        });
        let row = rows.next();
        assert_eq!(rows.next(), None);
        row
    }

    fn waiting(&self, resource: u64) -> Vec<Waiting> {
        let mut waiting: Vec<_> = self
            .ops
            .values()
            .filter(|(op, stats)| {
                op.resource_id.unwrap().id == resource && stats.dropped_at.is_none()
            })
            .map(|(op, stats)| Waiting {
                source: op.source.clone(),
                name: text(&stats.attributes, "name"),
                has_arrived: stats.attributes.iter().any(has_arrived),
                polls: stats.poll_stats.as_ref().map_or(0, |polls| polls.polls),
                has_task: stats.task_id.is_some(),
            })
            .collect();
        waiting.sort_by(|a, b| a.source.cmp(&b.source));
        waiting
    }
}

fn name(attribute: &Attribute) -> (&str, &Value) {
    let field = attribute.field.as_ref().unwrap();
    match (&field.name, &field.value) {
        (Some(Name::StrName(name)), Some(value)) => (name, value),
        _ => panic!("no name or no value: {field:?}"),
    }
}

fn number(attribute: &Attribute) -> Option<(String, u64)> {
    match name(attribute) {
        (name, Value::U64Val(value)) => Some((name.to_owned(), *value)),
        ("missing", Value::StrVal(_)) => None,
        other => panic!("not a number: {other:?}"),
    }
}

fn text(attributes: &[Attribute], called: &str) -> Option<String> {
    attributes
        .iter()
        .find_map(|attribute| match name(attribute) {
            (name, Value::StrVal(text)) if name == called => Some(text.clone()),
            _ => None,
        })
}

fn has_arrived(attribute: &Attribute) -> bool {
    name(attribute) == ("arrived", &Value::BoolVal(true))
}

/// Looks at a program's barriers and phasers as the console does.
struct Client(mpsc::UnboundedReceiver<Update>, Seen);

impl Client {
    /// On a thread of its own, whose own doings nobody is told.
    fn connect(to: String) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                // The server may be about to start.
                let mut client = loop {
                    match InstrumentClient::connect(to.clone()).await {
                        Ok(client) => break client,
                        Err(_) if !sender.is_closed() => sleep(Duration::from_millis(20)).await,
                        Err(e) => panic!("{e:?}"),
                    }
                };
                let updates = client.watch_updates(InstrumentRequest {}).await;
                let mut updates = updates.unwrap().into_inner();
                // Ends with either side.
                while let Ok(Some(update)) = updates.message().await {
                    if sender.send(update).is_err() {
                        break;
                    }
                }
            });
        });
        Self(receiver, Seen::default())
    }

    /// Waits until the barrier or phaser made on this line is shown like this.
    async fn sees(&mut self, file: &str, line: u32, expected: impl Fn(&Row) -> bool) -> Row {
        let Self(updates, seen) = self;
        let until_seen = async {
            loop {
                if let Some(row) = seen.row(file, line).filter(&expected) {
                    return row;
                }
                seen.update(updates.recv().await.expect("the server goes on"));
            }
        };
        match timeout(Duration::from_secs(20), until_seen).await {
            Ok(row) => row,
            Err(_) => panic!("seen last: {:#?}", seen.row(file, line)),
        }
    }
}

/// Serves the console on a free port, from a thread of its own.
fn serve(server: Server) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let ServerParts {
                instrument_server,
                aggregator,
                ..
            } = server.into_parts();
            tokio::spawn(aggregator.run());
            let incoming = TcpIncoming::from(TcpListener::from_std(listener).unwrap());
            let router = transport::Server::builder().add_service(instrument_server);
            router.serve_with_incoming(incoming).await.unwrap();
        });
    });
    address
}

fn attributes<const N: usize>(numbers: [(&str, u64); N]) -> HashMap<String, u64> {
    numbers.map(|(name, value)| (name.to_owned(), value)).into()
}

fn numbers(parties: u64, arrived: u64, generation: u64) -> HashMap<String, u64> {
    attributes([
        ("parties", parties),
        ("arrived", arrived),
        ("generation", generation),
    ])
}

/// The row of a barrier for three.
fn row(file: &str, line: u32, arrived: u64, generation: u64, waiting: Vec<Waiting>) -> Row {
    Row {
        kind: "Sync".into(),
        concrete_type: "Barrier".into(),
        location: (file.into(), line),
        is_dropped: false,
        attributes: numbers(3, arrived, generation),
        missing: None,
        waiting,
    }
}

/// A task that was polled once and has been counted. Which task it is needs tokio's unstable part.
fn counted(source: &str) -> Waiting {
    Waiting {
        source: source.into(),
        name: None,
        has_arrived: true,
        polls: 1,
        has_task: cfg!(tokio_unstable),
    }
}

/// Only one test listens at a time. Where two threads emit an event for the first time at once, a console
/// layer may not know its callsite yet, and drops it.
async fn listen() -> (Client, impl Sized) {
    static LISTENING: Mutex<()> = Mutex::const_new(());
    let alone = LISTENING.lock().await;
    let interval = Duration::from_millis(20);
    let (layer, server) = ConsoleLayer::builder().publish_interval(interval).build();
    let mut client = Client::connect(format!("http://{}", serve(server)));
    // Now both have spawned tasks: what they have registered meanwhile is made known to the layer.
    let first = client.0.recv().await;
    client.1.update(first.expect("the server has begun"));
    let listening = tracing_subscriber::registry().with(layer).set_default();
    (client, (listening, alone))
}

#[tokio::test]
async fn the_console_sees_a_static_barrier_and_its_waits() {
    static BARRIER: Barrier = Barrier::new(3);
    const LINE: u32 = line!() - 1;
    let (mut client, _listening) = listen().await;

    let one = tokio::spawn(BARRIER.wait());
    let two = tokio::spawn(async { BARRIER.wait_leader().await.is_some() });
    let waiting = vec![counted("Barrier::wait"), counted("Barrier::wait_leader")];
    let expected = row(file!(), LINE, 2, 0, waiting);
    client.sees(file!(), LINE, |row| *row == expected).await;

    two.abort();
    let expected = row(file!(), LINE, 1, 0, vec![counted("Barrier::wait")]);
    client.sees(file!(), LINE, |row| *row == expected).await;

    drop([BARRIER.arrive(), BARRIER.arrive()]);
    assert!(!one.await.unwrap().is_leader());
    let expected = row(file!(), LINE, 0, 1, vec![]);
    client.sees(file!(), LINE, |row| *row == expected).await;
}

#[tokio::test]
async fn the_console_sees_that_a_barrier_is_gone() {
    let (mut client, _listening) = listen().await;
    let (barrier, line) = (Arc::new(Barrier::new(3)), line!());
    let wait = tokio::spawn(barrier.clone().wait_owned());
    let expected = row(file!(), line, 1, 0, vec![counted("Barrier::wait_owned")]);
    client.sees(file!(), line, |row| *row == expected).await;

    wait.abort();
    drop(barrier);
    let gone = client.sees(file!(), line, |row| row.is_dropped).await;
    assert_eq!((gone.waiting, gone.attributes), (vec![], numbers(3, 0, 0)));
}

#[tokio::test]
async fn the_console_sees_a_phaser_and_its_waits() {
    let (mut client, _listening) = listen().await;
    let (phaser, line) = (Phaser::new(), line!());
    let [a, mut b, c] = phaser.register_array().unwrap();
    let expected = |parties, arrived, phase, waiting| Row {
        concrete_type: "Phaser".into(),
        attributes: attributes([("parties", parties), ("arrived", arrived), ("phase", phase)]),
        ..row(file!(), line, 0, 0, waiting)
    };
    let none = expected(3, 0, 0, vec![]);
    client.sees(file!(), line, |row| *row == none).await;

    let mut a = a.named("reader");
    let c = c.named("writer");
    let waits = tokio::spawn(async move { a.wait().await.map(|_| a) });
    b.arrive().unwrap();
    let reader = Waiting {
        name: Some("reader".into()),
        ..counted("Participant::wait")
    };
    let one = Row {
        missing: Some("writer".into()),
        ..expected(3, 2, 0, vec![reader])
    };
    client.sees(file!(), line, |row| *row == one).await;

    // All that are left have arrived.
    drop(c);
    assert_eq!(waits.await.unwrap().unwrap().phase(), 1);
    let over = Row {
        missing: Some("".into()),
        ..expected(1, 0, 1, vec![])
    };
    client.sees(file!(), line, |row| *row == over).await;
    drop(b);
}

/// The example, while it runs.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_example_shows_its_barriers_and_its_phaser() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let example = Command::new(env!("CARGO_BIN_EXE_console-example"))
        .env("TOKIO_CONSOLE_BIND", address.to_string())
        .env("TOKIO_CONSOLE_PUBLISH_INTERVAL", "20ms")
        .stdout(Stdio::null())
        .spawn();
    let _example = Running(example.unwrap());
    let mut client = Client::connect(format!("http://{address}"));

    let source = include_str!("../src/main.rs");
    let line_of = |text| 1 + source.lines().position(|line| line.contains(text)).unwrap() as u32;
    // It goes on.
    let round = line_of("Barrier::new(4)");
    client
        .sees("src/main.rs", round, |row| row.attributes["generation"] > 0)
        .await;
    // It misses one: two are there, then one, and it never ends.
    let start = line_of("Barrier::new(3)");
    for arrived in [2, 1, 2] {
        let row = client.sees("src/main.rs", start, |row| {
            row.attributes["arrived"] == arrived
        });
        assert_eq!(row.await.attributes["generation"], 0);
    }
    // A participant of it has come three times, and is missing from then on.
    let phaser = line_of("Phaser::new()");
    let last = attributes([("parties", 3), ("arrived", 2), ("phase", 3)]);
    client
        .sees("src/main.rs", phaser, |row| {
            row.attributes == last && row.missing.as_deref() == Some("checker")
        })
        .await;
}
