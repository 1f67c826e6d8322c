//! The service as a whole.

use crate::pass;
use std::process::ExitCode;
use std::time::Duration;
use windlass_service::config::Config;
use windlass_service::work::Loop;
use windlass_service::{Deps, Part, StartError, main_with};
use windlass_types::event::EventType;

/// Devices that come back are looked for this much more seldom than deadlines: their reports wake
/// the service anyway, only polls do not.
const RETURNED: u32 = 5;

/// The service's routes and loops.
///
/// # Errors
/// [`StartError`] where a setting cannot be used.
pub async fn part(config: &Config, deps: &Deps) -> Result<Part, StartError> {
    let scan = Duration::from_millis(config.health.scan_ms);
    let group = config.health.group;
    let verdicts = pass::Counter::new(&deps.metrics)
        .map_err(|error| StartError::Part(format!("health-checker's metrics: {error}")))?;
    let with = |run: &Deps| (run.clone(), verdicts.clone());
    let (reports, due, returned) = (with(deps), with(deps), with(deps));
    Ok(Part::new("health-checker", |_routes| {})
        .with_loop(Loop::new(
            "health-reports",
            scan,
            &[EventType::StateChanged],
            move || {
                let (deps, verdicts) = reports.clone();
                async move { pass::reports(&deps, &verdicts, group).await }
            },
        ))
        .with_loop(Loop::new("health-due", scan, &[], move || {
            let (deps, verdicts) = due.clone();
            async move { pass::due(&deps, &verdicts, group).await }
        }))
        .with_loop(Loop::new(
            "health-returned",
            scan * RETURNED,
            &[],
            move || {
                let (deps, verdicts) = returned.clone();
                async move { pass::returned(&deps, &verdicts, group).await }
            },
        )))
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    main_with("windlass-health-checker", async |config, deps| {
        Ok(vec![part(config, deps).await?])
    })
}
