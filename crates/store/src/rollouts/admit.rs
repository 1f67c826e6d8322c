//! Admitting devices of a batch, slice by slice: their targets name the new image. A fixed number of
//! statements for each five hundred different target states, however many devices there are.

mod holders;
mod leave_out;
mod slice;
mod unavailable;

pub use holders::{full, holders};
pub use slice::{SliceOf, Taken, lock_limits, take_slice};

pub(super) use slice::open_now;

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::events;
use chrono::{DateTime, Utc};
use leave_out::{Because, leave_out};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId, StateId};
use windlass_types::image::ImageReference;
use windlass_types::rollout::{Rollout, SkipReason};

/// Rows of one VALUES at most.
const CHUNK: usize = 500;

/// How a slice is admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// The batch, from 1.
    pub batch: i64,
    /// The slice that was taken ([`take_slice`]).
    pub slice: i64,
    /// The states its devices have now, and what becomes of them.
    pub moves: Vec<(StateId, Move)>,
    /// When the devices are looked at first.
    pub check_at: DateTime<Utc>,
    /// Until when they must be healthy.
    pub deadline_at: DateTime<Utc>,
    /// What is appended for each device, with the device and its new version filled in.
    pub event: NewEvent,
    /// What is appended for each device that is left out, with the device and the reason filled in.
    pub skipped: NewEvent,
}

/// What becomes of the devices that have one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    /// They get this state, which must be stored already.
    To(StateId),
    /// They have the new image: left out, except those that were admitted before and are tried again.
    /// These get the same state under a new version.
    There,
    /// They are left out.
    Skip(SkipReason),
}

/// What an admission did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Devices whose target names the new image now.
    pub scheduled: u64,
    /// Devices that were left out.
    pub skipped: u64,
}

/// Admits a slice after [`take_slice`] in the same transaction: its devices get their new targets
/// and versions and are on their way; rows of the same devices in older rollouts of the repository
/// end as `target_changed`; each device's event is appended, also for those left out. The caller saves
/// the rollout.
///
/// # Errors
/// Whatever the database says.
pub async fn admit(
    session: &mut Session,
    rollout: &Rollout,
    admission: &Admission,
) -> Result<Admitted> {
    let mut done = Admitted::default();
    let mut moves = Vec::new();
    let mut skips: BTreeMap<(SkipReason, bool), Vec<Uuid>> = BTreeMap::new();
    for (state, to) in &admission.moves {
        match to {
            Move::To(next) => moves.push((state.0, next.0)),
            Move::There => {
                let first_time = (SkipReason::AlreadyOnImage, true);
                skips.entry(first_time).or_default().push(state.0);
                moves.push((state.0, state.0));
            }
            Move::Skip(reason) => skips.entry((*reason, false)).or_default().push(state.0),
        }
    }
    for ((reason, first_time), states) in &skips {
        for chunk in states.chunks(CHUNK) {
            let because = Because {
                reason: *reason,
                slice: admission.slice,
                told: &admission.skipped,
            };
            done.skipped += leave_out(session, rollout, &because, |sql| {
                sql.text(
                    "device_uuid IN (SELECT device_uuid FROM device_targets WHERE state_id IN ",
                )
                .list(chunk.iter().copied())
                .text(")");
                if *first_time {
                    sql.text(" AND target_version IS NULL");
                }
            })
            .await?;
        }
    }
    for chunk in moves.chunks(CHUNK) {
        done.scheduled += schedule(session, rollout, admission, chunk).await?;
        retarget(session, rollout, admission.slice, chunk).await?;
    }
    if done.scheduled == 0 {
        return Ok(done);
    }
    note(session, rollout, admission, done.scheduled).await?;
    end_older(session, rollout, admission).await?;
    tell(session, rollout, admission).await?;
    Ok(done)
}

/// Tells of each device with its own batch: one that is tried again may be of an earlier one.
async fn tell(session: &mut Session, rollout: &Rollout, admission: &Admission) -> Result<()> {
    let mut sql = Build::new(session.kind());
    sql.text("SELECT DISTINCT batch FROM device_rollout_status WHERE ");
    scheduled(&mut sql, rollout, admission.slice);
    sql.text(" ORDER BY batch");
    let batches: Vec<(i64,)> = sql.on(session).all().await?;
    for (batch,) in batches {
        let mut event = admission.event.clone();
        if let Some(data) = event.data.as_object_mut() {
            data.insert("batch".to_owned(), batch.into());
        }
        events::append_each(session, &event, |sql| {
            sql.text(
                "SELECT device_uuid, target_version AS version FROM device_rollout_status WHERE ",
            );
            scheduled(sql, rollout, admission.slice);
            sql.text(" AND batch = ").value(batch);
        })
        .await?;
    }
    Ok(())
}

/// That a row was admitted with this slice.
fn scheduled(sql: &mut Build, rollout: &Rollout, slice: i64) {
    sql.text("rollout_id = ")
        .value(rollout.id.0)
        .text(" AND status = 'scheduled' AND slice = ")
        .value(slice);
}

/// Writes the slice down, and forgets what checks said of its devices when they were admitted before.
async fn note(
    session: &mut Session,
    rollout: &Rollout,
    admission: &Admission,
    devices: u64,
) -> Result<()> {
    let now = session.now();
    session
        .sql(
            "INSERT INTO rollout_admissions (rollout_id, slice, admitted_at, batch, devices) \
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(rollout.id.0)
        .bind(admission.slice)
        .bind(now)
        .bind(admission.batch)
        .bind(i64::try_from(devices).unwrap_or(i64::MAX))
        .execute()
        .await?;
    let mut sql = Build::new(session.kind());
    sql.text("DELETE FROM device_checks WHERE rollout_id = ")
        .value(rollout.id.0)
        .text(" AND device_uuid IN (SELECT device_uuid FROM device_rollout_status WHERE ");
    scheduled(&mut sql, rollout, admission.slice);
    sql.text(")");
    sql.on(session).execute().await?;
    Ok(())
}

/// The pairs as a table `v (old_id, new_id)`.
fn pairs(sql: &mut Build, moves: &[(Uuid, Uuid)]) {
    sql.text("(SELECT column1 AS old_id, column2 AS new_id FROM (VALUES ");
    for (at, (old, new)) in moves.iter().enumerate() {
        sql.text(if at == 0 { "(" } else { ",(" })
            .value(*old)
            .text(",")
            .value(*new)
            .text(")");
    }
    sql.text(") AS w) AS v");
}

/// That a target (of the table or alias `targets`) has a state that is moved. Not a plain equality, which would let
/// the index of states lead: a new rollout's rows are unknown to the statistics, so PostgreSQL expects one device
/// of each and joined two lists of 10,000 row by row, in 8 to 45 s. So the slice's rows lead, and each looks up
/// its device's target.
fn has_old_state(sql: &mut Build, targets: &'static str) {
    sql.text("COALESCE(")
        .text(targets)
        .text(".state_id, ")
        .text(targets)
        .text(".device_uuid) = v.old_id");
}

/// Rows first: they note the state and version that the targets have now.
async fn schedule(
    session: &mut Session,
    rollout: &Rollout,
    admission: &Admission,
    moves: &[(Uuid, Uuid)],
) -> Result<u64> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "UPDATE device_rollout_status SET status = 'scheduled', reason = NULL, \
         old_state_id = CASE WHEN v.old_id = v.new_id THEN COALESCE(old_state_id, t.state_id) \
           ELSE t.state_id END, \
         target_version = t.version + 1, verdict = NULL, evidence = NULL, judged_at = NULL, \
         rollback_image = NULL, rollback_version = NULL, retry_at = NULL, admitted_at = ",
    )
    .value(now)
    .text(", check_at = ")
    .value(admission.check_at)
    .text(", deadline_at = ")
    .value(admission.deadline_at)
    .text(", updated_at = ")
    .value(now)
    .text(" FROM device_targets AS t, ");
    pairs(&mut sql, moves);
    sql.text(" WHERE ");
    has_old_state(&mut sql, "t");
    sql.text(
        " AND t.device_uuid = device_rollout_status.device_uuid \
         AND device_rollout_status.status = 'pending' AND device_rollout_status.rollout_id = ",
    )
    .value(rollout.id.0)
    .text(" AND device_rollout_status.slice = ")
    .value(admission.slice);
    sql.on(session).execute().await
}

/// Then the targets, to exactly the version that the rows note.
async fn retarget(
    session: &mut Session,
    rollout: &Rollout,
    slice: i64,
    moves: &[(Uuid, Uuid)],
) -> Result<u64> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text(
        "UPDATE device_targets SET state_id = v.new_id, version = s.target_version, \
         source = 'rollout', rollout_id = ",
    )
    .value(rollout.id.0)
    .text(", updated_at = ")
    .value(now)
    .text(" FROM device_rollout_status AS s, ");
    pairs(&mut sql, moves);
    sql.text(" WHERE ");
    has_old_state(&mut sql, "device_targets");
    sql.text(
        " AND s.device_uuid = device_targets.device_uuid \
         AND s.target_version = device_targets.version + 1 AND s.status = 'scheduled' \
         AND s.rollout_id = ",
    )
    .value(rollout.id.0)
    .text(" AND s.slice = ")
    .value(slice);
    sql.on(session).execute().await
}

/// Nothing is expected any more of the same devices in older rollouts of the repository; each is told
/// of in the name of the older rollout.
async fn end_older(session: &mut Session, rollout: &Rollout, admission: &Admission) -> Result<()> {
    let now = session.now();
    let mut ended: Vec<(Uuid, Uuid)> = session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'target_changed', \
             check_at = NULL, rollback_why = NULL, updated_at = $1 \
             WHERE status IN ('scheduled', 'updating', 'verifying', 'unreachable', 'rolling_back') \
             AND rollout_id IN (SELECT id FROM image_rollouts WHERE repository = $2 \
               AND (created_at < $3 OR (created_at = $4 AND id < $5))) \
             AND device_uuid IN (SELECT s.device_uuid FROM device_rollout_status s \
               WHERE s.rollout_id = $6 AND s.slice = $7 AND s.status = 'scheduled') \
             RETURNING rollout_id, device_uuid",
        )
        .bind(now)
        .bind(rollout.repository.to_string())
        .bind(rollout.created_at)
        .bind(rollout.created_at)
        .bind(rollout.id.0)
        .bind(rollout.id.0)
        .bind(admission.slice)
        .all()
        .await?;
    ended.sort_unstable();
    let mut events = Vec::with_capacity(ended.len());
    for older in ended.chunk_by(|one, next| one.0 == next.0) {
        let Some((id, _)) = older.first() else {
            continue;
        };
        let Some(of) = super::get(session, RolloutId(*id)).await? else {
            continue;
        };
        let image = ImageReference::of(&of.repository, of.tag.as_deref(), of.digest.as_ref());
        let told = NewEvent::new(EventType::DeviceSkipped, admission.skipped.actor.clone())
            .rollout(of.id, of.correlation_id)
            .subject(&image)
            .data(json!({"image": image, "reason": SkipReason::TargetChanged, "by": rollout.id}));
        events.extend(
            older
                .iter()
                .map(|(_, device)| told.clone().device(DeviceId(*device))),
        );
    }
    events::append_all(session, events).await?;
    Ok(())
}
