//! `windlass webhooks`.

use crate::cli::Webhooks;
use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::{relative, relative_or_dash};
use chrono::Utc;
use std::io::Read as _;
use std::path::Path;
use windlass_client::{Client, DeliveryQuery};
use windlass_types::delivery::{Delivery, EndpointHealth, Replayed, Tried};
use windlass_types::ids::DeliveryId;

pub(crate) async fn run(
    client: &Client,
    command: Option<Webhooks>,
    out: &mut Out,
) -> Result<(), Failure> {
    let usual = Webhooks::List {
        endpoint: None,
        sender: None,
        decision: None,
        reason: None,
        repository: None,
        since: None,
        until: None,
        limit: 20,
    };
    match command.unwrap_or(usual) {
        Webhooks::List {
            endpoint,
            sender,
            decision,
            reason,
            repository,
            since,
            until,
            limit,
        } => {
            let query = DeliveryQuery {
                endpoint,
                sender,
                decision,
                reason,
                repository,
                since,
                until,
                ..DeliveryQuery::default()
            };
            list(client, &query, limit, out).await
        }
        Webhooks::Show { id, body: true } => out.raw(&client.delivery_body(DeliveryId(id)).await?),
        Webhooks::Show { id, body: false } => {
            let detail = client.delivery(DeliveryId(id)).await?;
            if out.is_json() {
                return out.json(&detail);
            }
            show(&detail.delivery, out)?;
            for (name, value) in &detail.headers {
                out.line(format!("  {name}: {value}"))?;
            }
            let kept = if detail.body_kept {
                ""
            } else {
                ", no longer kept"
            };
            out.line(format!("  {} bytes{kept}", detail.body_bytes))
        }
        Webhooks::Replay { id } => {
            let replayed = client.replay_delivery(DeliveryId(id)).await?;
            if out.is_json() {
                return out.json(&replayed);
            }
            out.line(said(&replayed))?;
            show(&replayed.delivery, out)
        }
        Webhooks::Test {
            endpoint,
            file,
            header,
        } => {
            let tried = client
                .try_delivery(&endpoint, &header, read(&file)?)
                .await?;
            if out.is_json() {
                out.json(&tried)?;
            } else {
                tell(&tried, out)?;
            }
            match tried.detail {
                // Said already.
                Some(_) => Err(Failure::failed("")),
                None => Ok(()),
            }
        }
        Webhooks::Health { days } => {
            let all = client.webhook_endpoints(days).await?;
            if out.is_json() {
                return out.json(&all);
            }
            health(&all, out)
        }
    }
}

async fn list(
    client: &Client,
    query: &DeliveryQuery,
    limit: usize,
    out: &mut Out,
) -> Result<(), Failure> {
    let rows = lookup::all(limit, |page| {
        let query = DeliveryQuery {
            page,
            ..query.clone()
        };
        async move { client.deliveries(&query).await }
    })
    .await?;
    if out.is_json() {
        return out.json(&rows);
    }
    let now = Utc::now();
    let mut table = Table::new(&["id", "received", "endpoint", "sender", "became", "images"]);
    for row in &rows {
        table.row([
            // Whole, so that it can be given to `show` and `replay`.
            row.outcome.delivery_id.to_string(),
            relative(row.received_at, now),
            row.endpoint.clone(),
            row.sender.clone(),
            became(row),
            images(row).join(" "),
        ]);
    }
    out.table(&table, "no deliveries")
}

fn became(row: &Delivery) -> String {
    match row.outcome.reason_code {
        Some(reason) => format!("{} ({reason})", row.outcome.decision),
        None => row.outcome.decision.to_string(),
    }
}

fn images(row: &Delivery) -> Vec<String> {
    let images = row.outcome.images.iter();
    images
        .map(|push| format!("{}/{}:{}", push.registry, push.repository, push.tag))
        .collect()
}

fn show(row: &Delivery, out: &mut Out) -> Result<(), Failure> {
    let now = Utc::now();
    out.line(format!(
        "{}: {} from {} at {}, received {} ({} times)",
        row.outcome.delivery_id,
        became(row),
        row.sender,
        row.endpoint,
        relative(row.received_at, now),
        row.received_count,
    ))?;
    if let Some(detail) = &row.detail {
        out.line(format!("  {detail}"))?;
    }
    if let Some(at) = row.replayed_at {
        out.line(format!("  read again {}", relative(at, now)))?;
    }
    for push in &row.outcome.images {
        let digest = push
            .digest
            .as_ref()
            .map_or("no digest", |digest| digest.short());
        out.line(format!(
            "  {}/{}:{}  {digest}  {}",
            push.registry, push.repository, push.tag, push.kind
        ))?;
    }
    for rollout in &row.outcome.rollouts {
        out.line(format!(
            "  rollout {}: {}",
            rollout.rollout_id, rollout.status
        ))?;
    }
    Ok(())
}

fn said(replayed: &Replayed) -> String {
    let new = match replayed.new_versions {
        0 => "nothing new".to_owned(),
        1 => "1 new version".to_owned(),
        more => format!("{more} new versions"),
    };
    let detail = replayed.detail.as_ref().map(|text| format!(": {text}"));
    format!(
        "was {}, is read as {}, {new}{}",
        replayed.before,
        replayed.decision,
        detail.unwrap_or_default()
    )
}

fn tell(tried: &Tried, out: &mut Out) -> Result<(), Failure> {
    let sender = tried.sender.as_deref().unwrap_or("nobody that is known");
    let reason = tried.reason_code.map(|reason| format!(" ({reason})"));
    let reason = reason.unwrap_or_default();
    out.line(format!("from {sender}: {}{reason}", tried.decision))?;
    if let Some(detail) = &tried.detail {
        out.line(format!("  {detail}"))?;
    }
    for push in &tried.images {
        let digest = push
            .digest
            .as_ref()
            .map_or("no digest", |digest| digest.as_str());
        out.line(format!(
            "  {}/{}:{}  {digest}",
            push.registry, push.repository, push.tag
        ))?;
    }
    Ok(())
}

fn health(all: &[EndpointHealth], out: &mut Out) -> Result<(), Failure> {
    let now = Utc::now();
    let mut table = Table::new(&[
        "endpoint",
        "received",
        "accepted",
        "stored",
        "new",
        "known",
        "rejected",
        "ignored",
        "missed",
        "last refusal",
    ]);
    for one in all {
        let ignored: Vec<String> = one
            .ignored
            .iter()
            .map(|(reason, share)| format!("{reason} {:.0}%", share.share * 100.0))
            .collect();
        let note = match (one.configured, one.authenticated) {
            (false, _) => " (not configured)",
            (true, false) => " (insecure)",
            (true, true) => "",
        };
        table.row([
            format!("{}{note}", one.endpoint),
            relative_or_dash(one.last_received_at, now),
            relative_or_dash(one.last_accepted_at, now),
            one.received.to_string(),
            one.accepted.to_string(),
            one.duplicate.to_string(),
            one.rejected.to_string(),
            if ignored.is_empty() {
                "-".to_owned()
            } else {
                ignored.join(", ")
            },
            match one.last_missed_at {
                Some(last) => format!("{} (last {})", one.missed, relative(last, now)),
                None => "0".to_owned(),
            },
            one.last_refusal.as_ref().map_or_else(
                || "-".to_owned(),
                |refusal| format!("{} {}", refusal.reason, relative(refusal.last_at, now)),
            ),
        ]);
    }
    out.table(&table, "no endpoints; name one in webhooks.endpoints")
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut body).map(|_| body)
    } else {
        std::fs::read(path)
    };
    read.map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
}

/// Reads `name: value`.
pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or_else(|| format!("{text:?} is no header; write it as in x-github-event: package"))?;
    let name = name.trim();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_name) || value.contains(['\n', '\r']) {
        return Err(format!("{name:?} is no name of a header"));
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}
