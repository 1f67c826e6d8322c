//! Commands on rollouts. A command is written down and carried out by the planner or the
//! rollback-manager; the answer waits a moment for that.

use super::body::Body;
use super::page::{etag, if_match, reason_of, wrong};
use super::rollouts;
use crate::app::App;
use crate::auth::{By, Operator};
use actix_web::http::header::LOCATION;
use actix_web::{HttpRequest, HttpResponse, post, web};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use windlass_bus::Doorbell;
use windlass_service::Problem;
use windlass_store::commands::{Given, NewCommand};
use windlass_store::{Session, commands, quarantine, rollouts as stored, views};
use windlass_types::api::{Approve, CommandResult, Reason};
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

/// What is ordered of which part of a rollout.
struct Order {
    rollout: RolloutId,
    device: Option<DeviceId>,
    batch: Option<i64>,
    kind: CommandKind,
    reason: String,
}

impl Order {
    /// An order for a rollout as a whole.
    const fn whole(rollout: RolloutId, kind: CommandKind, reason: String) -> Self {
        Self {
            rollout,
            device: None,
            batch: None,
            kind,
            reason,
        }
    }
}

fn no_rollout(id: RolloutId) -> Problem {
    Problem::NotFound(format!("there is no rollout {id}"))
}

/// Whether what an order is about is there, and whether it can be carried out at all.
async fn check(session: &mut Session, order: &Order) -> Result<(), Problem> {
    let rollout = stored::get(session, order.rollout)
        .await?
        .ok_or_else(|| no_rollout(order.rollout))?;
    if let Some(device) = order.device
        && views::place_in(session, rollout.id, device)
            .await?
            .is_none()
    {
        return Err(Problem::NotFound(format!(
            "the device {device} is not in this rollout"
        )));
    }
    if let Some(batch) = order.batch
        && !(1..=rollout.batch_count).contains(&batch)
    {
        let there = format!("the rollout has batches 1 to {}", rollout.batch_count);
        return Err(match order.kind {
            // It is a part of the path there.
            CommandKind::RollbackBatch => {
                Problem::NotFound(format!("there is no batch {batch}: {there}"))
            }
            _ => wrong("batch", there),
        });
    }
    if order.kind == CommandKind::Resume
        && let Some(digest) = &rollout.digest
        && quarantine::contains(session, digest).await?
    {
        return Err(Problem::Conflict(format!(
            "{digest} is in quarantine; look at the evidence and lift that first: \
             DELETE /api/v1/quarantine/{digest}"
        )));
    }
    Ok(())
}

/// Writes an order down and waits a moment for what becomes of it.
async fn give(
    app: &App,
    operator: &Operator,
    order: Order,
    request: &HttpRequest,
) -> Result<HttpResponse, Problem> {
    let expected = if_match(request)?;
    let new = NewCommand {
        id: CommandId(uuid::Uuid::now_v7()),
        rollout: order.rollout,
        device: order.device,
        batch: order.batch,
        kind: order.kind,
        actor: operator.actor(),
        reason: reason_of(&order.reason)?,
    };
    let mut bell = app.deps.bus.subscribe();
    let mut session = app.deps.store.begin().await?;
    check(&mut session, &order).await?;
    let mut command = match commands::give(&mut session, &new, expected).await? {
        Given::Written(command) => command,
        Given::Stale(version) => {
            return Err(Problem::Stale(format!(
                "the rollout has version {version} by now; read it again"
            )));
        }
        Given::Ordered(other) => {
            return Err(Problem::Stale(format!(
                "{} ordered {} meanwhile, which is about to be carried out; read the rollout again",
                other.actor, other.kind
            )));
        }
        Given::Missing => return Err(no_rollout(order.rollout)),
    };
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
    response.insert_header(etag(rollout.rollout.version));
    Ok(response.json(CommandResult { command, rollout }))
}

macro_rules! command {
    ($(#[doc = $doc:literal])* $name:ident, $path:literal, $kind:ident) => {
        $(#[doc = $doc])*
        #[utoipa::path(tag = "rollouts", request_body = Reason, params(
            ("id" = uuid::Uuid, Path, description = "The rollout"),
            ("If-Match" = Option<String>, Header, description = "The rollout's version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
        ), responses(
            (status = 200, description = "Done, or nothing to do: see the command's outcome", body = CommandResult, headers(("etag" = String))),
            (status = 202, description = "Stored; it was not carried out within three seconds", body = CommandResult, headers(("location" = String), ("etag" = String))),
            (status = 404, description = "There is no such rollout"),
            (status = 409, description = "The rollout does not take this command now"),
            (status = 412, description = "The rollout has another version by now, or another order waits"),
        ))]
        #[post($path)]
        pub(super) async fn $name(
            By(operator, (id, Body(why))): By<(web::Path<RolloutId>, Body<Reason>)>,
            app: web::Data<App>,
            request: HttpRequest,
        ) -> Result<HttpResponse, Problem> {
            let order = Order::whole(*id, CommandKind::$kind, why.reason);
            give(&app, &operator, order, &request).await
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
    /// Starts the next batch without the rest of its delay. Approvals, checks and windows still hold.
    next_batch, "/api/v1/rollouts/{id}/trigger-next-batch", NextBatch
);
command!(
    /// Admits the devices again that failed, were inconclusive or were put back.
    retry, "/api/v1/rollouts/{id}/retry", Retry
);
command!(
    /// Lets this rollout go on in spite of freezes and the stop. Who and why is kept with it.
    override_freeze, "/api/v1/rollouts/{id}/override-freeze", OverrideFreeze
);
command!(
    /// Puts every device of the rollout back on its own last good image.
    rollback_all, "/api/v1/rollouts/{id}/rollback-all", RollbackAll
);

/// Lets a rollout, or a batch of it, begin that waits for approval. The same person twice is one
/// approval; above the rule's `two_people_above` devices it takes two different ones.
#[utoipa::path(tag = "rollouts", request_body = Approve, params(
    ("id" = uuid::Uuid, Path, description = "The rollout"),
    ("If-Match" = Option<String>, Header, description = "The rollout's version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
), responses(
    (status = 200, description = "Done, or nothing to do: see the command's outcome", body = CommandResult, headers(("etag" = String))),
    (status = 202, description = "Stored; it was not carried out within three seconds", body = CommandResult, headers(("location" = String), ("etag" = String))),
    (status = 404, description = "There is no such rollout"),
    (status = 409, description = "The rollout does not take this command now"),
    (status = 412, description = "The rollout has another version by now, or another order waits"),
))]
#[post("/api/v1/rollouts/{id}/approve")]
pub(super) async fn approve(
    By(operator, (id, Body(given))): By<(web::Path<RolloutId>, Body<Approve>)>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let order = Order {
        batch: given.batch,
        ..Order::whole(*id, CommandKind::Approve, given.reason)
    };
    give(&app, &operator, order, &request).await
}

/// The path of a batch of a rollout.
type BatchPath = web::Path<(RolloutId, i64)>;

/// Puts every device of one batch back on its own last good image.
#[utoipa::path(tag = "rollouts", request_body = Reason, params(
    ("id" = uuid::Uuid, Path, description = "The rollout"),
    ("batch" = i64, Path, description = "The batch, from 1", minimum = 1),
    ("If-Match" = Option<String>, Header, description = "The rollout's version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
), responses(
    (status = 200, description = "Done, or nothing to do: see the command's outcome", body = CommandResult, headers(("etag" = String))),
    (status = 202, description = "Stored; it was not carried out within three seconds", body = CommandResult, headers(("location" = String), ("etag" = String))),
    (status = 404, description = "There is no such rollout, or no such batch in it"),
    (status = 409, description = "The rollout does not take this command now"),
    (status = 412, description = "The rollout has another version by now, or another order waits"),
))]
#[post("/api/v1/rollouts/{id}/batches/{batch}/rollback")]
pub(super) async fn rollback_batch(
    By(operator, (path, Body(why))): By<(BatchPath, Body<Reason>)>,
    app: web::Data<App>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let (rollout, batch) = path.into_inner();
    let order = Order {
        batch: Some(batch),
        ..Order::whole(rollout, CommandKind::RollbackBatch, why.reason)
    };
    give(&app, &operator, order, &request).await
}

/// The path of a device in a rollout.
type Place = web::Path<(RolloutId, DeviceId)>;

macro_rules! device_command {
    ($(#[doc = $doc:literal])* $name:ident, $path:literal, $kind:ident) => {
        $(#[doc = $doc])*
        #[utoipa::path(tag = "rollouts", request_body = Reason, params(
            ("id" = uuid::Uuid, Path, description = "The rollout"),
            ("uuid" = uuid::Uuid, Path, description = "The device"),
            ("If-Match" = Option<String>, Header, description = "The rollout's version that was read, as in \"3\"", pattern = r#"^(\*|"[0-9]{1,18}")$"#),
        ), responses(
            (status = 200, description = "Done, or nothing to do: see the command's outcome", body = CommandResult, headers(("etag" = String))),
            (status = 202, description = "Stored; it was not carried out within three seconds", body = CommandResult, headers(("location" = String), ("etag" = String))),
            (status = 404, description = "There is no such rollout, or the device is not in it"),
            (status = 409, description = "The device does not take this command now"),
            (status = 412, description = "The rollout has another version by now, or another order waits"),
        ))]
        #[post($path)]
        pub(super) async fn $name(
            By(operator, (path, Body(why))): By<(Place, Body<Reason>)>,
            app: web::Data<App>,
            request: HttpRequest,
        ) -> Result<HttpResponse, Problem> {
            let (rollout, device) = path.into_inner();
            let order = Order {
                device: Some(device),
                ..Order::whole(rollout, CommandKind::$kind, why.reason)
            };
            give(&app, &operator, order, &request).await
        }
    };
}

device_command!(
    /// Puts one device back on its own last good image.
    rollback_device, "/api/v1/rollouts/{id}/devices/{uuid}/rollback", RollbackDevice
);
device_command!(
    /// Admits one device again that failed, was inconclusive or was put back.
    retry_device, "/api/v1/rollouts/{id}/devices/{uuid}/retry", Retry
);
