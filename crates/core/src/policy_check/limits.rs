//! Limits inside a batch.

use super::Fields;
use windlass_types::policy::Limits;

/// Each limited tag is a count over the fleet for each slice.
const MAX_TAGS: usize = 10;

pub(super) fn check(fields: &mut Fields, limits: &Limits) {
    if limits.max_in_flight == Some(0) {
        fields.invalid(
            "limits.max_in_flight",
            "at least 1; to let nothing through, pause the rollout or switch the policy off",
        );
    }
    if let Some(percent) = limits.max_in_flight_percent {
        fields.range("limits.max_in_flight_percent", percent, 1, 100);
    }
    if let Some(ramp) = &limits.per_minute {
        fields.range("limits.per_minute.base", ramp.base, 1, 1_000_000);
        if !(1.0..=10.0).contains(&ramp.factor) {
            fields.invalid(
                "limits.per_minute.factor",
                format!("1 to 10, not {}", ramp.factor),
            );
        }
        if ramp.after_successes == 0 {
            fields.invalid("limits.per_minute.after_successes", "at least 1");
        }
        if let Some(max) = ramp.max.filter(|max| *max < ramp.base) {
            fields.invalid(
                "limits.per_minute.max",
                format!("at least the base, {}, not {max}", ramp.base),
            );
        }
    }
    if limits.max_unavailable.len() > MAX_TAGS {
        fields.invalid(
            "limits.max_unavailable",
            format!(
                "at most {MAX_TAGS} tags, not {}",
                limits.max_unavailable.len()
            ),
        );
    }
    for (tag, devices) in &limits.max_unavailable {
        let field = format!("limits.max_unavailable[{tag:?}]");
        fields.text(&format!("{field} (the key)"), tag, 1, 128);
        if *devices == 0 {
            fields.invalid(
                field,
                "at least 1: a device that is updated is unavailable for a moment",
            );
        }
    }
}
