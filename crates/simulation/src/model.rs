//! What the event log alone says: rollouts, their devices, quarantine, freezes, approvals and the
//! versions of targets, folded from one event after the other.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::event::{Event, EventType};
use windlass_types::ids::{DeviceId, RolloutId};

/// A device in a rollout, once something has happened to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) status: String,
    pub(crate) batch: i64,
    pub(crate) target_version: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) verdict: Option<String>,
}

/// A rollout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    pub(crate) status: String,
    pub(crate) reason: Option<String>,
    pub(crate) batch: i64,
    /// Devices that something has happened to.
    pub(crate) rows: BTreeMap<DeviceId, Row>,
    /// How many were in it from the beginning.
    pub(crate) devices: i64,
    /// How many of those were left out from the beginning, by reason.
    pub(crate) left_out: BTreeMap<String, i64>,
    /// Whether those whose turn had not come were let go.
    pub(crate) let_go: bool,
}

/// Everything that the log tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) rollouts: BTreeMap<RolloutId, Rollout>,
    /// Digest, tag key and tag value.
    pub(crate) quarantine: BTreeSet<(String, String, String)>,
    /// Freezes that were not lifted.
    pub(crate) freezes: BTreeSet<String>,
    /// Rollout, batch and who.
    pub(crate) approvals: BTreeSet<(RolloutId, i64, String)>,
    pub(crate) versions: BTreeMap<DeviceId, i64>,
}

fn text(data: &Value, key: &str) -> Option<String> {
    data.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn number(data: &Value, key: &str) -> Option<i64> {
    data.get(key).and_then(Value::as_i64)
}

impl Model {
    pub(crate) fn apply(&mut self, event: &Event) {
        if let (Some(device), Some(version)) = (event.device_uuid, event.version) {
            self.versions.insert(device, version);
        }
        self.apply_to_all(event);
        let Some(id) = event.rollout_id else { return };
        let rollout = self.rollouts.entry(id).or_default();
        if let Some(stands) = event.data.get("rollout") {
            rollout.status = text(stands, "status").unwrap_or_default();
            rollout.reason = text(stands, "reason");
            rollout.batch = number(stands, "batch").unwrap_or_default();
        }
        match event.device_uuid {
            Some(device) => device_event(rollout, device, event),
            None => rollout_event(rollout, event),
        }
    }

    fn apply_to_all(&mut self, event: &Event) {
        let data = &event.data;
        match event.kind {
            EventType::Quarantined | EventType::QuarantineLifted => {
                let Some(digest) = text(data, "digest").or_else(|| {
                    let subject = event.subject.as_deref()?;
                    subject.split_once('@').map(|(_, digest)| digest.to_owned())
                }) else {
                    return;
                };
                let part = |key: &str| text(data, &format!("tag_{key}"));
                match (event.kind, part("key")) {
                    (EventType::Quarantined, key) => {
                        let value = part("value").unwrap_or_default();
                        self.quarantine
                            .insert((digest, key.unwrap_or_default(), value));
                    }
                    (_, Some(key)) => {
                        let value = part("value").unwrap_or_default();
                        self.quarantine.remove(&(digest, key, value));
                    }
                    (_, None) => self.quarantine.retain(|(one, _, _)| *one != digest),
                }
            }
            EventType::FreezeCreated => {
                self.freezes.extend(event.subject.clone());
            }
            EventType::FreezeLifted => {
                if let Some(id) = &event.subject {
                    self.freezes.remove(id);
                }
            }
            EventType::RolloutApproved => {
                if let Some(id) = event.rollout_id {
                    let batch = number(data, "batch").unwrap_or(1);
                    self.approvals.insert((id, batch, event.actor.clone()));
                }
            }
            _ => {}
        }
    }
}

fn rollout_event(rollout: &mut Rollout, event: &Event) {
    let data = &event.data;
    match event.kind {
        EventType::RolloutCreated => {
            rollout.devices = number(data, "devices").unwrap_or_default();
            let skipped = data.get("skipped").and_then(Value::as_object);
            rollout.left_out = skipped
                .into_iter()
                .flatten()
                .map(|(reason, count)| (reason.clone(), count.as_i64().unwrap_or_default()))
                .collect();
        }
        EventType::RolloutCancelled | EventType::RolloutSuperseded | EventType::RollbackStarted => {
            rollout.let_go = true;
            // Whoever is to be tried again has the image from before, and goes back with the others.
            let goes_back = event.kind == EventType::RollbackStarted;
            for row in rollout.rows.values_mut().filter(|row| {
                row.status == "pending" && !(goes_back && row.target_version.is_some())
            }) {
                row.status = "skipped".to_owned();
                row.reason = Some("rollout_ended".to_owned());
            }
        }
        _ => {}
    }
}

fn device_event(rollout: &mut Rollout, device: DeviceId, event: &Event) {
    let data = &event.data;
    let batch = number(data, "batch");
    let mut row = rollout.rows.get(&device).cloned().unwrap_or_default();
    row.batch = batch.unwrap_or(row.batch);
    match event.kind {
        EventType::ImageUpdateScheduled => {
            row.status = "scheduled".to_owned();
            row.reason = None;
            row.target_version = event.version;
        }
        EventType::UpdateCompleted => row.verdict = Some("healthy".to_owned()),
        EventType::UpdateFailed => row.verdict = Some("failed".to_owned()),
        // It is tried again: nothing is known of it.
        EventType::RetryScheduled => row.verdict = None,
        EventType::DeviceJoined => {
            row.status = "pending".to_owned();
            row.reason = None;
            row.verdict = None;
        }
        EventType::DeviceSkipped => {
            row.status = "skipped".to_owned();
            row.reason = text(data, "reason");
        }
        EventType::CommandGiven | EventType::CommandSettled => return,
        EventType::RollbackScheduled => row.status = "rolling_back".to_owned(),
        _ => {}
    }
    // Why it goes back is why it failed: that stays.
    let status = text(data, "status").filter(|_| event.kind != EventType::RollbackScheduled);
    if let Some(status) = status {
        row.status = status;
        row.reason = text(data, "reason");
    }
    if let Some(verdict) = data.get("verdict") {
        row.verdict = verdict.as_str().map(str::to_owned);
    }
    rollout.rows.insert(device, row);
}

/// A uuid column as an id.
pub(crate) fn rollout_id(id: Uuid) -> RolloutId {
    RolloutId(id)
}
