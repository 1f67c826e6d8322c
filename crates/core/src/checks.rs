//! Checks: which there are for a batch, what a try of one amounts to, and whom they may ask.
//! See docs/adr/0012-checks-and-verdicts.md.

mod allowed;
mod answer;
mod fill;
mod progress;
mod prometheus;

pub use allowed::{Allowed, Class, InvalidTarget, class_of};
pub use answer::custom_answer;
pub use fill::{escaped_for_query, escaped_for_url, fill};
pub use progress::{Progress, Try, advance};
pub use prometheus::{compare, number_of};

use windlass_types::policy::{Check, CheckFrom, HealthRule};

/// How long one try may take at most, in seconds: a service that needs longer to answer is not well.
const TRY_SECONDS: u32 = 10;

/// The checks that health-checker runs against each device, with their places in the list of the
/// rule: what `device_checks.position` counts.
pub fn of_server(rule: &HealthRule) -> impl Iterator<Item = (i64, &Check)> {
    of_devices(rule).filter(|(_, check)| check.runs_from() == CheckFrom::Server)
}

/// The checks of each device, with their places in the list of the rule.
pub fn of_devices(rule: &HealthRule) -> impl Iterator<Item = (i64, &Check)> {
    (0_i64..)
        .zip(&rule.checks)
        .filter(|(_, check)| !check.is_gate())
}

/// A check's name: its own, or its type and place.
#[must_use]
pub fn name_of(check: &Check, position: usize) -> String {
    check
        .name
        .clone()
        .unwrap_or_else(|| format!("{} {}", check.kind, position + 1))
}

/// How long one try of a check may take, in seconds: never longer than the check in all or than the
/// time between two tries.
#[must_use]
pub fn try_seconds(check: &Check) -> u32 {
    TRY_SECONDS
        .min(check.timeout_seconds)
        .min(check.interval_seconds)
        .max(1)
}

#[cfg(test)]
mod tests;
