//! Rollouts, the devices in them and what happened.

use super::page::{etag, limit, page};
use super::waiting;
use crate::app::App;
use crate::auth::By;
use actix_web::{HttpResponse, get, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::views::{self, RolloutFilter};
use windlass_store::{Session, events as log};
use windlass_types::event::{Cursor, Event};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::page::Page;
use windlass_types::rollout::{DeviceStatus, RolloutDevice, RolloutStatus, RolloutView};

/// A rollout with its progress and what it waits for.
pub(super) async fn read(session: &mut Session, id: RolloutId) -> Result<RolloutView, Problem> {
    let view = views::rollout(session, id)
        .await?
        .ok_or_else(|| Problem::NotFound(format!("there is no rollout {id}")))?;
    Ok(waiting::fill(session, view).await?)
}

/// A page of rollouts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    /// Only rollouts that stand here.
    #[param(inline)]
    status: Option<RolloutStatus>,
    /// Only rollouts that have not ended, or with `false` only those that have.
    active: Option<bool>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<RolloutId>,
}

/// Rollouts, latest first.
#[utoipa::path(tag = "rollouts", params(ListQuery), responses(
    (status = 200, description = "A page of rollouts", body = Page<RolloutView>),
))]
#[get("/api/v1/rollouts")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<ListQuery>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<RolloutView>>, Problem> {
    let limit = limit(query.limit)?;
    let filter = RolloutFilter {
        status: query.status,
        active: query.active,
    };
    let mut session = app.deps.store.read().await?;
    let rows = views::rollouts(&mut session, filter, query.after, limit + 1).await?;
    let mut page = page(rows, limit, |row: &RolloutView| row.rollout.id);
    let mut items = Vec::with_capacity(page.items.len());
    for row in page.items {
        items.push(waiting::fill(&mut session, row).await?);
    }
    page.items = items;
    Ok(web::Json(page))
}

/// One rollout with its batches and what it waits for.
#[utoipa::path(tag = "rollouts", params(("id" = uuid::Uuid, Path, description = "The rollout")), responses(
    (status = 200, description = "The rollout; `ETag` has its version", body = RolloutView, headers(("etag" = String))),
    (status = 404, description = "There is no such rollout"),
))]
#[get("/api/v1/rollouts/{id}")]
pub(super) async fn get(
    By(_operator, id): By<web::Path<RolloutId>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let mut session = app.deps.store.read().await?;
    let view = read(&mut session, *id).await?;
    Ok(HttpResponse::Ok()
        .insert_header(etag(view.rollout.version))
        .json(view))
}

/// A page of a rollout's devices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct DevicesQuery {
    /// Only devices that stand here.
    #[param(inline)]
    status: Option<DeviceStatus>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<DeviceId>,
}

/// The devices of a rollout, by uuid.
#[utoipa::path(tag = "rollouts", params(("id" = uuid::Uuid, Path, description = "The rollout"), DevicesQuery), responses(
    (status = 200, description = "A page of devices", body = Page<RolloutDevice>),
    (status = 404, description = "There is no such rollout"),
))]
#[get("/api/v1/rollouts/{id}/devices")]
pub(super) async fn devices(
    By(_operator, (id, query)): By<(web::Path<RolloutId>, web::Query<DevicesQuery>)>,
    app: web::Data<App>,
) -> Result<web::Json<Page<RolloutDevice>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    let rollout = read(&mut session, *id).await?.rollout;
    let rows = views::rollout_devices(
        &mut session,
        *id,
        &rollout.repository,
        query.status,
        query.after,
        limit + 1,
    )
    .await?;
    Ok(web::Json(page(rows, limit, |row| row.device_uuid)))
}

/// A page of a rollout's events.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before, or any event's id.
    #[param(value_type = Option<String>, pattern = "^[0-9]{1,18}-[0-9]{1,18}$")]
    after: Option<Cursor>,
}

/// The events of a rollout, oldest first.
#[utoipa::path(tag = "rollouts", params(("id" = uuid::Uuid, Path, description = "The rollout"), EventsQuery), responses(
    (status = 200, description = "A page of events", body = Page<Event>),
    (status = 404, description = "There is no such rollout"),
))]
#[get("/api/v1/rollouts/{id}/events")]
pub(super) async fn events(
    By(_operator, (id, query)): By<(web::Path<RolloutId>, web::Query<EventsQuery>)>,
    app: web::Data<App>,
) -> Result<web::Json<Page<Event>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    read(&mut session, *id).await?;
    let after = query.after.unwrap_or_default();
    let rows = log::of_rollout(&mut session, *id, after, limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.id)))
}
