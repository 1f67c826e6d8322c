//! The service as a whole.

use crate::fetch::{Fetch, Web};
use crate::state::State;
use crate::{
    facts, health, listing, permission, receive, replay, resolver, retention, upkeep, watch,
};
use actix_web::http::Method;
use actix_web::web::{self, Data, ServiceConfig};
use std::process::ExitCode;
use std::sync::Arc;
use windlass_service::config::Config;
use windlass_service::{Deps, Part, StartError, main_with};

/// The service's routes and loops.
///
/// # Errors
/// [`StartError`] where a setting cannot be used.
pub async fn part(config: &Config, deps: &Deps) -> Result<Part, StartError> {
    let web = Web::new().map_err(|error| {
        StartError::Part(format!("nothing can be fetched over the network: {error}"))
    })?;
    part_fetching(config, deps, Arc::new(web)).await
}

/// The same with somebody else to fetch what verifies deliveries.
///
/// # Errors
/// [`StartError`] where a setting cannot be used.
pub async fn part_fetching(
    config: &Config,
    deps: &Deps,
    fetch: Arc<dyn Fetch>,
) -> Result<Part, StartError> {
    let state = Arc::new(State::new(config, deps, fetch).await?);
    let data = Data::from(Arc::clone(&state));
    Ok(
        Part::new("webhook-ingest", move |config| routes(config, data.clone()))
            .with_loop(resolver::work(Arc::clone(&state)))
            .with_loop(upkeep::work(Arc::clone(&state)))
            .with_loop(facts::work(Arc::clone(&state)))
            .with_loop(watch::work(Arc::clone(&state)))
            .with_loop(retention::work(state)),
    )
}

/// Fixed paths come before those with names in them.
fn routes(config: &mut ServiceConfig, state: Data<State>) {
    config
        .app_data(state)
        .service(web::resource("/api/v1/registry-watch").route(web::get().to(watch::list)))
        .service(web::resource("/api/v1/webhooks/deliveries").route(web::get().to(listing::list)))
        .service(
            web::resource("/api/v1/webhooks/deliveries/{id}").route(web::get().to(listing::show)),
        )
        .service(
            web::resource("/api/v1/webhooks/deliveries/{id}/body")
                .route(web::get().to(listing::body)),
        )
        .service(
            web::resource("/api/v1/webhooks/deliveries/{id}/replay")
                .route(web::post().to(replay::replay)),
        )
        .service(web::resource("/api/v1/webhooks/endpoints").route(web::get().to(health::list)))
        .service(
            web::resource("/api/v1/webhooks/{endpoint}/test")
                .route(web::get().to(receive::test))
                .route(web::post().to(replay::try_out)),
        )
        .service(
            web::resource("/api/v1/webhooks/{endpoint}")
                .route(web::post().to(receive::plain))
                .route(web::method(Method::OPTIONS).to(permission::plain)),
        )
        .service(
            web::resource("/api/v1/webhooks/{endpoint}/{secret}")
                .route(web::post().to(receive::with_secret))
                .route(web::method(Method::OPTIONS).to(permission::with_secret)),
        );
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    main_with("windlass-webhook-ingest", async |config, deps| {
        Ok(vec![part(config, deps).await?])
    })
}
