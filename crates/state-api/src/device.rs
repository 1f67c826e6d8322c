//! What devices talk to: docs/device-protocol.md.

use utoipa_actix_web::service_config::ServiceConfig;

/// The routes of devices.
pub(crate) fn configure(_routes: &mut ServiceConfig<'_>) {}
