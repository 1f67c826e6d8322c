//! Rollouts by hand.

use super::body::Body;
use super::commands::{PATIENCE, moment};
use super::page::{reason_of, wrong};
use super::policies::refuse;
use super::{preview, rollouts};
use crate::app::App;
use crate::auth::By;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post, web};
use tokio::time::Instant;
use windlass_core::policy_check::{Checked, check_filters, check_rule};
use windlass_service::Problem;
use windlass_store::Session;
use windlass_store::triggers::{self, NewTrigger};
use windlass_types::api::{Trigger, TriggerPlan, TriggerRequest};
use windlass_types::event::EventType;
use windlass_types::ids::{CorrelationId, TriggerId};
use windlass_types::image::ImageReference;
use windlass_types::policy::{OnUnresolved, RolloutRule};

/// A trigger with its rollout.
async fn read(session: &mut Session, id: TriggerId) -> Result<Trigger, Problem> {
    let (mut trigger, rollout) = triggers::get(session, id)
        .await?
        .ok_or_else(|| Problem::NotFound(format!("there is no trigger {id}")))?;
    if let Some(rollout) = rollout {
        trigger.rollout = Some(rollouts::read(session, rollout).await?);
    }
    Ok(trigger)
}

/// What is asked for, checked.
fn checked(request: &TriggerRequest) -> Result<(ImageReference, RolloutRule), Problem> {
    let usual = RolloutRule::default();
    let rule = RolloutRule {
        strategy: request.strategy.unwrap_or(usual.strategy),
        batches: request
            .batches
            .clone()
            .unwrap_or_else(|| usual.batches.clone()),
        batch_delay_seconds: request
            .batch_delay_seconds
            .unwrap_or(usual.batch_delay_seconds),
        health: request
            .health
            .clone()
            .unwrap_or_else(|| usual.health.clone()),
        failure: request
            .failure
            .clone()
            .unwrap_or_else(|| usual.failure.clone()),
        ..usual
    };
    let (by_rule, by_filters) = (check_rule(&rule), check_filters(&request.filters));
    refuse(Checked {
        invalid: [by_rule.invalid, by_filters.invalid].concat(),
        not_offered: [by_rule.not_offered, by_filters.not_offered].concat(),
    })?;
    let image: ImageReference = request
        .image
        .parse()
        .map_err(|error| wrong("image", format!("{error}")))?;
    if image.tag().is_none() && image.digest().is_none() {
        return Err(wrong(
            "image",
            "say which version: repository:tag, repository@sha256:… or both",
        ));
    }
    Ok((image, rule))
}

/// Asks for a rollout by hand, to the devices whose target runs the repository; with `dry_run` only
/// says what would be done.
#[utoipa::path(tag = "images", request_body = TriggerRequest, responses(
    (status = 200, description = "A dry run: the plan; nothing was changed", body = TriggerPlan),
    (status = 201, description = "Decided: the trigger with its rollout, or with the reason why there is none", body = Trigger, headers(("location" = String))),
    (status = 202, description = "Stored; it was not decided within three seconds", body = Trigger, headers(("location" = String))),
    (status = 422, description = "A field asks for what this version does not offer"),
))]
#[post("/api/v1/images/trigger-update")]
pub(super) async fn create(
    By(operator, Body(request)): By<Body<TriggerRequest>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let reason = reason_of(&request.reason)?;
    let (image, rule) = checked(&request)?;
    if request.dry_run {
        let mut session = app.deps.store.read().await?;
        let plan: TriggerPlan = preview::plan(&mut session, &image, &rule, request.filters).await?;
        return Ok(HttpResponse::Ok().json(plan));
    }
    let trigger = NewTrigger {
        id: TriggerId(uuid::Uuid::now_v7()),
        correlation: CorrelationId(uuid::Uuid::now_v7()),
        image,
        rule,
        filters: request.filters,
        on_unresolved: request.on_unresolved.unwrap_or(OnUnresolved::Wait),
        actor: operator.actor(),
        reason,
    };
    let mut bell = app.deps.bus.subscribe();
    let mut session = app.deps.store.begin().await?;
    triggers::create(&mut session, &trigger).await?;
    app.deps.commit(session).await?;

    const SETTLES: &[EventType] = &[EventType::RolloutCreated, EventType::UpdateIgnored];
    let deadline = Instant::now() + PATIENCE;
    let mut found = None;
    while moment(&mut bell, SETTLES, deadline).await {
        let mut session = app.deps.store.read().await?;
        let now = read(&mut session, trigger.id).await?;
        let settled = now.settled_at.is_some();
        found = Some(now);
        if settled {
            break;
        }
    }
    let found = match found {
        Some(found) => found,
        None => read(&mut app.deps.store.read().await?, trigger.id).await?,
    };
    let (mut response, location) = match &found.rollout {
        _ if found.settled_at.is_none() => (
            HttpResponse::Accepted(),
            format!("/api/v1/images/triggers/{}", found.id),
        ),
        Some(view) => (
            HttpResponse::Created(),
            format!("/api/v1/rollouts/{}", view.rollout.id),
        ),
        None => (
            HttpResponse::Created(),
            format!("/api/v1/images/triggers/{}", found.id),
        ),
    };
    Ok(response.insert_header((LOCATION, location)).json(found))
}

/// A trigger and what became of it.
#[utoipa::path(tag = "images", params(("id" = uuid::Uuid, Path, description = "The trigger")), responses(
    (status = 200, description = "The trigger", body = Trigger),
    (status = 404, description = "There is no such trigger"),
))]
#[get("/api/v1/images/triggers/{id}")]
pub(super) async fn get(
    By(_operator, id): By<web::Path<TriggerId>>,
    app: web::Data<App>,
) -> Result<web::Json<Trigger>, Problem> {
    let mut session = app.deps.store.read().await?;
    Ok(web::Json(read(&mut session, *id).await?))
}
