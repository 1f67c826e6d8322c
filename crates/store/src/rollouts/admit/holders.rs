//! Who holds the places under limits by tag, for people: the same count that admissions go by.

use super::unavailable::{comes_back, silent_since, unavailable, used};
use crate::build::Build;
use crate::db::Session;
use crate::error::Result;
use uuid::Uuid;
use windlass_types::device::Device;
use windlass_types::ids::DeviceId;
use windlass_types::rollout::Rollout;
use windlass_types::why::facts::LabelUse;

/// Unavailable devices told of by name.
const NAMED: i64 = 3;
/// Values of one tag told of.
const VALUES: i64 = 3;

/// For each limited tag that the device has: who else with its value is unavailable. Where that is as
/// many as the limit, the device waits, unless it is unavailable itself and so takes no room.
///
/// # Errors
/// Whatever the database says.
pub async fn holders(
    session: &mut Session,
    rollout: &Rollout,
    device: &Device,
) -> Result<Vec<LabelUse>> {
    let mut found = Vec::new();
    for (key, limit) in &rollout.rule.limits.max_unavailable {
        if let Some(value) = device.tags.get(key) {
            let label = (key.as_str(), value.as_str(), i64::from(*limit));
            found.push(of_label(session, rollout, label, Some(device.uuid)).await?);
        }
    }
    Ok(found)
}

/// The values of limited tags that waiting devices of a batch and those before it have, and that are
/// used up: of each tag the few that are used most.
///
/// # Errors
/// Whatever the database says.
pub async fn full(session: &mut Session, rollout: &Rollout, batch: i64) -> Result<Vec<LabelUse>> {
    let mut found = Vec::new();
    for (key, limit) in &rollout.rule.limits.max_unavailable {
        let mut sql = Build::new(session.kind());
        sql.text("SELECT u.value FROM (");
        used(
            &mut sql,
            rollout,
            batch,
            key,
            silent_since(session, rollout),
        );
        sql.text(") u WHERE u.used >= ")
            .value(i64::from(*limit))
            .text(" ORDER BY u.used DESC, u.value LIMIT ")
            .value(VALUES);
        let values: Vec<(String,)> = sql.on(session).all().await?;
        for (value,) in values {
            let label = (key.as_str(), value.as_str(), i64::from(*limit));
            found.push(of_label(session, rollout, label, None).await?);
        }
    }
    Ok(found)
}

async fn of_label(
    session: &mut Session,
    rollout: &Rollout,
    (key, value, limit): (&str, &str, i64),
    but_for: Option<DeviceId>,
) -> Result<LabelUse> {
    let mut sql = Build::new(session.kind());
    sql.text("SELECT o.name, COUNT(*) OVER (), CAST(SUM(CASE WHEN ");
    comes_back(&mut sql, "a.device_uuid");
    sql.text(
        " THEN 0 ELSE 1 END) OVER () AS BIGINT) FROM device_tags a \
         JOIN devices o ON o.uuid = a.device_uuid WHERE a.key = ",
    )
    .value(key.to_owned())
    .text(" AND a.value = ")
    .value(value.to_owned())
    .text(" AND a.device_uuid <> ")
    .value(but_for.map_or(Uuid::nil(), |device| device.0))
    .text(" AND (");
    unavailable(&mut sql, "a.device_uuid", silent_since(session, rollout));
    sql.text(") ORDER BY o.name, o.uuid LIMIT ").value(NAMED);
    let rows: Vec<(String, i64, i64)> = sql.on(session).all().await?;
    Ok(LabelUse {
        key: key.to_owned(),
        value: value.to_owned(),
        limit,
        unavailable: rows.first().map_or(0, |(_, all, _)| *all),
        stuck: rows.first().map_or(0, |(_, _, stuck)| *stuck),
        holders: rows.into_iter().map(|(name, ..)| name).collect(),
    })
}
