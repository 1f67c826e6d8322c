//! Folding a device's reports, one after the other, into what is known of it.
//!
//! Existing agents replay reports out of order, flap, and list a service twice (device protocol,
//! section 3). What is made of that here is written down in docs/adr/0007-verdicts.md.

mod containers;
mod order;
mod text;

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use windlass_types::observation::{Observation, ServiceObservation};
use windlass_types::report::Report;

pub(crate) use containers::ABSENT;
pub use order::Kind;

/// How many services of a device are kept at most. Devices run a handful; the bound keeps a device
/// that reports nonsense from growing its row.
pub const MAX_SERVICES: usize = 200;

/// How long an absent service is remembered. A service that is not known at all counts as absent,
/// so forgetting loses only since when.
pub const FORGET_AFTER: TimeDelta = TimeDelta::hours(24);

/// What became of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Folded {
    /// What is known now; the same as before unless `kind` is [`Kind::Current`].
    pub observation: Observation,
    /// Whether anything that a verdict could rest on is different from before.
    pub changed: bool,
    /// What the report is.
    pub kind: Kind,
}

/// Folds one report, received at this time by the server's clock, into what was known before.
#[must_use]
pub fn fold(previous: &Observation, report: &Report, received_at: DateTime<Utc>) -> Folded {
    let kind = order::kind_of(previous, report, received_at);
    if kind != Kind::Current {
        return Folded {
            observation: previous.clone(),
            changed: false,
            kind,
        };
    }
    let services = match &report.apps {
        Some(apps) => bounded(
            containers::fold(&previous.services, apps, received_at),
            received_at,
        ),
        None => previous.services.clone(),
    };
    let observation = Observation {
        services,
        version_received: previous.version_received.max(report.version),
        // A server whose clock stepped back must not make what is known older.
        last_report_at: previous.last_report_at.max(Some(received_at)),
        last_reported_at: report.reported_at.or(previous.last_reported_at),
        last_report_id: report.report_id.or(previous.last_report_id),
    };
    let changed = differs(previous, &observation);
    Folded {
        observation,
        changed,
        kind,
    }
}

/// Forgets services that have been absent for long, then the surplus: absent ones first, those
/// absent longest before others.
fn bounded(
    mut services: Vec<ServiceObservation>,
    received_at: DateTime<Utc>,
) -> Vec<ServiceObservation> {
    services.retain(|s| {
        s.absent_since
            .is_none_or(|since| received_at - since < FORGET_AFTER)
    });
    if services.len() > MAX_SERVICES {
        services.sort_by_key(|s| {
            let absent = s.absent_since.map(std::cmp::Reverse);
            (absent.is_some(), absent, s.app_id, s.service_id)
        });
        services.truncate(MAX_SERVICES);
        services.sort_by_key(|s| (s.app_id, s.service_id));
    }
    services
}

/// Whether the two differ in more than times: a verdict could come out differently.
fn differs(before: &Observation, after: &Observation) -> bool {
    before.version_received != after.version_received
        || before.services.len() != after.services.len()
        || before
            .services
            .iter()
            .zip(&after.services)
            .any(|(one, other)| material(one) != material(other))
}

/// What counts of a service. How often an error was tried again, and what a probe printed, are
/// details of the same finding.
fn material(service: &ServiceObservation) -> impl PartialEq + '_ {
    (
        (service.app_id, service.service_id),
        (service.image.as_deref(), service.digest.as_deref()),
        service.status.as_str(),
        service.container_id.as_deref(),
        service.restarts,
        (service.running_since, service.recovered_at),
        service.health.as_ref().map(|h| (&h.status, &h.probe)),
        service.error.as_ref().map(|e| (&e.kind, &e.message)),
        service.phase.as_deref(),
    )
}
