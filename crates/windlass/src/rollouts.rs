//! `windlass rollouts`.

use crate::cli::{OnRollout, Rollback, Rollouts};
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
use windlass_types::rollout::{
    CommandOutcome, DeviceStatus, FailureRates, RolloutDevice, RolloutView,
};

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
        Rollouts::Approve { id, batch, reason } => {
            let id = lookup::rollout(client, &id).await?;
            settled(&client.approve(id, batch, &reason).await?, out)
        }
        Rollouts::NextBatch(on) => order(client, on, RolloutCommand::NextBatch, out).await,
        Rollouts::OverrideFreeze(on) => {
            order(client, on, RolloutCommand::OverrideFreeze, out).await
        }
        Rollouts::Retry { id, device, reason } => {
            let id = lookup::rollout(client, &id).await?;
            let result = match device {
                Some(device) => {
                    let device = lookup::device(client, &device).await?;
                    client.retry_device(id, device, &reason).await?
                }
                None => client.command(id, RolloutCommand::Retry, &reason).await?,
            };
            settled(&result, out)
        }
        Rollouts::Cancel(on) => order(client, on, RolloutCommand::Cancel, out).await,
        Rollouts::RollbackAll(on) => order(client, on, RolloutCommand::RollbackAll, out).await,
        Rollouts::Rollback(given) => rollback(client, given, out).await,
    }
}

/// Puts a device, a batch or all back: the command line says exactly one of them.
async fn rollback(client: &Client, given: Rollback, out: &mut Out) -> Result<(), Failure> {
    let id = lookup::rollout(client, &given.id).await?;
    let reason = given.reason.as_str();
    let result = match (given.device.or(given.of_device), given.batch) {
        (Some(device), _) => {
            let device = lookup::device(client, &device).await?;
            client.rollback_device(id, device, reason).await?
        }
        (None, Some(batch)) => client.rollback_batch(id, batch, reason).await?,
        (None, None) => {
            client
                .command(id, RolloutCommand::RollbackAll, reason)
                .await?
        }
    };
    settled(&result, out)
}

async fn order(
    client: &Client,
    on: OnRollout,
    kind: RolloutCommand,
    out: &mut Out,
) -> Result<(), Failure> {
    let id = lookup::rollout(client, &on.id).await?;
    let result = match on.if_version {
        Some(version) => client.command_on(id, version, kind, &on.reason).await?,
        None => client.command(id, kind, &on.reason).await?,
    };
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
    for freeze in &view.freezes {
        out.line(format!(
            "frozen    {} ({})",
            freeze.reason, freeze.created_by
        ))?;
    }
    if let Some(why) = &rollout.freeze_override {
        out.line(format!("override  of freezes: {why}"))?;
    }
    for approval in &view.approvals {
        out.line(format!(
            "approved  batch {} by {}: {}",
            approval.batch, approval.actor, approval.reason
        ))?;
    }
    for check in &view.checks {
        out.line(format!(
            "check     {} of batch {}: {}",
            check.name, check.batch, check.status
        ))?;
    }
    failures(&view.failures, out)?;
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
        DeviceStatus::Inconclusive,
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

/// What its failures come to, where there are any.
fn failures(rates: &FailureRates, out: &mut Out) -> Result<(), Failure> {
    let percent =
        |rate: Option<f64>| rate.map_or_else(String::new, |r| format!(" ({:.1} %)", r * 100.0));
    if rates.failed > 0 {
        out.line(format!(
            "failed    {} of {} attempted{}",
            rates.failed,
            rates.attempted,
            percent(rates.failure_rate)
        ))?;
    }
    if rates.environment_failed > 0 {
        out.line(format!(
            "failed    {}{} for reasons that are not the image's",
            rates.environment_failed,
            percent(rates.environment_failure_rate)
        ))?;
    }
    if rates.went_silent > 0 {
        out.line(format!(
            "silent    {}{} since they took up the image",
            rates.went_silent,
            percent(rates.silent_rate)
        ))?;
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
