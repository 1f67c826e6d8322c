//! `windlass trigger`.

use crate::cli::Trigger;
use crate::exit::{Exit, Failure};
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::{short_image, short_tail};
use crate::watch::{Until, watch};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use windlass_client::{Client, TriggerAnswer};
use windlass_types::api::{TriggerDecision, TriggerPlan, TriggerRequest};
use windlass_types::policy::{BatchSize, Filters};

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
    let request = TriggerRequest {
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
    let mut trigger = match client.trigger(&request).await? {
        TriggerAnswer::Plan(plan) if out.is_json() => return out.json(&plan),
        TriggerAnswer::Plan(plan) => return planned(&plan, out),
        TriggerAnswer::Trigger(trigger) => trigger,
    };
    let started = Instant::now();
    while trigger.decision.is_none() && started.elapsed() < PATIENCE {
        sleep(Duration::from_millis(200)).await;
        *trigger = client.trigger_status(trigger.id).await?;
    }
    if out.is_json() && !given.watch {
        out.json(&trigger)?;
    }
    let detail = trigger.detail.clone().unwrap_or_default();
    match (trigger.decision, &trigger.rollout) {
        (Some(TriggerDecision::Rollout), Some(view)) => {
            let id = view.rollout.id;
            if given.watch {
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
        (Some(TriggerDecision::PlanChanged), _) => Err(Failure::new(
            Exit::Refused,
            format!("it is not what the plan showed any more; {detail}"),
        )),
        (Some(TriggerDecision::Rollout) | None, _) => Err(Failure::failed(format!(
            "nothing has come of it yet; {detail}"
        ))),
    }
}

fn planned(plan: &TriggerPlan, out: &mut Out) -> Result<(), Failure> {
    out.line(format!(
        "{} would go to {} devices",
        short_image(&plan.image),
        plan.total_devices
    ))?;
    if let Some(waiting) = &plan.waiting_for {
        out.line(format!("before that: {waiting}"))?;
    }
    let mut batches = Table::new(&["batch", "devices", "waits for"]);
    for batch in &plan.batches {
        batches.row([
            batch.batch.to_string(),
            batch.devices.to_string(),
            batch.waiting_for.clone(),
        ]);
    }
    out.table(&batches, "no batches")?;
    for (reason, devices) in &plan.skipped {
        out.line(format!("{devices} skipped: {reason}"))?;
    }
    Ok(())
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
