//! What sqlx traces while a test runs. SQLite's statements are run, and traced, by threads of sqlx, so the
//! process is listened to, for one test at a time.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Mutex;
use tokio::sync::MutexGuard;
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static HEARD: Mutex<Option<Listening>> = Mutex::new(None);

struct Listening {
    target: &'static str,
    /// The first of these fields that is there and not empty is kept.
    fields: [&'static str; 2],
    said: BTreeSet<String>,
}

/// Kept for as long as something is to be heard.
pub(crate) struct Heard {
    _turn: MutexGuard<'static, ()>,
}

/// Every text of a statement that is sent.
pub(crate) async fn statements() -> Heard {
    listen("sqlx::query", ["db.statement", "summary"]).await
}

/// Everything that PostgreSQL says beside its answers.
pub(crate) async fn notices() -> Heard {
    listen("sqlx::postgres::notice", ["message", "message"]).await
}

async fn listen(target: &'static str, fields: [&'static str; 2]) -> Heard {
    let turn = TURN.lock().await;
    // Set already, where this is not the first test of the process.
    tracing::subscriber::set_global_default(Registry::default().with(Ear)).ok();
    *HEARD.lock().unwrap() = Some(Listening {
        target,
        fields,
        said: BTreeSet::new(),
    });
    Heard { _turn: turn }
}

impl Heard {
    pub(crate) fn end(self) -> BTreeSet<String> {
        let heard = HEARD.lock().unwrap().take();
        heard.map(|heard| heard.said).unwrap_or_default()
    }
}

struct Ear;

impl<S: Subscriber> Layer<S> for Ear {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target().starts_with("sqlx::")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut heard = HEARD.lock().unwrap();
        let Some(heard) = heard.as_mut() else {
            return;
        };
        if event.metadata().target() != heard.target {
            return;
        }
        let mut found = Found {
            fields: heard.fields,
            values: [String::new(), String::new()],
        };
        event.record(&mut found);
        let said = found.values.into_iter().find(|value| !value.is_empty());
        heard.said.extend(said);
    }
}

struct Found {
    fields: [&'static str; 2],
    values: [String; 2],
}

impl Visit for Found {
    fn record_str(&mut self, field: &Field, value: &str) {
        for (name, found) in self.fields.iter().zip(&mut self.values) {
            if field.name() == *name {
                value.clone_into(found);
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
