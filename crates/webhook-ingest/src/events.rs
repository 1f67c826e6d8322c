//! The events this service appends.

use crate::ingest::{Done, Origin};
use serde_json::json;
use windlass_store::deliveries::NewDelivery;
use windlass_store::images::{Question, Wanted};
use windlass_types::delivery::SeenVersion;
use windlass_types::event::{Cursor, EventType, NewEvent};
use windlass_types::image::{Digest, ImageReference};

/// Who they come from.
pub(crate) const ACTOR: &str = "webhook-ingest";

/// A delivery was stored.
pub(crate) fn received(origin: &Origin, new: &NewDelivery, done: &Done) -> NewEvent {
    NewEvent::new(EventType::WebhookReceived, ACTOR)
        .subject(&origin.id)
        .correlation(Some(origin.correlation_id))
        .data(json!({
            "endpoint": new.endpoint,
            "sender": new.sender,
            "sender_delivery_id": new.sender_delivery_id,
            "decision": done.decision,
            "reason_code": done.reason,
            "images": done.told,
        }))
}

/// A delivery was read again, and told what it had not told before.
pub(crate) fn replayed(
    origin: &Origin,
    endpoint: &str,
    sender: &str,
    done: &Done,
    actor: &str,
) -> NewEvent {
    NewEvent::new(EventType::WebhookReceived, actor)
        .subject(&origin.id)
        .correlation(Some(origin.correlation_id))
        .data(json!({
            "endpoint": endpoint,
            "sender": sender,
            "decision": done.decision,
            "reason_code": done.reason,
            "images": done.told,
            "replayed": true,
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
