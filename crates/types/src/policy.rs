//! Policies: which pushed images go to which devices, and how.

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

/// Which tags of a repository a policy is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum TagRule {
    /// Tags that match a glob (`*`, `?`, `[a-z]`, `{a,b}`).
    Glob {
        /// The pattern; `*` matches every tag.
        pattern: String,
    },
    /// Semantic versions inside a range.
    Semver {
        /// The range, such as `>=1.2, <2`.
        range: String,
    },
    /// Tags that match a regular expression.
    Regex {
        /// The expression.
        pattern: String,
        /// What to compare, from the capture groups (`$1`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extract: Option<String>,
    },
    /// Tags that are whole numbers; the highest is newest.
    Numeric,
    /// The image built last.
    Newest,
}

impl Default for TagRule {
    fn default() -> Self {
        Self::Glob {
            pattern: "*".to_owned(),
        }
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

/// When a device counts as healthy, failed or unreachable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HealthRule {
    /// How long the wanted image must run without a restart to count as healthy, in seconds.
    #[schema(minimum = 0, maximum = 86400)]
    pub stable_window_seconds: u32,
    /// How long a reachable device may take until it is healthy, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    pub deadline_seconds: u32,
    /// How long a device may stay silent before it counts as unreachable, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    pub unreachable_after_seconds: u32,
    /// How many restarts of the updated container make a crash loop.
    #[schema(minimum = 1, maximum = 1000)]
    pub crash_loop_restarts: u32,
    /// Checks beyond what devices report. None is offered yet.
    pub checks: Vec<serde_json::Value>,
}

impl Default for HealthRule {
    fn default() -> Self {
        Self {
            stable_window_seconds: 30,
            deadline_seconds: 300,
            unreachable_after_seconds: 180,
            crash_loop_restarts: 3,
            checks: Vec::new(),
        }
    }
}

/// When a rollout pauses by itself, and what happens to the devices that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FailureRule {
    /// The share of attempted devices (completed or failed) that may fail, 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub max_failure_rate: f64,
    /// How many devices must have been attempted before the share counts inside a batch; at the end
    /// of a batch it always counts.
    #[schema(minimum = 1)]
    pub min_sample: u32,
    /// How many failures in a row pause the rollout; 0 turns this off.
    pub max_consecutive_failures: u32,
    /// Whether a failed device is put back on its own last good image.
    pub auto_rollback: bool,
    /// How long a device may take to get back, in seconds.
    #[schema(minimum = 1, maximum = 604_800)]
    pub rollback_timeout_seconds: u32,
}

impl Default for FailureRule {
    fn default() -> Self {
        Self {
            max_failure_rate: 0.2,
            min_sample: 5,
            max_consecutive_failures: 3,
            auto_rollback: true,
            rollback_timeout_seconds: 600,
        }
    }
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

/// A time of the week in which devices may be updated. Accepted, but not yet acted on: a policy
/// that gives one is refused with a problem that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceWindow {
    /// IANA time zone; without one the device's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Days of the week, `mon` to `sun`; empty means every day.
    #[serde(default)]
    pub days: Vec<String>,
    /// `HH:MM`.
    pub start: String,
    /// `HH:MM`; before `start` it means the next day.
    pub end: String,
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
    /// How long to wait between the end of a batch and the start of the next, in seconds.
    #[serde(default = "default_delay")]
    #[schema(maximum = 2_592_000)]
    pub batch_delay_seconds: u32,
    /// When a device counts as healthy.
    #[serde(default)]
    pub health: HealthRule,
    /// When the rollout pauses, and what happens to failed devices.
    #[serde(default)]
    pub failure: FailureRule,
}

impl Default for RolloutRule {
    fn default() -> Self {
        Self {
            strategy: Strategy::Staged,
            batches: default_batches(),
            batch_delay_seconds: default_delay(),
            health: HealthRule::default(),
            failure: FailureRule::default(),
        }
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
    /// The batches of a staged rollout.
    #[serde(default = "default_batches")]
    pub batches: Vec<BatchSize>,
    /// Seconds between the end of a batch and the start of the next.
    #[serde(default = "default_delay")]
    #[schema(maximum = 2_592_000)]
    pub batch_delay_seconds: u32,
    /// When a device counts as healthy.
    #[serde(default)]
    pub health: HealthRule,
    /// When the rollout pauses, and what happens to failed devices.
    #[serde(default)]
    pub failure: FailureRule,
    /// When devices may be updated. Not offered yet: must be empty.
    #[serde(default)]
    pub maintenance_windows: Vec<MaintenanceWindow>,
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
}

/// A rule as an object alone: serde would take an array as well, the type first.
fn tag_rule<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<TagRule, D::Error> {
    let fields = serde_json::Map::deserialize(deserializer)?;
    TagRule::deserialize(serde_json::Value::Object(fields)).map_err(serde::de::Error::custom)
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
            batch_delay_seconds: self.batch_delay_seconds,
            health: self.health.clone(),
            failure: self.failure.clone(),
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
