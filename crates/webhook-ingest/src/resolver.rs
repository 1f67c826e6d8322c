//! Learning the digests that senders do not tell.

use crate::asking;
use crate::events;
use crate::state::State;
use std::sync::Arc;
use std::time::Duration;
use windlass_core::push::ask_again_after;
use windlass_service::work::{Loop, Next, RunError};
use windlass_store::images::{self, Learned, Question, Wanted};
use windlass_store::{events as log, images::Learned::Gone};
use windlass_types::event::EventType;
use windlass_types::image::Digest;

/// Registries asked at once; each question of a run has its own connection.
const TOGETHER: i64 = 16;
/// What answering and noting takes beyond asking, before another replica may ask the same.
const NOTING: Duration = Duration::from_secs(15);
/// How often is looked for what no wake-up told of.
const INTERVAL: Duration = Duration::from_secs(2);

/// The loop.
pub(crate) fn work(state: Arc<State>) -> Loop {
    Loop::new(
        "webhook_resolver",
        INTERVAL,
        &[EventType::WebhookReceived, EventType::CommandGiven],
        move || run(Arc::clone(&state)),
    )
}

/// Asks what is due, all at once.
pub(crate) async fn run(state: Arc<State>) -> Result<Next, RunError> {
    let store = &state.deps.store;
    // Looked for with a reader first: there seldom is anything, and a writer costs others their turn.
    let mut session = store.read().await?;
    let due = images::next_question(&mut session).await?;
    drop(session);
    if let Some(next) = asking::not_yet(due, store.clock().now()) {
        return Ok(next);
    }
    let mut tx = store.begin().await?;
    let again = tx.now() + Duration::from_secs(state.resolving.timeout_seconds) + NOTING;
    let questions = images::take_questions(&mut tx, TOGETHER, again).await?;
    tx.commit().await?;
    let one = |question: Question| {
        let state = Arc::clone(&state);
        async move { ask(&state, &question).await }
    };
    asking::all(questions.into_iter().map(one)).await
}

async fn ask(state: &State, question: &Question) -> windlass_store::Result<()> {
    let answer = match &state.registry {
        Ok(registry) => registry.digest(&question.repository, &question.tag).await,
        Err(error) => Err(windlass_registry::Error::Setup(error.to_string())),
    };
    let kind = answer.as_ref().map_or_else(|error| error.kind(), |_| "ok");
    state.metrics.questions.with_label_values(&[kind]).inc();
    match answer {
        Ok(digest) => learn(state, question, &digest).await,
        Err(error) => note_failure(state, question, &error).await,
    }
}

/// Notes a digest, and tells of the version that it makes.
async fn learn(state: &State, question: &Question, digest: &Digest) -> windlass_store::Result<()> {
    let mut tx = state.deps.store.begin().await?;
    match question.wanted {
        Wanted::Version(id) => match images::learn(&mut tx, id, digest).await? {
            Learned::Available(version) => {
                log::append(&mut tx, events::available(&version, None)).await?;
            }
            Learned::NothingNew { version, .. } => {
                tracing::info!(
                    image.repository = %version.repository,
                    image.tag = version.tag,
                    image.digest = %digest,
                    "a push without a digest turns out to be what the tag named before"
                );
            }
            Gone => return tx.rollback().await,
        },
        Wanted::Trigger(id) => {
            if !images::learn_for_trigger(&mut tx, id, digest).await? {
                return tx.rollback().await;
            }
            let event = events::available_to_trigger(question, Some(digest), None);
            log::append(&mut tx, event).await?;
        }
    }
    state.deps.commit(tx).await
}

/// Notes a try in vain. After as many as configured, the planner is told once: policies may ship the
/// tag then.
async fn note_failure(
    state: &State,
    question: &Question,
    error: &windlass_registry::Error,
) -> windlass_store::Result<()> {
    let attempts = question.attempts.saturating_add(1);
    let retry_after = error
        .retry_after()
        .and_then(|wait| chrono::TimeDelta::from_std(wait).ok());
    let wait = ask_again_after(attempts, retry_after);
    tracing::warn!(
        image.repository = %question.repository,
        image.tag = question.tag,
        attempts,
        retry_seconds = wait.num_seconds(),
        %error,
        "a registry did not tell a digest"
    );
    let text = error.to_string();
    let mut tx = state.deps.store.begin().await?;
    let again = tx.now() + wait;
    if !images::asked_in_vain(&mut tx, question, &text, again).await? {
        return tx.rollback().await;
    }
    if attempts == i64::from(state.resolving.attempts.max(1)) {
        let event = match question.wanted {
            Wanted::Version(id) => images::by_ids(&mut tx, &[id])
                .await?
                .first()
                .map(|version| events::available(version, None)),
            Wanted::Trigger(_) => Some(events::available_to_trigger(question, None, Some(&text))),
        };
        log::append_all(&mut tx, event.into_iter().collect()).await?;
    }
    state.deps.commit(tx).await
}
