//! The OpenAPI document: what handlers say of themselves, and what is the same for all of them.

mod webhooks;

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, get};
use serde_json::{Value, json};
use std::sync::OnceLock;
use utoipa::openapi::content::Content;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::response::Response;
use utoipa::openapi::schema::{Components, Ref, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{ContentBuilder, Info, OpenApi, RefOr, Tag};
use utoipa::{OpenApi as _, PartialSchema, ToSchema};
use windlass_types::problem::{FieldError, ProblemBody};

/// Where the document is.
pub(crate) const PATH: &str = "/api/v1/openapi.json";

const OPERATOR: &str = "operator_key";
const DEVICE: &str = "device_key";
const PROVISIONING: &str = "provisioning_key";
const SECRET: &str = "webhook_secret";
const SIGNATURE: &str = "webhook_signature";

static DOCUMENT: OnceLock<String> = OnceLock::new();

/// This document.
#[utoipa::path(tag = "about", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object),
))]
#[get("/api/v1/openapi.json")]
pub(crate) async fn serve() -> HttpResponse {
    let text = DOCUMENT.get_or_init(|| {
        // A document of maps with text keys: writing it cannot fail.
        let mut json = serde_json::to_value(complete(crate::run::document())).unwrap_or_default();
        tighten(&mut json);
        let known = json.pointer("/components/schemas").cloned();
        open_parts(&mut json, &known.unwrap_or_default());
        serde_json::to_string_pretty(&json).unwrap_or_default()
    });
    HttpResponse::Ok()
        .insert_header(ContentType::json())
        .body(text.as_str())
}

/// Adds to what handlers say: who may call, the answers that every path shares, and the paths of
/// webhook-ingest.
pub(crate) fn complete(mut document: OpenApi) -> OpenApi {
    document.merge(webhooks::Webhooks::openapi());
    document.info = Info::builder()
        .title("Windlass")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Rolls container images out to fleets of devices. Every answer that is neither 2xx nor \
             304 is a problem (RFC 9457). Listings come in pages: give `next` back as `after`.",
        ))
        .license(Some(utoipa::openapi::License::new("Apache-2.0")))
        .build();
    document.tags = Some(
        [
            (
                "policies",
                "Which pushed images go to which devices, and how",
            ),
            ("rollouts", "Rollouts and the devices in them"),
            ("images", "Versions that were seen, and rollouts by hand"),
            (
                "freezes",
                "Times in which no rollout admits anybody, and the stop button",
            ),
            (
                "holds",
                "Policies and repositories of which nothing new ships for a time",
            ),
            ("quarantine", "Digests that ship no more"),
            (
                "penalties",
                "Devices set aside for a time, because they fail what is good elsewhere",
            ),
            (
                "devices",
                "Devices, fleets and targets, as operators see them",
            ),
            ("operators", "Keys of people and programs that manage rollouts"),
            ("provisioning", "Keys with which devices register"),
            ("device", "What devices call: docs/device-protocol.md"),
            (
                "webhooks",
                "What registries call. Served by webhook-ingest, which `windlass up` has at the same \
                 address and other installations at its own: docs/webhooks.md",
            ),
            ("events", "What happens, live"),
            ("about", "The API itself"),
        ]
        .into_iter()
        .map(|(name, text)| {
            let mut tag = Tag::new(name);
            tag.description = Some(text.to_owned());
            tag
        })
        .collect(),
    );
    let components = document.components.get_or_insert_with(Components::new);
    for (name, schema) in [
        (ProblemBody::name(), ProblemBody::schema()),
        (FieldError::name(), FieldError::schema()),
    ] {
        components.schemas.insert(name.into_owned(), schema);
    }
    for (name, scheme) in schemes() {
        components.add_security_scheme(name, scheme);
    }
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            operation.operation_id = Some(id_of(method, path));
            finish(method, path, operation);
        }
    }
    document
}

fn schemes() -> [(&'static str, SecurityScheme); 5] {
    let bearer = |text: &str| {
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(text))
                .build(),
        )
    };
    let header = |name: &str, text: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, text)))
    };
    [
        (OPERATOR, bearer("An operator's key")),
        (
            DEVICE,
            header(
                "X-Device-API-Key",
                "The device's own key; `Authorization: Bearer` is taken too",
            ),
        ),
        (SECRET, bearer("The endpoint's secret")),
        (
            SIGNATURE,
            header(
                "X-Hub-Signature-256",
                "`sha256=` and the HMAC-SHA256 of the body under the endpoint's secret in hex",
            ),
        ),
        (PROVISIONING, bearer("A provisioning key")),
    ]
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (&'static str, &mut Operation)> {
    [
        ("get", &mut item.get),
        ("put", &mut item.put),
        ("post", &mut item.post),
        ("delete", &mut item.delete),
        ("patch", &mut item.patch),
        ("options", &mut item.options),
    ]
    .into_iter()
    .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

/// `get_rollouts_id_devices`: handlers' names repeat from module to module, ids may not.
fn id_of(method: &str, path: &str) -> String {
    let words = path
        .trim_start_matches("/api/v1")
        .split(['/', '{', '}', '-', '.'])
        .filter(|word| !word.is_empty());
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

fn finish(method: &str, path: &str, operation: &mut Operation) {
    let scheme = match path {
        PATH => None,
        "/api/v1/webhooks/{endpoint}/test" if method == "get" => None,
        "/api/v1/device/register" => Some(PROVISIONING),
        _ if path.starts_with("/api/v1/device/") => Some(DEVICE),
        _ => Some(OPERATOR),
    };
    let mut shared = Vec::new();
    if let Some(scheme) = scheme {
        if operation.security.is_none() {
            operation.security = Some(vec![SecurityRequirement::new(
                scheme,
                std::iter::empty::<String>(),
            )]);
        }
        shared.extend([
            ("401", "No key, or a wrong one"),
            ("500", "Our fault; the request id finds it in the log"),
            ("503", "The store does not answer; nothing was changed"),
        ]);
    }
    let has_parameters = operation
        .parameters
        .as_ref()
        .is_some_and(|parameters| !parameters.is_empty());
    if has_parameters || operation.request_body.is_some() {
        shared.push(("400", "The request cannot be read, or fields are wrong"));
    }
    if operation.request_body.is_some() {
        shared.extend([
            ("413", "The body is too large"),
            ("415", "The body has another content type or encoding"),
        ]);
    }
    let responses = &mut operation.responses.responses;
    for (status, text) in shared {
        responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(Response::new(text)));
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response
            && status.as_str() >= "400"
            && response.content.is_empty()
        {
            response
                .content
                .insert("application/problem+json".to_owned(), problem());
        }
    }
}

/// Says what the derives leave vague: how large a `u32` is, and that a parameter that is left out is
/// not null.
fn tighten(json: &mut Value) {
    match json {
        Value::Object(map) => {
            if map.get("format") == Some(&json!("int32")) && map.contains_key("minimum") {
                map.insert("format".to_owned(), json!("int64"));
                map.entry("maximum").or_insert_with(|| json!(u32::MAX));
            }
            if map.contains_key("in")
                && let Some(kind) = map.get_mut("schema").and_then(|s| s.get_mut("type"))
                && let Some(kinds) = kind.as_array()
            {
                let given: Vec<_> = kinds.iter().filter(|k| **k != json!("null")).collect();
                *kind = given.first().map_or(Value::Null, |k| (*k).clone());
            }
            map.values_mut().for_each(tighten);
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A schema that takes no unknown fields cannot be a part of a larger one, whose other fields it
/// would refuse: there it stands open.
fn open_parts(json: &mut Value, known: &Value) {
    match json {
        Value::Object(map) => {
            if let Some(parts) = map.get_mut("allOf").and_then(Value::as_array_mut) {
                parts.iter_mut().for_each(|part| open_part(part, known));
            }
            map.values_mut().for_each(|value| open_parts(value, known));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| open_parts(value, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn open_part(part: &mut Value, known: &Value) {
    let name = part.get("$ref").and_then(Value::as_str);
    let whole = name
        .and_then(|name| name.rsplit('/').next())
        .and_then(|name| known.get(name)?.as_object())
        .filter(|whole| whole.contains_key("additionalProperties"));
    if let Some(whole) = whole {
        let mut open = whole.clone();
        open.remove("additionalProperties");
        *part = Value::Object(open);
    }
}

fn problem() -> RefOr<Content> {
    let schema: RefOr<Schema> = Ref::from_schema_name(ProblemBody::name()).into();
    ContentBuilder::new().schema(Some(schema)).build().into()
}
