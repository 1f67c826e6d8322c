//! Rollouts and what is done to them.

use super::{NO_QUERY, PageQuery, RolloutCommand, RolloutQuery, because};
use crate::Result;
use crate::http::{Client, read, send};
use reqwest::{Method, header};
use serde::Serialize;
use windlass_types::api::{Approve, CommandResult};
use windlass_types::event::Event;
use windlass_types::ids::{DeviceId, RolloutId};
use windlass_types::page::Page;
use windlass_types::rollout::{DeviceStatus, RolloutDevice, RolloutView};
use windlass_types::why::RolloutWhy;

impl Client {
    /// Rollouts, latest first.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn rollouts(&self, query: &RolloutQuery) -> Result<Page<RolloutView>> {
        self.get("/rollouts", query).await
    }

    /// One rollout with its progress.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn rollout(&self, id: RolloutId) -> Result<RolloutView> {
        self.get(&format!("/rollouts/{id}"), &NO_QUERY).await
    }

    /// The devices of a rollout.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn rollout_devices(
        &self,
        id: RolloutId,
        status: Option<DeviceStatus>,
        page: &PageQuery,
    ) -> Result<Page<RolloutDevice>> {
        #[derive(Serialize)]
        struct Query<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            status: Option<DeviceStatus>,
            #[serde(flatten)]
            page: &'a PageQuery,
        }
        self.get(&format!("/rollouts/{id}/devices"), &Query { status, page })
            .await
    }

    /// The events of a rollout, oldest first.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn rollout_events(&self, id: RolloutId, page: &PageQuery) -> Result<Page<Event>> {
        self.get(&format!("/rollouts/{id}/events"), page).await
    }

    /// Gives a command on a whole rollout. The command's outcome is `pending` where it was not
    /// carried out in time.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 where the rollout cannot do that now, 404 where there is none.
    pub async fn command(
        &self,
        id: RolloutId,
        command: RolloutCommand,
        reason: &str,
    ) -> Result<CommandResult> {
        self.call(
            Method::POST,
            &format!("/rollouts/{id}/{}", command.name()),
            &because(reason),
        )
        .await
    }

    /// The same only if the rollout still has this version and no order waits: what was decided on
    /// what was read is not done to something else.
    ///
    /// # Errors
    /// [`crate::Error`]; 412 where it was changed meanwhile, and as [`Client::command`].
    pub async fn command_on(
        &self,
        id: RolloutId,
        version: i64,
        command: RolloutCommand,
        reason: &str,
    ) -> Result<CommandResult> {
        let request = self
            .request(Method::POST, &format!("/rollouts/{id}/{}", command.name()))
            .header(header::IF_MATCH, format!("\"{version}\""));
        read(send(request.json(&because(reason))).await?).await
    }

    /// Approves one batch, from 1, or with none whatever waits for approval.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 where there is no such batch, and as [`Client::command`].
    pub async fn approve(
        &self,
        id: RolloutId,
        batch: Option<i64>,
        reason: &str,
    ) -> Result<CommandResult> {
        let given = Approve {
            reason: reason.to_owned(),
            batch,
        };
        self.call(Method::POST, &format!("/rollouts/{id}/approve"), &given)
            .await
    }

    /// Puts one device of a rollout back.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 where that is not possible, 404 where it is not in the rollout.
    pub async fn rollback_device(
        &self,
        id: RolloutId,
        device: DeviceId,
        reason: &str,
    ) -> Result<CommandResult> {
        let path = format!("/rollouts/{id}/devices/{device}/rollback");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Puts the devices of one batch back, from 1.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is no such batch, and as [`Client::command`].
    pub async fn rollback_batch(
        &self,
        id: RolloutId,
        batch: i64,
        reason: &str,
    ) -> Result<CommandResult> {
        let path = format!("/rollouts/{id}/batches/{batch}/rollback");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Admits one device of a rollout again.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is not in the rollout, and as [`Client::command`].
    pub async fn retry_device(
        &self,
        id: RolloutId,
        device: DeviceId,
        reason: &str,
    ) -> Result<CommandResult> {
        let path = format!("/rollouts/{id}/devices/{device}/retry");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Why a rollout does not move, or how it ended.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn rollout_why(&self, id: RolloutId) -> Result<RolloutWhy> {
        self.get(&format!("/rollouts/{id}/why"), &NO_QUERY).await
    }
}
