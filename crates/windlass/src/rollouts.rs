//! `windlass rollouts`.

use crate::cli::{OnRollout, Rollouts};
use crate::exit::{Exit, Failure};
use crate::lookup;
use crate::output::{Out, Table};
use crate::progress::{counts, line};
use crate::times::{relative, relative_or_dash, short_head, short_image, short_tail};
use crate::watch::{Until, watch};
use chrono::Utc;
use std::time::Duration;
use windlass_client::{Client, RolloutCommand, RolloutQuery};
use windlass_types::api::CommandResult;
use windlass_types::ids::RolloutId;
use windlass_types::rollout::{CommandOutcome, DeviceStatus, RolloutDevice, RolloutView};

/// Devices shown below a rollout at most; `--devices` shows all of one kind.
const SHOWN: usize = 20;

pub(crate) async fn run(
    client: &Client,
    command: Option<Rollouts>,
    out: &mut Out,
) -> Result<(), Failure> {
    let command = command.unwrap_or(Rollouts::List {
        status: None,
        active: false,
        limit: 20,
    });
    match command {
        Rollouts::List {
            status,
            active,
            limit,
        } => {
            let query = RolloutQuery {
                status,
                active: active.then_some(true),
                ..RolloutQuery::default()
            };
            let rows = lookup::rollouts(client, &query, limit).await?;
            if out.is_json() {
                return out.json(&rows);
            }
            out.table(&table(&rows), "no rollouts")
        }
        Rollouts::Show { id, devices } => {
            let id = lookup::rollout(client, &id).await?;
            show(client, id, devices, out).await
        }
        Rollouts::Watch {
            id,
            through_pauses,
            timeout,
        } => {
            let id = lookup::rollout(client, &id).await?;
            let until = Until {
                through_pauses,
                timeout: timeout.map(Duration::from_secs),
            };
            watch(client, id, until, out).await
        }
        Rollouts::Pause(on) => order(client, on, RolloutCommand::Pause, out).await,
        Rollouts::Resume(on) => order(client, on, RolloutCommand::Resume, out).await,
        Rollouts::Approve(on) => order(client, on, RolloutCommand::Approve, out).await,
        Rollouts::Cancel(on) => order(client, on, RolloutCommand::Cancel, out).await,
        Rollouts::RollbackAll(on) => order(client, on, RolloutCommand::RollbackAll, out).await,
        Rollouts::Rollback { id, device, reason } => {
            let id = lookup::rollout(client, &id).await?;
            let device = lookup::device(client, &device).await?;
            let result = client.rollback_device(id, device, &reason).await?;
            settled(&result, out)
        }
    }
}

async fn order(
    client: &Client,
    on: OnRollout,
    kind: RolloutCommand,
    out: &mut Out,
) -> Result<(), Failure> {
    let id = lookup::rollout(client, &on.id).await?;
    let result = client.command(id, kind, &on.reason).await?;
    settled(&result, out)
}

/// What became of a command. Refused is an error; not yet carried out is none.
fn settled(result: &CommandResult, out: &mut Out) -> Result<(), Failure> {
    let command = &result.command;
    if out.is_json() {
        out.json(result)?;
    } else {
        let what = match command.outcome {
            CommandOutcome::Pending => "will be carried out",
            CommandOutcome::Applied => "done",
            CommandOutcome::NoChange => "nothing to do",
            CommandOutcome::Refused => "refused",
        };
        let detail = command
            .detail
            .as_ref()
            .map(|detail| format!(" ({detail})"))
            .unwrap_or_default();
        out.line(format!("{}: {what}{detail}", command.kind))?;
        out.line(line(&result.rollout))?;
    }
    match command.outcome {
        CommandOutcome::Refused => Err(Failure::new(Exit::Refused, "")),
        _ => Ok(()),
    }
}

pub(crate) fn table(rows: &[RolloutView]) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&["id", "status", "image", "batch", "devices", "created"]);
    for view in rows {
        let rollout = &view.rollout;
        table.row([
            short_tail(rollout.id.0),
            rollout.status.to_string(),
            short_image(&view.image),
            format!("{}/{}", rollout.current_batch, rollout.batch_count),
            rollout.total_devices.to_string(),
            relative(rollout.created_at, now),
        ]);
    }
    table
}

async fn show(
    client: &Client,
    id: RolloutId,
    wanted: Option<DeviceStatus>,
    out: &mut Out,
) -> Result<(), Failure> {
    let view = client.rollout(id).await?;
    if let Some(status) = wanted {
        let rows = devices(client, id, Some(status), usize::MAX).await?;
        if out.is_json() {
            return out.json(&rows);
        }
        return out.table(&device_table(&rows), "no such devices");
    }
    if out.is_json() {
        return out.json(&view);
    }
    let now = Utc::now();
    let rollout = &view.rollout;
    out.line(format!("rollout   {}", rollout.id))?;
    out.line(format!("image     {}", view.image))?;
    let reason = rollout
        .status_detail
        .as_ref()
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    out.line(format!("status    {}{reason}", rollout.status))?;
    out.line(format!("strategy  {}", rollout.strategy))?;
    out.line(format!("created   {}", relative(rollout.created_at, now)))?;
    out.line(format!(
        "started   {}",
        relative_or_dash(rollout.started_at, now)
    ))?;
    out.line(format!(
        "finished  {}",
        relative_or_dash(rollout.finished_at, now)
    ))?;
    if let Some(waiting) = &view.waiting_for {
        out.line(format!("waits for {waiting}"))?;
    }
    let mut batches = Table::new(&["batch", "devices", "state"]);
    for batch in &view.batches {
        batches.row([
            batch.batch.to_string(),
            batch.total.to_string(),
            counts(batch),
        ]);
    }
    out.line("")?;
    out.table(&batches, "no devices")?;
    let mut notable = Vec::new();
    for status in [
        DeviceStatus::Failed,
        DeviceStatus::RollbackFailed,
        DeviceStatus::RollingBack,
        DeviceStatus::RolledBack,
        DeviceStatus::Unreachable,
    ] {
        let missing = SHOWN - notable.len();
        if missing > 0 {
            notable.extend(devices(client, id, Some(status), missing).await?);
        }
    }
    if !notable.is_empty() {
        out.line("")?;
        out.table(&device_table(&notable), "")?;
    }
    Ok(())
}

/// Devices of a rollout.
pub(crate) async fn devices(
    client: &Client,
    id: RolloutId,
    status: Option<DeviceStatus>,
    limit: usize,
) -> Result<Vec<RolloutDevice>, Failure> {
    lookup::all(limit, |page| async move {
        client.rollout_devices(id, status, &page).await
    })
    .await
}

fn device_table(rows: &[RolloutDevice]) -> Table {
    let now = Utc::now();
    let mut table = Table::new(&["device", "batch", "status", "why", "moved"]);
    for row in rows {
        table.row([
            short_head(row.device_uuid.0),
            row.batch.to_string(),
            row.status.to_string(),
            row.reason.clone().unwrap_or_default(),
            relative(row.updated_at, now),
        ]);
    }
    table
}
