//! Making a delivery durable: the delivery, what was read in it, the image versions it makes and their
//! events, in one transaction.

use crate::events;
use crate::senders::{Content, Reading};
use std::time::Duration;
use uuid::Uuid;
use windlass_core::push::{Meaning, believable, meaning};
use windlass_service::{Deps, Problem};
use windlass_store::deliveries::{self, NewDelivery, Stored, Told};
use windlass_store::images::{self, Learned};
use windlass_store::{Error, Session};
use windlass_types::delivery::{Decision, ParsedPush, Push, PushKind, ReasonCode, SeenVersion};
use windlass_types::ids::ImageVersionId;

/// Tries until a sender is told to come again. Each lost race means that another one was won.
const TRIES: usize = 16;

/// A delivery as stored, and whether it was stored before.
#[derive(Debug)]
pub(crate) struct Ingested {
    pub(crate) stored: Stored,
    pub(crate) repeated: bool,
}

/// Stores a delivery, once: a repeated one is counted and answered as the first.
///
/// # Errors
/// [`Problem::Unavailable`] where the store does not answer in `limit`. Then nothing was stored, or it
/// was just being committed; either way the sender is to come again, and is answered then.
pub(crate) async fn ingest(
    deps: &Deps,
    new: &NewDelivery,
    reading: &Reading,
    limit: Duration,
) -> Result<Ingested, Problem> {
    match tokio::time::timeout(limit, tries(deps, new, reading, limit)).await {
        Ok(ingested) => ingested,
        Err(_) => {
            tracing::warn!(
                limit_ms = limit.as_millis(),
                "the store did not take a delivery in time; it is to come again"
            );
            Err(Problem::Unavailable(None))
        }
    }
}

async fn tries(
    deps: &Deps,
    new: &NewDelivery,
    reading: &Reading,
    limit: Duration,
) -> Result<Ingested, Problem> {
    for _ in 0..TRIES {
        match once(deps, new, reading, limit).await {
            Ok(Some(ingested)) => return Ok(ingested),
            Ok(None) | Err(Error::Conflict(_)) => tracing::debug!("lost a race; trying again"),
            Err(error) if error.is_unique() => {
                tracing::debug!("lost a race for a row; trying again");
            }
            Err(error) => return Err(error.into()),
        }
    }
    tracing::warn!(
        tries = TRIES,
        "a delivery lost every race and is to come again"
    );
    Err(Problem::Unavailable(None))
}

/// One try; `None` where another transaction was faster.
async fn once(
    deps: &Deps,
    new: &NewDelivery,
    reading: &Reading,
    limit: Duration,
) -> Result<Option<Ingested>, Error> {
    let mut tx = deps.store.begin().await?;
    // The server gives up as well, so that no connection waits on for whoever has gone.
    tx.limit_statements(limit).await?;
    let (id, first) = deliveries::receive(&mut tx, new).await?;
    if first {
        let Some(judged) = judge(&mut tx, new, reading).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let (decision, reason) = match &reading.content {
            Content::Ignored(reason) => (Decision::Ignored, Some(*reason)),
            Content::Handshake(_) => (Decision::Ignored, Some(ReasonCode::Handshake)),
            Content::Pushes(_) if judged.told.iter().any(makes_a_version) => {
                (Decision::Accepted, None)
            }
            Content::Pushes(_) => (Decision::Duplicate, None),
        };
        deliveries::settle(&mut tx, id, decision, reason, &judged.told).await?;
        let received = events::received(id, new, decision, reason, &judged.told);
        let cause = windlass_store::events::append(&mut tx, received).await?;
        let available = judged
            .available
            .iter()
            .map(|version| events::available(version, Some(cause)))
            .collect();
        windlass_store::events::append_all(&mut tx, available).await?;
    }
    let Some(stored) = deliveries::get(&mut tx, id).await? else {
        tx.rollback().await?;
        return Ok(None);
    };
    deps.commit(tx).await?;
    Ok(Some(Ingested {
        stored,
        repeated: !first,
    }))
}

fn makes_a_version(told: &Told) -> bool {
    matches!(told.push.kind, PushKind::New | PushKind::Moved)
}

/// What the pushes of a delivery mean.
struct Judged {
    /// Each push, in the order told.
    told: Vec<Told>,
    /// The versions that are there to be shipped now.
    available: Vec<SeenVersion>,
}

/// Compares each push with what was seen of its tag and makes the versions that are new; `None` where
/// another transaction changed a tag first.
async fn judge(
    tx: &mut Session,
    new: &NewDelivery,
    reading: &Reading,
) -> Result<Option<Judged>, Error> {
    let pushes: &[ParsedPush] = match &reading.content {
        Content::Pushes(pushes) => pushes,
        Content::Ignored(_) | Content::Handshake(_) => &[],
    };
    // Tags are always taken in the same order, so that two deliveries never wait for each other. Two
    // pushes of one tag keep theirs.
    let mut order: Vec<(usize, &ParsedPush)> = pushes.iter().enumerate().collect();
    order.sort_by_key(|(_, push)| (&push.repository, &push.tag));
    let mut told = Vec::with_capacity(order.len());
    let mut available = Vec::new();
    for (place, push) in order {
        match judge_one(tx, new, push, &mut available).await? {
            Some(one) => told.push((place, one)),
            None => return Ok(None),
        }
    }
    told.sort_by_key(|(place, _)| *place);
    Ok(Some(Judged {
        told: told.into_iter().map(|(_, told)| told).collect(),
        available,
    }))
}

async fn judge_one(
    tx: &mut Session,
    new: &NewDelivery,
    push: &ParsedPush,
    available: &mut Vec<SeenVersion>,
) -> Result<Option<Told>, Error> {
    let now = tx.now();
    let digest = push.digest.as_ref();
    let pushed_at = believable(push.pushed_at, now);
    let seen = images::comparable(tx, &push.repository, &push.tag, digest).await?;
    let (kind, version) = match meaning(&seen, digest, pushed_at, now) {
        made @ (Meaning::First | Meaning::Moves(_)) => {
            let (kind, replaces) = match made {
                Meaning::Moves(present) => (PushKind::Moved, Some(present)),
                _ => (PushKind::New, None),
            };
            let version = SeenVersion {
                id: ImageVersionId(Uuid::now_v7()),
                repository: push.repository.clone(),
                tag: push.tag.clone(),
                digest: push.digest.clone(),
                kind,
                actor: push.actor.clone(),
                pushed_at,
                seen_at: now,
                delivery_id: Some(new.id),
                correlation_id: new.correlation_id,
                replaced_at: None,
                resolve_attempts: 0,
                resolve_error: None,
            };
            if !images::insert(tx, &version, replaces).await? {
                return Ok(None);
            }
            let id = version.id;
            if version.digest.is_some() {
                available.push(version);
            }
            (kind, Some(id))
        }
        Meaning::Completes(id) => {
            let Some(digest) = digest else {
                return Ok(None);
            };
            let id = match images::learn(tx, id, digest).await? {
                Learned::Available(version) => {
                    available.push(*version);
                    id
                }
                Learned::NothingNew { present, .. } => present,
                Learned::Gone => return Ok(None),
            };
            (PushKind::Duplicate, Some(id))
        }
        Meaning::Repeats(id) => {
            if digest.is_none() {
                images::hurry(tx, id).await?;
            }
            (PushKind::Duplicate, Some(id))
        }
        // What the tag names now is something else, so its rollouts are not this push's.
        Meaning::Late(_) => (PushKind::Stale, None),
    };
    Ok(Some(Told {
        push: Push {
            registry: push.repository.registry().to_owned(),
            repository: push.repository.path().to_owned(),
            tag: push.tag.clone(),
            digest: push.digest.clone(),
            kind,
            actor: push.actor.clone(),
            pushed_at,
        },
        image_version_id: version,
    }))
}
