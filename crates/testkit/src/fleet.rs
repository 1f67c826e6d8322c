//! Devices with targets, pushed versions and verdicts, put into a store as their services would.

use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_core::{batches, target};
use windlass_store::{Json, Session, Store, events, targets};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{CorrelationId, DeviceId, ImageVersionId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::rollout::DeviceStatus;
use windlass_types::target::TargetState;

/// A digest made of one hexadecimal digit, as text.
#[must_use]
pub fn digest(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

/// A device's id from a number.
#[must_use]
pub const fn device(number: u128) -> DeviceId {
    DeviceId(Uuid::from_u128(
        0x1000_0000_0000_4000_8000_0000_0000_0000 + number,
    ))
}

/// A target that runs these images, each as one service.
///
/// # Panics
/// Never.
#[must_use]
pub fn state(images: &[&str]) -> TargetState {
    let services: Vec<_> = (1..)
        .zip(images)
        .map(|(id, image)| {
            json!({"serviceId": id, "serviceName": format!("s{id}"), "imageName": image,
                   "state": "running", "config": {"image": image}})
        })
        .collect();
    serde_json::from_value(json!({
        "apps": {"1": {"appId": 1, "appName": "demo", "services": services}}, "config": {},
    }))
    .expect("a target state")
}

/// Adds devices with these numbers to a fleet; their target runs these images.
///
/// # Panics
/// Where the store refuses.
pub async fn add(
    store: &Store,
    fleet: &str,
    numbers: impl IntoIterator<Item = u128>,
    images: &[&str],
) -> Vec<DeviceId> {
    let mut tx = store.begin().await.expect("a transaction");
    let now = tx.now();
    let state = state(images);
    let id = target::state_id(&state);
    targets::ensure_states(&mut tx, &BTreeMap::from([(id, state)]))
        .await
        .expect("the state");
    tx.sql("INSERT INTO fleets (id, created_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING")
        .bind(fleet.to_owned())
        .bind(now)
        .execute()
        .await
        .expect("the fleet");
    let mut added = Vec::new();
    for number in numbers {
        let device = device(number);
        tx.sql(
            "INSERT INTO devices (uuid, name, device_type, fleet_id, key_hash, shuffle, created_at) \
             VALUES ($1, $2, 'standalone', $3, $4, $5, $6)",
        )
        .bind(device.0)
        .bind(format!("device-{number}"))
        .bind(fleet.to_owned())
        .bind(device.0.as_bytes().to_vec())
        .bind(batches::shuffle_of(device))
        .bind(now)
        .execute()
        .await
        .expect("the device");
        targets::create(&mut tx, device, id)
            .await
            .expect("its target");
        added.push(device);
    }
    tx.commit().await.expect("a commit");
    added
}

/// Gives a device a tag.
///
/// # Panics
/// Where the store refuses.
pub async fn tag(store: &Store, device: DeviceId, key: &str, value: &str) {
    let mut tx = store.begin().await.expect("a transaction");
    tx.sql("INSERT INTO device_tags (device_uuid, key, value) VALUES ($1, $2, $3)")
        .bind(device.0)
        .bind(key.to_owned())
        .bind(value.to_owned())
        .execute()
        .await
        .expect("the tag");
    tx.commit().await.expect("a commit");
}

/// Stores a pushed version `repository:tag[@digest]`, replacing the tag's present one. Returns its
/// id, the transaction's events still to be published by committing it.
///
/// # Panics
/// Where the store refuses or the image has no tag.
pub async fn push(tx: &mut Session, image: &str) -> (ImageVersionId, CorrelationId) {
    let image: ImageReference = image.parse().expect("an image reference");
    let tag = image.tag().expect("a tag").to_owned();
    let (id, correlation) = (Uuid::now_v7(), Uuid::now_v7());
    let now = tx.now();
    tx.sql(
        "UPDATE image_versions SET replaced_at = $1 \
         WHERE repository = $2 AND tag = $3 AND replaced_at IS NULL",
    )
    .bind(now)
    .bind(image.repository().to_string())
    .bind(tag.clone())
    .execute()
    .await
    .expect("the version before");
    tx.sql(
        "INSERT INTO image_versions (id, repository, tag, digest, kind, seen_at, correlation_id, \
         next_resolve_at) VALUES ($1, $2, $3, $4, 'new', $5, $6, $7)",
    )
    .bind(id)
    .bind(image.repository().to_string())
    .bind(tag)
    .bind(image.digest().map(ToString::to_string))
    .bind(now)
    .bind(correlation)
    .bind(image.digest().is_none().then_some(now))
    .execute()
    .await
    .expect("the version");
    let correlation = CorrelationId(correlation);
    let event = NewEvent::new(EventType::UpdateAvailable, "webhook-ingest")
        .subject(&image)
        .correlation(Some(correlation));
    events::append(tx, event).await.expect("the event");
    (ImageVersionId(id), correlation)
}

/// Judges up to `limit` devices of a rollout that are on their way. Returns how many; the
/// transaction's events are still to be published by committing it.
///
/// # Panics
/// Where the store refuses, or the status is no verdict.
pub async fn judge(tx: &mut Session, rollout: RolloutId, to: DeviceStatus, limit: i64) -> u64 {
    let (verdict, kind) = match to {
        DeviceStatus::Completed => (Some("healthy"), EventType::UpdateCompleted),
        DeviceStatus::Failed => (Some("failed"), EventType::UpdateFailed),
        DeviceStatus::Unreachable => (None, EventType::DeviceUnreachable),
        other => panic!("{other} is no verdict"),
    };
    let now = tx.now();
    let judged = tx
        .sql(
            "UPDATE device_rollout_status SET status = $1, verdict = $2, judged_at = $3, \
             check_at = NULL, evidence = $4, updated_at = $5 WHERE rollout_id = $6 \
             AND device_uuid IN (SELECT device_uuid FROM device_rollout_status \
               WHERE rollout_id = $7 AND status IN ('scheduled', 'updating', 'verifying') \
               ORDER BY device_uuid LIMIT $8)",
        )
        .bind(to.as_str())
        .bind(verdict)
        .bind(verdict.map(|_| now))
        .bind(Json(json!({"cause": "a test said so"})))
        .bind(now)
        .bind(rollout.0)
        .bind(rollout.0)
        .bind(limit)
        .execute()
        .await
        .expect("verdicts");
    let mut event = NewEvent::new(kind, "health-checker");
    event.rollout_id = Some(rollout);
    events::append(tx, event).await.expect("the event");
    judged
}

/// What was told so far, in the order in which it was: kind and actor. It reads also what is not
/// settled yet, which elsewhere nobody may: other tests' transactions hold settling up.
///
/// # Panics
/// Where the store refuses.
pub async fn told(store: &Store) -> Vec<(EventType, String)> {
    let mut read = store.read().await.expect("a session");
    let rows: Vec<(String, String)> = read
        .sql("SELECT type, actor FROM events ORDER BY seq")
        .all()
        .await
        .expect("the log");
    let kind = |text: String| text.parse().expect("a kind of event");
    rows.into_iter()
        .map(|(text, actor)| (kind(text), actor))
        .collect()
}
