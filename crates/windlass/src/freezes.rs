//! `windlass freezes`, `stop` and `go`.

use crate::cli::Freezes;
use crate::exit::Failure;
use crate::lookup;
use crate::output::{Out, Table};
use crate::times::{relative, relative_or_dash};
use chrono::Utc;
use windlass_client::Client;
use windlass_types::api::{FreezeView, NewFreeze, Stopped};
use windlass_types::ids::FreezeId;

pub(crate) async fn run(
    client: &Client,
    command: Option<Freezes>,
    out: &mut Out,
) -> Result<(), Failure> {
    match command.unwrap_or(Freezes::List { state: None }) {
        Freezes::List { state } => {
            let rows = lookup::all(usize::MAX, |page| async move {
                client.freezes(state, &page).await
            })
            .await?;
            if out.is_json() {
                return out.json(&rows);
            }
            out.table(&table(&rows), "no freezes")
        }
        Freezes::Add {
            from,
            until,
            reason,
        } => {
            let freeze = NewFreeze {
                reason,
                starts_at: from,
                ends_at: until,
            };
            one(&client.freeze(&freeze).await?, out)
        }
        Freezes::Lift { id, reason } => one(&client.lift_freeze(FreezeId(id), &reason).await?, out),
    }
}

/// `windlass stop`.
pub(crate) async fn stop(client: &Client, reason: &str, out: &mut Out) -> Result<(), Failure> {
    let stopped = client.stop(reason).await?;
    let first = if stopped.changed {
        "all rollouts are stopped; let them go on with: windlass go --reason …"
    } else {
        "all rollouts were stopped already"
    };
    pressed(&stopped, first, out)
}

/// `windlass go`.
pub(crate) async fn go(client: &Client, reason: &str, out: &mut Out) -> Result<(), Failure> {
    let lifted = client.lift_stop(reason).await?;
    let first = if lifted.changed {
        "rollouts go on"
    } else {
        "nothing was stopped"
    };
    pressed(&lifted, first, out)
}

fn pressed(stopped: &Stopped, first: &str, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(stopped);
    }
    out.line(first)?;
    match &stopped.stop {
        Some(stop) => out.table(&table(std::slice::from_ref(stop)), ""),
        None => Ok(()),
    }
}

fn one(view: &FreezeView, out: &mut Out) -> Result<(), Failure> {
    if out.is_json() {
        return out.json(view);
    }
    out.table(&table(std::slice::from_ref(view)), "")
}

fn table(rows: &[FreezeView]) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&["id", "kind", "state", "from", "until", "by", "why"]);
    for row in rows {
        let freeze = &row.freeze;
        table.row([
            // Whole, so that it can be given to `lift`.
            freeze.id.to_string(),
            freeze.kind.to_string(),
            row.state.to_string(),
            relative(freeze.starts_at, now),
            relative_or_dash(freeze.lifted_at.or(freeze.ends_at), now),
            freeze.created_by.clone(),
            freeze.reason.clone(),
        ]);
    }
    table
}
