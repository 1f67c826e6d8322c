//! The operator's calls.

use crate::Result;
use crate::http::{Client, read, send};
use chrono::{DateTime, Utc};
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde_json::Value;
use windlass_types::api::{
    Approve, CommandResult, DevicePatch, Fleet, FreezeState, FreezeView, HoldState, HoldView,
    ImageVersion, NewFreeze, NewHold, NewTarget, Penalty, PolicyTest, PolicyTestRequest,
    QuarantinedDigest, Reason, RolloutPlan, Stopped, Trigger, TriggerPlan, TriggerRequest,
};
use windlass_types::delivery::{
    Decision, Delivery, DeliveryDetail, EndpointHealth, ReasonCode, Replayed, Tried,
};
use windlass_types::device::{
    Device, DeviceCurrentState, DeviceTarget, NewProvisioningKey, ProvisioningKey,
};
use windlass_types::event::Event;
use windlass_types::ids::{
    DeliveryId, DeviceId, FreezeId, HoldId, OperatorKeyId, PlanId, PolicyId, ProvisioningKeyId,
    RolloutId, TriggerId,
};
use windlass_types::image::Digest;
use windlass_types::operator::{NewOperatorKey, OperatorKey};
use windlass_types::page::Page;
use windlass_types::policy::{Policy, PolicySpec};
use windlass_types::registry::RegistryWatch;
use windlass_types::rollout::{DeviceStatus, RolloutDevice, RolloutStatus, RolloutView};
use windlass_types::why::{ImageWhy, RolloutWhy, Why};

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

/// Which webhook deliveries; all of what is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryQuery {
    /// Only those to this endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Only those of this sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
    /// Only those of which this became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Only those that were ignored for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<ReasonCode>,
    /// Only those that tell of this repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// Only those received at this time or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<DateTime<Utc>>,
    /// Only those received before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
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
    /// Let it, or the batch that waits, begin; [`Client::approve`] names a batch.
    Approve,
    /// Start the next batch without the rest of its delay.
    NextBatch,
    /// Admit the devices again that failed, were inconclusive or were put back.
    Retry,
    /// Let it go on in spite of freezes.
    OverrideFreeze,
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
            Self::NextBatch => "trigger-next-batch",
            Self::Retry => "retry",
            Self::OverrideFreeze => "override-freeze",
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

    /// Switches a policy on or off.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn enable_policy(&self, id: PolicyId, enabled: bool, reason: &str) -> Result<Policy> {
        let switch = if enabled { "enable" } else { "disable" };
        let path = format!("/image-policies/{id}/{switch}");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// What a push of this image would do, by all policies or by this one alone.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 for what is no image, 404 where there is no such policy.
    pub async fn test_policies(&self, id: Option<PolicyId>, image: &str) -> Result<PolicyTest> {
        let path = match id {
            Some(id) => format!("/image-policies/{id}/test"),
            None => "/image-policies/test".to_owned(),
        };
        let image = PolicyTestRequest {
            image: image.to_owned(),
        };
        self.call(Method::POST, &path, &image).await
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

    /// A plan that a dry run showed.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none, or it is too old.
    pub async fn rollout_plan(&self, id: PlanId) -> Result<RolloutPlan> {
        self.get(&format!("/rollout-plans/{id}"), &NO_QUERY).await
    }

    /// Ships a plan exactly as it was shown.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 with what changed since, 404 where there is no such plan.
    pub async fn apply_plan(&self, id: PlanId, reason: &str) -> Result<Trigger> {
        let path = format!("/rollout-plans/{id}/apply");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Holds, the one made last first; with `state` only those that stand so.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn holds(
        &self,
        state: Option<HoldState>,
        page: &PageQuery,
    ) -> Result<Page<HoldView>> {
        #[derive(Serialize)]
        struct Query<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<HoldState>,
            #[serde(flatten)]
            page: &'a PageQuery,
        }
        self.get("/holds", &Query { state, page }).await
    }

    /// Holds a policy or a repository: nothing new of it ships.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 with the fields that are wrong, 404 where there is no such policy.
    pub async fn hold(&self, hold: &NewHold) -> Result<HoldView> {
        self.call(Method::POST, "/holds", hold).await
    }

    /// Ends a hold.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn lift_hold(&self, id: HoldId, reason: &str) -> Result<HoldView> {
        let path = format!("/holds/{id}/lift");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Freezes, the one made last first; with `state` only those that stand so.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn freezes(
        &self,
        state: Option<FreezeState>,
        page: &PageQuery,
    ) -> Result<Page<FreezeView>> {
        #[derive(Serialize)]
        struct Query<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            state: Option<FreezeState>,
            #[serde(flatten)]
            page: &'a PageQuery,
        }
        self.get("/freezes", &Query { state, page }).await
    }

    /// Plans a time in which nothing is admitted.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 with the fields that are wrong.
    pub async fn freeze(&self, freeze: &NewFreeze) -> Result<FreezeView> {
        self.call(Method::POST, "/freezes", freeze).await
    }

    /// Ends a freeze, or takes one back that is to come.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn lift_freeze(&self, id: FreezeId, reason: &str) -> Result<FreezeView> {
        let path = format!("/freezes/{id}/lift");
        self.call(Method::POST, &path, &because(reason)).await
    }

    /// Stops all rollouts.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn stop(&self, reason: &str) -> Result<Stopped> {
        self.call(Method::POST, "/stop", &because(reason)).await
    }

    /// Lets rollouts go on after [`Client::stop`].
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn lift_stop(&self, reason: &str) -> Result<Stopped> {
        self.call(Method::POST, "/stop/lift", &because(reason))
            .await
    }

    /// Devices set aside for a time, by uuid.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn penalties(&self, page: &PageQuery) -> Result<Page<Penalty>> {
        self.get("/penalties", page).await
    }

    /// Lets a device take part again that was set aside.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it was not.
    pub async fn lift_penalty(&self, device: DeviceId, reason: &str) -> Result<()> {
        let request = self
            .request(Method::DELETE, &format!("/penalties/{device}"))
            .json(&because(reason));
        send(request).await.map(|_| ())
    }

    /// Deletes a device: its key stops working at once.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn delete_device(&self, uuid: DeviceId, reason: &str) -> Result<()> {
        let request = self
            .request(Method::DELETE, &format!("/devices/{uuid}"))
            .json(&because(reason));
        send(request).await.map(|_| ())
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

    /// Lets a digest be shipped again, to all devices.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is not in quarantine.
    pub async fn lift_quarantine(&self, digest: &Digest, reason: &str) -> Result<()> {
        self.lift_quarantine_of(digest, None, reason).await
    }

    /// Lets a digest be shipped again, to the devices with this tag alone.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is not in quarantine for them.
    pub async fn lift_quarantine_of(
        &self,
        digest: &Digest,
        class: Option<(&str, &str)>,
        reason: &str,
    ) -> Result<()> {
        let mut request = self.request(Method::DELETE, &format!("/quarantine/{digest}"));
        if let Some((key, value)) = class {
            request = request.query(&[("tag_key", key), ("tag_value", value)]);
        }
        send(request.json(&because(reason))).await.map(|_| ())
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

    /// Why a rollout does not move, or how it ended.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn rollout_why(&self, id: RolloutId) -> Result<RolloutWhy> {
        self.get(&format!("/rollouts/{id}/why"), &NO_QUERY).await
    }

    /// Why a pushed image went to devices, or did not.
    ///
    /// # Errors
    /// [`crate::Error`]; 400 for what is no image reference.
    pub async fn image_why(&self, image: &str) -> Result<ImageWhy> {
        self.get("/images/why", &[("image", image)]).await
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

    /// Makes an operator's key; the answer is the only one that shows it.
    ///
    /// # Errors
    /// [`crate::Error`]; 409 where the name is or was somebody's.
    pub async fn create_operator_key(&self, key: &NewOperatorKey) -> Result<OperatorKey> {
        self.call(Method::POST, "/operator-keys", key).await
    }

    /// All operators' keys, without the keys themselves.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn operator_keys(&self) -> Result<Vec<OperatorKey>> {
        self.get("/operator-keys", &NO_QUERY).await
    }

    /// Revokes an operator's key.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none, 409 where it is the last.
    pub async fn revoke_operator_key(&self, id: OperatorKeyId) -> Result<()> {
        send(self.request(Method::DELETE, &format!("/operator-keys/{id}")))
            .await
            .map(|_| ())
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
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<Page<Delivery>> {
        self.get("/webhooks/deliveries", query).await
    }

    /// One delivery with what is kept of it.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none.
    pub async fn delivery(&self, id: DeliveryId) -> Result<DeliveryDetail> {
        self.get(&format!("/webhooks/deliveries/{id}"), &NO_QUERY)
            .await
    }

    /// The body of a delivery as it was received.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where it is no longer kept.
    pub async fn delivery_body(&self, id: DeliveryId) -> Result<Vec<u8>> {
        let path = format!("/webhooks/deliveries/{id}/body");
        let response = send(self.request(Method::GET, &path)).await?;
        let body = response.bytes().await.map_err(crate::Error::Transport)?;
        Ok(body.to_vec())
    }

    /// Reads a delivery again with today's parser.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where there is none, 409 where its body or its endpoint is gone.
    pub async fn replay_delivery(&self, id: DeliveryId) -> Result<Replayed> {
        let path = format!("/webhooks/deliveries/{id}/replay");
        read(send(self.request(Method::POST, &path)).await?).await
    }

    /// What an endpoint would read a delivery as; nothing is stored. Headers are those that senders are
    /// recognised by, such as `x-github-event`.
    ///
    /// # Errors
    /// [`crate::Error`]; 404 where the configuration has no such endpoint.
    pub async fn try_delivery(
        &self,
        endpoint: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Tried> {
        let mut request = self
            .request(Method::POST, &format!("/webhooks/{endpoint}/test"))
            .header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        read(send(request.body(body)).await?).await
    }

    /// How every webhook endpoint is doing, counted over so many days.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn webhook_endpoints(&self, days: Option<u32>) -> Result<Vec<EndpointHealth>> {
        let query: Vec<(&str, u32)> = days.into_iter().map(|days| ("days", days)).collect();
        self.get("/webhooks/endpoints", &query).await
    }

    /// The repositories that are looked at, and how often their registries may be asked; served by
    /// webhook-ingest, which `windlass up` has at the same address.
    ///
    /// # Errors
    /// [`crate::Error`].
    pub async fn registry_watch(&self, page: &PageQuery) -> Result<RegistryWatch> {
        self.get("/registry-watch", page).await
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
