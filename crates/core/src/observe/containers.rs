//! One report's containers against what was known of each service.

use super::text::{IMAGE, MESSAGE, WORD, cut};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use windlass_types::observation::ServiceObservation;
use windlass_types::report::{ReportedApp, ReportedError, ReportedHealth, ReportedService};

/// The word for a service that the last report did not have.
pub(crate) const ABSENT: &str = "absent";

/// The services after a report that lists these apps, ordered by (app, service).
pub(super) fn fold(
    previous: &[ServiceObservation],
    apps: &BTreeMap<String, ReportedApp>,
    at: DateTime<Utc>,
) -> Vec<ServiceObservation> {
    let mut known: BTreeMap<(i64, i64), &ServiceObservation> = previous
        .iter()
        .map(|s| ((s.app_id, s.service_id), s))
        .collect();
    let mut reported: BTreeMap<(i64, i64), Vec<ReportedService>> = BTreeMap::new();
    for (key, app) in apps {
        let Some(app_id) = app.app_id.or_else(|| key.parse().ok()) else {
            continue;
        };
        for service in &app.services {
            if let Some(service_id) = service.service_id {
                reported
                    .entry((app_id, service_id))
                    .or_default()
                    .push(bounded(service));
            }
        }
    }
    let mut services = Vec::new();
    for (id, containers) in &reported {
        let before = known.remove(id);
        if let Some(container) = choose(before, containers) {
            services.push(ServiceObservation {
                passed_over: passed_over(container, containers),
                ..present(*id, before, container, at)
            });
        }
    }
    services.extend(known.into_values().map(|before| absent(before, at)));
    services.sort_by_key(|s| (s.app_id, s.service_id));
    services
}

fn bounded(service: &ReportedService) -> ReportedService {
    let word = |text: &Option<String>| text.as_deref().map(|text| cut(text, WORD));
    ReportedService {
        service_id: service.service_id,
        service_name: None,
        image_name: service.image_name.as_deref().map(|text| cut(text, IMAGE)),
        container_id: word(&service.container_id),
        status: word(&service.status).map(|status| status.to_ascii_lowercase()),
        health: service.health.as_ref().map(|health| ReportedHealth {
            status: cut(&health.status, WORD).to_ascii_lowercase(),
            probe: word(&health.probe),
            output: health.output.as_deref().map(|text| cut(text, MESSAGE)),
        }),
        error: service.error.as_ref().map(|error| ReportedError {
            kind: cut(&error.kind, WORD),
            message: cut(&error.message, MESSAGE),
            retry_count: error.retry_count,
        }),
        digest: word(&service.digest),
        phase: word(&service.phase).map(|phase| phase.to_ascii_lowercase()),
    }
}

/// The container that speaks for a service listed twice: one that runs before others, then one not
/// seen here before (the update) before the one that spoke last, and that before those passed over
/// then. So the same list again gives the same answer, in whatever order.
fn choose<'a>(
    before: Option<&ServiceObservation>,
    containers: &'a [ReportedService],
) -> Option<&'a ReportedService> {
    containers.iter().max_by_key(|container| {
        let age = before.map_or(0, |before| {
            if before
                .passed_over
                .iter()
                .any(|key| key == key_of(container))
            {
                0
            } else if before.container_id == container.container_id {
                1
            } else {
                2
            }
        });
        (
            alive(container),
            age,
            std::cmp::Reverse(container.container_id.as_deref()),
            std::cmp::Reverse(container.image_name.as_deref()),
            container.status.as_deref(),
        )
    })
}

/// How much a container is there.
fn alive(container: &ReportedService) -> u8 {
    match container.status.as_deref() {
        Some("running") => 3,
        Some("restarting") => 2,
        Some("created") => 1,
        Some(_) | None => 0,
    }
}

/// What tells containers apart; without an id, the image must do.
fn key_of(container: &ReportedService) -> &str {
    container
        .container_id
        .as_deref()
        .or(container.image_name.as_deref())
        .unwrap_or_default()
}

/// Containers remembered as passed over at most.
const PASSED_OVER: usize = 4;

fn passed_over(chosen: &ReportedService, containers: &[ReportedService]) -> Vec<String> {
    let mut others: Vec<String> = containers
        .iter()
        .filter(|other| alive(other) == alive(chosen))
        .map(key_of)
        // A container listed twice under two images was not passed over.
        .filter(|key| *key != key_of(chosen))
        .map(str::to_owned)
        .collect();
    others.sort();
    others.dedup();
    others.truncate(PASSED_OVER);
    others
}

/// Whether a status says that the container's process ended.
pub(crate) fn is_broken(status: &str) -> bool {
    matches!(status, "restarting" | "exited" | "dead")
}

fn present(
    (app_id, service_id): (i64, i64),
    before: Option<&ServiceObservation>,
    container: &ReportedService,
    at: DateTime<Utc>,
) -> ServiceObservation {
    let image = container.image_name.clone();
    let status = container
        .status
        .clone()
        .unwrap_or_else(|| "unknown".to_owned());
    let last_image = before.and_then(|b| b.image.clone().or_else(|| b.previous_image.clone()));
    let same_container = before
        .is_some_and(|b| b.container_id.is_some() && b.container_id == container.container_id);
    // A container cannot change its image: another name for it means that the tag was moved.
    let same_image = same_container || (before.is_some() && last_image == image);
    let was_failing = before.is_some_and(|b| b.failing && same_image);
    let failing = is_broken(&status);
    let replaced =
        same_image && !same_container && before.is_some_and(|b| b.container_id.is_some());
    // A failed container whose place another takes is one restart, counted when it failed.
    let restarted = match (was_failing, failing) {
        (false, true) => true,
        (true, false) => false,
        (false, false) | (true, true) => replaced,
    };
    let restarts = if same_image {
        before.map_or(0, |b| b.restarts)
    } else {
        0
    };
    let unbroken = same_container && before.is_some_and(|b| b.status == "running");
    ServiceObservation {
        app_id,
        service_id,
        previous_image: match before {
            Some(b) if b.image == image => b.previous_image.clone(),
            Some(b) if last_image == image => b.previous_image.clone(),
            Some(_) | None => last_image,
        },
        digest: container.digest.clone(),
        running_since: (status == "running").then(|| {
            before
                .filter(|_| unbroken)
                .and_then(|b| b.running_since)
                .unwrap_or(at)
        }),
        absent_since: None,
        image_since: before
            .filter(|b| b.image == image)
            .and_then(|b| b.image_since)
            .or(Some(at)),
        restarts: restarts.saturating_add(i64::from(restarted)),
        failing,
        image,
        status,
        container_id: container.container_id.clone(),
        passed_over: Vec::new(),
        recovered_at: before.filter(|_| unbroken).and_then(|b| {
            if is_unhealthy(&b.health) && !is_unhealthy(&container.health) {
                Some(at)
            } else {
                b.recovered_at
            }
        }),
        health: container.health.clone(),
        error: container.error.clone(),
        phase: container.phase.clone(),
        phase_since: before
            .filter(|b| {
                b.phase == container.phase && kind_of(&b.error) == kind_of(&container.error)
            })
            .and_then(|b| b.phase_since)
            .or(Some(at)),
    }
}

fn is_unhealthy(health: &Option<ReportedHealth>) -> bool {
    health
        .as_ref()
        .is_some_and(|health| health.status == "unhealthy")
}

fn kind_of(error: &Option<ReportedError>) -> Option<(&str, &str)> {
    error
        .as_ref()
        .map(|error| (error.kind.as_str(), error.message.as_str()))
}

fn absent(before: &ServiceObservation, at: DateTime<Utc>) -> ServiceObservation {
    ServiceObservation {
        image: None,
        previous_image: before
            .image
            .clone()
            .or_else(|| before.previous_image.clone()),
        digest: None,
        status: ABSENT.to_owned(),
        running_since: None,
        absent_since: before.absent_since.or(Some(at)),
        image_since: None,
        health: None,
        recovered_at: None,
        error: None,
        phase: None,
        phase_since: None,
        passed_over: Vec::new(),
        ..before.clone()
    }
}
