//! Checks that devices run themselves, as probes in their target states.
//!
//! A check becomes a probe of each service that the rollout moves, in the shape that agents know
//! (device protocol, section 2), marked with the check's name. A service keeps its own probes: the
//! first check takes `readinessProbe` where that is free, since failing it restarts nothing, and
//! the others stand in `config.checks`, which our own agent runs beside it. What marked probes an earlier
//! rollout left are taken away first, so the target has exactly the checks of this rollout.

use crate::checks;
use crate::target::services_of;
use serde_json::{Map, Value, json};
use windlass_types::image::Repository;
use windlass_types::policy::{Check, CheckFrom, CheckKind, TagRule};
use windlass_types::target::{TargetService, TargetState};

/// Where the first check goes.
const SLOT: &str = "readinessProbe";
/// Where the others go.
const MORE: &str = "checks";
/// What marks a probe that is a check: the check's name.
const MARK: &str = "check";

/// The statuses that pass where a check names none: what a request that went well is answered with.
const WELL: [u16; 7] = [200, 201, 202, 203, 204, 205, 206];

/// Puts the checks that devices run into a target that a rollout has moved on: into the services
/// that it moves, told by the target `before`, and nowhere else. Applied again, it changes nothing.
#[must_use]
pub fn apply(
    before: &TargetState,
    mut next: TargetState,
    repository: &Repository,
    tag_rule: &TagRule,
    checks: &[Check],
) -> TargetState {
    let moved = services_of(before, repository, tag_rule);
    let probes: Vec<Value> = checks
        .iter()
        .enumerate()
        .filter(|(_, check)| check.runs_from() == CheckFrom::Device)
        .filter_map(|(position, check)| probe(check, position))
        .collect();
    for app in next.apps.values_mut() {
        for service in &mut app.services {
            if moved
                .iter()
                .any(|s| s.app_id == app.app_id && s.service_id == service.service_id)
            {
                put(service, &probes);
            }
        }
    }
    next
}

fn put(service: &mut TargetService, probes: &[Value]) {
    let is_ours = |probe: &Value| probe.get(MARK).is_some();
    if service.config.get(SLOT).is_some_and(is_ours) {
        service.config.remove(SLOT);
    }
    let mut more: Vec<Value> = match service.config.remove(MORE) {
        Some(Value::Array(others)) => others.into_iter().filter(|p| !is_ours(p)).collect(),
        // Something else of that name is the operator's and is left alone.
        Some(other) => {
            service.config.insert(MORE.to_owned(), other);
            return;
        }
        None => Vec::new(),
    };
    let mut rest = probes.iter();
    if service.config.get(SLOT).is_none_or(Value::is_null)
        && let Some(first) = rest.next()
    {
        service.config.insert(SLOT.to_owned(), first.clone());
    }
    more.extend(rest.cloned());
    if !more.is_empty() {
        service.config.insert(MORE.to_owned(), Value::Array(more));
    }
}

/// The probe of a check; none for one that needs no probe, or whose URL names no place on a device.
fn probe(check: &Check, position: usize) -> Option<Value> {
    let mut probe = Map::new();
    match check.kind {
        CheckKind::Http => {
            let place = Place::of(check.url.as_deref()?)?;
            probe.insert("type".to_owned(), json!("http"));
            probe.insert("path".to_owned(), json!(place.path));
            probe.insert("port".to_owned(), json!(place.port));
            if place.tls {
                probe.insert("scheme".to_owned(), json!("https"));
            }
            let expected: Vec<u16> = if check.expected_status.is_empty() {
                WELL.to_vec()
            } else {
                check.expected_status.iter().copied().collect()
            };
            probe.insert("expectedStatus".to_owned(), json!(expected));
            if let Some(text) = &check.body_contains {
                probe.insert("bodyContains".to_owned(), json!(text));
            }
        }
        CheckKind::Tcp => {
            probe.insert("type".to_owned(), json!("tcp"));
            probe.insert("tcpPort".to_owned(), json!(check.port?));
        }
        CheckKind::ContainerRunning | CheckKind::Custom | CheckKind::Prometheus => return None,
    }
    probe.insert("periodSeconds".to_owned(), json!(check.interval_seconds));
    probe.insert(
        "timeoutSeconds".to_owned(),
        json!(checks::try_seconds(check)),
    );
    probe.insert("failureThreshold".to_owned(), json!(check.retry_count));
    probe.insert("successThreshold".to_owned(), json!(1));
    probe.insert(MARK.to_owned(), json!(checks::name_of(check, position)));
    Some(Value::Object(probe))
}

/// The part of a URL that means the same on the device itself.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    tls: bool,
    port: u16,
    path: String,
}

impl Place {
    fn of(url: &str) -> Option<Self> {
        let (tls, rest) = match url.split_once("://")? {
            ("http", rest) => (false, rest),
            ("https", rest) => (true, rest),
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        // The colon of a port, not one inside an IPv6 address.
        let port = match host.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => port.parse().ok()?,
            Some(_) | None if tls => 443,
            Some(_) | None => 80,
        };
        Some(Self { tls, port, path })
    }
}

#[cfg(test)]
mod tests;
