//! Which fields belong to which strategy: canaries, comparisons, approvals, start times.

use super::{DAY, Fields, MONTH, checks, tags};
use std::collections::BTreeMap;
use windlass_types::policy::{
    AbDecision, AbRule, ApprovalBefore, CanaryRule, RolloutRule, Strategy,
};

pub(super) fn check(fields: &mut Fields, rule: &RolloutRule) {
    match (rule.strategy, &rule.canary) {
        (Strategy::Canary, Some(canary)) => canary_rule(fields, canary),
        (Strategy::Canary, None) => fields.invalid(
            "canary",
            "the strategy canary needs to know its first batch, such as {\"count\":1}",
        ),
        (_, Some(_)) => belongs(fields, rule, "canary", Strategy::Canary),
        (_, None) => {}
    }
    match (rule.strategy, &rule.ab) {
        (Strategy::Ab, Some(ab)) => ab_rule(fields, ab),
        (Strategy::Ab, None) => fields.invalid(
            "ab",
            "the strategy ab needs to know who gets the new version, such as {\"percent\":50}",
        ),
        (_, Some(_)) => belongs(fields, rule, "ab", Strategy::Ab),
        (_, None) => {}
    }
    if rule.starts_at.is_some() && rule.strategy != Strategy::Scheduled {
        belongs(fields, rule, "starts_at", Strategy::Scheduled);
    }
    if rule.strategy == Strategy::Scheduled
        && rule.starts_at.is_none()
        && rule.maintenance_windows.is_empty()
    {
        fields.invalid(
            "starts_at",
            "the strategy scheduled needs a time to start at, or maintenance_windows to wait for",
        );
    }
    approval(fields, rule);
}

fn belongs(fields: &mut Fields, rule: &RolloutRule, field: &str, to: Strategy) {
    fields.invalid(
        field,
        format!(
            "{field} belongs to the strategy {to}, and this is {}; leave it out or change the strategy",
            rule.strategy
        ),
    );
}

fn approval(fields: &mut Fields, rule: &RolloutRule) {
    if rule.strategy == Strategy::Manual {
        return;
    }
    let promoted = |ab: &AbRule| ab.decide == AbDecision::Approval;
    let by_person = rule.strategy == Strategy::Ab && rule.ab.as_ref().is_some_and(promoted);
    let before: Option<ApprovalBefore> = rule.approval_before();
    if rule.approval.two_people_above.is_some() && before.is_none() && !by_person {
        fields.invalid(
            "approval.two_people_above",
            "nothing is approved here; give approval.before as well: rollout or each_batch",
        );
    }
}

/// Exactly one way to say who is in the first batch.
fn exactly_one(fields: &mut Fields, field: &str, names: &str, given: &[bool]) {
    let given = given.iter().filter(|given| **given).count();
    if given != 1 {
        fields.invalid(field, format!("give exactly one of {names}, not {given}"));
    }
}

fn share(fields: &mut Fields, field: &str, percent: Option<u32>) {
    if let Some(percent) = percent {
        fields.range(field, percent, 1, 99);
    }
}

fn who(fields: &mut Fields, field: &str, given: &BTreeMap<String, String>) {
    tags(fields, &format!("{field}.tags"), given);
}

fn canary_rule(fields: &mut Fields, canary: &CanaryRule) {
    let given = [
        canary.count.is_some(),
        canary.percent.is_some(),
        !canary.tags.is_empty(),
    ];
    exactly_one(fields, "canary", "count, percent and tags", &given);
    if canary.count == Some(0) {
        fields.invalid("canary.count", "a canary has at least one device");
    }
    share(fields, "canary.percent", canary.percent);
    who(fields, "canary", &canary.tags);
    fields.range("canary.soak_seconds", canary.soak_seconds, 0, DAY);
    checks::check(fields, "canary.checks", &canary.checks);
}

fn ab_rule(fields: &mut Fields, ab: &AbRule) {
    let given = [ab.percent.is_some(), !ab.tags.is_empty()];
    exactly_one(fields, "ab", "percent and tags", &given);
    share(fields, "ab.percent", ab.percent);
    who(fields, "ab", &ab.tags);
    fields.range("ab.hold_seconds", ab.hold_seconds, 0, MONTH);
    if ab.decide == AbDecision::Checks && ab.checks.is_empty() {
        fields.invalid(
            "ab.checks",
            "with decide checks, give the checks that decide, of the types custom and prometheus",
        );
    }
    checks::check(fields, "ab.checks", &ab.checks);
    for (at, check) in ab.checks.iter().enumerate().filter(|(_, c)| !c.is_gate()) {
        fields.invalid(
            format!("ab.checks[{at}].type"),
            format!(
                "two versions are compared by checks of the types custom and prometheus; give {} in health.checks",
                check.kind
            ),
        );
    }
}
