//! How the checks of a device stand.

use super::Facts;
use super::service::Finding;
use crate::checks;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use windlass_types::policy::{Check, CheckFrom, CheckKind, HealthRule};
use windlass_types::rollout::{CheckStatus, DeviceStatus};

/// How a check stands that health-checker runs against a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCheck {
    /// Its place in the list of the rule, from 0.
    pub position: i64,
    /// What became of it.
    pub status: CheckStatus,
    /// How often it was tried.
    pub tries: i64,
    /// What the last try said.
    pub output: String,
    /// When that was.
    pub checked_at: Option<DateTime<Utc>>,
    /// Until when it must have passed.
    pub deadline_at: DateTime<Utc>,
}

/// A check and what is known of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Checked<'a> {
    position: i64,
    check: &'a Check,
    /// What became of it.
    pub(super) status: CheckStatus,
    tries: Option<i64>,
    said: String,
    checked_at: Option<DateTime<Utc>>,
    /// Until when it must have passed, where that is known.
    deadline_at: Option<DateTime<Utc>>,
    /// Whether it passed before the window began that is open now: then it is to begin anew.
    outdated: bool,
}

/// How every check of a device stands, in the order of the rule.
pub(super) fn look<'a>(
    facts: &Facts<'_>,
    findings: &[Finding],
    rule: &'a HealthRule,
) -> Vec<Checked<'a>> {
    let window = facts.window(findings);
    checks::of_devices(rule)
        .map(|(position, check)| match (check.kind, check.runs_from()) {
            (CheckKind::ContainerRunning, _) => {
                let run = facts.has_reported() && findings.iter().all(Finding::runs);
                let said = if run {
                    "the container runs"
                } else {
                    "the container does not run"
                };
                told(position, check, passed(run), said)
            }
            (_, CheckFrom::Server) => from_server(facts, position, check, window),
            (_, CheckFrom::Device) => from_device(facts, position, check),
        })
        .collect()
}

/// What a check that health-checker runs may take beyond its own time: until its last try is written
/// down.
const TO_WRITE_DOWN: TimeDelta = TimeDelta::seconds(60);

/// Until when those checks may take that are not decided yet; those that have not begun do so with the
/// verification, or now. They have their own time, also where the device's deadline comes sooner.
pub(super) fn own_end(
    checks: &[Checked<'_>],
    begin: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    checks
        .iter()
        .filter(|one| one.status == CheckStatus::Pending)
        .filter(|one| one.check.runs_from() == CheckFrom::Server)
        .map(|one| {
            let own = TimeDelta::seconds(i64::from(one.check.timeout_seconds));
            let end = match one.deadline_at {
                Some(_) if one.outdated => now + own,
                Some(deadline) => deadline,
                None => begin + own,
            };
            end + TO_WRITE_DOWN
        })
        .max()
}

/// The places of those checks that are to begin anew.
pub(super) fn anew(checks: &[Checked<'_>]) -> Vec<i64> {
    let outdated = checks.iter().filter(|one| one.outdated);
    outdated.map(|one| one.position).collect()
}

const fn passed(yes: bool) -> CheckStatus {
    if yes {
        CheckStatus::Passed
    } else {
        CheckStatus::Pending
    }
}

fn told<'a>(position: i64, check: &'a Check, status: CheckStatus, said: &str) -> Checked<'a> {
    Checked {
        position,
        check,
        status,
        tries: None,
        said: said.to_owned(),
        checked_at: None,
        deadline_at: None,
        outdated: false,
    }
}

/// What was found before the device was being verified is of another try. A check that passed before
/// the window that is open now says nothing of the container that runs now.
fn from_server<'a>(
    facts: &Facts<'_>,
    position: i64,
    check: &'a Check,
    window: Option<DateTime<Utc>>,
) -> Checked<'a> {
    let found = facts
        .server_checks
        .iter()
        .filter(|_| facts.status == DeviceStatus::Verifying)
        .find(|found| found.position == position);
    match found {
        Some(found) => {
            let outdated = found.status == CheckStatus::Passed
                && found
                    .checked_at
                    .zip(window)
                    .is_some_and(|(at, from)| at < from);
            Checked {
                position,
                check,
                status: if outdated {
                    CheckStatus::Pending
                } else {
                    found.status
                },
                tries: Some(found.tries),
                said: if outdated {
                    "it passed before the stable window began anew, and is tried again".to_owned()
                } else {
                    found.output.clone()
                },
                checked_at: found.checked_at,
                deadline_at: Some(found.deadline_at),
                outdated,
            }
        }
        None => told(position, check, CheckStatus::Pending, "it has not begun"),
    }
}

/// A probe that fails is no failed check yet: what fails up to the deadline fails the device.
fn from_device<'a>(facts: &Facts<'_>, position: i64, check: &'a Check) -> Checked<'a> {
    let mut status = CheckStatus::Passed;
    let mut said = "the device reports that its probes pass";
    for wanted in facts.wanted.iter().filter(|wanted| wanted.runs) {
        let health = facts
            .service(wanted)
            .filter(|_| facts.has_reported() && facts.has_received())
            .and_then(|service| service.health.as_ref());
        let missing = match health.map(|health| health.status.as_str()) {
            Some("healthy") => continue,
            Some("unhealthy") => "the device reports that its probes fail",
            Some(_) => "the device reports that its probes have not passed",
            None => "the device reports no results of probes",
        };
        (status, said) = (CheckStatus::Pending, missing);
    }
    told(position, check, status, said)
}

impl Checked<'_> {
    /// Whether its failure is the device's: only where the device was seen since. A site that has lost
    /// its network answers nobody, and says nothing of the image.
    pub(super) fn failed_by(&self, seen: Option<DateTime<Utc>>) -> bool {
        self.status == CheckStatus::Failed && seen >= self.checked_at
    }

    fn name(&self) -> String {
        checks::name_of(
            self.check,
            usize::try_from(self.position).unwrap_or_default(),
        )
    }

    /// For people.
    pub(super) fn sentence(&self) -> String {
        format!("check {:?}: {}", self.name(), self.said)
    }

    pub(super) fn write(&self) -> Value {
        json!({
            "position": self.position,
            "name": self.name(),
            "type": self.check.kind,
            "from": self.check.runs_from(),
            "status": self.status,
            "tries": self.tries,
            "output": self.said,
            "checked_at": self.checked_at,
        })
    }
}
