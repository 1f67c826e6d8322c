//! Why a device, a rollout or an image moved or did not.
//!
//! The store is read, core decides what to say of it.

use crate::app::App;
use crate::auth::By;
use crate::operator::page::wrong;
use actix_web::{get, web};
use serde::Deserialize;
use utoipa::IntoParams;
use windlass_core::why::{self, Answer};
use windlass_service::Problem;
use windlass_store::views;
use windlass_types::delivery::RolloutSummary;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::image::ImageReference;
use windlass_types::why::{ImageWhy, RolloutWhy, Why, WhyRollout};

/// Rollouts told of.
const TOLD: i64 = 5;

/// Why a device runs what it runs, or does not move, in sentences.
#[utoipa::path(tag = "devices", params(("uuid" = uuid::Uuid, Path, description = "The device")), responses(
    (status = 200, description = "What is known of it, in the order in which it decides", body = Why),
    (status = 404, description = "There is no such device"),
))]
#[get("/api/v1/devices/{uuid}/why")]
pub(super) async fn device(
    By(_operator, uuid): By<web::Path<DeviceId>>,
    app: web::Data<App>,
) -> Result<web::Json<Why>, Problem> {
    let mut session = app.deps.store.read().await?;
    let story = views::device_story(&mut session, *uuid, TOLD)
        .await?
        .ok_or_else(|| Problem::NotFound(format!("there is no device {uuid}")))?;
    let now = session.now();
    let Answer {
        sentences,
        reasons,
        waiting_for,
    } = Answer::of(&why::device(&story, now));
    let rollouts = story
        .places
        .iter()
        .map(|place| {
            let view = &place.rollout.view;
            WhyRollout {
                rollout_id: view.rollout.id,
                image: view.image.clone(),
                rollout_status: view.rollout.status,
                waiting_for: why::waits(&place.rollout, now),
                batch: place.row.batch,
                status: place.row.status,
                reason: place.row.reason.clone(),
                deadline_at: place.row.deadline_at,
                sentence: why::place(&story, place, now)
                    .first()
                    .map(|found| found.told().sentence)
                    .unwrap_or_default(),
            }
        })
        .collect();
    Ok(web::Json(Why {
        uuid: *uuid,
        sentences,
        reasons,
        waiting_for,
        rollouts,
        failed_digests: story.failed,
        last_seen_at: story.device.last_seen_at,
    }))
}

/// Why a rollout does not move, or how it ended.
#[utoipa::path(tag = "rollouts", params(("id" = uuid::Uuid, Path, description = "The rollout")), responses(
    (status = 200, description = "What it waits for, in the order in which it decides", body = RolloutWhy),
    (status = 404, description = "There is no such rollout"),
))]
#[get("/api/v1/rollouts/{id}/why")]
pub(super) async fn rollout(
    By(_operator, id): By<web::Path<RolloutId>>,
    app: web::Data<App>,
) -> Result<web::Json<RolloutWhy>, Problem> {
    let mut session = app.deps.store.read().await?;
    let story = views::rollout_story(&mut session, *id)
        .await?
        .ok_or_else(|| Problem::NotFound(format!("there is no rollout {id}")))?;
    let Answer {
        sentences,
        reasons,
        waiting_for,
    } = Answer::of(&why::rollout(&story, session.now()));
    Ok(web::Json(RolloutWhy {
        id: *id,
        image: story.view.image,
        status: story.view.rollout.status,
        sentences,
        reasons,
        waiting_for,
    }))
}

/// An image.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageQuery {
    /// `repository`, `repository:tag`, `repository@sha256:…` or both.
    #[param(
        min_length = 1,
        max_length = 512,
        example = "registry:5000/demo/app:v2"
    )]
    image: String,
}

/// Why a pushed image went to devices, or did not. Without tag and digest it is about the latest
/// version of the repository that was seen.
#[utoipa::path(tag = "images", params(ImageQuery), responses(
    (status = 200, description = "What became of it, in the order in which it was decided", body = ImageWhy),
    (status = 400, description = "The image is no image reference"),
))]
#[get("/api/v1/images/why")]
pub(super) async fn image(
    By(_operator, query): By<web::Query<ImageQuery>>,
    app: web::Data<App>,
) -> Result<web::Json<ImageWhy>, Problem> {
    let asked: ImageReference = query
        .image
        .parse()
        .map_err(|error: windlass_types::image::InvalidImage| wrong("image", error.to_string()))?;
    let mut session = app.deps.store.read().await?;
    let story = views::image_story(&mut session, &asked).await?;
    let Answer {
        sentences,
        reasons,
        waiting_for,
    } = Answer::of(&why::image(&story, session.now()));
    let rollouts = story
        .rollouts
        .iter()
        .map(|one| RolloutSummary {
            rollout_id: one.view.rollout.id,
            status: one.view.rollout.status,
            affected_devices: one.view.rollout.total_devices,
        })
        .collect();
    Ok(web::Json(ImageWhy {
        image: asked.to_string(),
        sentences,
        reasons,
        waiting_for,
        rollouts,
    }))
}
