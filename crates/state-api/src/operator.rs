//! What operators talk to.

use utoipa_actix_web::service_config::ServiceConfig;

/// The routes of operators.
pub(crate) fn configure(_routes: &mut ServiceConfig<'_>) {}
