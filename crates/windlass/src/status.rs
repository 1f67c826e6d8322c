//! `windlass status`.

use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::rollouts::table;
use crate::times::many;
use serde_json::json;
use windlass_client::{Client, RolloutQuery};

/// Rollouts under way that are shown at most.
const ROLLOUTS: usize = 50;

pub(crate) async fn status(client: &Client, out: &mut Out) -> Result<(), Failure> {
    let ready = client.ready().await?;
    let active = RolloutQuery {
        active: Some(true),
        ..RolloutQuery::default()
    };
    let rollouts = lookup::rollouts(client, &active, ROLLOUTS).await?;
    let fleets = lookup::all(usize::MAX, |page| async move { client.fleets(&page).await }).await?;
    let quarantined = lookup::all(
        usize::MAX,
        |page| async move { client.quarantine(&page).await },
    )
    .await?;
    let policies = lookup::policies(client).await?;
    if out.is_json() {
        return out.json(&json!({
            "url": client.base(), "ready": ready, "fleets": fleets, "rollouts": rollouts,
            "quarantined": quarantined, "policies": policies.len(),
        }));
    }
    let devices: i64 = fleets.iter().map(|fleet| fleet.devices).sum();
    out.line(format!(
        "{} is {} (store {}, bus {})",
        client.base(),
        ready.status,
        ready.store,
        ready.bus
    ))?;
    out.line(format!(
        "{} in {}, {}, {} in quarantine",
        many(devices, "device"),
        many(fleets.len(), "fleet"),
        if policies.len() == 1 {
            "1 policy".to_owned()
        } else {
            format!("{} policies", policies.len())
        },
        many(quarantined.len(), "digest")
    ))?;
    let mut fleet_table = Table::new(&["fleet", "devices"]);
    for fleet in &fleets {
        fleet_table.row([fleet.id.to_string(), fleet.devices.to_string()]);
    }
    out.line("")?;
    out.table(&fleet_table, "no fleets")?;
    out.line("")?;
    out.table(&table(&rollouts), "no rollout is under way")
}
