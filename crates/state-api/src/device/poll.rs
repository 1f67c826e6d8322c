//! `GET /device/{uuid}/state`: what a device is to run.

use super::asked::{Tags, wait_of};
use super::identity::{authenticate, unknown};
use crate::app::App;
use crate::auth::DeviceKey;
use actix_web::http::header::{ETAG, RETRY_AFTER};
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
    let headers = request.headers();
    let asked = Asked {
        device: path.into_inner(),
        key,
        tags: Tags::of(headers),
        wait: wait_of(headers),
    };
    poll(&app, asked).await
}

/// What is asked by a poll.
pub(crate) struct Asked {
    /// By whom.
    pub(crate) device: DeviceId,
    /// The key that is shown.
    pub(crate) key: DeviceKey,
    /// What the device has, where it says so.
    pub(crate) tags: Option<Tags>,
    /// How long it may be held.
    pub(crate) wait: Duration,
}

/// Answers a poll.
///
/// # Errors
/// What [`authenticate`] says, and 503 where the store does not answer.
pub(crate) async fn poll(app: &App, asked: Asked) -> Result<HttpResponse, Problem> {
    let mut version = authenticate(app, asked.device, &asked.key).await?;
    let Some(tags) = &asked.tags else {
        return target(app, &asked).await.map(|(_, news)| news);
    };
    let longest = Duration::from_secs(app.config.max_wait_seconds);
    let deadline = Instant::now() + asked.wait.min(longest);
    loop {
        if tags.name(version) {
            if Instant::now() < deadline {
                wait_for_change(app, asked.device, tags, deadline).await;
                // Much may have happened since: also that the device was switched off.
                version = authenticate(app, asked.device, &asked.key).await?;
            }
            if tags.name(version) {
                return Ok(answer(app, &asked, HttpResponse::NotModified(), version).finish());
            }
        }
        let (stored, news) = target(app, &asked).await?;
        if !tags.name(stored) {
            return Ok(news);
        }
        // The device has what is stored: another replica gave it out before this one learned of it.
        // It has been learned now, and the same poll can wait.
        version = stored;
        if app
            .cache
            .state(asked.device)
            .is_none_or(|(known, _)| known != stored)
        {
            return Ok(answer(app, &asked, HttpResponse::NotModified(), version).finish());
        }
    }
}

/// Waits until the target is another than the device has, or the time is up.
async fn wait_for_change(app: &App, device: DeviceId, tags: &Tags, deadline: Instant) {
    let waiter = app.cache.join(device);
    loop {
        // Listen first, then look: a change between the two is heard.
        let mut changed = std::pin::pin!(waiter.notify().notified());
        changed.as_mut().enable();
        let same = app
            .cache
            .state(device)
            .is_some_and(|(version, enabled)| enabled && tags.name(version));
        if !same || app.cache.is_closed() || timeout_at(deadline, changed).await.is_err() {
            return;
        }
    }
}

/// The device's target from the store: its version, and the answer that brings it.
async fn target(app: &App, asked: &Asked) -> Result<(i64, HttpResponse), Problem> {
    let device = asked.device;
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
    let news = answer(app, asked, HttpResponse::Ok(), version)
        .content_type("application/json")
        .body(body);
    Ok((version, news))
}

fn answer(
    app: &App,
    asked: &Asked,
    mut response: HttpResponseBuilder,
    version: i64,
) -> HttpResponseBuilder {
    response.insert_header((ETAG, format!("\"{version}\"")));
    let seconds = app.config.poll_interval_seconds;
    // One that asks to be held is to come back at once: a wait between would only keep news from it.
    if seconds > 0 && asked.wait.is_zero() {
        response.insert_header(("x-poll-interval", seconds.to_string()));
        response.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    response
}
