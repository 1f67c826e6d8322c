//! Reading a stored delivery again with today's parser, and trying out one that is not stored.
//!
//! A replay is idempotent: a push that the delivery told before stays what it was, one that is known from
//! elsewhere is a duplicate, and one that the tag has moved past since is late. What it finds new ships as
//! if it had been read so at once. There is no way to force more: who wants an image shipped a second time
//! has `windlass trigger` for that. See docs/adr/0024-inbox.md.

use crate::body;
use crate::endpoints::Endpoint;
use crate::events;
use crate::ingest::{Origin, announce, judge};
use crate::senders::envelope::is_sns;
use crate::senders::{self, Content, Malformed, Reading};
use crate::state::State;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use windlass_service::Problem;
use windlass_store::deliveries;
use windlass_store::inbox::{self, Kept};
use windlass_types::delivery::{Decision, ReasonCode, Replayed, Tried, TriedPush};
use windlass_types::ids::DeliveryId;

/// Tries until the operator is told to come again.
const TRIES: usize = 8;

/// What a delivery is read as: its sender, and what it says or why it cannot be read.
type Read = (Option<&'static str>, Result<Reading, Malformed>);

fn read(endpoint: &Endpoint, headers: &BTreeMap<String, String>, bytes: &[u8]) -> Read {
    let parsed: Value = match body::parse(bytes) {
        Ok(parsed) => parsed,
        Err(problem) => return (None, Err(Malformed(problem.to_string()))),
    };
    let notification = parsed.get("Type").and_then(Value::as_str) == Some("Notification");
    if is_sns(&parsed) && !notification {
        let reading = Reading {
            delivery_id: None,
            content: Content::Ignored(ReasonCode::Handshake),
        };
        return (Some("sns"), Ok(reading));
    }
    match senders::read(
        headers,
        &parsed,
        endpoint.registry.as_deref(),
        endpoint.sender,
    ) {
        Ok((sender, reading)) => (Some(sender.name), Ok(reading)),
        Err((sender, malformed)) => (sender.map(|sender| sender.name), Err(malformed)),
    }
}

/// `POST /webhooks/deliveries/{id}/replay`.
pub(crate) async fn replay(
    state: Data<State>,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let actor = state.operator(request.headers()).await?;
    let id: DeliveryId = id
        .parse()
        .map_err(|error| Problem::Malformed(format!("the path is no delivery's id: {error}")))?;
    for _ in 0..TRIES {
        match once(&state, id, &actor).await {
            Ok(Some(replayed)) => return Ok(HttpResponse::Ok().json(replayed)),
            Ok(None) | Err(Failed::Store(windlass_store::Error::Conflict(_))) => {}
            Err(Failed::Store(error)) if error.is_unique() => {}
            Err(Failed::Store(error)) => return Err(error.into()),
            Err(Failed::Problem(problem)) => return Err(problem),
        }
    }
    Err(Problem::Unavailable(None))
}

enum Failed {
    Store(windlass_store::Error),
    Problem(Problem),
}

impl From<windlass_store::Error> for Failed {
    fn from(error: windlass_store::Error) -> Self {
        Self::Store(error)
    }
}

/// The body and the endpoint that a delivery is read with.
fn readable<'a>(state: &'a State, kept: &'a Kept) -> Result<(&'a Endpoint, &'a [u8]), Problem> {
    let body = kept.body.as_deref().ok_or_else(|| {
        Problem::Conflict("the body of this delivery is no longer kept".to_owned())
    })?;
    // Its registry and sender decide what a delivery means.
    let endpoint = state.endpoints.get(&kept.endpoint).ok_or_else(|| {
        Problem::Conflict(format!(
            "the endpoint {} is not configured any more; configure it to read its deliveries again",
            kept.endpoint
        ))
    })?;
    Ok((endpoint, body))
}

/// One try; `None` where another transaction was faster.
async fn once(state: &State, id: DeliveryId, actor: &str) -> Result<Option<Replayed>, Failed> {
    let missing = || Failed::Problem(Problem::NotFound(format!("there is no delivery {id}")));
    let mut tx = state.deps.store.begin().await?;
    let kept = inbox::take(&mut tx, id).await?.ok_or_else(missing)?;
    let before = deliveries::get(&mut tx, id).await?.ok_or_else(missing)?;
    let before = before.detail.delivery.outcome.decision;
    let (endpoint, bytes) = readable(state, &kept).map_err(Failed::Problem)?;
    let (sender, reading) = read(endpoint, &kept.headers, bytes);
    let origin = Origin {
        id,
        correlation_id: kept.correlation_id,
        told_again: Some(kept.received_at),
    };
    // What told of pushes does not become less by being read again.
    let told_pushes = !kept.told.is_empty();
    let mut detail = None;
    let mut new_versions = 0;
    let decision = match &reading {
        Err(malformed) => {
            detail = Some(malformed.0.clone());
            if !told_pushes {
                deliveries::reject(&mut tx, id, &malformed.0).await?;
            }
            Decision::Rejected
        }
        Ok(reading) => match &reading.content {
            Content::Pushes(pushes) => {
                let Some(mut done) = judge(&mut tx, &origin, pushes, &kept.told).await? else {
                    tx.rollback().await?;
                    return Ok(None);
                };
                new_versions = done.new_versions() - kept_versions(&done.told, &kept);
                if before == Decision::Accepted {
                    done.decision = before;
                }
                deliveries::settle(&mut tx, id, done.decision, None, &done.told).await?;
                let event = events::replayed(
                    &origin,
                    &endpoint.name,
                    sender.unwrap_or("unknown"),
                    &done,
                    actor,
                );
                announce(&mut tx, event, &done.available).await?;
                done.decision
            }
            Content::Ignored(_) | Content::Handshake(_) => {
                let reason = match reading.content {
                    Content::Ignored(reason) => reason,
                    _ => ReasonCode::Handshake,
                };
                if !told_pushes {
                    let ignored = Decision::Ignored;
                    deliveries::settle(&mut tx, id, ignored, Some(reason), &[]).await?;
                }
                Decision::Ignored
            }
        },
    };
    inbox::replayed(&mut tx, id).await?;
    let delivery = deliveries::get(&mut tx, id).await?.ok_or_else(missing)?;
    state.deps.commit(tx).await?;
    tracing::info!(delivery.id = %id, actor, decision = decision.as_str(), new_versions, "a delivery was read again");
    Ok(Some(Replayed {
        before,
        decision,
        detail,
        new_versions: i64::try_from(new_versions).unwrap_or(i64::MAX),
        delivery: delivery.detail.delivery,
    }))
}

/// Of the pushes told now, those that had made a version before.
fn kept_versions(told: &[deliveries::Told], kept: &Kept) -> usize {
    told.iter()
        .filter(|told| kept.told.contains(told))
        .filter(|told| crate::ingest::makes_a_version(told))
        .count()
}

/// `POST /webhooks/{endpoint}/test`: what a delivery would be read as. Nothing is stored, and nothing
/// is asked of its signature: the operator's key stands in the sender's place.
pub(crate) async fn try_out(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    state.operator(request.headers()).await?;
    let endpoint = crate::receive::endpoint(&state, &name)?;
    let (headers, settings) = (request.headers(), &state.settings);
    let time = Duration::from_secs(settings.body_timeout_seconds);
    let bytes = body::read(headers, payload, settings.max_body_bytes, time).await?;
    let mut tried = Tried {
        sender: None,
        decision: Decision::Rejected,
        reason_code: None,
        detail: None,
        images: Vec::new(),
    };
    let (sender, reading) = match body::check_type(headers) {
        Ok(()) => read(endpoint, &body::kept(headers), &bytes),
        Err(problem) => (None, Err(Malformed(problem.to_string()))),
    };
    tried.sender = sender.map(str::to_owned);
    match reading {
        Err(malformed) => tried.detail = Some(malformed.0),
        Ok(reading) => match reading.content {
            Content::Ignored(reason) => {
                tried.decision = Decision::Ignored;
                tried.reason_code = Some(reason);
            }
            Content::Handshake(_) => {
                tried.decision = Decision::Ignored;
                tried.reason_code = Some(ReasonCode::Handshake);
            }
            Content::Pushes(pushes) => {
                tried.decision = Decision::Accepted;
                tried.images = pushes
                    .into_iter()
                    .map(|push| TriedPush {
                        registry: push.repository.registry().to_owned(),
                        repository: push.repository.path().to_owned(),
                        tag: push.tag,
                        digest: push.digest,
                        actor: push.actor,
                        pushed_at: push.pushed_at,
                    })
                    .collect();
            }
        },
    }
    Ok(HttpResponse::Ok().json(tried))
}
