//! Keys of operators: each person's approvals and orders carry their own name.

use super::body::Body;
use super::page::wrong;
use crate::app::App;
use crate::auth::{By, Operator};
use actix_web::{HttpResponse, delete, get, post, web};
use serde_json::json;
use uuid::Uuid;
use windlass_service::Problem;
use windlass_service::keys::generate;
use windlass_store::api_keys::{self, Revoked};
use windlass_store::events;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::OperatorKeyId;
use windlass_types::operator::{NewOperatorKey, OperatorKey};

/// Characters of a name at most.
const LONGEST: usize = 64;
/// The name of the key in the configuration, which is not in the store.
const CONFIGURED: &str = "configured";

/// Makes a key for another operator. The answer is the only one that shows it.
#[utoipa::path(tag = "operators", request_body = NewOperatorKey, responses(
    (status = 201, description = "The key", body = OperatorKey),
    (status = 409, description = "Somebody has, or had, a key of that name"),
))]
#[post("/api/v1/operator-keys")]
pub(super) async fn create(
    By(operator, body): By<Body<NewOperatorKey>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let name = body.0.name;
    let fits = (1..=LONGEST).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    if !fits {
        return Err(wrong(
            "name",
            format!(
                "must have 1 to {LONGEST} letters, digits, '.', '_' or '-', and begin with a letter or digit"
            ),
        ));
    }
    let text = generate("wlo_").map_err(Problem::internal)?;
    let mut session = app.deps.store.begin().await?;
    let mut key = OperatorKey {
        id: OperatorKeyId(Uuid::now_v7()),
        key: None,
        name,
        created_at: session.now(),
        revoked_at: None,
    };
    if key.name == CONFIGURED
        || !api_keys::create(&mut session, &key, &app.pepper.hash(&text)).await?
    {
        return Err(Problem::Conflict(format!(
            "somebody has, or had, a key of the name {}; names stand in the audit trail, so take another",
            key.name
        )));
    }
    let event = NewEvent::new(EventType::OperatorKeyCreated, operator.actor())
        .subject(&key.id)
        .data(json!({"name": key.name}));
    events::append(&mut session, event).await?;
    app.deps.commit(session).await?;
    key.key = Some(text);
    Ok(HttpResponse::Created().json(key))
}

/// All operators' keys in the order of their names, without the keys themselves.
#[utoipa::path(tag = "operators", responses(
    (status = 200, description = "The keys", body = Vec<OperatorKey>),
))]
#[get("/api/v1/operator-keys")]
pub(super) async fn list(
    _operator: Operator,
    app: web::Data<App>,
) -> Result<web::Json<Vec<OperatorKey>>, Problem> {
    let mut session = app.deps.store.read().await?;
    Ok(web::Json(api_keys::list(&mut session).await?))
}

/// Revokes an operator's key. The last one stays.
#[utoipa::path(tag = "operators", params(("id" = Uuid, Path, description = "The key's id")), responses(
    (status = 204, description = "The key is revoked"),
    (status = 404, description = "There is no such key"),
    (status = 409, description = "It is the last key"),
))]
#[delete("/api/v1/operator-keys/{id}")]
pub(super) async fn revoke(
    By(operator, path): By<web::Path<OperatorKeyId>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let mut session = app.deps.store.begin().await?;
    let another_way = app.operators.configured.is_some();
    match api_keys::revoke(&mut session, *path, another_way).await? {
        Revoked::Now(name) => {
            let event = NewEvent::new(EventType::OperatorKeyRevoked, operator.actor())
                .subject(&*path)
                .data(json!({"name": name}));
            events::append(&mut session, event).await?;
        }
        Revoked::Before => {}
        Revoked::Last => {
            return Err(Problem::Conflict(
                "this is the last operator's key; make another one first".to_owned(),
            ));
        }
        Revoked::Unknown => {
            return Err(Problem::NotFound(format!(
                "there is no operator's key {path}"
            )));
        }
    }
    app.deps.commit(session).await?;
    Ok(HttpResponse::NoContent().finish())
}
