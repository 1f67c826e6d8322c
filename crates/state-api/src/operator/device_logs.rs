//! Logs of devices.

use super::devices::read;
use super::page::{limit, page};
use crate::app::App;
use crate::auth::By;
use actix_web::{get, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::logs;
use windlass_types::device::DeviceLog;
use windlass_types::ids::DeviceId;
use windlass_types::page::Page;

/// A page of log lines.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<i64>,
}

/// What a device's containers wrote, the latest received first.
#[utoipa::path(tag = "devices", params(("uuid" = uuid::Uuid, Path, description = "The device"), Query), responses(
    (status = 200, description = "A page of lines", body = Page<DeviceLog>),
    (status = 404, description = "There is no such device"),
))]
#[get("/api/v1/devices/{uuid}/logs")]
pub(super) async fn list(
    By(_operator, (path, query)): By<(web::Path<DeviceId>, web::Query<Query>)>,
    app: web::Data<App>,
) -> Result<web::Json<Page<DeviceLog>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    let device = read(&mut session, *path).await?.uuid;
    let rows = logs::list(&mut session, device, query.after, limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.id)))
}
