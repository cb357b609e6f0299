//! What a `tracing` subscriber is told.

mod support;

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use atomic_barrier_etcd::OnLoss;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt, registry::LookupSpan};

use self::support::{BARRIER, Stage, in_time, until};

/// The crate's spans, each with its fields as text.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 += &format!(" {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0 += &format!(" {field}={value}");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes
            .metadata()
            .target()
            .starts_with("atomic_barrier_etcd")
        {
            let mut fields = Fields(attributes.metadata().name().to_owned());
            attributes.record(&mut fields);
            self.0.lock().unwrap().push(fields.0);
        }
    }
}

#[tokio::test]
async fn joins_waits_and_losses_are_spans() {
    let spans = Spans::default();
    let subscriber = tracing_subscriber::registry().with(spans.clone());
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let stage = Stage::new(2, OnLoss::Continue).await;
    let (a, b) = (stage.member("a").await, stage.member("b").await);
    let (first, second) = tokio::join!(a.wait(), b.wait());
    first.and(second).unwrap();
    in_time(b.barrier.leave()).await.unwrap();
    let has = |span: &str| spans.0.lock().unwrap().iter().any(|it| it == span);
    let loss = format!("loss barrier={BARRIER} process=b");
    until("the loss is told", async || has(&loss)).await;
    assert!(has(&format!("join barrier={BARRIER}")));
    for process in ["a", "b"] {
        let wait = format!("wait barrier={BARRIER} process={process} generation=0");
        assert!(has(&wait), "{:?}", spans.0.lock().unwrap());
    }
}
