//! Writing what came out, what follows for the devices, and the events.

use super::judging::Judged;
use crate::NAME;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use windlass_store::verdicts::{self, LastGood, PutOff, Shipment, Verdict, Written};
use windlass_store::{Result, Session, checks, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::DeviceStatus;

/// Writes it; returns the devices that were still as they were read.
pub(super) async fn write<'a>(tx: &mut Session, judged: &'a [Judged]) -> Result<Vec<&'a Judged>> {
    let rows: Vec<Written> = judged
        .iter()
        .filter(|one| one.put_off.is_none())
        .map(|one| one.row.clone())
        .collect();
    let later: Vec<PutOff> = judged
        .iter()
        .filter_map(|one| one.put_off.clone())
        .collect();
    let mut done = verdicts::write(tx, &rows).await?;
    done.extend(verdicts::put_off(tx, &later).await?);
    let written: Vec<&Judged> = judged
        .iter()
        .filter(|one| done.contains(&(one.row.rollout, one.row.device)))
        .collect();
    follow_checks(tx, &written).await?;
    let mut good = Vec::new();
    let mut failed: BTreeMap<RolloutId, (&Shipment, Vec<DeviceId>)> = BTreeMap::new();
    let mut told = Vec::new();
    for one in &written {
        match one.row.verdict.filter(|_| one.put_off.is_none()) {
            Some(Verdict::Healthy) => {
                good.extend(one.wanted.iter().filter(|w| w.runs).map(|w| LastGood {
                    device: one.row.device,
                    app_id: w.app_id,
                    service_id: w.service_id,
                    image: w.image.clone(),
                    rollout: Some(one.row.rollout),
                }));
            }
            Some(Verdict::Failed) => failed
                .entry(one.row.rollout)
                .or_insert_with(|| (&one.shipment, Vec::new()))
                .1
                .push(one.row.device),
            // It says nothing of the image.
            Some(Verdict::Environment) | None => {}
        }
        told.extend(events_of(one));
    }
    // One device may be in several rollouts; one statement takes a row only once.
    good.sort();
    good.dedup_by(|a, b| (a.device, a.app_id, a.service_id) == (b.device, b.app_id, b.service_id));
    verdicts::last_good(tx, &good).await?;
    for (rollout, (shipment, devices)) in failed {
        // A bare tag that was shipped may have turned out to name a digest since.
        let digest = match &shipment.digest {
            Some(digest) => Some(digest.clone()),
            None => rollouts::shipped_digest(tx, rollout).await?,
        };
        if let Some(digest) = digest {
            verdicts::failed_images(tx, rollout, &digest, &devices).await?;
        }
    }
    events::append_all(tx, told).await?;
    Ok(written)
}

/// Checks begin when their device begins to be verified, and are forgotten when that ends.
async fn follow_checks(tx: &mut Session, written: &[&Judged]) -> Result<()> {
    let begun: Vec<_> = written
        .iter()
        .flat_map(|one| {
            one.begins
                .iter()
                .map(|(position, until)| (one.row.rollout, one.row.device, *position, *until))
        })
        .collect();
    checks::begin(tx, &begun).await?;
    let ended: BTreeSet<_> = written
        .iter()
        .filter(|one| one.row.from == DeviceStatus::Verifying)
        .filter(|one| one.put_off.is_some() || one.row.status != DeviceStatus::Verifying)
        .map(|one| (one.row.rollout, one.row.device))
        .collect();
    checks::forget(tx, &ended).await
}

fn events_of(one: &Judged) -> Vec<NewEvent> {
    let Some(put_off) = &one.put_off else {
        return one.events.iter().map(|kind| event(one, *kind)).collect();
    };
    let ends = [EventType::HealthCheckFailed, EventType::UpdateFailed];
    let mut told: Vec<NewEvent> = one
        .events
        .iter()
        .filter(|kind| !ends.contains(kind))
        .map(|kind| event(one, *kind))
        .collect();
    let mut later = event(one, EventType::RetryScheduled);
    if let Some(data) = later.data.as_object_mut() {
        data.insert("status".to_owned(), json!(DeviceStatus::Pending));
        data.insert("retries".to_owned(), json!(one.retries + 1));
        data.insert("retry_at".to_owned(), json!(put_off.retry_at));
        data.insert("evidence".to_owned(), put_off.evidence.clone());
        data.remove("verdict");
    }
    told.push(later);
    told
}

fn event(one: &Judged, kind: EventType) -> NewEvent {
    let mut data = json!({
        "image": one.shipment.image(),
        "batch": one.batch,
        "target_version": one.target_version,
        "status": one.row.status,
    });
    if let Some(data) = data.as_object_mut() {
        if let Some(reason) = &one.row.reason {
            data.insert("reason".to_owned(), json!(reason));
        }
        if let Some(verdict) = one.row.verdict {
            data.insert("verdict".to_owned(), json!(verdict.as_str()));
        }
        if matches!(
            kind,
            EventType::UpdateFailed
                | EventType::UpdateCompleted
                | EventType::DeviceUnreachable
                | EventType::DeviceInconclusive
        ) {
            data.insert("evidence".to_owned(), json!(one.row.evidence));
        }
    }
    NewEvent::new(kind, NAME)
        .rollout(one.row.rollout, one.shipment.correlation_id)
        .device(one.row.device)
        .subject(&one.shipment.image())
        .data(data)
}
