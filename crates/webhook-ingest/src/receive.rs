//! The endpoints that registries send to.

use crate::answer;
use crate::auth;
use crate::body;
use crate::endpoints::{Endpoint, USUAL};
use crate::ingest::ingest;
use crate::limit::sender_of;
use crate::senders::envelope::is_sns;
use crate::senders::{self, Content, Malformed, Reading};
use crate::sns::{self, Kind, Message};
use crate::state::State;
use crate::token;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;
use windlass_service::Problem;
use windlass_service::problem::chain;
use windlass_store::deliveries::NewDelivery;
use windlass_types::delivery::{EndpointTest, ReasonCode};
use windlass_types::ids::{CorrelationId, DeliveryId};

/// The endpoint of this name.
pub(crate) fn endpoint<'a>(state: &'a State, name: &str) -> Result<&'a Endpoint, Problem> {
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
        authenticated: endpoint.is_authenticated(),
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
            Problem::TooSlow(_) => "too_slow",
            Problem::TooMany(_) => "too_many",
            _ => "failed",
        };
        state.metrics.delivery(sender, decision);
        state.metrics.endpoint(&endpoint.name, decision, "");
        let now = state.deps.store.clock().now();
        state
            .refusals
            .note(&endpoint.name, decision, &problem.to_string(), now);
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
    endpoint.limit.charge(sender_of(request, &state.proxies))?;
    let headers = request.headers();
    let settings = &state.settings;
    let time = Duration::from_secs(settings.body_timeout_seconds);
    let bytes = body::read(headers, payload, settings.max_body_bytes, time).await?;
    auth::check(&endpoint.secrets, headers, path_secret, &bytes)?;
    if let Some(wanted) = &endpoint.token {
        let now = state.deps.store.clock().now().timestamp();
        token::check(wanted, &state.keys, headers, now).await?;
    }
    body::check_type(headers)?;
    let kept = body::kept(headers);
    let (sender, reading) = understand(state, endpoint, &kept, &bytes).await?;
    *sender_name = sender.or(*sender_name);
    let sender = sender_name.unwrap_or("unknown");
    let delivery_id = reading
        .as_ref()
        .ok()
        .and_then(|reading| reading.delivery_id.clone());
    let new = NewDelivery {
        id: DeliveryId(Uuid::now_v7()),
        endpoint: endpoint.name.clone(),
        sender: sender.to_owned(),
        dedupe_key: dedupe_key(sender, delivery_id.as_deref(), &bytes),
        sender_delivery_id: delivery_id,
        headers: kept,
        body: bytes,
        correlation_id: CorrelationId(Uuid::now_v7()),
    };
    // Listened for before anything is stored, so that no decision falls between.
    let bell = state.deps.bus.subscribe();
    let limit = Duration::from_millis(settings.store_timeout_ms);
    let ingested = ingest(&state.deps, &new, reading.as_ref(), limit).await?;
    let reading = reading.map_err(|error| Problem::Malformed(error.to_string()))?;
    let outcome = &ingested.stored.detail.delivery.outcome;
    let decision = if ingested.repeated {
        "repeated"
    } else {
        outcome.decision.as_str()
    };
    state.metrics.delivery(*sender_name, decision);
    let reason = outcome.reason_code.map_or("", ReasonCode::as_str);
    state.metrics.endpoint(&endpoint.name, decision, reason);
    tracing::info!(
        endpoint = endpoint.name,
        sender,
        delivery.id = %outcome.delivery_id,
        decision,
        reason_code = outcome.reason_code.map(ReasonCode::as_str),
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

/// What an authenticated delivery says, or why it cannot be read; it is kept either way. With its
/// sender, where there is one.
///
/// # Errors
/// [`Problem`] where nothing is to be kept, because it is not known from whom it comes.
async fn understand(
    state: &State,
    endpoint: &Endpoint,
    headers: &BTreeMap<String, String>,
    bytes: &[u8],
) -> Result<(Option<&'static str>, Result<Reading, Malformed>), Problem> {
    let parsed = match body::parse(bytes) {
        Ok(parsed) => parsed,
        // A topic's signature is in the body.
        Err(problem) if !endpoint.topics.is_empty() => return Err(problem),
        Err(problem) => return Ok((None, Err(Malformed(problem.to_string())))),
    };
    if let Some(reading) = of_topic(state, endpoint, &parsed).await? {
        return Ok((Some("sns"), Ok(reading)));
    }
    let registry = endpoint.registry.as_deref();
    Ok(
        match senders::read(headers, &parsed, registry, endpoint.sender) {
            Ok((sender, reading)) => (Some(sender.name), Ok(reading)),
            Err((sender, malformed)) => (sender.map(|sender| sender.name), Err(malformed)),
        },
    )
}

/// What a message of SNS is for, where it carries nothing: a subscription, which is confirmed, or its end.
/// `None` where the delivery is to be read: because it is no message, or because it carries something.
///
/// # Errors
/// [`Problem::Unauthorized`] for what no topic of the endpoint has signed.
async fn of_topic(
    state: &State,
    endpoint: &Endpoint,
    body: &Value,
) -> Result<Option<Reading>, Problem> {
    if !is_sns(body) {
        return if endpoint.topics.is_empty() {
            Ok(None)
        } else {
            Err(Problem::Unauthorized(
                "this endpoint takes signed messages of its topics and nothing else; turn off raw \
                 message delivery at the subscription"
                    .to_owned(),
            ))
        };
    }
    let message = Message::read(body)?;
    let Some(topic) = endpoint
        .topics
        .iter()
        .find(|topic| topic.as_str() == message.topic)
    else {
        return if endpoint.topics.is_empty() && message.kind == Kind::Notification {
            Ok(None)
        } else {
            Err(Problem::Unauthorized(format!(
                "the message is of a topic that webhooks.endpoints.{}.topics does not name",
                endpoint.name
            )))
        };
    };
    sns::check(topic, &state.certificates, &message).await?;
    let content = match message.kind {
        Kind::Notification => return Ok(None),
        Kind::Subscription { url } => {
            let url = sns::confirmation_url(topic, url)
                .map_err(|why| Problem::Unauthorized(format!("SubscribeURL {why}")))?;
            state.fetch.get(&url).await.map_err(|error| {
                tracing::warn!(
                    endpoint = endpoint.name,
                    topic = topic.as_str(),
                    error = %chain(&error),
                    "a subscription cannot be confirmed; SNS asks again"
                );
                Problem::Unavailable(None)
            })?;
            tracing::info!(
                endpoint = endpoint.name,
                topic = topic.as_str(),
                "a subscription was confirmed"
            );
            Content::Handshake(json!({"confirmed": topic.as_str()}))
        }
        Kind::Unsubscription => {
            tracing::warn!(
                endpoint = endpoint.name,
                topic = topic.as_str(),
                "a subscription was ended; its topic tells nothing here any more"
            );
            Content::Ignored(ReasonCode::Handshake)
        }
    };
    Ok(Some(Reading {
        delivery_id: message.id.map(str::to_owned),
        content,
    }))
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
