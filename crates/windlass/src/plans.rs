//! `windlass plans`, and how a plan is shown.

use crate::cli::Plans;
use crate::exit::Failure;
use crate::output::{Out, Table};
use crate::times::{short_image, short_tail};
use crate::trigger::followed;
use chrono::{DateTime, Utc};
use windlass_client::Client;
use windlass_types::api::{Conflict, TriggerPlan};
use windlass_types::ids::PlanId;

pub(crate) async fn run(client: &Client, command: Plans, out: &mut Out) -> Result<(), Failure> {
    match command {
        Plans::Show { id } => {
            let kept = client.rollout_plan(PlanId(id)).await?;
            if out.is_json() {
                return out.json(&kept);
            }
            show(&kept.plan, out)
        }
        Plans::Apply { id, reason, watch } => {
            let trigger = client.apply_plan(PlanId(id), &reason).await?;
            followed(client, Box::new(trigger), watch, out).await
        }
    }
}

fn minute(at: Option<DateTime<Utc>>) -> String {
    at.map_or_else(
        || "-".to_owned(),
        |at| at.format("%Y-%m-%d %H:%MZ").to_string(),
    )
}

/// Another rollout that wants some of the same devices.
pub(crate) fn conflict(conflict: &Conflict) -> String {
    let who = if conflict.other_keeps {
        "which keeps them"
    } else {
        "from which it takes them"
    };
    format!(
        "{} devices are also in rollout {} ({}, priority {}), {who}",
        conflict.devices,
        short_tail(conflict.rollout_id.0),
        short_image(&conflict.image),
        conflict.priority
    )
}

/// A plan for people.
pub(crate) fn show(plan: &TriggerPlan, out: &mut Out) -> Result<(), Failure> {
    out.line(format!(
        "{} would go to {} devices",
        short_image(&plan.image),
        plan.total_devices
    ))?;
    if let Some(waiting) = &plan.waiting_for {
        out.line(format!("before that: {waiting}"))?;
    }
    let mut batches = Table::new(&["batch", "devices", "not before", "done by", "waits for"]);
    for batch in &plan.batches {
        batches.row([
            batch.batch.to_string(),
            batch.devices.to_string(),
            minute(batch.starts_at),
            minute(batch.ends_at),
            batch.waiting_for.clone(),
        ]);
    }
    out.table(&batches, "no batches")?;
    if let Some(ends_at) = plan.ends_at {
        out.line(format!("done by {} at the earliest", minute(Some(ends_at))))?;
    }
    for window in &plan.windows {
        let days: Vec<&str> = window.days.iter().map(|day| day.as_str()).collect();
        out.line(format!(
            "only from {} to {}, {} ({})",
            window.start,
            window.end,
            if days.is_empty() {
                "every day".to_owned()
            } else {
                days.join(" ")
            },
            window.time_zone.as_deref().unwrap_or("each device's time")
        ))?;
    }
    for freeze in &plan.freezes {
        out.line(format!(
            "frozen from {} until {}: {}",
            minute(Some(freeze.starts_at)),
            freeze
                .ends_at
                .map_or_else(|| "it is lifted".to_owned(), |at| minute(Some(at))),
            freeze.reason
        ))?;
    }
    for (reason, devices) in &plan.skipped {
        out.line(format!("{devices} skipped: {reason}"))?;
    }
    for other in &plan.conflicts {
        out.line(conflict(other))?;
    }
    if let Some(id) = plan.plan_id {
        out.line(format!(
            "ship exactly this until {}: windlass plans apply {id} --reason …",
            minute(plan.expires_at)
        ))?;
    }
    Ok(())
}
