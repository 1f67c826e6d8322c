//! The service as a whole.

use crate::metrics::Metrics;
use crate::{NAME, members, step, triggers, versions};
use std::process::ExitCode;
use std::time::Duration;
use windlass_service::config::Config;
use windlass_service::work::{Loop, Next};
use windlass_service::{Deps, Part, StartError, main_with};
use windlass_types::event::EventType;

/// What may make a version or trigger ready to be planned.
const IMAGES: &[EventType] = &[
    EventType::UpdateAvailable,
    EventType::CommandGiven,
    EventType::PolicyCreated,
    EventType::PolicyUpdated,
    EventType::PolicyDeleted,
    EventType::FactsLearned,
    EventType::HoldLifted,
];

/// What may let a rollout move.
const ROLLOUTS: &[EventType] = &[
    EventType::RolloutCreated,
    EventType::CommandGiven,
    EventType::CommandSettled,
    EventType::UpdateCompleted,
    EventType::UpdateFailed,
    EventType::DeviceUnreachable,
    EventType::DeviceSkipped,
    EventType::DeviceJoined,
    EventType::DeviceRolledBack,
    EventType::DeviceInconclusive,
    EventType::RetryScheduled,
    EventType::RolloutCheckDecided,
    EventType::Quarantined,
    EventType::QuarantineLifted,
    EventType::RolloutResumed,
    EventType::FreezeCreated,
    EventType::FreezeLifted,
];

/// What may bring devices into rollouts or out of them.
const MEMBERS: &[EventType] = &[
    EventType::DeviceRegistered,
    EventType::DeviceChanged,
    EventType::DeviceDeleted,
    EventType::TargetSet,
    EventType::PenaltyLifted,
    EventType::RolloutCreated,
];

/// The service's routes and loops.
///
/// # Errors
/// [`StartError`] where a setting cannot be used.
pub async fn part(config: &Config, deps: &Deps) -> Result<Part, StartError> {
    let metrics =
        Metrics::new(&deps.metrics).map_err(|error| StartError::Part(error.to_string()))?;
    let interval = Duration::from_millis(config.planner.scan_ms.max(1));
    let attempts = i64::from(config.registry.attempts);
    let images = {
        let (deps, metrics) = (deps.clone(), metrics.clone());
        move || {
            let (deps, metrics) = (deps.clone(), metrics.clone());
            async move {
                versions::run(&deps, &metrics, attempts).await?;
                triggers::run(&deps, &metrics, attempts).await?;
                Ok::<_, windlass_store::Error>(Next::Idle)
            }
        }
    };
    let members = {
        let deps = deps.clone();
        move || {
            let deps = deps.clone();
            async move { members::run(&deps).await }
        }
    };
    let rollouts = {
        let (deps, metrics) = (deps.clone(), metrics);
        move || {
            let (deps, metrics) = (deps.clone(), metrics.clone());
            async move { step::run(&deps, &metrics).await }
        }
    };
    Ok(Part::new(NAME, |_routes| {})
        .with_loop(Loop::new("planner-images", interval, IMAGES, images))
        .with_loop(Loop::new("planner-members", interval, MEMBERS, members))
        .with_loop(Loop::new("planner-rollouts", interval, ROLLOUTS, rollouts)))
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    main_with("windlass-rollout-planner", async |config, deps| {
        Ok(vec![part(config, deps).await?])
    })
}
