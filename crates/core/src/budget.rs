//! When a rollout pauses by itself, or its image is put into quarantine for a class of devices.
//!
//! What is counted and what follows is in docs/adr/0013-budgets-and-ways-back.md.

#[cfg(test)]
mod tests;

use windlass_types::facts::{ClassCount, FailureCount};
use windlass_types::policy::FailureRule;
use windlass_types::rollout::{BatchProgress, StatusReason};

/// A budget is used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit.
    pub reason: StatusReason,
    /// The numbers, for people.
    pub detail: String,
    /// The value of `failure.quarantine_by` whose budget it is, where it is not the whole rollout's:
    /// then the rollout goes on for the others.
    pub class: Option<String>,
    /// The batch whose budget it is, where it is that of one: not always the present one.
    pub batch: Option<i64>,
}

impl Exceeded {
    /// Whether the image is to blame, so that it goes into quarantine. Silence and failures of the
    /// environment prove nothing about it.
    #[must_use]
    pub fn blames_image(&self) -> bool {
        matches!(
            self.reason,
            StatusReason::FailureRate | StatusReason::ConsecutiveFailures
        )
    }
}

/// Devices of which so many were bad.
#[derive(Debug, Clone, Copy)]
struct Share {
    bad: i64,
    of: i64,
}

impl Share {
    /// Shares such as 0.29 of 100 are not exact in binary; a billionth of a device decides nothing.
    fn is_above(self, limit: f64) -> bool {
        self.bad > 0 && self.bad as f64 > limit * self.of as f64 + 1e-9
    }
}

fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}

/// Whether a rollout whose present batch is `batch` goes beyond its rule.
///
/// Shares count once `min_sample` devices are in them, and at the end of a batch however few they are.
/// Devices that were never judged are neither for nor against the image. What is found is carried out
/// (paused, put into quarantine) and asked again: quarantine for one class may not have been all.
#[must_use]
pub fn exceeded(
    count: &FailureCount,
    rule: &FailureRule,
    batch: i64,
    batch_ended: bool,
) -> Option<Exceeded> {
    by_class(&count.classes, rule)
        .or_else(|| whole(count, rule, batch, batch_ended))
        .or_else(|| not_the_image(count, rule, batch_ended))
}

/// Classes beyond their budgets: one is for itself, two speak against the image as such. A rollout
/// to one class alone has only the budget of the whole. The end of a batch makes no sample of a class
/// large enough: one unlucky device of each of two rare classes would condemn the image for all. The whole is
/// judged at that end.
fn by_class(classes: &[ClassCount], rule: &FailureRule) -> Option<Exceeded> {
    let key = rule.quarantine_by.as_deref()?;
    if classes.len() < 2 {
        return None;
    }
    let name = |class: &ClassCount| match class.value.as_str() {
        "" => format!("devices without {key}"),
        value => format!("{key}={value}"),
    };
    let mut beyond = classes
        .iter()
        .filter(|class| !class.quarantined)
        .filter_map(|class| {
            let share = Share {
                bad: class.failed,
                of: class.attempted,
            };
            let found = rate(share, rule.max_failure_rate, rule, false)
                .or_else(|| in_a_row(&class.latest_failed, rule))?;
            Some((class, found))
        });
    let (class, first) = beyond.next()?;
    let before = classes.iter().find(|class| class.quarantined);
    let other = before.or_else(|| beyond.next().map(|(class, _)| class));
    Some(match other {
        Some(other) => Exceeded {
            detail: format!(
                "{}: {}; {} is beyond its budget too",
                name(class),
                first.detail,
                name(other)
            ),
            ..first
        },
        None => Exceeded {
            detail: format!("{}: {}", name(class), first.detail),
            class: Some(class.value.clone()),
            ..first
        },
    })
}

fn whole(count: &FailureCount, rule: &FailureRule, batch: i64, ended: bool) -> Option<Exceeded> {
    let share = Share {
        bad: count.batches.iter().map(|b| b.attempted_failed).sum(),
        of: count.batches.iter().map(|b| b.attempted).sum(),
    };
    rate(share, rule.max_failure_rate, rule, ended)
        .or_else(|| in_one_batch(&count.batches, rule, batch, ended))
        .or_else(|| in_a_row(&count.latest_failed, rule))
}

/// Batches before the present one have ended.
fn in_one_batch(
    batches: &[BatchProgress],
    rule: &FailureRule,
    present: i64,
    ended: bool,
) -> Option<Exceeded> {
    let limit = rule.max_batch_failure_rate?;
    batches.iter().find_map(|batch| {
        let share = Share {
            bad: batch.attempted_failed,
            of: batch.attempted,
        };
        let found = rate(share, limit, rule, ended || batch.batch < present)?;
        Some(Exceeded {
            detail: format!("batch {}: {}", batch.batch, found.detail),
            batch: Some(batch.batch),
            ..found
        })
    })
}

fn rate(share: Share, limit: f64, rule: &FailureRule, ended: bool) -> Option<Exceeded> {
    let enough = share.of >= i64::from(rule.min_sample) || ended;
    (enough && share.is_above(limit)).then(|| Exceeded {
        reason: StatusReason::FailureRate,
        detail: format!(
            "{} of {} attempted devices failed; at most {} % may",
            share.bad,
            share.of,
            percent(limit)
        ),
        class: None,
        batch: None,
    })
}

fn in_a_row(latest_failed: &[bool], rule: &FailureRule) -> Option<Exceeded> {
    let row = usize::try_from(rule.max_consecutive_failures).unwrap_or(usize::MAX);
    let failed = latest_failed.iter().take_while(|failed| **failed).count();
    (row > 0 && failed >= row).then(|| Exceeded {
        reason: StatusReason::ConsecutiveFailures,
        detail: format!("the last {row} devices that were judged failed"),
        class: None,
        batch: None,
    })
}

/// Devices that say nothing about the image: too many of them, and nothing is known of it.
fn not_the_image(count: &FailureCount, rule: &FailureRule, ended: bool) -> Option<Exceeded> {
    let enough = count.admitted >= i64::from(rule.min_sample) || ended;
    let sum = |of: fn(&BatchProgress) -> i64| count.batches.iter().map(of).sum::<i64>();
    let above = |bad, limit: f64, reason, what: &str| {
        let of = count.admitted;
        (enough && Share { bad, of }.is_above(limit)).then(|| Exceeded {
            reason,
            detail: format!(
                "{bad} of {of} admitted devices {what}; at most {} % may",
                percent(limit)
            ),
            class: None,
            batch: None,
        })
    };
    above(
        sum(|b| b.went_silent),
        rule.max_silent_rate,
        StatusReason::WentSilent,
        "went silent after they took up the image",
    )
    .or_else(|| {
        above(
            sum(|b| b.environment_failed),
            rule.max_environment_failure_rate,
            StatusReason::EnvironmentFailures,
            "failed for reasons that are not the image's (registry, network, disk)",
        )
    })
}
