//! The operator's calls.

mod deliveries;
mod devices;
mod freezes;
mod keys;
mod policies;
mod rollouts;
mod triggers;

use crate::Result;
use crate::http::{Client, read, send};
use chrono::{DateTime, Utc};
use reqwest::Method;
use serde::Serialize;
use serde_json::Value;
use windlass_types::api::{Reason, Trigger, TriggerPlan};
use windlass_types::delivery::{Decision, ReasonCode};
use windlass_types::rollout::RolloutStatus;

/// Which page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PageQuery {
    /// Rows at most; the server's own measure where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Which rollouts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RolloutQuery {
    /// Only those that stand here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RolloutStatus>,
    /// Only those that have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Which page.
    #[serde(flatten)]
    pub page: PageQuery,
}

/// Which devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceQuery {
    /// Only those of this fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Only those with this tag, `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only those seen in the last so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_within: Option<u32>,
    /// Which page.
    #[serde(flatten)]
    pub page: PageQuery,
}

/// Which webhook deliveries; all of what is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryQuery {
    /// Only those to this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only those of this sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Only those of which this became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Only those that were ignored for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// Only those that tell of this repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Only those received at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Only those received before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Which page.
    #[serde(flatten)]
    pub page: PageQuery,
}

/// A command on a whole rollout. One device is put back by [`Client::rollback_device`], which is no
/// kind of these: taken for one of them it would put back all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutCommand {
    /// Admit nobody more.
    Pause,
    /// Go on.
    Resume,
    /// End it; devices keep what they have.
    Cancel,
    /// Let it, or the batch that waits, begin; [`Client::approve`] names a batch.
    Approve,
    /// Start the next batch without the rest of its delay.
    NextBatch,
    /// Admit the devices again that failed, were inconclusive or were put back.
    Retry,
    /// Let it go on in spite of freezes.
    OverrideFreeze,
    /// Put every device back on its own last good image.
    RollbackAll,
}

impl RolloutCommand {
    /// The last part of its address.
    const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Approve => "approve",
            Self::NextBatch => "trigger-next-batch",
            Self::Retry => "retry",
            Self::OverrideFreeze => "override-freeze",
            Self::RollbackAll => "rollback-all",
        }
    }
}

/// The answer to a trigger.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerAnswer {
    /// A dry run: what would be done.
    Plan(Box<TriggerPlan>),
    /// The trigger; it has its rollout or decision if the planner was quick, else it waits.
    Trigger(Box<Trigger>),
}

/// How a server stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Ready {
    /// `ready`, or `degraded` where wake-ups do not arrive.
    pub status: String,
    /// `ok` or `unavailable`.
    pub store: String,
    /// `connected` or `disconnected`.
    pub bus: String,
}

const NO_QUERY: [(&str, &str); 0] = [];

impl Client {
    /// Whether the server can do its job.
    ///
    /// # Errors
    /// [`crate::Error`]; 503 where its store does not answer.
    pub async fn ready(&self) -> Result<Ready> {
        read(send(self.at_root(Method::GET, "/readyz")).await?).await
    }

    /// The OpenAPI document.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn openapi(&self) -> Result<Value> {
        self.get("/openapi.json", &NO_QUERY).await
    }
}

fn because(reason: &str) -> Reason {
    Reason {
        reason: reason.to_owned(),
    }
}
