//! Whether a device is healthy, failed or unreachable on its new image.
//!
//! A verdict needs evidence (docs/adr/0007-verdicts.md): success is the wanted image running through
//! a stable window with the device seen after it, failure a definite sign, silence neither.

mod checked;
mod evidence;
mod presence;
mod retry;
mod service;
mod wanted;

#[cfg(test)]
mod tests;

use checked::Checked;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use service::Finding;
use windlass_types::event::EventType;
use windlass_types::observation::{Observation, ServiceObservation};
use windlass_types::policy::HealthRule;
use windlass_types::rollout::{CheckStatus, DeviceStatus};

pub use checked::ServerCheck;
pub use evidence::Steps;
pub use presence::Presence;
pub use retry::{again, put_off};
pub use wanted::{Shipped, wanted_of};

/// A service that a rollout moves on a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// The app.
    pub app_id: i64,
    /// The service.
    pub service_id: i64,
    /// The image in the device's target.
    pub image: String,
    /// Whether the target wants it running; a stopped service has nothing to prove.
    pub runs: bool,
}

/// All that a verdict rests on.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// Where the device stands in the rollout.
    pub status: DeviceStatus,
    /// Since when it stands there or was last judged: what an unreachable device must be seen after.
    pub since: DateTime<Utc>,
    /// When it was admitted.
    pub admitted_at: DateTime<Utc>,
    /// Until when it must run the image.
    pub deadline_at: DateTime<Utc>,
    /// The target version that gave it the image.
    pub target_version: i64,
    /// The services it must run.
    pub wanted: &'a [Wanted],
    /// What its reports said.
    pub observation: Option<&'a Observation>,
    /// When it polled or reported last, to the resolution at which that is kept.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// The steps that were told already.
    pub steps: Steps,
    /// How long it has been there, where it comes and goes.
    pub presence: Presence,
    /// How the checks stand that health-checker runs against it; those that are not in it have not
    /// begun.
    pub server_checks: &'a [ServerCheck],
}

/// Why a device stands where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The updated container was restarted too often.
    CrashLoop,
    /// The agent says that the update failed.
    UpdateError,
    /// Another image runs past the deadline.
    WrongImage,
    /// The service is missing past the deadline.
    Absent,
    /// The container does not run past the deadline.
    NotRunning,
    /// Its probes fail past the deadline.
    Unhealthy,
    /// It ran, but never long enough without a restart.
    Unstable,
    /// The device polls, but has reported nothing since it was admitted.
    NoReport,
    /// A check failed: as many tries in a row as it takes.
    CheckFailed,
    /// The registry did not serve the image.
    RegistryError,
    /// The registry refused the device.
    AuthError,
    /// The device could not reach the registry.
    NetworkError,
    /// The device has no room for the image.
    DiskError,
    /// The image could not be pulled, for a reason nobody gave.
    PullError,
    /// The device has not been seen for long.
    Silent,
    /// The device has not been seen for long, and had taken up the new image or its target before.
    SilentAfterUpdate,
    /// Its time is over and its checks said neither yes nor no.
    ChecksUndecided,
}

impl Reason {
    /// As stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CrashLoop => "crash_loop",
            Self::UpdateError => "update_error",
            Self::WrongImage => "wrong_image",
            Self::Absent => "absent",
            Self::NotRunning => "not_running",
            Self::Unhealthy => "unhealthy",
            Self::Unstable => "unstable",
            Self::NoReport => "no_report",
            Self::CheckFailed => "check_failed",
            Self::RegistryError => "registry_error",
            Self::AuthError => "auth_error",
            Self::NetworkError => "network_error",
            Self::DiskError => "disk_error",
            Self::PullError => "pull_error",
            Self::Silent => "silent",
            Self::SilentAfterUpdate => "silent_after_update",
            Self::ChecksUndecided => "checks_undecided",
        }
    }

    /// Whether it says nothing about the image: such a device is tried again.
    #[must_use]
    pub const fn is_environment(self) -> bool {
        match self {
            Self::RegistryError
            | Self::AuthError
            | Self::NetworkError
            | Self::DiskError
            | Self::PullError => true,
            Self::CrashLoop
            | Self::UpdateError
            | Self::WrongImage
            | Self::Absent
            | Self::NotRunning
            | Self::Unhealthy
            | Self::Unstable
            | Self::NoReport
            | Self::CheckFailed
            | Self::Silent
            | Self::SilentAfterUpdate
            | Self::ChecksUndecided => false,
        }
    }
}

/// What is made of a device now.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Where it stands from now on: in flight, completed, failed, unreachable or inconclusive.
    pub status: DeviceStatus,
    /// Why, for failed, unreachable and inconclusive.
    pub reason: Option<Reason>,
    /// What this rests on, for people.
    pub evidence: Value,
    /// When to look again although nothing new came; after `now`. None once it is judged.
    pub check_at: Option<DateTime<Utc>>,
    /// The deadline from now on.
    pub deadline_at: DateTime<Utc>,
    /// What happened, in this order.
    pub events: Vec<EventType>,
    /// The places of the checks of health-checker that begin anew: they passed before the stable window
    /// that is open now.
    pub checks_anew: Vec<i64>,
}

/// Judges a device that is in flight or unreachable. `None` for one that has been judged, has not
/// been admitted, is unreachable and has not been seen since, or has no service to be judged by.
#[must_use]
pub fn judge(facts: &Facts<'_>, rule: &HealthRule, now: DateTime<Utc>) -> Option<Judgement> {
    if facts.wanted.is_empty() {
        return None;
    }
    match facts.status {
        DeviceStatus::Scheduled | DeviceStatus::Updating | DeviceStatus::Verifying => {
            Some(judge_in_flight(facts, rule, now))
        }
        DeviceStatus::Unreachable => {
            // It is back: it goes on with what is left of its time, or one that comes and goes
            // would never be judged and would hold up its batch for ever.
            let back = facts.seen()?;
            let silence = seconds(rule.unreachable_after_seconds);
            (back > facts.since && now - back < silence).then(|| {
                let resumed = Facts {
                    status: DeviceStatus::Updating,
                    deadline_at: now + facts.presence.left(seconds(rule.deadline_seconds)),
                    presence: Presence {
                        back_at: Some(back),
                        ..facts.presence
                    },
                    ..facts.clone()
                };
                let mut judged = judge_in_flight(&resumed, rule, now);
                // It stands elsewhere now, also where the step was told before the silence.
                let step = match judged.status {
                    DeviceStatus::Updating => Some(EventType::ContainerUpdating),
                    DeviceStatus::Verifying => Some(EventType::VerificationStarted),
                    DeviceStatus::Pending
                    | DeviceStatus::Scheduled
                    | DeviceStatus::Completed
                    | DeviceStatus::Failed
                    | DeviceStatus::Unreachable
                    | DeviceStatus::Inconclusive
                    | DeviceStatus::Skipped
                    | DeviceStatus::RollingBack
                    | DeviceStatus::RolledBack
                    | DeviceStatus::RollbackFailed => None,
                };
                if let Some(step) = step.filter(|step| !judged.events.contains(step)) {
                    judged.events.push(step);
                }
                judged
            })
        }
        DeviceStatus::Pending
        | DeviceStatus::Completed
        | DeviceStatus::Failed
        | DeviceStatus::Inconclusive
        | DeviceStatus::Skipped
        | DeviceStatus::RollingBack
        | DeviceStatus::RolledBack
        | DeviceStatus::RollbackFailed => None,
    }
}

pub(crate) fn seconds(count: u32) -> TimeDelta {
    TimeDelta::seconds(i64::from(count))
}

/// How long to wait before asking again whether a device was seen: polls append no events. In
/// proportion to the window, between a second and a quarter of a minute.
fn recheck(rule: &HealthRule) -> TimeDelta {
    TimeDelta::seconds(i64::from((rule.stable_window_seconds / 4).clamp(1, 15)))
}

impl Facts<'_> {
    /// When the device was seen last, by poll or report.
    fn seen(&self) -> Option<DateTime<Utc>> {
        self.last_seen_at
            .max(self.observation.and_then(|o| o.last_report_at))
    }

    /// Whether a report came since it was admitted.
    fn has_reported(&self) -> bool {
        self.observation
            .and_then(|o| o.last_report_at)
            .is_some_and(|at| at >= self.admitted_at)
    }

    /// Whether it has received the target that names the image.
    fn has_received(&self) -> bool {
        self.observation
            .and_then(|o| o.version_received)
            .is_some_and(|version| version >= self.target_version)
    }

    /// When the latest stable window began, where every service runs well.
    fn window(&self, findings: &[Finding]) -> Option<DateTime<Utc>> {
        if !self.has_reported() {
            return None;
        }
        let since = findings.iter().map(|finding| finding.well_since(self));
        let since = since.collect::<Option<Vec<_>>>()?;
        Some(since.into_iter().max().unwrap_or(self.admitted_at))
    }

    fn service(&self, wanted: &Wanted) -> Option<&ServiceObservation> {
        self.observation?
            .services
            .iter()
            .find(|s| s.app_id == wanted.app_id && s.service_id == wanted.service_id)
    }
}

/// The end of the wait that a device is in.
enum Outcome {
    Healthy,
    Failed(Reason),
    Unreachable(Reason),
    /// Its services run well, and its checks say neither yes nor no.
    Inconclusive,
    /// Not yet; look again then.
    Wait(DateTime<Utc>),
}

fn judge_in_flight(facts: &Facts<'_>, rule: &HealthRule, now: DateTime<Utc>) -> Judgement {
    let findings: Vec<Finding> = facts
        .wanted
        .iter()
        .map(|wanted| service::find(facts, wanted, rule))
        .collect();
    let checks = checked::look(facts, &findings, rule);
    let outcome = outcome(facts, &findings, &checks, rule, now);
    let all_run = facts.has_reported() && findings.iter().all(Finding::runs);
    let moving = all_run || facts.has_received() || facts.steps_now().pulling;
    let in_flight = match facts.status {
        // A window that was opened stays open; what breaks it makes it begin anew.
        DeviceStatus::Verifying => DeviceStatus::Verifying,
        _ if all_run => DeviceStatus::Verifying,
        DeviceStatus::Updating => DeviceStatus::Updating,
        _ if moving => DeviceStatus::Updating,
        _ => DeviceStatus::Scheduled,
    };
    let (status, reason, check_at) = match outcome {
        Outcome::Healthy => (DeviceStatus::Completed, None, None),
        Outcome::Failed(reason) => (DeviceStatus::Failed, Some(reason), None),
        Outcome::Unreachable(reason) => (DeviceStatus::Unreachable, Some(reason), None),
        Outcome::Inconclusive => (
            DeviceStatus::Inconclusive,
            Some(Reason::ChecksUndecided),
            None,
        ),
        Outcome::Wait(at) => (in_flight, None, Some(at)),
    };
    let reached = Steps {
        updating: moving,
        verifying: all_run,
        ..facts.steps_now()
    };
    let steps = facts.steps.and(reached);
    let presence = if status == DeviceStatus::Unreachable {
        facts.presence.ended(facts)
    } else {
        facts.presence
    };
    let mut events = steps.since(facts.steps);
    events.extend_from_slice(match status {
        DeviceStatus::Completed => &[EventType::HealthCheckPassed, EventType::UpdateCompleted],
        DeviceStatus::Failed => &[EventType::HealthCheckFailed, EventType::UpdateFailed],
        DeviceStatus::Unreachable => &[EventType::DeviceUnreachable],
        DeviceStatus::Inconclusive => &[EventType::DeviceInconclusive],
        _ => &[],
    });
    Judgement {
        status,
        reason,
        evidence: evidence::write(
            facts,
            (&findings, &checks),
            (status, reason),
            (steps, presence),
            now,
        ),
        check_at,
        deadline_at: facts.deadline_at,
        events,
        checks_anew: if status == DeviceStatus::Verifying {
            checked::anew(&checks)
        } else {
            Vec::new()
        },
    }
}

fn outcome(
    facts: &Facts<'_>,
    findings: &[Finding],
    checks: &[Checked<'_>],
    rule: &HealthRule,
    now: DateTime<Utc>,
) -> Outcome {
    if let Some(reason) = findings.iter().filter_map(Finding::failed_at_once).min() {
        return Outcome::Failed(reason);
    }
    let any = |status| checks.iter().any(|check| check.status == status);
    let seen = facts.seen();
    if checks.iter().any(|check| check.failed_by(seen)) {
        return Outcome::Failed(Reason::CheckFailed);
    }
    // The end of the latest window, where every service runs well.
    let window_end = facts
        .window(findings)
        .map(|since| since + seconds(rule.stable_window_seconds));
    let proved = window_end.is_some_and(|end| now >= end && seen.is_some_and(|at| at >= end));
    // Whoever asks a device whose network is gone hears a no as well.
    let refuted = any(CheckStatus::Failed);
    if proved && !refuted && !any(CheckStatus::Pending) {
        return if any(CheckStatus::Inconclusive) {
            Outcome::Inconclusive
        } else {
            Outcome::Healthy
        };
    }
    let silent_since = seen.map_or(facts.admitted_at, |at| at.max(facts.admitted_at));
    // An unreachable device that came back is silent from then on.
    let unreachable_at = silent_since + seconds(rule.unreachable_after_seconds);
    if now >= unreachable_at {
        let took_it_up = facts.has_received() || findings.iter().any(Finding::runs);
        return Outcome::Unreachable(if took_it_up {
            Reason::SilentAfterUpdate
        } else {
            Reason::Silent
        });
    }
    // A window that was opened in time may end after the deadline.
    let opened_in_time =
        window_end.filter(|end| *end - seconds(rule.stable_window_seconds) <= facts.deadline_at);
    let until = opened_in_time.map_or(facts.deadline_at, |end| end.max(facts.deadline_at));
    if opened_in_time.is_none() && now >= until && seen.is_some_and(|at| at >= until) {
        let reason = if facts.has_reported() {
            facts
                .wanted
                .iter()
                .zip(findings)
                // A service that does as it should explains nothing while another does not.
                .min_by_key(|(wanted, finding)| {
                    let reason = finding.failed_at_deadline(facts, wanted);
                    (!finding.is_fault(), reason)
                })
                .map(|(wanted, finding)| finding.failed_at_deadline(facts, wanted))
        } else {
            None
        };
        return Outcome::Failed(reason.unwrap_or(Reason::NoReport));
    }
    if refuted {
        return Outcome::Wait((now + recheck(rule)).min(unreachable_at));
    }
    // The services do what they should; that the checks have nothing to say is no sign against them.
    let begun = match facts.status {
        DeviceStatus::Verifying => facts.since,
        _ => now,
    };
    let give_up_at = checked::own_end(checks, begun, now).map_or(until, |end| until.max(end));
    if proved && now >= give_up_at {
        return Outcome::Inconclusive;
    }
    let due = match window_end {
        Some(end) if !proved => end.min(until),
        Some(_) => give_up_at,
        None => until,
    };
    let next = if due > now { due } else { now + recheck(rule) };
    Outcome::Wait(next.min(unreachable_at))
}
