//! Admitting a batch: the targets of its devices name the new image. A fixed number of statements
//! for each five hundred different target states, however many devices there are.

use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::events;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::event::NewEvent;
use windlass_types::ids::StateId;
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
/// until the transaction ends, skips those that are switched off or that a newer rollout of the
/// repository has moved meanwhile, and returns how many were skipped and the different states that
/// the others have. The rollout must be locked before.
///
/// # Errors
/// Whatever the database says.
pub async fn lock_batch(
    session: &mut Session,
    rollout: &Rollout,
    batch: i64,
) -> Result<(u64, Vec<StateId>)> {
    let now = session.now();
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
    let mut skipped = session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'target_changed', \
             updated_at = $1 WHERE rollout_id = $2 AND batch = $3 AND status = 'pending' \
             AND EXISTS (SELECT 1 FROM device_targets t JOIN image_rollouts r ON r.id = t.rollout_id \
               WHERE t.device_uuid = device_rollout_status.device_uuid AND r.repository = $4 \
               AND (r.created_at > $5 OR (r.created_at = $6 AND r.id > $7)))",
        )
        .bind(now)
        .bind(rollout.id.0)
        .bind(batch)
        .bind(rollout.repository.to_string())
        .bind(rollout.created_at)
        .bind(rollout.created_at)
        .bind(rollout.id.0)
        .execute()
        .await?;
    skipped += session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'disabled', \
             updated_at = $1 WHERE rollout_id = $2 AND batch = $3 AND status = 'pending' \
             AND EXISTS (SELECT 1 FROM devices d \
               WHERE d.uuid = device_rollout_status.device_uuid AND NOT d.enabled)",
        )
        .bind(now)
        .bind(rollout.id.0)
        .bind(batch)
        .execute()
        .await?;
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
/// end as `target_changed`; each device's event is appended. The caller saves the rollout.
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
    for (state, to) in &admission.moves {
        match to {
            Move::To(next) => moves.push((state.0, next.0)),
            Move::Skip(reason) => {
                done.skipped += skip(session, rollout, admission.batch, *state, *reason).await?;
            }
        }
    }
    for chunk in moves.chunks(CHUNK) {
        done.scheduled += schedule(session, rollout, admission, chunk).await?;
        retarget(session, rollout, admission.batch, chunk).await?;
    }
    if done.scheduled == 0 {
        return Ok(done);
    }
    end_older(session, rollout, admission.batch).await?;
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

async fn skip(
    session: &mut Session,
    rollout: &Rollout,
    batch: i64,
    state: StateId,
    reason: SkipReason,
) -> Result<u64> {
    let now = session.now();
    session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = $1, updated_at = $2 \
             WHERE rollout_id = $3 AND batch = $4 AND status = 'pending' \
             AND device_uuid IN (SELECT device_uuid FROM device_targets WHERE state_id = $5)",
        )
        .bind(reason.as_str())
        .bind(now)
        .bind(rollout.id.0)
        .bind(batch)
        .bind(state.0)
        .execute()
        .await
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

async fn end_older(session: &mut Session, rollout: &Rollout, batch: i64) -> Result<u64> {
    let now = session.now();
    session
        .sql(
            "UPDATE device_rollout_status SET status = 'skipped', reason = 'target_changed', \
             check_at = NULL, updated_at = $1 \
             WHERE status IN ('scheduled', 'updating', 'verifying', 'unreachable', 'rolling_back') \
             AND rollout_id IN (SELECT id FROM image_rollouts WHERE repository = $2 AND id <> $3) \
             AND device_uuid IN (SELECT s.device_uuid FROM device_rollout_status s \
               WHERE s.rollout_id = $4 AND s.batch = $5 AND s.status = 'scheduled')",
        )
        .bind(now)
        .bind(rollout.repository.to_string())
        .bind(rollout.id.0)
        .bind(rollout.id.0)
        .bind(batch)
        .execute()
        .await
}
