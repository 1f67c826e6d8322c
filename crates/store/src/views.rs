//! What the API shows: rollouts with their progress, the devices in them, versions of images.
//!
//! Readings only. Pages are cut by key, never by offset, so that rows that come or go between two
//! pages neither hide nor double others.

mod images;
mod places;
mod rollouts;
mod stories;

pub use images::image_versions;
pub use places::{PlaceRow, failed_digests, place_in, places};
pub use rollouts::{RolloutFilter, rollout, rollout_devices, rollouts, rollouts_by_id};
pub use stories::{device_story, image_story, rollout_stories, rollout_story};

use crate::db::Session;
use crate::error::Result;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use windlass_types::device::DeviceCurrentState;
use windlass_types::ids::DeviceId;
use windlass_types::observation::Observation;

/// What a device said last and what is made of it; an empty observation where it has not reported.
///
/// # Errors
/// Whatever the database says.
pub async fn current_state(session: &mut Session, device: DeviceId) -> Result<DeviceCurrentState> {
    let row: Option<(Json<Value>, Json<Observation>, DateTime<Utc>)> = session
        .sql(
            "SELECT report, observation, received_at FROM device_current_state \
             WHERE device_uuid = $1",
        )
        .bind(device.0)
        .optional()
        .await?;
    let (report, observation, received_at) = match row {
        Some((report, observation, at)) => (Some(report.0), observation.0, Some(at)),
        None => (None, Observation::default(), None),
    };
    Ok(DeviceCurrentState {
        uuid: device,
        report,
        received_at,
        observation,
    })
}
