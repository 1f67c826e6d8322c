//! What is known of rollouts.

use crate::db::{Session, placeholders};
use crate::error::Result;
use crate::views::rollouts::{rollout, rollouts_by_id};
use crate::{rollbacks, rollouts};
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{RolloutStatus, RolloutView};
use windlass_types::why::facts::{GoingBack, RolloutStory, Turn};

/// As in the index `events_turns`, word for word, or SQLite does not see that it fits.
const TURNS: &str = "type IN ('image.rollout_batch_completed', 'image.rollout_paused', \
                     'image.rollout_cancelled', 'image.rollout_superseded', 'image.rollback_started')";

/// Turns read at most: those of all rollouts asked about together.
const MOST_TURNS: i64 = 1000;

/// What is known of one rollout.
///
/// # Errors
/// Whatever the database says.
pub async fn rollout_story(session: &mut Session, id: RolloutId) -> Result<Option<RolloutStory>> {
    let Some(view) = rollout(session, id).await? else {
        return Ok(None);
    };
    Ok(tell(session, vec![view]).await?.pop())
}

/// What is known of these rollouts, by id; those that do not exist are missing.
///
/// # Errors
/// Whatever the database says.
pub async fn rollout_stories(
    session: &mut Session,
    ids: &[RolloutId],
) -> Result<BTreeMap<RolloutId, RolloutStory>> {
    let views = rollouts_by_id(session, ids).await?;
    let stories = tell(session, views).await?;
    Ok(stories
        .into_iter()
        .map(|story| (story.view.rollout.id, story))
        .collect())
}

#[derive(sqlx::FromRow)]
struct Row {
    rollout_id: Uuid,
    kind: String,
    occurred_at: DateTime<Utc>,
    actor: String,
    data: Json<Value>,
}

async fn tell(session: &mut Session, views: Vec<RolloutView>) -> Result<Vec<RolloutStory>> {
    if views.is_empty() {
        return Ok(Vec::new());
    }
    let mut statement = session.built(format!(
        "SELECT rollout_id, type AS kind, occurred_at, actor, data FROM events \
         WHERE rollout_id IN {} AND {TURNS} ORDER BY tx DESC, seq DESC LIMIT {MOST_TURNS}",
        placeholders(session.kind(), 1, 1, views.len())
    ));
    for view in &views {
        statement = statement.bind(view.rollout.id.0);
    }
    let turns: Vec<Row> = statement.all().await?;
    let mut stories = Vec::with_capacity(views.len());
    for view in views {
        let facts = if view.rollout.status.is_final() {
            None
        } else {
            rollouts::facts(session, view.rollout.id).await?
        };
        let queue = rollbacks::queue(session, view.rollout.id).await?;
        let full = match &facts {
            Some(facts) => rollouts::full(session, &facts.rollout, facts.waiting.batch).await?,
            None => Vec::new(),
        };
        let last = |kind: &str| {
            turns
                .iter()
                .find(|row| row.rollout_id == view.rollout.id.0 && row.kind == kind)
        };
        let turn = match view.rollout.status {
            RolloutStatus::Paused => last("image.rollout_paused"),
            RolloutStatus::Cancelled => last("image.rollout_cancelled"),
            RolloutStatus::Superseded => last("image.rollout_superseded"),
            RolloutStatus::RollingBack | RolloutStatus::RolledBack => {
                last("image.rollback_started")
            }
            RolloutStatus::Pending
            | RolloutStatus::AwaitingApproval
            | RolloutStatus::Scheduled
            | RolloutStatus::InProgress
            | RolloutStatus::Completed
            | RolloutStatus::Failed => None,
        };
        let text = |row: &Row, field: &str| {
            let value = row.data.0.get(field).and_then(Value::as_str);
            value.map(str::to_owned)
        };
        stories.push(RolloutStory {
            turn: turn.map(|row| Turn {
                at: row.occurred_at,
                actor: row.actor.clone(),
                detail: text(row, "detail"),
            }),
            superseded_by: last("image.rollout_superseded").and_then(|row| text(row, "image")),
            batch_completed_at: last("image.rollout_batch_completed").map(|row| row.occurred_at),
            back: GoingBack {
                on_their_way: queue.on_the_way,
                waiting: queue.waiting,
            },
            full,
            facts,
            view,
        });
    }
    Ok(stories)
}
