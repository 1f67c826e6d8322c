//! `windlass penalties`.

use crate::cli::Penalties;
use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::relative;
use chrono::Utc;
use serde_json::json;
use windlass_client::Client;

pub(crate) async fn run(
    client: &Client,
    command: Option<Penalties>,
    out: &mut Out,
) -> Result<(), Failure> {
    match command.unwrap_or(Penalties::List) {
        Penalties::List => {
            let rows = lookup::all(
                usize::MAX,
                |page| async move { client.penalties(&page).await },
            )
            .await?;
            if out.is_json() {
                return out.json(&rows);
            }
            let now = Utc::now();
            let mut table = Table::new(&["device", "since", "until", "why"]);
            for row in &rows {
                table.row([
                    row.device_uuid.to_string(),
                    relative(row.since, now),
                    relative(row.until, now),
                    row.reason.clone(),
                ]);
            }
            out.table(&table, "no device is set aside")
        }
        Penalties::Lift { device, reason } => {
            let device = lookup::device(client, &device).await?;
            client.lift_penalty(device, &reason).await?;
            if out.is_json() {
                return out.json(&json!({"device_uuid": device, "action": "lifted"}));
            }
            out.line(format!("{device} takes part again"))
        }
    }
}
