//! Admitting a batch: the targets of its devices name the new image. A fixed number of statements
//! for each five hundred different target states, however many devices there are.

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::events;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use serde_json::json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::{DeviceId, RolloutId, StateId};
use windlass_types::image::ImageReference;
use windlass_types::rollout::{Rollout, SkipReason};

/// Rows of one VALUES at most.
const CHUNK: usize = 500;

/// How a batch is admitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Admission {
    /// The batch, from 1.
    pub batch: i64,
    /// The states its devices have now ([`lock_batch`]), and what becomes of them.
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

/// Takes the devices of a batch whose turn has come: locks their targets, so that nobody moves them
/// until the transaction ends, skips those that are switched off meanwhile, on which the digest has
/// failed, whose target a person has set, or that a newer rollout of the repository has moved, and
/// returns how many were skipped and the different states that the others have. For each skipped
/// device `told` is appended, with the device and the reason filled in. The rollout must be locked
/// before.
///
/// # Errors
/// Whatever the database says.
pub async fn lock_batch(
    session: &mut Session,
    rollout: &Rollout,
    batch: i64,
    told: &NewEvent,
) -> Result<(u64, Vec<StateId>)> {
    if session.kind() == Kind::Postgres {
        // In the order of the uuids, so that two admissions do not wait for each other.
        session
            .sql(
                "SELECT COUNT(*) FROM (SELECT t.device_uuid FROM device_targets t \
                 JOIN device_rollout_status s ON s.device_uuid = t.device_uuid \
                 WHERE s.rollout_id = $1 AND s.batch = $2 AND s.status = 'pending' \
                 ORDER BY t.device_uuid FOR UPDATE OF t) x",
            )
            .bind(rollout.id.0)
            .bind(batch)
            .execute()
            .await?;
    }
    let mut skipped = 0;
    for reason in [
        SkipReason::TargetChanged,
        SkipReason::Disabled,
        SkipReason::FailedHereBefore,
    ] {
        skipped += leave_out(session, rollout, batch, reason, told, |sql| {
            meanwhile(sql, rollout, reason);
        })
        .await?;
    }
    let states: Vec<(Uuid,)> = session
        .sql(
            "SELECT DISTINCT t.state_id FROM device_rollout_status s \
             JOIN device_targets t ON t.device_uuid = s.device_uuid \
             WHERE s.rollout_id = $1 AND s.batch = $2 AND s.status = 'pending' ORDER BY 1",
        )
        .bind(rollout.id.0)
        .bind(batch)
        .all()
        .await?;
    Ok((
        skipped,
        states.into_iter().map(|(id,)| StateId(id)).collect(),
    ))
}

/// Admits a batch after [`lock_batch`] in the same transaction: its devices get their new targets
/// and versions and are on their way; rows of the same devices in older rollouts of the repository
/// end as `target_changed`; each device's event is appended, also for those left out. The caller saves the rollout.
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
    let mut skips: BTreeMap<SkipReason, Vec<Uuid>> = BTreeMap::new();
    for (state, to) in &admission.moves {
        match to {
            Move::To(next) => moves.push((state.0, next.0)),
            Move::Skip(reason) => skips.entry(*reason).or_default().push(state.0),
        }
    }
    for (reason, states) in &skips {
        for chunk in states.chunks(CHUNK) {
            let told = &admission.skipped;
            done.skipped += leave_out(session, rollout, admission.batch, *reason, told, |sql| {
                sql.text(
                    "device_uuid IN (SELECT device_uuid FROM device_targets WHERE state_id IN ",
                )
                .list(chunk.iter().copied())
                .text(")");
            })
            .await?;
        }
    }
    for chunk in moves.chunks(CHUNK) {
        done.scheduled += schedule(session, rollout, admission, chunk).await?;
        retarget(session, rollout, admission.batch, chunk).await?;
    }
    if done.scheduled == 0 {
        return Ok(done);
    }
    end_older(session, rollout, admission).await?;
    events::append_each(session, &admission.event, |sql| {
        sql.text(
            "SELECT device_uuid, target_version AS version FROM device_rollout_status \
             WHERE rollout_id = ",
        )
        .value(rollout.id.0)
        .text(" AND batch = ")
        .value(admission.batch)
        .text(" AND status = 'scheduled'");
    })
    .await?;
    Ok(done)
}

/// Which devices must not be admitted any more for this reason, as a condition on their rows.
fn meanwhile(sql: &mut Build, rollout: &Rollout, reason: SkipReason) {
    match reason {
        SkipReason::TargetChanged => {
            // A person's target is left alone. A newer rollout has been there even where another
            // repository's has moved the target since, so the rows tell, not the target.
            sql.text(
                "EXISTS (SELECT 1 FROM device_targets t \
                   WHERE t.device_uuid = device_rollout_status.device_uuid \
                   AND t.source = 'operator' AND t.updated_at > ",
            )
            .value(rollout.created_at)
            .text(
                ") OR EXISTS (SELECT 1 FROM device_rollout_status o \
                   JOIN image_rollouts r ON r.id = o.rollout_id \
                   WHERE o.device_uuid = device_rollout_status.device_uuid \
                   AND o.status <> 'pending' \
                   AND (o.target_version IS NOT NULL OR o.reason = 'already_on_image') \
                   AND r.repository = ",
            )
            .value(rollout.repository.to_string())
            .text(" AND (r.created_at > ")
            .value(rollout.created_at)
            .text(" OR (r.created_at = ")
            .value(rollout.created_at)
            .text(" AND r.id > ")
            .value(rollout.id.0)
            .text(")))")
        }
        SkipReason::FailedHereBefore => sql
            .text(
                "EXISTS (SELECT 1 FROM image_rollouts r JOIN device_failed_images f \
                   ON f.digest = COALESCE(r.digest, r.known_digest) \
                   WHERE f.device_uuid = device_rollout_status.device_uuid AND r.id = ",
            )
            .value(rollout.id.0)
            .text(")"),
        _ => sql.text(
            "EXISTS (SELECT 1 FROM devices d \
               WHERE d.uuid = device_rollout_status.device_uuid AND NOT d.enabled)",
        ),
    };
}

/// Skips the devices of a batch, of those whose turn it is, that a condition holds for, and tells of
/// each. Returns how many.
async fn leave_out(
    session: &mut Session,
    rollout: &Rollout,
    batch: i64,
    reason: SkipReason,
    told: &NewEvent,
    condition: impl FnOnce(&mut Build),
) -> Result<u64> {
    let now = session.now();
    let mut sql = Build::new(session.kind());
    sql.text("UPDATE device_rollout_status SET status = 'skipped', reason = ")
        .value(reason.as_str())
        .text(", updated_at = ")
        .value(now)
        .text(" WHERE rollout_id = ")
        .value(rollout.id.0)
        .text(" AND batch = ")
        .value(batch)
        .text(" AND status = 'pending' AND (");
    condition(&mut sql);
    sql.text(") RETURNING device_uuid");
    let mut left: Vec<(Uuid,)> = sql.on(session).all().await?;
    left.sort_unstable();
    let skipped = left.len() as u64;
    let events = left
        .into_iter()
        .map(|(device,)| because(told, reason).device(DeviceId(device)))
        .collect();
    events::append_all(session, events).await?;
    Ok(skipped)
}

/// The event with the reason filled in.
fn because(told: &NewEvent, reason: SkipReason) -> NewEvent {
    let mut event = told.clone();
    if let Some(data) = event.data.as_object_mut() {
        data.insert("reason".to_owned(), reason.as_str().into());
    }
    event
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
         old_state_id = t.state_id, target_version = t.version + 1, admitted_at = ",
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
    sql.text(
        " WHERE t.state_id = v.old_id AND t.device_uuid = device_rollout_status.device_uuid \
         AND device_rollout_status.status = 'pending' AND device_rollout_status.rollout_id = ",
    )
    .value(rollout.id.0)
    .text(" AND device_rollout_status.batch = ")
    .value(admission.batch);
    sql.on(session).execute().await
}

/// Then the targets, to exactly the version that the rows note.
async fn retarget(
    session: &mut Session,
    rollout: &Rollout,
    batch: i64,
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
    sql.text(
        " WHERE s.old_state_id = v.old_id AND s.device_uuid = device_targets.device_uuid \
         AND s.target_version = device_targets.version + 1 AND s.status = 'scheduled' \
         AND s.rollout_id = ",
    )
    .value(rollout.id.0)
    .text(" AND s.batch = ")
    .value(batch);
    sql.on(session).execute().await
}

/// Nothing is expected any more of the same devices in older rollouts of the repository; each is told
/// of in the name of the older rollout.
async fn end_older(session: &mut Session, rollout: &Rollout, admission: &Admission) -> Result<()> {
    let now = session.now();
    let mut ended: Vec<(Uuid, Uuid)> = session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'target_changed', \
             check_at = NULL, updated_at = $1 \
             WHERE status IN ('scheduled', 'updating', 'verifying', 'unreachable', 'rolling_back') \
             AND rollout_id IN (SELECT id FROM image_rollouts WHERE repository = $2 \
               AND (created_at < $3 OR (created_at = $4 AND id < $5))) \
             AND device_uuid IN (SELECT s.device_uuid FROM device_rollout_status s \
               WHERE s.rollout_id = $6 AND s.batch = $7 AND s.status = 'scheduled') \
             RETURNING rollout_id, device_uuid",
        )
        .bind(now)
        .bind(rollout.repository.to_string())
        .bind(rollout.created_at)
        .bind(rollout.created_at)
        .bind(rollout.id.0)
        .bind(rollout.id.0)
        .bind(admission.batch)
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
