//! The service as a whole.

use crate::{budgets, commands, finish, outcome, penalties, put_back, verify};
use std::process::ExitCode;
use std::time::Duration;
use windlass_service::config::Config;
use windlass_service::work::Loop;
use windlass_service::{Deps, Part, StartError, main_with};
use windlass_types::event::EventType;

/// How often devices are looked for that fail again and again: that is seen over days.
const PENALTIES: Duration = Duration::from_secs(30);

/// The service's routes and loops.
///
/// # Errors
/// [`StartError`] where a setting cannot be used.
pub async fn part(config: &Config, deps: &Deps) -> Result<Part, StartError> {
    let scan = Duration::from_millis(config.rollback.scan_ms);
    let group = config.rollback.group;
    let rule = penalties::rule(&config.rollback)?;
    outcome::register(&deps.metrics).map_err(|error| StartError::Part(error.to_string()))?;
    /// One loop: its name, what wakes it, and what it runs.
    macro_rules! work {
        ($name:literal, [$($wake:ident),*], $run:expr) => {{
            let deps = deps.clone();
            Loop::new($name, scan, &[$(EventType::$wake),*], move || {
                let deps = deps.clone();
                async move { $run(&deps, group).await }
            })
        }};
    }
    Ok(Part::new("rollback-manager", |_routes| {})
        .with_loop(work!("rollback-commands", [CommandGiven], commands::run))
        .with_loop(work!(
            "rollback-budgets",
            [UpdateFailed, DeviceUnreachable, RolloutResumed],
            budgets::run
        ))
        .with_loop(work!(
            "rollback-put-back",
            [
                UpdateFailed,
                Quarantined,
                RollbackStarted,
                RolloutPaused,
                DeviceRolledBack,
                DeviceRollbackFailed
            ],
            put_back::run
        ))
        .with_loop(work!("rollback-reports", [StateChanged], verify::reports))
        .with_loop(work!("rollback-due", [], verify::due))
        .with_loop(work!(
            "rollback-finish",
            [RollbackStarted, DeviceRolledBack, DeviceRollbackFailed],
            finish::run
        ))
        .with_loop({
            let deps = deps.clone();
            Loop::new(
                "rollback-penalties",
                PENALTIES,
                &[EventType::RolloutCompleted],
                move || {
                    let deps = deps.clone();
                    async move { penalties::run(&deps, &rule, group).await }
                },
            )
        }))
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    main_with("windlass-rollback-manager", async |config, deps| {
        Ok(vec![part(config, deps).await?])
    })
}
