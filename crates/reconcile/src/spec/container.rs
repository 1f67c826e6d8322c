//! What the engine is given: a service's `config`, field by field.

use super::value::{Field, Fields, Read};
use super::{ContainerSpec, Healthcheck, Logging, Resources, Restart};
use super::{mounts, ports, size, words};
use crate::label;
use serde_json::Value;
use std::collections::BTreeMap;

/// The network of an app that names none.
const DEFAULT_NETWORK: &str = "default";

/// Reads everything that makes the container. Fields of the service that do not are left unasked.
pub(super) fn container(
    fields: &mut Fields<'_>,
    warnings: &mut Vec<String>,
) -> Read<ContainerSpec> {
    let (networks, network_mode) = networks(fields, warnings)?;
    let mut spec = ContainerSpec {
        networks,
        network_mode,
        working_dir: fields.text(&["working_dir"])?,
        hostname: fields.text(&["hostname"])?,
        user: fields.text(&["user"])?,
        privileged: fields.truth(&["privileged"])?.unwrap_or_default(),
        read_only: fields.truth(&["read_only"])?.unwrap_or_default(),
        init: fields.truth(&["init"])?,
        resources: resources(fields)?,
        ..ContainerSpec::default()
    };
    if let Some(field) = fields.get(&["command"]) {
        spec.command = Some(words::command(&field)?);
    }
    if let Some(field) = fields.get(&["entrypoint"]) {
        spec.entrypoint = Some(words::command(&field)?);
    }
    environment(fields, &mut spec, warnings)?;
    if let Some(field) = fields.get(&["ports"]) {
        spec.ports = ports::ports(&field)?;
    }
    if let Some(field) = fields.get(&["tmpfs"]) {
        spec.tmpfs = mounts::tmpfs(&field)?;
    }
    if let Some(field) = fields.get(&["volumes"]) {
        let (volumes, tmpfs) = mounts::volumes(&field)?;
        spec.mounts = volumes;
        spec.tmpfs.extend(tmpfs);
    }
    if let Some(field) = fields.get(&["restart", "restart_policy"]) {
        spec.restart = restart(&field)?;
    }
    labels(fields, &mut spec)?;
    capabilities(fields, &mut spec)?;
    if let Some(field) = fields.get(&["devices"]) {
        for item in field.list()? {
            let device = item.text()?;
            if !device.starts_with("/dev/") {
                return item.expected("a device such as /dev/ttyS0 or /dev/ttyS0:/dev/ttyS0:rw");
            }
            spec.devices.push(device);
        }
    }
    hosts(fields, &mut spec)?;
    spec.logging = logging(fields)?;
    stopping(fields, &mut spec)?;
    if let Some(field) = fields.get(&["healthcheck", "health_check"]) {
        spec.healthcheck = healthcheck(&field)?;
    }
    spec.settings = fields.text(&["settings"])?;
    if spec.is_taken() {
        // Its networks are among its settings, and are not the app's.
        spec.networks.clear();
    }
    Ok(spec)
}

type Networks = (BTreeMap<String, Vec<String>>, Option<String>);

fn networks(fields: &mut Fields<'_>, warnings: &mut Vec<String>) -> Read<Networks> {
    let mut networks = BTreeMap::new();
    if let Some(field) = fields.get(&["networks"]) {
        match field.value {
            Value::Object(_) => {
                for (name, options) in field.pairs(&['='])? {
                    let mut aliases = Vec::new();
                    if let Some(options) = options {
                        let mut options = options.fields()?;
                        aliases = options.texts(&["aliases"])?;
                        for left in options.left_over() {
                            warnings.push(format!("{}.{left}", options.at()));
                        }
                    }
                    aliases.sort();
                    aliases.dedup();
                    networks.insert(name, aliases);
                }
            }
            _ => {
                for item in field.list()? {
                    networks.insert(item.text()?, Vec::new());
                }
            }
        }
        let is_name = |name: &String| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        };
        if let Some(name) = networks.keys().find(|name| !is_name(name)) {
            return field.wrong(format!(
                "{name:?} is no name: letters, digits, '_', '.', '-'"
            ));
        }
    }
    let mode = match fields.get(&["network_mode"]) {
        None => None,
        Some(field) => match field.text()?.as_str() {
            // Networks that are named count more than the mode that targets carry by habit.
            "bridge" | "default" if !networks.is_empty() => None,
            "bridge" | "default" => Some("bridge".to_owned()),
            mode @ ("host" | "none") if networks.is_empty() => Some(mode.to_owned()),
            "host" | "none" => {
                return field.wrong("a service with host or none has no networks beside it");
            }
            _ => return field.expected("bridge, host or none"),
        },
    };
    if networks.is_empty() && mode.is_none() {
        networks.insert(DEFAULT_NETWORK.to_owned(), Vec::new());
    }
    Ok((networks, mode))
}

fn environment(
    fields: &mut Fields<'_>,
    spec: &mut ContainerSpec,
    warnings: &mut Vec<String>,
) -> Read<()> {
    if let Some(field) = fields.get(&["environment", "env"]) {
        for (name, value) in field.pairs(&['='])? {
            if name.is_empty() || name.contains('=') {
                return field.wrong(format!("{name:?} is no variable's name"));
            }
            match value {
                Some(value) => {
                    spec.environment
                        .insert(name.clone(), value.pair_value(&name)?);
                }
                None => warnings.push(format!("{}.{name} (it has no value)", field.at)),
            }
        }
    }
    if let Some(field) = fields.get(&["secrets"]) {
        let Value::Object(_) = field.value else {
            return field.expected("a map from variables to files of the device");
        };
        for (name, value) in field.pairs(&['='])? {
            let Some(value) = value else {
                return field.wrong(format!("{name} has no file"));
            };
            let path = match value.value {
                Value::Object(_) => value.fields()?.text(&["file"])?.unwrap_or_default(),
                _ => value.text()?,
            };
            if !path.starts_with('/') {
                return value.expected("a file of the device, by a path that begins with /");
            }
            if spec.environment.contains_key(&name) {
                return value.wrong("environment has this variable too");
            }
            spec.secret_files.insert(name, path);
        }
    }
    Ok(())
}

fn restart(field: &Field<'_>) -> Read<Restart> {
    const WHAT: &str = "no, always, unless-stopped, on-failure or on-failure:<times>";
    let text = match field.value {
        Value::Object(_) => {
            let mut fields = field.fields()?;
            let name = fields.text(&["name", "condition"])?.unwrap_or_default();
            match fields.number(&["maximum_retry_count", "max_attempts"])? {
                Some(times) if name == "on-failure" => return Ok(Restart::OnFailure(times)),
                _ => name,
            }
        }
        _ => field.scalar()?,
    };
    match text.as_str() {
        "no" | "none" | "false" => Ok(Restart::No),
        // A container that was stopped on purpose must not come back with the engine.
        "always" | "any" | "unless-stopped" => Ok(Restart::UnlessStopped),
        "on-failure" => Ok(Restart::OnFailure(0)),
        other => match other.strip_prefix("on-failure:").map(str::parse) {
            Some(Ok(times)) => Ok(Restart::OnFailure(times)),
            Some(Err(_)) | None => field.expected(WHAT),
        },
    }
}

fn labels(fields: &mut Fields<'_>, spec: &mut ContainerSpec) -> Read<()> {
    let Some(field) = fields.get(&["labels"]) else {
        return Ok(());
    };
    for (name, value) in field.pairs(&['='])? {
        if label::is_own(&name) {
            return field.wrong(format!("{name} is the agent's own label"));
        }
        let value = value.map(|v| v.pair_value(&name)).transpose()?;
        spec.labels.insert(name, value.unwrap_or_default());
    }
    Ok(())
}

fn capabilities(fields: &mut Fields<'_>, spec: &mut ContainerSpec) -> Read<()> {
    let mut add = fields.texts(&["cap_add"])?;
    let mut drop = fields.texts(&["cap_drop"])?;
    if let Some(field) = fields.get(&["capabilities"]) {
        if let Value::Object(_) = field.value {
            let mut both = field.fields()?;
            add.extend(both.texts(&["add"])?);
            drop.extend(both.texts(&["drop"])?);
        } else {
            for item in field.list()? {
                add.push(item.text()?);
            }
        }
    }
    // Engines take both spellings; one of them makes one fingerprint.
    let plain = |names: Vec<String>| {
        let names = names.into_iter().map(|name| {
            let upper = name.to_ascii_uppercase();
            upper
                .strip_prefix("CAP_")
                .map_or(upper.clone(), str::to_owned)
        });
        let unique: std::collections::BTreeSet<String> = names.collect();
        unique.into_iter().collect()
    };
    spec.cap_add = plain(add);
    spec.cap_drop = plain(drop);
    Ok(())
}

fn hosts(fields: &mut Fields<'_>, spec: &mut ContainerSpec) -> Read<()> {
    if let Some(field) = fields.get(&["extra_hosts"]) {
        for (name, address) in field.pairs(&['=', ':'])? {
            let Some(address) = address else {
                return field.wrong(format!("{name} has no address"));
            };
            let address = address.pair_value(&name)?;
            if name.is_empty() || address.is_empty() {
                return field.expected("hosts such as name:address");
            }
            spec.extra_hosts.insert(name, address);
        }
    }
    if let Some(field) = fields.get(&["dns"]) {
        for item in field.list_or_one()? {
            let address = item.text()?;
            if address.parse::<std::net::IpAddr>().is_err() {
                return item.expected("the address of a name server");
            }
            spec.dns.push(address);
        }
    }
    Ok(())
}

fn logging(fields: &mut Fields<'_>) -> Read<Option<Logging>> {
    let Some(field) = fields.get(&["logging"]) else {
        return Ok(None);
    };
    let mut inner = field.fields()?;
    let mut options = BTreeMap::new();
    if let Some(given) = inner.get(&["options"]) {
        for (name, value) in given.pairs(&['='])? {
            let value = value.map(|v| v.pair_value(&name)).transpose()?;
            options.insert(name, value.unwrap_or_default());
        }
    }
    let driver = inner.text(&["driver"])?;
    Ok(Some(Logging {
        driver: driver.unwrap_or_else(|| "json-file".to_owned()),
        options,
    }))
}

fn stopping(fields: &mut Fields<'_>, spec: &mut ContainerSpec) -> Read<()> {
    if let Some(field) = fields.get(&["stop_signal"]) {
        let signal = field.text()?.to_ascii_uppercase();
        if !signal
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-".contains(&b))
        {
            return field.expected("a signal such as SIGTERM or 15");
        }
        spec.stop_signal = Some(signal);
    }
    if let Some(field) = fields.get(&["stop_grace_period", "stop_timeout", "stop_grace_seconds"]) {
        spec.stop_grace_seconds = Some(size::seconds(&field)?);
    }
    Ok(())
}

fn resources(fields: &mut Fields<'_>) -> Read<Resources> {
    let mut found = Resources::default();
    // Compose says them below `deploy`, or beside everything else.
    let deploy = fields.get(&["deploy"]).map(|field| field.fields());
    let below_deploy = deploy
        .transpose()?
        .and_then(|mut deploy| deploy.get(&["resources"]));
    let given = fields.get(&["resources"]).or(below_deploy);
    if let Some(field) = fields.get(&["cpus"]) {
        found.cpu_milli = Some(size::cpu(&field)?);
    }
    if let Some(field) = fields.get(&["mem_limit"]) {
        found.memory_bytes = Some(size::bytes(&field)?);
    }
    if let Some(field) = fields.get(&["mem_reservation"]) {
        found.memory_reserved_bytes = Some(size::bytes(&field)?);
    }
    found.pids = fields.number(&["pids_limit"])?;
    let Some(mut given) = given.map(|field| field.fields()).transpose()? else {
        return Ok(found);
    };
    if let Some(mut limits) = given.get(&["limits"]).map(|f| f.fields()).transpose()? {
        if let Some(field) = limits.get(&["cpu", "cpus"]) {
            found.cpu_milli = Some(size::cpu(&field)?);
        }
        if let Some(field) = limits.get(&["memory"]) {
            found.memory_bytes = Some(size::bytes(&field)?);
        }
        if let Some(pids) = limits.number(&["pids"])? {
            found.pids = Some(pids);
        }
    }
    let reserved = given.get(&["reservations", "requests"]);
    if let Some(mut reserved) = reserved.map(|f| f.fields()).transpose()?
        && let Some(field) = reserved.get(&["memory"])
    {
        found.memory_reserved_bytes = Some(size::bytes(&field)?);
    }
    Ok(found)
}

fn healthcheck(field: &Field<'_>) -> Read<Option<Healthcheck>> {
    let mut fields = field.fields()?;
    let off = fields.truth(&["disable"])?.unwrap_or_default();
    let test = match fields.get(&["test"]) {
        _ if off => vec!["NONE".to_owned()],
        Some(test) => match test.value {
            Value::Array(_) => {
                let words = words::command(&test)?;
                match words.first().map(String::as_str) {
                    Some("NONE") => words,
                    Some("CMD" | "CMD-SHELL") if words.len() > 1 => words,
                    _ => return test.expected("a list that begins with CMD, CMD-SHELL or NONE"),
                }
            }
            _ => vec!["CMD-SHELL".to_owned(), test.text()?],
        },
        // The image's own, with other times.
        None => Vec::new(),
    };
    let mut time = |names: &[&str]| {
        let field = fields.get(names);
        field.map(|field| size::seconds(&field)).transpose()
    };
    Ok(Some(Healthcheck {
        test,
        interval_seconds: time(&["interval", "interval_seconds"])?,
        timeout_seconds: time(&["timeout", "timeout_seconds"])?,
        start_period_seconds: time(&["start_period", "start_period_seconds"])?,
        retries: fields.number(&["retries"])?,
    }))
}
