//! Becoming known: register once, show the key at each start. Tried for as long as it takes.

use super::{FIRST, Link, asked, told};
use crate::backoff::Backoff;
use crate::facts::AGENT_VERSION;
use crate::state;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use windlass_client::Error;
use windlass_types::device::RegisterRequest;
use windlass_types::ids::FleetId;

/// That the server knows the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// The number the server gave it.
    pub(crate) id: i64,
    /// Its fleet.
    pub(crate) fleet: FleetId,
    /// Which server.
    pub(crate) server: String,
    /// When.
    pub(crate) at: DateTime<Utc>,
}

/// Why the device is not known yet.
struct Refused {
    message: String,
    asked: Option<Duration>,
    /// Whether a person has to do something first.
    slow: bool,
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let slow = matches!(error.status(), Some(400..=428));
        Self {
            message: told(&error),
            asked: asked(&error),
            slow,
        }
    }
}

impl Refused {
    fn of(error: Error, advice: &str) -> Self {
        let mut refused = Self::from(error);
        refused.message.push_str("; ");
        refused.message.push_str(advice);
        refused
    }
}

impl Link {
    /// Returns when the server knows the device.
    pub(super) async fn provision(&self) {
        let longest = Duration::from_secs(self.config.longest_backoff_seconds);
        let mut backoff = Backoff::new(FIRST.min(longest), longest);
        loop {
            match self.introduce().await {
                Ok(()) => {
                    self.line.went_well();
                    return;
                }
                Err(refused) => {
                    let asked = refused.asked.or(refused.slow.then_some(longest));
                    let wait = backoff.next(asked);
                    self.line.went_wrong(&refused.message, wait);
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Shows the key, and registers first where the server does not know it.
    async fn introduce(&self) -> Result<(), Refused> {
        let identity = &self.line.identity;
        let device = self.line.client.device(identity.uuid, &identity.key);
        let provisioning_key = self.config.provisioning_key.as_deref();
        let registered = self.state.file(state::REGISTERED).exists();
        if registered || provisioning_key.is_none() {
            match device.key_exchange().await {
                Ok(()) => return Ok(()),
                Err(error) if matches!(error.status(), Some(401 | 404)) => {
                    if provisioning_key.is_none() {
                        return Err(Refused::of(
                            error,
                            "the server does not know this device, and there is no \
                             server.provisioning_key to register it with",
                        ));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        let Some(key) = provisioning_key else {
            return Ok(());
        };
        let answer = self
            .line
            .client
            .register(key, &self.request())
            .await
            .map_err(|error| match error.status() {
                Some(401) => Refused::of(
                    error,
                    "server.provisioning_key is not known, has expired, was revoked or is used up: \
                     make a new one with `windlass keys create-provisioning`",
                ),
                Some(409) => Refused::of(
                    error,
                    "the server knows this uuid with another key: the state directory was copied \
                     or put back from an old copy; delete the device on the server, or empty \
                     the directory to make a new device of this machine",
                ),
                _ => error.into(),
            })?;
        let registered = Registered {
            id: answer.id,
            fleet: answer.fleet_id,
            server: self.line.client.base().to_owned(),
            at: Utc::now(),
        };
        tracing::info!(device.uuid = %identity.uuid, fleet = %registered.fleet, "registered");
        device.key_exchange().await?;
        // The server knows it whether this is written or not; the next start finds out.
        if let Err(error) = self.state.write(state::REGISTERED, &registered) {
            tracing::warn!(%error, "registered, which cannot be written down");
        }
        Ok(())
    }

    fn request(&self) -> RegisterRequest {
        let identity = &self.line.identity;
        RegisterRequest {
            uuid: identity.uuid,
            device_name: self.facts.name.clone(),
            device_type: self.facts.kind.clone(),
            device_api_key: identity.key.clone(),
            mac_address: self.facts.mac_address.clone(),
            os_version: self.facts.os_version.clone(),
            agent_version: Some(AGENT_VERSION.to_owned()),
            application_id: None,
            time_zone: self.facts.time_zone.clone(),
        }
    }
}
