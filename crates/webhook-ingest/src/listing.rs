//! What operators are shown of deliveries.

use crate::state::State;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use windlass_service::Problem;
use windlass_store::deliveries::{self, Search};
use windlass_types::delivery::{Decision, Delivery, ReasonCode};
use windlass_types::ids::DeliveryId;
use windlass_types::image::Repository;
use windlass_types::page::Page;

/// Rows of a page where none are asked for.
const USUAL: i64 = 50;
/// Rows of a page at most: each has its images with it.
const MOST: i64 = 200;

/// What may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    limit: Option<i64>,
    after: Option<DeliveryId>,
    endpoint: Option<String>,
    sender: Option<String>,
    decision: Option<Decision>,
    reason: Option<ReasonCode>,
    repository: Option<Repository>,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
}

/// `GET /webhooks/deliveries`: the newest first.
pub(crate) async fn list(
    state: Data<State>,
    request: HttpRequest,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    state.operator(request.headers()).await?;
    let limit = wanted.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::Malformed(format!(
            "limit is {limit}; it may be 1 to {MOST}"
        )));
    }
    let mut session = state.deps.store.read().await?;
    // One more than wanted tells whether there is another page.
    let search = Search {
        endpoint: wanted.endpoint.clone(),
        sender: wanted.sender.clone(),
        decision: wanted.decision,
        reason: wanted.reason,
        repository: wanted.repository.clone(),
        since: wanted.since,
        until: wanted.until,
    };
    let mut found = deliveries::list(&mut session, &search, wanted.after, limit + 1).await?;
    let wanted_rows = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = found.len() > wanted_rows;
    found.truncate(wanted_rows);
    let items: Vec<Delivery> = found
        .into_iter()
        .map(|stored| stored.detail.delivery)
        .collect();
    let next = items
        .last()
        .filter(|_| more)
        .map(|last| last.outcome.delivery_id.to_string());
    Ok(HttpResponse::Ok().json(Page { items, next }))
}

/// `GET /webhooks/deliveries/{id}`.
pub(crate) async fn show(
    state: Data<State>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    state.operator(request.headers()).await?;
    let id: DeliveryId = id
        .parse()
        .map_err(|error| Problem::Malformed(format!("the path is no delivery's id: {error}")))?;
    let mut session = state.deps.store.read().await?;
    match deliveries::get(&mut session, id).await? {
        Some(stored) => Ok(HttpResponse::Ok().json(stored.detail)),
        None => Err(Problem::NotFound(format!("there is no delivery {id}"))),
    }
}

/// `GET /webhooks/deliveries/{id}/body`: what was received, byte by byte.
pub(crate) async fn body(
    state: Data<State>,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, Problem> {
    state.operator(request.headers()).await?;
    let id: DeliveryId = id
        .parse()
        .map_err(|error| Problem::Malformed(format!("the path is no delivery's id: {error}")))?;
    let mut session = state.deps.store.read().await?;
    match deliveries::body(&mut session, id).await? {
        // A stranger wrote it, so no browser is to make anything of it.
        Some(body) => Ok(HttpResponse::Ok()
            .content_type("application/octet-stream")
            .insert_header((CONTENT_DISPOSITION, "attachment"))
            .body(body)),
        None => Err(Problem::NotFound(format!(
            "there is no delivery {id}, or its body is no longer kept"
        ))),
    }
}
