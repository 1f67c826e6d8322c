//! `windlass devices`.

use crate::cli::Devices;
use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::{relative_or_dash, short_digests, short_head, short_image};
use chrono::Utc;
use serde_json::json;
use windlass_client::{Client, DeviceQuery};
use windlass_types::device::Device;
use windlass_types::ids::DeviceId;

pub(crate) async fn run(
    client: &Client,
    command: Option<Devices>,
    out: &mut Out,
) -> Result<(), Failure> {
    let command = command.unwrap_or(Devices::List {
        fleet: None,
        tag: None,
        limit: 100,
    });
    match command {
        Devices::List { fleet, tag, limit } => {
            let query = DeviceQuery {
                fleet: fleet.map(String::from),
                tag,
                ..DeviceQuery::default()
            };
            let rows = lookup::devices(client, &query, limit).await?;
            if out.is_json() {
                return out.json(&rows);
            }
            out.table(&table(&rows), "no devices")
        }
        Devices::Show { device } => {
            let uuid = lookup::device(client, &device).await?;
            show(client, uuid, out).await
        }
        Devices::Delete { device, reason } => {
            let device = lookup::device(client, &device).await?;
            client.delete_device(device, &reason).await?;
            if out.is_json() {
                return out.json(&json!({"uuid": device, "action": "deleted"}));
            }
            out.line(format!("{device} deleted"))
        }
        Devices::Why { device } => {
            let uuid = lookup::device(client, &device).await?;
            let why = client.why(uuid).await?;
            if out.is_json() {
                return out.json(&why);
            }
            for sentence in &why.sentences {
                out.line(short_digests(sentence))?;
            }
            let now = Utc::now();
            let mut rollouts = Table::new(&["rollout", "image", "batch", "status", "deadline"]);
            for row in &why.rollouts {
                rollouts.row([
                    crate::times::short_tail(row.rollout_id.0),
                    short_image(&row.image),
                    row.batch.to_string(),
                    row.status.to_string(),
                    relative_or_dash(row.deadline_at, now),
                ]);
            }
            out.line("")?;
            out.table(&rollouts, "It is in no rollout.")
        }
    }
}

fn table(rows: &[Device]) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&["device", "name", "fleet", "target", "seen", "agent", "tags"]);
    for device in rows {
        let tags: Vec<String> = device
            .tags
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let name = if device.enabled {
            device.name.clone()
        } else {
            format!("{} (disabled)", device.name)
        };
        table.row([
            short_head(device.uuid.0),
            name,
            device.fleet.to_string(),
            format!("v{}", device.target_version),
            relative_or_dash(device.last_seen_at, now),
            device.agent_version.clone().unwrap_or_default(),
            tags.join(" "),
        ]);
    }
    table
}

async fn show(client: &Client, uuid: DeviceId, out: &mut Out) -> Result<(), Failure> {
    let device = client.device_info(uuid).await?;
    let target = client.target(uuid).await?;
    let current = client.current_state(uuid).await?;
    if out.is_json() {
        return out.json(&json!({"device": device, "target": target, "current": current}));
    }
    let now = Utc::now();
    out.line(format!("device   {} ({})", device.uuid, device.name))?;
    out.line(format!("fleet    {}", device.fleet))?;
    out.line(format!("enabled  {}", device.enabled))?;
    out.line(format!(
        "seen     {}",
        relative_or_dash(device.last_seen_at, now)
    ))?;
    out.line(format!(
        "target   version {} from {}, {}",
        target.version,
        target.source,
        relative_or_dash(Some(target.updated_at), now)
    ))?;
    let mut services = Table::new(&["service", "wanted", "runs", "status", "since", "restarts"]);
    for (app_id, service) in target.state.services() {
        let seen = current
            .observation
            .services
            .iter()
            .find(|seen| (seen.app_id, seen.service_id) == (app_id, service.service_id));
        let runs = seen.and_then(|seen| seen.image.as_deref());
        services.row([
            service.service_name.clone(),
            short_image(&service.image_name),
            match runs {
                Some(image) if image == service.image_name => "the same".to_owned(),
                Some(image) => short_image(image),
                None => "-".to_owned(),
            },
            seen.map_or_else(|| "unknown".to_owned(), |seen| seen.status.clone()),
            relative_or_dash(seen.and_then(|seen| seen.running_since), now),
            seen.map_or_else(|| "-".to_owned(), |seen| seen.restarts.to_string()),
        ]);
    }
    out.line("")?;
    out.table(&services, "It is to run nothing.")
}
