//! Commands on rollouts. A command is written down and carried out by the planner or the
//! rollback-manager; the answer waits a moment for that.

use super::body::Body;
use super::page::reason_of;
use super::rollouts;
use crate::app::App;
use crate::auth::{By, Operator};
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, post, web};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use windlass_bus::Doorbell;
use windlass_service::Problem;
use windlass_store::commands::NewCommand;
use windlass_store::{commands, quarantine, views};
use windlass_types::api::{CommandResult, Reason};
use windlass_types::event::EventType;
use windlass_types::ids::{CommandId, DeviceId, RolloutId};
use windlass_types::rollout::{Command, CommandKind, CommandOutcome};

/// How long an answer waits for what was ordered to be done.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How often the store is looked at while waiting, should a ring be lost.
const LOOK: Duration = Duration::from_millis(250);

/// Sleeps until one of these rings, or a moment has passed. False once the deadline has come.
pub(super) async fn moment(bell: &mut Doorbell, kinds: &[EventType], deadline: Instant) -> bool {
    if Instant::now() >= deadline {
        return false;
    }
    let until = deadline.min(Instant::now() + LOOK);
    // Rung or not, the store is read next.
    timeout_at(until, bell.next_of(kinds)).await.ok();
    true
}

async fn give(
    app: &App,
    operator: &Operator,
    rollout: RolloutId,
    device: Option<DeviceId>,
    kind: CommandKind,
    reason: &str,
) -> Result<HttpResponse, Problem> {
    let order = NewCommand {
        id: CommandId(uuid::Uuid::now_v7()),
        rollout,
        device,
        batch: None,
        kind,
        actor: operator.actor(),
        reason: reason_of(reason)?,
    };
    let mut bell = app.deps.bus.subscribe();
    let mut session = app.deps.store.begin().await?;
    let view = rollouts::read(&mut session, rollout).await?;
    if let Some(device) = device
        && views::place_in(&mut session, rollout, device)
            .await?
            .is_none()
    {
        return Err(Problem::NotFound(format!(
            "the device {device} is not in this rollout"
        )));
    }
    if kind == CommandKind::Resume
        && let Some(digest) = &view.rollout.digest
        && quarantine::contains(&mut session, digest).await?
    {
        return Err(Problem::Conflict(format!(
            "{digest} is in quarantine; look at the evidence and lift that first: \
             DELETE /api/v1/quarantine/{digest}"
        )));
    }
    let mut command = commands::insert(&mut session, &order)
        .await?
        .ok_or_else(|| Problem::NotFound(format!("there is no rollout {rollout}")))?;
    app.deps.commit(session).await?;

    let deadline = Instant::now() + PATIENCE;
    while command.outcome == CommandOutcome::Pending
        && moment(&mut bell, &[EventType::CommandSettled], deadline).await
    {
        let mut session = app.deps.store.read().await?;
        if let Some(found) = commands::get(&mut session, command.id).await? {
            command = found;
        }
    }
    answer(app, command).await
}

async fn answer(app: &App, command: Command) -> Result<HttpResponse, Problem> {
    if command.outcome == CommandOutcome::Refused {
        let detail = command.detail.as_deref().unwrap_or("no reason was given");
        return Err(Problem::Conflict(format!(
            "the rollout does not take this command now: {detail}"
        )));
    }
    let mut session = app.deps.store.read().await?;
    let rollout = rollouts::read(&mut session, command.rollout_id).await?;
    let mut response = match command.outcome {
        CommandOutcome::Pending => {
            let mut response = HttpResponse::Accepted();
            response.insert_header((LOCATION, format!("/api/v1/rollouts/{}", rollout.rollout.id)));
            response
        }
        CommandOutcome::Applied | CommandOutcome::NoChange | CommandOutcome::Refused => {
            HttpResponse::Ok()
        }
    };
    Ok(response.json(CommandResult { command, rollout }))
}

macro_rules! command {
    ($(#[doc = $doc:literal])* $name:ident, $path:literal, $kind:ident) => {
        $(#[doc = $doc])*
        #[utoipa::path(tag = "rollouts", request_body = Reason, params(
            ("id" = uuid::Uuid, Path, description = "The rollout"),
        ), responses(
            (status = 200, description = "Done, or nothing to do: see the command's outcome", body = CommandResult),
            (status = 202, description = "Stored; it was not carried out within three seconds", body = CommandResult, headers(("location" = String))),
            (status = 404, description = "There is no such rollout"),
            (status = 409, description = "The rollout does not take this command now"),
        ))]
        #[post($path)]
        pub(super) async fn $name(
            By(operator, (id, Body(why))): By<(web::Path<RolloutId>, Body<Reason>)>,
            app: web::Data<App>,
        ) -> Result<HttpResponse, Problem> {
            give(&app, &operator, *id, None, CommandKind::$kind, &why.reason).await
        }
    };
}

command!(
    /// Admits nobody more. Devices on their way are judged all the same.
    pause, "/api/v1/rollouts/{id}/pause", Pause
);
command!(
    /// Goes on with a paused rollout. Its digest must not be in quarantine.
    resume, "/api/v1/rollouts/{id}/resume", Resume
);
command!(
    /// Ends a rollout. Devices keep what they have.
    cancel, "/api/v1/rollouts/{id}/cancel", Cancel
);
command!(
    /// Lets a rollout begin that waits for approval.
    approve, "/api/v1/rollouts/{id}/approve", Approve
);
command!(
    /// Puts every device of the rollout back on its own last good image.
    rollback_all, "/api/v1/rollouts/{id}/rollback-all", RollbackAll
);

/// The path of a device in a rollout.
type Place = web::Path<(RolloutId, DeviceId)>;

/// Puts one device back on its own last good image.
#[utoipa::path(tag = "rollouts", request_body = Reason, params(
    ("id" = uuid::Uuid, Path, description = "The rollout"),
    ("uuid" = uuid::Uuid, Path, description = "The device"),
), responses(
    (status = 200, description = "Done, or nothing to do: see the command's outcome", body = CommandResult),
    (status = 202, description = "Stored; it was not carried out within three seconds", body = CommandResult, headers(("location" = String))),
    (status = 404, description = "There is no such rollout, or the device is not in it"),
    (status = 409, description = "The device cannot be put back now"),
))]
#[post("/api/v1/rollouts/{id}/devices/{uuid}/rollback")]
pub(super) async fn rollback_device(
    By(operator, (path, Body(why))): By<(Place, Body<Reason>)>,
    app: web::Data<App>,
) -> Result<HttpResponse, Problem> {
    let (rollout, device) = path.into_inner();
    let kind = CommandKind::RollbackDevice;
    give(&app, &operator, rollout, Some(device), kind, &why.reason).await
}
