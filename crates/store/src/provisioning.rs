//! Provisioning keys, and the devices that register with them.

use crate::db::Session;
use crate::error::{Result, parse};
use crate::targets;
use chrono::{DateTime, Utc};
use uuid::Uuid;
use windlass_types::device::ProvisioningKey;
use windlass_types::ids::{DeviceId, FleetId, ProvisioningKeyId, StateId};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    fleet_id: String,
    max_devices: i64,
    devices: i64,
    description: String,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
}

impl TryFrom<Row> for ProvisioningKey {
    type Error = crate::Error;
    fn try_from(row: Row) -> Result<Self> {
        Ok(Self {
            id: ProvisioningKeyId(row.id),
            key: None,
            fleet_id: parse("provisioning_keys.fleet_id", &row.fleet_id)?,
            max_devices: row.max_devices,
            devices: row.devices,
            description: row.description,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            created_at: row.created_at,
        })
    }
}

const SELECT: &str = "SELECT id, fleet_id, max_devices, devices, description, expires_at, \
                      revoked_at, created_at FROM provisioning_keys";

/// Stores a key; its fleet must be there.
///
/// # Errors
/// Whatever the database says.
pub async fn create(session: &mut Session, key: &ProvisioningKey, hash: &[u8]) -> Result<()> {
    session
        .sql(
            "INSERT INTO provisioning_keys (id, fleet_id, key_hash, description, max_devices, \
             expires_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(key.id.0)
        .bind(key.fleet_id.as_str().to_owned())
        .bind(hash.to_vec())
        .bind(key.description.clone())
        .bind(key.max_devices)
        .bind(key.expires_at)
        .bind(key.created_at)
        .execute()
        .await?;
    Ok(())
}

/// The key that has this hash, whatever has become of it.
///
/// # Errors
/// Whatever the database says.
pub async fn find(session: &mut Session, hash: &[u8]) -> Result<Option<ProvisioningKey>> {
    let row: Option<Row> = session
        .built(format!("{SELECT} WHERE key_hash = $1"))
        .bind(hash.to_vec())
        .optional()
        .await?;
    row.map(ProvisioningKey::try_from).transpose()
}

/// Up to `limit` keys after this one, by id; only those of this fleet, where one is given.
///
/// # Errors
/// Whatever the database says.
pub async fn list(
    session: &mut Session,
    fleet: Option<&FleetId>,
    after: Option<ProvisioningKeyId>,
    limit: i64,
) -> Result<Vec<ProvisioningKey>> {
    let after = after.map_or(Uuid::nil(), |id| id.0);
    let rows: Vec<Row> = match fleet {
        Some(fleet) => {
            session
                .built(format!(
                    "{SELECT} WHERE fleet_id = $1 AND id > $2 ORDER BY id LIMIT $3"
                ))
                .bind(fleet.as_str().to_owned())
                .bind(after)
                .bind(limit)
                .all()
                .await?
        }
        None => {
            session
                .built(format!("{SELECT} WHERE id > $1 ORDER BY id LIMIT $2"))
                .bind(after)
                .bind(limit)
                .all()
                .await?
        }
    };
    rows.into_iter().map(ProvisioningKey::try_from).collect()
}

/// What became of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The key is revoked now.
    Now,
    /// It was revoked before.
    Before,
    /// There is no such key.
    Unknown,
}

/// Revokes a key, once. The caller appends the event (`provisioning_key.revoked`) where it was now.
///
/// # Errors
/// Whatever the database says.
pub async fn revoke(session: &mut Session, id: ProvisioningKeyId) -> Result<Revocation> {
    let now = session.now();
    let revoked = session
        .sql("UPDATE provisioning_keys SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL")
        .bind(now)
        .bind(id.0)
        .execute()
        .await?;
    if revoked == 1 {
        return Ok(Revocation::Now);
    }
    let known: Option<(Uuid,)> = session
        .sql("SELECT id FROM provisioning_keys WHERE id = $1")
        .bind(id.0)
        .optional()
        .await?;
    Ok(known.map_or(Revocation::Unknown, |_| Revocation::Before))
}

/// A device as it registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Its uuid.
    pub uuid: DeviceId,
    /// A name for people.
    pub name: String,
    /// The type it says.
    pub device_type: String,
    /// Its key, hashed.
    pub key_hash: Vec<u8>,
    /// Where known.
    pub mac_address: Option<String>,
    /// Where known.
    pub os_version: Option<String>,
    /// Where known.
    pub agent_version: Option<String>,
    /// Its IANA time zone, where known.
    pub time_zone: Option<String>,
    /// Passed through.
    pub application_id: Option<i64>,
    /// Its place among all devices, drawn from the uuid.
    pub shuffle: i64,
}

/// A device that is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// Its number.
    pub id: i64,
    /// A name for people.
    pub name: String,
    /// The type it registered with.
    pub device_type: String,
    /// Its key, hashed.
    pub key_hash: Vec<u8>,
    /// Passed through.
    pub application_id: Option<i64>,
    /// Its fleet.
    pub fleet: FleetId,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
}

/// A device as it was registered; none where it is not known.
///
/// # Errors
/// Whatever the database says.
pub async fn registered(session: &mut Session, device: DeviceId) -> Result<Option<Registered>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        id: i64,
        name: String,
        device_type: String,
        key_hash: Vec<u8>,
        application_id: Option<i64>,
        fleet_id: String,
        created_at: DateTime<Utc>,
    }
    let row: Option<Row> = session
        .sql(
            "SELECT id, name, device_type, key_hash, application_id, fleet_id, created_at \
             FROM devices WHERE uuid = $1",
        )
        .bind(device.0)
        .optional()
        .await?;
    row.map(|row| {
        Ok(Registered {
            id: row.id,
            name: row.name,
            device_type: row.device_type,
            key_hash: row.key_hash,
            application_id: row.application_id,
            fleet: parse("devices.fleet_id", &row.fleet_id)?,
            created_at: row.created_at,
        })
    })
    .transpose()
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// The device is there now.
    Made(Registered),
    /// The key may register no more devices, was revoked or has expired: nothing is to be kept.
    NotAllowed,
    /// A device with this uuid or this key is there already: nothing is to be kept.
    Taken,
}

/// Takes one of the key's places and makes the device, with a first target that names `state`. Two
/// registrations at once cannot take one place, nor make one device. The caller gives the transaction
/// up unless it is [`Registration::Made`], and then appends the event (`device.registered`).
///
/// # Errors
/// Whatever the database says.
pub async fn register(
    session: &mut Session,
    key: ProvisioningKeyId,
    device: &NewDevice,
    state: StateId,
) -> Result<Registration> {
    let now = session.now();
    // The row stays locked to the end, so that the places are handed out one after the other.
    let taken: Option<(String,)> = session
        .sql(
            "UPDATE provisioning_keys SET devices = devices + 1 WHERE id = $1 \
             AND devices < max_devices AND revoked_at IS NULL AND expires_at > $2 \
             RETURNING fleet_id",
        )
        .bind(key.0)
        .bind(now)
        .optional()
        .await?;
    let Some((fleet,)) = taken else {
        return Ok(Registration::NotAllowed);
    };
    let made: Option<(i64,)> = session
        .sql(
            "INSERT INTO devices (uuid, name, device_type, fleet_id, key_hash, \
             provisioning_key_id, mac_address, os_version, agent_version, application_id, \
             shuffle, created_at, time_zone) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT DO NOTHING RETURNING id",
        )
        .bind(device.uuid.0)
        .bind(device.name.clone())
        .bind(device.device_type.clone())
        .bind(fleet.clone())
        .bind(device.key_hash.clone())
        .bind(key.0)
        .bind(device.mac_address.clone())
        .bind(device.os_version.clone())
        .bind(device.agent_version.clone())
        .bind(device.application_id)
        .bind(device.shuffle)
        .bind(now)
        .bind(device.time_zone.clone())
        .optional()
        .await?;
    let Some((id,)) = made else {
        return Ok(Registration::Taken);
    };
    targets::create(session, device.uuid, state).await?;
    Ok(Registration::Made(Registered {
        id,
        name: device.name.clone(),
        device_type: device.device_type.clone(),
        key_hash: device.key_hash.clone(),
        application_id: device.application_id,
        fleet: parse("devices.fleet_id", &fleet)?,
        created_at: now,
    }))
}
