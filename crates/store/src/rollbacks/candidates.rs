//! The devices that are to be put back.

use crate::Statement;
use crate::db::Session;
use crate::error::Result;
use crate::quarantine::holds;
use crate::store::Kind;
use crate::verdicts::{InFlight, claim};
use uuid::Uuid;
use windlass_types::ids::{DeviceId, RolloutId};

/// Which devices of a rollout are to be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Those that failed and whose rollout puts failed devices back.
    Failed,
    /// Those that have a digest in their target that went into quarantine for them, and have not
    /// taken it up or are silent.
    Quarantined,
    /// Those that were marked by [`super::order`].
    Ordered,
    /// All that have the rollout's image: the whole rollout is taken back.
    All,
    /// One device, on an operator's order.
    Device(DeviceId),
}

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// All.
    Any,
    /// Silent ones: their new target waits for them and costs nobody anything until they are back.
    Silent,
    /// The others.
    There,
}

/// Devices that are to be put back.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// Those of which is known what is needed.
    pub rows: Vec<InFlight>,
    /// Those whose row cannot be read.
    pub unreadable: Vec<DeviceId>,
}

impl Candidates {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.unreadable.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.unreadable.len()
    }
}

/// Rows whose target may name the rollout's image. One that is pending again, to be tried again, has
/// it from before.
pub(super) const HAS_IMAGE: &str = "(d.status IN ('scheduled', 'updating', 'verifying', \
     'completed', 'failed', 'unreachable', 'inconclusive') \
     OR (d.status = 'pending' AND d.retry_at IS NOT NULL))";

/// What a rollout's devices run.
pub(super) const DIGEST: &str = "(SELECT COALESCE(r.digest, r.known_digest) FROM image_rollouts r \
     WHERE r.id = d.rollout_id)";

/// The scope as a condition on `d`; the time of `Failed` and the device of `Device` are bound by the
/// caller as `$3`. The others look at no clock: one that was set back must hide nobody.
pub(super) fn condition(scope: Scope) -> String {
    match scope {
        Scope::Failed => "d.status = 'failed' AND d.check_at <= $3".to_owned(),
        // A version received or not is in the observation; none there means not received.
        Scope::Quarantined => format!(
            "(d.status = 'unreachable' OR (d.status = 'pending' AND d.retry_at IS NOT NULL) \
             OR (d.status IN ('scheduled', 'updating') AND \
             COALESCE(CAST(c.observation ->> 'version_received' AS BIGINT), 0) < d.target_version)) \
             AND {}",
            holds("d.device_uuid", DIGEST)
        ),
        Scope::Ordered => format!("d.rollback_why IS NOT NULL AND {HAS_IMAGE}"),
        Scope::All => format!("{HAS_IMAGE} AND COALESCE(d.reason, '') <> 'target_changed'"),
        Scope::Device(_) => {
            format!("({HAS_IMAGE} OR d.status = 'rollback_failed') AND d.device_uuid = $3")
        }
    }
}

const fn presence(presence: Presence) -> &'static str {
    match presence {
        Presence::Any => "",
        Presence::Silent => " AND d.status = 'unreachable'",
        Presence::There => " AND d.status <> 'unreachable'",
    }
}

/// In which order they go back.
const fn order(scope: Scope) -> &'static str {
    match scope {
        Scope::Failed => "d.check_at, d.device_uuid",
        Scope::Quarantined | Scope::Device(_) => "d.device_uuid",
        Scope::Ordered | Scope::All => "d.batch, d.device_uuid",
    }
}

/// Up to `limit` devices of a rollout that are to be put back, locked.
///
/// # Errors
/// Whatever the database says.
pub async fn candidates(
    session: &mut Session,
    rollout: RolloutId,
    scope: Scope,
    who: Presence,
    limit: i64,
) -> Result<Candidates> {
    let among = lock_targets(session, rollout, scope, who, limit).await?;
    let order = match session.kind() {
        Kind::Sqlite => order(scope),
        // Whose targets are locked is chosen; rows are locked in the order of their ids.
        Kind::Postgres => "d.device_uuid",
    };
    let sql = format!(
        "{} WHERE d.rollout_id = $1 AND {}{}{among} ORDER BY {order} LIMIT CAST($2 AS BIGINT){}",
        claim::SELECT,
        condition(scope),
        presence(who),
        claim::lock(session, true)
    );
    let rows: Vec<claim::Row> = bound(session, sql, rollout, scope, limit).all().await?;
    let mut found = Candidates::default();
    for row in rows {
        let device = DeviceId(row.device_uuid);
        match claim::without_what_cannot_be_read(row) {
            Ok(row) => found.rows.push(row),
            Err(error) => {
                tracing::error!(rollout.id = %rollout, device.uuid = %device, %error,
                    "a device that is to be put back cannot be read");
                found.unreadable.push(device);
            }
        }
    }
    Ok(found)
}

/// Locks the targets of these devices before their rows, as whoever admits devices does: the other
/// way round two transactions could wait for each other. Returns the condition that keeps to them.
async fn lock_targets(
    session: &mut Session,
    rollout: RolloutId,
    scope: Scope,
    who: Presence,
    limit: i64,
) -> Result<String> {
    if session.kind() == Kind::Sqlite {
        return Ok(String::new());
    }
    let sql = format!(
        "SELECT device_uuid FROM device_targets WHERE device_uuid IN \
         (SELECT d.device_uuid FROM device_rollout_status d \
         JOIN device_targets known ON known.device_uuid = d.device_uuid \
         LEFT JOIN device_current_state c ON c.device_uuid = d.device_uuid \
         WHERE d.rollout_id = $1 AND {}{} ORDER BY {} LIMIT CAST($2 AS BIGINT)) \
         ORDER BY device_uuid FOR UPDATE",
        condition(scope),
        presence(who),
        order(scope)
    );
    let rows: Vec<(Uuid,)> = bound(session, sql, rollout, scope, limit).all().await?;
    // A device that joined since waits for the next group. Ids need no quoting.
    let ids: Vec<String> = rows.iter().map(|(id,)| format!("'{id}'")).collect();
    Ok(if ids.is_empty() {
        " AND FALSE".to_owned()
    } else {
        format!(" AND d.device_uuid IN ({})", ids.join(", "))
    })
}

fn bound(
    session: &mut Session,
    sql: String,
    rollout: RolloutId,
    scope: Scope,
    limit: i64,
) -> Statement<'_> {
    let now = session.now();
    let statement = session.built(sql).bind(rollout.0).bind(limit);
    match scope {
        Scope::Device(device) => statement.bind(device.0),
        Scope::Failed => statement.bind(now),
        Scope::Quarantined | Scope::Ordered | Scope::All => statement,
    }
}
