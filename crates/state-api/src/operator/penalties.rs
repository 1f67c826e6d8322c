//! Devices that are set aside for a time, because they fail images that are good elsewhere.

use super::body::Body;
use super::page::{limit, page, reason_of, wrong};
use crate::app::App;
use crate::auth::By;
use actix_web::{HttpResponse, delete, get, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::penalties;
use windlass_types::api::{Penalty, Reason};
use windlass_types::ids::DeviceId;
use windlass_types::page::Page;

/// A page of devices that are set aside.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Devices that are set aside, with why and until when, by uuid.
#[utoipa::path(tag = "penalties", params(Query), responses(
    (status = 200, description = "A page of devices", body = Page<Penalty>),
))]
#[get("/api/v1/penalties")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<Penalty>>, Problem> {
    let limit = limit(query.limit)?;
    let after: Option<DeviceId> = match &query.after {
        Some(text) => Some(
            text.parse()
                .map_err(|error| wrong("after", format!("{text:?} is no device: {error}")))?,
        ),
        None => None,
    };
    let mut session = app.deps.store.read().await?;
    let rows = penalties::list(&mut session, after, limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.device_uuid)))
}

/// Lets a device take part again before its time is over. What it was set aside for counts no more.
#[utoipa::path(tag = "penalties", request_body = Reason, params(
    ("uuid" = uuid::Uuid, Path, description = "The device"),
), responses(
    (status = 204, description = "It takes part again"),
    (status = 404, description = "It is not set aside"),
))]
#[delete("/api/v1/penalties/{uuid}")]
pub(super) async fn lift(
    By(operator, (uuid, Body(reason))): By<(web::Path<DeviceId>, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let reason = reason_of(&reason.reason)?;
    let mut session = app.deps.store.begin().await?;
    if !penalties::lift(&mut session, *uuid, &operator.actor(), &reason).await? {
        return Err(Problem::NotFound(format!("{uuid} is not set aside")));
    }
    app.deps.commit(session).await?;
    Ok(HttpResponse::NoContent().finish())
}
