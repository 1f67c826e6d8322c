//! Taking the devices whose turn has come, as many as may go.

use super::leave_out::{Because, Meanwhile, REASONS, leave_out};
use super::unavailable::within_limits;
use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use crate::rollouts::facts::shipped_digest;
use crate::store::Kind;
use sqlx::types::Json;
use uuid::Uuid;
use windlass_core::batches;
use windlass_types::event::NewEvent;
use windlass_types::ids::StateId;
use windlass_types::policy::Filters;
use windlass_types::rollout::Rollout;

/// What all admissions under limits by tag lock first, so that no two of them count the same room:
/// "windlass", as eight letters.
const LIMITS: i64 = 0x7769_6e64_6c61_7373;

/// Which devices of an open batch are admitted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceOf<'a> {
    /// The batch, from 1.
    pub batch: i64,
    /// How many at most.
    pub at_most: i64,
    /// Only devices of these time zones (none: those without one); all where not given.
    pub time_zones: Option<&'a [Option<String>]>,
}

/// A slice that was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub slice: i64,
    /// How many devices whose turn had come were left out.
    pub skipped: u64,
    /// The different states that the others have.
    pub states: Vec<StateId>,
}

/// Makes admissions under limits by tag come one after the other, over all rollouts and replicas, until
/// the transaction ends: each sees what those before it have admitted. To be called after the rollout
/// was locked and before its facts are read. Rollouts without such limits do not wait for it: they
/// break no limit of others by coming later, and are counted when they came before.
///
/// # Errors
/// Whatever the database says.
pub async fn lock_limits(session: &mut Session, rollout: &Rollout) -> Result<()> {
    if session.kind() == Kind::Postgres && !rollout.rule.limits.max_unavailable.is_empty() {
        session
            .sql("SELECT pg_advisory_xact_lock($1)")
            .bind(LIMITS)
            .execute()
            .await?;
    }
    Ok(())
}

/// Takes the next devices of a batch in the order of the rollout: those whose retry is due, in these
/// time zones, as many as the limits by tag let through and not more than asked for. Locks their
/// targets, so that nobody moves them until the transaction ends, and skips those that must not have
/// the image any more: deleted, switched off or set aside meanwhile, out of the rollout's filters, of a
/// class in quarantine, with a target that a person has set or a newer rollout of the repository has
/// moved, held by a rollout with a higher priority, or failed on this digest. For each skipped device
/// `told` is appended, with the device and the reason filled in. The rollout must be locked before.
///
/// # Errors
/// Whatever the database says.
pub async fn take_slice(
    session: &mut Session,
    rollout: &Rollout,
    of: &SliceOf<'_>,
    told: &NewEvent,
) -> Result<Taken> {
    let (last,): (Option<i64>,) = session
        .sql("SELECT MAX(slice) FROM rollout_admissions WHERE rollout_id = $1")
        .bind(rollout.id.0)
        .one()
        .await?;
    let slice = last.unwrap_or(0) + 1;
    mark(session, rollout, of, slice).await?;
    lock_targets(session, rollout, slice).await?;
    let (without,): (Json<Vec<Filters>>,) = session
        .sql("SELECT without FROM image_rollouts WHERE id = $1")
        .bind(rollout.id.0)
        .one()
        .await?;
    let digest = shipped_digest(session, rollout.id).await?;
    let meanwhile = Meanwhile {
        rollout,
        without: &without.0,
        digest: digest.as_ref(),
        now: session.now(),
    };
    let mut skipped = 0;
    for reason in REASONS {
        let mut condition = Build::new(session.kind());
        if !meanwhile.condition(&mut condition, reason) {
            continue;
        }
        let because = Because {
            reason,
            slice,
            told,
        };
        skipped += leave_out(session, rollout, &because, |sql| {
            meanwhile.condition(sql, reason);
        })
        .await?;
    }
    let states: Vec<(Uuid,)> = session
        .sql(
            "SELECT DISTINCT t.state_id FROM device_rollout_status s \
             JOIN device_targets t ON t.device_uuid = s.device_uuid \
             WHERE s.rollout_id = $1 AND s.status = 'pending' AND s.slice = $2 ORDER BY 1",
        )
        .bind(rollout.id.0)
        .bind(slice)
        .all()
        .await?;
    Ok(Taken {
        slice,
        skipped,
        states: states.into_iter().map(|(id,)| StateId(id)).collect(),
    })
}

/// Writes the slice's number on the rows of the devices that are taken.
async fn mark(
    session: &mut Session,
    rollout: &Rollout,
    of: &SliceOf<'_>,
    slice: i64,
) -> Result<u64> {
    let mut sql = Build::new(session.kind());
    sql.text("UPDATE device_rollout_status SET slice = ")
        .value(slice)
        .text(" WHERE rollout_id = ")
        .value(rollout.id.0)
        .text(" AND status = 'pending' AND device_uuid IN (SELECT device_uuid FROM (");
    open_now(&mut sql, session, rollout, of);
    sql.text(") c ORDER BY c.place, c.device_uuid LIMIT CAST(")
        .value(of.at_most)
        .text(" AS BIGINT))");
    sql.on(session).execute().await
}

async fn lock_targets(session: &mut Session, rollout: &Rollout, slice: i64) -> Result<()> {
    if session.kind() == Kind::Postgres {
        // In the order of the uuids, so that two admissions do not wait for each other.
        session
            .sql(
                "SELECT COUNT(*) FROM (SELECT t.device_uuid FROM device_targets t \
                 JOIN device_rollout_status s ON s.device_uuid = t.device_uuid \
                 WHERE s.rollout_id = $1 AND s.status = 'pending' AND s.slice = $2 \
                 ORDER BY t.device_uuid FOR UPDATE OF t) x",
            )
            .bind(rollout.id.0)
            .bind(slice)
            .execute()
            .await?;
    }
    Ok(())
}

/// A query of (device_uuid, place): the devices of a batch that could be admitted now, as far as zones,
/// retries and limits by tag go, and their place in the order of the rollout.
pub(in crate::rollouts) fn open_now(
    sql: &mut Build,
    session: &Session,
    rollout: &Rollout,
    of: &SliceOf<'_>,
) {
    let limits = &rollout.rule.limits.max_unavailable;
    if limits.is_empty() {
        candidates(sql, session, rollout, of);
    } else {
        within_limits(sql, session, rollout, of);
    }
}

/// The same without the limits.
pub(super) fn candidates(sql: &mut Build, session: &Session, rollout: &Rollout, of: &SliceOf<'_>) {
    let (factor, offset) = batches::coefficients(rollout.seed);
    // A device that was deleted is taken too, and then skipped.
    sql.text("SELECT s.device_uuid, (COALESCE(d.shuffle, 0) * ")
        .value(factor)
        .text(" + ")
        .value(offset)
        .text(
            ") % 2147483647 AS place FROM device_rollout_status s \
             LEFT JOIN devices d ON d.uuid = s.device_uuid WHERE s.rollout_id = ",
        )
        .value(rollout.id.0)
        // Earlier batches have only devices left that are to be tried again.
        .text(" AND s.batch <= ")
        .value(of.batch)
        .text(" AND s.status = 'pending' AND (s.retry_at IS NULL OR s.retry_at <= ")
        .value(session.now())
        .text(")");
    let Some(zones) = of.time_zones else {
        return;
    };
    let named: Vec<String> = zones.iter().flatten().cloned().collect();
    sql.text(" AND (1 = 0");
    if zones.contains(&None) {
        sql.text(" OR d.time_zone IS NULL");
    }
    if !named.is_empty() {
        sql.text(" OR d.time_zone IN ").list(named);
    }
    sql.text(")");
}
