//! The service as a whole.

use crate::device_checks::device_checks;
use crate::gates::gates;
use crate::pass;
use std::process::ExitCode;
use std::time::Duration;
use windlass_core::checks::Allowed;
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
    let allowed = Allowed::new(&config.health.allowed_targets)
        .map_err(|error| StartError::Part(format!("health.allowed_targets: {error}")))?;
    let at_once = config.health.concurrent_checks;
    let of_devices = (deps.clone(), allowed.clone());
    let of_gates = (
        deps.clone(),
        allowed.or_any(config.health.allow_any_gate_target),
    );
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
        .with_loop(Loop::new("health-device-checks", scan, &[], move || {
            let (deps, allowed) = of_devices.clone();
            async move { device_checks(&deps, &allowed, at_once).await }
        }))
        .with_loop(Loop::new(
            "health-gates",
            scan,
            &[EventType::RolloutBatchCompleted],
            move || {
                let (deps, allowed) = of_gates.clone();
                async move { gates(&deps, &allowed, at_once).await }
            },
        ))
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
