//! Reports of devices and what is made of them.
//!
//! What a device's reports come to is read, folded and written without a lock in between. Each writing raises the
//! row's revision and holds only where that is still the one that was read: of two replicas that take in reports
//! of one device, the later one reads again. See docs/adr/0032-reports-without-locks.md.

use crate::db::{Column, JsonText, Rows, Session};
use crate::error::{Error, Result};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;
use windlass_types::device::DeviceCurrentState;
use windlass_types::ids::{DeviceId, ReportId};
use windlass_types::observation::Observation;

/// Rows of one statement at most.
const CHUNK: usize = 500;

/// What is known of a device before a report is taken in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Before {
    /// The agent's version.
    pub agent_version: Option<String>,
    /// The operating system.
    pub os_version: Option<String>,
    /// Its time zone, as it said or as an operator set it.
    pub time_zone: Option<String>,
    /// The time zone in its last report.
    pub said_time_zone: Option<String>,
    /// What it runs on, as it said last.
    pub platform: Option<String>,
    /// How often its reports were written; none before the first.
    pub revision: Option<i64>,
    /// What is made of its reports so far.
    pub observation: Observation,
}

#[derive(sqlx::FromRow)]
struct Row {
    uuid: Uuid,
    agent_version: Option<String>,
    os_version: Option<String>,
    time_zone: Option<String>,
    platform: Option<String>,
    revision: Option<i64>,
    observation: Option<Json<Observation>>,
    said_time_zone: Option<String>,
}

/// What is known of these devices. Those that are not known are left out.
///
/// # Errors
/// Whatever the database says.
pub async fn before(
    session: &mut Session,
    devices: &[DeviceId],
) -> Result<BTreeMap<DeviceId, Before>> {
    let kind = session.kind();
    let devices: BTreeSet<Uuid> = devices.iter().map(|device| device.0).collect();
    let devices: Vec<Option<Uuid>> = devices.into_iter().map(Some).collect();
    let mut known = BTreeMap::new();
    for chunk in devices.chunks(CHUNK) {
        let rows = Rows(vec![("device", Column::Uuid(chunk.to_vec()))]);
        let found: Vec<Row> = session
            .built(format!(
                "SELECT d.uuid, d.agent_version, d.os_version, d.time_zone, d.platform, \
                 c.revision, c.observation, c.said_time_zone \
                 FROM {} JOIN devices d ON d.uuid = v.device \
                 LEFT JOIN device_current_state c ON c.device_uuid = d.uuid",
                rows.table(kind, "v")
            ))
            .rows(rows)
            .all()
            .await?;
        known.extend(found.into_iter().map(|row| {
            let before = Before {
                agent_version: row.agent_version,
                os_version: row.os_version,
                time_zone: row.time_zone,
                said_time_zone: row.said_time_zone,
                platform: row.platform,
                revision: row.revision,
                observation: row.observation.map(|json| json.0).unwrap_or_default(),
            };
            (DeviceId(row.uuid), before)
        }));
    }
    Ok(known)
}

/// What a device said, and what is made of that and all before.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The device.
    pub device: DeviceId,
    /// The revision of what was known before.
    pub revision: Option<i64>,
    /// The report as it came.
    pub report: JsonText,
    /// Its id, where it has one.
    pub report_id: Option<ReportId>,
    /// The time zone that it names.
    pub said_time_zone: Option<String>,
    /// What is known now.
    pub observation: Observation,
}

/// Stores these, at most one for each device, where nobody else has written since the revision that was read.
/// Returns the devices of which somebody has; of them nothing is stored.
///
/// # Errors
/// Whatever the database says; a reference that is not there where a device's first report was taken in and the
/// device has been deleted meanwhile.
pub async fn store(session: &mut Session, taken: Vec<Taken>) -> Result<BTreeSet<DeviceId>> {
    let mut missed: BTreeSet<DeviceId> = taken.iter().map(|one| one.device).collect();
    let (mut first, mut again): (Vec<Taken>, Vec<Taken>) =
        taken.into_iter().partition(|one| one.revision.is_none());
    for (taken, text) in [
        (
            &mut again,
            "UPDATE device_current_state SET report = v.report, observation = v.observation, \
             report_id = v.report_id, received_at = v.received_at, said_time_zone = v.time_zone, \
             revision = v.revision + 1 FROM {rows} \
             WHERE device_current_state.device_uuid = v.device \
             AND device_current_state.revision = v.revision RETURNING device_uuid",
        ),
        (
            &mut first,
            "INSERT INTO device_current_state \
             (device_uuid, report, observation, report_id, received_at, said_time_zone, revision) \
             SELECT v.device, v.report, v.observation, v.report_id, v.received_at, v.time_zone, 1 \
             FROM {rows} WHERE true \
             ON CONFLICT (device_uuid) DO NOTHING RETURNING device_uuid",
        ),
    ] {
        // In one order everywhere, or two groups may wait for each other.
        taken.sort_unstable_by_key(|one| one.device);
        while !taken.is_empty() {
            let chunk = taken.drain(..taken.len().min(CHUNK));
            for device in write(session, text, chunk).await? {
                missed.remove(&device);
            }
        }
    }
    Ok(missed)
}

async fn write(
    session: &mut Session,
    text: &str,
    taken: impl Iterator<Item = Taken>,
) -> Result<Vec<DeviceId>> {
    let (kind, now) = (session.kind(), session.now());
    let (mut devices, mut reports, mut observations) = (Vec::new(), Vec::new(), Vec::new());
    let (mut ids, mut times, mut zones, mut revisions) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in taken {
        devices.push(Some(one.device.0));
        reports.push(one.report);
        let text = serde_json::to_string(&one.observation);
        observations.push(text.map_err(|error| Error::Encode(error.into()))?.into());
        ids.push(one.report_id.map(|id| id.0));
        times.push(now);
        zones.push(one.said_time_zone);
        revisions.push(one.revision);
    }
    let rows = Rows(vec![
        ("device", Column::Uuid(devices)),
        ("report", Column::Json(reports)),
        ("observation", Column::Json(observations)),
        ("report_id", Column::Uuid(ids)),
        ("received_at", Column::Time(times)),
        ("time_zone", Column::Text(zones)),
        ("revision", Column::Number(revisions)),
    ]);
    let text = text.replace("{rows}", &rows.table(kind, "v"));
    let written: Vec<(Uuid,)> = session.built(text).rows(rows).all().await?;
    Ok(written
        .into_iter()
        .map(|(device,)| DeviceId(device))
        .collect())
}

/// What a device said it runs that is not what it said before; none for what has not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versions {
    /// The device.
    pub device: DeviceId,
    /// The agent's.
    pub agent: Option<String>,
    /// The operating system's.
    pub os: Option<String>,
    /// Its IANA time zone.
    pub time_zone: Option<String>,
    /// What it runs on.
    pub platform: Option<String>,
}

impl Versions {
    /// Nothing that has changed.
    #[must_use]
    pub const fn same(device: DeviceId) -> Self {
        Self {
            device,
            agent: None,
            os: None,
            time_zone: None,
            platform: None,
        }
    }

    /// Whether anything has changed.
    #[must_use]
    pub const fn any(&self) -> bool {
        self.agent.is_some()
            || self.os.is_some()
            || self.time_zone.is_some()
            || self.platform.is_some()
    }
}

/// Stores these, at most one for each device.
///
/// # Errors
/// Whatever the database says.
pub async fn set_versions(session: &mut Session, versions: &[Versions]) -> Result<()> {
    let kind = session.kind();
    for chunk in versions.chunks(CHUNK) {
        let texts = |of: fn(&Versions) -> &Option<String>| {
            Column::Text(chunk.iter().map(|one| of(one).clone()).collect())
        };
        let devices = chunk.iter().map(|one| Some(one.device.0)).collect();
        let rows = Rows(vec![
            ("device", Column::Uuid(devices)),
            ("agent", texts(|one| &one.agent)),
            ("os", texts(|one| &one.os)),
            ("zone", texts(|one| &one.time_zone)),
            ("platform", texts(|one| &one.platform)),
        ]);
        // What has not changed is left as it is: an operator may have set the time zone a moment ago.
        session
            .built(format!(
                "UPDATE devices SET agent_version = COALESCE(v.agent, devices.agent_version), \
                 os_version = COALESCE(v.os, devices.os_version), \
                 time_zone = COALESCE(v.zone, devices.time_zone), \
                 platform = COALESCE(v.platform, devices.platform) \
                 FROM {} WHERE devices.uuid = v.device",
                rows.table(kind, "v")
            ))
            .rows(rows)
            .execute()
            .await?;
    }
    Ok(())
}

/// What a device said last; none where it has said nothing that counts, or is not known.
///
/// # Errors
/// Whatever the database says.
pub async fn get(session: &mut Session, device: DeviceId) -> Result<Option<DeviceCurrentState>> {
    let row: Option<(Json<Value>, Json<Observation>, DateTime<Utc>)> = session
        .sql(
            "SELECT report, observation, received_at FROM device_current_state \
             WHERE device_uuid = $1",
        )
        .bind(device.0)
        .optional()
        .await?;
    Ok(
        row.map(|(report, observation, received_at)| DeviceCurrentState {
            uuid: device,
            report: Some(report.0),
            received_at: Some(received_at),
            observation: observation.0,
        }),
    )
}
