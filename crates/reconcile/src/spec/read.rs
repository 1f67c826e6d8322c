//! Reading a target: each service by itself, so that one that cannot be understood costs the
//! others nothing.

use super::value::{Field, Fields, Read, Wrong};
use super::{DependsOn, Lock, LockAt, Refused, ServiceKey, ServiceSpec, UpdateStrategy, Wanted};
use super::{container, names, probes, size};
use serde_json::Value;
use std::collections::BTreeMap;
use windlass_types::image::ImageReference;
use windlass_types::target::{TargetService, TargetState};

/// How long a lock counts where it does not say.
const LONGEST_LOCK_SECONDS: u32 = 3600;

impl Wanted {
    /// Reads a target. Services that cannot be run as it says are refused, each with the field that is
    /// wrong; fields that nobody knows are left out and told among the warnings.
    #[must_use]
    pub fn read(target: &TargetState, version: i64) -> Self {
        let mut wanted = Self {
            version,
            services: BTreeMap::new(),
            refused: BTreeMap::new(),
            warnings: Vec::new(),
        };
        for app in target.apps.values() {
            for service in &app.services {
                let key = ServiceKey {
                    app: app.app_id,
                    service: service.service_id,
                };
                let refused = |reason: String| Refused {
                    app_name: app.app_name.clone(),
                    name: service.service_name.clone(),
                    image: service.image_name.clone(),
                    reason,
                };
                if wanted.services.remove(&key).is_some() || wanted.refused.contains_key(&key) {
                    let reason = format!("serviceId: {} is given to two services", key.service);
                    wanted.refused.insert(key, refused(reason));
                    continue;
                }
                let mut unknown = Vec::new();
                match read_service(&app.app_name, service, &mut unknown) {
                    Ok(spec) => {
                        wanted.services.insert(key, spec);
                    }
                    Err(wrong) => {
                        wanted.refused.insert(key, refused(wrong.to_string()));
                    }
                }
                let name = &service.service_name;
                wanted.warnings.extend(
                    unknown
                        .into_iter()
                        .map(|field| format!("{name} ({key}): {field} is left out")),
                );
            }
        }
        names::refuse(&mut wanted);
        wanted
    }
}

fn read_service(
    app_name: &str,
    service: &TargetService,
    unknown: &mut Vec<String>,
) -> Read<ServiceSpec> {
    let wrong = |field: &str, why: String| Wrong {
        field: field.to_owned(),
        why,
    };
    if let Err(error) = service.image_name.parse::<ImageReference>() {
        return Err(wrong("imageName", error.to_string()));
    }
    if service.service_name.trim().is_empty() {
        return Err(wrong("serviceName", "is empty".to_owned()));
    }
    let running = match service.state.as_deref() {
        None | Some("running") => true,
        Some("stopped") => false,
        Some(other) => {
            let why = format!("{other:?} is neither running nor stopped");
            return Err(wrong("state", why));
        }
    };
    let mut fields = Fields::new("config", &service.config);
    // What is said elsewhere, or means nothing to an engine.
    fields.get(&["image"]);
    fields.get(&["expose"]);
    let container = container::container(&mut fields, unknown)?;
    let probes = probes::probes(&mut fields, unknown)?;
    let mut update = update(&mut fields, unknown)?;
    if update == UpdateStrategy::BlueGreen && container.is_taken() {
        // Both would have its name, its addresses and its ports.
        unknown.push("config.updateStrategy (a container that was taken is recreated)".to_owned());
        update = UpdateStrategy::Recreate;
    }
    let drain = fields.get(&["drain_period", "drain_seconds", "drain"]);
    let drain_seconds = drain.map(|field| size::seconds(&field)).transpose()?;
    let depends_on = depends_on(&mut fields)?;
    let lock = lock(&mut fields)?;
    for name in fields.left_over() {
        unknown.push(format!("config.{name}"));
    }
    Ok(ServiceSpec {
        app_name: app_name.to_owned(),
        name: service.service_name.clone(),
        image: service.image_name.clone(),
        running,
        container,
        update,
        drain_seconds,
        probes,
        depends_on,
        lock,
    })
}

fn update(fields: &mut Fields<'_>, unknown: &mut Vec<String>) -> Read<UpdateStrategy> {
    let Some(field) = fields.get(&["update_strategy"]) else {
        return Ok(UpdateStrategy::Recreate);
    };
    match field.text()?.replace('_', "-").as_str() {
        "blue-green" | "hand-over" | "handover" => Ok(UpdateStrategy::BlueGreen),
        "recreate" => Ok(UpdateStrategy::Recreate),
        // The protocol: another value stops the old one first.
        other => {
            unknown.push(format!("{} ({other:?} is not known)", field.at));
            Ok(UpdateStrategy::Recreate)
        }
    }
}

fn depends_on(fields: &mut Fields<'_>) -> Read<BTreeMap<String, DependsOn>> {
    let mut found = BTreeMap::new();
    let Some(field) = fields.get(&["depends_on"]) else {
        return Ok(found);
    };
    let Value::Object(_) = field.value else {
        for item in field.list_or_one()? {
            found.insert(item.text()?, DependsOn::Started);
        }
        return Ok(found);
    };
    for (name, options) in field.pairs(&['='])? {
        let condition = match options {
            None => None,
            Some(options) => match options.value {
                Value::Object(_) => options.fields()?.text(&["condition"])?,
                _ => Some(options.text()?),
            },
        };
        let condition = match condition.as_deref() {
            None | Some("service_started" | "started") => DependsOn::Started,
            Some("service_healthy" | "healthy") => DependsOn::Healthy,
            Some("service_completed_successfully" | "completed") => DependsOn::Completed,
            Some(other) => {
                return field.wrong(format!(
                    "{other:?} of {name} is not service_started, service_healthy or \
                     service_completed_successfully"
                ));
            }
        };
        found.insert(name, condition);
    }
    Ok(found)
}

fn lock(fields: &mut Fields<'_>) -> Read<Option<Lock>> {
    let Some(field) = fields.get(&["update_lock", "lock"]) else {
        return Ok(None);
    };
    if let Value::String(path) = field.value {
        return Ok(Some(Lock {
            at: LockAt::File(absolute(&field, path)?),
            longest_seconds: LONGEST_LOCK_SECONDS,
        }));
    }
    let mut inner = field.fields()?;
    let longest = inner.get(&["longest", "longest_seconds"]);
    let longest = longest.map(|f| size::seconds(&f)).transpose()?;
    let file = inner.text(&["file"])?;
    let http = inner.get(&["http"]).map(|f| f.fields()).transpose()?;
    let at = match (file, http) {
        (Some(file), None) => LockAt::File(absolute(&field, &file)?),
        (None, Some(mut http)) => {
            let Some(port) = http.get(&["port"]) else {
                return field.wrong("http.port is missing: the container's port");
            };
            let path = http.text(&["path"])?.unwrap_or_else(|| "/".to_owned());
            LockAt::Http {
                port: port.number("a port from 1 to 65535")?,
                path: if path.starts_with('/') {
                    path
                } else {
                    format!("/{path}")
                },
            }
        }
        (Some(_), Some(_)) | (None, None) => {
            return field.wrong("either file or http says where the lock is asked for");
        }
    };
    Ok(Some(Lock {
        at,
        longest_seconds: longest.unwrap_or(LONGEST_LOCK_SECONDS),
    }))
}

fn absolute(field: &Field<'_>, path: &str) -> Read<String> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    field.wrong(format!(
        "{path:?} is no file of the device: its path begins with /"
    ))
}
