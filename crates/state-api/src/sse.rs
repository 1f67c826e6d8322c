//! Live events as server-sent events (WHATWG HTML, section 9.2), taken up again with `Last-Event-ID`.
//!
//! A stream reads the settled part of the log after its place, so it has neither holes nor doubles
//! however writers commit. The bus only tells it when to look; it looks each second anyway.

#![allow(
    unused_qualifications,
    reason = "utoipa's macros qualify the types of queries"
)]

use crate::app::App;
use crate::auth::By;
use actix_web::{HttpRequest, HttpResponse, get, web};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use utoipa::IntoParams;
use windlass_bus::Doorbell;
use windlass_service::Problem;
use windlass_service::problem::chain;
use windlass_store::events as log;
use windlass_types::event::{Cursor, Event, EventType};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::problem::FieldError;

/// Events read at once.
const GROUP: i64 = 500;
/// How long the log is left alone while nothing rings.
const LOOK: Duration = Duration::from_secs(1);
/// After a ring that found nothing: its event is committed, but an older transaction is still open.
/// Looked for again after this long, doubled up to [`LOOK`].
const SOON: Duration = Duration::from_millis(20);
/// How often something is sent at least, so that both ends see a broken connection.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Query {
    /// Only these types, separated by commas.
    #[serde(rename = "type")]
    #[param(example = "image.rollout_started,image.rollout_completed")]
    types: Option<String>,
    /// Only events of this rollout.
    rollout: Option<RolloutId>,
    /// Only events of this device.
    device: Option<DeviceId>,
    /// Begin after this place in the log; `0-0` is its beginning. `Last-Event-ID` goes before it.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,18}-[0-9]{1,18}$")]
    after: Option<Cursor>,
}

#[derive(Debug, Default)]
struct Filter {
    types: BTreeSet<EventType>,
    rollout: Option<RolloutId>,
    device: Option<DeviceId>,
}

impl Filter {
    fn of(query: &Query) -> Result<Self, Problem> {
        let mut types = BTreeSet::new();
        for text in query.types.iter().flat_map(|list| list.split(',')) {
            let kind: EventType = text.trim().parse().map_err(|error| {
                Problem::Invalid(vec![FieldError::new("type", format!("{error}"))])
            })?;
            types.insert(kind);
        }
        Ok(Self {
            types,
            rollout: query.rollout,
            device: query.device,
        })
    }

    fn takes(&self, event: &Event) -> bool {
        (self.types.is_empty() || self.types.contains(&event.kind))
            && self.rollout.is_none_or(|id| event.rollout_id == Some(id))
            && self.device.is_none_or(|id| event.device_uuid == Some(id))
    }
}

/// Live events, one JSON event in each `data`. Without a place it begins with what comes; with
/// `Last-Event-ID` (or `after`) it goes on after that event, without holes and doubles. A message
/// with an `id` and no `data` only tells the place: the first one comes when everything has been sent
/// that was in the log at the time of the request.
#[utoipa::path(tag = "events", params(
    Query,
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received"),
), responses(
    (status = 200, description = "A stream that does not end", body = String, content_type = "text/event-stream"),
))]
#[get("/api/v1/events")]
pub(crate) async fn serve(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let filter = Filter::of(&query)?;
    let place = match request.headers().get("last-event-id") {
        Some(value) => {
            let text = value.to_str().unwrap_or("");
            let cursor = text
                .parse()
                .map_err(|error| Problem::Malformed(format!("Last-Event-ID: {error}")))?;
            Some(cursor)
        }
        None => query.after,
    };
    // Subscribed before the first reading, so that nothing falls between.
    let bell = app.deps.bus.subscribe();
    let mut session = app.deps.store.read().await?;
    let cursor = match place {
        Some(cursor) => cursor,
        None => log::head(&mut session).await?,
    };
    let newest = log::newest(&mut session).await?;
    drop(session);
    let reader = Reader {
        app,
        bell,
        filter,
        cursor,
        behind: Some(newest),
        wait: LOOK,
        greeted: false,
    };
    let body = stream::unfold(reader, |mut reader| async move {
        let text = reader.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), reader))
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header(("cache-control", "no-store"))
        // Proxies of the nginx kind hold answers back otherwise.
        .insert_header(("x-accel-buffering", "no"))
        .streaming(body))
}

struct Reader {
    app: web::Data<App>,
    bell: Doorbell,
    filter: Filter,
    cursor: Cursor,
    /// The end of the log at the time of the request, until the stream has come there.
    behind: Option<Cursor>,
    wait: Duration,
    greeted: bool,
}

impl Reader {
    /// The next piece of the stream; none once it is to end. A client takes it up again.
    async fn next(&mut self) -> Option<String> {
        if !self.greeted {
            self.greeted = true;
            return Some("retry: 1000\n\n".to_owned());
        }
        let beat = Instant::now() + HEARTBEAT;
        loop {
            if self.app.deps.shutdown.is_cancelled() {
                return None;
            }
            self.bell.drain();
            let found = match self.read().await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "a stream of events ends: the log cannot be read");
                    return None;
                }
            };
            if let Some(last) = found.last() {
                self.cursor = last.id;
                self.wait = LOOK;
            }
            let mut text = written(found.iter().filter(|event| self.filter.takes(event)));
            if self.behind.is_some_and(|newest| newest <= self.cursor) {
                self.behind = None;
                text.push_str(&place(self.cursor));
            }
            if text.is_empty() && Instant::now() >= beat {
                text = match self.behind {
                    Some(_) => ": on the way\n\n".to_owned(),
                    None => place(self.cursor),
                };
            }
            if !text.is_empty() {
                return Some(text);
            }
            if !found.is_empty() {
                // Nothing for this stream; there may be more.
                continue;
            }
            tokio::select! {
                rung = timeout(self.wait, self.bell.next()) => {
                    self.wait = if rung.is_ok() { SOON } else { (self.wait * 2).min(LOOK) };
                    if rung.is_ok() {
                        // One reading answers what rings together.
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                }
                () = self.app.deps.shutdown.cancelled() => return None,
            }
        }
    }

    async fn read(&self) -> windlass_store::Result<Vec<Event>> {
        let mut session = self.app.deps.store.read().await?;
        log::after(&mut session, self.cursor, GROUP).await
    }
}

/// A message that tells the place and carries nothing: what was left out need not be read again.
fn place(cursor: Cursor) -> String {
    format!(": here\nid: {cursor}\n\n")
}

fn written<'e>(events: impl Iterator<Item = &'e Event>) -> String {
    let mut text = String::new();
    for event in events {
        // Events have text keys only, and JSON has no line breaks: writing cannot fail.
        let data = serde_json::to_string(event).unwrap_or_default();
        write!(
            text,
            "id: {}\nevent: {}\ndata: {data}\n\n",
            event.id, event.kind
        )
        .unwrap_or_default();
    }
    text
}
