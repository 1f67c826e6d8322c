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

use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};
use windlass_types::delivery::{Decision, Delivery, DeliveryDetail, DeliveryOutcome, EndpointTest};
use windlass_types::ids::DeliveryId;
use windlass_types::page::Page;

/// The paths and the types in them.
#[derive(OpenApi)]
#[openapi(paths(receive, receive_with_secret, test, list, show))]
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
        (status = 202, description = "It is stored; this is what became of it", body = DeliveryOutcome,
            headers(("Preference-Applied" = String, description = "`wait=<seconds>`, where it was waited"))),
        (status = 400, description = "It cannot be read, or no sender writes so"),
        (status = 401, description = "It is not signed, or wrongly, and the endpoint has a secret"),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 413, description = "Larger than `webhooks.max_body_bytes`"),
        (status = 415, description = "Another content type than JSON, or a content encoding"),
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
        (status = 202, description = "It is stored; this is what became of it", body = DeliveryOutcome,
            headers(("Preference-Applied" = String, description = "`wait=<seconds>`, where it was waited"))),
        (status = 400, description = "It cannot be read, or no sender writes so"),
        (status = 401, description = "This is not the endpoint's secret"),
        (status = 404, description = "The configuration has no such endpoint"),
        (status = 413, description = "Larger than `webhooks.max_body_bytes`"),
        (status = 415, description = "Another content type than JSON, or a content encoding"),
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

/// A page of deliveries.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Query {
    /// Only those to this endpoint.
    endpoint: Option<String>,
    /// Only those of which this became.
    #[param(inline)]
    decision: Option<Decision>,
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
