//! Fleets put straight into the store: uuid, key and target of the n-th device follow from n, so
//! that a load script can make them too.

use anyhow::Result;
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_core::{batches, target};
use windlass_service::keys::Pepper;
use windlass_store::{Store, placeholders, targets};
use windlass_types::ids::DeviceId;
use windlass_types::target::TargetState;

/// Devices inserted by one statement.
const CHUNK: i64 = 1000;

/// The n-th device's uuid; in Lua `string.format("00000000-0000-4000-8000-%012x", n)`.
pub(crate) fn uuid_of(n: i64) -> Uuid {
    Uuid::from_u128(0x4000_8000_0000_0000_0000 | u128::from(n.unsigned_abs()))
}

/// Its key; in Lua `string.format("%064x", n)`.
pub(crate) fn key_of(n: i64) -> String {
    format!("{n:064x}")
}

/// A target state with one service on this image, and environment enough to make it `bytes` long.
pub(crate) fn state(image: &str, bytes: usize) -> Result<TargetState> {
    Ok(serde_json::from_value(json!({"apps": {"1001": {
        "appId": 1001, "appName": "demo", "services": [{
            "serviceId": 1, "serviceName": "web", "imageName": image, "state": "running",
            "config": {"image": image, "restart": "unless-stopped",
                       "environment": {"PAD": "x".repeat(bytes)}}}]}},
        "config": {}}))?)
}

/// Registers so many devices in one fleet, all with this target at version 1.
pub(crate) async fn fill(store: &Store, devices: i64, state: &TargetState) -> Result<()> {
    let pepper = Pepper::load(store).await?;
    let id = target::state_id(state);
    let mut session = store.begin().await?;
    targets::ensure_states(&mut session, &BTreeMap::from([(id, state.clone())])).await?;
    windlass_store::devices::ensure_fleet(&mut session, &"bench".parse()?).await?;
    session.commit().await?;
    for first in (0..devices).step_by(usize::try_from(CHUNK)?) {
        let mut session = store.begin().await?;
        let (kind, now) = (session.kind(), session.now());
        let last = (first + CHUNK).min(devices);
        let rows = usize::try_from(last - first)?;
        let sql = format!(
            "INSERT INTO devices (uuid, name, device_type, fleet_id, key_hash, created_at, shuffle) \
             VALUES {}",
            placeholders(kind, 1, rows, 7)
        );
        let mut statement = session.built(sql);
        for n in first..last {
            let uuid = uuid_of(n);
            statement = statement
                .bind(uuid)
                .bind(format!("device-{n}"))
                .bind("standalone".to_owned())
                .bind("bench".to_owned())
                .bind(pepper.hash(&key_of(n)).to_vec())
                .bind(now)
                .bind(batches::shuffle_of(DeviceId(uuid)));
        }
        statement.execute().await?;
        session.commit().await?;
    }
    let mut session = store.begin().await?;
    session
        .sql(
            "INSERT INTO device_targets (device_uuid, state_id, version, source, updated_at) \
             SELECT uuid, $1, 1, 'operator', created_at FROM devices",
        )
        .bind(id.0)
        .execute()
        .await?;
    session.commit().await?;
    // SQLite's readers may not write what it found.
    let mut session = store.begin().await?;
    session.sql("ANALYZE").execute().await?;
    session.commit().await?;
    Ok(())
}
