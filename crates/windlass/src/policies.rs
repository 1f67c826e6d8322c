//! `windlass policies`.

use crate::cli::{OnPolicy, Policies};
use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::plans;
use serde_json::{Value, json};
use std::io::Read;
use std::path::Path;
use windlass_client::Client;
use windlass_types::api::PolicyTest;
use windlass_types::policy::{Policy, PolicySpec, TagRule};

pub(crate) async fn run(
    client: &Client,
    command: Option<Policies>,
    out: &mut Out,
) -> Result<(), Failure> {
    match command.unwrap_or(Policies::List) {
        Policies::List => {
            let mut rows = lookup::policies(client).await?;
            rows.sort_by_key(|policy| (-policy.spec.priority, policy.created_at));
            if out.is_json() {
                return out.json(&rows);
            }
            out.table(&table(&rows), "no policies")
        }
        Policies::Show { policy } => {
            let policy = lookup::policy(client, &policy).await?;
            if out.is_json() {
                return out.json(&policy);
            }
            let text = toml::to_string_pretty(&policy.spec)
                .map_err(|error| Failure::failed(error.to_string()))?;
            out.raw(text.as_bytes())
        }
        Policies::Apply { file } => {
            // Everything is read before anything is sent.
            let mut specs = Vec::new();
            for path in &file {
                specs.extend(read(path)?);
            }
            apply(client, &specs, out).await
        }
        Policies::Delete { policy } => {
            let policy = lookup::policy(client, &policy).await?;
            client.delete_policy(policy.id).await?;
            if out.is_json() {
                return out.json(&json!({"name": policy.spec.name, "action": "deleted"}));
            }
            out.line(format!("{} deleted", policy.spec.name))
        }
        Policies::Enable(on) => switch(client, on, true, out).await,
        Policies::Disable(on) => switch(client, on, false, out).await,
        Policies::Test { image, policy } => {
            let id = match policy {
                Some(policy) => Some(lookup::policy(client, &policy).await?.id),
                None => None,
            };
            let test = client.test_policies(id, &image).await?;
            if out.is_json() {
                return out.json(&test);
            }
            tested(&test, out)
        }
    }
}

async fn switch(
    client: &Client,
    on: OnPolicy,
    enabled: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let id = lookup::policy(client, &on.policy).await?.id;
    let policy = client.enable_policy(id, enabled, &on.reason).await?;
    if out.is_json() {
        return out.json(&policy);
    }
    let now = if enabled { "takes" } else { "does not take" };
    out.line(format!("{} {now} part", policy.spec.name))
}

fn tested(test: &PolicyTest, out: &mut Out) -> Result<(), Failure> {
    out.line(&test.outcome)?;
    let mut table = Table::new(&["policy", "priority", "devices", "batches", "why"]);
    for policy in &test.policies {
        let skipped: i64 = policy.skipped.values().sum();
        let batches: Vec<String> = policy
            .batches
            .iter()
            .map(|batch| batch.devices.to_string())
            .collect();
        table.row([
            policy.name.clone(),
            policy.priority.to_string(),
            (policy.total_devices - skipped).to_string(),
            batches.join("+"),
            policy
                .mismatch
                .clone()
                .or_else(|| policy.waiting_for.clone())
                .unwrap_or_default(),
        ]);
    }
    out.table(&table, "no policies")?;
    for policy in &test.policies {
        if let Some(version) = &policy.version {
            out.line(format!("{}: reads the version {version}", policy.name))?;
        }
        for wait in &policy.before {
            out.line(format!("{}: waits first for {wait}", policy.name))?;
        }
        for (reason, devices) in &policy.skipped {
            out.line(format!("{}: {devices} skipped: {reason}", policy.name))?;
        }
        for conflict in &policy.conflicts {
            out.line(format!("{}: {}", policy.name, plans::conflict(conflict)))?;
        }
    }
    for freeze in &test.freezes {
        out.line(format!("frozen: {}", freeze.reason))?;
    }
    Ok(())
}

fn table(rows: &[Policy]) -> Table {
    let mut table = Table::new(&[
        "name", "image", "tag", "strategy", "priority", "fleets", "enabled",
    ]);
    for policy in rows {
        let spec = &policy.spec;
        let fleets: Vec<&str> = spec.filters.fleets.iter().map(|f| f.as_str()).collect();
        table.row([
            spec.name.clone(),
            spec.image.clone(),
            tag(&spec.tag),
            spec.strategy.to_string(),
            spec.priority.to_string(),
            if fleets.is_empty() {
                "any".to_owned()
            } else {
                fleets.join(",")
            },
            if spec.enabled { "yes" } else { "no" }.to_owned(),
        ]);
    }
    table
}

fn tag(rule: &TagRule) -> String {
    match rule {
        TagRule::Glob { pattern } => pattern.clone(),
        TagRule::Fixed { tag } => format!("fixed {tag}"),
        TagRule::Semver { range, prerelease } => {
            let early = if *prerelease {
                " with pre-releases"
            } else {
                ""
            };
            format!("semver {range}{early}")
        }
        TagRule::Regex { pattern, .. } => format!("regex {pattern}"),
        TagRule::Calendar { format } => format!("calendar {format}"),
        TagRule::Numeric => "numeric".to_owned(),
        TagRule::Newest { pattern: None } => "newest".to_owned(),
        TagRule::Newest {
            pattern: Some(pattern),
        } => format!("newest {pattern}"),
    }
}

/// What was done to one policy.
async fn apply(client: &Client, specs: &[PolicySpec], out: &mut Out) -> Result<(), Failure> {
    let known = lookup::policies(client).await?;
    let mut done = Vec::new();
    for spec in specs {
        let (action, policy) = match known.iter().find(|policy| policy.spec.name == spec.name) {
            None => ("created", client.create_policy(spec).await),
            Some(policy) if policy.spec == *spec => ("unchanged", Ok(policy.clone())),
            Some(policy) => {
                let updated = client
                    .update_policy(policy.id, Some(policy.version), spec)
                    .await;
                ("updated", updated)
            }
        };
        let policy = policy.map_err(|error| {
            let failure = Failure::from(error);
            Failure::new(
                failure.exit,
                format!("policy {:?}: {}", spec.name, failure.message),
            )
        })?;
        if !out.is_json() {
            out.line(format!("{} {action}", spec.name))?;
        }
        done.push(json!({"name": spec.name, "action": action, "id": policy.id,
                         "version": policy.version}));
    }
    if out.is_json() {
        out.json(&done)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<PolicySpec>, Failure> {
    let name = path.display();
    let text = if path.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(path)
    }
    .map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    parse(&text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}

/// Policies from TOML or JSON; a JSON text begins with a bracket or brace, a TOML one cannot: a
/// table's heading at the top has no comma, quote or brace after its bracket.
fn parse(text: &str) -> Result<Vec<PolicySpec>, String> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(json_error) => match toml::from_str::<toml::Table>(text) {
            Ok(table) => serde_json::to_value(table).map_err(|error| error.to_string())?,
            Err(_) if text.trim_start().starts_with('{') => return Err(json_error.to_string()),
            Err(error) => return Err(error.to_string()),
        },
    };
    let several = match value {
        Value::Array(several) => several,
        Value::Object(mut one) => match one.remove("policy") {
            Some(Value::Array(several)) if one.is_empty() => several,
            Some(Value::Object(policy)) if one.is_empty() => vec![Value::Object(policy)],
            Some(_) => return Err("beside [[policy]] there can be nothing else".to_owned()),
            None => vec![Value::Object(one)],
        },
        _ => return Err("expected a policy or several".to_owned()),
    };
    if several.is_empty() {
        return Err("there is no policy in it".to_owned());
    }
    several
        .into_iter()
        .enumerate()
        .map(|(at, value)| {
            serde_json::from_value(value).map_err(|error| format!("policy {}: {error}", at + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "name = \"a\"\nimage = \"r/*\"\nstrategy = \"staged\"\n\
                       batches = [{ percent = 10 }, { count = 3 }]\n\
                       [failure]\nmax_failure_rate = 0.1\n";

    #[test]
    fn one_policy_or_several_are_read_from_toml_and_json() {
        let one = parse(ONE).unwrap();
        assert_eq!((one.len(), &*one[0].name), (1, "a"));
        let two = "[[policy]]\nname = \"a\"\nimage = \"r/*\"\nstrategy = \"auto\"\n\
                   [[policy]]\nname = \"b\"\nimage = \"s/*\"\nstrategy = \"staged\"\n";
        assert_eq!(parse(two).unwrap().len(), 2);
        let json = serde_json::to_string(&one).unwrap();
        assert_eq!(parse(&json).unwrap(), one);
        assert_eq!(
            parse(&serde_json::to_string(&one[0]).unwrap()).unwrap(),
            one
        );
    }

    #[test]
    fn what_is_shown_can_be_applied() {
        let one = parse(ONE).unwrap();
        let shown = toml::to_string_pretty(&one[0]).unwrap();
        assert_eq!(parse(&shown).unwrap(), one);
    }

    #[test]
    fn a_slip_is_named() {
        let error = parse(&ONE.replace("strategy", "stratgy")).unwrap_err();
        assert!(error.contains("stratgy"), "{error}");
        assert!(parse("").is_err() && parse("[]").is_err() && parse("3").is_err());
    }
}
