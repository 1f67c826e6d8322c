//! What is made of a step that failed.

use crate::memory::{Failed, FailureClass, Memory};
use crate::observed::Observed;
use crate::settings::Settings;
use crate::spec::{ServiceKey, ServiceSpec, Wanted};
use crate::step::{Note, Step};
use chrono::{DateTime, TimeDelta, Utc};

/// How a step failed, as who did it puts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailure {
    /// What kind. For a pull: registry, auth, disk or pull. For making a container: disk, config (the engine
    /// says that the request is wrong) or start. For starting one: disk or start.
    pub class: FailureClass,
    /// For people.
    pub message: String,
}

/// What is written down where a step failed: the failure of the wanted spec. None: the failure says nothing
/// of it (another step, the last good spec, an engine that does not answer), and who did it puts
/// [`Step::subject`] aside for a while, growing with each time.
#[must_use]
pub fn note_of_failure(
    step: &Step,
    failure: &StepFailure,
    wanted: &Wanted,
    observed: &Observed,
    memory: &Memory,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Option<(ServiceKey, Note)> {
    let (service, is_wanted) = match step {
        Step::Pull { service, image } => (
            service,
            wanted.services.get(service).map(|s| &s.image) == Some(image),
        ),
        Step::Create { service, spec, .. } => (
            service,
            fingerprint(wanted, *service).is_some_and(|f| f == spec.fingerprint()),
        ),
        Step::Start { service, id } => {
            let made_from = observed.containers.iter().find(|c| c.id == *id);
            let wants = fingerprint(wanted, *service);
            (
                service,
                made_from.is_some_and(|c| Some(&c.fingerprint) == wants.as_ref()),
            )
        }
        Step::Accept { .. }
        | Step::Inspect { .. }
        | Step::CreateNetwork { .. }
        | Step::Serve { .. }
        | Step::Stop { .. }
        | Step::Restart { .. }
        | Step::Remove { .. }
        | Step::RemoveImage { .. }
        | Step::RemoveNetwork { .. }
        | Step::Remember { .. }
        | Step::Forget { .. }
        | Step::ForgetImage { .. } => return None,
    };
    let spec = wanted.services.get(service).filter(|_| is_wanted)?;
    let failed = failed(
        *service,
        spec,
        failure,
        wanted.version,
        memory,
        settings,
        now,
    );
    Some((*service, Note::Failed(failed)))
}

fn fingerprint(wanted: &Wanted, service: ServiceKey) -> Option<String> {
    wanted.services.get(&service).map(ServiceSpec::fingerprint)
}

/// The failure of a wanted spec, counted on from the one before.
pub(crate) fn failed(
    service: ServiceKey,
    spec: &ServiceSpec,
    failure: &StepFailure,
    version: i64,
    memory: &Memory,
    settings: &Settings,
    now: DateTime<Utc>,
) -> Failed {
    let fingerprint = spec.fingerprint();
    let known = memory.of(service);
    let before = known
        .and_then(|m| m.failed.as_ref())
        .filter(|f| f.fingerprint == fingerprint && f.version == version);
    let tries = before.map_or(1, |f| f.tries.saturating_add(1));
    let way_back = known
        .and_then(|m| m.good.as_ref())
        .is_some_and(|good| good.fingerprint() != fingerprint);
    let pause = pause(
        settings.retry_first_seconds,
        settings.retry_longest_seconds,
        tries,
    );
    let pause = match failure.class {
        FailureClass::Registry | FailureClass::Disk => Some(pause),
        // These need a person, or an image that is pushed again: seldom.
        FailureClass::Auth | FailureClass::Pull => {
            Some(pause.max(settings.retry_longest_seconds / 4))
        }
        // The image's own fault is not tried again where there is something to go back to.
        FailureClass::Start | FailureClass::Config if way_back => None,
        FailureClass::Start | FailureClass::Config => Some(pause),
        // It is there, and the engine goes on trying by its restart policy.
        FailureClass::CrashLoop | FailureClass::Health => None,
    };
    Failed {
        fingerprint,
        version,
        class: failure.class,
        message: failure.message.clone(),
        tries,
        next_try_at: pause.map(|seconds| now + TimeDelta::seconds(i64::from(seconds))),
    }
}

/// A pause that doubles with each try, up to the longest.
pub(crate) fn pause(first: u32, longest: u32, tries: u32) -> u32 {
    let doublings = tries.saturating_sub(1).min(31);
    u32::try_from(u64::from(first) << doublings)
        .unwrap_or(u32::MAX)
        .min(longest)
}
