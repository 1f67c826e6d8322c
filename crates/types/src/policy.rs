//! Policies: which pushed images go to which devices, and how.

mod check;
mod failure;
mod limits;
mod signature;
mod stages;
mod tag;
mod window;

pub use check::{Check, CheckFrom, CheckKind, Comparison, Condition, HealthRule};
pub use failure::{FailureAction, FailureRule, RetryRule};
pub use limits::{Limits, Ramp};
pub use signature::SignatureRule;
pub use stages::{AbDecision, AbRule, ApprovalRule, CanaryRule};
pub use tag::{TagRule, VersionOrder};
pub use window::{Day, MaintenanceWindow};

use crate::ids::{DeviceId, FleetId, PolicyId};
use crate::text_enum::text_enum;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

text_enum! {
    /// How a rollout goes to its devices.
    Strategy {
        /// All devices at once.
        Auto = "auto",
        /// Batch by batch, with a delay between them.
        Staged = "staged",
        /// A small first batch with its own checks, then staged.
        Canary = "canary",
        /// Waits for a person's approval.
        Manual = "manual",
        /// Starts at a time, inside maintenance windows.
        Scheduled = "scheduled",
        /// A share of the devices first, held beside the others and compared, then all or none.
        Ab = "ab",
    }
}

text_enum! {
    /// How a device changes from the old container to the new one.
    UpdateMethod {
        /// Stop the old one, start the new one.
        Recreate = "recreate",
        /// Start the new one beside the old one, switch when its probes pass.
        BlueGreen = "blue_green",
    }
}

text_enum! {
    /// What waits for a person's approval.
    ApprovalBefore {
        /// The rollout as a whole, before its first batch.
        Rollout = "rollout",
        /// Each batch.
        EachBatch = "each_batch",
    }
}

text_enum! {
    /// What to do while a pushed tag's digest cannot be learned from its registry.
    OnUnresolved {
        /// Ship nothing until the digest is known.
        Wait = "wait",
        /// Ship the tag as it is.
        ShipTag = "ship_tag",
    }
}

/// The size of one batch: a cumulative share of the devices in scope, or so many more devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum BatchSize {
    /// Up to this share of all devices in scope, 1 to 100, counted from the first batch on.
    Percent(u32),
    /// This many devices, on top of the batches before.
    Count(u32),
}

/// Which devices a policy is about: all conditions that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Filters {
    /// Only devices of these fleets; empty means any.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fleets: BTreeSet<FleetId>,
    /// Only devices that carry all these tags with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Only these devices; empty means any.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub uuids: BTreeSet<DeviceId>,
}

/// How a rollout runs: the part of a policy that a rollout takes with it when it is created.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutRule {
    /// How the rollout goes to its devices.
    pub strategy: Strategy,
    /// The batches of a staged rollout; devices beyond the last one make one more.
    #[serde(default = "default_batches")]
    pub batches: Vec<BatchSize>,
    /// A device tag: shares of the batches are then taken of each of its values apart (5 % of every
    /// region), and devices without the tag are a value of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub batch_by: Option<String>,
    /// How long to wait between the end of a batch and the start of the next, in seconds.
    #[serde(default = "default_delay")]
    #[schema(maximum = 2_592_000)]
    pub batch_delay_seconds: u32,
    /// The first batch of the strategy canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// The comparison of the strategy ab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ab: Option<AbRule>,
    /// What waits for a person's approval.
    #[serde(default)]
    pub approval: ApprovalRule,
    /// When the strategy scheduled may begin; without it, in the next window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When devices may be admitted; empty means always.
    #[serde(default)]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// How many devices may be on their way at once.
    #[serde(default)]
    pub limits: Limits,
    /// How a device changes to the new container.
    #[serde(default = "recreate")]
    pub update_method: UpdateMethod,
    /// When a device counts as healthy.
    #[serde(default)]
    pub health: HealthRule,
    /// When the rollout pauses, and what happens to failed devices.
    #[serde(default)]
    pub failure: FailureRule,
    /// Whether a device may get a tag whose version is lower than that of the one in its target; in a
    /// rollout by hand it may in any case.
    #[serde(default)]
    pub allow_downgrade: bool,
}

impl Default for RolloutRule {
    fn default() -> Self {
        Self {
            strategy: Strategy::Staged,
            batches: default_batches(),
            batch_by: None,
            batch_delay_seconds: default_delay(),
            canary: None,
            ab: None,
            approval: ApprovalRule::default(),
            starts_at: None,
            maintenance_windows: Vec::new(),
            limits: Limits::default(),
            update_method: UpdateMethod::Recreate,
            health: HealthRule::default(),
            failure: FailureRule::default(),
            allow_downgrade: false,
        }
    }
}

impl RolloutRule {
    /// What waits for an approval: as the rule says, and the rollout as a whole for the strategy
    /// manual where it says nothing.
    #[must_use]
    pub fn approval_before(&self) -> Option<ApprovalBefore> {
        match (self.approval.before, self.strategy) {
            (None, Strategy::Manual) => Some(ApprovalBefore::Rollout),
            (before, _) => before,
        }
    }

    /// The health rule of one batch: a canary's soak is its stable window, and its deadline is as
    /// much later.
    #[must_use]
    pub fn health_of(&self, batch: i64) -> HealthRule {
        let mut health = self.health.clone();
        if let (Strategy::Canary, 1, Some(canary)) = (self.strategy, batch, &self.canary) {
            let longer = canary
                .soak_seconds
                .saturating_sub(health.stable_window_seconds);
            health.stable_window_seconds = health.stable_window_seconds.max(canary.soak_seconds);
            health.deadline_seconds = health.deadline_seconds.saturating_add(longer);
            health.checks.extend(canary.checks.iter().cloned());
        }
        health
    }
}

impl RolloutRule {
    /// The checks of one batch as a whole, in the order in which their positions count from 0: those
    /// of its health rule, then those of a comparison at its first batch.
    #[must_use]
    pub fn gate_checks(&self, batch: i64) -> Vec<Check> {
        let ab = match (self.strategy, batch, &self.ab) {
            (Strategy::Ab, 1, Some(ab)) => ab.checks.as_slice(),
            _ => &[],
        };
        let mut checks = self.health_of(batch).checks;
        checks.extend(ab.iter().cloned());
        checks.retain(Check::is_gate);
        checks
    }
}

/// 10 %, 50 %, 100 %.
#[must_use]
pub fn default_batches() -> Vec<BatchSize> {
    vec![
        BatchSize::Percent(10),
        BatchSize::Percent(50),
        BatchSize::Percent(100),
    ]
}

const fn recreate() -> UpdateMethod {
    UpdateMethod::Recreate
}

const fn default_delay() -> u32 {
    30 * 60
}

/// A policy as a person writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicySpec {
    /// A name for people, unique.
    #[schema(min_length = 1, max_length = 128)]
    pub name: String,
    /// Glob over the canonical repository (`registry/path`); `*` stops at `/`, `**` does not.
    #[schema(example = "registry:5000/demo/*", min_length = 1, max_length = 512)]
    pub image: String,
    /// Which tags.
    #[serde(default, deserialize_with = "tag_rule")]
    pub tag: TagRule,
    /// How the rollout goes to its devices.
    pub strategy: Strategy,
    /// The batches of a staged rollout; devices beyond the last one make one more.
    #[serde(default = "default_batches")]
    pub batches: Vec<BatchSize>,
    /// A device tag: shares of the batches are then taken of each of its values apart (5 % of every
    /// region), and devices without the tag are a value of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub batch_by: Option<String>,
    /// How long to wait between the end of a batch and the start of the next, in seconds.
    #[serde(default = "default_delay")]
    #[schema(maximum = 2_592_000)]
    pub batch_delay_seconds: u32,
    /// The first batch of the strategy canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryRule>,
    /// The comparison of the strategy ab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ab: Option<AbRule>,
    /// What waits for a person's approval.
    #[serde(default)]
    pub approval: ApprovalRule,
    /// When the strategy scheduled may begin; without it, in the next window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When devices may be admitted; empty means always.
    #[serde(default)]
    pub maintenance_windows: Vec<MaintenanceWindow>,
    /// How many devices may be on their way at once.
    #[serde(default)]
    pub limits: Limits,
    /// How a device changes to the new container.
    #[serde(default = "recreate")]
    pub update_method: UpdateMethod,
    /// When a device counts as healthy.
    #[serde(default)]
    pub health: HealthRule,
    /// When the rollout pauses, and what happens to failed devices.
    #[serde(default)]
    pub failure: FailureRule,
    /// Whether a device may get a tag whose version is lower than that of the one in its target.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Which devices.
    #[serde(default)]
    pub filters: Filters,
    /// The matching policy with the highest priority decides; the older one on a tie.
    #[serde(default)]
    pub priority: i32,
    /// Whether the policy takes part.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// What to do while the digest is unknown.
    #[serde(default = "wait")]
    pub on_unresolved: OnUnresolved,
    /// How long a version must have been known before it ships, in seconds from when its tag was first
    /// seen to name its digest.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(maximum = 31_536_000)]
    pub min_age_seconds: u32,
    /// Whose signature an image must carry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRule>,
}

/// A rule as an object alone: serde would take an array as well, the type first.
fn tag_rule<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TagRule, D::Error> {
    let fields = serde_json::Map::deserialize(deserializer)?;
    TagRule::deserialize(serde_json::Value::Object(fields)).map_err(serde::de::Error::custom)
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}

const fn yes() -> bool {
    true
}

const fn wait() -> OnUnresolved {
    OnUnresolved::Wait
}

impl PolicySpec {
    /// The part a rollout takes with it.
    #[must_use]
    pub fn rollout_rule(&self) -> RolloutRule {
        RolloutRule {
            strategy: self.strategy,
            batches: self.batches.clone(),
            batch_by: self.batch_by.clone(),
            batch_delay_seconds: self.batch_delay_seconds,
            canary: self.canary.clone(),
            ab: self.ab.clone(),
            approval: self.approval,
            starts_at: self.starts_at,
            maintenance_windows: self.maintenance_windows.clone(),
            limits: self.limits.clone(),
            update_method: self.update_method,
            health: self.health.clone(),
            failure: self.failure.clone(),
            allow_downgrade: self.allow_downgrade,
        }
    }
}

/// A policy as stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Policy {
    /// Its id.
    pub id: PolicyId,
    /// Raised by each change; send it back to change exactly what was read.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
    /// What it says.
    #[serde(flatten)]
    pub spec: PolicySpec,
}
