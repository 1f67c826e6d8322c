//! Whether a policy, or the rule of a rollout by hand, can be used: every field is looked at, and
//! what this version does not offer yet is refused rather than ignored.

mod checks;
mod fields;
mod limits;
mod signature;
mod stages;
mod windows;

use crate::versions::Rule;
use fields::Fields;
use std::collections::BTreeMap;
use windlass_types::image::is_tag;
use windlass_types::policy::{
    BatchSize, FailureRule, Filters, HealthRule, PolicySpec, RolloutRule, TagRule,
};
use windlass_types::problem::FieldError;

/// What is wrong with a policy or rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Fields whose value can never be right.
    pub invalid: Vec<FieldError>,
    /// Fields that are right, but whose behaviour this version does not have.
    pub not_offered: Vec<FieldError>,
}

impl Checked {
    /// Whether it can be used as it is.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.invalid.is_empty() && self.not_offered.is_empty()
    }
}

/// A day, a week, thirty days, a year, in seconds.
const DAY: u32 = 86_400;
const WEEK: u32 = 7 * DAY;
const MONTH: u32 = 30 * DAY;
const YEAR: u32 = 365 * DAY;
/// Nobody watches more batches than this; each is a line in every display.
const MAX_BATCHES: usize = 100;
/// Values of one filter: they become parameters of one statement, of which SQLite takes 32,766.
const MAX_FILTER: usize = 10_000;

/// Checks a policy.
#[must_use]
pub fn check(spec: &PolicySpec) -> Checked {
    let mut fields = Fields::default();
    name(&mut fields, &spec.name);
    image(&mut fields, &spec.image);
    tag(&mut fields, &spec.tag);
    rule(&mut fields, &spec.rollout_rule());
    filters(&mut fields, &spec.filters);
    fields.range("min_age_seconds", spec.min_age_seconds, 0, YEAR);
    if let Some(rule) = &spec.signature {
        signature::check(&mut fields, rule);
    }
    fields.done()
}

/// Checks the rule of a rollout by hand.
#[must_use]
pub fn check_rule(given: &RolloutRule) -> Checked {
    let mut fields = Fields::default();
    rule(&mut fields, given);
    fields.done()
}

/// Checks which devices a rollout by hand is for.
#[must_use]
pub fn check_filters(given: &Filters) -> Checked {
    let mut fields = Fields::default();
    filters(&mut fields, given);
    fields.done()
}

fn name(fields: &mut Fields, name: &str) {
    fields.text("name", name, 1, 128);
    if name.trim() != name {
        fields.invalid("name", "a name neither begins nor ends with a space");
    }
}

fn image(fields: &mut Fields, pattern: &str) {
    const FIELD: &str = "image";
    if !fields.text(FIELD, pattern, 1, 512) || !fields.glob(FIELD, pattern) {
        return;
    }
    let (first, path) = pattern.split_once('/').unwrap_or((pattern, ""));
    let wild = |text: &str| text.contains(['*', '?', '[', '{', '\\']);
    if pattern.contains('@') {
        fields.invalid(
            FIELD,
            "a policy is about a repository, not about one digest; leave out what begins with @",
        );
    } else if path
        .rsplit('/')
        .next()
        .is_some_and(|last| last.contains(':'))
    {
        fields.invalid(
            FIELD,
            "the tag has a field of its own: leave it out here and give `tag`",
        );
    } else if path.is_empty() && !pattern.contains("**") {
        fields.invalid(
            FIELD,
            "repositories are matched in full, with their registry, as in docker.io/library/nginx; `**` takes every repository",
        );
    } else if !wild(first) && first != "localhost" && !first.contains(['.', ':']) {
        fields.invalid(
            FIELD,
            format!("{first:?} is no registry's host; for Docker Hub write docker.io/{pattern}"),
        );
    } else if !pattern.contains('[') && pattern.bytes().any(|b| b.is_ascii_uppercase()) {
        fields.invalid(
            FIELD,
            "repositories are lower case, so a pattern with upper case takes none",
        );
    }
}

fn tag(fields: &mut Fields, rule: &TagRule) {
    // Beyond this a pattern is not for tags, which have 128 characters themselves.
    let texts: &[(&str, &str)] = match rule {
        TagRule::Glob { pattern }
        | TagRule::Newest {
            pattern: Some(pattern),
        } => &[("tag.pattern", pattern)],
        TagRule::Fixed { tag } => &[("tag.tag", tag)],
        TagRule::Semver { range, .. } => &[("tag.range", range)],
        TagRule::Regex {
            pattern,
            extract: Some(extract),
            ..
        } => &[("tag.pattern", pattern), ("tag.extract", extract)],
        TagRule::Regex { pattern, .. } => &[("tag.pattern", pattern)],
        TagRule::Calendar { format } => &[("tag.format", format)],
        TagRule::Numeric | TagRule::Newest { pattern: None } => &[],
    };
    if !texts
        .iter()
        .all(|(field, text)| fields.text(field, text, 1, 256))
    {
        return;
    }
    if let TagRule::Fixed { tag } = rule
        && !is_tag(tag)
    {
        fields.invalid(
            "tag.tag",
            format!("{tag:?} is no tag: letters, digits, `_`, `.` and `-`, at most 128"),
        );
    }
    if let Err(invalid) = Rule::new(rule) {
        fields.invalid(invalid.field, invalid.reason);
    }
}

fn rule(fields: &mut Fields, rule: &RolloutRule) {
    stages::check(fields, rule);
    batches(fields, &rule.batches);
    if let Some(key) = &rule.batch_by {
        fields.text("batch_by", key, 1, 128);
    }
    fields.range("batch_delay_seconds", rule.batch_delay_seconds, 0, MONTH);
    windows::check(fields, &rule.maintenance_windows);
    limits::check(fields, &rule.limits);
    health(fields, &rule.health);
    failure(fields, &rule.failure);
}

fn batches(fields: &mut Fields, batches: &[BatchSize]) {
    if batches.is_empty() {
        fields.invalid(
            "batches",
            "give at least one batch, such as {\"percent\":100}",
        );
    }
    if batches.len() > MAX_BATCHES {
        fields.invalid(
            "batches",
            format!("at most {MAX_BATCHES} batches, not {}", batches.len()),
        );
    }
    let mut share = 0;
    for (at, size) in batches.iter().enumerate() {
        if share >= 100 {
            fields.invalid(
                format!("batches[{at}]"),
                "the batch before has all devices already; leave this one out",
            );
            break;
        }
        match *size {
            BatchSize::Percent(percent) => {
                let field = format!("batches[{at}].percent");
                if !(1..=100).contains(&percent) {
                    fields.invalid(field, format!("a share is 1 to 100, not {percent}"));
                } else if percent <= share {
                    fields.invalid(
                        field,
                        format!("shares count from the first batch on, so they rise: more than {share}, not {percent}"),
                    );
                }
                share = share.max(percent);
            }
            BatchSize::Count(0) => {
                fields.invalid(
                    format!("batches[{at}].count"),
                    "a batch has at least one device",
                );
            }
            BatchSize::Count(_) => {}
        }
    }
}

fn health(fields: &mut Fields, health: &HealthRule) {
    fields.range(
        "health.stable_window_seconds",
        health.stable_window_seconds,
        0,
        DAY,
    );
    fields.range("health.deadline_seconds", health.deadline_seconds, 1, WEEK);
    fields.range(
        "health.unreachable_after_seconds",
        health.unreachable_after_seconds,
        1,
        WEEK,
    );
    fields.range(
        "health.crash_loop_restarts",
        health.crash_loop_restarts,
        1,
        1000,
    );
    if health.stable_window_seconds >= health.deadline_seconds {
        fields.invalid(
            "health.deadline_seconds",
            format!(
                "a device must have the time to be stable for {} seconds before its deadline after {}",
                health.stable_window_seconds, health.deadline_seconds
            ),
        );
    }
    checks::check(fields, "health.checks", &health.checks);
}

fn failure(fields: &mut Fields, failure: &FailureRule) {
    for (field, share) in [
        ("max_failure_rate", Some(failure.max_failure_rate)),
        ("max_batch_failure_rate", failure.max_batch_failure_rate),
        ("max_silent_rate", Some(failure.max_silent_rate)),
        (
            "max_environment_failure_rate",
            Some(failure.max_environment_failure_rate),
        ),
    ] {
        if let Some(share) = share.filter(|share| !(0.0..=1.0).contains(share)) {
            fields.invalid(
                format!("failure.{field}"),
                format!("a share is 0 to 1, not {share}"),
            );
        }
    }
    if failure.min_sample == 0 {
        fields.invalid("failure.min_sample", "at least 1");
    }
    fields.range(
        "failure.rollback_timeout_seconds",
        failure.rollback_timeout_seconds,
        1,
        WEEK,
    );
    let retry = &failure.retry;
    fields.range("failure.retry.budget", retry.budget, 0, 100);
    fields.range(
        "failure.retry.backoff_seconds",
        retry.backoff_seconds,
        1,
        3600,
    );
    if failure.rollback_max_in_flight == 0 {
        fields.invalid("failure.rollback_max_in_flight", "at least 1");
    }
    if let Some(key) = &failure.quarantine_by {
        fields.text("failure.quarantine_by", key, 1, 128);
    }
}

fn filters(fields: &mut Fields, filters: &Filters) {
    for (field, len) in [
        ("filters.fleets", filters.fleets.len()),
        ("filters.tags", filters.tags.len()),
        ("filters.uuids", filters.uuids.len()),
    ] {
        if len > MAX_FILTER {
            fields.invalid(
                field,
                format!("at most {MAX_FILTER}, not {len}; give the devices a tag"),
            );
        }
    }
    tags(fields, "filters.tags", &filters.tags);
}

/// Tags that devices carry.
fn tags(fields: &mut Fields, field: &str, tags: &BTreeMap<String, String>) {
    for (key, value) in tags {
        fields.text(&format!("{field}[{key:?}] (the key)"), key, 1, 128);
        fields.text(&format!("{field}[{key:?}]"), value, 0, 512);
    }
}

#[cfg(test)]
mod tests;
