//! Versions of images that were seen.

use super::page::{limit, page, wrong};
use crate::app::App;
use crate::auth::By;
use actix_web::{get, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_service::Problem;
use windlass_store::views;
use windlass_types::api::ImageVersion;
use windlass_types::ids::ImageVersionId;
use windlass_types::image::Repository;
use windlass_types::page::Page;

/// A page of versions.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    /// Only versions of this repository.
    #[param(example = "registry:5000/demo/app")]
    repository: Option<String>,
    /// Rows at most; 100 where not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<ImageVersionId>,
}

/// Versions of images that were seen, latest first, with what the planner made of each.
#[utoipa::path(tag = "images", params(Query), responses(
    (status = 200, description = "A page of versions", body = Page<ImageVersion>),
))]
#[get("/api/v1/images/versions")]
pub(super) async fn versions(
    By(_operator, query): By<web::Query<Query>>,
    app: web::Data<App>,
) -> Result<web::Json<Page<ImageVersion>>, Problem> {
    let limit = limit(query.limit)?;
    let repository: Option<Repository> = match &query.repository {
        Some(text) => Some(
            text.parse()
                .map_err(|error| wrong("repository", format!("{error}")))?,
        ),
        None => None,
    };
    let mut session = app.deps.store.read().await?;
    let rows =
        views::image_versions(&mut session, repository.as_ref(), query.after, limit + 1).await?;
    Ok(web::Json(page(rows, limit, |row| row.id)))
}
