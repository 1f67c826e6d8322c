//! What operators are shown of the watch.

use crate::state::State;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use windlass_service::Problem;
use windlass_store::{registry_budgets, registry_watch};
use windlass_types::registry::RegistryWatch;

/// Rows of a page where none are asked for.
const USUAL: i64 = 100;
/// Rows of a page at most.
const MOST: i64 = 1000;

/// What may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    limit: Option<i64>,
    after: Option<String>,
}

/// `GET /registry-watch`: the repositories in order, and the registries.
pub(crate) async fn list(
    state: Data<State>,
    request: HttpRequest,
    wanted: Query<Wanted>,
) -> Result<HttpResponse, Problem> {
    state.operator(request.headers()).await?;
    let limit = wanted.limit.unwrap_or(USUAL);
    if !(1..=MOST).contains(&limit) {
        return Err(Problem::Malformed(format!(
            "limit is {limit}; it may be 1 to {MOST}"
        )));
    }
    let mut session = state.deps.store.read().await?;
    // One more than wanted tells whether there is another page.
    let mut repositories =
        registry_watch::list(&mut session, wanted.after.as_deref(), limit + 1).await?;
    let registries = registry_budgets::list(&mut session).await?;
    let wanted_rows = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = repositories.len() > wanted_rows;
    repositories.truncate(wanted_rows);
    let next = repositories
        .last()
        .filter(|_| more)
        .map(|last| last.repository.to_string());
    Ok(HttpResponse::Ok().json(RegistryWatch {
        enabled: state.watch.enabled,
        repositories,
        registries,
        next,
    }))
}
