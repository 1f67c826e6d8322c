//! `windlass quarantine`.

use crate::cli::Quarantine;
use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::{relative, short_tail};
use chrono::Utc;
use serde_json::json;
use windlass_client::Client;

pub(crate) async fn run(
    client: &Client,
    command: Option<Quarantine>,
    out: &mut Out,
) -> Result<(), Failure> {
    match command.unwrap_or(Quarantine::List) {
        Quarantine::List => {
            let rows = lookup::all(
                usize::MAX,
                |page| async move { client.quarantine(&page).await },
            )
            .await?;
            if out.is_json() {
                return out.json(&rows);
            }
            let now = Utc::now();
            let mut table =
                Table::new(&["digest", "repository", "devices", "rollout", "since", "why"]);
            for row in &rows {
                // Whole, so that it can be given to `lift`.
                table.row([
                    row.digest.to_string(),
                    row.repository.clone(),
                    match (&row.tag_key, &row.tag_value) {
                        (Some(key), Some(value)) => format!("{key}={value}"),
                        _ => "all".to_owned(),
                    },
                    row.rollout_id
                        .map_or_else(|| "-".to_owned(), |id| short_tail(id.0)),
                    relative(row.created_at, now),
                    row.reason.clone(),
                ]);
            }
            out.table(&table, "nothing is in quarantine")
        }
        Quarantine::Lift {
            digest,
            tag,
            reason,
        } => {
            let class = tag
                .as_ref()
                .map(|(key, value)| (key.as_str(), value.as_str()));
            client.lift_quarantine_of(&digest, class, &reason).await?;
            if out.is_json() {
                return out.json(&json!({"digest": digest, "action": "lifted"}));
            }
            match class {
                Some((key, value)) => out.line(format!(
                    "{digest} can be shipped again to devices with {key}={value}"
                )),
                None => out.line(format!("{digest} can be shipped again")),
            }
        }
    }
}
