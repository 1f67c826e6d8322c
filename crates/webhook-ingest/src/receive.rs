//! The endpoints that registries send to.

use crate::answer;
use crate::auth;
use crate::body;
use crate::endpoints::{Endpoint, USUAL};
use crate::ingest::ingest;
use crate::senders::{self, Content, Incoming};
use crate::state::State;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use sha2::{Digest, Sha256};
use std::time::Duration;
use uuid::Uuid;
use windlass_service::Problem;
use windlass_store::deliveries::NewDelivery;
use windlass_types::delivery::EndpointTest;
use windlass_types::ids::{CorrelationId, DeliveryId};

/// The endpoint of this name.
fn endpoint<'a>(state: &'a State, name: &str) -> Result<&'a Endpoint, Problem> {
    state.endpoints.get(name).ok_or_else(|| {
        Problem::NotFound(if name == USUAL {
            format!(
                "the endpoint {USUAL} is not configured; set webhooks.endpoints.{USUAL} with a secret, \
                 or with insecure = true, as docs/webhooks.md says"
            )
        } else {
            "there is no such webhook endpoint; the configuration names them in webhooks.endpoints"
                .to_owned()
        })
    })
}

/// `POST /webhooks/{endpoint}`.
pub(crate) async fn plain(
    state: Data<State>,
    name: Path<String>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    receive(&state, &name, None, &request, payload).await
}

/// `POST /webhooks/{endpoint}/{secret}`, for senders that can neither sign nor send headers.
pub(crate) async fn with_secret(
    state: Data<State>,
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (name, secret) = path.into_inner();
    receive(&state, &name, Some(&secret), &request, payload).await
}

/// `GET /webhooks/{endpoint}/test`: that the endpoint is there, and how it wants to be talked to.
pub(crate) async fn test(state: Data<State>, name: Path<String>) -> Result<HttpResponse, Problem> {
    let endpoint = endpoint(&state, &name)?;
    Ok(HttpResponse::Ok().json(EndpointTest {
        endpoint: endpoint.name.clone(),
        status: "ready".to_owned(),
        authenticated: !endpoint.secrets.live.is_empty(),
        sender: endpoint.sender.map(|sender| sender.name.to_owned()),
        max_body_bytes: state.settings.max_body_bytes,
    }))
}

async fn receive(
    state: &State,
    name: &str,
    path_secret: Option<&str>,
    request: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let endpoint = endpoint(state, name)?;
    // The sender is known by its name only once the delivery is read; until then it may be configured.
    let mut sender = endpoint.sender.map(|sender| sender.name);
    let answer = take(state, endpoint, path_secret, request, payload, &mut sender).await;
    if let Err(problem) = &answer {
        let decision = match problem {
            Problem::Unauthorized(_) => "unauthorized",
            Problem::TooLarge(_) => "too_large",
            Problem::UnsupportedMedia(_) | Problem::Malformed(_) => "malformed",
            Problem::Unavailable(_) => "unavailable",
            _ => "failed",
        };
        state.metrics.delivery(sender, decision);
        tracing::info!(
            endpoint = endpoint.name,
            decision,
            detail = %problem,
            "a delivery was refused"
        );
    }
    answer
}

async fn take(
    state: &State,
    endpoint: &Endpoint,
    path_secret: Option<&str>,
    request: &HttpRequest,
    payload: Payload,
    sender_name: &mut Option<&'static str>,
) -> Result<HttpResponse, Problem> {
    let headers = request.headers();
    let bytes = body::read(headers, payload, state.settings.max_body_bytes).await?;
    auth::check(&endpoint.secrets, headers, path_secret, &bytes)?;
    body::check_type(headers)?;
    let parsed = body::parse(&bytes)?;
    let kept = body::kept(headers);
    let incoming = Incoming {
        headers: &kept,
        body: &parsed,
        registry: endpoint.registry.as_deref(),
    };
    let sender = endpoint
        .sender
        .or_else(|| senders::recognise(&incoming))
        .ok_or_else(|| {
            Problem::Malformed(format!(
                "this looks like a delivery of none of {}; set the endpoint's sender if it is one",
                senders::names()
            ))
        })?;
    *sender_name = Some(sender.name);
    let reading = sender
        .read(&incoming)
        .map_err(|error| Problem::Malformed(error.to_string()))?;
    let new = NewDelivery {
        id: DeliveryId(Uuid::now_v7()),
        endpoint: endpoint.name.clone(),
        sender: sender.name.to_owned(),
        dedupe_key: dedupe_key(sender.name, reading.delivery_id.as_deref(), &bytes),
        sender_delivery_id: reading.delivery_id.clone(),
        headers: kept,
        body: bytes,
        correlation_id: CorrelationId(Uuid::now_v7()),
    };
    // Listened for before anything is stored, so that no decision falls between.
    let bell = state.deps.bus.subscribe();
    let ingested = ingest(&state.deps, &new, &reading).await?;
    let outcome = &ingested.stored.detail.delivery.outcome;
    let decision = if ingested.repeated {
        "repeated"
    } else {
        outcome.decision.as_str()
    };
    state.metrics.delivery(*sender_name, decision);
    tracing::info!(
        endpoint = endpoint.name,
        sender = sender.name,
        delivery.id = %outcome.delivery_id,
        decision,
        reason_code = outcome.reason_code.map(windlass_types::delivery::ReasonCode::as_str),
        images = outcome.images.len(),
        "a delivery was received"
    );
    if let Content::Handshake(answer) = reading.content {
        return Ok(HttpResponse::Ok().json(answer));
    }
    let mut response = HttpResponse::Accepted();
    let mut stored = ingested.stored;
    if let Some(seconds) = answer::wait_of(headers, state.settings.max_wait_seconds)
        && !stored.versions.is_empty()
    {
        let wait = Duration::from_secs(seconds);
        stored = answer::with_rollouts(&state.deps, bell, stored, wait).await;
        if let Ok(applied) = HeaderValue::from_str(&format!("wait={seconds}")) {
            response.insert_header((HeaderName::from_static("preference-applied"), applied));
        }
    }
    Ok(response.json(stored.detail.delivery.outcome))
}

/// What tells a repetition from another delivery: the sender's own id, else the bytes. Every sender
/// without ids puts a time or an address of its own into each delivery.
fn dedupe_key(sender: &str, delivery_id: Option<&str>, bytes: &[u8]) -> String {
    match delivery_id {
        // Hashed, for its length is the sender's to choose.
        Some(id) => format!("{sender}:id:{}", hex::encode(Sha256::digest(id.as_bytes()))),
        None => format!("{sender}:body:{}", hex::encode(Sha256::digest(bytes))),
    }
}
