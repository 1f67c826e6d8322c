//! Holds: policies and repositories of which nothing new ships.

use super::body::Body;
use super::page::{limit, page, reason_of, wrong};
use crate::app::App;
use crate::auth::By;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::holds::{self, Held, Lifted};
use windlass_store::policies;
use windlass_types::api::{HoldState, HoldView, NewHold, Reason};
use windlass_types::ids::HoldId;
use windlass_types::page::Page;

/// A page of holds.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only holds that stand so.
    #[param(inline)]
    state: Option<HoldState>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<HoldId>,
}

/// Holds, in force and past, the one made last first.
#[utoipa::path(tag = "holds", params(Query), responses(
    (status = 200, description = "A page of holds", body = Page<HoldView>),
))]
#[get("/api/v1/holds")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<HoldView>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    let now = session.now();
    let rows = holds::list(&mut session, query.state, query.after, limit + 1).await?;
    let rows = rows
        .into_iter()
        .map(|hold| HoldView::of(hold, now))
        .collect();
    Ok(web::Json(page(rows, limit, |row: &HoldView| row.hold.id)))
}

/// Holds a policy, or a repository whatever policy takes it: what is pushed waits until the end. Rollouts
/// that are under way go on.
#[utoipa::path(tag = "holds", request_body = NewHold, responses(
    (status = 201, description = "The hold; `Location` names it", body = HoldView, headers(("location" = String))),
    (status = 404, description = "There is no such policy"),
))]
#[post("/api/v1/holds")]
pub(super) async fn create(
    By(operator, Body(given)): By<Body<NewHold>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let reason = reason_of(&given.reason)?;
    let held = match (given.policy_id, given.repository) {
        (Some(policy), None) => Held::Policy(policy),
        (None, Some(repository)) => Held::Repository(repository),
        (Some(_), Some(_)) => {
            return Err(wrong("repository", "give one of policy_id and repository"));
        }
        (None, None) => return Err(wrong("policy_id", "give one of policy_id and repository")),
    };
    let mut session = app.deps.store.begin().await?;
    let now = session.now();
    if given.ends_at.is_some_and(|end| end <= now) {
        return Err(wrong("ends_at", "is over; a hold ends in the future"));
    }
    if let Held::Policy(id) = held
        && policies::get(&mut session, id).await?.is_none()
    {
        return Err(Problem::NotFound(format!("there is no policy {id}")));
    }
    let hold = holds::NewHold {
        id: HoldId(uuid::Uuid::now_v7()),
        held,
        reason,
        ends_at: given.ends_at,
        actor: operator.actor(),
    };
    let made = holds::create(&mut session, &hold).await?;
    app.deps.commit(session).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/api/v1/holds/{}", made.id)))
        .json(HoldView::of(made, now)))
}

fn unknown(id: HoldId) -> Problem {
    Problem::NotFound(format!("there is no hold {id}"))
}

/// One hold.
#[utoipa::path(tag = "holds", params(("id" = uuid::Uuid, Path, description = "The hold")), responses(
    (status = 200, description = "The hold", body = HoldView),
    (status = 404, description = "There is no such hold"),
))]
#[get("/api/v1/holds/{id}")]
pub(super) async fn get(
    By(_operator, id): By<web::Path<HoldId>>,
    app: web::Data<App>,
) -> Result<web::Json<HoldView>, Problem> {
    let mut session = app.deps.store.read().await?;
    let now = session.now();
    let hold = holds::get(&mut session, *id)
        .await?
        .ok_or_else(|| unknown(*id))?;
    Ok(web::Json(HoldView::of(hold, now)))
}

/// Ends a hold: what waited for it is planned. One that is over stays as it was.
#[utoipa::path(tag = "holds", request_body = Reason, params(("id" = uuid::Uuid, Path, description = "The hold")), responses(
    (status = 200, description = "The hold as it is now", body = HoldView),
    (status = 404, description = "There is no such hold"),
))]
#[post("/api/v1/holds/{id}/lift")]
pub(super) async fn lift(
    By(operator, (id, Body(why))): By<(web::Path<HoldId>, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<web::Json<HoldView>, Problem> {
    let reason = reason_of(&why.reason)?;
    let mut session = app.deps.store.begin().await?;
    let now = session.now();
    let hold = match holds::lift(&mut session, *id, &operator.actor(), &reason).await? {
        Lifted::Done(hold) => {
            app.deps.commit(session).await?;
            hold
        }
        Lifted::Over(hold) => hold,
        Lifted::Missing => return Err(unknown(*id)),
    };
    Ok(web::Json(HoldView::of(hold, now)))
}
