//! `windlass why`: which of devices, rollouts and images is meant, and what is said of it.

use crate::exit::{Exit, Failure};
use crate::lookup;
use crate::output::Out;
use crate::times::relative;
use chrono::Utc;
use serde::Serialize;
use uuid::Uuid;
use windlass_client::Client;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::why::{WhyKind, WhyReason};

pub(crate) async fn run(client: &Client, what: &str, out: &mut Out) -> Result<(), Failure> {
    // Neither ids nor, as a rule, names have these; an image on a registry has.
    if what.contains(['/', ':', '@']) {
        return image(client, what, out).await;
    }
    let (device, rollout) = match what.parse::<Uuid>() {
        Ok(id) => (
            known(
                client
                    .device_info(DeviceId(id))
                    .await
                    .map(|found| found.uuid),
            )?,
            known(
                client
                    .rollout(RolloutId(id))
                    .await
                    .map(|view| view.rollout.id),
            )?,
        ),
        Err(_) => (
            found(lookup::device(client, what).await)?,
            found(lookup::rollout(client, what).await)?,
        ),
    };
    match (device, rollout) {
        (Some(device), Some(rollout)) => Err(Failure::usage(format!(
            "{what} could be the device {device} or the rollout {rollout}; give more of its id"
        ))),
        (Some(id), None) => {
            let why = client.why(id).await?;
            tell(&why, &why.reasons, out)
        }
        (None, Some(id)) => {
            let why = client.rollout_why(id).await?;
            tell(&why, &why.reasons, out)
        }
        // Nothing has this id: it is no image either.
        (None, None) if what.parse::<Uuid>().is_ok() => Err(Failure::not_found(format!(
            "there is no device and no rollout {what}"
        ))),
        (None, None) => image(client, what, out).await,
    }
}

/// What was found, or nothing; all other errors stay what they are.
fn found<T>(looked_up: Result<T, Failure>) -> Result<Option<T>, Failure> {
    match looked_up {
        Ok(id) => Ok(Some(id)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn known<T>(answer: windlass_client::Result<T>) -> Result<Option<T>, Failure> {
    found(answer.map_err(Failure::from))
}

async fn image(client: &Client, what: &str, out: &mut Out) -> Result<(), Failure> {
    let why = client.image_why(what).await?;
    tell(&why, &why.reasons, out)
}

/// The reasons in order, each with what a person would ask next.
fn tell(answer: &impl Serialize, reasons: &[WhyReason], out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(answer);
    }
    let now = Utc::now();
    for (number, reason) in (1..).zip(reasons) {
        let sign = match reason.kind {
            WhyKind::Waits => "waits",
            WhyKind::Decided => "decided",
            WhyKind::Known => "",
        };
        let mut more = Vec::new();
        if let Some(since) = reason.since {
            more.push(format!("since {}", relative(since, now)));
        }
        if let Some(at) = reason.changes_at {
            more.push(format!("changes {}", relative(at, now)));
        }
        out.line(format!("{number:>2}  {:<8} {}", sign, reason.sentence))?;
        if !more.is_empty() {
            out.line(format!("             {}", more.join(", ")))?;
        }
        if let Some(needs) = reason.needs.as_ref().filter(|_| !sign.is_empty()) {
            out.line(format!("             {needs}"))?;
        }
    }
    if reasons.is_empty() {
        out.line("Nothing is known of it.")?;
    }
    Ok(())
}
