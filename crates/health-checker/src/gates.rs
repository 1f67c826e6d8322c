//! Checks of a batch as a whole: made when the next batch is due, tried, decided.

use crate::NAME;
use crate::ask::{Answer, Question, Said, ask};
use crate::device_checks::cut;
use futures_util::StreamExt as _;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use url::Url;
use windlass_core::checks::{
    Allowed, Try, advance, compare, custom_answer, escaped_for_query, fill, name_of, number_of,
    try_seconds,
};
use windlass_service::Deps;
use windlass_service::work::Next;
use windlass_store::checks::{self, DueGate, GateTried};
use windlass_store::{Result, events, rollouts};
use windlass_types::event::{EventType, NewEvent};
use windlass_types::ids::RolloutId;
use windlass_types::image::ImageReference;
use windlass_types::policy::{Check, CheckKind};
use windlass_types::rollout::{BatchProgress, CheckStatus, Rollout, RolloutStatus};

/// Makes the gate checks of batches whose next one is due, and tries those that are due.
///
/// # Errors
/// Whatever the store says; what was taken then is tried again after a while.
pub async fn gates(deps: &Deps, allowed: &Allowed, at_once: usize) -> Result<Next> {
    let mut read = deps.store.read().await?;
    let mut to_make = Vec::new();
    for id in checks::without_gates(&mut read).await? {
        let rollout = or_aside(id, rollouts::get(&mut read, id).await).flatten();
        if rollout.is_some_and(|r| !r.rule.gate_checks(r.current_batch).is_empty()) {
            to_make.push(id);
        }
    }
    drop(read);
    for id in to_make {
        or_aside(id, make(deps, id).await);
    }
    let mut read = deps.store.read().await?;
    if !checks::any_gate_due(&mut read).await? {
        return Ok(Next::Idle);
    }
    drop(read);
    let limit = i64::try_from(at_once).unwrap_or(i64::MAX);
    let mut tx = deps.store.begin().await?;
    let claimed = checks::claim_gates(&mut tx, limit).await?;
    deps.commit(tx).await?;
    // After the commit: one that cannot be read must not keep the others from being tried.
    let mut read = deps.store.read().await?;
    let mut due = Vec::new();
    for gate in claimed {
        let rollout = rollouts::get(&mut read, gate.rollout).await;
        if let Some(rollout) = or_aside(gate.rollout, rollout).flatten() {
            let progress = rollouts::progress(&mut read, gate.rollout).await;
            due.extend(or_aside(gate.rollout, progress).map(|known| (gate, rollout, known)));
        }
    }
    drop(read);
    let mut tries = stream::iter(due)
        .map(|(gate, rollout, progress)| async move {
            let checks = rollout.rule.gate_checks(gate.batch);
            let at = usize::try_from(gate.position).unwrap_or(usize::MAX);
            let check = checks.get(at).cloned();
            let said = match &check {
                Some(check) => run(allowed, &gate, &rollout, &progress, check).await,
                None => (Try::Impossible, "the rollout has no such check".to_owned()),
            };
            (gate, rollout, check, said)
        })
        .buffer_unordered(at_once);
    while let Some((gate, rollout, check, said)) = tries.next().await {
        let check = check.unwrap_or_else(|| Check::new(CheckKind::Custom));
        or_aside(rollout.id, write(deps, &gate, &rollout, &check, said).await);
    }
    Ok(Next::Idle)
}

/// What came of one rollout; where that is an error, the others go on without it.
fn or_aside<T>(rollout: RolloutId, result: Result<T>) -> Option<T> {
    result
        .inspect_err(|error| {
            tracing::warn!(
                rollout.id = %rollout,
                error = error as &dyn std::error::Error,
                "the checks of a rollout are put aside for now"
            );
        })
        .ok()
}

/// Makes the gate checks of a rollout's present batch, if it still waits for them. Their time begins
/// with that: not when the batch ended, for the delay after a batch is there to show what comes late.
async fn make(deps: &Deps, id: RolloutId) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let now = tx.now();
    let Some(rollout) = rollouts::lock(&mut tx, id).await? else {
        return Ok(());
    };
    let waits = rollout.status == RolloutStatus::InProgress
        && rollout.next_batch_at.is_some_and(|at| at <= now);
    if waits {
        let batch = rollout.current_batch;
        let gates: Vec<_> = rollout
            .rule
            .gate_checks(batch)
            .iter()
            .enumerate()
            .map(|(at, check)| {
                let time = chrono::TimeDelta::seconds(i64::from(check.timeout_seconds));
                (
                    i64::try_from(at).unwrap_or(i64::MAX),
                    name_of(check, at),
                    now + time,
                )
            })
            .collect();
        checks::make_gates(&mut tx, id, batch, &gates).await?;
    }
    deps.commit(tx).await
}

/// Writes down what came of a try, and tells of a decision.
async fn write(
    deps: &Deps,
    gate: &DueGate,
    rollout: &Rollout,
    check: &Check,
    (outcome, said): Said,
) -> Result<()> {
    let mut tx = deps.store.begin().await?;
    let progress = advance(
        gate.failed_in_row,
        outcome,
        check,
        gate.deadline_at,
        tx.now(),
    );
    let name = name_of(check, usize::try_from(gate.position).unwrap_or_default());
    let evidence = json!({
        "summary": cut(&said),
        "type": check.kind,
        "tries": gate.tries,
        "failed_in_row": progress.failed_in_row,
        "checked_at": tx.now(),
    });
    let tried = GateTried {
        status: progress.status,
        failed_in_row: progress.failed_in_row,
        evidence,
        next_at: progress.next_at,
    };
    if checks::decide_gate(&mut tx, gate, &tried).await? && tried.status != CheckStatus::Pending {
        let image = image_of(rollout);
        let event = NewEvent::new(EventType::RolloutCheckDecided, NAME)
            .rollout(rollout.id, rollout.correlation_id)
            .subject(&image)
            .data(json!({
                "image": image,
                "batch": gate.batch,
                "position": gate.position,
                "name": name,
                "status": tried.status,
                "evidence": tried.evidence,
            }));
        events::append_all(&mut tx, vec![event]).await?;
    }
    deps.commit(tx).await
}

fn image_of(rollout: &Rollout) -> ImageReference {
    ImageReference::of(
        &rollout.repository,
        rollout.tag.as_deref(),
        rollout.digest.as_ref(),
    )
}

/// One try.
async fn run(
    allowed: &Allowed,
    gate: &DueGate,
    rollout: &Rollout,
    progress: &[BatchProgress],
    check: &Check,
) -> Said {
    let limit = Duration::from_secs(try_seconds(check).into());
    match check.kind {
        CheckKind::Custom => {
            let question = Question {
                method: Method::POST,
                url: check.url.as_deref().unwrap_or_default(),
                json: Some(facts(gate, rollout, progress, check)),
                read_body: true,
            };
            match ask(allowed, question, limit).await {
                Ok(answer) => custom(&answer),
                Err(said) => said,
            }
        }
        CheckKind::Prometheus => prometheus(allowed, gate, rollout, check, limit).await,
        CheckKind::Http | CheckKind::Tcp | CheckKind::ContainerRunning => (
            Try::Impossible,
            format!("a check of the type {} is not about a batch", check.kind),
        ),
    }
}

fn custom(answer: &Answer) -> Said {
    if !(200..300).contains(&answer.status) {
        return (Try::Failed, format!("it answers {}", answer.status));
    }
    if answer.cut {
        return (Try::Failed, "it answers more than 64 KiB".to_owned());
    }
    custom_answer(&answer.body)
}

/// What a custom gate is told. docs/adr/0012-checks-and-verdicts.md has an example.
fn facts(gate: &DueGate, rollout: &Rollout, progress: &[BatchProgress], check: &Check) -> Value {
    let mut total = BatchProgress::default();
    for batch in progress {
        total.completed += batch.completed;
        total.attempted += batch.attempted;
        total.attempted_failed += batch.attempted_failed;
        total.environment_failed += batch.environment_failed;
        total.unreachable += batch.unreachable;
        total.went_silent += batch.went_silent;
        total.inconclusive += batch.inconclusive;
        total.skipped += batch.skipped;
    }
    json!({
        "check": name_of(check, usize::try_from(gate.position).unwrap_or_default()),
        "try": gate.tries,
        "deadline_at": gate.deadline_at,
        "rollout": rollout.id,
        "policy": rollout.policy_id,
        "strategy": rollout.strategy,
        "image": image_of(rollout),
        "repository": rollout.repository,
        "tag": rollout.tag,
        "digest": rollout.digest,
        "batch": gate.batch,
        "batches": rollout.batch_count,
        "created_at": rollout.created_at,
        "started_at": rollout.started_at,
        "next_batch_at": rollout.next_batch_at,
        "devices": {
            "total": rollout.total_devices,
            "completed": total.completed,
            "attempted": total.attempted,
            "failed": total.attempted_failed,
            "environment_failed": total.environment_failed,
            "unreachable": total.unreachable,
            "went_silent": total.went_silent,
            "inconclusive": total.inconclusive,
            "skipped": total.skipped,
        },
        "batch_devices": progress.iter().find(|batch| batch.batch == gate.batch),
    })
}

async fn prometheus(
    allowed: &Allowed,
    gate: &DueGate,
    rollout: &Rollout,
    check: &Check,
    limit: Duration,
) -> Said {
    let Some(condition) = &check.condition else {
        return (Try::Impossible, "it has no condition".to_owned());
    };
    let image = image_of(rollout).to_string();
    let digest = rollout.digest.as_ref().map(ToString::to_string);
    let (id, batch) = (rollout.id.to_string(), gate.batch.to_string());
    let values = [
        ("image", image.as_str()),
        ("tag", rollout.tag.as_deref().unwrap_or_default()),
        ("digest", digest.as_deref().unwrap_or_default()),
        ("rollout", id.as_str()),
        ("batch", batch.as_str()),
    ];
    let number = async |query: &str| {
        let query = fill(query, &values, escaped_for_query);
        let base = check.url.as_deref().unwrap_or_default();
        let mut url = Url::parse(base)
            .map_err(|error| (Try::Impossible, format!("{base:?} is no URL: {error}")))?;
        let path = format!("{}/api/v1/query", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut().append_pair("query", &query);
        let question = Question {
            method: Method::GET,
            url: url.as_str(),
            json: None,
            read_body: true,
        };
        // That Prometheus cannot say is no word against the image.
        let no_data = |(outcome, said)| match outcome {
            Try::Failed => (Try::Undecided, said),
            other => (other, said),
        };
        let answer = ask(allowed, question, limit).await.map_err(no_data)?;
        number_of(&answer.body).map_err(|why| {
            let status = answer.status;
            (Try::Undecided, format!("{why} (it answers {status})"))
        })
    };
    let found = async {
        let first = number(check.query.as_deref().unwrap_or_default()).await?;
        let baseline = match check.baseline_query.as_deref() {
            Some(query) => Some(number(query).await?),
            None => None,
        };
        Ok::<Said, Said>(compare(first, baseline, condition))
    };
    match found.await {
        Ok(said) | Err(said) => said,
    }
}
