//! The service as a whole.

use std::process::ExitCode;
use windlass_service::config::Config;
use windlass_service::{Deps, Part, StartError, main_with};

/// The service's routes and loops.
///
/// # Errors
/// [`StartError`] where a setting cannot be used.
pub async fn part(_config: &Config, _deps: &Deps) -> Result<Part, StartError> {
    Ok(Part::new("rollback-manager", |_routes| {}))
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    main_with("windlass-rollback-manager", async |config, deps| {
        Ok(vec![part(config, deps).await?])
    })
}
