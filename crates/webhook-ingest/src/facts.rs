//! Asking registries what images run on, when they were built, and who signed them.

use crate::asking;
use crate::events::ACTOR;
use crate::state::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use windlass_core::push::ask_again_after;
use windlass_registry::Error;
use windlass_service::work::{Loop, Next, RunError};
use windlass_store::events as log;
use windlass_store::image_facts::{self, About, Ask};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::image::ImageReference;
use windlass_types::oci::ImageFacts;
use windlass_types::signature::Signatures;

/// Questions of each kind asked at once.
const TOGETHER: i64 = 8;
/// How long a question may take, with all the manifests and layers it leads to, before another replica
/// may ask the same: that does no harm, the first to note an answer wins.
const ASKING: TimeDelta = TimeDelta::minutes(2);
/// How often is looked for what no wake-up told of.
const INTERVAL: Duration = Duration::from_secs(2);
/// Facts are asked for so often in vain at most: nothing waits for them any more then.
const MOST: i64 = 12;

/// The loop.
pub(crate) fn work(state: Arc<State>) -> Loop {
    Loop::new(
        "registry_facts",
        INTERVAL,
        &[EventType::UpdateWaits, EventType::RolloutCreated],
        move || run(Arc::clone(&state)),
    )
}

/// Asks what is due, all at once.
pub(crate) async fn run(state: Arc<State>) -> Result<Next, RunError> {
    let store = &state.deps.store;
    // Looked for with a reader first: there seldom is anything, and a writer costs others their turn.
    let mut session = store.read().await?;
    let due = image_facts::next_ask(&mut session).await?;
    drop(session);
    if let Some(next) = asking::not_yet(due, store.clock().now()) {
        return Ok(next);
    }
    let mut tx = store.begin().await?;
    let again = tx.now() + ASKING;
    let asks = image_facts::take(&mut tx, TOGETHER, again).await?;
    tx.commit().await?;
    let one = |one: Ask| {
        let state = Arc::clone(&state);
        async move { ask(&state, &one).await }
    };
    asking::all(asks.into_iter().map(one)).await
}

/// What a registry told.
enum Told {
    Facts(ImageFacts),
    Signatures(Signatures),
}

async fn ask(state: &State, one: &Ask) -> windlass_store::Result<()> {
    let answer = match (&state.registry, one.about) {
        (Ok(registry), About::Facts) => registry
            .facts(&one.repository, &one.digest)
            .await
            .map(Told::Facts),
        (Ok(registry), About::Signatures) => registry
            .signatures(&one.repository, &one.digest)
            .await
            .map(Told::Signatures),
        (Err(error), _) => Err(Error::Setup(error.to_string())),
    };
    let kind = answer.as_ref().map_or_else(|error| error.kind(), |_| "ok");
    state.metrics.questions.with_label_values(&[kind]).inc();
    let mut tx = state.deps.store.begin().await?;
    let now = tx.now();
    let (changed, data) = match &answer {
        Ok(Told::Facts(facts)) => {
            let data = json!({
                "platforms": facts.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "built_at": facts.created,
                "artifact": facts.artifact,
            });
            (image_facts::learn(&mut tx, one, facts).await?, data)
        }
        Ok(Told::Signatures(found)) => {
            let again = next_look(one, now);
            let data = json!({
                "signatures": found.found.len(),
                "unreadable": found.unreadable,
            });
            let changed = image_facts::learn_signatures(&mut tx, one, found, again).await?;
            (changed, data)
        }
        Err(error) => {
            let again = next_try(one, now, error);
            tracing::warn!(
                image.repository = %one.repository,
                image.digest = %one.digest,
                attempts = one.attempts + 1,
                %error,
                "a registry did not tell of an image"
            );
            let text = error.to_string();
            let changed = image_facts::in_vain(&mut tx, one, &text, again).await?;
            (changed, json!({"error": text}))
        }
    };
    if !changed {
        return tx.rollback().await;
    }
    let event = NewEvent::new(EventType::FactsLearned, ACTOR)
        .subject(&ImageReference::of(
            &one.repository,
            None,
            Some(&one.digest),
        ))
        .correlation(Some(one.correlation_id))
        .data(data);
    log::append(&mut tx, event).await?;
    state.deps.commit(tx).await
}

/// When signatures are looked for again: they come after pushes. A last time at the end, then no more.
fn next_look(one: &Ask, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let until = one.until?;
    let soon = now + ask_again_after(one.attempts.saturating_add(1), None);
    (now < until).then(|| soon.min(until))
}

/// When a registry is asked again that did not tell. For signatures without end: what a policy wants
/// signed never ships because its registry is away.
fn next_try(one: &Ask, now: DateTime<Utc>, error: &Error) -> Option<DateTime<Utc>> {
    let attempts = one.attempts.saturating_add(1);
    let retry_after = error
        .retry_after()
        .and_then(|wait| TimeDelta::from_std(wait).ok());
    let again = now + ask_again_after(attempts, retry_after);
    match one.about {
        About::Facts => (attempts < MOST).then_some(again),
        About::Signatures => Some(again),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_types::ids::CorrelationId;

    fn asked(about: About, attempts: i64, until: Option<DateTime<Utc>>) -> Ask {
        Ask {
            about,
            repository: "r.io/app".parse().unwrap(),
            digest: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            attempts,
            taken_at: DateTime::UNIX_EPOCH,
            until,
            correlation_id: CorrelationId(uuid::Uuid::nil()),
        }
    }

    #[test]
    fn signatures_are_looked_for_less_and_less_often_and_once_more_at_the_end() {
        let start = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let until = Some(start + TimeDelta::hours(1));
        let (mut now, mut looks) = (start, Vec::new());
        for attempts in 0.. {
            let Some(next) = next_look(&asked(About::Signatures, attempts, until), now) else {
                break;
            };
            now = next;
            looks.push((now - start).num_seconds());
        }
        assert_eq!(
            looks,
            [2, 6, 14, 30, 62, 126, 254, 510, 1022, 1922, 2822, 3600]
        );
        assert_eq!(next_look(&asked(About::Signatures, 0, None), start), None);
    }

    #[test]
    fn a_registry_that_is_away_is_asked_for_signatures_without_end_and_for_facts_a_while() {
        let now = DateTime::UNIX_EPOCH;
        let gone = Error::NotFound {
            image: "r.io/app".to_owned(),
        };
        let tries = |about| {
            (0..1000)
                .filter(|n| next_try(&asked(about, *n, Some(now)), now, &gone).is_some())
                .count()
        };
        assert_eq!((tries(About::Facts), tries(About::Signatures)), (11, 1000));
    }
}
