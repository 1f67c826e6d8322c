//! What is found of one service of a device under update.

use super::{Facts, Reason, Wanted};
use crate::image_match::{Match, compare};
use crate::observe::ABSENT;
use chrono::{DateTime, Utc};
use windlass_types::policy::HealthRule;

/// What a service is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// It is to be stopped; nothing is asked of it.
    NotAsked {
        /// Whether the device has received the target that says so.
        received: bool,
    },
    /// The agent says that the update failed, and why.
    Errored(Reason),
    /// The wanted image was restarted too often.
    CrashLoop,
    /// The wanted image runs and nothing speaks against it.
    Well {
        /// Since when, as reported.
        since: DateTime<Utc>,
    },
    /// The wanted image runs, but its probes do not pass yet.
    NotReady {
        /// Whether they fail, rather than being on their way.
        unhealthy: bool,
    },
    /// The wanted image is there and does not run.
    NotRunning,
    /// Another image is there.
    OtherImage,
    /// Nothing is there.
    Missing,
}

/// Looks at one service.
pub(super) fn find(facts: &Facts<'_>, wanted: &Wanted, rule: &HealthRule) -> Finding {
    if !wanted.runs {
        return Finding::NotAsked {
            received: facts.has_received(),
        };
    }
    let Some(service) = facts.service(wanted) else {
        return Finding::Missing;
    };
    let after_admission = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at >= facts.admitted_at);
    // An error that stood there before is not about this update.
    if facts.has_received()
        && service.phase.as_deref() == Some("failed")
        && after_admission(service.phase_since)
        && let Some(error) = &service.error
    {
        return Finding::Errored(reason_of(&error.kind));
    }
    let Some(image) = service
        .image
        .as_deref()
        .filter(|_| service.status != ABSENT)
    else {
        return crash_loop_or(Finding::Missing, facts, wanted, rule);
    };
    match compare(&wanted.image, image, service.digest.as_deref()) {
        Match::Other | Match::Moved => return Finding::OtherImage,
        Match::Wanted => {}
    }
    if service.restarts >= i64::from(rule.crash_loop_restarts)
        && after_admission(service.image_since)
    {
        return Finding::CrashLoop;
    }
    let Some(since) = service
        .running_since
        .filter(|_| service.status == "running")
    else {
        return Finding::NotRunning;
    };
    match service.health.as_ref().map(|health| health.status.as_str()) {
        // Probes that failed in between make the window begin anew.
        None | Some("healthy") => Finding::Well {
            since: since.max(service.recovered_at.unwrap_or(since)),
        },
        Some("unhealthy") => Finding::NotReady { unhealthy: true },
        Some(_) => Finding::NotReady { unhealthy: false },
    }
}

/// The class of an error that an agent reports. What kept the image from the device says nothing of
/// the image; a pull that failed for a reason nobody gave is taken for that as well.
fn reason_of(kind: &str) -> Reason {
    match kind {
        "registry" => Reason::RegistryError,
        "auth" => Reason::AuthError,
        "network" => Reason::NetworkError,
        "disk" => Reason::DiskError,
        "pull" => Reason::PullError,
        _ => Reason::UpdateError,
    }
}

/// What kept the image from the device, where its last word is an error of that kind. It may be as old
/// as the try before, of which an agent that fails in the same way again reports nothing new.
fn kept_from_it(facts: &Facts<'_>, wanted: &Wanted) -> Option<Reason> {
    let service = facts.service(wanted)?;
    let error = service.error.as_ref()?;
    let reason = reason_of(&error.kind);
    (facts.has_received() && service.phase.as_deref() == Some("failed") && reason.is_environment())
        .then_some(reason)
}

/// A container that is gone for the moment of one report can still be in a crash loop.
fn crash_loop_or(other: Finding, facts: &Facts<'_>, wanted: &Wanted, rule: &HealthRule) -> Finding {
    let looping = facts.service(wanted).is_some_and(|service| {
        service.restarts >= i64::from(rule.crash_loop_restarts)
            && service.absent_since >= Some(facts.admitted_at)
            && facts.has_received()
            && service
                .previous_image
                .as_deref()
                .is_some_and(|image| compare(&wanted.image, image, None) == Match::Wanted)
    });
    if looping { Finding::CrashLoop } else { other }
}

impl Finding {
    /// Whether the wanted image runs.
    pub(super) const fn runs(&self) -> bool {
        match self {
            Self::Well { .. } | Self::NotReady { .. } => true,
            Self::NotAsked { received } => *received,
            Self::Errored(_)
            | Self::CrashLoop
            | Self::NotRunning
            | Self::OtherImage
            | Self::Missing => false,
        }
    }

    /// Since when it runs well, counted from the admission at the earliest.
    pub(super) fn well_since(&self, facts: &Facts<'_>) -> Option<DateTime<Utc>> {
        match self {
            Self::Well { since } => Some((*since).max(facts.admitted_at)),
            Self::NotAsked { received: true } => Some(facts.admitted_at),
            Self::NotAsked { received: false }
            | Self::NotReady { .. }
            | Self::Errored(_)
            | Self::CrashLoop
            | Self::NotRunning
            | Self::OtherImage
            | Self::Missing => None,
        }
    }

    /// What fails the device without waiting for the deadline.
    pub(super) const fn failed_at_once(&self) -> Option<Reason> {
        match self {
            Self::CrashLoop => Some(Reason::CrashLoop),
            Self::Errored(reason) => Some(*reason),
            Self::NotAsked { .. }
            | Self::Well { .. }
            | Self::NotReady { .. }
            | Self::NotRunning
            | Self::OtherImage
            | Self::Missing => None,
        }
    }

    /// Whether the service does not do as it should.
    pub(super) const fn is_fault(&self) -> bool {
        match self {
            Self::NotAsked { .. } | Self::Well { .. } => false,
            Self::NotReady { .. }
            | Self::Errored(_)
            | Self::CrashLoop
            | Self::NotRunning
            | Self::OtherImage
            | Self::Missing => true,
        }
    }

    /// What it amounts to at the deadline. `Well` there means that its window opened too late.
    pub(super) fn failed_at_deadline(&self, facts: &Facts<'_>, wanted: &Wanted) -> Reason {
        let or_kept = |reason| kept_from_it(facts, wanted).unwrap_or(reason);
        match self {
            Self::CrashLoop => Reason::CrashLoop,
            Self::Errored(reason) => *reason,
            Self::OtherImage => or_kept(Reason::WrongImage),
            Self::Missing => or_kept(Reason::Absent),
            Self::NotRunning => Reason::NotRunning,
            Self::NotReady { .. } => Reason::Unhealthy,
            Self::Well { .. } => Reason::Unstable,
            Self::NotAsked { .. } => Reason::NoReport,
        }
    }

    /// For people.
    pub(super) const fn sentence(&self) -> &'static str {
        match self {
            Self::NotAsked { .. } => "is to be stopped",
            Self::Errored(reason) => match reason {
                Reason::RegistryError => "the registry did not serve the image",
                Reason::AuthError => "the registry refused the device",
                Reason::NetworkError => "the device could not reach the registry",
                Reason::DiskError => "the device has no room for the image",
                Reason::PullError => "the device could not pull the image",
                Reason::CrashLoop
                | Reason::UpdateError
                | Reason::WrongImage
                | Reason::Absent
                | Reason::NotRunning
                | Reason::Unhealthy
                | Reason::Unstable
                | Reason::NoReport
                | Reason::CheckFailed
                | Reason::Silent
                | Reason::SilentAfterUpdate
                | Reason::ChecksUndecided => "the agent reports that the update failed",
            },
            Self::CrashLoop => "the new container is restarted again and again",
            Self::Well { .. } => "the new image runs",
            Self::NotReady { unhealthy: true } => "the new image runs, but its probes fail",
            Self::NotReady { unhealthy: false } => "the new image runs; its probes have not passed",
            Self::NotRunning => "the new container does not run",
            Self::OtherImage => "another image is there",
            Self::Missing => "no container is there",
        }
    }
}
