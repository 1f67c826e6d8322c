//! Making a delivery durable: the delivery, what was read in it, the image versions it makes and their
//! events, in one transaction.

use crate::events;
use crate::senders::{Content, Malformed, Reading};
use chrono::{DateTime, Utc};
use std::time::Duration;
use uuid::Uuid;
use windlass_core::push::{Meaning, as_timed, believable, meaning};
use windlass_service::{Deps, Problem};
use windlass_store::deliveries::{self, NewDelivery, Stored, Told};
use windlass_store::images::{self, Learned};
use windlass_store::{Error, Session, inbox, registry_watch};
use windlass_types::delivery::{Decision, ParsedPush, Push, PushKind, ReasonCode, SeenVersion};
use windlass_types::ids::{CorrelationId, DeliveryId, ImageVersionId};

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
    reading: Result<&Reading, &Malformed>,
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
    reading: Result<&Reading, &Malformed>,
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
    reading: Result<&Reading, &Malformed>,
    limit: Duration,
) -> Result<Option<Ingested>, Error> {
    let mut tx = deps.store.begin().await?;
    // The server gives up as well, so that no connection waits on for whoever has gone.
    tx.limit_statements(limit).await?;
    let (id, first) = deliveries::receive(&mut tx, new).await?;
    // What could not be read the first time may be readable to a later program.
    let kept = if first {
        None
    } else {
        inbox::take(&mut tx, id).await?.filter(|kept| kept.rejected)
    };
    if first || kept.is_some() {
        let origin = Origin {
            id,
            correlation_id: kept.map_or(new.correlation_id, |kept| kept.correlation_id),
            told_again: None,
        };
        let Some(done) = settle(&mut tx, &origin, reading).await? else {
            tx.rollback().await?;
            return Ok(None);
        };
        let received = events::received(&origin, new, &done);
        announce(&mut tx, received, &done.available).await?;
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

/// The delivery that pushes are from.
pub(crate) struct Origin {
    pub(crate) id: DeliveryId,
    pub(crate) correlation_id: CorrelationId,
    /// When it was received, where it is read again only now.
    pub(crate) told_again: Option<DateTime<Utc>>,
}

/// What became of a delivery.
pub(crate) struct Done {
    pub(crate) decision: Decision,
    pub(crate) reason: Option<ReasonCode>,
    /// Each push, in the order told.
    pub(crate) told: Vec<Told>,
    /// The versions that are there to be shipped now.
    pub(crate) available: Vec<SeenVersion>,
}

impl Done {
    fn without_pushes(decision: Decision, reason: ReasonCode) -> Self {
        Self {
            decision,
            reason: Some(reason),
            told: Vec::new(),
            available: Vec::new(),
        }
    }

    /// Pushes that made a version.
    pub(crate) fn new_versions(&self) -> usize {
        self.told
            .iter()
            .filter(|told| makes_a_version(told))
            .count()
    }
}

/// Makes the versions that are new and notes what became of the delivery; `None` where another
/// transaction changed a tag first.
async fn settle(
    tx: &mut Session,
    origin: &Origin,
    reading: Result<&Reading, &Malformed>,
) -> Result<Option<Done>, Error> {
    let done = match reading {
        Err(malformed) => {
            deliveries::reject(tx, origin.id, &malformed.0).await?;
            return Ok(Some(Done::without_pushes(
                Decision::Rejected,
                ReasonCode::Malformed,
            )));
        }
        Ok(reading) => match &reading.content {
            Content::Ignored(reason) => Done::without_pushes(Decision::Ignored, *reason),
            Content::Handshake(_) => Done::without_pushes(Decision::Ignored, ReasonCode::Handshake),
            Content::Pushes(pushes) => match judge(tx, origin, pushes, &[]).await? {
                Some(done) => done,
                None => return Ok(None),
            },
        },
    };
    deliveries::settle(tx, origin.id, done.decision, done.reason, &done.told).await?;
    Ok(Some(done))
}

/// Tells of a delivery and of the versions that it makes.
pub(crate) async fn announce(
    tx: &mut Session,
    received: windlass_types::event::NewEvent,
    available: &[SeenVersion],
) -> Result<(), Error> {
    let cause = windlass_store::events::append(tx, received).await?;
    let available = available
        .iter()
        .map(|version| events::available(version, Some(cause)))
        .collect();
    windlass_store::events::append_all(tx, available).await?;
    Ok(())
}

pub(crate) fn makes_a_version(told: &Told) -> bool {
    matches!(told.push.kind, PushKind::New | PushKind::Moved)
}

/// Compares each push with what was seen of its tag and makes the versions that are new; `None` where
/// another transaction changed a tag first. What the delivery told before stays as it is.
pub(crate) async fn judge(
    tx: &mut Session,
    origin: &Origin,
    pushes: &[ParsedPush],
    before: &[Told],
) -> Result<Option<Done>, Error> {
    // Tags are always taken in the same order, so that two deliveries never wait for each other. Two
    // pushes of one tag keep theirs.
    let mut order: Vec<(usize, &ParsedPush)> = pushes.iter().enumerate().collect();
    order.sort_by_key(|(_, push)| (&push.repository, &push.tag));
    let mut told = Vec::with_capacity(order.len());
    let mut available = Vec::new();
    for (place, push) in order {
        if let Some(same) = before.iter().find(|told| is_same(told, push)) {
            told.push((place, same.clone()));
            continue;
        }
        match judge_one(tx, origin, push, &mut available).await? {
            Some(one) => told.push((place, one)),
            None => return Ok(None),
        }
    }
    told.sort_by_key(|(place, _)| *place);
    let told: Vec<Told> = told.into_iter().map(|(_, told)| told).collect();
    let decision = if told.iter().any(makes_a_version) {
        Decision::Accepted
    } else {
        Decision::Duplicate
    };
    Ok(Some(Done {
        decision,
        reason: None,
        told,
        available,
    }))
}

/// Whether a push is one that was told before.
fn is_same(told: &Told, push: &ParsedPush) -> bool {
    told.push.registry == push.repository.registry()
        && told.push.repository == push.repository.path()
        && told.push.tag == push.tag
        && (push.digest.is_none() || told.push.digest == push.digest)
}

async fn judge_one(
    tx: &mut Session,
    origin: &Origin,
    push: &ParsedPush,
    available: &mut Vec<SeenVersion>,
) -> Result<Option<Told>, Error> {
    let now = tx.now();
    let digest = push.digest.as_ref();
    let pushed_at = believable(push.pushed_at, now);
    let mut seen = images::comparable(tx, &push.repository, &push.tag, digest).await?;
    let mut at = pushed_at;
    if let Some(received_at) = origin.told_again {
        seen = as_timed(seen);
        at = at.or(Some(received_at));
    }
    let (kind, version) = match meaning(&seen, digest, at, now) {
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
                delivery_id: Some(origin.id),
                correlation_id: origin.correlation_id,
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
            // Where looking had found it first, its webhook has come after all.
            registry_watch::told(tx, id).await?;
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
