//! The events this service appends.

use serde_json::json;
use windlass_store::deliveries::{NewDelivery, Told};
use windlass_store::images::{Question, Wanted};
use windlass_types::delivery::{Decision, ReasonCode, SeenVersion};
use windlass_types::event::{Cursor, EventType, NewEvent};
use windlass_types::ids::DeliveryId;
use windlass_types::image::{Digest, ImageReference};

/// Who they come from.
pub(crate) const ACTOR: &str = "webhook-ingest";

/// A delivery was stored.
pub(crate) fn received(
    id: DeliveryId,
    new: &NewDelivery,
    decision: Decision,
    reason: Option<ReasonCode>,
    images: &[Told],
) -> NewEvent {
    NewEvent::new(EventType::WebhookReceived, ACTOR)
        .subject(&id)
        .correlation(Some(new.correlation_id))
        .data(json!({
            "endpoint": new.endpoint,
            "sender": new.sender,
            "sender_delivery_id": new.sender_delivery_id,
            "decision": decision,
            "reason_code": reason,
            "images": images,
        }))
}

/// A version is there to be shipped; its digest is null where the registry did not tell it.
pub(crate) fn available(version: &SeenVersion, caused_by: Option<Cursor>) -> NewEvent {
    let image = ImageReference::of(
        &version.repository,
        Some(&version.tag),
        version.digest.as_ref(),
    );
    NewEvent::new(EventType::UpdateAvailable, ACTOR)
        .subject(&image)
        .correlation(Some(version.correlation_id))
        .caused_by(caused_by)
        .data(json!({
            "image_version_id": version.id,
            "delivery_id": version.delivery_id,
            "repository": version.repository,
            "tag": version.tag,
            "digest": version.digest,
            "kind": version.kind,
            "actor": version.actor,
            "pushed_at": version.pushed_at,
            "resolve_error": version.resolve_error,
        }))
}

/// A trigger's digest is known, or its registry was asked in vain as often as configured.
pub(crate) fn available_to_trigger(
    question: &Question,
    digest: Option<&Digest>,
    error: Option<&str>,
) -> NewEvent {
    let image = ImageReference::of(&question.repository, Some(&question.tag), digest);
    let trigger = match question.wanted {
        Wanted::Trigger(id) => Some(id),
        Wanted::Version(_) => None,
    };
    NewEvent::new(EventType::UpdateAvailable, ACTOR)
        .subject(&image)
        .correlation(Some(question.correlation_id))
        .data(json!({
            "trigger_id": trigger,
            "repository": question.repository,
            "tag": question.tag,
            "digest": digest,
            "resolve_error": error,
        }))
}
