//! Making a version of what was found: the way of a push that a webhook tells of.

use super::look::{Look, New};
use crate::events;
use chrono::TimeDelta;
use uuid::Uuid;
use windlass_core::watch::{Sight, sight};
use windlass_store::registry_watch::{self, Known, Present};
use windlass_store::{Result, images};
use windlass_types::delivery::{PushKind, SeenVersion};
use windlass_types::ids::{CorrelationId, ImageVersionId};

/// Makes a version of what a tag names, unless a webhook was faster, and returns how the tag is known
/// from now on; nothing where the tag changed meanwhile and is to be looked at again.
pub(super) async fn found(
    look: &Look<'_>,
    new: &New,
    known: Option<&Known>,
) -> Result<Option<Known>> {
    let repository = &look.claimed.repository;
    let mut tx = look.state.deps.store.begin().await?;
    let seen = images::comparable(&mut tx, repository, &new.tag, Some(&new.digest)).await?;
    let present = seen.iter().find(|version| version.replaced_at.is_none());
    let after = Known {
        digest: Some(new.digest.clone()),
        ..Known::default()
    };
    if let Some(present) = present {
        if present.digest.as_ref() == Some(&new.digest) {
            tx.rollback().await?;
            return Ok(Some(after));
        }
        if present.seen_at >= new.asked_at {
            // What was seen may be older than what was told of since.
            tx.rollback().await?;
            return Ok(None);
        }
    }
    let named_before = seen.iter().any(|version| {
        version.replaced_at.is_some() && version.digest.as_ref() == Some(&new.digest)
    });
    let known_present = present.map(|version| Present {
        digest: version.digest.clone(),
        seen_at: version.seen_at,
    });
    let before = look.before(known, known_present.as_ref(), named_before);
    let moved = match sight(&before, &new.digest) {
        Sight::New { moved } => moved,
        Sight::Doubtful => {
            tx.rollback().await?;
            return Ok(Some(Known {
                digest: known.and_then(|known| known.digest.clone()),
                doubtful: Some(new.digest.clone()),
                gone_at: None,
            }));
        }
        Sight::Same | Sight::Baseline if new.newest && present.is_none() => false,
        Sight::Same | Sight::Baseline => {
            tx.rollback().await?;
            return Ok(Some(after));
        }
    };
    let now = tx.now();
    let version = SeenVersion {
        id: ImageVersionId(tx.new_id()),
        repository: repository.clone(),
        tag: new.tag.clone(),
        digest: Some(new.digest.clone()),
        kind: if moved {
            PushKind::Moved
        } else {
            PushKind::New
        },
        actor: None,
        pushed_at: None,
        seen_at: now,
        delivery_id: None,
        correlation_id: CorrelationId(Uuid::now_v7()),
        replaced_at: None,
        resolve_attempts: 0,
        resolve_error: None,
    };
    if !images::insert(&mut tx, &version, present.map(|version| version.id)).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    // What was there before anybody listened is nobody's fault.
    let endpoint = if new.newest {
        None
    } else {
        registry_watch::expected(&mut tx, repository).await?
    };
    let settle_at = now + TimeDelta::seconds(look.state.watch.grace_seconds.into());
    registry_watch::found(
        &mut tx,
        version.id,
        repository,
        endpoint.as_deref(),
        settle_at,
    )
    .await?;
    windlass_store::events::append(&mut tx, events::available(&version, None)).await?;
    look.state.deps.commit(tx).await?;
    tracing::info!(
        image.repository = %repository,
        image.tag = new.tag,
        image.digest = %new.digest,
        moved,
        "a push was found by looking"
    );
    look.state
        .metrics
        .watch
        .found
        .with_label_values(&[repository.registry()])
        .inc();
    Ok(Some(after))
}
