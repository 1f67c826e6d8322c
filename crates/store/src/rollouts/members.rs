//! Who joins and who leaves a rollout after it was made: see docs/adr/0011-layout-scope-conflicts.md.

use super::give_up::give_up;
use super::scope::{Scope, Wanted, filtered};
use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use chrono::{DateTime, Utc};
use sqlx::types::Json;
use std::collections::BTreeSet;
use uuid::Uuid;
use windlass_types::event::{Cursor, EventType};
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::policy::Filters;
use windlass_types::rollout::{Rollout, RolloutStatus, SkipReason};

/// Events read at once.
const PAGE: i64 = 2000;

/// A device that joined a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Joined {
    /// The device.
    pub device: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
}

/// A device that a rollout let go of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// The device.
    pub device: DeviceId,
    /// Its batch, from 1.
    pub batch: i64,
    /// Why.
    pub reason: SkipReason,
}

/// What may have brought devices into rollouts or out of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changed {
    /// Devices that were registered, changed, deleted or no longer set aside, or whose target a person
    /// set.
    pub devices: BTreeSet<DeviceId>,
    /// Rollouts that were made: what happened to devices meanwhile was not seen by both.
    pub made: BTreeSet<RolloutId>,
    /// Up to where the log was read.
    pub upto: Cursor,
    /// Whether there is more.
    pub more: bool,
}

/// What has happened to devices since a place in the log.
///
/// # Errors
/// Whatever the database says.
pub async fn changed_since(session: &mut Session, cursor: Cursor) -> Result<Changed> {
    type Row = (i64, i64, String, Option<Uuid>, Option<Uuid>);
    let rows: Vec<Row> = session
        .sql(
            "SELECT tx, seq, type, rollout_id, device_uuid FROM settled_events \
             WHERE (tx, seq) > ($1, $2) ORDER BY tx, seq LIMIT CAST($3 AS BIGINT)",
        )
        .bind(cursor.tx)
        .bind(cursor.seq)
        .bind(PAGE)
        .all()
        .await?;
    let mut changed = Changed {
        upto: cursor,
        more: i64::try_from(rows.len()).is_ok_and(|read| read == PAGE),
        ..Changed::default()
    };
    let of_devices = [
        EventType::DeviceRegistered,
        EventType::DeviceChanged,
        EventType::DeviceDeleted,
        EventType::TargetSet,
        EventType::PenaltyLifted,
    ];
    for (tx, seq, kind, rollout, device) in rows {
        changed.upto = Cursor { tx, seq };
        if kind == EventType::RolloutCreated.as_str() {
            changed.made.extend(rollout.map(RolloutId));
        } else if of_devices.iter().any(|one| one.as_str() == kind) {
            changed.devices.extend(device.map(DeviceId));
        }
    }
    Ok(changed)
}

/// Rollouts that have not ended and are not being taken back, oldest first.
///
/// # Errors
/// Whatever the database says.
pub async fn active(session: &mut Session) -> Result<Vec<RolloutId>> {
    let rows: Vec<(Uuid,)> = session
        .sql(
            "SELECT id FROM image_rollouts WHERE finished_at IS NULL \
             AND status <> 'rolling_back' ORDER BY id",
        )
        .all()
        .await?;
    Ok(rows.into_iter().map(|(id,)| RolloutId(id)).collect())
}

/// Lets devices into a rollout that are in its scope by now, with its last batch, and lets go of those
/// that were deleted, or whose turn has not come and that are out of its filters; of these devices, or of
/// all. A target that a person set after the rollout was made keeps its device out, unless it is the first
/// one of a device that is newer still: it had nothing to run. Devices come back that had left, or were switched off, set aside or deleted, before they
/// were ever admitted. A rollout that ships a plan exactly lets nobody in. The rollout must be locked before.
/// Returns also how many had the image and are to be tried no more: they failed, and were told of in this
/// actor's name.
///
/// # Errors
/// Whatever the database says.
pub async fn follow(
    session: &mut Session,
    rollout: &Rollout,
    only: Option<&[DeviceId]>,
    actor: &str,
) -> Result<(Vec<Joined>, Vec<Left>, usize)> {
    // One that is taken back meanwhile gives nobody the image any more.
    if rollout.status.is_final() || rollout.status == RolloutStatus::RollingBack {
        return Ok((Vec::new(), Vec::new(), 0));
    }
    if only.is_some_and(<[DeviceId]>::is_empty) {
        return Ok((Vec::new(), Vec::new(), 0));
    }
    let (without, exact): (Json<Vec<Filters>>, bool) = session
        .sql(
            "SELECT r.without, EXISTS (SELECT 1 FROM image_triggers t \
               WHERE t.id = r.trigger_id AND t.plan_id IS NOT NULL) \
             FROM image_rollouts r WHERE r.id = $1",
        )
        .bind(rollout.id.0)
        .one()
        .await?;
    let mut left = deleted(session, rollout, only).await?;
    let out = SkipReason::OutOfScope;
    let failed = give_up(session, rollout, (out, actor), |sql| {
        outside(sql, rollout, &without.0);
        among(sql, only);
    })
    .await?;
    left.extend(out_of_scope(session, rollout, &without.0, only).await?);
    left.sort_unstable();
    let joined = if exact {
        Vec::new()
    } else {
        join(session, rollout, &without.0, only).await?
    };
    Ok((joined, left, failed))
}

/// Nobody waits for a device that is no more.
async fn deleted(
    session: &mut Session,
    rollout: &Rollout,
    only: Option<&[DeviceId]>,
) -> Result<Vec<Left>> {
    leave(session, rollout, SkipReason::Deleted, only, |sql| {
        sql.text(
            "status IN ('pending', 'scheduled', 'updating', 'verifying', 'unreachable', \
             'rolling_back') AND NOT EXISTS (SELECT 1 FROM devices d \
             WHERE d.uuid = device_rollout_status.device_uuid)",
        );
    })
    .await
}

async fn out_of_scope(
    session: &mut Session,
    rollout: &Rollout,
    without: &[Filters],
    only: Option<&[DeviceId]>,
) -> Result<Vec<Left>> {
    leave(session, rollout, SkipReason::OutOfScope, only, |sql| {
        outside(sql, rollout, without);
    })
    .await
}

/// That a device's turn has not come and it is out of the rollout's filters.
fn outside(sql: &mut Build, rollout: &Rollout, without: &[Filters]) {
    sql.text(
        "status = 'pending' AND NOT EXISTS (SELECT 1 FROM devices d \
         WHERE d.uuid = device_rollout_status.device_uuid AND ",
    );
    filtered(sql, "d", &rollout.filters, without);
    sql.text(")");
}

fn among(sql: &mut Build, only: Option<&[DeviceId]>) {
    if let Some(only) = only {
        sql.text(" AND device_uuid IN ")
            .list(only.iter().map(|device| device.0));
    }
}

async fn leave(
    session: &mut Session,
    rollout: &Rollout,
    reason: SkipReason,
    only: Option<&[DeviceId]>,
    condition: impl FnOnce(&mut Build),
) -> Result<Vec<Left>> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text("UPDATE device_rollout_status SET status = 'skipped', reason = ")
        .value(reason.as_str())
        .text(", check_at = NULL, retry_at = NULL, rollback_why = NULL, updated_at = ")
        .value(now)
        .text(" WHERE rollout_id = ")
        .value(rollout.id.0)
        .text(" AND ");
    condition(&mut sql);
    among(&mut sql, only);
    sql.text(" RETURNING device_uuid, batch");
    let rows: Vec<(Uuid, i64)> = sql.on(session).all().await?;
    Ok(rows
        .into_iter()
        .map(|(device, batch)| Left {
            device: DeviceId(device),
            batch,
            reason,
        })
        .collect())
}

async fn join(
    session: &mut Session,
    rollout: &Rollout,
    without: &[Filters],
    only: Option<&[DeviceId]>,
) -> Result<Vec<Joined>> {
    let wanted = Wanted {
        repository: &rollout.repository,
        tag: rollout.tag.as_deref(),
        digest: rollout.digest.as_ref(),
        tag_rule: &rollout.tag_rule,
        filters: &rollout.filters,
        without,
        rule: &rollout.rule,
        priority: rollout.priority,
        policy: rollout.policy_id,
        seed: rollout.seed,
    };
    let scope = Scope::of(session, &wanted).await?;
    if scope.moved.is_empty() {
        return Ok(Vec::new());
    }
    let mut joined = come_back(session, rollout, &scope, only).await?;
    let (now, batch) = (session.now(), rollout.batch_count);
    let mut sql = Build::new(session.kind());
    sql.text(
        "INSERT INTO device_rollout_status (rollout_id, device_uuid, batch, status, seen_version, \
         updated_at) SELECT ",
    )
    .value(rollout.id.0)
    .text(", y.uuid, ")
    .value(batch)
    .text(", 'pending', w.version, ")
    .value(now);
    may_join(&mut sql, rollout, &scope, now, only);
    sql.text(
        " AND NOT EXISTS (SELECT 1 FROM device_rollout_status o \
           WHERE o.device_uuid = y.uuid AND o.rollout_id = ",
    )
    .value(rollout.id.0)
    .text(") RETURNING device_uuid");
    let rows: Vec<(Uuid,)> = sql.on(session).all().await?;
    if !rows.is_empty() {
        session
            .sql("UPDATE image_rollouts SET total_devices = total_devices + $1 WHERE id = $2")
            .bind(i64::try_from(rows.len()).unwrap_or(i64::MAX))
            .bind(rollout.id.0)
            .execute()
            .await?;
    }
    joined.extend(rows.into_iter().map(|(device,)| Joined {
        device: DeviceId(device),
        batch,
    }));
    joined.sort_unstable();
    Ok(joined)
}

/// The devices `y` of a scope, with their targets `w`, that nothing keeps out of it by now.
fn may_join(
    sql: &mut Build,
    rollout: &Rollout,
    scope: &Scope,
    now: DateTime<Utc>,
    only: Option<&[DeviceId]>,
) {
    sql.text(" FROM (");
    scope.query(sql, now, only);
    sql.text(
        ") y JOIN devices j ON j.uuid = y.uuid JOIN device_targets w ON w.device_uuid = y.uuid \
         WHERE y.reason IS NULL AND (w.hand_at IS NULL OR w.hand_at <= ",
    )
    .value(rollout.created_at)
    .text(" OR (j.created_at > ")
    .value(rollout.created_at)
    // Devices are registered with version 1, which is empty.
    .text(" AND w.hand_version <= 2))");
}

/// Those that were let go of before they were admitted, for a reason that is one no more. They are
/// counted among the rollout's devices already.
async fn come_back(
    session: &mut Session,
    rollout: &Rollout,
    scope: &Scope,
    only: Option<&[DeviceId]>,
) -> Result<Vec<Joined>> {
    const GONE: &str = "status = 'skipped' AND target_version IS NULL \
        AND reason IN ('out_of_scope', 'disabled', 'penalty_box', 'deleted')";
    let found: Option<(Uuid,)> = session
        .built(format!(
            "SELECT device_uuid FROM device_rollout_status WHERE rollout_id = $1 AND {GONE} LIMIT 1"
        ))
        .bind(rollout.id.0)
        .optional()
        .await?;
    if found.is_none() {
        return Ok(Vec::new());
    }
    let (now, batch) = (session.now(), rollout.batch_count);
    let mut sql = Build::new(session.kind());
    sql.text("UPDATE device_rollout_status SET status = 'pending', reason = NULL, slice = NULL, batch = ")
        .value(batch)
        .text(", seen_version = v.version, updated_at = ")
        .value(now)
        .text(" FROM (SELECT y.uuid, w.version");
    may_join(&mut sql, rollout, scope, now, only);
    sql.text(") AS v WHERE v.uuid = device_rollout_status.device_uuid AND rollout_id = ")
        .value(rollout.id.0)
        .text(" AND ")
        .text(GONE)
        .text(" RETURNING device_uuid");
    let rows: Vec<(Uuid,)> = sql.on(session).all().await?;
    let back = rows.into_iter().map(|(device,)| Joined {
        device: DeviceId(device),
        batch,
    });
    Ok(back.collect())
}
