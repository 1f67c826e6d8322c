//! What webhook-ingest serves, for the one document that clients read.
//!
//! Descriptions only: nothing here is ever called. They stand apart from [`crate::run`]'s routes, since
//! this service refuses the other methods of every path that is among those, and in `windlass up` it
//! would do so before webhook-ingest, which shares the listener, has seen the request.
#![expect(dead_code, reason = "utoipa reads the signatures; nothing is called")]
#![allow(
    unused_qualifications,
    reason = "utoipa's macros qualify the types of queries"
)]

use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};
use windlass_types::delivery::{
    Decision, Delivery, DeliveryDetail, DeliveryOutcome, EndpointHealth, EndpointTest, ReasonCode,
    Replayed, Tried,
};
use windlass_types::ids::DeliveryId;
use windlass_types::page::Page;
use windlass_types::registry::RegistryWatch;

/// The paths and the types in them.
#[derive(OpenApi)]
#[openapi(paths(
    receive,
    receive_with_secret,
    permit,
    permit_with_secret,
    test,
    try_out,
    list,
    show,
    body,
    replay,
    health,
    registry_watch
))]
pub(super) struct Webhooks;

/// Takes in what a registry tells of a push: docs/webhooks.md. The answer comes when it is stored. A
/// delivery that was sent before is answered with what became of the first one.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{endpoint}", tag = "webhooks",
    request_body(content = Object, description = "As the sender writes it: Docker Hub, GitHub, or CNCF Distribution in version 2 of its events", content_type = "application/json"),
    params(
        ("endpoint" = String, Path, description = "The endpoint's name, `docker-registry` or another that the configuration has"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>`: holds the answer until the rollouts are known that it leads to"),
    ),
    responses(
        (status = 200, description = "It asks whether this is the right endpoint: the answer that the sender wants", body = Object),
        (status = 202, description = "It is stored; this is what became of it", body = DeliveryOutcome,
            headers(("Preference-Applied" = String, description = "`wait=<seconds>`, where it was waited"))),
        (status = 400, description = "It cannot be read, or no sender writes so"),
        (status = 401, description = "It is not signed, or wrongly, and the endpoint has a secret"),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 408, description = "The body did not come in `webhooks.body_timeout_seconds`"),
        (status = 413, description = "Larger than `webhooks.max_body_bytes`"),
        (status = 415, description = "Another content type than JSON, or a content encoding"),
        (status = 429, description = "Too often from this address; `Retry-After` says when to come again"),
        (status = 503, description = "The store did not take it in `webhooks.store_timeout_ms`, or what verifies it cannot be fetched; send it again"),
    ),
    security(("webhook_signature" = []), ("webhook_secret" = []), ()),
)]
fn receive() {}

/// The same for senders that can neither sign nor send headers: the secret ends the address.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{endpoint}/{secret}", tag = "webhooks",
    request_body(content = Object, description = "As the sender writes it", content_type = "application/json"),
    params(
        ("endpoint" = String, Path, description = "The endpoint's name"),
        ("secret" = String, Path, description = "The endpoint's secret"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>`: holds the answer until the rollouts are known that it leads to"),
    ),
    responses(
        (status = 200, description = "It asks whether this is the right endpoint: the answer that the sender wants", body = Object),
        (status = 202, description = "It is stored; this is what became of it", body = DeliveryOutcome,
            headers(("Preference-Applied" = String, description = "`wait=<seconds>`, where it was waited"))),
        (status = 400, description = "It cannot be read, or no sender writes so"),
        (status = 401, description = "This is not the endpoint's secret"),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 408, description = "The body did not come in `webhooks.body_timeout_seconds`"),
        (status = 413, description = "Larger than `webhooks.max_body_bytes`"),
        (status = 415, description = "Another content type than JSON, or a content encoding"),
        (status = 429, description = "Too often from this address; `Retry-After` says when to come again"),
        (status = 503, description = "The store did not take it in `webhooks.store_timeout_ms`, or what verifies it cannot be fetched; send it again"),
    ),
    security(()),
)]
fn receive_with_secret() {}

/// That an endpoint is there, and how it wants to be talked to. Asks for no key.
#[utoipa::path(
    get, path = "/api/v1/webhooks/{endpoint}/test", tag = "webhooks",
    params(("endpoint" = String, Path, description = "The endpoint's name")),
    responses(
        (status = 200, description = "It is there", body = EndpointTest),
        (status = 404, description = "The configuration has no such endpoint"),
    ),
    security(()),
)]
fn test() {}

/// Leave to send CloudEvents, for the origins that the endpoint's configuration names.
#[utoipa::path(
    options, path = "/api/v1/webhooks/{endpoint}", tag = "webhooks",
    params(
        ("endpoint" = String, Path, description = "The endpoint's name"),
        ("WebHook-Request-Origin" = String, Header, description = "Who wants to send"),
        ("WebHook-Request-Rate" = Option<String>, Header, description = "How many a minute"),
    ),
    responses(
        (status = 200, description = "They may", headers(
            ("WebHook-Allowed-Origin" = String, description = "As asked"),
            ("WebHook-Allowed-Rate" = String, description = "How many a minute"))),
        (status = 403, description = "This origin may not"),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 405, description = "Without `WebHook-Request-Origin` this is no question"),
        (status = 429, description = "Too often from this address"),
    ),
    security(()),
)]
fn permit() {}

/// The same at an address that ends with the secret, which must be right.
#[utoipa::path(
    options, path = "/api/v1/webhooks/{endpoint}/{secret}", tag = "webhooks",
    params(
        ("endpoint" = String, Path, description = "The endpoint's name"),
        ("secret" = String, Path, description = "The endpoint's secret"),
        ("WebHook-Request-Origin" = String, Header, description = "Who wants to send"),
        ("WebHook-Request-Rate" = Option<String>, Header, description = "How many a minute"),
    ),
    responses(
        (status = 200, description = "They may", headers(
            ("WebHook-Allowed-Origin" = String, description = "As asked"),
            ("WebHook-Allowed-Rate" = String, description = "How many a minute"))),
        (status = 401, description = "This is not the endpoint's secret"),
        (status = 403, description = "This origin may not"),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 405, description = "Without `WebHook-Request-Origin` this is no question"),
        (status = 429, description = "Too often from this address"),
    ),
    security(()),
)]
fn permit_with_secret() {}

/// What an endpoint would read a delivery as. Nothing is stored and no signature is looked at.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{endpoint}/test", tag = "webhooks",
    request_body(content = Option<Vec<u8>>, description = "The delivery, whatever it is, with the headers that its sender would send, `Content-Type` included", content_type = "application/octet-stream"),
    params(("endpoint" = String, Path, description = "The endpoint's name")),
    responses(
        (status = 200, description = "What it would be read as, also where it would be rejected", body = Tried),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 408, description = "The body did not come in `webhooks.body_timeout_seconds`"),
        (status = 413, description = "Larger than `webhooks.max_body_bytes`"),
    ),
)]
fn try_out() {}

/// A page of deliveries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Only those to this endpoint.
    endpoint: Option<String>,
    /// Only those of which this became.
    #[param(inline)]
    decision: Option<Decision>,
    /// Only those of this sender.
    sender: Option<String>,
    /// Only those that were ignored for this.
    #[param(inline)]
    reason: Option<ReasonCode>,
    /// Only those that tell of this repository, named with its registry.
    repository: Option<String>,
    /// Only those received at this time or later.
    since: Option<DateTime<Utc>>,
    /// Only those received before this time.
    until: Option<DateTime<Utc>>,
    /// Rows at most; 50 where not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<DeliveryId>,
}

/// Deliveries, latest first.
#[utoipa::path(
    get, path = "/api/v1/webhooks/deliveries", tag = "webhooks",
    params(Query),
    responses((status = 200, description = "A page of deliveries", body = Page<Delivery>)),
)]
fn list() {}

/// One delivery with what is kept of it.
#[utoipa::path(
    get, path = "/api/v1/webhooks/deliveries/{id}", tag = "webhooks",
    params(("id" = uuid::Uuid, Path, description = "The delivery")),
    responses(
        (status = 200, description = "The delivery", body = DeliveryDetail),
        (status = 404, description = "There is no such delivery"),
    ),
)]
fn show() {}

/// The body of a delivery as it was received.
#[utoipa::path(
    get, path = "/api/v1/webhooks/deliveries/{id}/body", tag = "webhooks",
    params(("id" = uuid::Uuid, Path, description = "The delivery")),
    responses(
        (status = 200, description = "The bytes", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("Content-Disposition" = String, description = "`attachment`"))),
        (status = 404, description = "There is no such delivery, or its body is no longer kept"),
    ),
)]
fn body() {}

/// Reads a delivery again with today's parser. A push that it told before stays what it was; what is new
/// ships. Doing it twice changes nothing.
#[utoipa::path(
    post, path = "/api/v1/webhooks/deliveries/{id}/replay", tag = "webhooks",
    params(("id" = uuid::Uuid, Path, description = "The delivery")),
    responses(
        (status = 200, description = "What it is read as, and how it stands", body = Replayed),
        (status = 404, description = "There is no such delivery"),
        (status = 409, description = "Its body is no longer kept, or its endpoint no longer configured"),
    ),
)]
fn replay() {}

/// How far to look back.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Days {
    /// Deliveries of so many days are counted; 7 where not given.
    #[param(minimum = 1, maximum = 366)]
    days: Option<u32>,
}

/// How every endpoint is doing: when it heard something last, what it ignored and what it refused.
#[utoipa::path(
    get, path = "/api/v1/webhooks/endpoints", tag = "webhooks",
    params(Days),
    responses((status = 200, description = "Every endpoint that is configured or has deliveries", body = Vec<EndpointHealth>)),
)]
fn health() {}

/// A page of repositories.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct WatchQuery {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// The repositories that are looked at for pushes, with the webhooks that were missed, and how often
/// each registry may be asked.
#[utoipa::path(
    get, path = "/api/v1/registry-watch", tag = "webhooks",
    params(WatchQuery),
    responses((status = 200, description = "What is looked at", body = RegistryWatch)),
)]
fn registry_watch() {}
