//! The service as a whole.

use crate::app::App;
use crate::first_key::ensure_operator_key;
use crate::routes::Routes;
use crate::{device, follow, operator, presence, upkeep};
use actix_web::{Resource, guard, web};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use utoipa::openapi::{OpenApi, PathItem};
use utoipa_actix_web::AppExt;
use windlass_service::config::Config;
use windlass_service::{Deps, Part, Problem, StartError, main_with};

/// Every route. Paths are written in full, without a scope: the routes of other services begin like
/// ours and share the listener in `windlass up`.
fn configure(routes: &mut impl Routes) {
    device::configure(routes);
    operator::configure(routes);
}

/// The OpenAPI document of every route.
pub(crate) fn document() -> OpenApi {
    actix_web::App::new()
        .into_utoipa_app()
        .configure(|routes| configure(routes))
        .split_for_parts()
        .1
}

/// The methods that a path takes.
fn taken(item: &PathItem) -> Vec<&'static str> {
    [
        ("GET", item.get.is_some()),
        ("POST", item.post.is_some()),
        ("PUT", item.put.is_some()),
        ("PATCH", item.patch.is_some()),
        ("DELETE", item.delete.is_some()),
    ]
    .into_iter()
    .filter_map(|(method, is_taken)| is_taken.then_some(method))
    .collect()
}

/// Answers 405 at a path.
fn refusing(path: &str, taken: &[&str]) -> Resource {
    let allow = taken.join(", ");
    web::resource(path).to(move || {
        let allow = allow.clone();
        async move { Err::<&str, Problem>(Problem::MethodNotAllowed(allow)) }
    })
}

/// Answers 405 for the methods that a path does not take; actix answers 404 for a path whose every
/// handler stands behind a method of its own.
fn refuse_other_methods(document: &OpenApi, routes: &mut web::ServiceConfig) {
    for (path, item) in &document.paths.paths {
        routes.service(refusing(path, &taken(item)));
    }
}

/// The same for fixed paths that a path with a name in it would take: `…/test` is no id. Comes before all routes.
fn refuse_other_methods_of_fixed_paths(document: &OpenApi, routes: &mut web::ServiceConfig) {
    let paths = &document.paths.paths;
    for (path, item) in paths {
        if path.contains('{') || !paths.keys().any(|other| takes(other, path)) {
            continue;
        }
        let methods = taken(item);
        let allowed = methods.clone();
        let others = guard::fn_guard(move |asked| !allowed.contains(&asked.head().method.as_str()));
        routes.service(refusing(path, &methods).guard(others));
    }
}

/// Whether a path with names in it takes a fixed one.
fn takes(pattern: &str, path: &str) -> bool {
    let (of_pattern, of_path) = (pattern.split('/'), path.split('/'));
    pattern.contains('{')
        && of_pattern.clone().count() == of_path.clone().count()
        && of_pattern
            .zip(of_path)
            .all(|(part, own)| part == own || part.starts_with('{'))
}

/// The service's routes and loops.
///
/// # Errors
/// [`StartError`] where the store does not answer or a setting cannot be used.
pub async fn part(config: &Config, deps: &Deps) -> Result<Part, StartError> {
    let app = web::Data::new(App::open(config, deps).await?);
    let document = document();
    let cache = Arc::clone(&app.cache);
    let presence = Duration::from_secs(app.config.presence_seconds.max(1));
    let loops = [
        follow::follower(deps, Arc::clone(&cache)),
        presence::writer(deps, Arc::clone(&cache), presence),
        upkeep::retention(&app),
        upkeep::plans(&app),
        upkeep::gauges(&app),
    ];
    let shutdown = deps.shutdown.clone();
    tokio::spawn(async move {
        // One task for all held polls: they end when the process does.
        shutdown.cancelled().await;
        cache.close();
    });
    let part = Part::new("state-api", move |routes| {
        routes.app_data(app.clone());
        routes.service(device::Lane(app.clone()));
        refuse_other_methods_of_fixed_paths(&document, routes);
        configure(routes);
        refuse_other_methods(&document, routes);
    });
    Ok(loops.into_iter().fold(part, Part::with_loop))
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    main_with("windlass-state-api", async |config, deps| {
        if let Some(key) = ensure_operator_key(deps, config).await? {
            // On standard output and nowhere else: logs are kept and shown.
            println!("The operator key of this installation, shown this once: {key}");
        }
        Ok(vec![part(config, deps).await?])
    })
}
