//! Rollouts by hand.

use super::body::Body;
use super::commands::{PATIENCE, moment};
use super::page::{reason_of, wrong};
use super::policies::refuse;
use super::{plans as kept, rollouts};
use crate::app::App;
use crate::auth::By;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post, web};
use tokio::time::Instant;
use windlass_bus::Doorbell;
use windlass_core::policy_check::{Checked, check_filters, check_rule};
use windlass_service::Problem;
use windlass_store::triggers::{self, NewTrigger};
use windlass_store::{Session, plans};
use windlass_types::api::{Trigger, TriggerPlan, TriggerRequest};
use windlass_types::event::EventType;
use windlass_types::ids::{CorrelationId, TriggerId};
use windlass_types::image::ImageReference;
use windlass_types::policy::{Filters, OnUnresolved, RolloutRule};
use windlass_types::problem::FieldError;

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
pub(super) struct Asked {
    pub(super) image: ImageReference,
    pub(super) rule: RolloutRule,
    pub(super) filters: Filters,
    pub(super) priority: i32,
}

/// The whole rule that is given, or one of the single fields.
fn rule_of(request: &TriggerRequest) -> Result<RolloutRule, Problem> {
    let Some(rule) = &request.rule else {
        let usual = RolloutRule::default();
        return Ok(RolloutRule {
            strategy: request.strategy.unwrap_or(usual.strategy),
            batches: request.batches.clone().unwrap_or(usual.batches),
            batch_delay_seconds: request
                .batch_delay_seconds
                .unwrap_or(usual.batch_delay_seconds),
            health: request.health.clone().unwrap_or(usual.health),
            failure: request.failure.clone().unwrap_or(usual.failure),
            allow_downgrade: request.allow_downgrade.unwrap_or(usual.allow_downgrade),
            ..RolloutRule::default()
        });
    };
    let twice: Vec<FieldError> = [
        ("strategy", request.strategy.is_some()),
        ("batches", request.batches.is_some()),
        ("batch_delay_seconds", request.batch_delay_seconds.is_some()),
        ("health", request.health.is_some()),
        ("failure", request.failure.is_some()),
        ("allow_downgrade", request.allow_downgrade.is_some()),
    ]
    .into_iter()
    .filter(|(_, given)| *given)
    .map(|(name, _)| {
        FieldError::new(
            name,
            format!("is given beside rule, which says everything; write rule.{name} instead"),
        )
    })
    .collect();
    if twice.is_empty() {
        Ok(rule.clone())
    } else {
        Err(Problem::Invalid(twice))
    }
}

/// What is asked for, checked.
pub(super) fn checked(request: &TriggerRequest) -> Result<Asked, Problem> {
    let rule = rule_of(request)?;
    let (by_rule, by_filters) = (check_rule(&rule), check_filters(&request.filters));
    let within = |errors: Vec<FieldError>| match request.rule {
        None => errors,
        Some(_) => errors
            .into_iter()
            .map(|error| FieldError::new(format!("rule.{}", error.field), error.message))
            .collect(),
    };
    refuse(Checked {
        invalid: [within(by_rule.invalid), by_filters.invalid].concat(),
        not_offered: [within(by_rule.not_offered), by_filters.not_offered].concat(),
    })?;
    let image = image_of(&request.image)?;
    if image.tag().is_none() && image.digest().is_none() {
        return Err(wrong(
            "image",
            "say which version: repository:tag, repository@sha256:… or both",
        ));
    }
    Ok(Asked {
        image,
        rule,
        filters: request.filters.clone(),
        priority: request.priority.unwrap_or(i32::MAX),
    })
}

/// An image from a body's field `image`.
pub(super) fn image_of(text: &str) -> Result<ImageReference, Problem> {
    text.parse()
        .map_err(|error| wrong("image", format!("{error}")))
}

/// The same image with the digest that its tag named last, as far as that is known.
pub(super) async fn pinned(
    session: &mut Session,
    image: ImageReference,
) -> Result<ImageReference, Problem> {
    let (None, Some(tag)) = (image.digest(), image.tag()) else {
        return Ok(image);
    };
    let known = plans::last_known_digest(session, image.repository(), tag).await?;
    Ok(match known {
        Some(digest) => ImageReference::of(image.repository(), Some(tag), Some(&digest)),
        None => image,
    })
}

/// Asks for a rollout by hand, to the devices whose target runs the repository; with `dry_run` only
/// says what would be done.
#[utoipa::path(tag = "images", request_body = TriggerRequest, responses(
    (status = 200, description = "A dry run: the plan, which is kept for a time; nothing else was changed", body = TriggerPlan),
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
    let asked = checked(&request)?;
    if request.dry_run {
        let plan: TriggerPlan = kept::make(&app, &operator, request, asked).await?;
        return Ok(HttpResponse::Ok().json(plan));
    }
    let trigger = NewTrigger {
        id: TriggerId(uuid::Uuid::now_v7()),
        correlation: CorrelationId(uuid::Uuid::now_v7()),
        image: asked.image,
        rule: asked.rule,
        filters: asked.filters,
        on_unresolved: request.on_unresolved.unwrap_or(OnUnresolved::Wait),
        priority: asked.priority,
        plan: None,
        allow_unsigned: request.allow_unsigned,
        actor: operator.actor(),
        reason,
    };
    let mut bell = app.deps.bus.subscribe();
    let mut session = app.deps.store.begin().await?;
    triggers::create(&mut session, &trigger).await?;
    app.deps.commit(session).await?;
    Ok(answer(settled(&app, &mut bell, trigger.id).await?))
}

/// What became of a trigger, once that is decided or a moment has passed.
pub(super) async fn settled(
    app: &App,
    bell: &mut Doorbell,
    id: TriggerId,
) -> Result<Trigger, Problem> {
    const SETTLES: &[EventType] = &[EventType::RolloutCreated, EventType::UpdateIgnored];
    let deadline = Instant::now() + PATIENCE;
    let mut found = None;
    while moment(bell, SETTLES, deadline).await {
        let mut session = app.deps.store.read().await?;
        let now = read(&mut session, id).await?;
        let settled = now.settled_at.is_some();
        found = Some(now);
        if settled {
            break;
        }
    }
    match found {
        Some(found) => Ok(found),
        None => read(&mut app.deps.store.read().await?, id).await,
    }
}

/// A trigger as the answer to whoever asked for it.
pub(super) fn answer(found: Trigger) -> HttpResponse {
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
    response.insert_header((LOCATION, location)).json(found)
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
