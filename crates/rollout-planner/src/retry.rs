//! Devices that a person orders to be tried again.

use crate::NAME;
use serde_json::json;
use windlass_store::rollouts::{self, Again};
use windlass_store::{Result, Session, events};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::DeviceId;
use windlass_types::image::ImageReference;
use windlass_types::rollout::{Command, DeviceStatus, Rollout};

/// Puts the devices back in line and tells of each what its row is now: no reason, no verdict. The rollout is locked and saved.
pub(crate) async fn carry_out(
    tx: &mut Session,
    rollout: &Rollout,
    device: Option<DeviceId>,
    batch: Option<i64>,
    order: Option<&Command>,
) -> Result<()> {
    let image = ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    );
    let now = tx.now();
    let devices = rollouts::retry(tx, rollout, device, batch).await?;
    let event = |Again { device, batch }: Again| NewEvent {
        actor: order.map_or_else(|| NAME.to_owned(), |command| command.actor.clone()),
        ..NewEvent::new(EventType::RetryScheduled, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(&image)
            .device(device)
            .data(json!({
                "image": image,
                "batch": batch,
                "status": DeviceStatus::Pending,
                "reason": null,
                "verdict": null,
                "retries": 0,
                "by": "order",
                "detail": order.map(|command| command.reason.clone()),
                "retry_at": now,
            }))
    };
    events::append_all(tx, devices.into_iter().map(event).collect()).await?;
    Ok(())
}
