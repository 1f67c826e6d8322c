//! Checks: which fields belong to which type, and what must be in them.

use super::{DAY, Fields};
use url::Url;
use windlass_types::policy::{Check, CheckFrom, CheckKind};

/// Each is asked again and again for each device or batch.
const MAX_CHECKS: usize = 20;
/// What a URL of a device may stand for.
const OF_DEVICE: [&str; 3] = ["address", "name", "uuid"];
/// What a query may stand for.
const OF_ROLLOUT: [&str; 5] = ["image", "tag", "digest", "rollout", "batch"];

pub(super) fn check(fields: &mut Fields, list: &str, checks: &[Check]) {
    if checks.len() > MAX_CHECKS {
        fields.invalid(
            list,
            format!("at most {MAX_CHECKS} checks, not {}", checks.len()),
        );
    }
    for (at, check) in checks.iter().enumerate() {
        let field = |name: &str| format!("{list}[{at}].{name}");
        if let Some(name) = &check.name {
            fields.text(&field("name"), name, 1, 128);
        }
        belonging(fields, &field, check);
        contents(fields, &field, check);
        times(fields, &field, check);
    }
}

/// Fields that the type does not have, and those it does not do without.
fn belonging(fields: &mut Fields, field: &dyn Fn(&str) -> String, check: &Check) {
    use CheckKind::{ContainerRunning, Custom, Http, Prometheus, Tcp};
    let rows: [(&str, bool, &[CheckKind], &[CheckKind]); 7] = [
        (
            "url",
            check.url.is_some(),
            &[Http, Custom, Prometheus],
            &[Http, Custom, Prometheus],
        ),
        ("port", check.port.is_some(), &[Tcp], &[Tcp]),
        (
            "expected_status",
            !check.expected_status.is_empty(),
            &[Http],
            &[],
        ),
        ("body_contains", check.body_contains.is_some(), &[Http], &[]),
        ("query", check.query.is_some(), &[Prometheus], &[Prometheus]),
        (
            "baseline_query",
            check.baseline_query.is_some(),
            &[Prometheus],
            &[],
        ),
        (
            "condition",
            check.condition.is_some(),
            &[Prometheus],
            &[Prometheus],
        ),
    ];
    for (name, given, may, must) in rows {
        if given && !may.contains(&check.kind) {
            let may: Vec<_> = may.iter().map(|kind| kind.as_str()).collect();
            fields.invalid(
                field(name),
                format!(
                    "checks of the type {} have none; {} does",
                    check.kind,
                    may.join(", ")
                ),
            );
        } else if !given && must.contains(&check.kind) {
            fields.invalid(
                field(name),
                format!("a check of the type {} needs one", check.kind),
            );
        }
    }
    let only = match check.kind {
        Http | Tcp => None,
        ContainerRunning => Some(CheckFrom::Device),
        Custom | Prometheus => Some(CheckFrom::Server),
    };
    if let (Some(only), Some(from)) = (only, check.from)
        && only != from
    {
        fields.invalid(
            field("from"),
            format!(
                "checks of the type {} run from the {only}; leave this out",
                check.kind
            ),
        );
    }
}

fn contents(fields: &mut Fields, field: &dyn Fn(&str) -> String, check: &Check) {
    if let Some(text) = &check.url {
        let known: &[&str] = match check.kind {
            CheckKind::Http => &OF_DEVICE,
            CheckKind::Custom
            | CheckKind::Prometheus
            | CheckKind::Tcp
            | CheckKind::ContainerRunning => &[],
        };
        url(fields, &field("url"), text, known);
    }
    for (name, text) in [
        ("query", &check.query),
        ("baseline_query", &check.baseline_query),
    ] {
        if let Some(text) = text {
            query(fields, &field(name), text);
        }
    }
    if check.port == Some(0) {
        fields.invalid(field("port"), "1 to 65535, not 0");
    }
    for status in &check.expected_status {
        if !(100..=599).contains(status) {
            fields.invalid(
                field("expected_status"),
                format!("an HTTP status is 100 to 599, not {status}"),
            );
        }
    }
    if let Some(text) = &check.body_contains
        && !(1..=1024).contains(&text.chars().count())
    {
        fields.invalid(field("body_contains"), "1 to 1024 characters");
    }
    if let Some(condition) = &check.condition
        && !condition.value.is_finite()
    {
        fields.invalid(field("condition.value"), "a number");
    }
}

fn times(fields: &mut Fields, field: &dyn Fn(&str) -> String, check: &Check) {
    fields.range(&field("timeout_seconds"), check.timeout_seconds, 1, DAY);
    fields.range(&field("retry_count"), check.retry_count, 1, 100);
    fields.range(&field("interval_seconds"), check.interval_seconds, 1, 3600);
}

fn url(fields: &mut Fields, field: &str, text: &str, known: &[&str]) {
    if !fields.text(field, text, 1, 2048) {
        return;
    }
    let mut filled = text.to_owned();
    for name in placeholders(text) {
        if !known.contains(&name.as_str()) {
            fields.invalid(field, unknown(&name, known));
            return;
        }
        // Something that may stand in a host as well as in a path.
        filled = filled.replace(&format!("{{{name}}}"), "x");
    }
    match Url::parse(&filled) {
        Err(error) => fields.invalid(field, format!("no URL: {error}")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            fields.invalid(field, format!("http or https, not {}", url.scheme()));
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => fields.invalid(
            field,
            "no user and password: everybody who may see the policy would see them",
        ),
        Ok(_) => {}
    }
}

fn query(fields: &mut Fields, field: &str, text: &str) {
    if text.trim().is_empty() || text.chars().count() > 4096 {
        fields.invalid(field, "1 to 4096 characters");
        return;
    }
    // Braces are PromQL's own as well: `up{job="app"}`. What looks like a name alone is ours.
    for name in placeholders(text) {
        if !OF_ROLLOUT.contains(&name.as_str()) {
            fields.invalid(field, unknown(&name, &OF_ROLLOUT));
        }
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("{{{name}}} stands for nothing here");
    }
    let known: Vec<_> = known.iter().map(|name| format!("{{{name}}}")).collect();
    format!("{{{name}}} stands for nothing; {} do", known.join(", "))
}

/// Names in braces: letters and underscores alone.
fn placeholders(text: &str) -> Vec<String> {
    let parts = text.split('{').skip(1);
    let names = parts.filter_map(|part| part.split_once('}').map(|(name, _)| name));
    names
        .filter(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
        })
        .map(str::to_owned)
        .collect()
}
