//! The requests of a device.

use crate::behaviour::Style;
use crate::simulator::DeviceSpec;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, IF_NONE_MATCH, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;
use windlass_types::target::TargetState;

/// Why a request did not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("no answer")]
    Http(#[from] reqwest::Error),
    #[error("answered {status}: {body}")]
    Refused {
        status: StatusCode,
        body: String,
        retry_after: Option<Duration>,
    },
    #[error("the target cannot be read: {0}")]
    Target(String),
}

impl WireError {
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What a poll brought.
#[derive(Debug)]
pub(crate) enum Polled {
    Target {
        etag: Option<String>,
        version: i64,
        state: TargetState,
        interval: Option<Duration>,
    },
    Unchanged {
        interval: Option<Duration>,
    },
}

/// A device's connection to its server; clones share the connections of the whole fleet.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) client: Client,
    /// `<base>/api/v1`.
    pub(crate) base: String,
}

impl Wire {
    pub(crate) async fn register(&self, device: &DeviceSpec) -> Result<(), WireError> {
        let body = json!({
            "uuid": device.uuid,
            "deviceName": device.name,
            "deviceType": "standalone",
            "deviceApiKey": device.key,
            "macAddress": "02:00:00:00:00:01",
            "osVersion": "Simulated Linux 1.0",
            "agentVersion": match device.behaviour.style {
                Style::Existing => "1.0.84-simulated",
                Style::Ours => "0.1.0-simulated",
            },
        });
        let answer = self
            .client
            .post(format!("{}/device/register", self.base))
            .bearer_auth(&device.provisioning_key)
            .json(&body)
            .send()
            .await?;
        let answer: Value = accepted(answer).await?.json().await?;
        // Agents never finish provisioning without these two.
        if answer["id"].is_i64() && answer["mqtt"].is_object() {
            Ok(())
        } else {
            Err(WireError::Target(
                "the registration has no id or no mqtt object".to_owned(),
            ))
        }
    }

    pub(crate) async fn exchange_key(&self, device: &DeviceSpec) -> Result<(), WireError> {
        let answer = self
            .client
            .post(format!("{}/device/{}/key-exchange", self.base, device.uuid))
            .bearer_auth(&device.key)
            .json(&json!({"uuid": device.uuid, "deviceApiKey": device.key}))
            .send()
            .await?;
        accepted(answer).await.map(|_| ())
    }

    pub(crate) async fn poll(
        &self,
        device: &DeviceSpec,
        etag: Option<&str>,
    ) -> Result<Polled, WireError> {
        let mut request = self
            .client
            .get(format!("{}/device/{}/state", self.base, device.uuid));
        request = match device.behaviour.style {
            Style::Existing => request.header("X-Device-API-Key", &device.key),
            Style::Ours => request.header(AUTHORIZATION, format!("Bearer {}", device.key)),
        };
        let mut patience = Duration::from_secs(15);
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
            if device.behaviour.style == Style::Ours {
                let wait = device.behaviour.pace.wait;
                patience += wait;
                request = request.header("Prefer", format!("wait={}", wait.as_secs()));
            }
        }
        let answer = request.timeout(patience).send().await?;
        let interval = seconds(answer.headers(), "x-poll-interval");
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Polled::Unchanged { interval });
        }
        let answer = accepted(answer).await?;
        let etag = answer
            .headers()
            .get(ETAG)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let mut body: Value = answer.json().await?;
        let body = body
            .get_mut(device.uuid.to_string())
            .map(Value::take)
            .ok_or_else(|| WireError::Target("it is not about this device".to_owned()))?;
        let version = body["version"].as_i64().unwrap_or(0);
        let state =
            serde_json::from_value(body).map_err(|error| WireError::Target(error.to_string()))?;
        Ok(Polled::Target {
            etag,
            version,
            state,
            interval,
        })
    }

    pub(crate) async fn report(&self, device: &DeviceSpec, body: &Value) -> Result<(), WireError> {
        let answer = self
            .client
            .patch(format!("{}/device/state", self.base))
            .header("X-Device-API-Key", &device.key)
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .timeout(Duration::from_secs(15))
            .body(gzip(body))
            .send()
            .await?;
        accepted(answer).await.map(|_| ())
    }
}

async fn accepted(answer: Response) -> Result<Response, WireError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = seconds(answer.headers(), RETRY_AFTER.as_str());
    let body = answer.text().await.unwrap_or_default();
    Err(WireError::Refused {
        status,
        body: body.chars().take(300).collect(),
        retry_after,
    })
}

fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let value = headers.get(name)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Writing to memory does not fail.
fn gzip(body: &Value) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(body.to_string().as_bytes())
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}
