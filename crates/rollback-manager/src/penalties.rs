//! Devices that fail images which are good elsewhere again and again are set aside for a time.

use crate::NAME;
use chrono::TimeDelta;
use serde_json::json;
use windlass_core::penalty::{Before, Failure, Rule, decide};
use windlass_service::config::RollbackSection;
use windlass_service::work::Next;
use windlass_service::{Deps, StartError};
use windlass_store::Result;
use windlass_store::penalties::{self, NewPenalty};

/// The rule that the settings give.
///
/// # Errors
/// [`StartError`] where a time is 0 or more than ten years.
pub fn rule(settings: &RollbackSection) -> std::result::Result<Rule, StartError> {
    settings.check().map_err(StartError::Part)?;
    Ok(Rule {
        failures: settings.penalty_failures,
        within: TimeDelta::days(settings.penalty_window_days.into()),
        first: TimeDelta::hours(settings.penalty_hours.into()),
        longest: TimeDelta::days(settings.penalty_max_days.into()),
    })
}

/// Lets devices take part again whose time is over, and sets those aside that have to be.
///
/// # Errors
/// Whatever the store says.
pub async fn run(deps: &Deps, rule: &Rule, group: i64) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let since = read.now() - rule.within;
    let due = penalties::any_due(&mut read).await?;
    let idle = !due
        && (rule.failures == 0
            || penalties::suspects(&mut read, since, rule.failures, 1)
                .await?
                .is_empty());
    if idle {
        return Ok(Next::Idle);
    }
    drop(read);
    let mut tx = deps.store.begin().await?;
    let now = tx.now();
    let mut done = penalties::end_due(&mut tx, group, NAME).await?;
    if rule.failures > 0 {
        let since = now - rule.within;
        let suspects = penalties::suspects(&mut tx, since, rule.failures, group).await?;
        let mut new = Vec::new();
        for (device, suspect) in suspects {
            let failures: Vec<Failure> = suspect
                .failures
                .into_iter()
                .map(|(judged_at, rollout)| Failure { judged_at, rollout })
                .collect();
            let before = suspect.before.map(|(times, since, until)| Before {
                times,
                since,
                until,
            });
            let Some(penalty) = decide(&failures, before.as_ref(), rule, now) else {
                continue;
            };
            new.push(NewPenalty {
                device,
                reason: format!(
                    "it failed in {} rollouts within {} days that were good elsewhere",
                    penalty.rollouts.len(),
                    rule.within.num_days()
                ),
                evidence: json!({"rollouts": penalty.rollouts, "times": penalty.times}),
                until: penalty.until,
                times: penalty.times,
            });
        }
        done += penalties::add(&mut tx, &new, NAME).await?;
        for penalty in &new {
            tracing::warn!(device.uuid = %penalty.device, until = %penalty.until,
                "a device is set aside: {}", penalty.reason);
        }
    }
    if done == 0 {
        tx.rollback().await?;
        return Ok(Next::Idle);
    }
    deps.commit(tx).await?;
    Ok(Next::Idle)
}
