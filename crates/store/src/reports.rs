//! Reports of devices and what is made of them.

use crate::db::{Session, placeholders};
use crate::devices::bind_all;
use crate::error::Result;
use crate::store::Kind;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
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
    /// What is made of its reports so far.
    pub observation: Observation,
}

/// What is known of these devices, each locked until the transaction ends, so that two replicas take
/// in the reports of one device one after the other. Those that are not known are left out.
///
/// # Errors
/// Whatever the database says.
pub async fn lock(
    session: &mut Session,
    devices: &[DeviceId],
) -> Result<BTreeMap<DeviceId, Before>> {
    /// Device, agent's and system's version, time zone, platform.
    type Found = (
        Uuid,
        Option<String>,
        Option<String>,
        Option<String>,
        Option<String>,
    );
    let kind = session.kind();
    let mut devices = devices.to_vec();
    devices.sort_unstable();
    devices.dedup();
    let mut known = BTreeMap::new();
    for chunk in devices.chunks(CHUNK) {
        let list = placeholders(kind, 1, 1, chunk.len());
        // In one order everywhere, or two groups wait for each other. The rows of the reports are
        // read by a statement of their own: the one that waits for locks sees them as they were
        // before it waited.
        let lock = match kind {
            Kind::Postgres => "FOR NO KEY UPDATE",
            Kind::Sqlite => "",
        };
        let rows: Vec<Found> = bind_all(
            session.built(format!(
                "SELECT uuid, agent_version, os_version, time_zone, platform FROM devices WHERE uuid IN {list} \
                 ORDER BY uuid {lock}"
            )),
            chunk,
        )
        .all()
        .await?;
        known.extend(rows.into_iter().map(
            |(device, agent_version, os_version, time_zone, platform)| {
                let before = Before {
                    agent_version,
                    os_version,
                    time_zone,
                    said_time_zone: None,
                    platform,
                    observation: Observation::default(),
                };
                (DeviceId(device), before)
            },
        ));
        let rows: Vec<(Uuid, Json<Observation>, Option<String>)> = bind_all(
            session.built(format!(
                "SELECT device_uuid, observation, report ->> 'time_zone' FROM device_current_state \
                 WHERE device_uuid IN {list}"
            )),
            chunk,
        )
        .all()
        .await?;
        for (device, observation, time_zone) in rows {
            if let Some(before) = known.get_mut(&DeviceId(device)) {
                before.said_time_zone = time_zone;
                before.observation = observation.0;
            }
        }
    }
    Ok(known)
}

/// What a device said, and what is made of that and all before.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// The device.
    pub device: DeviceId,
    /// The report as it came.
    pub report: Value,
    /// Its id, where it has one.
    pub report_id: Option<ReportId>,
    /// What is known now.
    pub observation: Observation,
}

/// Stores these, at most one for each device, each locked before.
///
/// # Errors
/// Whatever the database says.
pub async fn store(session: &mut Session, taken: &[Taken]) -> Result<()> {
    let (kind, now) = (session.kind(), session.now());
    for chunk in taken.chunks(CHUNK) {
        let mut statement = session.built(format!(
            "INSERT INTO device_current_state (device_uuid, report, observation, report_id, \
             received_at) VALUES {} ON CONFLICT (device_uuid) DO UPDATE SET \
             report = excluded.report, observation = excluded.observation, \
             report_id = excluded.report_id, received_at = excluded.received_at",
            placeholders(kind, 1, chunk.len(), 5)
        ));
        for one in chunk {
            statement = statement
                .bind(one.device.0)
                .bind(Json(one.report.clone()))
                .bind(Json(one.observation.clone()))
                .bind(one.report_id.map(|id| id.0))
                .bind(now);
        }
        statement.execute().await?;
    }
    Ok(())
}

/// The versions a device said it runs.
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

/// Stores these, at most one for each device, each locked before.
///
/// # Errors
/// Whatever the database says.
pub async fn set_versions(session: &mut Session, versions: &[Versions]) -> Result<()> {
    let kind = session.kind();
    for chunk in versions.chunks(CHUNK) {
        let mut statement = session.built(format!(
            "UPDATE devices SET agent_version = v.agent, os_version = v.os, time_zone = v.zone, \
             platform = v.platform \
             FROM (SELECT column1 AS device, column2 AS agent, column3 AS os, column4 AS zone, \
             column5 AS platform FROM (VALUES {}) AS given) AS v WHERE devices.uuid = v.device",
            placeholders(kind, 1, chunk.len(), 5)
        ));
        for one in chunk {
            statement = statement
                .bind(one.device.0)
                .bind(one.agent.clone())
                .bind(one.os.clone())
                .bind(one.time_zone.clone())
                .bind(one.platform.clone());
        }
        statement.execute().await?;
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
