//! Why a device runs what it runs, or does not move.

use super::{devices, rollouts};
use crate::app::App;
use crate::auth::By;
use actix_web::{get, web};
use chrono::{DateTime, Utc};
use windlass_service::Problem;
use windlass_store::targets;
use windlass_store::views::{self, Place};
use windlass_types::device::Device;
use windlass_types::ids::DeviceId;
use windlass_types::rollout::{DeviceStatus, RolloutView};
use windlass_types::target::TargetSource;
use windlass_types::why::{Why, WhyRollout};

/// Rollouts told of.
const TOLD: i64 = 5;

/// Why a device runs what it runs, or does not move, in sentences.
#[utoipa::path(tag = "devices", params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 200, description = "What is known of it", body = Why),
    (status = 404, description = "There is no such device"),
))]
#[get("/api/v1/devices/{uuid}/why")]
pub(super) async fn why(
    By(_operator, uuid): By<web::Path<DeviceId>>,
    app: web::Data<App>,
) -> Result<web::Json<Why>, Problem> {
    let mut session = app.deps.store.read().await?;
    let device = devices::read(&mut session, *uuid).await?;
    let now = session.now();
    let mut told = Vec::new();
    for place in views::places(&mut session, *uuid, TOLD).await? {
        let rollout = rollouts::read(&mut session, place.rollout).await?;
        told.push(tell(&place, &rollout));
    }
    let failed_digests = views::failed_digests(&mut session, *uuid).await?;
    let target = targets::get(&mut session, *uuid).await?;

    let mut sentences = Vec::new();
    if !device.enabled {
        sentences.push(
            "The device is switched off: it may not poll or report, and rollouts skip it."
                .to_owned(),
        );
    }
    sentences.push(seen(&device, now));
    if let Some((target, _)) = &target {
        let by = match target.source {
            TargetSource::Initial => "was made empty at registration",
            TargetSource::Operator => "was set by an operator",
            TargetSource::Rollout => "was set by a rollout",
            TargetSource::Rollback => "was set by a rollback",
        };
        sentences.push(format!(
            "Its target has version {} and {by} at {}.",
            target.version,
            time(target.updated_at)
        ));
    }
    match told.first() {
        Some(latest) => sentences.push(latest.sentence.clone()),
        None => sentences.push("It is in none of the latest rollouts.".to_owned()),
    }
    for failed in &failed_digests {
        let everywhere = if failed.quarantined {
            "; it is in quarantine for every device"
        } else {
            ""
        };
        sentences.push(format!(
            "{} failed on it at {} and is not shipped to it again{everywhere}.",
            failed.digest.short(),
            time(failed.failed_at)
        ));
    }
    Ok(web::Json(Why {
        uuid: *uuid,
        sentences,
        reasons: Vec::new(),
        waiting_for: None,
        rollouts: told,
        failed_digests,
        last_seen_at: device.last_seen_at,
    }))
}

fn seen(device: &Device, now: DateTime<Utc>) -> String {
    match device.last_seen_at {
        Some(at) => format!(
            "It was seen last at {}, {} s ago.",
            time(at),
            (now - at).num_seconds().max(0)
        ),
        None => "It has not been seen since it was registered.".to_owned(),
    }
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn tell(place: &Place, view: &RolloutView) -> WhyRollout {
    WhyRollout {
        rollout_id: place.rollout,
        image: view.image.clone(),
        rollout_status: view.rollout.status,
        waiting_for: view.waiting_for.clone(),
        batch: place.batch,
        status: place.status,
        reason: place.reason.clone(),
        deadline_at: place.deadline_at,
        sentence: sentence(place, view),
    }
}

fn sentence(place: &Place, view: &RolloutView) -> String {
    let until = place
        .deadline_at
        .map(|at| format!(", until {} at the latest", time(at)))
        .unwrap_or_default();
    let because = place
        .reason
        .as_ref()
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default();
    let (image, batch) = (&view.image, place.batch);
    let what = match place.status {
        DeviceStatus::Pending => {
            let waits = view.waiting_for.as_deref().unwrap_or("its turn");
            format!(
                "waits in batch {batch} of {}; the rollout is {} and waits for {waits}",
                view.rollout.batch_count, view.rollout.status
            )
        }
        DeviceStatus::Scheduled => {
            format!("was admitted with batch {batch} and has not taken up its target yet{until}")
        }
        DeviceStatus::Updating => format!("has taken up its target and works on it{until}"),
        DeviceStatus::Verifying => {
            format!("runs the image and must stay up through the stable window{until}")
        }
        DeviceStatus::Completed => "is healthy on it".to_owned(),
        DeviceStatus::Failed => format!("failed on it{because}"),
        DeviceStatus::Unreachable => {
            "has been silent since it was admitted; it gets the image when it is back".to_owned()
        }
        DeviceStatus::Inconclusive => {
            format!("could not be judged: its checks said neither yes nor no{because}")
        }
        DeviceStatus::Skipped => format!("was left out{because}"),
        DeviceStatus::RollingBack => format!(
            "is being put back on {}{until}",
            place
                .rollback_image
                .as_deref()
                .unwrap_or("its last good image")
        ),
        DeviceStatus::RolledBack => format!(
            "was put back on {}{because}",
            place
                .rollback_image
                .as_deref()
                .unwrap_or("its last good image")
        ),
        DeviceStatus::RollbackFailed => format!("did not get back{because}"),
    };
    format!("In rollout {} of {image} the device {what}.", place.rollout)
}
