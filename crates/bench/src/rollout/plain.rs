//! What PostgreSQL does at best with narrow rows and a primary key.

use anyhow::Result;
use std::time::Instant;
use uuid::Uuid;
use windlass_store::Store;

/// Seconds for a plain INSERT … SELECT of a row for each device.
pub(super) async fn insert_select(store: &Store) -> Result<f64> {
    let mut session = store.begin().await?;
    session
        .sql("DROP TABLE IF EXISTS bench_rows")
        .execute()
        .await?;
    session
        .sql("CREATE TABLE bench_rows (rollout_id UUID, device_uuid UUID, batch BIGINT, status TEXT, PRIMARY KEY (rollout_id, device_uuid))")
        .execute()
        .await?;
    session.commit().await?;
    let started = Instant::now();
    let mut session = store.begin().await?;
    session
        .sql("INSERT INTO bench_rows SELECT $1, uuid, 1, 'pending' FROM devices")
        .bind(Uuid::now_v7())
        .execute()
        .await?;
    session.commit().await?;
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds for one UPDATE of so many narrow rows.
pub(super) async fn update(store: &Store, rows: i64) -> Result<f64> {
    let mut session = store.begin().await?;
    session
        .sql("DROP TABLE IF EXISTS bench_targets")
        .execute()
        .await?;
    session
        .sql("CREATE TABLE bench_targets (device_uuid UUID PRIMARY KEY, state_id UUID, version BIGINT)")
        .execute()
        .await?;
    session
        .sql("INSERT INTO bench_targets SELECT uuid, uuid, 1 FROM devices ORDER BY uuid LIMIT $1")
        .bind(rows)
        .execute()
        .await?;
    session.commit().await?;
    let mut session = store.read().await?;
    session
        .sql("VACUUM ANALYZE bench_targets")
        .execute()
        .await?;
    drop(session);
    let started = Instant::now();
    let mut session = store.begin().await?;
    session
        .sql("UPDATE bench_targets SET state_id = $1, version = version + 1")
        .bind(Uuid::now_v7())
        .execute()
        .await?;
    session.commit().await?;
    Ok(started.elapsed().as_secs_f64())
}
