//! `POST /device/{uuid}/logs`: what a device's containers write.

use super::body;
use super::identity::authenticate;
use super::json;
use crate::app::App;
use crate::auth::DeviceKey;
use actix_web::{HttpRequest, HttpResponse, post, web};
use chrono::{DateTime, Datelike, Utc};
use serde_json::{Value, json};
use windlass_service::Problem;
use windlass_store::logs::{self, NewLog};
use windlass_types::ids::DeviceId;

/// Characters of a line at most; the rest is cut off.
const LONGEST: usize = 64 * 1024;
/// Characters of a level, a name or an id at most.
const WORD: usize = 255;

/// Takes in log lines: one JSON object a line, or an array of them; gzip or not. A line that cannot
/// be read is counted and left out.
#[utoipa::path(
    tag = "device",
    params(("uuid" = Uuid, Path, description = "The device's uuid")),
    request_body(content = String, description = "Lines of JSON, or a JSON array", content_type = "application/x-ndjson"),
    responses(
        (status = 200, description = "How many lines were stored and how many could not be read", body = Object),
        (status = 400, description = "It cannot be read"),
        (status = 401, description = "No key, or not this device's"),
        (status = 403, description = "The device is switched off"),
        (status = 404, description = "No such device"),
        (status = 408, description = "Nothing more of the body came for 30 seconds"),
        (status = 413, description = "Larger than 10 MiB when inflated"),
        (status = 415, description = "An encoding that is not taken"),
        (status = 503, description = "The store does not answer; try again"),
    )
)]
#[post("/api/v1/device/{uuid}/logs")]
pub(crate) async fn send(
    key: DeviceKey,
    path: web::Path<DeviceId>,
    app: web::Data<App>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let device = path.into_inner();
    authenticate(&app, device, &key).await?;
    let body = body::read(&app.room, &request, payload).await?;
    let entries = entries(&body.bytes)?;
    let sent = entries.len();
    let now = app.deps.store.clock().now();
    let lines: Vec<NewLog> = entries
        .into_iter()
        .flatten()
        .filter_map(|entry| line(&entry, now))
        .collect();
    if !lines.is_empty() {
        let mut session = app.deps.store.begin().await?;
        logs::insert(&mut session, device, &lines).await?;
        app.deps.commit(session).await?;
    }
    let stored = lines.len();
    app.metrics
        .log_lines
        .inc_by(u64::try_from(stored).unwrap_or(0));
    Ok(HttpResponse::Ok().json(json!({
        "status": "ok",
        "received": stored,
        "rejected": sent - stored,
    })))
}

/// The entries of a body, none for a line that is no JSON.
fn entries(bytes: &[u8]) -> Result<Vec<Option<Value>>, Problem> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        let Value::Array(entries) = json::read(bytes)? else {
            return Ok(Vec::new());
        };
        return Ok(entries.into_iter().map(Some).collect());
    }
    Ok(bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .map(|line| json::read(line).ok())
        .collect())
}

/// An entry as it is stored; none without a message.
fn line(entry: &Value, now: DateTime<Utc>) -> Option<NewLog> {
    let message = entry.get("message")?.as_str()?;
    let text = |name: &str| {
        let text = entry.get(name)?.as_str()?;
        Some(text.chars().take(WORD).collect::<String>())
    };
    Some(NewLog {
        logged_at: entry.get("timestamp").and_then(time).unwrap_or(now),
        level: text("level").unwrap_or_else(|| "info".to_owned()),
        message: message.chars().take(LONGEST).collect(),
        service_name: text("serviceName"),
        container_id: text("containerId"),
        is_stderr: entry
            .get("isStdErr")
            .and_then(Value::as_bool)
            .unwrap_or(false),
        source: entry
            .get("source")
            .filter(|source| source.is_object())
            .cloned(),
    })
}

/// A time in milliseconds since 1970, or as RFC 3339. One that no clock of a device shows is none.
fn time(value: &Value) -> Option<DateTime<Utc>> {
    let time = match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok()?.to_utc(),
        other => DateTime::from_timestamp_millis(other.as_i64()?)?,
    };
    (1970..=9999).contains(&time.year()).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_arrays_are_read_and_bad_ones_left_out() {
        let now = DateTime::from_timestamp_millis(5000).unwrap();
        for (body, messages, sent) in [
            (
                "{\"message\":\"a\"}\n\n{\"message\":\"b\"}\r\n",
                vec!["a", "b"],
                2,
            ),
            (
                "{\"message\":\"a\"}\nnot json\n{\"level\":\"x\"}\n7",
                vec!["a"],
                4,
            ),
            (" [{\"message\":\"a\"},{\"message\":1},null]", vec!["a"], 3),
            ("", vec![], 0),
        ] {
            let entries = entries(body.as_bytes()).unwrap();
            assert_eq!(entries.len(), sent, "{body}");
            let read: Vec<_> = entries
                .into_iter()
                .flatten()
                .filter_map(|entry| line(&entry, now))
                .map(|line| line.message)
                .collect();
            assert_eq!(read, messages, "{body}");
        }
        assert!(entries(b"[{").is_err());
    }

    #[test]
    fn a_time_that_no_clock_shows_is_the_time_of_receipt() {
        let now = DateTime::from_timestamp_millis(5000).unwrap();
        for (timestamp, expected) in [
            (json!(1000), 1000),
            (json!("1970-01-01T00:00:02Z"), 2000),
            (json!(i64::MAX), 5000),
            (json!(-99_999_999_999_999_i64), 5000),
            (json!("yesterday"), 5000),
            (Value::Null, 5000),
        ] {
            let line = line(&json!({"message": "m", "timestamp": timestamp}), now).unwrap();
            assert_eq!(line.logged_at.timestamp_millis(), expected, "{timestamp}");
        }
    }
}
