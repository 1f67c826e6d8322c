//! Targets set by hand.

use super::body::Body;
use super::page::if_match;
use crate::app::App;
use crate::auth::By;
use actix_web::http::header::ETAG;
use actix_web::{HttpRequest, HttpResponse, get, put, web};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use windlass_core::target::state_id;
use windlass_service::Problem;
use windlass_store::{Session, events, targets};
use windlass_types::api::NewTarget;
use windlass_types::device::DeviceTarget;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::image::ImageReference;
use windlass_types::problem::FieldError;
use windlass_types::target::{TargetSource, TargetState};

async fn read(session: &mut Session, uuid: DeviceId) -> Result<DeviceTarget, Problem> {
    let (target, state) = targets::get(session, uuid)
        .await?
        .ok_or_else(|| Problem::NotFound(format!("there is no device {uuid}")))?;
    Ok(DeviceTarget {
        uuid,
        version: target.version,
        source: target.source,
        updated_at: target.updated_at,
        state,
    })
}

fn answer(target: &DeviceTarget) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((ETAG, format!("\"{}\"", target.version)))
        .json(target)
}

/// What a device is to run.
#[utoipa::path(tag = "devices", params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 200, description = "Its target; `ETag` has the version", body = DeviceTarget,
     headers(("etag" = String))),
    (status = 404, description = "There is no such device"),
))]
#[get("/api/v1/devices/{uuid}/target-state")]
pub(super) async fn get(
    By(_operator, uuid): By<web::Path<DeviceId>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let mut session = app.deps.store.read().await?;
    Ok(answer(&read(&mut session, *uuid).await?))
}

/// Says what a device is to run, all of it. A target that is equal to the present one changes
/// nothing and keeps the version.
#[utoipa::path(tag = "devices", request_body = NewTarget, params(
    ("uuid" = uuid::Uuid, Path, description = "The device"),
    ("If-Match" = Option<String>, Header, description = "The version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
), responses(
    (status = 200, description = "The target as it is now", body = DeviceTarget, headers(("etag" = String))),
    (status = 404, description = "There is no such device"),
    (status = 412, description = "The target has another version by now"),
))]
#[put("/api/v1/devices/{uuid}/target-state")]
pub(super) async fn put(
    By(operator, (uuid, Body(target))): By<(web::Path<DeviceId>, Body<NewTarget>)>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(&request)?;
    let state = checked(target)?;
    let mut session = app.deps.store.begin().await?;
    let before = read(&mut session, *uuid).await?;
    let stale = |version: i64| {
        Problem::Stale(format!(
            "the target has version {version} by now; read it again"
        ))
    };
    if expected.is_some_and(|expected| expected != before.version) {
        return Err(stale(before.version));
    }
    if before.state == state {
        return Ok(answer(&before));
    }
    let id = state_id(&state);
    targets::ensure_states(&mut session, &BTreeMap::from([(id, state)])).await?;
    let source = TargetSource::Operator;
    let version = targets::set(&mut session, *uuid, id, source, None, Some(before.version))
        .await?
        .ok_or_else(|| stale(before.version + 1))?;
    let event = NewEvent::new(EventType::TargetSet, operator.actor())
        .device(*uuid)
        .version(version)
        .data(json!({"state_id": id, "previous_version": before.version}));
    events::append(&mut session, event).await?;
    let after = read(&mut session, *uuid).await?;
    app.deps.commit(session).await?;
    Ok(answer(&after))
}

/// The state, with `config.image` repeating each image as agents expect it.
fn checked(target: NewTarget) -> Result<TargetState, Problem> {
    let mut errors = Vec::new();
    let mut state = TargetState {
        apps: target.apps,
        config: target.config,
    };
    for (key, app) in &mut state.apps {
        let at = format!("apps.{key}");
        match key.parse::<i64>() {
            Ok(number) if number == app.app_id && number >= 0 && number.to_string() == *key => {}
            Ok(_) => errors.push(FieldError::new(
                format!("{at}.appId"),
                format!("is {}, but the app stands under {key:?}", app.app_id),
            )),
            Err(_) => errors.push(FieldError::new(
                at.clone(),
                "apps stand under their id, a whole number as text, such as \"1001\"",
            )),
        }
        let mut seen = BTreeSet::new();
        for (n, service) in app.services.iter_mut().enumerate() {
            let at = format!("{at}.services[{n}]");
            if !seen.insert(service.service_id) {
                errors.push(FieldError::new(
                    format!("{at}.serviceId"),
                    format!("{} is there twice", service.service_id),
                ));
            }
            if service.service_name.trim().is_empty() {
                errors.push(FieldError::new(format!("{at}.serviceName"), "is empty"));
            }
            if let Err(error) = service.image_name.parse::<ImageReference>() {
                errors.push(FieldError::new(
                    format!("{at}.imageName"),
                    format!("{error}"),
                ));
            }
            let image = service.image_name.clone();
            match service.config.get("image") {
                Some(given) if given.as_str() != Some(&image) => {
                    errors.push(FieldError::new(
                        format!("{at}.config.image"),
                        "must repeat imageName, or be left out",
                    ));
                }
                _ => service.set_image(&image),
            }
        }
    }
    if errors.is_empty() {
        Ok(state)
    } else {
        Err(Problem::Invalid(errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(value: serde_json::Value) -> NewTarget {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_target_repeats_each_image_in_its_config() {
        let state = checked(target(
            json!({"apps": {"1": {"appId": 1, "appName": "a", "services": [
            {"serviceId": 1, "serviceName": "s", "imageName": "r.io/a:v1"}]}}}),
        ))
        .unwrap();
        let (_, service) = state.services().next().unwrap();
        assert_eq!(service.config["image"], json!("r.io/a:v1"));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let Err(Problem::Invalid(errors)) = checked(target(json!({"apps": {
            "x": {"appId": 1, "appName": "a", "services": []},
            "2": {"appId": 3, "appName": "a", "services": [
                {"serviceId": 1, "serviceName": "s", "imageName": "UPPER"},
                {"serviceId": 1, "serviceName": "", "imageName": "r.io/a",
                 "config": {"image": "r.io/b"}}]}}})))
        else {
            panic!("it was taken")
        };
        let fields: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "apps.2.appId",
                "apps.2.services[0].imageName",
                "apps.2.services[1].serviceId",
                "apps.2.services[1].serviceName",
                "apps.2.services[1].config.image",
                "apps.x",
            ]
        );
    }
}
