//! Keys with which devices register.

use super::body::Body;
use super::page::{limit, page, wrong};
use crate::app::App;
use crate::auth::By;
use actix_web::{HttpResponse, delete, get, post, web};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use uuid::Uuid;
use windlass_service::Problem;
use windlass_service::keys::generate;
use windlass_store::provisioning::{self, Revocation};
use windlass_store::{devices, events};
use windlass_types::device::{NewProvisioningKey, ProvisioningKey};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{FleetId, ProvisioningKeyId};
use windlass_types::page::Page;

/// Devices of one key at most.
const MOST_DEVICES: i64 = 10_000_000;
/// Days that a key is valid at most: ten years.
const MOST_DAYS: i64 = 3650;
/// Characters of a description at most.
const LONGEST: usize = 1000;

/// Makes a provisioning key. The answer is the only one that shows it.
#[utoipa::path(tag = "provisioning", request_body = NewProvisioningKey, responses(
    (status = 201, description = "The key", body = ProvisioningKey),
))]
#[post("/api/v1/provisioning-keys")]
pub(super) async fn create(
    By(operator, body): By<Body<NewProvisioningKey>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let new = body.0;
    if !(1..=MOST_DEVICES).contains(&new.max_devices) {
        return Err(wrong(
            "maxDevices",
            format!("must be between 1 and {MOST_DEVICES}"),
        ));
    }
    if !(1..=MOST_DAYS).contains(&new.expires_in_days) {
        return Err(wrong(
            "expiresInDays",
            format!("must be between 1 and {MOST_DAYS}"),
        ));
    }
    if new.description.chars().count() > LONGEST {
        return Err(wrong(
            "description",
            format!("must not be longer than {LONGEST} characters"),
        ));
    }
    let text = generate("wlp_").map_err(Problem::internal)?;
    let mut session = app.deps.store.begin().await?;
    devices::ensure_fleet(&mut session, &new.fleet_id).await?;
    let mut key = ProvisioningKey {
        id: ProvisioningKeyId(Uuid::now_v7()),
        key: None,
        fleet_id: new.fleet_id,
        max_devices: new.max_devices,
        devices: 0,
        description: new.description,
        expires_at: session.now() + TimeDelta::days(new.expires_in_days),
        revoked_at: None,
        created_at: session.now(),
    };
    provisioning::create(&mut session, &key, &app.pepper.hash(&text)).await?;
    let event = NewEvent::new(EventType::ProvisioningKeyCreated, operator.actor())
        .subject(&key.id)
        .data(json!({
            "fleet": key.fleet_id,
            "max_devices": key.max_devices,
            "expires_at": key.expires_at,
            "description": key.description,
        }));
    events::append(&mut session, event).await?;
    app.deps.commit(session).await?;
    key.key = Some(text);
    Ok(HttpResponse::Created().json(key))
}

/// A page of provisioning keys.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only keys of this fleet.
    #[serde(rename = "fleetId")]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    fleet_id: Option<FleetId>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<ProvisioningKeyId>,
}

/// Provisioning keys in the order in which they were made, without the keys themselves.
#[utoipa::path(tag = "provisioning", params(Query), responses(
    (status = 200, description = "A page of keys", body = Page<ProvisioningKey>),
))]
#[get("/api/v1/provisioning-keys")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<ProvisioningKey>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    let fleet = query.fleet_id.as_ref();
    let rows = provisioning::list(&mut session, fleet, query.after, limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.id)))
}

/// Revokes a provisioning key: it registers no more devices. Those it has registered stay.
#[utoipa::path(tag = "provisioning", params(("id" = Uuid, Path, description = "The key's id")), responses(
    (status = 204, description = "The key is revoked"),
    (status = 404, description = "There is no such key"),
))]
#[delete("/api/v1/provisioning-keys/{id}")]
pub(super) async fn revoke(
    By(operator, path): By<web::Path<ProvisioningKeyId>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let mut session = app.deps.store.begin().await?;
    match provisioning::revoke(&mut session, *path).await? {
        Revocation::Now => {
            let event = NewEvent::new(EventType::ProvisioningKeyRevoked, operator.actor());
            events::append(&mut session, event.subject(&*path)).await?;
        }
        Revocation::Before => {}
        Revocation::Unknown => {
            return Err(Problem::NotFound(format!(
                "there is no provisioning key {path}"
            )));
        }
    }
    app.deps.commit(session).await?;
    Ok(HttpResponse::NoContent().finish())
}
