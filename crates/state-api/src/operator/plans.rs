//! Plans of rollouts by hand that are kept, so that what was shown is what is shipped.

use super::body::Body;
use super::page::reason_of;
use super::preview::{Draft, draft};
use super::triggers::{Asked, answer, checked, pinned, settled};
use crate::app::App;
use crate::auth::{By, Operator};
use actix_web::{HttpResponse, get, post, web};
use chrono::TimeDelta;
use windlass_core::signatures::{ByHand, by_hand};
use windlass_service::Problem;
use windlass_store::rollout_plans::{self, Changes, NewPlan};
use windlass_store::triggers::{self, NewTrigger};
use windlass_store::{Error, Session, image_facts, policies};
use windlass_types::api::{
    Reason, RolloutPlan, Trigger, TriggerDecision, TriggerPlan, TriggerRequest,
};
use windlass_types::ids::{CorrelationId, PlanId, TriggerId};
use windlass_types::image::ImageReference;
use windlass_types::policy::OnUnresolved;

/// How long a plan can be applied: long enough for a person to think and for another to agree, short
/// enough that fleets do not change under most of them.
const KEPT: TimeDelta = TimeDelta::hours(24);
/// Devices named at most where a plan is not what would be shipped now.
const NAMED: i64 = 5;
/// Tries of a snapshot that another transaction crossed.
const TRIES: usize = 3;

/// Makes the plan of a dry run and keeps it where it could be shipped.
pub(super) async fn make(
    app: &App,
    operator: &Operator,
    request: TriggerRequest,
    asked: Asked,
) -> Result<TriggerPlan, Problem> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match keep(app, operator, &request, &asked).await {
            Err(Problem::Unavailable(Some(Error::Conflict(_)))) if left > 0 => {}
            made => return made,
        }
    }
}

async fn keep(
    app: &App,
    operator: &Operator,
    request: &TriggerRequest,
    asked: &Asked,
) -> Result<TriggerPlan, Problem> {
    // What is read and what is kept are of one moment.
    let mut session = app.deps.store.begin_snapshot().await?;
    let image = pinned(&mut session, asked.image.clone()).await?;
    let (rule, filters, priority) = (&asked.rule, &asked.filters, asked.priority);
    let mut draft = draft(&mut session, &image, rule, filters, priority).await?;
    if draft.plan.waiting_for.is_none() && !request.allow_unsigned {
        draft.plan.waiting_for = unsigned(&mut session, &image).await?;
    }
    if !draft.ships {
        return Ok(draft.plan);
    }
    let new = NewPlan {
        id: PlanId(uuid::Uuid::now_v7()),
        fingerprint: rollout_plans::fingerprint(&image, rule, filters, priority),
        request: TriggerRequest {
            image: image.to_string(),
            ..request.clone()
        },
        plan: draft.plan,
        created_by: operator.actor(),
        expires_at: session.now() + KEPT,
    };
    let kept = rollout_plans::save(&mut session, &new, &draft.scope, &draft.layout).await?;
    session.commit().await?;
    Ok(kept.plan)
}

/// What a signature would be waited for, where a policy about the image requires one that is not there yet; for people.
async fn unsigned(
    session: &mut Session,
    image: &ImageReference,
) -> Result<Option<String>, Problem> {
    let policies = policies::enabled(session).await?;
    let (repository, digest) = (image.repository(), image.digest());
    let known = match digest {
        Some(digest) => image_facts::get(session, repository, digest).await?,
        None => None,
    };
    let found = known.as_ref().and_then(|known| known.signatures.as_ref());
    Ok(
        match by_hand(&policies, repository, image.tag(), digest, found) {
            ByHand::Signed(_) => None,
            ByHand::Untold => {
                Some("the registry, to tell the signature that a policy requires".to_owned())
            }
            ByHand::Refused(why) => Some(format!(
                "a signature, which the registry is asked for anew: {why}"
            )),
        },
    )
}

/// A plan that can be applied still.
async fn read(session: &mut Session, id: PlanId) -> Result<(RolloutPlan, String), Problem> {
    let now = session.now();
    rollout_plans::get(session, id)
        .await?
        .filter(|(plan, _)| plan.expires_at > now)
        .ok_or_else(|| {
            Problem::NotFound(format!(
                "there is no plan {id}, or its time is over; make another with dry_run"
            ))
        })
}

/// A plan that a dry run showed.
#[utoipa::path(tag = "images", params(("id" = uuid::Uuid, Path, description = "The plan")), responses(
    (status = 200, description = "The plan", body = RolloutPlan),
    (status = 404, description = "There is no such plan, or its time is over"),
))]
#[get("/api/v1/rollout-plans/{id}")]
pub(super) async fn get(
    By(_operator, id): By<web::Path<PlanId>>,
    app: web::Data<App>,
) -> Result<web::Json<RolloutPlan>, Problem> {
    let mut session = app.deps.store.read().await?;
    let (plan, _) = read(&mut session, *id).await?;
    Ok(web::Json(plan))
}

/// Ships a plan exactly as it was shown, or says what changed since.
#[utoipa::path(tag = "images", request_body = Reason, params(("id" = uuid::Uuid, Path, description = "The plan")), responses(
    (status = 201, description = "Decided: the trigger with its rollout", body = Trigger, headers(("location" = String))),
    (status = 202, description = "Stored; it was not decided within three seconds", body = Trigger, headers(("location" = String))),
    (status = 404, description = "There is no such plan, or its time is over"),
    (status = 409, description = "It would not be what was shown, or it was applied already: the detail says which"),
))]
#[post("/api/v1/rollout-plans/{id}/apply")]
pub(super) async fn apply(
    By(operator, (id, Body(why))): By<(web::Path<PlanId>, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let reason = reason_of(&why.reason)?;
    let mut session = app.deps.store.begin().await?;
    let (plan, fingerprint) = read(&mut session, *id).await?;
    if let Some(first) = triggers::of_plan(&mut session, *id).await? {
        return Err(Problem::Conflict(format!(
            "the plan was applied already, with trigger {first}; make another with dry_run"
        )));
    }
    let asked = checked(&plan.request)?;
    compare(&mut session, *id, &fingerprint, &asked).await?;
    let trigger = NewTrigger {
        id: TriggerId(uuid::Uuid::now_v7()),
        correlation: CorrelationId(uuid::Uuid::now_v7()),
        image: asked.image,
        rule: asked.rule,
        filters: asked.filters,
        on_unresolved: plan.request.on_unresolved.unwrap_or(OnUnresolved::Wait),
        priority: asked.priority,
        plan: Some(*id),
        allow_unsigned: plan.request.allow_unsigned,
        actor: operator.actor(),
        reason,
    };
    let mut bell = app.deps.bus.subscribe();
    match triggers::create(&mut session, &trigger).await {
        Err(error) if error.is_unique() => {
            return Err(Problem::Conflict(
                "somebody else applies the plan at this moment".to_owned(),
            ));
        }
        created => created?,
    }
    app.deps.commit(session).await?;
    let found: Trigger = settled(&app, &mut bell, trigger.id).await?;
    // The planner looks again when it makes the rollout.
    match found.decision {
        Some(TriggerDecision::Rollout) | None => Ok(answer(found)),
        Some(
            TriggerDecision::PlanChanged
            | TriggerDecision::NoDevices
            | TriggerDecision::Quarantined,
        ) => Err(changed(found.detail.as_deref().unwrap_or("it changed"))),
        Some(TriggerDecision::Unsigned) => Err(Problem::Conflict(format!(
            "nothing was shipped: {}; make another plan with allow_unsigned to vouch for it",
            found.detail.as_deref().unwrap_or("it is not signed")
        ))),
    }
}

fn changed(what: &str) -> Problem {
    Problem::Conflict(format!(
        "nothing was shipped, since it is not what the plan shows any more: {what}"
    ))
}

/// Whether what would be shipped now is what the plan shows.
async fn compare(
    session: &mut Session,
    id: PlanId,
    fingerprint: &str,
    asked: &Asked,
) -> Result<(), Problem> {
    let (image, rule, filters) = (&asked.image, &asked.rule, &asked.filters);
    if rollout_plans::fingerprint(image, rule, filters, asked.priority) != fingerprint {
        return Err(changed(
            "its rule reads otherwise in this version of Windlass",
        ));
    }
    let Draft {
        scope,
        layout,
        plan,
        ships,
    } = draft(session, image, rule, filters, asked.priority).await?;
    if !ships {
        return Err(changed(
            plan.waiting_for
                .as_deref()
                .unwrap_or("nothing would be shipped"),
        ));
    }
    let changes = rollout_plans::changes(session, id, &scope, &layout, NAMED).await?;
    if changes.devices > 0 {
        return Err(changed(&said(&changes)));
    }
    Ok(())
}

fn said(changes: &Changes) -> String {
    let named: Vec<String> = changes.first.iter().map(ToString::to_string).collect();
    let more = changes.devices - i64::try_from(named.len()).unwrap_or(0);
    let more = if more > 0 {
        format!("; and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", named.join("; "))
}
