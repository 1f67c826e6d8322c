//! Whether everything ended as it should: read from the API, and held against what the devices
//! themselves know.

use super::stage::{BESIDE, Stage, WEB};
use crate::exit::Failure;
use crate::times::many;
use crate::{lookup, rollouts};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use windlass_types::api::PlanDecision;
use windlass_types::ids::DeviceId;
use windlass_types::rollout::{
    DeviceStatus, RolloutDevice, RolloutStatus, RolloutView, StatusReason,
};

/// What was looked at, and whether it is right.
pub(super) struct Checks {
    results: Vec<(bool, String)>,
    numbers: Value,
}

impl Checks {
    pub(super) fn results(&self) -> &[(bool, String)] {
        &self.results
    }

    pub(super) fn json(&self, seconds: f64, kept: Option<(&str, &str)>) -> Value {
        let results: Vec<Value> = self
            .results
            .iter()
            .map(|(good, text)| json!({"ok": good, "what": text}))
            .collect();
        let ok = self.results.iter().all(|(good, _)| *good);
        let mut value =
            json!({"ok": ok, "seconds": seconds, "numbers": self.numbers, "checks": results});
        if let (Some((url, key)), Some(fields)) = (kept, value.as_object_mut()) {
            fields.insert("url".to_owned(), url.into());
            fields.insert("key".to_owned(), key.into());
        }
        value
    }
}

/// A device by the API.
struct Seen {
    wanted: String,
    runs: Option<String>,
    beside: Option<String>,
}

pub(super) async fn all(
    stage: &Stage,
    good: &RolloutView,
    bad: &RolloutView,
) -> Result<Checks, Failure> {
    let client = stage.client();
    let (good, bad) = (
        client.rollout(good.rollout.id).await?,
        client.rollout(bad.rollout.id).await?,
    );
    let mut results = Vec::new();
    let devices = devices(stage).await?;
    let v2 = stage.image(WEB, "v2", &stage.v2);
    let v3 = stage.image(WEB, "v3", &stage.v3);

    let healthy = sum(&good, |batch| batch.completed);
    let everyone = i64::try_from(stage.devices).unwrap_or(i64::MAX);
    results.push((
        good.rollout.status == RolloutStatus::Completed && healthy == everyone,
        format!(
            "v2: rollout {}, {healthy} of {everyone} devices healthy on it, in {} batches",
            good.rollout.status, good.rollout.batch_count
        ),
    ));

    let rows = rollouts::devices(client, bad.rollout.id, None, usize::MAX).await?;
    let by = |status| {
        rows.iter()
            .filter(move |row: &&RolloutDevice| row.status == status)
    };
    let back = by(DeviceStatus::RolledBack).count();
    let failed = rows.iter().filter(|row| was_failed(row)).count();
    let on_v3 = by(DeviceStatus::Completed).count();
    let spared = by(DeviceStatus::Pending).count();
    let why = bad.rollout.status_detail.clone().unwrap_or_default();
    results.push((
        bad.rollout.status == RolloutStatus::Paused
            && matches!(
                bad.rollout.status_reason,
                Some(StatusReason::FailureRate | StatusReason::ConsecutiveFailures)
            ),
        format!("v3: rollout {} by itself: {why}", bad.rollout.status),
    ));
    let on_good = |uuid: &DeviceId| {
        devices
            .get(uuid)
            .is_some_and(|seen| seen.wanted == v2 && seen.runs.as_deref() == Some(&*v2))
    };
    results.push((
        failed > 0
            && back >= failed
            && by(DeviceStatus::RolledBack).all(|row| on_good(&row.device_uuid)),
        format!(
            "v3: {failed} of {} failed it; put back and running v2 again: {back}",
            many(rows.len() - spared, "device")
        ),
    ));
    let elsewhere = rows.len() - back - on_v3 - spared;
    results.push((
        spared > 0
            && elsewhere == 0
            && by(DeviceStatus::Pending).all(|row| on_good(&row.device_uuid)),
        format!(
            "v3: not shipped further; {} never got it and still run v2",
            many(spared, "device")
        ),
    ));
    results.push((
        by(DeviceStatus::Completed).all(|row| {
            devices
                .get(&row.device_uuid)
                .is_some_and(|seen| seen.runs.as_deref() == Some(&*v3))
        }),
        format!(
            "v3: {} healthy on it, left as they are until a person decides",
            many(on_v3, "device")
        ),
    ));

    let quarantine = lookup::all(
        usize::MAX,
        |page| async move { client.quarantine(&page).await },
    )
    .await?;
    results.push((
        quarantine.len() == 1 && quarantine.iter().all(|row| row.digest == stage.v3),
        format!(
            "quarantine: {}, that of v3",
            many(quarantine.len(), "digest")
        ),
    ));
    let rollouts = stage.rollouts().await?.len();
    let again = stage
        .versions()
        .await?
        .into_iter()
        .find(|version| version.tag == "v3.1");
    results.push((
        rollouts == 2 && again.is_some_and(|v| v.decision == Some(PlanDecision::Quarantined)),
        format!("v3 pushed again, twice: still {rollouts} rollouts, nothing shipped"),
    ));
    let untouched = devices
        .values()
        .filter(|seen| {
            seen.beside
                .as_deref()
                .is_some_and(|image| image.contains(BESIDE))
        })
        .count();
    results.push((
        untouched == stage.devices && once(stage),
        format!("{BESIDE}: untouched on {untouched} devices; no device was updated twice"),
    ));
    let numbers = json!({
        "devices": stage.devices, "v2_healthy": healthy, "v3_failed": failed, "v3_put_back": back,
        "v3_healthy": on_v3, "v3_never_shipped": spared, "rollouts": rollouts,
        "quarantined": quarantine.len(),
        "v2_rollout": good.rollout.id, "v3_rollout": bad.rollout.id,
    });
    Ok(Checks { results, numbers })
}

fn sum(view: &RolloutView, of: impl Fn(&windlass_types::rollout::BatchProgress) -> i64) -> i64 {
    view.batches.iter().map(of).sum()
}

/// Judged failed, whatever happened to it since; others were put back before they were judged.
fn was_failed(row: &RolloutDevice) -> bool {
    matches!(
        row.status,
        DeviceStatus::Failed
            | DeviceStatus::RollingBack
            | DeviceStatus::RolledBack
            | DeviceStatus::RollbackFailed
    ) && row.judged_at.is_some()
}

async fn devices(stage: &Stage) -> Result<BTreeMap<DeviceId, Seen>, Failure> {
    let mut devices = BTreeMap::new();
    for uuid in stage.simulator.uuids() {
        let target = stage.client().target(uuid).await?;
        let current = stage.client().current_state(uuid).await?;
        let runs = |service: i64| {
            current
                .observation
                .services
                .iter()
                .find(|seen| seen.service_id == service && seen.status == "running")
                .and_then(|seen| seen.image.clone())
        };
        let seen = Seen {
            wanted: target
                .state
                .services()
                .find(|(_, service)| service.service_id == 1)
                .map(|(_, service)| service.image_name.clone())
                .unwrap_or_default(),
            runs: runs(1),
            beside: runs(2),
        };
        devices.insert(uuid, seen);
    }
    Ok(devices)
}

/// By the devices' own count: each version was started once at most, v2 once more only on the way
/// back; targets only ever rose; the service beside was started once.
fn once(stage: &Stage) -> bool {
    stage.simulator.snapshots().iter().all(|device| {
        let images = device.images_of("web");
        let starts = |part: &str| images.iter().filter(|image| image.contains(part)).count();
        // 1 at registration, 2 by hand, 3 with v2, 4 with v3: 5 takes it back.
        let back = device.version > 4;
        starts(":v1@") == 1
            && starts(stage.v3.as_str()) <= 1
            && starts(stage.v2.as_str()) <= if back { 2 } else { 1 }
            && device.images_of("cache").len() == 1
            && device.versions.is_sorted()
    })
}
