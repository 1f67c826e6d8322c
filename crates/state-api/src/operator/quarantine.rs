//! Digests that ship no more.

use super::body::Body;
use super::page::{limit, page, reason_of, wrong};
use crate::app::App;
use crate::auth::By;
use actix_web::{HttpResponse, delete, get, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::quarantine::{self, Class, Place};
use windlass_types::api::{QuarantinedDigest, Reason};
use windlass_types::image::Digest;
use windlass_types::page::Page;

/// A page of digests.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// Digests in quarantine, with the evidence.
#[utoipa::path(tag = "quarantine", params(Query), responses(
    (status = 200, description = "A page of digests", body = Page<QuarantinedDigest>),
))]
#[get("/api/v1/quarantine")]
pub(super) async fn list(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<QuarantinedDigest>>, Problem> {
    let limit = limit(query.limit)?;
    let after: Option<Place> = match &query.after {
        Some(text) => Some(
            text.parse()
                .map_err(|error| wrong("after", format!("{error}")))?,
        ),
        None => None,
    };
    let mut session = app.deps.store.read().await?;
    let rows = quarantine::list(&mut session, after.as_ref(), limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| Place::from(row))))
}

/// For which devices a digest is lifted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Of {
    /// The tag of the class; with `tag_value`.
    tag_key: Option<String>,
    /// The value of that tag; empty for devices without the tag.
    tag_value: Option<String>,
}

impl Of {
    /// The class, or none where the digest is lifted for all devices.
    fn class(self) -> Result<Option<Class>, Problem> {
        match (self.tag_key, self.tag_value) {
            (None, None) => Ok(None),
            (Some(key), Some(value)) if !key.is_empty() => Ok(Some(Class { key, value })),
            (Some(key), Some(_)) => Err(wrong("tag_key", format!("{key:?} is no tag"))),
            (Some(_), None) => Err(wrong("tag_value", "is missing beside tag_key")),
            (None, Some(_)) => Err(wrong("tag_key", "is missing beside tag_value")),
        }
    }
}

/// Lets a digest ship again, also to the devices on which it failed: to all devices, or with
/// `tag_key` and `tag_value` to those of one class alone.
#[utoipa::path(tag = "quarantine", request_body = Reason, params(
    ("digest" = String, Path, description = "The digest", pattern = "^sha256:[0-9a-f]{64}$"),
    Of,
), responses(
    (status = 204, description = "It may ship again"),
    (status = 404, description = "It is not in quarantine, or not for this class"),
))]
#[delete("/api/v1/quarantine/{digest}")]
pub(super) async fn lift(
    By(operator, (digest, of, Body(reason))): By<(web::Path<Digest>, web::Query<Of>, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let class = of.into_inner().class()?;
    let (reason, actor) = (reason_of(&reason.reason)?, operator.actor());
    let mut session = app.deps.store.begin().await?;
    let lifted = match &class {
        None => quarantine::lift(&mut session, &digest, &actor, &reason).await?,
        Some(class) => {
            quarantine::lift_class(&mut session, &digest, class, &actor, &reason).await?
        }
    };
    if !lifted {
        let of = class.map_or_else(String::new, |class| {
            format!(" for devices with {}={}", class.key, class.value)
        });
        return Err(Problem::NotFound(format!(
            "{digest} is not in quarantine{of}"
        )));
    }
    app.deps.commit(session).await?;
    Ok(HttpResponse::NoContent().finish())
}
