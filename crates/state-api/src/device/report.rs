//! `PATCH /device/state`: what a device runs.

mod read;

pub use read::judged;

use super::body;
use super::identity::{authenticate, owner};
use super::json;
use crate::app::App;
use crate::auth::DeviceKey;
use crate::report_writer::Said;
use actix_web::{HttpRequest, HttpResponse, patch, web};
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use windlass_service::Problem;
use windlass_store::JsonText;
use windlass_types::ids::DeviceId;

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
    let whole = json::text(&body.bytes)?;
    let state = only(device, &whole)?;
    let report = judged(state)
        .map_err(|error| json::malformed(&error))?
        .ok_or_else(|| {
            Problem::Malformed(format!("what stands under {device} must be an object"))
        })?;
    let said = Said {
        device,
        body: JsonText(state.into()),
        report,
    };
    app.reports.take(said, body.room).await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ok"})))
}

/// The text that stands under the device's uuid, where that is the only key.
fn only(device: DeviceId, whole: &str) -> Result<&str, Problem> {
    let entries: BTreeMap<String, &RawValue> = serde_json::from_str(whole).map_err(|error| {
        if error.is_data() {
            Problem::Malformed(
                "the body must be an object whose only key is the device's uuid".to_owned(),
            )
        } else {
            json::malformed(&error)
        }
    })?;
    let mut entries = entries.into_iter();
    match (entries.next(), entries.next()) {
        (None, _) => Err(Problem::Malformed(
            "the body must have the device's uuid as its key".to_owned(),
        )),
        (Some((name, state)), None) if name.parse() == Ok(device) => Ok(state.get()),
        _ => {
            // What stands there has only been skipped so far.
            json::read(whole.as_bytes())?;
            Err(Problem::Forbidden(format!(
                "this key is for {device} alone: the body's only key must be that uuid"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use windlass_types::report::Report;

    fn read(value: &Value) -> Report {
        judged(&value.to_string()).unwrap().unwrap()
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
