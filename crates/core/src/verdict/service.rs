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
    /// The agent says that the update failed.
    Errored,
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
        && service.error.is_some()
        && after_admission(service.phase_since)
    {
        return Finding::Errored;
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
        None | Some("healthy") => Finding::Well { since },
        Some("unhealthy") => Finding::NotReady { unhealthy: true },
        Some(_) => Finding::NotReady { unhealthy: false },
    }
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
            Self::Errored
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
            | Self::Errored
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
            Self::Errored => Some(Reason::UpdateError),
            Self::NotAsked { .. }
            | Self::Well { .. }
            | Self::NotReady { .. }
            | Self::NotRunning
            | Self::OtherImage
            | Self::Missing => None,
        }
    }

    /// What it amounts to at the deadline. `Well` there means that its window opened too late.
    pub(super) const fn failed_at_deadline(&self) -> Reason {
        match self {
            Self::CrashLoop => Reason::CrashLoop,
            Self::Errored => Reason::UpdateError,
            Self::OtherImage => Reason::WrongImage,
            Self::Missing => Reason::Absent,
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
            Self::Errored => "the agent reports that the update failed",
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
