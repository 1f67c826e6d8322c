//! What is known of a device.

use super::rollout_stories;
use crate::db::{Session, placeholders};
use crate::error::{Result, parse};
use crate::views::current_state;
use crate::views::places::{failed_digests, places};
use crate::{devices, policies, rollbacks};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::api::Penalty;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::rollout::DeviceStatus;
use windlass_types::why::facts::{DeviceCheck, DeviceStory, Place, TargetFacts};

/// What is known of a device, with its places in the latest rollouts, at most `limit`.
///
/// # Errors
/// Whatever the database says.
pub async fn device_story(
    session: &mut Session,
    uuid: DeviceId,
    limit: i64,
) -> Result<Option<DeviceStory>> {
    let Some(device) = devices::get(session, uuid).await? else {
        return Ok(None);
    };
    let rows = places(session, uuid, limit).await?;
    let ids: Vec<RolloutId> = rows.iter().map(|row| row.row.rollout_id).collect();
    let rollouts = rollout_stories(session, &ids).await?;
    let mut checks = device_checks(session, uuid, &ids).await?;
    let mut told: Vec<Place> = Vec::with_capacity(rows.len());
    for place in rows {
        let id = place.row.rollout_id;
        let Some(rollout) = rollouts.get(&id).cloned() else {
            continue;
        };
        let labels = if place.row.status == DeviceStatus::Pending && rollout.facts.is_some() {
            crate::rollouts::holders(session, &rollout.view.rollout, &device).await?
        } else {
            Vec::new()
        };
        told.push(Place {
            row: place.row,
            environment: place.environment,
            checks: checks.remove(&id).unwrap_or_default(),
            labels,
            other: None,
            back_before: if rollout.back.waiting > 0 {
                rollbacks::before(session, id, uuid).await?
            } else {
                None
            },
            rollout,
        });
    }
    name_others(&mut told);
    let under_way = told.iter().any(|place| place.rollout.facts.is_some());
    Ok(Some(DeviceStory {
        target: target(session, uuid).await?,
        observation: current_state(session, uuid).await?.observation,
        penalty: penalty(session, uuid).await?,
        failed: failed_digests(session, uuid).await?,
        policies: if under_way {
            Vec::new()
        } else {
            policies::all(session).await?
        },
        places: told,
        device,
    }))
}

/// For places that were left out, the rollout of the same image that has the device instead.
fn name_others(places: &mut [Place]) {
    let known: Vec<(RolloutId, String, String, i32)> = places
        .iter()
        .filter(|place| place.row.status != DeviceStatus::Skipped)
        .map(|place| {
            let view = &place.rollout.view;
            let repository = view.rollout.repository.to_string();
            let priority = view.rollout.priority;
            (view.rollout.id, repository, view.image.clone(), priority)
        })
        .collect();
    for place in places {
        let mine = &place.rollout.view.rollout;
        let repository = mine.repository.to_string();
        let (id, priority) = (mine.id, mine.priority);
        let reason = place.row.reason.as_deref();
        let other = known.iter().find(|(other, its, _, higher)| {
            *other != id
                && *its == repository
                && match reason {
                    Some("higher_priority") => *higher >= priority,
                    Some("target_changed") => *other > id,
                    _ => false,
                }
        });
        place.other = other.map(|(_, _, image, _)| image.clone());
    }
}

async fn target(session: &mut Session, device: DeviceId) -> Result<Option<TargetFacts>> {
    /// Version, source, time; app, service, image of a service, where there is one.
    type Row = (
        i64,
        String,
        DateTime<Utc>,
        Option<i64>,
        Option<i64>,
        Option<String>,
    );
    let rows: Vec<Row> = session
        .sql(
            "SELECT t.version, t.source, t.updated_at, s.app_id, s.service_id, s.image \
             FROM device_targets t LEFT JOIN target_services s ON s.state_id = t.state_id \
             WHERE t.device_uuid = $1 ORDER BY s.app_id, s.service_id",
        )
        .bind(device.0)
        .all()
        .await?;
    let Some((version, source, updated_at, ..)) = rows.first() else {
        return Ok(None);
    };
    Ok(Some(TargetFacts {
        version: *version,
        source: parse("device_targets.source", source)?,
        updated_at: *updated_at,
        services: rows
            .iter()
            .filter_map(|(_, _, _, app, service, image)| {
                Some(((*app)?, (*service)?, image.clone()?))
            })
            .collect(),
    }))
}

/// That the device is set aside, or was: its time tells.
async fn penalty(session: &mut Session, device: DeviceId) -> Result<Option<Penalty>> {
    /// Reason, evidence, since, until.
    type Row = (String, Json<Value>, DateTime<Utc>, DateTime<Utc>);
    let row: Option<Row> = session
        .sql("SELECT reason, evidence, since, until FROM device_penalties WHERE device_uuid = $1")
        .bind(device.0)
        .optional()
        .await?;
    Ok(row.map(|(reason, evidence, since, until)| Penalty {
        device_uuid: device,
        reason,
        evidence: evidence.0,
        since,
        until,
    }))
}

#[derive(sqlx::FromRow)]
struct CheckRow {
    rollout_id: Uuid,
    position: i64,
    status: String,
    tries: i64,
    output: String,
    checked_at: Option<DateTime<Utc>>,
    deadline_at: DateTime<Utc>,
}

async fn device_checks(
    session: &mut Session,
    device: DeviceId,
    rollouts: &[RolloutId],
) -> Result<BTreeMap<RolloutId, Vec<DeviceCheck>>> {
    let mut found: BTreeMap<RolloutId, Vec<DeviceCheck>> = BTreeMap::new();
    if rollouts.is_empty() {
        return Ok(found);
    }
    let mut statement = session.built(format!(
        "SELECT rollout_id, position, status, tries, output, checked_at, deadline_at \
         FROM device_checks WHERE rollout_id IN {} AND device_uuid = ${} \
         ORDER BY rollout_id, position",
        placeholders(session.kind(), 1, 1, rollouts.len()),
        rollouts.len() + 1
    ));
    for id in rollouts {
        statement = statement.bind(id.0);
    }
    let rows: Vec<CheckRow> = statement.bind(device.0).all().await?;
    for row in rows {
        let check = DeviceCheck {
            position: row.position,
            status: parse("device_checks.status", &row.status)?,
            tries: row.tries,
            output: row.output,
            checked_at: row.checked_at,
            deadline_at: row.deadline_at,
        };
        let of = found.entry(RolloutId(row.rollout_id)).or_default();
        of.push(check);
    }
    Ok(found)
}
