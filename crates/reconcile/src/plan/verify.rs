//! Whether a container has proved itself.

use super::look::Look;
use crate::memory::FailureClass;
use crate::observed::{Container, ContainerState, Health, ProbeResult};
use crate::outcome::StepFailure;
use crate::spec::{Healthcheck, Probe, ServiceSpec};
use chrono::{DateTime, Utc};

/// What can be said of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It runs, all that checks it passes, and it has done so for long enough.
    Proved,
    /// It will not do.
    Failed(StepFailure),
    /// That shows only later.
    Open {
        /// What is missing.
        why: String,
        /// When it shows at the latest.
        until: DateTime<Utc>,
        /// Whether all that checks it passes, and only time is missing.
        ready: bool,
    },
}

/// One check and what it says.
struct Check<'a> {
    name: String,
    says: Option<Health>,
    result: Option<&'a ProbeResult>,
    /// Whether a definite no is the end of it. Readiness may say no for as long as it likes.
    is_final: bool,
    /// Whether it proves anything. Being alive does not.
    is_needed: bool,
}

/// Judges an active container.
pub(super) fn judge(look: &Look<'_>, spec: &ServiceSpec, container: &Container) -> Verdict {
    let settings = look.settings;
    let seen = container.seen_seconds;
    let has_run = |seconds: u32| seen >= seconds;
    let deadline = deadline(look, spec, container);
    let running = container.state == ContainerState::Running;
    let restarts = restarts(look, container);
    // Who ended so often has to run for long before it is believed.
    if restarts >= settings.crash_restarts && !(running && has_run(deadline)) {
        return Verdict::Failed(crash_loop(container, restarts));
    }
    let checks = checks(spec, container);
    for check in &checks {
        if running && check.is_final && check.says == Some(Health::Unhealthy) {
            return failed(FailureClass::Health, said(check));
        }
    }
    let open = checks
        .iter()
        .find(|check| check.is_needed && check.says != Some(Health::Healthy));
    match open {
        None if running && has_run(settings.settle_seconds) => Verdict::Proved,
        Some(check) if running && has_run(deadline) => {
            let text = format!("{} within {deadline} s", said(check));
            failed(FailureClass::Health, text)
        }
        Some(check) => Verdict::Open {
            why: format!("{} to pass", check.name),
            until: look.after(look.now, left(deadline, seen)),
            ready: false,
        },
        None => Verdict::Open {
            why: format!("{} s without a restart", settings.settle_seconds),
            until: look.after(look.now, left(settings.settle_seconds, seen)),
            ready: running,
        },
    }
}

/// The seconds that are left of a time; never none, so that a look that comes too early is followed by another.
fn left(seconds: u32, seen: u32) -> u32 {
    seconds.saturating_sub(seen).max(1)
}

/// What the checks of a running container say altogether, and which of them decides.
pub(super) fn health(
    spec: &ServiceSpec,
    container: &Container,
) -> Option<(Health, String, Option<ProbeResult>)> {
    let checks = checks(spec, container);
    let worst = [
        Some(Health::Unhealthy),
        Some(Health::Starting),
        None,
        Some(Health::Healthy),
    ];
    let check = worst
        .iter()
        .find_map(|says| checks.iter().find(|c| c.says == *says))?;
    let says = check.says.unwrap_or(Health::Starting);
    Some((says, check.name.clone(), check.result.cloned()))
}

/// Whether its liveness probe says that it is not alive.
pub(super) fn is_dead(spec: &ServiceSpec, container: &Container) -> bool {
    let says = container
        .probes
        .liveness
        .as_ref()
        .map(|result| result.health);
    container.state == ContainerState::Running
        && spec.probes.liveness.is_some()
        && says == Some(Health::Unhealthy)
}

fn checks<'a>(spec: &ServiceSpec, container: &'a Container) -> Vec<Check<'a>> {
    let mut checks = Vec::new();
    let mut add = |name: &str, result: Option<&'a ProbeResult>, is_final, is_needed| {
        checks.push(Check {
            name: name.to_owned(),
            says: result.map(|result| result.health),
            result,
            is_final,
            is_needed,
        });
    };
    let says = &container.probes;
    let probes = &spec.probes;
    if probes.startup.is_some() {
        add("startup", says.startup.as_ref(), true, true);
    }
    if probes.readiness.is_some() {
        add("readiness", says.readiness.as_ref(), false, true);
    }
    for name in probes.checks.keys() {
        add(name, says.checks.get(name), false, true);
    }
    if probes.liveness.is_some() {
        add("liveness", says.liveness.as_ref(), true, false);
    }
    if let Some(health) = container.health {
        checks.push(Check {
            name: "healthcheck".to_owned(),
            says: Some(health),
            result: None,
            is_final: true,
            is_needed: true,
        });
    }
    checks
}

/// How long all checks may take to pass, in seconds.
fn deadline(look: &Look<'_>, spec: &ServiceSpec, container: &Container) -> u32 {
    let budget = |probe: &Probe| {
        let one = u64::from(probe.period_seconds) + u64::from(probe.timeout_seconds);
        let tries = u64::from(probe.failure_threshold) + u64::from(probe.success_threshold);
        u64::from(probe.initial_delay_seconds).saturating_add(one.saturating_mul(tries))
    };
    let probes = &spec.probes;
    let mut asked: u64 = probes.startup.as_ref().map_or(0, budget);
    // These wait for the startup probe, and run beside one another.
    let beside = probes.readiness.iter().chain(probes.checks.values());
    asked = asked.saturating_add(beside.map(budget).max().unwrap_or(0));
    // The container's own is the image's, too, which no spec tells.
    let engines = [&spec.container.healthcheck, &container.healthcheck];
    for check in engines.into_iter().flatten() {
        asked = asked.max(engines_budget(check));
    }
    u32::try_from(asked)
        .unwrap_or(u32::MAX)
        .max(look.settings.deadline_seconds)
}

/// How long an engine may take until its check says yes or no, with what engines take where nothing is said: it asks for
/// the first time one interval after the start.
fn engines_budget(check: &Healthcheck) -> u64 {
    let seconds = |asked: Option<u32>, usual| u64::from(asked.unwrap_or(usual));
    let one = seconds(check.interval_seconds, 30) + seconds(check.timeout_seconds, 30);
    let tries = seconds(check.retries, 3) + 1;
    seconds(check.start_period_seconds, 0).saturating_add(one.saturating_mul(tries))
}

fn failed(class: FailureClass, message: String) -> Verdict {
    Verdict::Failed(StepFailure { class, message })
}

fn said(check: &Check<'_>) -> String {
    let output = check
        .result
        .map(|result| result.output.as_str())
        .unwrap_or_default();
    if output.is_empty() {
        format!("{} does not pass", check.name)
    } else {
        format!("{} does not pass: {output}", check.name)
    }
}

/// How often a container was started again since the agent had to do with it, by the engine and by the agent.
pub(super) fn restarts(look: &Look<'_>, container: &Container) -> u32 {
    let by_agent = look
        .restarts(container.service)
        .filter(|r| r.run.id == container.id);
    container
        .restarts
        .saturating_sub(container.restarts_before)
        .saturating_add(by_agent.map_or(0, |r| r.count))
}

/// The failure of a container that was started again so often.
pub(super) fn crash_loop(container: &Container, restarts: u32) -> StepFailure {
    StepFailure {
        class: FailureClass::CrashLoop,
        message: format!(
            "started {restarts} times again; {}",
            how_it_ended(container)
        ),
    }
}

/// How a container ended, for people.
pub(super) fn how_it_ended(container: &Container) -> String {
    match (container.oom_killed, container.exit_code) {
        (true, _) => "it was ended for want of memory".to_owned(),
        (false, Some(code)) => format!("it ended with {code}"),
        (false, None) => "how it ended is not known".to_owned(),
    }
}
