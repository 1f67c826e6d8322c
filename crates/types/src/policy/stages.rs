//! Canaries, comparisons of two versions, approvals.

use super::{ApprovalBefore, Check};
use crate::text_enum::text_enum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The first batch of a canary rollout: give one of `count`, `percent` and `tags`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryRule {
    /// So many devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub count: Option<u32>,
    /// This share of the devices, 1 to 99.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 99)]
    pub percent: Option<u32>,
    /// The devices that carry all these tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The stable window of canary devices, in seconds; where it is longer than the policy's.
    #[schema(maximum = 86400)]
    pub soak_seconds: u32,
    /// Checks of the canary, beside those of the policy.
    pub checks: Vec<Check>,
}

impl Default for CanaryRule {
    fn default() -> Self {
        Self {
            count: None,
            percent: None,
            tags: BTreeMap::new(),
            soak_seconds: 600,
            checks: Vec::new(),
        }
    }
}

text_enum! {
    /// What decides a comparison of two versions.
    AbDecision {
        /// A person: approving promotes the new version, rolling back keeps the old one.
        Approval = "approval",
        /// The checks: passed promotes the new version, failed puts its devices back.
        Checks = "checks",
    }
}

/// A new version on a share of the devices beside the old one on the others, held for a time and
/// compared; then one of them is promoted to all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AbRule {
    /// The share of devices that get the new version, 1 to 99; not together with `tags`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 99)]
    pub percent: Option<u32>,
    /// The devices that get the new version: those that carry all these tags.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// How long both are held, in seconds, once the devices of the new version are done.
    #[schema(maximum = 2_592_000)]
    pub hold_seconds: u32,
    /// What compares them at the end of that time.
    pub checks: Vec<Check>,
    /// What decides.
    pub decide: AbDecision,
}

impl Default for AbRule {
    fn default() -> Self {
        Self {
            percent: None,
            tags: BTreeMap::new(),
            hold_seconds: 86_400,
            checks: Vec::new(),
            decide: AbDecision::Approval,
        }
    }
}

/// What waits for a person's approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApprovalRule {
    /// What waits; nothing where it is not given, except that the strategy manual waits as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<ApprovalBefore>,
    /// Two different people must approve where more devices than this are concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub two_people_above: Option<u32>,
}
