//! Freezes and the stop button: times in which no rollout admits anybody.

use super::body::Body;
use super::page::{limit, page, reason_of, wrong};
use crate::app::App;
use crate::auth::{By, Operator};
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, get, post, web};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::freezes::{self, Lifted};
use windlass_types::api::{FreezeState, FreezeView, NewFreeze, Reason, Stopped};
use windlass_types::freeze::FreezeKind;
use windlass_types::ids::FreezeId;
use windlass_types::page::Page;

/// A page of freezes.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only freezes that stand so.
    #[param(inline)]
    state: Option<FreezeState>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<FreezeId>,
}

/// Freezes, in force, to come and past, the one made last first.
#[utoipa::path(tag = "freezes", params(Query), responses(
    (status = 200, description = "A page of freezes", body = Page<FreezeView>),
))]
#[get("/api/v1/freezes")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<FreezeView>>, Problem> {
    let limit = limit(query.limit)?;
    let mut session = app.deps.store.read().await?;
    let now = session.now();
    let rows = freezes::list(&mut session, query.state, query.after, limit + 1).await?;
    let rows = rows
        .into_iter()
        .map(|freeze| FreezeView::at(freeze, now))
        .collect();
    Ok(web::Json(page(rows, limit, |row: &FreezeView| {
        row.freeze.id
    })))
}

/// When a freeze is to begin and end.
fn period(
    given: &NewFreeze,
    now: DateTime<Utc>,
) -> Result<(DateTime<Utc>, Option<DateTime<Utc>>), Problem> {
    let starts_at = given.starts_at.unwrap_or(now);
    if let Some(ends_at) = given.ends_at {
        if ends_at <= starts_at {
            return Err(wrong(
                "ends_at",
                format!("must be after the beginning, {starts_at}"),
            ));
        }
        if ends_at <= now {
            return Err(wrong(
                "ends_at",
                "is over; a freeze cannot begin in the past",
            ));
        }
    }
    Ok((starts_at, given.ends_at))
}

/// Plans a time in which no rollout admits anybody. Devices on their way go on, rollbacks too.
#[utoipa::path(tag = "freezes", request_body = NewFreeze, responses(
    (status = 201, description = "The freeze; `Location` names it", body = FreezeView, headers(("location" = String))),
))]
#[post("/api/v1/freezes")]
pub(super) async fn create(
    By(operator, Body(given)): By<Body<NewFreeze>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let reason = reason_of(&given.reason)?;
    let mut session = app.deps.store.begin().await?;
    let now = session.now();
    let (starts_at, ends_at) = period(&given, now)?;
    let freeze = freezes::NewFreeze {
        id: FreezeId(uuid::Uuid::now_v7()),
        kind: FreezeKind::Freeze,
        reason,
        starts_at,
        ends_at,
        actor: operator.actor(),
    };
    let made = freezes::create(&mut session, &freeze)
        .await?
        .ok_or_else(|| Problem::Conflict("there is a freeze of this id".to_owned()))?;
    app.deps.commit(session).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/api/v1/freezes/{}", made.id)))
        .json(FreezeView::at(made, now)))
}

fn unknown(id: FreezeId) -> Problem {
    Problem::NotFound(format!("there is no freeze {id}"))
}

/// One freeze.
#[utoipa::path(tag = "freezes", params(("id" = uuid::Uuid, Path, description = "The freeze")), responses(
    (status = 200, description = "The freeze", body = FreezeView),
    (status = 404, description = "There is no such freeze"),
))]
#[get("/api/v1/freezes/{id}")]
pub(super) async fn get(
    By(_operator, id): By<web::Path<FreezeId>>,
    app: web::Data<App>,
) -> Result<web::Json<FreezeView>, Problem> {
    let mut session = app.deps.store.read().await?;
    let now = session.now();
    let freeze = freezes::get(&mut session, *id)
        .await?
        .ok_or_else(|| unknown(*id))?;
    Ok(web::Json(FreezeView::at(freeze, now)))
}

/// Ends a freeze, or takes back one that is to come. One that is over stays as it was.
#[utoipa::path(tag = "freezes", request_body = Reason, params(("id" = uuid::Uuid, Path, description = "The freeze")), responses(
    (status = 200, description = "The freeze as it is now", body = FreezeView),
    (status = 404, description = "There is no such freeze"),
))]
#[post("/api/v1/freezes/{id}/lift")]
pub(super) async fn lift(
    By(operator, (id, Body(why))): By<(web::Path<FreezeId>, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<web::Json<FreezeView>, Problem> {
    let reason = reason_of(&why.reason)?;
    let mut session = app.deps.store.begin().await?;
    let now = session.now();
    let freeze = match freezes::lift(&mut session, *id, &operator.actor(), &reason).await? {
        Lifted::Done(freeze) => {
            app.deps.commit(session).await?;
            freeze
        }
        Lifted::Over(freeze) => freeze,
        Lifted::Missing => return Err(unknown(*id)),
    };
    Ok(web::Json(FreezeView::at(freeze, now)))
}

/// Stops all rollouts: nobody more is admitted anywhere until `POST /stop/lift`. Pressed again it
/// shows the first.
#[utoipa::path(tag = "freezes", request_body = Reason, responses(
    (status = 200, description = "Everything is stopped; `changed` says whether by this press", body = Stopped),
))]
#[post("/api/v1/stop")]
pub(super) async fn stop_all(
    By(operator, Body(why)): By<Body<Reason>>,
    app: web::Data<App>,
) -> Result<web::Json<Stopped>, Problem> {
    let reason = reason_of(&why.reason)?;
    loop {
        if let Some(stopped) = press(&app, &operator, &reason).await? {
            return Ok(web::Json(stopped));
        }
    }
}

/// One press; none where the stop that was there went away meanwhile.
async fn press(app: &App, operator: &Operator, reason: &str) -> Result<Option<Stopped>, Problem> {
    let id = FreezeId(uuid::Uuid::now_v7());
    let mut session = app.deps.store.begin().await?;
    let Some((stop, changed)) = freezes::stop(&mut session, id, &operator.actor(), reason).await?
    else {
        return Ok(None);
    };
    // Only now: it may have waited for another press, whose stop began meanwhile.
    let now = session.now();
    if changed {
        app.deps.commit(session).await?;
    }
    Ok(Some(Stopped {
        stop: Some(FreezeView::at(stop, now)),
        changed,
    }))
}

/// Lets rollouts go on after `POST /stop`. Where nothing is stopped nothing is done.
#[utoipa::path(tag = "freezes", request_body = Reason, responses(
    (status = 200, description = "Nothing is stopped; `changed` says whether by this call", body = Stopped),
))]
#[post("/api/v1/stop/lift")]
pub(super) async fn lift_stop(
    By(operator, Body(why)): By<Body<Reason>>,
    app: web::Data<App>,
) -> Result<web::Json<Stopped>, Problem> {
    let reason = reason_of(&why.reason)?;
    let mut session = app.deps.store.begin().await?;
    let now = session.now();
    let lifted = match freezes::stop_in_force(&mut session).await? {
        Some(stop) => freezes::lift(&mut session, stop.id, &operator.actor(), &reason).await?,
        None => Lifted::Missing,
    };
    let (stop, changed) = match lifted {
        Lifted::Done(freeze) => {
            app.deps.commit(session).await?;
            (Some(FreezeView::at(freeze, now)), true)
        }
        // Somebody else was first.
        Lifted::Over(freeze) => (Some(FreezeView::at(freeze, now)), false),
        Lifted::Missing => (None, false),
    };
    Ok(web::Json(Stopped { stop, changed }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    #[test]
    fn a_freeze_ends_after_it_begins_and_not_in_the_past() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let hours = |n: i64| Some(now + TimeDelta::hours(n));
        for (starts_at, ends_at, good) in [
            (None, None, true),
            (None, hours(1), true),
            (hours(-1), hours(1), true),
            (hours(1), None, true),
            (None, hours(0), false),
            (hours(2), hours(1), false),
            (hours(-2), hours(-1), false),
        ] {
            let given = NewFreeze {
                reason: "x".to_owned(),
                starts_at,
                ends_at,
            };
            assert_eq!(period(&given, now).is_ok(), good, "{given:?}");
        }
    }
}
