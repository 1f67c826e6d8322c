//! Reports, as the two kinds of agents write them (device protocol, section 3).

use crate::behaviour::Style;
use crate::model::Model;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use windlass_types::ids::DeviceId;

/// The report of a device at this time.
pub(crate) fn report(uuid: DeviceId, model: &mut Model, now: DateTime<Utc>) -> Value {
    let ours = model.style() == Style::Ours;
    let mut apps = Map::new();
    for ((app_id, service_id), container) in &model.containers {
        let app = apps.entry(app_id.to_string()).or_insert_with(
            || json!({"appId": app_id, "appName": container.app_name, "services": []}),
        );
        let mut service = json!({
            "serviceId": service_id,
            "serviceName": container.name,
            "imageName": container.image,
            "containerId": container.id,
            "status": container.status,
            "state": "running",
            "config": container.config,
        });
        if ours {
            service["phase"] = json!(container.phase);
            if let Some((_, digest)) = container.image.split_once('@') {
                service["digest"] = json!(digest);
            }
            if let Some(status) = container.health() {
                service["health"] = json!({
                    "status": status, "probe": "readinessProbe", "checkedAt": now,
                    "output": format!("the simulated probe is {status}"),
                });
            }
            if let Some((kind, message)) = container.error {
                service["error"] = json!({
                    "type": kind, "message": message, "retryCount": container.retries,
                });
            }
        }
        if let Some(services) = app["services"].as_array_mut() {
            services.push(service);
        }
    }
    let mut body = json!({
        "apps": apps,
        "is_online": true,
        "version": model.version,
        "cpu_usage": 3.5,
        "memory_usage": 210.0,
        "memory_total": 1024.0,
        "uptime": 86400,
        "os_version": "Simulated Linux 1.0",
        "agent_version": if ours { "0.1.0-simulated" } else { "1.0.84-simulated" },
    });
    let behaviour = model.behaviour();
    if let Some(address) = behaviour.address {
        body["local_ip"] = json!(address);
    }
    if let Some(zone) = &behaviour.time_zone {
        body["time_zone"] = json!(zone);
    }
    if ours {
        body["reportId"] = json!(model.report_id(now));
        body["reportedAt"] = json!(now);
    }
    json!({ uuid.to_string(): body })
}

/// What is sent again later of a report that was sent or tried before: an existing agent leaves the
/// version out, ours sends it unchanged.
pub(crate) fn replayed(mut report: Value, style: Style) -> Value {
    if style == Style::Existing
        && let Some(body) = report
            .as_object_mut()
            .and_then(|map| map.values_mut().next())
        && let Some(body) = body.as_object_mut()
    {
        body.remove("version");
    }
    report
}
