//! The device's side of the protocol (docs/device-protocol.md).

use crate::Result;
use crate::error::Error;
use crate::http::{Client, answer_within, read, send};
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use std::io::Write as _;
use windlass_types::device::{KeyExchangeRequest, RegisterRequest, RegisterResponse};
use windlass_types::ids::DeviceId;

/// The answer to a poll.
#[derive(Debug, Clone, PartialEq)]
pub enum Poll {
    /// The target is still the one of the ETag that was sent.
    Unchanged,
    /// The target.
    Target {
        /// Send it back with the next poll, as it is.
        etag: String,
        /// The body: `{"<uuid>": {"apps", "config", "version", …}}`.
        body: Value,
    },
}

/// The answer to a poll, and how soon the server wants the next one.
#[derive(Debug, Clone, PartialEq)]
pub struct Paced {
    /// The answer.
    pub poll: Poll,
    /// Seconds to let pass before the next poll, where the server said so (`X-Poll-Interval` or
    /// `Retry-After`; the longer one).
    pub interval: Option<u64>,
}

impl Client {
    /// Registers a device with a provisioning key.
    ///
    /// # Errors
    /// [`Error`]; 401 for a key that is bad, expired, revoked or used up, 409 for a uuid that has
    /// another key.
    pub async fn register(
        &self,
        provisioning_key: &str,
        request: &RegisterRequest,
    ) -> Result<RegisterResponse> {
        let request = self
            .bare(Method::POST, "/device/register")
            .timeout(answer_within(0))
            .bearer_auth(provisioning_key)
            .json(request);
        read(send(request).await?).await
    }
}

/// One device's calls.
#[derive(Debug, Clone)]
pub struct DeviceClient {
    client: Client,
    uuid: DeviceId,
    key: String,
}

impl DeviceClient {
    pub(crate) const fn new(client: Client, uuid: DeviceId, key: String) -> Self {
        Self { client, uuid, key }
    }

    /// The device.
    #[must_use]
    pub const fn uuid(&self) -> DeviceId {
        self.uuid
    }

    /// Confirms the device's key, as agents do once for each start.
    ///
    /// # Errors
    /// [`Error`]; 401 for another key, 404 for an unknown device.
    pub async fn key_exchange(&self) -> Result<()> {
        let body = KeyExchangeRequest {
            uuid: self.uuid,
            device_api_key: self.key.clone(),
        };
        let request = self
            .client
            .bare(Method::POST, &format!("/device/{}/key-exchange", self.uuid))
            .timeout(answer_within(0))
            .bearer_auth(&self.key)
            .json(&body);
        send(request).await.map(|_| ())
    }

    /// Asks for the target. With the `etag` of the last answer it may be
    /// [`Unchanged`](Poll::Unchanged); with `wait` seconds the server holds the request that long
    /// for a change.
    ///
    /// # Errors
    /// [`Error`]; 401, 403, 404 for a device that may not.
    pub async fn poll(&self, etag: Option<&str>, wait: Option<u64>) -> Result<Poll> {
        Ok(self.poll_paced(etag, wait).await?.poll)
    }

    /// The same, with how soon the server wants the next poll.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub async fn poll_paced(&self, etag: Option<&str>, wait: Option<u64>) -> Result<Paced> {
        let mut request = self
            .client
            .bare(Method::GET, &format!("/device/{}/state", self.uuid))
            .timeout(answer_within(wait.unwrap_or(0)))
            .header("x-device-api-key", &self.key);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        if let Some(wait) = wait {
            request = request.header("prefer", format!("wait={wait}"));
        }
        let response = send(request).await?;
        let seconds = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok()?.parse::<u64>().ok()
        };
        let interval = seconds("x-poll-interval").max(seconds("retry-after"));
        if response.status() == StatusCode::NOT_MODIFIED {
            let poll = Poll::Unchanged;
            return Ok(Paced { poll, interval });
        }
        let etag = response
            .headers()
            .get(header::ETAG)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let body = read(response).await?;
        let poll = Poll::Target { etag, body };
        Ok(Paced { poll, interval })
    }

    /// Reports what the device runs; returns once that is durable. `report` is the whole body,
    /// `{"<uuid>": {…}}`, and goes gzipped as agents send it.
    ///
    /// # Errors
    /// [`Error`]; 403 for another device's uuid.
    pub async fn report(&self, report: &Value) -> Result<()> {
        let request = self
            .client
            .bare(Method::PATCH, "/device/state")
            .timeout(answer_within(0))
            .header("x-device-api-key", &self.key)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_ENCODING, "gzip")
            .body(gzip(&serde_json::to_vec(report).map_err(Error::Encode)?));
        send(request).await.map(|_| ())
    }

    /// Sends log lines, one JSON object each; returns how many the server took.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn logs(&self, entries: &[Value]) -> Result<u64> {
        let mut lines = Vec::new();
        for entry in entries {
            serde_json::to_writer(&mut lines, entry).map_err(Error::Encode)?;
            lines.push(b'\n');
        }
        let request = self
            .client
            .bare(Method::POST, &format!("/device/{}/logs", self.uuid))
            .timeout(answer_within(0))
            .header("x-device-api-key", &self.key)
            .header(header::CONTENT_TYPE, "application/x-ndjson")
            .header(header::CONTENT_ENCODING, "gzip")
            .body(gzip(&lines));
        let answer: Value = read(send(request).await?).await?;
        Ok(answer.get("received").and_then(Value::as_u64).unwrap_or(0))
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Writing to a vector cannot fail.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap_or_default();
    encoder.finish().unwrap_or_default()
}
