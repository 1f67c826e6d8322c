//! When a device counts as healthy, and checks beyond what it reports.

use crate::text_enum::text_enum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use utoipa::ToSchema;

text_enum! {
    /// What a check does.
    CheckKind {
        /// Asks a URL of each updated device.
        Http = "http",
        /// Opens a connection to a port of each updated device.
        Tcp = "tcp",
        /// Asks that the container of each updated device runs, by its reports.
        ContainerRunning = "container_running",
        /// Asks a URL about the rollout with the facts, once for a batch; its answer decides.
        Custom = "custom",
        /// Asks Prometheus about the rollout, once for a batch.
        Prometheus = "prometheus",
    }
}

text_enum! {
    /// Who runs a check.
    CheckFrom {
        /// The device: the check is a probe in its target state, its result is in its reports.
        Device = "device",
        /// health-checker.
        Server = "server",
    }
}

text_enum! {
    /// How a number is compared.
    Comparison {
        /// Below.
        Lt = "lt",
        /// At most.
        Le = "le",
        /// Above.
        Gt = "gt",
        /// At least.
        Ge = "ge",
    }
}

/// What a number must be for a check to pass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// How it is compared.
    pub is: Comparison,
    /// With what.
    pub value: f64,
}

/// A check. Which fields it has depends on its type; others are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What it does.
    #[serde(rename = "type")]
    pub kind: CheckKind,
    /// A name for people; its type and place where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(min_length = 1, max_length = 128)]
    pub name: Option<String>,
    /// Who runs it: the device or the server for `http` and `tcp` (the device where not given), the
    /// device for `container_running`, the server for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<CheckFrom>,
    /// `http`: the URL, with `{address}`, `{name}` and `{uuid}` for the device's own. `custom`: the URL
    /// that is asked by POST. `prometheus`: the server's base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 2048)]
    pub url: Option<String>,
    /// `tcp`: the port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// `http`: the statuses that pass; 200 to 299 where none is given.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub expected_status: BTreeSet<u16>,
    /// `http`: what the first 64 KiB of the body must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub body_contains: Option<String>,
    /// `prometheus`: a query that gives one number for the updated devices, with `{image}`, `{tag}`,
    /// `{digest}`, `{rollout}` and `{batch}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub query: Option<String>,
    /// `prometheus`: the same for the devices not updated; the condition is then about the quotient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 4096)]
    pub baseline_query: Option<String>,
    /// `prometheus`: what the number must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// How long the check may take until it has passed, in seconds.
    #[serde(default = "timeout")]
    #[schema(minimum = 1, maximum = 86400)]
    pub timeout_seconds: u32,
    /// How many tries in a row must fail for the check to fail.
    #[serde(default = "retries")]
    #[schema(minimum = 1, maximum = 100)]
    pub retry_count: u32,
    /// How long to wait between two tries, in seconds.
    #[serde(default = "interval")]
    #[schema(minimum = 1, maximum = 3600)]
    pub interval_seconds: u32,
}

const fn timeout() -> u32 {
    300
}

const fn retries() -> u32 {
    3
}

const fn interval() -> u32 {
    30
}

impl Check {
    /// A check of this type with the usual times.
    #[must_use]
    pub const fn new(kind: CheckKind) -> Self {
        Self {
            kind,
            name: None,
            from: None,
            url: None,
            port: None,
            expected_status: BTreeSet::new(),
            body_contains: None,
            query: None,
            baseline_query: None,
            condition: None,
            timeout_seconds: timeout(),
            retry_count: retries(),
            interval_seconds: interval(),
        }
    }

    /// Who runs it.
    #[must_use]
    pub const fn runs_from(&self) -> CheckFrom {
        match (self.kind, self.from) {
            (CheckKind::Http | CheckKind::Tcp, Some(from)) => from,
            (CheckKind::Http | CheckKind::Tcp | CheckKind::ContainerRunning, _) => {
                CheckFrom::Device
            }
            (CheckKind::Custom | CheckKind::Prometheus, _) => CheckFrom::Server,
        }
    }

    /// Whether it is about a batch as a whole, rather than about each device.
    #[must_use]
    pub const fn is_gate(&self) -> bool {
        matches!(self.kind, CheckKind::Custom | CheckKind::Prometheus)
    }
}

/// When a device counts as healthy, failed or unreachable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
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
    /// Checks beyond what devices report.
    pub checks: Vec<Check>,
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
