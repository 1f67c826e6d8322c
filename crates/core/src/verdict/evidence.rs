//! What a verdict rests on, written so that a person can read it; and the steps told so far.

use super::checked::Checked;
use super::service::Finding;
use super::{Facts, Presence, Reason};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use windlass_types::event::EventType;
use windlass_types::rollout::{CheckStatus, DeviceStatus};

/// Steps of an update, each told once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Steps {
    /// The device has received its target and works on it.
    pub updating: bool,
    /// It pulls.
    pub pulling: bool,
    /// It has pulled.
    pub pulled: bool,
    /// The image runs.
    pub verifying: bool,
}

impl Steps {
    const NAMES: [(&'static str, EventType); 4] = [
        ("updating", EventType::ContainerUpdating),
        ("pulling", EventType::ImagePulling),
        ("pulled", EventType::ImagePulled),
        ("verifying", EventType::VerificationStarted),
    ];

    const fn flags(self) -> [bool; 4] {
        [self.updating, self.pulling, self.pulled, self.verifying]
    }

    /// The steps written into evidence.
    #[must_use]
    pub fn read(evidence: Option<&Value>) -> Self {
        let told = |name: &str| {
            evidence
                .and_then(|e| e.get("steps"))
                .and_then(Value::as_array)
                .is_some_and(|steps| steps.iter().any(|step| step == name))
        };
        Self {
            updating: told("updating"),
            pulling: told("pulling"),
            pulled: told("pulled"),
            verifying: told("verifying"),
        }
    }

    /// Those taken, by name.
    pub(super) fn names(self) -> Vec<&'static str> {
        Self::NAMES
            .iter()
            .zip(self.flags())
            .filter(|(_, told)| *told)
            .map(|((name, _), _)| *name)
            .collect()
    }

    /// Those of either.
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            updating: self.updating || other.updating,
            pulling: self.pulling || other.pulling,
            pulled: self.pulled || other.pulled,
            verifying: self.verifying || other.verifying,
        }
    }

    /// The events of the steps that were not taken before.
    pub(super) fn since(self, before: Self) -> Vec<EventType> {
        Self::NAMES
            .iter()
            .zip(self.flags())
            .zip(before.flags())
            .filter(|((_, now), before)| *now && !*before)
            .map(|(((_, event), _), _)| *event)
            .collect()
    }
}

impl Facts<'_> {
    /// The steps that the agent's phases tell of, for agents that report them.
    pub(super) fn steps_now(&self) -> Steps {
        if !self.has_received() {
            return Steps::default();
        }
        let any = |phases: &[&str]| {
            self.wanted.iter().any(|wanted| {
                self.service(wanted).is_some_and(|service| {
                    service
                        .phase
                        .as_deref()
                        .is_some_and(|p| phases.contains(&p))
                        && service.phase_since >= Some(self.admitted_at)
                })
            })
        };
        Steps {
            pulling: any(&["pulling"]),
            pulled: any(&["pulled", "starting", "verifying"]),
            ..Steps::default()
        }
    }
}

/// Writes down what was found.
pub(super) fn write(
    facts: &Facts<'_>,
    (findings, checks): (&[Finding], &[Checked<'_>]),
    (status, reason): (DeviceStatus, Option<Reason>),
    (steps, presence): (Steps, Presence),
    now: DateTime<Utc>,
) -> Value {
    let services: Vec<Value> = facts
        .wanted
        .iter()
        .zip(findings)
        .map(|(wanted, finding)| {
            let mut entry = json!({
                "app_id": wanted.app_id,
                "service_id": wanted.service_id,
                "wanted": wanted.image,
                "finding": finding.sentence(),
            });
            if let (Some(service), Some(entry)) = (facts.service(wanted), entry.as_object_mut()) {
                entry.insert("reported".to_owned(), json!(service.image));
                entry.insert("status".to_owned(), json!(service.status));
                entry.insert("restarts".to_owned(), json!(service.restarts));
                let mut add = |name: &str, value: Option<Value>| {
                    if let Some(value) = value {
                        entry.insert(name.to_owned(), value);
                    }
                };
                add("digest", service.digest.as_ref().map(|v| json!(v)));
                add("running_since", service.running_since.map(|v| json!(v)));
                add("absent_since", service.absent_since.map(|v| json!(v)));
                add("phase", service.phase.as_ref().map(|v| json!(v)));
                add("health", service.health.as_ref().map(|v| json!(v)));
                add("error", service.error.as_ref().map(|v| json!(v)));
            }
            entry
        })
        .collect();
    let steps = steps.names();
    let mut written = json!({
        "summary": summary(facts, (findings, checks), status, reason),
        "judged_at": now,
        "admitted_at": facts.admitted_at,
        "deadline_at": facts.deadline_at,
        "seen_at": facts.seen(),
        "reported_at": facts.observation.and_then(|o| o.last_report_at),
        "target_version": facts.target_version,
        "version_received": facts.observation.and_then(|o| o.version_received),
        "services": services,
        "steps": steps,
        "presence": presence.write(),
    });
    if let (false, Some(written)) = (checks.is_empty(), written.as_object_mut()) {
        let checks = checks.iter().map(Checked::write).collect();
        written.insert("checks".to_owned(), Value::Array(checks));
    }
    written
}

fn summary(
    facts: &Facts<'_>,
    (findings, checks): (&[Finding], &[Checked<'_>]),
    status: DeviceStatus,
    reason: Option<Reason>,
) -> String {
    let check = |status| {
        checks
            .iter()
            .find(|check| check.status == status)
            .map_or_else(String::new, Checked::sentence)
    };
    let seen = || {
        facts.seen().map_or_else(
            || "it has never been seen".to_owned(),
            |at| format!("it was seen last at {}", at.to_rfc3339()),
        )
    };
    match (status, reason) {
        (DeviceStatus::Completed, _) => {
            "the new image ran through the stable window without a restart, and the device was seen after it".to_owned()
        }
        (DeviceStatus::Unreachable, Some(Reason::SilentAfterUpdate)) => format!(
            "the device fell silent after it took up the update: {}",
            seen()
        ),
        (DeviceStatus::Unreachable, _) => format!("the device is silent: {}", seen()),
        (DeviceStatus::Inconclusive, _) => {
            let undecided = [CheckStatus::Inconclusive, CheckStatus::Pending]
                .into_iter()
                .map(check)
                .find(|sentence| !sentence.is_empty());
            format!(
                "the new image runs, but its checks said neither yes nor no: {}",
                undecided.unwrap_or_default()
            )
        }
        (DeviceStatus::Failed, Some(Reason::CheckFailed)) => check(CheckStatus::Failed),
        (DeviceStatus::Failed, Some(Reason::NoReport)) => {
            "the device polls, but has reported nothing since its target was changed".to_owned()
        }
        (DeviceStatus::Failed, Some(Reason::Unstable)) => {
            "the new image ran, but never through the stable window until the deadline".to_owned()
        }
        (DeviceStatus::Failed, Some(reason)) => findings
            .iter()
            .zip(facts.wanted)
            .find(|(finding, wanted)| finding.failed_at_deadline(facts, wanted) == reason)
            .map(|(finding, _)| finding.sentence())
            .unwrap_or(reason.as_str())
            .to_owned(),
        _ if !facts.has_reported() && !facts.has_received() => {
            format!("waits for the device to take its new target: {}", seen())
        }
        _ if findings.iter().all(|f| f.well_since(facts).is_some()) => {
            let failed = check(CheckStatus::Failed);
            let undecided = check(CheckStatus::Pending);
            if !failed.is_empty() {
                format!("a check failed, and the device was not seen since: {failed}")
            } else if undecided.is_empty() {
                "the new image runs; its stable window is open".to_owned()
            } else {
                format!("the new image runs; a check has not passed: {undecided}")
            }
        }
        _ => findings
            .iter()
            .find(|f| f.well_since(facts).is_none())
            .map_or("", Finding::sentence)
            .to_owned(),
    }
}
