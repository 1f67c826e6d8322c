//! Limits by tag: how many devices with the same value may be unavailable at once. See
//! docs/adr/0011-layout-scope-conflicts.md.

use super::SliceOf;
use super::slice::candidates;
use crate::build::Build;
use crate::db::Session;
use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::rollout::Rollout;

/// A query of (device_uuid, place): the candidates that the limits let through. First those go that have
/// no room at all, so that they take none from others; the rest are counted off in the order of the
/// rollout, for each tag apart. The first of them has room under every tag, so as long as anybody does,
/// somebody is let through. A device that is unavailable itself is counted already and takes no room, and
/// neither does one that a person switched off: it is let through to be left out.
pub(super) fn within_limits(
    sql: &mut Build,
    session: &Session,
    rollout: &Rollout,
    of: &SliceOf<'_>,
) {
    let limits: Vec<(&String, i64)> = rollout
        .rule
        .limits
        .max_unavailable
        .iter()
        .map(|(key, most)| (key, i64::from(*most)))
        .collect();
    let silent_since = silent_since(session, rollout);
    sql.text("SELECT m.device_uuid, m.place FROM (SELECT l.device_uuid, l.place");
    for at in 0..limits.len() {
        let n = at.to_string();
        sql.text(", l.value")
            .text(&n)
            .text(", l.used")
            .text(&n)
            .text(" + SUM(1 - l.down) OVER (PARTITION BY l.value")
            .text(&n)
            .text(" ORDER BY l.place, l.device_uuid ROWS UNBOUNDED PRECEDING) AS taken")
            .text(&n);
    }
    sql.text(", l.is_off FROM (SELECT c.device_uuid, c.place, CASE WHEN ");
    switched_off(sql, "c.device_uuid");
    sql.text(" THEN 1 ELSE 0 END AS is_off, CASE WHEN ");
    switched_off(sql, "c.device_uuid");
    sql.text(" OR ");
    unavailable(sql, "c.device_uuid", silent_since);
    sql.text(" THEN 1 ELSE 0 END AS down");
    for at in 0..limits.len() {
        let n = at.to_string();
        sql.text(", g")
            .text(&n)
            .text(".value AS value")
            .text(&n)
            .text(", COALESCE(u")
            .text(&n)
            .text(".used, 0) AS used")
            .text(&n);
    }
    sql.text(" FROM (");
    candidates(sql, session, rollout, of);
    sql.text(") c");
    for (at, (key, _)) in limits.iter().enumerate() {
        let n = at.to_string();
        sql.text(" LEFT JOIN device_tags g")
            .text(&n)
            .text(" ON g")
            .text(&n)
            .text(".device_uuid = c.device_uuid AND g")
            .text(&n)
            .text(".key = ")
            .value((*key).clone())
            .text(" LEFT JOIN (");
        used(sql, rollout, of.batch, key, silent_since);
        sql.text(") u")
            .text(&n)
            .text(" ON u")
            .text(&n)
            .text(".value = g")
            .text(&n)
            .text(".value");
    }
    sql.text(") l WHERE l.is_off = 1 OR (1 = 1");
    for (at, (_, most)) in limits.iter().enumerate() {
        let n = at.to_string();
        sql.text(" AND (l.value")
            .text(&n)
            .text(" IS NULL OR l.used")
            .text(&n)
            .text(" + 1 - l.down <= ")
            .value(*most)
            .text(")");
    }
    sql.text(")) m WHERE m.is_off = 1 OR (1 = 1");
    for (at, (_, most)) in limits.iter().enumerate() {
        let n = at.to_string();
        sql.text(" AND (m.value")
            .text(&n)
            .text(" IS NULL OR m.taken")
            .text(&n)
            .text(" <= ")
            .value(*most)
            .text(")");
    }
    sql.text(")");
}

/// Since when a device must have been silent to be unavailable.
pub(super) fn silent_since(session: &Session, rollout: &Rollout) -> DateTime<Utc> {
    let silence = i64::from(rollout.rule.health.unreachable_after_seconds);
    session.now() - TimeDelta::seconds(silence)
}

/// A query of (value, used): how many devices are unavailable with each value of a tag that a waiting
/// device of the batch has.
pub(super) fn used(
    sql: &mut Build,
    rollout: &Rollout,
    batch: i64,
    key: &str,
    silent_since: DateTime<Utc>,
) {
    sql.text("SELECT a.value, COUNT(*) AS used FROM device_tags a WHERE a.key = ")
        .value(key.to_owned())
        .text(
            " AND a.value IN (SELECT b.value FROM device_tags b JOIN device_rollout_status w \
             ON w.device_uuid = b.device_uuid WHERE b.key = ",
        )
        .value(key.to_owned())
        .text(" AND w.rollout_id = ")
        .value(rollout.id.0)
        .text(" AND w.batch <= ")
        .value(batch)
        .text(" AND w.status = 'pending') AND (");
    unavailable(sql, "a.device_uuid", silent_since);
    sql.text(") GROUP BY a.value");
}

/// That a person switched a device off.
fn switched_off(sql: &mut Build, uuid: &'static str) {
    sql.text("EXISTS (SELECT 1 FROM devices off WHERE off.uuid = ")
        .text(uuid)
        .text(" AND NOT off.enabled)");
}

/// That a device is on its way in any rollout, or on its way back.
fn on_its_way(sql: &mut Build, uuid: &'static str) {
    sql.text("EXISTS (SELECT 1 FROM device_rollout_status n WHERE n.device_uuid = ")
        .text(uuid)
        .text(" AND n.status IN ('scheduled', 'updating', 'verifying', 'rolling_back'))");
}

/// That an unavailable device is not so until somebody does something: it is on its way, or is tried
/// again.
pub(super) fn comes_back(sql: &mut Build, uuid: &'static str) {
    on_its_way(sql, uuid);
    sql.text(" OR EXISTS (SELECT 1 FROM device_rollout_status n WHERE n.device_uuid = ")
        .text(uuid)
        .text(" AND n.status = 'pending' AND n.retry_at IS NOT NULL)");
}

/// That a device is unavailable: on its way in any rollout, or on its way back; or, unless a person
/// switched it off and so answers for it, failed, silent in a rollout or waiting to be tried again and
/// its target not changed since, or not seen for too long.
pub(super) fn unavailable(sql: &mut Build, uuid: &'static str, silent_since: DateTime<Utc>) {
    sql.text("(");
    on_its_way(sql, uuid);
    sql.text(" OR (NOT ");
    switched_off(sql, uuid);
    sql.text(" AND (1 = 0");
    for not_back in [
        "n.status = 'unreachable'",
        // `<> 'pending'` says which index has them.
        "n.status <> 'pending' AND n.status IN ('failed', 'rollback_failed')",
        "n.status = 'pending' AND n.retry_at IS NOT NULL",
    ] {
        sql.text(
            " OR EXISTS (SELECT 1 FROM device_rollout_status n \
             JOIN device_targets h ON h.device_uuid = n.device_uuid WHERE n.device_uuid = ",
        )
        .text(uuid)
        .text(" AND ")
        .text(not_back)
        .text(" AND h.version = COALESCE(n.rollback_version, n.target_version))");
    }
    sql.text(
        " OR EXISTS (SELECT 1 FROM devices e LEFT JOIN device_presence p \
         ON p.device_uuid = e.uuid WHERE e.uuid = ",
    )
    .text(uuid)
    .text(" AND COALESCE(p.last_seen_at, e.created_at) < ")
    .value(silent_since)
    .text("))))");
}
