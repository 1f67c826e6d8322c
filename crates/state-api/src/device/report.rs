//! `PATCH /device/state`: what a device runs.

use super::body;
use super::identity::{authenticate, owner};
use crate::app::App;
use crate::auth::DeviceKey;
use actix_web::{HttpRequest, HttpResponse, patch, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use windlass_core::platforms;
use windlass_core::windows::is_zone;
use windlass_service::Problem;
use windlass_types::ids::DeviceId;
use windlass_types::report::{Report, ReportedApp, ReportedService};

/// Takes in what a device says of itself; the answer comes when that is durable. The body may be
/// gzip; its only key is the device's uuid.
#[utoipa::path(
    tag = "device",
    request_body(content = Object, description = "`{\"<uuid>\": {apps, version, …}}`", content_type = "application/json"),
    responses(
        (status = 200, description = "It is stored, or need not come again", body = Object),
        (status = 400, description = "It cannot be read"),
        (status = 401, description = "No key, or nobody's"),
        (status = 403, description = "Another device's uuid, more than one, or a device that is switched off"),
        (status = 404, description = "No such device"),
        (status = 408, description = "Nothing more of the body came for 30 seconds"),
        (status = 413, description = "Larger than 10 MiB when inflated"),
        (status = 415, description = "An encoding that is not taken"),
        (status = 503, description = "Too many reports wait, or the store does not answer; try again"),
    )
)]
#[patch("/api/v1/device/state")]
pub(crate) async fn take_in(
    key: DeviceKey,
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    // The key comes first: nothing that a stranger sends is inflated or parsed.
    let device = owner(&app, &key).await?;
    authenticate(&app, device, &key).await?;
    let body = body::read(&app.room, &request, payload).await?;
    let state = only(device, body::json(&body.bytes)?)?;
    let fields = state.as_object().ok_or_else(|| {
        Problem::Malformed(format!("what stands under {device} must be an object"))
    })?;
    let report = judged(fields);
    app.reports.take(device, state, report, body.room).await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ok"})))
}

/// What stands under the device's uuid, where that is the only key.
fn only(device: DeviceId, whole: Value) -> Result<Value, Problem> {
    let Value::Object(whole) = whole else {
        return Err(Problem::Malformed(
            "the body must be an object whose only key is the device's uuid".to_owned(),
        ));
    };
    let mut entries = whole.into_iter();
    match (entries.next(), entries.next()) {
        (None, _) => Err(Problem::Malformed(
            "the body must have the device's uuid as its key".to_owned(),
        )),
        (Some((name, state)), None) if name.parse() == Ok(device) => Ok(state),
        _ => Err(Problem::Forbidden(format!(
            "this key is for {device} alone: the body's only key must be that uuid"
        ))),
    }
}

/// The fields that are judged, but for the apps.
const PLAIN: &[&str] = &[
    "version",
    "reportId",
    "reportedAt",
    "agent_version",
    "os_version",
    "time_zone",
    "platform",
];
/// Characters of a version at most; they are shown in listings.
const LONGEST: usize = 200;

/// The part of a report that is judged. What is not as it should be is left out, and the rest is
/// judged all the same.
#[must_use]
pub fn judged(fields: &Map<String, Value>) -> Report {
    let plain: Map<String, Value> = PLAIN
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), fields.get(*name)?.clone())))
        .collect();
    // Each of them puts up with any value.
    let mut report: Report = serde_json::from_value(Value::Object(plain)).unwrap_or_default();
    for text in [&mut report.agent_version, &mut report.os_version] {
        *text = text.take().map(|text| text.chars().take(LONGEST).collect());
    }
    // One that is none counts as absent.
    report.platform = report
        .platform
        .filter(|text| text.len() <= LONGEST && !platforms::read(text).is_empty());
    report.time_zone = report.time_zone.filter(|zone| is_zone(zone));
    report.apps = fields.get("apps").and_then(Value::as_object).map(|apps| {
        apps.iter()
            .map(|(id, app)| (id.clone(), judged_app(app)))
            .collect::<BTreeMap<_, _>>()
    });
    report
}

fn judged_app(app: &Value) -> ReportedApp {
    let services = app.get("services").and_then(Value::as_array);
    ReportedApp {
        app_id: app.get("appId").and_then(Value::as_i64),
        services: services
            .into_iter()
            .flatten()
            // serde would take an array for a service, field by field.
            .filter(|service| service.is_object())
            .filter_map(|service| ReportedService::deserialize(service).ok())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &Value) -> Report {
        judged(value.as_object().unwrap())
    }

    #[test]
    fn an_odd_field_costs_itself_and_nothing_else() {
        let report = read(&json!({
            "version": "three", "agent_version": 7, "os_version": "Debian",
            "apps": {"1": {"appId": "one", "services": [
                null, 5, {"serviceId": 1, "imageName": "a:v1", "status": ["?"]}]},
                "2": null, "3": {"services": null}},
        }));
        assert_eq!(report.version, None);
        assert_eq!(report.agent_version, None);
        assert_eq!(report.os_version.as_deref(), Some("Debian"));
        let apps = report.apps.unwrap();
        assert_eq!(apps.len(), 3);
        assert_eq!(apps["1"].services.len(), 1);
        assert_eq!(apps["1"].services[0].image_name.as_deref(), Some("a:v1"));
        assert_eq!(apps["1"].services[0].status, None);
    }

    #[test]
    fn a_report_that_says_nothing_of_apps_is_not_one_that_says_there_are_none() {
        assert_eq!(read(&json!({"version": 1})).apps, None);
        assert_eq!(read(&json!({"apps": null})).apps, None);
        assert_eq!(read(&json!({"apps": {}})).apps, Some(BTreeMap::new()));
    }
}
