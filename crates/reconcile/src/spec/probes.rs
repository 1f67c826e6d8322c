//! Probes, as targets write them.

use super::value::{Field, Fields, Read};
use super::words::command;
use super::{Probe, ProbeKind, Probes};
use std::collections::BTreeMap;

/// What `livenessProbe`, `readinessProbe`, `startupProbe` and `checks` say.
pub(super) fn probes(fields: &mut Fields<'_>, warnings: &mut Vec<String>) -> Read<Probes> {
    let mut one = |fields: &mut Fields<'_>, name: &str| {
        let field = fields.get(&[name]);
        field.map(|field| probe(&field, warnings)).transpose()
    };
    let startup = one(fields, "startup_probe")?;
    let readiness = one(fields, "readiness_probe")?;
    let liveness = one(fields, "liveness_probe")?;
    let mut checks = BTreeMap::new();
    if let Some(field) = fields.get(&["checks"]) {
        for (n, item) in field.list()?.iter().enumerate() {
            let name = item.fields()?.text(&["check"])?;
            let name = name.unwrap_or_else(|| format!("check {}", n + 1));
            if checks
                .insert(name.clone(), probe(item, warnings)?)
                .is_some()
            {
                return item.wrong(format!("two checks are called {name:?}"));
            }
        }
    }
    Ok(Probes {
        startup,
        readiness,
        liveness,
        checks,
    })
}

fn probe(field: &Field<'_>, warnings: &mut Vec<String>) -> Read<Probe> {
    let mut fields = field.fields()?;
    let kind = match fields.text(&["type"])?.as_deref() {
        Some("http") => http(field, &mut fields)?,
        Some("tcp") => ProbeKind::Tcp {
            port: port(field, &mut fields, &["tcp_port", "port"])?,
        },
        Some("exec") => match fields.get(&["command"]) {
            Some(words) => ProbeKind::Exec {
                command: Some(command(&words)?)
                    .filter(|words| !words.is_empty())
                    .map_or_else(|| words.wrong("is empty"), Ok)?,
            },
            None => return field.wrong("command is missing: the program to run in the container"),
        },
        Some(_) | None => return field.wrong("type is not http, tcp or exec"),
    };
    // A check that a rollout put there; its name says which.
    fields.get(&["check"]);
    let probe = Probe {
        kind,
        initial_delay_seconds: fields.number(&["initial_delay_seconds"])?.unwrap_or(0),
        period_seconds: fields.number(&["period_seconds"])?.unwrap_or(10).max(1),
        timeout_seconds: fields.number(&["timeout_seconds"])?.unwrap_or(5).max(1),
        success_threshold: fields.number(&["success_threshold"])?.unwrap_or(1).max(1),
        failure_threshold: fields.number(&["failure_threshold"])?.unwrap_or(3).max(1),
    };
    for name in fields.left_over() {
        warnings.push(format!("{}.{name}", fields.at()));
    }
    Ok(probe)
}

fn http(field: &Field<'_>, fields: &mut Fields<'_>) -> Read<ProbeKind> {
    let path = fields.text(&["path"])?.unwrap_or_else(|| "/".to_owned());
    let path = if path.starts_with('/') {
        path
    } else {
        format!("/{path}")
    };
    let tls = match fields
        .text(&["scheme"])?
        .map(|s| s.to_ascii_lowercase())
        .as_deref()
    {
        None | Some("http") => false,
        Some("https") => true,
        Some(_) => return field.wrong("scheme is neither http nor https"),
    };
    let mut expected = Vec::new();
    if let Some(statuses) = fields.get(&["expected_status"]) {
        for item in statuses.list_or_one()? {
            let status: u16 = item.number("an HTTP status")?;
            if !(100..600).contains(&status) {
                return item.expected("an HTTP status");
            }
            expected.push(status);
        }
    }
    Ok(ProbeKind::Http {
        port: port(field, fields, &["port"])?,
        path,
        expected,
        tls,
        contains: fields.text(&["body_contains"])?,
    })
}

fn port(field: &Field<'_>, fields: &mut Fields<'_>, names: &[&str]) -> Read<u16> {
    let Some(port) = fields.get(names) else {
        let name = names.first().unwrap_or(&"port");
        return field.wrong(format!("{name} is missing: the container's port"));
    };
    match port.number("a port from 1 to 65535")? {
        0 => port.expected("a port from 1 to 65535"),
        port => Ok(port),
    }
}
