//! `windlass trigger`.

use crate::cli::Trigger;
use crate::exit::{Exit, Failure};
use crate::lookup;
use crate::output::Out;
use crate::plans;
use crate::times::{short_image, short_tail};
use crate::watch::{Until, watch};
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use windlass_client::{Client, TriggerAnswer};
use windlass_types::api::{Trigger as Told, TriggerDecision, TriggerRequest};
use windlass_types::policy::{BatchSize, Filters, RolloutRule};

/// How long the planner is waited for; a registry that must be asked first may take longer.
const PATIENCE: Duration = Duration::from_secs(15);

/// `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected key=value".to_owned()),
    }
}

/// `10%` or `5`.
pub(crate) fn batch(text: &str) -> Result<BatchSize, String> {
    let number = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .ok_or_else(|| format!("{text:?} is no size"))
    };
    match text.trim().strip_suffix('%') {
        Some(percent) => number(percent).map(BatchSize::Percent),
        None => number(text).map(BatchSize::Count),
    }
}

pub(crate) async fn run(client: &Client, given: Trigger, out: &mut Out) -> Result<(), Failure> {
    let mut uuids = std::collections::BTreeSet::new();
    for device in &given.device {
        uuids.insert(lookup::device(client, device).await?);
    }
    let rule = given.rule.as_deref().map(rule).transpose()?;
    let request = TriggerRequest {
        rule,
        priority: given.priority,
        allow_downgrade: given.allow_downgrade.then_some(true),
        allow_unsigned: given.allow_unsigned,
        strategy: given.strategy,
        batches: given.batches,
        batch_delay_seconds: given.delay,
        filters: Filters {
            fleets: given.fleet.into_iter().collect(),
            tags: given.tag.into_iter().collect(),
            uuids,
        },
        dry_run: given.dry_run,
        ..TriggerRequest::new(given.image, given.reason)
    };
    let trigger = match client.trigger(&request).await? {
        TriggerAnswer::Plan(plan) if out.is_json() => return out.json(&plan),
        TriggerAnswer::Plan(plan) => return plans::show(&plan, out),
        TriggerAnswer::Trigger(trigger) => trigger,
    };
    followed(client, trigger, given.watch, out).await
}

/// A rule from a TOML or JSON file.
fn rule(path: &Path) -> Result<RolloutRule, Failure> {
    let name = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    let read = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| error.to_string())
    } else {
        toml::from_str(&text).map_err(|error| error.to_string())
    };
    read.map_err(|error| Failure::usage(format!("{name}: {error}")))
}

/// Waits for what becomes of a trigger and says it; with `watch` the rollout is followed.
pub(crate) async fn followed(
    client: &Client,
    mut trigger: Box<Told>,
    watched: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let started = Instant::now();
    while trigger.decision.is_none() && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
        *trigger = client.trigger_status(trigger.id).await?;
    }
    if out.is_json() && !watched {
        out.json(&trigger)?;
    }
    let detail = trigger.detail.clone().unwrap_or_default();
    match (trigger.decision, &trigger.rollout) {
        (Some(TriggerDecision::Rollout), Some(view)) => {
            let id = view.rollout.id;
            if watched {
                let until = Until {
                    through_pauses: false,
                    timeout: None,
                };
                return watch(client, id, until, out).await;
            }
            if out.is_json() {
                return Ok(());
            }
            out.line(format!(
                "rollout {id} to {} devices in {} batches: {}",
                view.rollout.total_devices,
                view.rollout.batch_count,
                short_image(&view.image)
            ))?;
            out.line(format!(
                "follow it: windlass rollouts watch {}",
                short_tail(id.0)
            ))
        }
        (Some(TriggerDecision::NoDevices), _) => Err(Failure::not_found(format!(
            "no device takes this image; {detail}"
        ))),
        (Some(TriggerDecision::Quarantined), _) => Err(Failure::new(
            Exit::Refused,
            format!("the image is in quarantine; {detail}"),
        )),
        (Some(TriggerDecision::Unsigned), _) => Err(Failure::new(
            Exit::Refused,
            format!("{detail}; --allow-unsigned ships it in your name all the same"),
        )),
        (Some(TriggerDecision::PlanChanged), _) => Err(Failure::new(
            Exit::Refused,
            format!("it is not what the plan showed any more; {detail}"),
        )),
        (Some(TriggerDecision::Rollout) | None, _) => Err(Failure::failed(format!(
            "nothing has come of it yet; {detail}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_shares_or_counts() {
        assert_eq!(batch("10%"), Ok(BatchSize::Percent(10)));
        assert_eq!(batch(" 5 "), Ok(BatchSize::Count(5)));
        assert!(batch("ten").is_err() && batch("%").is_err() && batch("-1").is_err());
    }

    #[test]
    fn tags_are_pairs() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
