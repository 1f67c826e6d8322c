//! Policies.

use super::body::Body;
use super::page::{etag, if_match, limit, reason_of};
use crate::app::App;
use crate::auth::{By, Operator};
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, delete, get, post, put, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_core::policy_check::{self, Checked};
use windlass_service::Problem;
use windlass_store::policies::{self, Changed};
use windlass_types::api::Reason;
use windlass_types::ids::PolicyId;
use windlass_types::page::Page;
use windlass_types::policy::{Policy, PolicySpec};

/// Turns what a check found into a problem: what is wrong before what is not offered.
pub(super) fn refuse(checked: Checked) -> Result<(), Problem> {
    if !checked.invalid.is_empty() {
        return Err(Problem::Invalid(checked.invalid));
    }
    if !checked.not_offered.is_empty() {
        return Err(Problem::NotOffered(checked.not_offered));
    }
    Ok(())
}

fn unknown(id: PolicyId) -> Problem {
    Problem::NotFound(format!("there is no policy {id}"))
}

fn taken(name: &str) -> Problem {
    Problem::Conflict(format!("there is another policy of the name {name:?}"))
}

/// A page of policies.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<PolicyId>,
}

/// Policies, oldest first.
#[utoipa::path(tag = "policies", params(Query), responses(
    (status = 200, description = "A page of policies", body = Page<Policy>),
))]
#[get("/api/v1/image-policies")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<Policy>>, Problem> {
    let mut session = app.deps.store.read().await?;
    let page = policies::list(&mut session, query.after, limit(query.limit)?).await?;
    Ok(web::Json(page))
}

/// Makes a policy.
#[utoipa::path(tag = "policies", request_body = PolicySpec, responses(
    (status = 201, description = "The policy; `Location` names it", body = Policy,
     headers(("location" = String), ("etag" = String))),
    (status = 409, description = "The name is taken"),
    (status = 422, description = "A field asks for what this version does not offer"),
))]
#[post("/api/v1/image-policies")]
pub(super) async fn create(
    By(operator, Body(spec)): By<Body<PolicySpec>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    refuse(policy_check::check(&spec))?;
    let id = PolicyId(uuid::Uuid::now_v7());
    let mut session = app.deps.store.begin().await?;
    let policy = match policies::create(&mut session, id, &spec, &operator.actor()).await {
        Err(error) if error.is_unique() => return Err(taken(&spec.name)),
        other => other?,
    };
    app.deps.commit(session).await?;
    Ok(HttpResponse::Created()
        .insert_header((LOCATION, format!("/api/v1/image-policies/{id}")))
        .insert_header(etag(policy.version))
        .json(policy))
}

/// One policy.
#[utoipa::path(tag = "policies", params(("id" = uuid::Uuid, Path, description = "The policy")), responses(
    (status = 200, description = "The policy; `ETag` has its version", body = Policy,
     headers(("etag" = String))),
    (status = 404, description = "There is no such policy"),
))]
#[get("/api/v1/image-policies/{id}")]
pub(super) async fn get(
    By(_operator, id): By<web::Path<PolicyId>>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let mut session = app.deps.store.read().await?;
    let policy = policies::get(&mut session, *id)
        .await?
        .ok_or_else(|| unknown(*id))?;
    Ok(HttpResponse::Ok()
        .insert_header(etag(policy.version))
        .json(policy))
}

/// Gives a policy another text. Rollouts that run keep the rule they were made with.
#[utoipa::path(tag = "policies", request_body = PolicySpec, params(
    ("id" = uuid::Uuid, Path, description = "The policy"),
    ("If-Match" = Option<String>, Header, description = "The version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
), responses(
    (status = 200, description = "The policy as it is now", body = Policy, headers(("etag" = String))),
    (status = 404, description = "There is no such policy"),
    (status = 409, description = "The name is taken"),
    (status = 412, description = "It has another version by now"),
    (status = 422, description = "A field asks for what this version does not offer"),
))]
#[put("/api/v1/image-policies/{id}")]
pub(super) async fn update(
    By(operator, (id, Body(spec))): By<(web::Path<PolicyId>, Body<PolicySpec>)>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(&request)?;
    refuse(policy_check::check(&spec))?;
    let mut session = app.deps.store.begin().await?;
    let changed = policies::update(&mut session, *id, expected, &spec, &operator.actor()).await;
    let changed = match changed {
        Err(error) if error.is_unique() => return Err(taken(&spec.name)),
        other => other?,
    };
    let policy = done(changed, *id)?;
    app.deps.commit(session).await?;
    Ok(HttpResponse::Ok()
        .insert_header(etag(policy.version))
        .json(policy))
}

macro_rules! switch {
    ($(#[doc = $doc:literal])* $name:ident, $path:literal, $enabled:literal) => {
        $(#[doc = $doc])*
        #[utoipa::path(tag = "policies", request_body = Reason, params(
            ("id" = uuid::Uuid, Path, description = "The policy"),
            ("If-Match" = Option<String>, Header, description = "The version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
        ), responses(
            (status = 200, description = "The policy as it is now; where it stood so already, unchanged", body = Policy, headers(("etag" = String))),
            (status = 404, description = "There is no such policy"),
            (status = 412, description = "It has another version by now"),
        ))]
        #[post($path)]
        pub(super) async fn $name(
            By(operator, (id, Body(why))): By<(web::Path<PolicyId>, Body<Reason>)>,
            app: web::Data<App>,
            request: HttpRequest,
        ) -> Result<HttpResponse, Problem> {
            switch(&app, &operator, *id, $enabled, &why.reason, &request).await
        }
    };
}

switch!(
    /// Lets a policy take part.
    enable, "/api/v1/image-policies/{id}/enable", true
);
switch!(
    /// Keeps a policy from taking part. Its rollouts go on.
    disable, "/api/v1/image-policies/{id}/disable", false
);

async fn switch(
    app: &App,
    operator: &Operator,
    id: PolicyId,
    enabled: bool,
    reason: &str,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(request)?;
    let reason = reason_of(reason)?;
    let mut session = app.deps.store.begin().await?;
    let actor = operator.actor();
    let changed = policies::enable(&mut session, id, expected, enabled, &actor, &reason).await?;
    let (policy, changed) = done(changed, id)?;
    if changed {
        app.deps.commit(session).await?;
    }
    Ok(HttpResponse::Ok()
        .insert_header(etag(policy.version))
        .json(policy))
}

/// Deletes a policy. Its rollouts go on.
#[utoipa::path(tag = "policies", params(
    ("id" = uuid::Uuid, Path, description = "The policy"),
    ("If-Match" = Option<String>, Header, description = "The version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
), responses(
    (status = 204, description = "It is gone"),
    (status = 404, description = "There is no such policy"),
    (status = 412, description = "It has another version by now"),
))]
#[delete("/api/v1/image-policies/{id}")]
pub(super) async fn delete(
    By(operator, id): By<web::Path<PolicyId>>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(&request)?;
    let mut session = app.deps.store.begin().await?;
    let changed = policies::delete(&mut session, *id, expected, &operator.actor()).await?;
    done(changed, *id)?;
    app.deps.commit(session).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn done<T>(changed: Changed<T>, id: PolicyId) -> Result<T, Problem> {
    match changed {
        Changed::Done(value) => Ok(value),
        Changed::Stale(version) => Err(Problem::Stale(format!(
            "the policy has version {version} by now; read it again"
        ))),
        Changed::Missing => Err(unknown(id)),
    }
}
