//! The operator's calls.

use crate::Result;
use crate::http::{Client, read, send};
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use windlass_types::api::{
    CommandResult, DevicePatch, Fleet, ImageVersion, NewTarget, QuarantinedDigest, Reason, Trigger,
    TriggerPlan, TriggerRequest,
};
use windlass_types::delivery::Delivery;
use windlass_types::device::{
    Device, DeviceCurrentState, DeviceTarget, NewProvisioningKey, ProvisioningKey,
};
use windlass_types::event::Event;
use windlass_types::ids::{DeviceId, PolicyId, ProvisioningKeyId, RolloutId, TriggerId};
use windlass_types::image::Digest;
use windlass_types::page::Page;
use windlass_types::policy::{Policy, PolicySpec};
use windlass_types::rollout::{DeviceStatus, RolloutDevice, RolloutStatus, RolloutView};
use windlass_types::why::Why;

/// Which page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PageQuery {
    /// Rows at most; the server's own measure where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Which rollouts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RolloutQuery {
    /// Only those that stand here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<RolloutStatus>,
    /// Only those that have not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Which page.
    #[serde(flatten)]
    pub page: PageQuery,
}

/// Which devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeviceQuery {
    /// Only those of this fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fleet: Option<String>,
    /// Only those with this tag, `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only those seen in the last so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen_within: Option<u32>,
    /// Which page.
    #[serde(flatten)]
    pub page: PageQuery,
}

/// A command on a whole rollout. One device is put back by [`Client::rollback_device`], which is no
/// kind of these: taken for one of them it would put back all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RolloutCommand {
    /// Admit nobody more.
    Pause,
    /// Go on.
    Resume,
    /// End it; devices keep what they have.
    Cancel,
    /// Let it begin.
    Approve,
    /// Put every device back on its own last good image.
    RollbackAll,
}

impl RolloutCommand {
    /// The last part of its address.
    const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Approve => "approve",
            Self::RollbackAll => "rollback-all",
        }
    }
}

/// The answer to a trigger.
#[derive(Debug, Clone, PartialEq)]
pub enum TriggerAnswer {
    /// A dry run: what would be done.
    Plan(Box<TriggerPlan>),
    /// The trigger; it has its rollout or decision if the planner was quick, else it waits.
    Trigger(Box<Trigger>),
}

/// How a server stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Ready {
    /// `ready`, or `degraded` where wake-ups do not arrive.
    pub status: String,
    /// `ok` or `unavailable`.
    pub store: String,
    /// `connected` or `disconnected`.
    pub bus: String,
}

const NO_QUERY: [(&str, &str); 0] = [];

impl Client {
    /// Policies, oldest first.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn policies(&self, page: &PageQuery) -> Result<Page<Policy>> {
        self.get("/image-policies", page).await
    }

    /// One policy.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn policy(&self, id: PolicyId) -> Result<Policy> {
        self.get(&format!("/image-policies/{id}"), &NO_QUERY).await
    }

    /// Makes a policy.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 for a name that is taken, 400 and 422 with the fields that are wrong.
    pub async fn create_policy(&self, spec: &PolicySpec) -> Result<Policy> {
        self.call(Method::POST, "/image-policies", spec).await
    }

    /// Changes a policy; with `version` only if it is still that one.
    ///
    /// # Errors
    /// [`crate::Error`]; 412 where it was changed meanwhile.
    pub async fn update_policy(
        &self,
        id: PolicyId,
        version: Option<i64>,
        spec: &PolicySpec,
    ) -> Result<Policy> {
        let mut request = self.request(Method::PUT, &format!("/image-policies/{id}"));
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        read(send(request.json(spec)).await?).await
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn delete_policy(&self, id: PolicyId) -> Result<()> {
        send(self.request(Method::DELETE, &format!("/image-policies/{id}")))
            .await
            .map(|_| ())
    }

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
        self.call(
            Method::POST,
            &format!("/rollouts/{id}/devices/{device}/rollback"),
            &because(reason),
        )
        .await
    }

    /// Asks for a rollout by hand, or for what it would do.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 and 422 with the fields that are wrong.
    pub async fn trigger(&self, request: &TriggerRequest) -> Result<TriggerAnswer> {
        let sent = self
            .request(Method::POST, "/images/trigger-update")
            .json(request);
        let response = send(sent).await?;
        if response.status() == StatusCode::OK {
            return Ok(TriggerAnswer::Plan(Box::new(read(response).await?)));
        }
        Ok(TriggerAnswer::Trigger(Box::new(read(response).await?)))
    }

    /// A trigger and what became of it.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn trigger_status(&self, id: TriggerId) -> Result<Trigger> {
        self.get(&format!("/images/triggers/{id}"), &NO_QUERY).await
    }

    /// Versions of images that were seen, latest first.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn image_versions(&self, page: &PageQuery) -> Result<Page<ImageVersion>> {
        self.get("/images/versions", page).await
    }

    /// Digests that ship no more.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn quarantine(&self, page: &PageQuery) -> Result<Page<QuarantinedDigest>> {
        self.get("/quarantine", page).await
    }

    /// Lets a digest be shipped again.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is not in quarantine.
    pub async fn lift_quarantine(&self, digest: &Digest, reason: &str) -> Result<()> {
        let request = self
            .request(Method::DELETE, &format!("/quarantine/{digest}"))
            .json(&because(reason));
        send(request).await.map(|_| ())
    }

    /// Devices.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn devices(&self, query: &DeviceQuery) -> Result<Page<Device>> {
        self.get("/devices", query).await
    }

    /// One device.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn device_info(&self, uuid: DeviceId) -> Result<Device> {
        self.get(&format!("/devices/{uuid}"), &NO_QUERY).await
    }

    /// Changes what is given of a device.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn patch_device(&self, uuid: DeviceId, patch: &DevicePatch) -> Result<Device> {
        self.call(Method::PATCH, &format!("/devices/{uuid}"), patch)
            .await
    }

    /// A device's target.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn target(&self, uuid: DeviceId) -> Result<DeviceTarget> {
        self.get(&format!("/devices/{uuid}/target-state"), &NO_QUERY)
            .await
    }

    /// Gives a device another target; with `version` only if its target is still that one.
    ///
    /// # Errors
    /// [`crate::Error`]; 412 where it was changed meanwhile, 400 with the fields that are wrong.
    pub async fn set_target(
        &self,
        uuid: DeviceId,
        version: Option<i64>,
        target: &NewTarget,
    ) -> Result<DeviceTarget> {
        let mut request = self.request(Method::PUT, &format!("/devices/{uuid}/target-state"));
        if let Some(version) = version {
            request = request.header(header::IF_MATCH, format!("\"{version}\""));
        }
        read(send(request.json(target)).await?).await
    }

    /// What a device said last.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn current_state(&self, uuid: DeviceId) -> Result<DeviceCurrentState> {
        self.get(&format!("/devices/{uuid}/current-state"), &NO_QUERY)
            .await
    }

    /// Why a device runs what it runs, or does not move.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn why(&self, uuid: DeviceId) -> Result<Why> {
        self.get(&format!("/devices/{uuid}/why"), &NO_QUERY).await
    }

    /// Fleets.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn fleets(&self, page: &PageQuery) -> Result<Page<Fleet>> {
        self.get("/fleets", page).await
    }

    /// Makes a provisioning key; the answer is the only one that shows it.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 with the fields that are wrong.
    pub async fn create_provisioning_key(
        &self,
        key: &NewProvisioningKey,
    ) -> Result<ProvisioningKey> {
        self.call(Method::POST, "/provisioning-keys", key).await
    }

    /// Revokes a provisioning key.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn revoke_provisioning_key(&self, id: ProvisioningKeyId) -> Result<()> {
        send(self.request(Method::DELETE, &format!("/provisioning-keys/{id}")))
            .await
            .map(|_| ())
    }

    /// Webhook deliveries, latest first; served by webhook-ingest, which `windlass up` has at the
    /// same address.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn deliveries(&self, page: &PageQuery) -> Result<Page<Delivery>> {
        self.get("/webhooks/deliveries", page).await
    }

    /// Whether the server can do its job.
    ///
    /// # Errors
    /// [`crate::Error`]; 503 where its store does not answer.
    pub async fn ready(&self) -> Result<Ready> {
        read(send(self.at_root(Method::GET, "/readyz")).await?).await
    }

    /// The OpenAPI document.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn openapi(&self) -> Result<Value> {
        self.get("/openapi.json", &NO_QUERY).await
    }
}

fn because(reason: &str) -> Reason {
    Reason {
        reason: reason.to_owned(),
    }
}
