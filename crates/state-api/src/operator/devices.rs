//! Devices and fleets.

use super::body::Body;
use super::page::{limit, page, reason_of, wrong};
use crate::app::App;
use crate::auth::By;
use actix_web::{HttpResponse, delete, get, patch, web};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use utoipa::IntoParams;
use windlass_core::windows::is_zone;
use windlass_service::Problem;
use windlass_store::devices::{self, DeviceFilter};
use windlass_store::{Session, events, views};
use windlass_types::api::{DevicePatch, Fleet, Reason};
use windlass_types::device::{Device, DeviceCurrentState};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, FleetId};
use windlass_types::page::Page;
use windlass_types::problem::FieldError;

/// Tags of one device at most.
const MOST_TAGS: usize = 100;

/// A year in seconds: who was away for longer is not found by when it was seen.
const YEAR: u32 = 31_536_000;

pub(super) async fn read(session: &mut Session, uuid: DeviceId) -> Result<Device, Problem> {
    devices::get(session, uuid)
        .await?
        .ok_or_else(|| unknown(uuid))
}

fn unknown(uuid: DeviceId) -> Problem {
    Problem::NotFound(format!("there is no device {uuid}"))
}

/// A page of devices.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only devices of this fleet.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    fleet: Option<FleetId>,
    /// Only devices with this tag: `key=value`.
    #[param(pattern = "^[^=\\x00]+=[^\\x00]*$")]
    tag: Option<String>,
    /// Only devices seen in the last so many seconds.
    #[param(maximum = 31_536_000)]
    seen_within: Option<u32>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<DeviceId>,
}

/// Devices, by uuid.
#[utoipa::path(tag = "devices", params(Query), responses(
    (status = 200, description = "A page of devices", body = Page<Device>),
))]
#[get("/api/v1/devices")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<Device>>, Problem> {
    let limit = limit(query.limit)?;
    let tags: BTreeMap<String, String> = match &query.tag {
        None => BTreeMap::new(),
        Some(text) => {
            let (key, value) = text
                .split_once('=')
                .filter(|(key, _)| !key.is_empty() && !text.contains('\0'))
                .ok_or_else(|| wrong("tag", format!("{text:?} is not of the form key=value")))?;
            BTreeMap::from([(key.to_owned(), value.to_owned())])
        }
    };
    if query.seen_within.is_some_and(|seconds| seconds > YEAR) {
        return Err(wrong("seen_within", format!("at most a year, {YEAR} s")));
    }
    let mut session = app.deps.store.read().await?;
    let filter = DeviceFilter {
        fleet: query.fleet.clone(),
        tags,
        enabled: None,
        seen_since: query
            .seen_within
            .map(|seconds| session.now() - TimeDelta::seconds(i64::from(seconds))),
    };
    let rows = devices::list(&mut session, &filter, query.after, limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.uuid)))
}

/// One device.
#[utoipa::path(tag = "devices", params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 200, description = "The device", body = Device),
    (status = 404, description = "There is no such device"),
))]
#[get("/api/v1/devices/{uuid}")]
pub(super) async fn get(
    By(_operator, uuid): By<web::Path<DeviceId>>,
    app: web::Data<App>,
) -> Result<web::Json<Device>, Problem> {
    let mut session = app.deps.store.read().await?;
    Ok(web::Json(read(&mut session, *uuid).await?))
}

/// Changes a device's name, fleet, tags, switch or time zone. What is not given stays.
#[utoipa::path(tag = "devices", request_body = DevicePatch, params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 200, description = "The device as it is now", body = Device),
    (status = 404, description = "There is no such device"),
))]
#[patch("/api/v1/devices/{uuid}")]
pub(super) async fn change(
    By(operator, (uuid, Body(patch))): By<(web::Path<DeviceId>, Body<DevicePatch>)>,
    app: web::Data<App>,
) -> Result<web::Json<Device>, Problem> {
    check(&patch)?;
    let mut session = app.deps.store.begin().await?;
    // Read first, so that nothing is made for a device that is not there.
    let before = read(&mut session, *uuid).await?;
    if patch != DevicePatch::default() {
        devices::update(&mut session, *uuid, &patch).await?;
    }
    let after = read(&mut session, *uuid).await?;
    if after != before {
        let changed = NewEvent::new(EventType::DeviceChanged, operator.actor())
            .device(*uuid)
            .data(
                json!({"name": after.name, "fleet": after.fleet, "tags": after.tags,
                         "enabled": after.enabled, "time_zone": after.time_zone}),
            );
        events::append(&mut session, changed).await?;
        app.deps.commit(session).await?;
    }
    Ok(web::Json(after))
}

/// Deletes a device: its key stops working at once, and rollouts go on without it.
#[utoipa::path(tag = "devices", request_body = Reason, params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such device"),
))]
#[delete("/api/v1/devices/{uuid}")]
pub(super) async fn delete(
    By(operator, (uuid, Body(why))): By<(web::Path<DeviceId>, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let reason = reason_of(&why.reason)?;
    let mut session = app.deps.store.begin().await?;
    if !devices::delete(&mut session, *uuid, &operator.actor(), &reason).await? {
        return Err(unknown(*uuid));
    }
    app.deps.commit(session).await?;
    // Here at once; other replicas learn of it from the log.
    app.cache.remove(*uuid);
    Ok(HttpResponse::NoContent().finish())
}

fn check(patch: &DevicePatch) -> Result<(), Problem> {
    let mut errors = Vec::new();
    if let Some(name) = &patch.name
        && (name.trim().is_empty() || name.chars().count() > 255)
    {
        errors.push(FieldError::new(
            "name",
            "must have 1 to 255 characters, not only spaces",
        ));
    }
    if let Some(Some(zone)) = &patch.time_zone
        && !is_zone(zone)
    {
        errors.push(FieldError::new(
            "time_zone",
            format!("{zone:?} is no IANA time zone; expected one such as Europe/Berlin, or null"),
        ));
    }
    if let Some(tags) = &patch.tags {
        if tags.len() > MOST_TAGS {
            errors.push(FieldError::new("tags", format!("at most {MOST_TAGS} tags")));
        }
        for (key, value) in tags {
            if key.is_empty() || key.len() > 128 || key.contains('=') {
                errors.push(FieldError::new(
                    format!("tags.{key}"),
                    "a tag's key has 1 to 128 bytes and no '='",
                ));
            }
            if value.len() > 512 {
                errors.push(FieldError::new(
                    format!("tags.{key}"),
                    "a tag's value has at most 512 bytes",
                ));
            }
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Problem::Invalid(errors))
    }
}

/// What a device said last, and what Windlass makes of it.
#[utoipa::path(tag = "devices", params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 200, description = "Its last report and the observation", body = DeviceCurrentState),
    (status = 404, description = "There is no such device"),
))]
#[get("/api/v1/devices/{uuid}/current-state")]
pub(super) async fn current_state(
    By(_operator, uuid): By<web::Path<DeviceId>>,
    app: web::Data<App>,
) -> Result<web::Json<DeviceCurrentState>, Problem> {
    let mut session = app.deps.store.read().await?;
    read(&mut session, *uuid).await?;
    Ok(web::Json(views::current_state(&mut session, *uuid).await?))
}

/// A page of fleets.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct FleetsQuery {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    after: Option<FleetId>,
}

/// Fleets and how many devices each has.
#[utoipa::path(tag = "devices", params(FleetsQuery), responses(
    (status = 200, description = "A page of fleets", body = Page<Fleet>),
))]
#[get("/api/v1/fleets")]
pub(super) async fn fleets(
    By(_operator, query): By<web::Query<FleetsQuery>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<Fleet>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    let rows = devices::fleets(&mut session, query.after.as_ref(), limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.id.clone())))
}
