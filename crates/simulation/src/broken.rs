//! The laws, and what is said when one is broken.

use std::fmt;

/// What must hold after each transaction, and at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// A target's version never falls, and each change of a target has exactly one event with the version it made.
    OneVersionOneEvent,
    /// Nobody is admitted while the rollout is halted: paused, ended, or ordered to be.
    NoAdmissionWhileHalted,
    /// Nobody is admitted in a freeze, but for an override.
    NoAdmissionInFreeze,
    /// Nobody is admitted outside the maintenance windows or before the start time.
    NoAdmissionOutsideWindow,
    /// Nobody is admitted without the approvals that the rule asks for.
    NoAdmissionWithoutApproval,
    /// Never more devices in flight than the limits allow, when somebody is admitted.
    WithinLimits,
    /// A device in flight has a time at which it is looked at, and a deadline.
    NobodyAbandoned,
    /// No batch and no rollout ends while somebody who was admitted is on the way, but for whoever was silent
    /// meanwhile and is back.
    NobodyLeftBehind,
    /// A rollback ends on what the device itself proved good last, or had before.
    BackToOwnLastGood,
    /// No digest ships to a device on which it failed, or while it is in quarantine.
    NothingBadShips,
    /// Services of other repositories stay as they are.
    OthersUntouched,
    /// A service's image that a person set is neither overwritten by a rollout made before that, nor put back.
    PersonsTargetStays,
    /// A device is called healthy only on an image that it ran for the stable window without a break, as it
    /// was itself whenever it spoke. What was between two reports nobody can know.
    HealthyByEvidence,
    /// What is stored is what the event log tells.
    LogTellsAll,
    /// When faults have stopped, every rollout ends or waits for a person, and so does every device that is
    /// on its way, waits to go back, or has an image from a rollout that was taken back.
    EverythingEnds,
    /// Services do what they are asked; what fails for another reason than a crash is a fault.
    NothingFails,
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneVersionOneEvent => "a target's version rises by one with exactly one event",
            Self::NoAdmissionWhileHalted => "nobody is admitted while the rollout is halted",
            Self::NoAdmissionInFreeze => "nobody is admitted in a freeze",
            Self::NoAdmissionOutsideWindow => "nobody is admitted outside the window",
            Self::NoAdmissionWithoutApproval => "nobody is admitted without approval",
            Self::WithinLimits => "never more than the budget in flight",
            Self::NobodyAbandoned => "nobody in flight is abandoned",
            Self::NobodyLeftBehind => "no batch ends while somebody is on the way",
            Self::BackToOwnLastGood => "a rollback ends on the device's own last good image",
            Self::NothingBadShips => "no bad digest ships",
            Self::OthersUntouched => "services of other repositories stay as they are",
            Self::PersonsTargetStays => "a person's target is not undone",
            Self::HealthyByEvidence => "healthy is who ran the image for its window",
            Self::LogTellsAll => "the log tells all that is stored",
            Self::EverythingEnds => "every rollout ends or waits for a person",
            Self::NothingFails => "nothing fails but for a crash",
        })
    }
}

/// A law that was broken, or a simulation that could not go on.
#[derive(Debug, thiserror::Error)]
#[error("{}: {detail}", law.map_or_else(|| "the simulation itself failed".to_owned(), |law| law.to_string()))]
pub struct Broken {
    /// The law; none where the simulation itself is at fault.
    pub law: Option<Law>,
    /// How.
    pub detail: String,
}

impl Broken {
    pub(crate) fn law(law: Law, detail: impl Into<String>) -> Self {
        Self {
            law: Some(law),
            detail: detail.into(),
        }
    }

    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(next) = source {
            detail.push_str(&format!(": {next}"));
            source = next.source();
        }
        Self::law(Law::NothingFails, detail)
    }
}

impl From<windlass_store::Error> for Broken {
    fn from(error: windlass_store::Error) -> Self {
        let mut broken = Self::failed(&error);
        broken.law = None;
        broken
    }
}

impl From<windlass_types::ids::Unknown> for Broken {
    fn from(unknown: windlass_types::ids::Unknown) -> Self {
        Self {
            law: None,
            detail: unknown.to_string(),
        }
    }
}

/// What a step gives, or the law it broke.
pub(crate) type Held<T = ()> = Result<T, Broken>;
