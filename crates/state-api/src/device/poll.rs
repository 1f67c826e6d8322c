//! `GET /device/{uuid}/state`: what a device is to run.

use super::identity::{authenticate, unknown};
use crate::app::App;
use crate::auth::DeviceKey;
use actix_web::http::header::{ETAG, HeaderMap, IF_NONE_MATCH, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, get, web};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use windlass_service::Problem;
use windlass_types::ids::DeviceId;

/// What this device is to run. With `If-None-Match` the answer is 304 while that is still the same;
/// with `Prefer: wait=<seconds>` as well, the request is held until it changes or the time is up.
#[utoipa::path(
    tag = "device",
    params(
        ("uuid" = Uuid, Path, description = "The device's uuid"),
        ("If-None-Match" = Option<String>, Header, description = "The ETag of the last answer, as it was"),
        ("Prefer" = Option<String>, Header, description = "`wait=<seconds>`: how long the request may be held")
    ),
    responses(
        (status = 200, description = "The target: `{\"<uuid>\": {apps, config, version, …}}`", body = Object,
            headers(("ETag" = String, description = "Send it back with the next poll"))),
        (status = 304, description = "Nothing has changed"),
        (status = 400, description = "The uuid is none"),
        (status = 401, description = "No key, or not this device's"),
        (status = 403, description = "The device is switched off"),
        (status = 404, description = "No such device"),
        (status = 503, description = "The store does not answer; try again"),
    )
)]
#[get("/api/v1/device/{uuid}/state")]
pub(crate) async fn answer_poll(
    key: DeviceKey,
    path: web::Path<DeviceId>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let device = path.into_inner();
    let mut version = authenticate(&app, device, &key).await?;
    let headers = request.headers();
    if !headers.contains_key(IF_NONE_MATCH) {
        let (version, body) = target(&app, device).await?;
        return Ok(answer(&app, headers, HttpResponse::Ok(), version)
            .content_type("application/json")
            .body(body));
    }
    let longest = Duration::from_secs(app.config.max_wait_seconds);
    let deadline = Instant::now() + wait_of(headers).min(longest);
    loop {
        if matches(headers, version) {
            if Instant::now() < deadline {
                wait_for_change(&app, device, headers, deadline).await;
                // Much may have happened since: also that the device was switched off.
                version = authenticate(&app, device, &key).await?;
            }
            if matches(headers, version) {
                return Ok(answer(&app, headers, HttpResponse::NotModified(), version).finish());
            }
        }
        let (stored, body) = target(&app, device).await?;
        if !matches(headers, stored) {
            return Ok(answer(&app, headers, HttpResponse::Ok(), stored)
                .content_type("application/json")
                .body(body));
        }
        // The device has what is stored: another replica gave it out before this one learned of it.
        // It has been learned now, and the same poll can wait.
        version = stored;
        if app
            .cache
            .state(device)
            .is_none_or(|(known, _)| known != stored)
        {
            return Ok(answer(&app, headers, HttpResponse::NotModified(), version).finish());
        }
    }
}

/// Waits until the target is another than the device has, or the time is up.
async fn wait_for_change(app: &App, device: DeviceId, headers: &HeaderMap, deadline: Instant) {
    let waiter = app.cache.join(device);
    loop {
        // Listen first, then look: a change between the two is heard.
        let mut changed = std::pin::pin!(waiter.notify().notified());
        changed.as_mut().enable();
        let same = app
            .cache
            .state(device)
            .is_some_and(|(version, enabled)| enabled && matches(headers, version));
        if !same || app.cache.is_closed() || timeout_at(deadline, changed).await.is_err() {
            return;
        }
    }
}

/// The device's target from the store, ready to be sent.
async fn target(app: &App, device: DeviceId) -> Result<(i64, String), Problem> {
    let (version, inner) = app
        .targets
        .get(device)
        .await?
        .ok_or_else(|| unknown(device))?;
    app.cache.raise(device, version);
    let body = format!(
        "{{\"{device}\":{{{inner},\"version\":{version},\"needs_deployment\":false,\
         \"last_deployed_at\":null}}}}"
    );
    Ok((version, body))
}

fn answer(
    app: &App,
    headers: &HeaderMap,
    mut response: HttpResponseBuilder,
    version: i64,
) -> HttpResponseBuilder {
    response.insert_header((ETAG, format!("\"{version}\"")));
    let seconds = app.config.poll_interval_seconds;
    // One that asks to be held is to come back at once: a wait between would only keep news from it.
    if seconds > 0 && wait_of(headers).is_zero() {
        response.insert_header(("x-poll-interval", seconds.to_string()));
        response.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    response
}

/// Whether `If-None-Match` names this version (RFC 9110, section 13.1.2).
fn matches(headers: &HeaderMap, version: i64) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| {
            tag == "*"
                || tag
                    .strip_prefix("W/")
                    .unwrap_or(tag)
                    .strip_prefix('"')
                    .and_then(|tag| tag.strip_suffix('"'))
                    .is_some_and(|tag| tag.parse() == Ok(version))
        })
}

/// The seconds of `Prefer: wait` (RFC 7240, section 4.3); 0 without one.
fn wait_of(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get_all("prefer")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .filter_map(|preference| preference.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn headers(name: &'static str, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
        headers
    }

    #[test]
    fn an_etag_matches_its_version_and_no_other() {
        for (tag, expected) in [
            ("\"12\"", true),
            ("W/\"12\"", true),
            ("\"7\", \"12\"", true),
            ("*", true),
            ("\"1\"", false),
            ("\"123\"", false),
            ("12", false),
            ("", false),
        ] {
            assert_eq!(
                matches(&headers("if-none-match", tag), 12),
                expected,
                "{tag}"
            );
        }
    }

    #[test]
    fn a_wait_is_read_among_other_preferences() {
        for (prefer, seconds) in [
            ("wait=30", 30),
            ("respond-async, wait=5", 5),
            ("Wait = 7", 7),
            ("wait", 0),
            ("wait=soon", 0),
            ("return=minimal", 0),
        ] {
            assert_eq!(
                wait_of(&headers("prefer", prefer)),
                Duration::from_secs(seconds),
                "{prefer}"
            );
        }
    }
}
